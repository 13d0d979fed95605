"""Weights for another resolution or number of channels."""

import pytest
import torch

from blocks.graph import build
from blocks.graph.record.token_grid import find_tables
from blocks.graph.weights import load_weights, save_weights
from blocks.graph.weights.first import find_first
from tests.models.test_weights import equal, linear, told


def bicubic(old, new):
    """One axis of an antialiased bicubic resampling, by Keys' kernel with a = -0.5, as a matrix."""
    scale = max(old / new, 1.0)
    matrix = torch.zeros(new, old, dtype=torch.float64)
    for row in range(new):
        for column in range(old):
            t = abs(column + 0.5 - (row + 0.5) * old / new) / scale
            if t < 1:
                matrix[row, column] = 1.5 * t**3 - 2.5 * t**2 + 1
            elif t < 2:
                matrix[row, column] = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return matrix / matrix.sum(1, keepdim=True)


def oblong(height, width, channels=1, seed=0):
    """A ViT on an image that need not be square: patches of 2 x 2, a class token."""
    torch.manual_seed(seed)
    facts = {"image": {"channels": channels, "height": height, "width": width}, "classes": 5}
    return build("vit", ["params.depth=1"], facts)


def to_timm(state):
    """Our names in timm's, for a ViT of one layer."""
    names = {
        "token.token": "cls_token",
        "position.table": "pos_embed",
        "patch.project": "patch_embed.proj",
        "layers.0.attention.norm": "blocks.0.norm1",
        "layers.0.attention.inner.qkv": "blocks.0.attn.qkv",
        "layers.0.attention.inner.project": "blocks.0.attn.proj",
        "layers.0.mlp.norm": "blocks.0.norm2",
        "layers.0.mlp.inner.expand": "blocks.0.mlp.fc1",
        "layers.0.mlp.inner.project": "blocks.0.mlp.fc2",
    }
    found = {}
    for name, value in state.items():
        ours = next((prefix for prefix in names if name.startswith(prefix)), "")
        found[names.get(ours, "") + name[len(ours) :]] = value
    return found


TIMM_LIKE = {
    "map": {
        "position.table": {"from": "pos_embed", "fit": "grid", "prefix": 1},
        "{name*}": "{name*}",
    }
}


@pytest.mark.parametrize("old", [(4, 8), (2, 8), (8, 2), (3, 5)])
@pytest.mark.parametrize("new", [(4, 4), (2, 8), (6, 3)])
@pytest.mark.parametrize("told", ["by the file", "by the map", "by the user"])
def test_grids_that_are_no_squares_are_resampled(tmp_path, old, new, told):
    theirs = oblong(2 * old[0], 2 * old[1], seed=1)
    ours = oblong(2 * new[0], 2 * new[1], seed=2)
    table = theirs.position.table.detach().clone()
    if told == "by the file":
        save_weights(theirs, tmp_path / "theirs.safetensors")
        report = load_weights(ours, tmp_path / "theirs.safetensors")
    else:
        state = dict(theirs.state_dict())
        state["pos_embed"] = state.pop("position.table")[None]
        map, grid = TIMM_LIKE, list(old)
        if told == "by the map":
            line = {**map["map"]["position.table"], "grid": list(old)}
            map, grid = {"map": {**map["map"], "position.table": line}}, None
        report = load_weights(ours, state, map, grid=grid)
    found = ours.position.table.detach()
    assert torch.equal(found[0], table[0])
    image = table[1:].double().view(*old, -1)
    expected = torch.einsum(
        "ph,qw,hwd->pqd", bicubic(old[0], new[0]), bicubic(old[1], new[1]), image
    )
    if old == new:
        assert report.reshaped == {}
        assert torch.equal(found, table)
    else:
        assert report.reshaped == {
            "position.table": f"{old[0]} x {old[1]} to {new[0]} x {new[1]}, bicubic"
        }
        assert torch.allclose(found[1:].double(), expected.flatten(0, 1), atol=1e-6)


def test_a_grid_that_nothing_states_is_asked_for():
    state = dict(oblong(8, 16).state_dict())
    state["pos_embed"] = state.pop("position.table")[None]
    message = told(oblong(8, 8), state, TIMM_LIKE)
    assert "32 positions behind 1 in front are no square, and nothing states their grid" in message
    assert "fits      [4, 8], [2, 16], [1, 32]" in message
    assert "weights.grid=[4, 8], --grid 4 8, or grid: [4, 8] in the line of the map" in message
    wrong = told(oblong(8, 8), state, TIMM_LIKE, grid=(4, 4))
    assert "4 x 4 is not the grid of 32 positions behind 1 in front" in wrong
    assert "a grid is its rows and columns" in told(oblong(8, 8), state, TIMM_LIKE, grid=(4, 0))
    assert "weights.grid is given, and no position table over a grid is loaded" in told(
        linear(2, 3), linear(2, 3).state_dict(), grid=(4, 8)
    )
    load_weights(oblong(8, 16), state, TIMM_LIKE)  # as many positions, no square: the same grid
    back = oblong(4, 16, seed=3)
    load_weights(
        back, oblong(4, 16, seed=4).state_dict()
    )  # 16 positions of our own, which are 2 x 8
    assert equal(back, oblong(4, 16, seed=4))


