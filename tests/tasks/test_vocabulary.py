import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from blocks.graph import build
from tasks.data.sequences.base import IGNORED
from tasks.learn.losses import chunked_loss
from tasks.learn.losses.chunked_loss import Table, VocabularyLoss, loss_in_chunks, loss_of_logits

B, T, D, V = 3, 67, 11, 13
GPT = [
    "params.dim=22",
    "params.depth=2",
    "params.heads=2",
    "params.vocab=53",
    "params.length=7",
    "params.dropout=0.0",
]
PAIR = [
    "params.dim=22",
    "params.depth=1",
    "params.heads=2",
    "params.hidden=17",
    "params.vocab=53",
    "params.length=7",
    "params.dropout=0.0",
]
MODELS = {"gpt2": (GPT, ("tokens",)), "transformer_base": (PAIR, ("source", "target"))}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    torch.manual_seed(0)
    for name in ("CHUNK", "LARGE_CHUNK"):
        monkeypatch.setattr(chunked_loss, name, V * 64)  # several chunks, and a smaller last one


def labels(shape, vocab, ignored=0.3):
    label = torch.randint(vocab, shape)
    return label.masked_fill(torch.rand(shape) < ignored, IGNORED)


def head(bias, dtype=torch.double):
    sizes = ((B, T, D), (V, D), *([(V,)] if bias else []))
    return [torch.randn(size, dtype=dtype, requires_grad=True) for size in sizes]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("ignored", [0.0, 0.6])
