"""Models for masks: decoders, stems and heads that one option exchanges, by their formulas."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from blocks.__main__ import main as ask
from blocks.graph import ConfigError, compose, plan

CLASSES, SIDE = 5, 32
FACTS = {
    "image": {"channels": 3, "height": SIDE, "width": SIDE},
    "label": {"height": SIDE, "width": SIDE, "dtype": "int"},
    "classes": CLASSES,
}
FOUR = "model.params.depths=[1,1,1,1]"
PYRAMIDS = {
    "resnet18": (FOUR, "model.params.width=8"),
    "swin": (
        *(FOUR, "model.params.heads=[1,2,2,4]", "model.params.dim=8"),
        *("model.params.patch=2", "model.params.window=2"),
    ),
    "convnext_t": (FOUR, "model.params.widths=[8,12,16,20]"),
    "cat": (
        *(FOUR, "model.params.heads=[1,2,2,4]", "model.params.dim=8"),
        *("model.params.patch=2", "model.params.window=2"),
    ),
}
VIT = ("model=vit_segment", "model.params.depth=1", "model.params.dim=24", "model.params.heads=2")


def build(*words):
    torch.manual_seed(0)
    return plan(compose([*words, "task=segment"]), FACTS).materialise().eval()


@pytest.fixture
def image():
    return torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def shake(network):
    """Give every parameter and every running mean a value of its own."""
    for number, (name, value) in enumerate(network.state_dict().items()):
        if value.is_floating_point() and "running_var" not in name:
            source = torch.Generator().manual_seed(number)
            value.add_(0.1 * torch.randn(value.shape, generator=source))
    return network


@pytest.mark.slow
@pytest.mark.parametrize("name", PYRAMIDS)
def test_the_decoder_fuses_the_levels_of_any_pyramid(name, image):
    """By the formula of Xie et al. 2021, section 3.2, from the outputs of the stages."""
    network = shake(build(f"model={name}", "+model/decoder=segformer", *PYRAMIDS[name]))
    seen = {}
    parts = dict(network.named_modules())
    hooks = [f"stages.{number}" for number in range(4)] + ["head"]
    for part in hooks:
        parts[part].register_forward_hook(
            lambda module, inputs, output, part=part: seen.update({part: output})
        )
    with torch.no_grad():
        logits = network(image)["logits"]
        levels = [seen["head"][:, :, None, None]]
        for number in (4, 3, 2, 1):
            level, out = parts[f"level_{number}"], seen[f"stages.{number - 1}"]
            if name in ("swin", "cat"):
                out = out.movedim(-1, 1)
            out = level.norm(out)
            levels.append(level.project(out))
        size = levels[-1].shape[-2:]
        fine = [F.interpolate(level, size=size, mode="bilinear") for level in levels]
        expected = parts["classes"](torch.cat(fine, 1))
    assert len({level.shape[-1] for level in levels}) >= 4
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)
    network(image)["logits"].square().sum().backward()
    assert {name for name, value in network.named_parameters() if value.grad is None} == set()


LEVELS = {
    "swin": ("model.params.dim=8", "model.params.heads=[1,2]", "model.params.depths=[1,1]"),
    **{name: PYRAMIDS[name] for name in ("resnet18", "convnext_t")},
}


@pytest.mark.parametrize(
    "name", ["swin", *[pytest.param(each, marks=pytest.mark.slow) for each in list(LEVELS)[1:]]]
)
def test_the_feature_pyramid_joins_the_levels_of_any_number_of_stages(name, image):
    """By the formulas of Lin et al. 2017, section 3, and Kirillov et al. 2019, section 3.2."""
    network = shake(build(f"model={name}", "+model/decoder=fpn", *LEVELS[name])).double()
    image = image.double()
    seen = {}
    parts = dict(network.named_modules())
    stages = [path for path in parts if path.count(".") == 1 and path.startswith("stages.")]
    for part in [*stages, "head"]:
        parts[part].register_forward_hook(
            lambda module, inputs, output, part=part: seen.update({part: output})
        )
    with torch.no_grad():
        logits = network(image)["logits"]
        above, levels = seen["head"][:, :, None, None], []
        for stage, level in zip(reversed(stages), network.pyramid.children(), strict=True):
            out = seen[stage].movedim(-1, 1) if name == "swin" else seen[stage]
            lateral = level.lateral(level.norm(out))
            above = lateral + F.interpolate(above, size=lateral.shape[-2:], mode="bilinear")
            levels.append(above)
        *coarser, finest = levels
        total = network.finest(finest)
        for map_, level in zip(reversed(coarser), network.fused.children(), strict=True):
            total = total + F.interpolate(
                level.smooth(map_), size=total.shape[-2:], mode="bilinear"
            )
        expected = network.classes(F.relu(total))
    assert len(levels) == len(stages) == len({level.shape[-1] for level in levels})
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-11)
    network(image)["logits"].square().sum().backward()
    assert {name for name, value in network.named_parameters() if value.grad is None} == set()


def test_a_tubelet_is_a_linear_layer_of_a_piece_of_frames():
    facts = {"video": {"channels": 3, "frames": 6, "height": 10, "width": 15}, "classes": 2}
    words = ["model=vivit", "model.params.patch=5", "model.params.dim=8"]
    network = plan(compose(words), facts).materialise()
    video = torch.randn(2, 3, 6, 10, 15)
    pieces = video.unflatten(2, (3, 2)).unflatten(4, (2, 5)).unflatten(6, (3, 5))
    pieces = pieces.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(1, 3).flatten(2)  # frames first
    project = network.patch.project
    expected = F.linear(pieces, project.weight.flatten(1), project.bias)
    torch.testing.assert_close(network.patch(video), expected, rtol=0, atol=1e-5)
    row = "{block: Rearrange, pattern: 'b f h w d -> b (f h w) d', after: patch}"
    words += ["+model.graph.patch.layout=grid", f"+model.graph.row={row}"]
    grid = plan(compose(words), facts).materialise().patch
    grid.load_state_dict(network.patch.state_dict())
    assert torch.equal(grid(video), network.patch(video).unflatten(1, (3, 2, 3)))


def test_the_stem_is_its_convolutions_and_gives_the_grid_of_the_patches(image):
    network = shake(build(*VIT))
    halved = network.patch.halved
    steps = []
    for number in range(2):
        layer = getattr(halved, str(number))
        steps += [layer.conv, layer.norm, nn.ReLU()]
    expected = nn.Sequential(*steps, network.patch.project)(image).movedim(1, -1)
    assert [step.kernel_size for step in steps[::3]] == [(3, 3), (3, 3)]
    torch.testing.assert_close(network.patch(image), expected, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2, 6, 8, 16])
def test_a_stem_gives_as_many_tokens_as_patches_of_its_size(size):
    words = [*VIT, f"model.params.patch={size}"]
    facts = {**FACTS, "image": {"channels": 3, "height": 48, "width": 48}}
    image = torch.randn(1, 3, 48, 48)
    shapes = set()
    for option in ("conv", "stem"):
        network = plan(compose([*words, f"model/patch={option}"]), facts).materialise().eval()
        shapes.add(tuple(network.patch(image).shape))
    assert shapes == {(1, 48 // size, 48 // size, 24)}


def test_the_shuffling_head_is_that_of_torch():
    head = shake(build(*VIT, "model/head=shuffle")).head
    features = torch.randn(2, 24, 8, 8, generator=torch.Generator().manual_seed(2))
    expected = F.pixel_shuffle(head.scores(features), 4)
    assert expected.shape == (2, CLASSES, SIDE, SIDE)
    torch.testing.assert_close(head(features), expected, rtol=0, atol=1e-6)


def test_the_upsampling_head_doubles_up_to_the_image():
    head = shake(build(*VIT, "model/head=upsample")).head
    features = torch.randn(2, 24, 8, 8, generator=torch.Generator().manual_seed(2))
    out = features
    for number in range(2):
        layer = getattr(head.doubled, str(number))
        out = F.conv_transpose2d(out, layer.grow.weight, layer.grow.bias, stride=2)
        scale = layer.norm.weight / (layer.norm.running_var + layer.norm.eps) ** 0.5
        shift = layer.norm.bias - layer.norm.running_mean * scale
        out = F.relu(out * scale[:, None, None] + shift[:, None, None])
    expected = F.conv2d(out, head.classes.weight, head.classes.bias)
    assert expected.shape == (2, CLASSES, SIDE, SIDE)
    torch.testing.assert_close(head(features), expected, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        *[(f"model={name}", "+model/decoder=segformer", *PYRAMIDS[name]) for name in PYRAMIDS],
        ("model=resnet18", "+model/decoder=segformer", "model/head=upsample"),
        ("model=maxvit_t", "+model/decoder=fpn", "model.params.window=1"),
        ("model=swin", "+model/decoder=fpn", "model/head=upsample"),
        *[(*VIT, f"model/head={head}") for head in ("linear", "upsample", "fuse", "shuffle")],
        (
            *VIT,
            "model/patch=conv",
            "model/position=sinusoidal_grid",
            "model/mlp=gelu",
            "model/head=linear",
        ),
        ("model=segformer",),
        ("model=unet",),
    ],
    ids=" ".join,
)
def test_check_and_explain_answer_for_each(words, capsys):
    more = ("task=segment", "data=digit_canvas", "data.size=32")
    assert ask(["check", *words, *more]) == 0
    assert "all good" in capsys.readouterr().out
    assert ask(["explain", *words, *more]) == 0
    assert "logits (batch, 11, " in capsys.readouterr().out


def test_a_pyramid_of_two_stages_is_told():
    with pytest.raises(ConfigError) as error:
        build("model=swin", "+model/decoder=segformer")
    assert "'stages' has no output '2'" in str(error.value)
