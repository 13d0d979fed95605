"""Edits of the graph: the text means what was done, and nothing else in it changes."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from blocks.graph import conf_folder
from blocks.graph.record.record import count_parameters
from blocks.studio.text import graph_edits
from blocks.studio.text.edits import EditError
from blocks.watch.engine import Engine

FOLDER = conf_folder() / "model"
FILES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.yaml"))}
VIT = FILES["vit"]
NOTHING = "{block: Identity}"
FLOW = "graph: {a: {block: ReLU}, b: {block: GELU, in: a}, c: {block: Add, in: [a, b.out]}}\n"


def some(*quick: str) -> Iterator[Any]:
    """All models; those that are not named are slow."""
    for model in FILES:
        yield pytest.param(model, marks=() if model in quick else pytest.mark.slow)


def graph_of(text: str) -> dict[str, Any]:
    return yaml.safe_load(text)["graph"]


def paths_of(graph: Any, head: str = "") -> Iterator[str]:
    """Every node that a file writes, outer before inner."""
    for name, node in (graph or {}).items():
        yield f"{head}{name}"
        if isinstance(node, dict):
            yield from paths_of(node.get("body"), f"{head}{name}.0.")


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], int]:
    """Build a text; return its parameters."""
    folder, engine = tmp_path_factory.mktemp("conf"), Engine()
    (folder / "model").mkdir()

    def count(text: str) -> int:
        (folder / "model" / "edited.yaml").write_text(text, encoding="utf-8")
        return count_parameters(engine.plan(["model=edited"], str(folder)).built.model)

    return count


@pytest.mark.parametrize("model", [*some("vit", "lstm_2x512", "unet", "segformer_b0")])
def test_what_was_inserted_is_deleted_without_a_trace(model):
    text = FILES[model]
    for path in paths_of(graph_of(text) if "graph" in yaml.safe_load(text) else {}):
        inserted = graph_edits.insert_after(text, path, NOTHING, "nothing_new")
        assert inserted.count("nothing_new") >= 1
        own = path.rpartition(".")[0] + "." * ("." in path) + "nothing_new"
        assert graph_edits.delete(inserted, own) == text, path


@pytest.mark.slow
def test_a_node_that_does_nothing_changes_no_number(build):
    before = build(VIT)
    for path in ("patch", "layers.0.mlp", "head"):
        for insert in (graph_edits.insert_after, graph_edits.insert_before):
            assert build(insert(VIT, path, NOTHING, "nothing")) == before


@pytest.mark.parametrize("model", FILES)
def test_the_format_changes_the_layout_alone(model):
    formatted = graph_edits.format_text(FILES[model])
    assert yaml.safe_load(formatted) == yaml.safe_load(FILES[model])
    assert graph_edits.format_text(formatted) == formatted
    comments = [line for line in FILES[model].splitlines() if line.startswith("#")]
    assert [line for line in formatted.splitlines() if line.startswith("#")] == comments


def test_who_read_a_node_reads_its_input():
    text = graph_edits.delete(VIT, "pool")
    assert text == VIT.replace("  pool:     {block: SelectToken, index: 0}\n", "")
    assert yaml.safe_load(graph_edits.delete(VIT, "head"))["outputs"] == {"logits": "pool"}
    assert graph_of(graph_edits.delete(FLOW, "a"))["b"] == {"block": "GELU", "in": "image"}
    assert graph_of(graph_edits.delete(FLOW, "b"))["c"] == {"block": "Add", "in": ["a", "a"]}
    apart = "graph:\n  a: {block: ReLU}\n  b: {block: GELU}\n  c: {block: Mish, in: a}\n"
    apart += "  d:\n    block: ReLU\n"
    assert graph_of(graph_edits.delete(apart, "c"))["d"] == {"block": "ReLU", "in": "a"}
    with pytest.raises(EditError, match="only node"):
        graph_edits.delete("graph: {a: {block: ReLU}}", "a")


def test_a_node_on_an_edge_is_read_by_one_node():
    text = graph_edits.insert_before(FLOW, "c", "{block: Mish}", "mish", "a")
    assert graph_of(text)["mish"] == {"block": "Mish", "in": "a"}
    assert graph_of(text)["c"]["in"] == ["mish", "b.out"]
    assert graph_of(text)["b"] == {"block": "GELU", "in": "a"}
    assert list(graph_of(text)) == ["a", "b", "mish", "c"]
    after = graph_of(graph_edits.insert_after(FLOW, "a", "{block: Mish}", "mish"))
    assert after["c"]["in"] == ["mish", "b.out"]


def test_a_node_is_replaced_and_keeps_what_flows_in():
    text = graph_edits.replace(FLOW, "b", "{block: Mish}")
    assert graph_of(text)["b"] == {"block": "Mish", "in": "a"}
    text = graph_edits.replace(VIT, "layers", "{use: mlp}")
    assert graph_of(text)["layers"] == {"use": "mlp", "repeat": "depth"}
    assert graph_of(text)["head"] == graph_of(VIT)["head"]


def test_a_node_is_duplicated_behind_itself(build):
    text = graph_edits.duplicate(VIT, "layers.0.mlp")
    body = graph_of(text)["layers"]["body"]
    assert list(body) == ["attention", "mlp", "mlp_2"]
    assert body["mlp_2"] == body["mlp"]
    text = graph_edits.duplicate(VIT, "layers")
    assert graph_of(text)["layers_2"] == graph_of(VIT)["layers"]
    assert build(text) > build(VIT)


def test_a_skip_connection_joins_two_nodes(build):
    text = graph_edits.connect(VIT, "position", "norm", "Add")
    assert graph_of(text)["add"] == {"block": "Add", "in": ["layers", "position"]}
    assert "in" not in graph_of(text)["norm"]
    assert build(text) == build(VIT)
    assert graph_edits.connect(VIT, "norm", "position", "Add") == text
    joined = graph_edits.connect(VIT, "position", "norm", "Concat, axis: 1")
    assert " {block: Concat, axis: 1, in: [layers, position]}" in joined
    again = graph_edits.connect(text, "token", "add", "Add")
    assert graph_of(again)["add"]["in"] == ["layers", "position", "token"]
    for source, target in (("patch", "token"), ("patch", "layers.0.mlp"), ("head", "head")):
        with pytest.raises(EditError):
            graph_edits.connect(VIT, source, target, "Add")


def test_neighbours_are_folded_into_a_template(build):
    text = graph_edits.fold(VIT, ["dropout", "position"], "place")
    assert yaml.safe_load(text)["place"]["body"]["dropout"]["rate"] == "params.dropout"
    assert list(graph_of(text)) == ["patch", "token", "place", "layers", "norm", "pool", "head"]
    assert build(text) == build(VIT)
    text = graph_edits.fold(VIT, ["norm", "head"], "classify")
    assert yaml.safe_load(text)["outputs"] == {"logits": "classify"}
    assert build(text) == build(VIT)
    for paths, name in (
        (["norm", "pool"], "1x"),
        (["norm", "pool"], "head"),
        (["norm", "layers.0.mlp"], "n"),
    ):
        with pytest.raises(EditError):
            graph_edits.fold(VIT, paths, name)


@pytest.mark.parametrize("path", ["", "x", "layers.0.attention.norm", "../x", "0"])
def test_a_node_that_the_text_does_not_write_is_refused(path):
    for edit in (graph_edits.delete, graph_edits.duplicate):
        with pytest.raises(EditError, match="not written"):
            edit(VIT, path)
