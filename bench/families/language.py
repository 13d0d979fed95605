"""GPT-2, Llama and BERT on random tokens: the next one, masked ones. 6 layers, 384 wide, 4 texts of
128 tokens, no dropout.

On a GPU as large as their papers have them: 12 layers, 768 wide, texts of 1,024 and 512 tokens, and
Llama 3.2 of 1 billion parameters with texts of 2,048.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.compare.contender import Contender, Family
from bench.families.ours import built, macs, memory
from tasks.learn.losses.chunked_loss import VocabularyLoss

GPT, BERT = 50257, 30522  # vocabularies
IGNORED, MASKED = -100, 0.15


@dataclass(frozen=True)
class Size:
    """Of a model, and of its batch."""

    dim: int = 384
    depth: int = 6
    heads: int = 6
    batch: int = 4
    tokens: int = 128

    @property
    def overrides(self) -> list[str]:
        """The size as overrides of the model."""
        return [
            f"params.dim={self.dim}",
            f"params.depth={self.depth}",
            f"params.heads={self.heads}",
            f"params.length={self.tokens}",
            "params.dropout=0.0",
        ]

    def __str__(self) -> str:
        return f"{self.depth} layers, {self.dim} wide"


LARGE_GPT, LARGE_BERT = Size(768, 12, 12, 16, 1024), Size(768, 12, 12, 16, 512)
LLAMA, LARGE_LLAMA = Size(batch=2), Size(2048, 16, 32, 4, 2048)
# The head of BERT's masked language model, Devlin et al. 2019, appendix A.2, as the authors wrote
# it.
BERT_HEAD = [
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


def texts(vocab: int, size: Size) -> Tensor:
    return torch.randint(
        vocab, (size.batch, size.tokens), generator=torch.Generator().manual_seed(0)
    )


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
    network = built(model, words, facts).to(label.device)
    loss = VocabularyLoss(network)
    return Contender(network, lambda: loss(inputs, label).loss, lambda: network(**inputs)["logits"])


def of_transformers(model: nn.Module, label: Tensor, **inputs: Tensor) -> Contender:
    model.to(label.device)
    return Contender(
        model, lambda: model(**inputs, labels=label).loss, lambda: model(**inputs).logits
    )


def gpt2(device: str, large: bool) -> Family:
    size = LARGE_GPT if large else Size()
    tokens = texts(GPT, size).to(device)
    facts: dict[str, Any] = {}

    def dougong() -> Contender:
        return ours(size.overrides, "gpt2", facts, {"tokens": tokens}, following(tokens))

    def transformers() -> Contender:
        from transformers import GPT2Config, GPT2LMHeadModel

        config = GPT2Config(
            n_embd=size.dim,
            n_layer=size.depth,
            n_head=size.heads,
            vocab_size=GPT,
            n_positions=size.tokens,
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

    def plain() -> Contender:
        from bench.compare.plain_gpt import PlainGPT

        model = PlainGPT(size.dim, size.depth, size.heads, size.tokens).to(device)
        label = following(tokens)

        def loss() -> Tensor:
            logits = model(tokens)
            return F.cross_entropy(logits.flatten(0, 1), label.flatten(), ignore_index=IGNORED)

        return Contender(model, loss, lambda: model(tokens)[..., :GPT])

    def x_transformers() -> Contender:
        from x_transformers import Decoder, TransformerWrapper

        layers = Decoder(dim=size.dim, depth=size.depth, heads=size.heads, attn_flash=True)
        model = TransformerWrapper(
            num_tokens=GPT, max_seq_len=size.tokens, attn_layers=layers, tie_embedding=True
        )
        model.to(device)
        label = following(tokens)

        def loss() -> Tensor:
            return F.cross_entropy(
                model(tokens).flatten(0, 1), label.flatten(), ignore_index=IGNORED
            )

        return Contender(model, loss, lambda: model(tokens))

    return Family(
        "gpt2",
        f"{size}, vocabulary {GPT:,}, {size.batch}x{size.tokens}",
        {
            "dougong": dougong,
            "transformers": transformers,
            "plain": plain,
            "x-transformers": x_transformers,
        },
        maps={"transformers": "transformers_gpt2"},
        near={"x-transformers": "no bias in attention, exact GELU", "plain": "47 more tokens"},
        flops=lambda: 6 * size.batch * macs("gpt2", size.overrides, facts),
        items=(tokens.numel(), "tokens"),
        memory=lambda: memory("gpt2", size.overrides, facts, size.batch),
    )


def llama(device: str, large: bool) -> Family:
    """Llama 3.2 of 1 billion parameters; on a CPU a small one."""
    size = LARGE_LLAMA if large else LLAMA
    vocab, hidden, kv_heads = 128256 if large else 8000, 4 * size.dim, size.heads // 2
    if large:
        kv_heads = 8
    words = [
        f"params.{name}={value}"
        for name, value in {
            "dim": size.dim,
            "depth": size.depth,
            "heads": size.heads,
            "kv_heads": kv_heads,
            "hidden": hidden,
            "vocab": vocab,
            "length": size.tokens,
        }.items()
    ]
    tokens = texts(vocab, size).to(device)

    def dougong() -> Contender:
        return ours(words, "llama32_1b", {}, {"tokens": tokens}, following(tokens))

    def transformers() -> Contender:
        from transformers import LlamaConfig, LlamaForCausalLM

        rotary: dict[str, Any] = {
            "rope_type": "llama3",
            "rope_theta": 5e5,
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        }
        config = LlamaConfig(
            hidden_size=size.dim,
            num_hidden_layers=size.depth,
            num_attention_heads=size.heads,
            num_key_value_heads=kv_heads,
            intermediate_size=hidden,
            vocab_size=vocab,
            max_position_embeddings=max(size.tokens, 16384),
            rms_norm_eps=1e-5,
            rope_parameters=rotary,
            tie_word_embeddings=True,
            use_cache=False,
        )
        return of_transformers(LlamaForCausalLM(config), tokens, input_ids=tokens)

    return Family(
        "llama",
        f"{size}, vocabulary {vocab:,}, {size.batch}x{size.tokens}",
        {"dougong": dougong, "transformers": transformers},
        maps={"transformers": "transformers_llama"},
        flops=lambda: 6 * size.batch * macs("llama32_1b", words, {}),
        items=(tokens.numel(), "tokens"),
        memory=lambda: memory("llama32_1b", words, {}, size.batch),
        only_gpu=True,
    )


def bert(device: str, large: bool) -> Family:
    size = LARGE_BERT if large else Size()
    words, tokens = [*size.overrides, *BERT_HEAD], texts(BERT, size)
    label = masked(tokens).to(device)
    tokens = tokens.to(device)
    types = torch.zeros_like(tokens)

    def dougong() -> Contender:
        return ours(words, "bert_base", {}, {"tokens": tokens, "token_types": types}, label)

    def transformers() -> Contender:
        from transformers import BertConfig, BertForMaskedLM

        config = BertConfig(
            hidden_size=size.dim,
            num_hidden_layers=size.depth,
            num_attention_heads=size.heads,
            vocab_size=BERT,
            intermediate_size=4 * size.dim,
            max_position_embeddings=size.tokens,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        return of_transformers(
            BertForMaskedLM(config), label, input_ids=tokens, token_type_ids=types
        )

    return Family(
        "bert",
        f"masked language model, {size}, vocabulary {BERT:,}, {size.batch}x{size.tokens}",
        {"dougong": dougong, "transformers": transformers},
        maps={"transformers": "bench/families/bert_masked.yaml"},
        flops=lambda: 6 * size.batch * macs("bert_base", words, {}),
        items=(tokens.numel(), "tokens"),
        memory=lambda: memory("bert_base", words, {}, size.batch),
    )


def families(device: str, large: bool) -> list[Family]:
    return [gpt2(device, large), llama(device, large), bert(device, large)]