@pytest.mark.parametrize(
    "header", ["[", '{"position.table": 4}', '{"position.table": [4, -8]}', "[4, 8]"]
)
def test_a_header_with_no_grids_is_refused(tmp_path, header):
    from safetensors.torch import save_file

    state = {name: value.clone() for name, value in oblong(8, 16).state_dict().items()}
    save_file(state, tmp_path / "odd.safetensors", metadata={"format": "pt", "grids": header})
    message = told(oblong(8, 8), tmp_path / "odd.safetensors")
    assert "the grids in the header of this file cannot be read" in message


def test_a_window_that_is_no_square_keeps_its_middle():
    def window(height, width):
        block = {"block": "WindowAttention", "heads": 2, "window": 7}
        shape = {"height": height, "width": width, "dim": 4}
        return build({"inputs": {"x": shape}, "graph": {"only": block}})

    square, oblong = window(7, 7), window(2, 7)
    report = load_weights(oblong, square.state_dict())
    assert report.reshaped == {"only.position_bias_table": "13 x 13 to 3 x 13, bicubic"}
    middle = square.only.position_bias_table.detach().view(13, 13, 2)[6]
    assert torch.allclose(oblong.only.position_bias_table.view(3, 13, 2)[1], middle, atol=1e-5)


def test_the_grid_is_known_behind_other_ways_to_make_tokens():
    def model(height, width, graph):
        nodes = {
            **graph,
            "token": {"block": "ClassToken"},
            "position": {"block": "LearnedPosition"},
        }
        return build(
            {"inputs": {"x": {"channels": 4, "height": height, "width": width}}, "graph": nodes}
        )

    patches = "b c (h p) (w q) -> b (h w) (p q c)"
    ways = {
        (4, 8): {"cut": {"block": "Rearrange", "pattern": "b c h w -> b (h w) c"}},
        (2, 4): {"cut": {"block": "Rearrange", "pattern": patches, "sizes": {"p": 2, "q": 2}}},
        (4, 2): {"cut": {"block": "PatchEmbedding", "dim": 8, "size": [1, 4]}},
    }
    for grid, graph in ways.items():
        assert find_tables(model(4, 8, graph)) == {"position.table": ("grid", grid)}
    body = {"stem": {"body": {"cut": ways[4, 8]["cut"]}}}
    assert find_tables(model(4, 8, body)) == {"position.table": ("grid", (4, 8))}


@pytest.mark.parametrize(
    ("channels", "how", "expected"),
    [
        (1, "RGB to 1 channel, summed", [[7.0]]),
        (2, "RGB to 2 channels, repeated and scaled by 3/2", [[1.5, 3.0]]),
        (4, "RGB to 4 channels, repeated and scaled by 3/4", [[0.75, 1.5, 3.0, 0.75]]),
        (
            7,
            "RGB to 7 channels, repeated and scaled by 3/7",
            [[w * 3 / 7 for w in (1.0, 2, 4, 1, 2, 4, 1)]],
        ),
    ],
)
@pytest.mark.parametrize("map", [None, "timm_vit"])
def test_filters_of_colour_images_fit_other_channels(channels, how, expected, map):
    theirs, ours = oblong(8, 8, channels=3, seed=1), oblong(8, 8, channels=channels, seed=2)
    colours = torch.tensor([1.0, 2.0, 4.0])
    theirs.patch.project.weight.data[:] = colours.view(1, 3, 1, 1)
    state = dict(theirs.state_dict())
    if map:
        state = to_timm(state)
    report = load_weights(ours, state, map)
    assert report.channels == {"patch.project.weight": how}
    assert report.reshaped == {}
    assert f"  channels   patch.project.weight: {how}" in str(report)
    weight = ours.patch.project.weight.detach()
    wanted = torch.tensor(expected).view(1, channels, 1, 1).expand_as(weight)
    assert torch.allclose(weight, wanted, atol=1e-6)
    assert torch.equal(ours.patch.project.bias, theirs.patch.project.bias)
    grey = torch.randn(2, 1, 8, 8)
    if channels in (1, 3, 6):
        assert torch.allclose(
            ours(grey.expand(-1, channels, -1, -1))["logits"],
            theirs(grey.expand(-1, 3, -1, -1))["logits"],
            atol=1e-5,
        )


def test_only_the_first_convolution_takes_other_channels():
    def network(inside, before):
        graph = {
            **({"scale": {"block": "Dropout", "rate": 0.5}} if before else {}),
            "first": {"block": "Conv2d", "features": inside, "kernel": 3},
            "second": {"block": "Conv2d", "features": 5, "kernel": 3},
        }
        return build({"inputs": {"x": {"channels": 3, "height": 9, "width": 9}}, "graph": graph})

    state = {**network(3, False).state_dict()}
    message = told(network(4, False), state)
    assert "second.weight is (5, 4, 3, 3), and second.weight gives (5, 3, 3, 3)" in message
    assert find_first(network(4, True)) == {"scale", "first"}
