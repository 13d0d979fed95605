"""GPT-2 and BERT on random tokens: the next one, masked ones. 6 layers, 384 wide, 4 texts of 128
tokens, no dropout.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.contender import Contender, Family
from bench.families.ours import built, macs
from tasks.learn.chunked_loss import VocabularyLoss

DIM, DEPTH, HEADS, BATCH, TOKENS = 384, 6, 6, 4, 128
GPT, BERT = 50257, 30522  # vocabularies
IGNORED, MASKED = -100, 0.15
SIZES = [
    f"params.dim={DIM}",
    f"params.depth={DEPTH}",
    f"params.heads={HEADS}",
    "params.dropout=0.0",
]
GPT_WORDS = [*SIZES, f"params.length={TOKENS}"]
# The head of BERT's masked language model, Devlin et al. 2019, appendix A.2, as the authors wrote
# it.
BERT_WORDS = [
    *SIZES,
    f"params.length={TOKENS}",
    "~graph.first",
    "~graph.pooler",
    "~graph.tanh",
    "+graph.transform={block: Linear, features: dim, after: layers}",
    "+graph.activation={block: GELU, after: transform}",
    "+graph.transform_norm={use: norm, after: activation}",
    "+graph.head={block: Linear, features: vocab, after: transform_norm}",
    "~outputs",
    "+outputs={logits: head}",
    "+tie={head.weight: embedding.weight}",
]


def texts(vocab: int) -> Tensor:
    return torch.randint(vocab, (BATCH, TOKENS), generator=torch.Generator().manual_seed(0))


def following(tokens: Tensor) -> Tensor:
    """The label of every place: the token after it."""
    return F.pad(tokens[:, 1:], (0, 1), value=IGNORED)


def masked(tokens: Tensor) -> Tensor:
    """A label at some places only."""
    chosen = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(1)) < MASKED
    return tokens.masked_fill(~chosen, IGNORED)


def ours(
    words: list[str], model: str, facts: dict[str, Any], inputs: dict[str, Tensor], label: Tensor
) -> Contender:
    network = built(model, words, facts)
    loss = VocabularyLoss(network)
    return Contender(network, lambda: loss(inputs, label).loss, lambda: network(**inputs)["logits"])


def of_transformers(model: nn.Module, label: Tensor, **inputs: Tensor) -> Contender:
    return Contender(
        model, lambda: model(**inputs, labels=label).loss, lambda: model(**inputs).logits
    )


def gpt2() -> Family:
    tokens, facts = texts(GPT), {}

    def dougong() -> Contender:
        return ours(GPT_WORDS, "gpt2", facts, {"tokens": tokens}, following(tokens))

    def transformers() -> Contender:
        from transformers import GPT2Config, GPT2LMHeadModel

        config = GPT2Config(
            n_embd=DIM,
            n_layer=DEPTH,
            n_head=HEADS,
            vocab_size=GPT,
            n_positions=TOKENS,
            bos_token_id=0,
            eos_token_id=0,
            embd_pdrop=0,
            attn_pdrop=0,
            resid_pdrop=0,
            use_cache=False,
        )
        return of_transformers(
            GPT2LMHeadModel(config), tokens, input_ids=tokens
        )  # which shifts the labels itself

    def x_transformers() -> Contender:
        from x_transformers import Decoder, TransformerWrapper

        layers = Decoder(dim=DIM, depth=DEPTH, heads=HEADS, attn_flash=True)
        model = TransformerWrapper(
            num_tokens=GPT, max_seq_len=TOKENS, attn_layers=layers, tie_embedding=True
        )
        label = following(tokens)

        def loss() -> Tensor:
            return F.cross_entropy(
                model(tokens).flatten(0, 1), label.flatten(), ignore_index=IGNORED
            )

        return Contender(model, loss, lambda: model(tokens))

    return Family(
        "gpt2",
        f"{DEPTH} layers, {DIM} wide, vocabulary {GPT:,}, {BATCH}x{TOKENS}",
        {"dougong": dougong, "transformers": transformers, "x-transformers": x_transformers},
        maps={"transformers": "transformers_gpt2"},
        near={"x-transformers": "no bias in attention, exact GELU"},
        flops=lambda: 6 * BATCH * macs("gpt2", GPT_WORDS, facts),
    )


def bert() -> Family:
    tokens = texts(BERT)
    types, label = torch.zeros_like(tokens), masked(tokens)

    def dougong() -> Contender:
        return ours(BERT_WORDS, "bert_base", {}, {"tokens": tokens, "token_types": types}, label)

    def transformers() -> Contender:
        from transformers import BertConfig, BertForMaskedLM

        config = BertConfig(
            hidden_size=DIM,
            num_hidden_layers=DEPTH,
            num_attention_heads=HEADS,
            vocab_size=BERT,
            intermediate_size=4 * DIM,
            max_position_embeddings=TOKENS,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        return of_transformers(
            BertForMaskedLM(config), label, input_ids=tokens, token_type_ids=types
        )

    return Family(
        "bert",
        f"masked language model, {DEPTH} layers, {DIM} wide, vocabulary {BERT:,}, {BATCH}x{TOKENS}",
        {"dougong": dougong, "transformers": transformers},
        maps={"transformers": "bench/bert_masked.yaml"},
        flops=lambda: 6 * BATCH * macs("bert_base", BERT_WORDS, {}),
    )


def families() -> list[Family]:
    return [gpt2(), bert()]
