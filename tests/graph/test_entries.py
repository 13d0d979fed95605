"""Entries: parts of a model that are called alone, with its weights."""

import copy

import pytest
import torch

from blocks.__main__ import main
from blocks.graph import (
    Composed,
    ConfigError,
    build,
    compose,
    open_cuts,
    open_entry,
    plan,
    plan_entry,
)
from blocks.graph.describe.cost import measure
from blocks.graph.describe.draw import draw
from blocks.graph.describe.emit import CannotEmit, emit
from blocks.graph.describe.table import describe

BATCH, SOURCE, TARGET, VOCAB = 3, 7, 5, 11
PAIRS = {
    "source": {"tokens": SOURCE, "dtype": "int", "vocab": VOCAB},
    "target": {"tokens": TARGET, "dtype": "int", "vocab": VOCAB},
    "source_mask": {"tokens": SOURCE, "dtype": "bool"},
    "target_mask": {"tokens": TARGET, "dtype": "bool"},
    "vocab": VOCAB,
}
TEXT = {
    "text": {"tokens": 6, "dtype": "int", "vocab": 24},
    "text_mask": {"tokens": 6, "dtype": "bool"},
}
IMAGE = {"image": {"channels": 1, "height": 8, "width": 8}}
LONG = {**PAIRS, "target_mask": {"tokens": SOURCE, "dtype": "bool"}}
SMALL = ["params.dim=12", "params.heads=2"]
MODELS = {
    "transformer": ([*SMALL, "params.hidden=10"], PAIRS),
    "t5_small": (
        [*SMALL, "params.hidden=10", "params.vocab=11", "params.depth=2", "params.length=7"],
        LONG,
    ),
    "seq2seq": (["params.dim=6", "params.hidden=10"], PAIRS),
    "vae": (["params.hidden=13"], IMAGE),
}
# an early exit, and the rest of the network behind it
EXITS = {
    "first": {"outputs": {"seen": "layers.0.mlp", "exit": "layers.1"}},
    "rest": {"inputs": {"given": "layers.1"}, "outputs": "head"},
    "inner": {
        "inputs": {"h": "layers.0.mlp"},
        "outputs": {"whole": "head", "one": "layers.1.mlp.norm"},
    },
}
GRAPH = {
    "layers": {
        "repeat": 3,
        "body": {
            "mlp": {
                "body": {
                    "norm": {"block": "LayerNorm"},
                    "wide": {"block": "Linear", "features": "dim"},
                }
            },
            "act": {"block": "Tanh"},
        },
    },
    "head": {"block": "Linear", "features": 5},
}


def make(entries=None, graph=GRAPH, **more):
    inputs = {"x": {"tokens": 7, "dim": 6}}
    return {"inputs": inputs, "graph": graph, "entries": entries or {}, **more}


def batch_of(facts):
    generator = torch.Generator().manual_seed(0)
    if facts is IMAGE:
        return {"image": torch.randn(BATCH, 1, 8, 8, generator=generator)}
    mask = torch.ones(BATCH, SOURCE, dtype=torch.bool)
    mask[1:, 4:] = False
    return {
        "source": torch.randint(VOCAB, (BATCH, SOURCE), generator=generator),
        "target": torch.randint(VOCAB, (BATCH, TARGET), generator=generator),
        "source_mask": mask,
    }


def call(network, batch):
    found = network(**{name: batch[name] for name in network.input_names if name in batch})
    return found if isinstance(found, dict) else {"out": found}


@pytest.mark.parametrize("name", MODELS)
def test_encode_then_decode_is_the_model(name):
    words, facts = MODELS[name]
    torch.manual_seed(0)
    network = build(name, overrides=words, facts=facts).eval()
    network = copy.deepcopy(network)
    batch = batch_of(facts)
    with torch.no_grad():
        whole = call(network, batch)
        kept = call(open_cuts(network, "decode"), batch)
        encoded = call(open_entry(network, "encode"), batch)
        decode = open_entry(network, "decode")
        found = call(decode, {**kept, **batch})
    assert "source" not in decode.input_names
    assert "image" not in decode.input_names
    for value, other in zip(found.values(), whole.values(), strict=False):
        assert torch.equal(value, other)
    if name != "vae":  # without noise the sample is the mean
        assert [*map(torch.Tensor.tolist, encoded.values())] == [
            *map(torch.Tensor.tolist, kept.values())
        ]
    weights = network.state_dict()
    for key, value in decode.state_dict().items():
        assert value.data_ptr() == weights[key].data_ptr()
    assert len(decode.state_dict()) < len(weights)


def test_entries_begin_and_end_inside_repeats():
    torch.manual_seed(0)
    network = build(make(EXITS)).eval()
    x = torch.randn(2, 7, 6)
    layers = [network.get_submodule(f"layers.{index}") for index in range(3)]
    first = open_entry(network, "first")(x)
    assert list(first) == ["seen", "exit"]
    assert torch.equal(first["seen"], layers[0].mlp(x))
    assert torch.equal(first["exit"], layers[1](layers[0](x)))
    assert "layers.2.mlp.wide.weight" not in open_entry(network, "first").state_dict()
    rest = open_entry(network, "rest")
    assert torch.equal(rest(first["exit"]), network(x))
    assert {name.partition(".mlp")[0] for name in rest.state_dict()} == {
        "layers.2",
        "head.weight",
        "head.bias",
    }
    inner = open_entry(network, "inner")(h=first["seen"])
    assert torch.equal(inner["whole"], network(x))
    assert torch.equal(inner["one"], layers[1].mlp.norm(layers[0](x)))


