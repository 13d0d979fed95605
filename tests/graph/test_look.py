"""Looking inside: the weights are those that were used, and the network stays as it was."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blocks.attention import CrossAttention, LinearAttention, SelfAttention
from blocks.attention.additive import AdditiveAttention
from blocks.attention.patch import CrossPatchAttention, InnerPatchAttention
from blocks.attention.window import WindowAttention
from blocks.graph import build, inspect_attention
from blocks.graph.run.inspect import list_nodes, record_activations, record_attention
from blocks.pool import AttentionPool

B, N, C, DIM, HEADS, HIGH, WIDE = 2, 7, 5, 12, 3, 6, 11
FACTS = {
    "source": {"tokens": N, "dtype": "int", "vocab": 23},
    "target": {"tokens": C, "dtype": "int", "vocab": 23},
    "source_mask": {"tokens": N, "dtype": "bool"},
    "target_mask": {"tokens": C, "dtype": "bool"},
    "vocab": 23,
}


def scrambled(module: nn.Module) -> nn.Module:
    """With large random weights, so that attention is far from uniform."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.4)
    return module


def heads_of(part: Tensor, count: int) -> Tensor:
    return part.unflatten(-1, (count, -1)).transpose(1, 2)


def joined(block: nn.Module, weights: Tensor, values: Tensor) -> Tensor:
    return block.project((weights @ values).transpose(1, 2).flatten(2))


def phrase(source_tokens: tuple[int, ...] = (N, 4)) -> dict[str, Tensor]:
    torch.manual_seed(0)
    mask = torch.arange(N) < torch.tensor(source_tokens)[:, None]
    return {
        "source": torch.randint(5, 23, (B, N)),
        "target": torch.randint(5, 23, (B, C)),
        "source_mask": mask,
        "target_mask": torch.ones(B, C, dtype=torch.bool),
    }


# The weights that are used ------------------------------------------------------------------------

PADDING = torch.arange(N) < torch.tensor([[N], [4]])


@pytest.mark.parametrize(("kv_heads", "causal"), [(3, False), (1, False), (1, True)])
def test_self_attention_times_values_is_the_output(kv_heads, causal):
    block = scrambled(SelfAttention(DIM, heads=HEADS, kv_heads=kv_heads, causal=causal)).eval()
    x = torch.randn(B, N, DIM)
    weights = inspect_attention(block, {"x": x, "padding_mask": PADDING})[""]
    values = heads_of(block.qkv(x)[..., -kv_heads * block.head_dim :], kv_heads)
    expected = joined(block, weights, values.repeat_interleave(HEADS // kv_heads, 1))
    torch.testing.assert_close(block(x, padding_mask=PADDING), expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, HEADS, N))
    assert not weights[1, ..., 4:].any()
    assert not causal or not weights.triu(1).any()


@pytest.mark.parametrize("causal", [False, True])
def test_linear_attention_times_values_is_the_output(causal):
    block = scrambled(LinearAttention(DIM, heads=HEADS, causal=causal, chunk=4)).eval()
    x = torch.randn(B, N, DIM)
    weights = inspect_attention(block, {"x": x, "padding_mask": PADDING})[""]
    expected = joined(block, weights, heads_of(block.qkv(x).chunk(3, -1)[2], HEADS))
    torch.testing.assert_close(block(x, padding_mask=PADDING), expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, HEADS, N))
    assert not weights[1, ..., 4:].any()
    assert not causal or not weights.triu(1).any()


def test_attention_to_a_context_times_its_values_is_the_output():
    x, context, given = torch.randn(B, C, DIM), torch.randn(B, N, 8), {"padding_mask": PADDING}
    cross = scrambled(CrossAttention(DIM, 8, heads=HEADS)).eval()
    weights = inspect_attention(cross, {"x": x, "context": context, **given})[""]
    expected = joined(cross, weights, heads_of(cross.kv(context).chunk(2, -1)[1], HEADS))
    torch.testing.assert_close(cross(x, context, PADDING), expected, atol=1e-6, rtol=1e-5)
    additive = scrambled(AdditiveAttention(DIM, 8, hidden=17)).eval()
    weights = inspect_attention(additive, {"x": x, "context": context, **given})[""]
    torch.testing.assert_close(
        additive(x, context, PADDING), weights[:, 0] @ context, atol=1e-6, rtol=1e-5
    )
    assert record_attention(additive, {"x": x, "context": context})[""].cross
    itself = AdditiveAttention(DIM, DIM, hidden=17)
    assert not record_attention(itself, {"x": x, "context": x})[""].cross


