"""`python -m tasks export RUN --node PATH`: a network that ends at one of its nodes."""

from pathlib import Path

import pytest
import torch

from blocks.graph import build, compose
from tasks.errors import ArgumentError
from tasks.export import (
    cut_network,
    end_at_node,
    export_run,
    make_inputs,
    read_entry_inputs,
    take_entry,
)
from tasks.run.load_run import Finished

FACTS = {"image": {"channels": 1, "height": 8, "width": 8}, "classes": 10}
SMALL = ["params.dim=12", "params.depth=2", "params.heads=2"]
DECODER = ["params.decoder_dim=8", "params.decoder_depth=1", "params.decoder_heads=2"]
BATCH = 3


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build("mae", overrides=[*SMALL, *DECODER], facts=FACTS).eval()


@pytest.fixture(scope="module")
def image():
    return torch.randn(BATCH, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def record(network, path, image):
    """The first output of a node in a run of the whole network."""
    found = []
    handle = network.get_submodule(path).register_forward_hook(
        lambda module, inputs, output: found.append(output)
    )
    with torch.no_grad():
        network(image=image)
    handle.remove()
    return found[0][0] if isinstance(found[0], tuple) else found[0]


@pytest.mark.parametrize("path", ["pool", "mask", "layers.0", "layers.1.attention.norm"])
def test_a_cut_network_gives_what_the_node_gives(network, image, path):
    cut = cut_network(network, path)
    with torch.no_grad():
        found = cut(image=image)
    assert list(found) == ["features"]
    assert torch.equal(found["features"], record(network, path, image))


def test_a_cut_network_has_the_weights_of_the_encoder_and_no_others(network):
    cut = cut_network(network, "pool")
    whole = network.state_dict()
    for name, value in cut.state_dict().items():
        assert value.data_ptr() == whole[name].data_ptr()
    assert {name.partition(".")[0] for name in cut.state_dict()} == {
        "patch",
        "token",
        "position",
        "layers",
        "norm",
    }
    # the second layer is cut behind the norm of its attention
    inner = cut_network(network, "layers.1.attention.norm").state_dict()
    assert not [name for name in inner if name.startswith("layers.1.mlp")]
    assert [name for name in inner if name.startswith("layers.1.attention.norm")]


def test_a_tower_takes_its_own_input_only():
    facts = {
        **FACTS,
        "text": {"tokens": 6, "dtype": "int", "vocab": 24},
        "text_mask": {"tokens": 6, "dtype": "bool"},
    }
    small = ["params.dim=12", "params.depth=1", "params.text_depth=1", "params.heads=2"]
    network = build("clip_small", overrides=small, facts=facts).eval()
    assert cut_network(network, "vision").input_names == ("image",)
    tower = cut_network(network, "text_unit")
    assert tower.input_names == ("text", "text_mask")
    text = torch.randint(5, 24, (BATCH, 6))
    with torch.no_grad():
        found = tower(text=text)["features"]
        whole = network(image=torch.zeros(1, 1, 8, 8), text=text)["text_projection"]
    assert torch.equal(found, whole)


@pytest.mark.parametrize("kind", ["safetensors", pytest.param("pt2", marks=pytest.mark.slow)])
def test_what_is_written_is_compared_with_the_node(network, image, tmp_path, kind):
    words = [f"model.{word}" for word in (*SMALL, *DECODER)]
    composed = compose(["model=mae", *words]).config
    run = Finished(tmp_path, composed, FACTS, network)
    ended = end_at_node(run, "pool", kind)
    parity = export_run(ended, kind, tmp_path / f"x.{kind}", {"image": image}, "drawn")
    assert parity.difference == 0


def test_a_folder_for_the_hub_is_refused_and_a_misspelt_node_is_named(network):
    run = Finished(Path("nowhere"), {}, FACTS, network)
    with pytest.raises(ArgumentError) as error:
        end_at_node(run, "pool", "hub")
    assert str(error.value) == (
        "a folder for the Hub holds a whole model; got --to hub; "
        "fits: --to onnx, --to pt2, --to safetensors"
    )
    with pytest.raises(ArgumentError) as error:
        cut_network(network, "layers.7")
    assert str(error.value) == (
        "the network has no such node; got layers.7; fits: did you mean layers.1 or layers.0?; "
        "fix: --node PATH, as `python -m blocks explain` prints it for this model"
    )
    with pytest.raises(ArgumentError) as error:
        cut_network(network, "patch.project")
    assert str(error.value) == (
        "a node inside a block or a scan is no end of a network; got patch.project; fits: patch"
    )


def test_without_noise_nothing_is_hidden_and_nothing_is_drawn(network, image):
    state = torch.get_rng_state()
    with torch.no_grad():
        found = network(image=image)
    assert torch.equal(torch.get_rng_state(), state)
    assert not found["mask"].any()


PAIRS = {
    "source": {"tokens": 7, "dtype": "int", "vocab": 11},
    "target": {"tokens": 5, "dtype": "int", "vocab": 11},
    "source_mask": {"tokens": 7, "dtype": "bool"},
    "target_mask": {"tokens": 5, "dtype": "bool"},
    "vocab": 11,
}


@pytest.mark.parametrize(
    ("kind", "entry"),
    [
        ("safetensors", "decode"),
        pytest.param("pt2", "decode", marks=pytest.mark.slow),
        pytest.param("onnx", "encode", marks=pytest.mark.slow),
        pytest.param("onnx", "decode", marks=pytest.mark.slow),
    ],
)
def test_an_entry_is_written_and_compared(tmp_path, kind, entry):
    torch.manual_seed(0)
    words = [*SMALL, "params.hidden=10"]
    whole = build("transformer", overrides=words, facts=PAIRS).eval()
    composed = compose(["model=transformer", *(f"model.{word}" for word in words)]).config
    run = Finished(tmp_path, composed, PAIRS, whole)
    taken = take_entry(run, entry, kind)
    batch = read_entry_inputs(run, taken, make_inputs(run, BATCH))
    names = ["source", "source_mask"]
    if entry == "decode":
        names = ["memory", "target", "source_mask", "target_mask"]
    assert list(batch) == names
    parity = export_run(taken, kind, tmp_path / f"x.{kind}", batch, "drawn")
    assert parity.is_close