def test_a_port_that_nothing_else_reads_is_an_end_and_a_beginning():
    graph = {
        "lstm": {"block": "LSTM", "hidden": 4},
        "head": {"block": "Linear", "features": 3, "in": "lstm"},
    }
    entries = {
        "state": {"outputs": {"last": "lstm.state"}},
        "read": {"inputs": {"seen": "lstm"}},
    }
    network = build(make(entries, graph)).eval()
    x = torch.randn(2, 7, 6)
    sequence, state = network.lstm(x)[:2]
    assert torch.equal(open_entry(network, "state")(x)["last"], state)
    assert torch.equal(open_entry(network, "read")(sequence), network(x))


@pytest.mark.parametrize("entry", EXITS)
def test_an_entry_is_explained_drawn_and_emitted(entry):
    built = plan(Composed({"model": make(EXITS), "data": {"facts": {}}}))
    part = plan_entry(built, entry)
    costs, whole = measure(part), measure(built)
    for node in part.walk():
        if not isinstance(node.label, str) or not node.children:
            assert costs[node.path].macs == whole[node.path].macs
    for ending in (".svg", ".html", ".mmd", ".dot"):
        assert draw(part, ending, entry, None)
    if entry == "rest":
        with pytest.raises(CannotEmit) as error:
            emit(part, "part", "test")
        assert str(error.value) == (
            "the entry begins inside layers, and a list of PyTorch begins at 0: "
            "cut before or after it"
        )
        return
    network = built.materialise().eval()
    opened = open_entry(network, entry)
    space: dict = {}
    exec(emit(part, "part", "test"), space)
    written = space["Part"]().eval()
    written.load_state_dict(opened.state_dict())
    given = {name: torch.randn(2, 7, 6) for name in opened.input_names}
    found, expected = written(**given), opened(**given)
    if isinstance(found, torch.Tensor):
        found, expected = {"out": found}, {"out": expected}
    assert list(found) == list(expected) == list(part.outputs)
    for name, value in expected.items():
        assert torch.equal(found[name], value)
        assert tuple(value.shape)[1:] == part.outputs[name].shape[1:]


def test_the_record_of_an_entry():
    built = plan(Composed({"model": make(EXITS), "data": {"facts": {}}}))
    described = describe(plan_entry(built, "first"))
    (layers,) = described["nodes"]
    assert layers["block"] == "2 times"
    assert layers["outputs"] == {"0.mlp": ["batch", 7, 6], "1": ["batch", 7, 6]}
    assert described["parameters"] == 2 * (12 + 42)
    (rest, head) = describe(plan_entry(built, "rest"))["nodes"]
    assert [node["path"] for node in rest["children"]] == ["layers.2"]
    assert head["parameters"] == 35


def test_the_commands_take_an_entry(capsys, tmp_path):
    words = ["model=seq2seq", "model.params.dim=6", "model.params.hidden=10"]
    assert main(["explain", *words, "--entry", "decode", "--depth", "1", "--no-server"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:6]] == [
        "target_embedding",
        "decoder",
        "dropout",
        "head",
    ]
    assert main(["explain", *words, "--entry", "decode", "--symbolic", "--no-server"]) == 2
    assert capsys.readouterr().err.endswith(
        """\
the command line
  --symbolic is about the whole model
  got       --entry decode
  fix       leave one out
"""
    )
    picture = tmp_path / "decode.svg"
    assert main(["draw", *words, "--entry", "decode", "-o", str(picture)]) == 0
    assert main(["emit", *words, "--entry", "encode"]) == 0
    text = capsys.readouterr().out
    assert "--entry encode" in text
    assert "class Seq2seqEncode(nn.Module)" in text


# Mistakes -----------------------------------------------------------------------------------------


def test_an_input_that_is_not_given_is_named_with_its_way():
    network = build("transformer", overrides=SMALL, facts=PAIRS).eval()
    with pytest.raises(ConfigError) as error:
        open_entry(network, "decode")(memory=torch.zeros(1, 7, 12))
    way = "target -> target_embedding -> target_position -> target_dropout -> decoder"
    assert (
        str(error.value)
        == f"""\
entries.decode
  the entry 'decode' needs the input 'target'
  got       memory
  fits      memory, target, source_mask, target_mask
  fix       give it, or cut what lies between: {way} -> decoder_norm -> head"""
    )
    with pytest.raises(ConfigError) as error:
        open_entry(network, "decode")(torch.zeros(1, 9, 13), torch.zeros(1, 5, dtype=torch.long))
    assert (
        str(error.value)
        == """\
entries.decode
  the input 'memory' of the entry 'decode' does not fit
  got       memory (1, 9, 13)
  fits      (batch, tokens, dim=12)"""
    )
    with pytest.raises(ConfigError) as error:
        open_entry(network, "sample")
    assert (
        str(error.value)
        == """\
entries
  the model has no entry 'sample'
  fits      decode, encode"""
    )


def test_a_later_file_removes_an_entry_and_an_input_of_it():
    words = ["model=seq2seq", "model.entries.encode=null", "model.entries.decode.inputs.start=null"]
    network = plan(compose(words), PAIRS).model
    assert list(network.meta["entries"]) == ["decode"]
    assert list(network.meta["entries"]["decode"].inputs) == ["memory"]


def test_a_module_that_is_called_twice_is_not_cut_inside():
    body = {"a": {"block": "Linear", "features": 6}, "b": {"block": "Tanh"}}
    graph = {"one": {"body": body}, "two": {"share": "one"}}
    with pytest.raises(ConfigError) as error:
        build(make({"early": {"outputs": "one.a"}, "late": {"outputs": "two"}}, graph))
    assert (
        str(error.value)
        == """\
the composed configuration  entries.early
  the module around this node is called more than once
  got       one
  fix       cut before or after it"""
    )