def test_the_query_of_a_pool_times_values_is_the_output():
    block, x = scrambled(AttentionPool(DIM, heads=HEADS)).eval(), torch.randn(B, N, DIM)
    weights = inspect_attention(block, {"x": x, "padding_mask": PADDING})[""]
    expected = joined(block, weights, heads_of(block.key_value(x).chunk(2, -1)[1], HEADS))[:, 0]
    torch.testing.assert_close(block(x, PADDING), expected, atol=1e-6, rtol=1e-5)
    assert not weights[1, ..., 4:].any()


def on_cells(found, batch: int, head: int) -> Tensor:
    """Weights of windows as (queries, keys) over the cells of the grid, one row for each cell."""
    return torch.stack(
        [found.sent_from(cell)[batch, head].flatten() for cell in range(HIGH * WIDE)]
    )


WINDOWS = {
    "window": lambda: WindowAttention(DIM, HIGH, WIDE, heads=HEADS, window=3),
    "shifted": lambda: WindowAttention(DIM, HIGH, WIDE, heads=HEADS, window=3, shift=1),
    "inner patch": lambda: InnerPatchAttention(DIM, HIGH, WIDE, heads=HEADS, patch=4),
}


@pytest.mark.parametrize("kind", WINDOWS)
def test_windows_are_put_back_on_the_grid(kind):
    block = scrambled(WINDOWS[kind]()).eval()
    nn.init.zeros_(
        block.qkv.bias
    )  # padded cells then have no value, so that real cells make the whole output
    x = torch.randn(B, HIGH, WIDE, DIM)
    found = record_attention(block, {"x": x})[""]
    values = block.qkv(x).chunk(3, -1)[2].flatten(1, 2).unflatten(-1, (HEADS, -1))
    gathered = [
        torch.cat([on_cells(found, n, h) @ values[n, :, h] for h in range(HEADS)], -1)
        for n in range(B)
    ]
    expected = block.project(torch.stack(gathered)).view(x.shape)
    torch.testing.assert_close(block(x), expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(found.weights.sum(-1), torch.ones(found.weights.shape[:-1]))


def test_cells_that_only_the_shift_brought_together_do_not_meet():
    block = scrambled(WindowAttention(DIM, 6, 6, heads=HEADS, window=3, shift=1)).eval()
    found = record_attention(block, {"x": torch.randn(B, 6, 6, DIM)})[""]
    seen = found.sent_from(0)[0].sum(0)
    assert seen[0, 0] > 0
    assert not seen[1:].any()
    assert not seen[:, 1:].any()  # the corner is alone in its part of the shifted window


def test_patches_that_look_at_each_other_are_put_back_on_the_grid():
    block = scrambled(CrossPatchAttention(HIGH, WIDE, patch=3)).eval()
    x = torch.randn(B, HIGH, WIDE, C)
    found = record_attention(block, {"x": x})[""]
    padded = (
        F.pad(x, (0, 0, 0, 1)).unflatten(2, (4, 3)).unflatten(1, (2, 3)).permute(0, 5, 1, 3, 2, 4)
    )
    tokens = padded.reshape(B, C, 8, 9)
    out = block.project(found.weights @ block.qkv(tokens).chunk(3, -1)[2])
    expected = torch.zeros(B, C, HIGH * WIDE)
    real = found.places >= 0
    expected[:, :, found.places[real]] = out[:, :, real]
    torch.testing.assert_close(
        block(x), expected.view(B, C, HIGH, WIDE).movedim(1, -1), atol=1e-6, rtol=1e-5
    )
    assert torch.equal(
        found.sent_from(WIDE + 4)[0, 0, :3, :3], found.weights[0, 0, 1, 0].expand(3, 3)
    )


def test_a_masked_query_has_zeros_and_no_nan():
    block = scrambled(SelfAttention(DIM, heads=HEADS)).eval()
    weights = inspect_attention(
        block, {"x": torch.randn(B, N, DIM), "mask": torch.zeros(N, N, dtype=torch.bool)}
    )[""]
    assert torch.equal(weights, torch.zeros(B, HEADS, N, N))


# In a whole network -------------------------------------------------------------------------------


def test_a_scan_has_one_row_a_step():
    network = scrambled(build("seq2seq", facts=FACTS))
    batch = phrase()
    found = record_attention(network, batch)
    assert list(found) == ["decoder.search"]
    weights = found["decoder.search"].weights
    assert (weights.shape, found["decoder.search"].cross) == ((B, 1, C, N), True)
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, 1, C))
    assert not weights[1, ..., 4:].any()
    short = {**batch, "target": batch["target"][:, :3], "target_mask": batch["target_mask"][:, :3]}
    torch.testing.assert_close(
        inspect_attention(network, short)["decoder.search"], weights[:, :, :3]
    )  # the past knows no future


