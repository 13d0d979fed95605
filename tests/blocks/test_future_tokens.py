"""Multi-token prediction: its loss by hand, shared weights, and what evaluation sees of it."""

import copy

import pytest
import torch
import torch.nn.functional as F

from blocks.errors import BlockError
from blocks.future_tokens import FutureTokens
from blocks.graph import build
from tasks.learn.losses.chunked_loss import VocabularyLoss

B, N, D, V, H = 2, 7, 6, 11, 2
FACTS = {"tokens": {"tokens": N, "dtype": "int", "vocab": V}, "vocab": V}
SMALL = ["params.dim=16", "params.depth=1", "params.heads=2"]


def made(**options) -> FutureTokens:
    torch.manual_seed(0)
    return FutureTokens(D, V, heads=H, hidden=5, **options).double()


@pytest.mark.parametrize("real", [None, torch.arange(N) < torch.tensor([[N], [4]])])
def test_the_loss_is_that_of_each_token_further_on(real):
    block = made(count=3, weight=0.5)
    x, tokens = torch.randn(B, N, D, dtype=torch.float64), torch.randint(V, (B, N))
    assert block(x, tokens, real) is x
    total = 0.0
    for number, layer in enumerate(block.layers):
        hidden = x + layer.attention(layer.attention_norm(x), real)
        hidden = hidden + layer.project(F.gelu(layer.expand(layer.mlp_norm(hidden))))
        logits = layer.norm(hidden) @ block.unembed.weight.T
        away, losses = number + 2, []
        for b, n in ((b, n) for b in range(B) for n in range(N - away)):
            if real is None or real[b, n + away]:
                chances = logits[b, n].exp() / logits[b, n].exp().sum()
                losses.append(-chances[tokens[b, n + away]].log())
        total += sum(losses) / len(losses)
    torch.testing.assert_close(block.auxiliary_loss, 0.5 * total, rtol=0, atol=1e-12)


def test_gradients_are_those_of_differences():
    block, tokens = made(count=2), torch.randint(V, (B, N))
    x = torch.randn(B, N, D, dtype=torch.float64, requires_grad=True)

    def loss(x, *weights):
        names = dict(zip(dict(block.named_parameters()), weights, strict=True))
        out = torch.func.functional_call(block, names, (x, tokens))
        return out, block.auxiliary_loss

    assert torch.autograd.gradcheck(loss, (x, *block.parameters()), fast_mode=True)


def test_fewer_tokens_than_heads_and_evaluation_have_no_loss():
    block, x = made(count=5), torch.randn(B, 2, D, dtype=torch.float64)
    block(x, torch.randint(V, (B, 2)))
    assert block.auxiliary_loss == 0
    assert block.eval()(x, torch.randint(V, (B, 2))) is x
    assert block.auxiliary_loss is None


@pytest.mark.parametrize("model", ["gpt", "llama"])
def test_any_decoder_gets_them_by_one_word_and_speaks_as_before(model):
    """The unembedding is the model's, also where it is tied to the embedding; the loss in chunks
    and that of whole logits have one gradient.
    """
    small = [*SMALL, "params.dropout=0.0"] if model == "gpt" else SMALL
    plain = build(model, small, FACTS).double()
    more = build(model, [*small, "+future=tokens"], FACTS).double()
    more.load_state_dict(plain.state_dict(), strict=False)
    assert more.future.unembed.weight is more.head.weight
    assert (more.head.weight is more.embedding.weight) == (model == "gpt")
    tokens, label = torch.randint(V, (2, B, N))
    torch.testing.assert_close(more.eval()(tokens), plain.eval()(tokens))
    other, gradients = copy.deepcopy(more.train()), []
    for each, chunked in ((more, True), (other, False)):
        if chunked:
            loss = VocabularyLoss(each)({"tokens": tokens}, label).loss
        else:
            loss = F.cross_entropy(each(tokens)["logits"].mT, label)
        (loss + each.future.auxiliary_loss).backward()
        gradients.append({name: value.grad for name, value in each.named_parameters()})
    assert gradients[0].keys() == gradients[1].keys()
    for name, wanted in gradients[1].items():
        torch.testing.assert_close(gradients[0][name], wanted, rtol=0, atol=1e-10)


def test_a_wrong_argument_is_told():
    with pytest.raises(BlockError, match="count must be positive; got count=0"):
        FutureTokens(D, V, heads=H, count=0)