def test_loss_and_gradients_are_those_of_cross_entropy_over_all_logits(smoothing, bias, ignored):
    tensors, label = head(bias), labels((B, T), V, ignored)
    hidden, weight, *rest = tensors
    found = loss_in_chunks(hidden, Table(weight), rest[0] if rest else None, label, smoothing)
    wanted = loss_of_logits(F.linear(*tensors), label, smoothing)
    torch.testing.assert_close(found.loss, wanted.loss, rtol=0, atol=1e-12)
    assert torch.equal(found.correct, wanted.correct)
    for ours, theirs in zip(
        torch.autograd.grad(3 * found.loss, tensors),
        torch.autograd.grad(3 * wanted.loss, tensors),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("bias", [True, False])
def test_what_is_compiled_for_a_gpu_gives_the_same_loss_and_gradients(monkeypatch, smoothing, bias):
    monkeypatch.setattr(chunked_loss, "compile_once", lambda function: function)
    monkeypatch.setattr(chunked_loss.CompiledChunks, "largest", V * 64)
    tensors, label = head(bias), labels((B, T), V, 0.6)
    hidden, weight, *rest = tensors
    table = Table(weight)
    found = loss_in_chunks(hidden, table, rest[0] if rest else None, label, smoothing, True)
    wanted = loss_of_logits(F.linear(*tensors), label, smoothing)
    torch.testing.assert_close(found.loss, wanted.loss, rtol=0, atol=1e-12)
    assert torch.equal(found.correct, wanted.correct)
    for ours, theirs in zip(
        *(torch.autograd.grad(each.loss, tensors) for each in (found, wanted)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_gpu_gives_the_same_loss_and_gradients(smoothing):
    tensors, label = (
        [each.detach().cuda().requires_grad_() for each in head(bias=True)],
        labels((B, T), V).cuda(),
    )
    hidden, weight, bias = tensors
    found = loss_in_chunks(hidden, Table(weight), bias, label, smoothing)
    wanted = loss_of_logits(F.linear(*tensors), label, smoothing)
    torch.testing.assert_close(found.loss, wanted.loss, rtol=0, atol=1e-12)
    assert torch.equal(found.correct, wanted.correct)
    for ours, theirs in zip(
        *(torch.autograd.grad(each.loss, tensors) for each in (found, wanted)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    tied = loss_in_chunks(torch.ones_like(hidden), Table(torch.zeros_like(weight)), None, label)
    assert torch.equal(tied.correct, label == 0)  # of equal logits the first


def test_a_token_without_a_label_is_never_right():
    label = torch.tensor([[0, IGNORED]])  # all tokens are as likely: argmax takes the first
    assert loss_of_logits(torch.zeros(1, 2, V), label).correct.tolist() == [[True, False]]
    assert loss_in_chunks(
        torch.ones(1, 2, D), Table(torch.zeros(V, D)), None, label
    ).correct.tolist() == [[True, False]]


def test_a_network_that_prefers_no_token_is_right_as_often_as_argmax():
    hidden = torch.randint(-9, 9, (B, T, D)).float()  # sums are exact in any order
    weight, label = torch.ones(V, D), labels((B, T), V)
    for found in (
        loss_in_chunks(hidden, Table(weight), None, label),
        loss_of_logits(hidden @ weight.t(), label),
    ):
        assert torch.equal(found.correct, label == 0)


def test_what_is_right_in_bfloat16_is_what_argmax_says():
    hidden, weight, label = torch.randn(B, 50 * T, D), torch.randn(V, D), labels((B, 50 * T), V)
    hidden, weight = hidden.bfloat16(), weight.bfloat16()
    found = loss_in_chunks(hidden, Table(weight), None, label)
    logits = torch.cat([weight @ piece.t() for piece in hidden[label != IGNORED].split(64)], 1).t()
    top = logits.topk(2, -1).values
    assert int((top[:, 0] == top[:, 1]).sum()) > 20  # there are ties
    assert torch.equal(
        found.correct[label != IGNORED], logits.argmax(-1) == label[label != IGNORED]
    )


def test_the_loss_of_no_label_is_nothing_and_teaches_nothing():
    hidden, weight = head(bias=False)
    label = torch.full((B, T), IGNORED)
    for found in (
        loss_in_chunks(hidden, Table(weight), None, label),
        loss_of_logits(hidden @ weight.t(), label),
    ):
        assert found.loss.item() == 0
        assert all(
            float(gradient.abs().max()) == 0
            for gradient in torch.autograd.grad(found.loss, [hidden, weight])
        )


def test_without_gradients_the_loss_alone_is_made():
    hidden, weight = head(bias=False)
    label = labels((B, T), V)
    with torch.no_grad():
        found = loss_in_chunks(hidden, Table(weight), None, label)
    torch.testing.assert_close(
        found.loss, loss_of_logits(hidden @ weight.t(), label).loss, rtol=0, atol=1e-12
    )


def test_bfloat16_is_as_close_as_its_digits():
    hidden, weight, bias = head(bias=True, dtype=torch.float32)
    label = labels((B, T), V)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss_in_chunks(hidden, Table(weight), bias, label)
    wanted = loss_of_logits(F.linear(hidden, weight, bias), label)
    assert found.loss.dtype == torch.float32
    assert abs(float(found.loss.detach()) / float(wanted.loss.detach()) - 1) < 2**-7
    ours, theirs = (
        torch.autograd.grad(loss, [hidden, weight, bias]) for loss in (found.loss, wanted.loss)
    )
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == torch.float32
        assert float((a - b).norm() / b.norm()) < 2**-6


def run(name, losses):
    """The gradients of a model for a sum of losses over several batches, each with its own
    weight.
    """
    words, inputs = MODELS[name]
    torch.manual_seed(1)
    network = build(name, words, {}).double()
    judge = VocabularyLoss(network)
    total = 0.0
    for factor in (1.0, 2.0):
        batch = {key: torch.randint(53, (B, 7)) for key in inputs}
        label = labels((B, 7), 53)
        total = total + factor * losses(network, judge, batch, label)
    total.backward()
    return {key: value.grad for key, value in network.named_parameters()}


@pytest.mark.parametrize("name", MODELS)
def test_a_tied_table_gets_the_gradients_of_head_and_lookups(name):
    ours = run(name, lambda network, judge, batch, label: judge(batch, label, 0.1).loss)
    theirs = run(
        name,
        lambda network, judge, batch, label: (
            loss_of_logits(network(**batch)["logits"], label, 0.1).loss
        ),
    )
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, rtol=0, atol=1e-12, msg=key)


def test_a_tied_table_whose_head_rests_still_learns_from_lookups():
    weight = torch.randn(V, D, requires_grad=True)
    table = Table(weight)
    rows = table.lookup(2, torch.tensor([[1, 2, 1]]))
    rows.sum().backward()
    wanted = torch.zeros_like(weight)
    wanted[1] = 2.0  # padding learns nothing
    assert torch.equal(weight.grad, wanted)


def test_after_the_loss_the_embedding_looks_up_by_itself():
    network = build("gpt2", GPT)
    judge = VocabularyLoss(network)
    tokens = torch.randint(53, (B, 7))
    before = network(tokens)["logits"]
    judge({"tokens": tokens}, tokens).loss.backward()
    assert network.embedding is not judge.embeddings[0]
    assert "table" not in vars(judge.embeddings[0])
    assert torch.equal(network(tokens)["logits"], before)


def test_a_network_without_a_linear_head_is_asked_whole():
    model = {
        "inputs": {"tokens": {"tokens": 7, "vocab": 53, "dtype": "int"}},
        "graph": {"embedding": {"block": "TokenEmbedding", "dim": 53}, "last": {"block": "GELU"}},
        "outputs": {"logits": "last"},
    }
    tokens = torch.randint(53, (B, 7))
    for network in (build(model), nn.Embedding(53, 53)):
        judge = VocabularyLoss(network)
        assert judge.parts is None
        given = {
            "tokens" if network is not None and hasattr(network, "input_names") else "input": tokens
        }
        result = network(**given)
        logits = result["logits"] if isinstance(result, dict) else result
        assert torch.equal(judge(given, tokens).loss, loss_of_logits(logits, tokens).loss)


def test_a_copy_learns_for_itself():
    network = build("gpt2", GPT)
    judge = copy.deepcopy({"network": network, "judge": VocabularyLoss(network)})
    tokens = torch.randint(53, (B, 7))
    judge["judge"]({"tokens": tokens}, tokens).loss.backward()
    assert network.head.weight.grad is None
    assert judge["network"].head.weight.grad is not None


def test_the_gradients_are_used_once():
    hidden, weight = head(bias=False)
    loss = loss_in_chunks(hidden, Table(weight), None, labels((B, T), V)).loss
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="the gradients of this loss were used already"):
        loss.backward()