def test_a_scan_backwards_has_its_rows_in_the_order_of_the_tokens():
    body = {
        "query": {"block": "Rearrange", "in": "state", "pattern": "b d -> b 1 d"},
        "search": {"block": "AdditiveAttention", "in": {"context": "memory"}, "hidden": 4},
        "found": {"block": "Rearrange", "pattern": "b 1 d -> b d"},
        "state_next": {"block": "Add", "in": ["x", "found"]},
    }

    def weights(reverse: bool, x: Tensor, memory: Tensor) -> Tensor:
        scan = {
            "scan": {"axis": "tokens", "state": {"state": DIM}, "reverse": reverse},
            "body": body,
            "in": {"x": "x", "memory": "memory"},
            "outputs": {"state": "state_next"},
        }
        shapes = {"x": {"tokens": N, "dim": DIM}, "memory": {"tokens": C, "dim": DIM}}
        return inspect_attention(
            scrambled(build({"inputs": shapes, "graph": {"back": scan}})),
            {"x": x, "memory": memory},
        )["back.search"]

    x, memory = torch.randn(B, N, DIM), torch.randn(B, C, DIM)
    torch.testing.assert_close(weights(True, x, memory), weights(False, x.flip(1), memory).flip(2))


def test_a_module_that_is_called_twice_tells_both_calls():
    graph = {
        "layers": {
            "repeat": 2,
            "share": True,
            "body": {"attention": {"block": "SelfAttention", "heads": HEADS}},
        }
    }
    network = scrambled(build({"inputs": {"x": {"tokens": N, "dim": DIM}}, "graph": graph}))
    x = torch.randn(B, N, DIM)
    found = inspect_attention(network, {"x": x})
    block = network.get_submodule("layers.0.attention")
    assert list(found) == ["layers.0.attention", "layers.0.attention#2"]
    torch.testing.assert_close(
        found["layers.0.attention#2"], inspect_attention(block, {"x": block(x)})[""]
    )


class Broken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("broken on purpose")


@pytest.mark.parametrize("fails", [False, True])
def test_the_network_is_as_it_was(fails):
    network = build("vit", facts={"image": [1, 8, 8], "classes": 10}).train()
    network.get_submodule("layers.1").eval()
    network.get_submodule("layers.0.attention.inner").return_weights = False
    image = torch.randn(B, 1, 8, 8)
    if fails:
        network.head = Broken()
    before = copy.deepcopy(
        [{k: v for k, v in vars(m).items() if not k.startswith("_")} for m in network.modules()]
    )
    if fails:
        with pytest.raises(RuntimeError, match="broken on purpose"):
            inspect_attention(network, {"image": image})
        with pytest.raises(RuntimeError, match="broken on purpose"):
            record_activations(network, {"image": image})
    else:
        inspect_attention(network, {"image": image})
        record_activations(network, {"image": image})
    after = [{k: v for k, v in vars(m).items() if not k.startswith("_")} for m in network.modules()]
    assert [entry["training"] for entry in after] == [entry["training"] for entry in before]
    assert [entry.get("return_weights") for entry in after] == [
        entry.get("return_weights") for entry in before
    ]
    assert not any(module._forward_hooks for module in network.modules())


def test_what_the_network_says_while_it_is_looked_at_is_what_it_says():
    network = scrambled(build("swin", facts={"image": [1, 8, 8], "classes": 10})).eval()
    image = torch.randn(B, 1, 8, 8)
    given = record_activations(network, {"image": image})
    torch.testing.assert_close(given["head"], network(image)["logits"])
    assert list(given) == [
        "patch",
        "patch_norm",
        "stages.0.layers.0",
        "stages.0.layers.1",
        "stages.1.merge",
        "stages.1.layers.0",
        "stages.1.layers.1",
        "norm",
        "pool",
        "head",
    ]
    assert list(list_nodes(network)) == list(given)


def test_a_block_that_shows_its_weights_anyway_goes_on_to_do_so():
    block = SelfAttention(DIM, heads=HEADS, return_weights=True).eval()
    x = torch.randn(B, N, DIM)
    torch.testing.assert_close(inspect_attention(block, {"x": x})[""], block(x)[1])


def test_a_network_without_attention_shows_none():
    network = build("mlp", facts={"image": [1, 8, 8], "classes": 10})
    assert inspect_attention(network, {"image": torch.randn(B, 1, 8, 8)}) == {}


def test_what_was_compiled_is_passed_by():
    def compiler(graph, inputs):
        raise AssertionError("somebody compiles")

    network = build("vit", facts={"image": [1, 8, 8], "classes": 10})
    image = torch.randn(B, 1, 8, 8)
    plain = inspect_attention(network, {"image": image})
    network.compile(backend=compiler)
    again = inspect_attention(network, {"image": image})
    for path, weights in plain.items():
        torch.testing.assert_close(again[path], weights)
