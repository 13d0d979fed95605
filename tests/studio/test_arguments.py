"""Arguments of a node: where the text has them, and that an edit changes one and nothing else."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from blocks.graph import conf_folder
from blocks.studio.text.arguments import (
    find_site,
    open_site,
    quote,
    remove_value,
    set_value,
    write_raw,
)
from blocks.studio.text.edits import EditError
from blocks.watch.engine import Engine, Explained

FOLDER = conf_folder() / "model"
FILES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.yaml"))}
VIT = FILES["vit"]
BLOCK = "graph:\n  a:\n    block: Linear  # wide\n    features: 3\n\n  b: {block: ReLU}\n"


def some(*quick: str) -> Iterator[Any]:
    """All models; those that are not named are slow."""
    for model in FILES:
        yield pytest.param(model, marks=() if model in quick else pytest.mark.slow)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Explained]:
    """Build a text."""
    folder, engine = tmp_path_factory.mktemp("conf"), Engine()
    (folder / "model").mkdir()

    def plan(text: str) -> Explained:
        (folder / "model" / "edited.yaml").write_text(text, encoding="utf-8")
        return engine.plan(["model=edited"], str(folder))

    return plan


@pytest.mark.parametrize("model", [*some("vit", "swin", "llama", "unet")])
def test_each_argument_is_found_where_it_was_read(model, build):
    """The record of the assembler has the place of what was written; the panel finds it again."""
    shown = build(FILES[model])
    config = shown.composed.config["model"]
    for node in shown.built.walk():
        site = find_site(config, node.path)
        if site is None:
            continue
        opened = open_site(config, site)
        places = {site.keys, (*site.keys, "params")}
        if opened is not None:
            places |= {opened.keys, (*opened.keys, "params")}
        for name, argument in node.arguments.items():
            if argument.text is not None and "use" not in site.raw:
                assert argument.text.path[1:] in {(*place, name) for place in places}, node.path


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("pool", "graph.pool"),
        ("layers.3", "graph.layers"),
        ("layers.0.attention", "graph.layers.body.attention"),
        ("layers.0.attention.inner", "graph.layers.body.attention.inner"),  # it fills a hole
        ("layers.0.attention.norm", "residual.body.norm"),  # of an option
        ("layers.2.mlp.inner.expand", "mlp.body.expand"),
    ],
)
def test_a_node_is_found_through_slots_and_holes(path, keys, build):
    config = build(VIT).composed.config["model"]
    assert ".".join(find_site(config, path).keys) == keys
    assert find_site(config, f"{path}.nothing") is None


@pytest.mark.parametrize(
    ("path", "name", "value", "read"),
    [
        ("pool", "index", "1", 1),
        ("head", "bias", "false", False),
        ("dropout", "rate", "min(dropout, 0.1)", 0.0),
        ("layers.0.attention.inner", "heads", "8", 8),
        ("layers.0.attention.norm", "epsilon", "1.0e-4", 1e-4),
        ("layers.2.mlp.inner.expand", "bias", "false", False),
        ("layers.2.mlp.inner.activation", "approximate", "tanh", "tanh"),
    ],
)
def test_an_argument_is_set_and_left_out_again(path, name, value, read, build):
    keys = find_site(build(VIT).composed.config["model"], path).argument(name)
    text = set_value(VIT, keys, value)
    node = next(node for node in build(text).built.walk() if node.path == path)
    assert node.values[name] == read
    again = set_value(text, keys, "3")
    assert set_value(again, keys, value) == text
    if name in ("heads", "bias", "epsilon", "approximate"):
        assert remove_value(text, keys) == VIT


def test_what_is_repeated_and_the_params_of_a_body_are_set_where_they_stand(build):
    config = build(VIT).composed.config["model"]
    repeat = find_site(config, "layers").argument("repeat")
    assert "    repeat: 3\n" in set_value(VIT, repeat, "3")
    own = "graph:\n  a:\n    params: {width: 3}\n    body: {b: {block: Linear, features: width}}\n"
    keys = find_site(yaml.safe_load(own), "a").argument("width")
    assert set_value(own, keys, "5") == own.replace("width: 3", "width: 5")


def test_comments_and_layout_stay():
    text = set_value(BLOCK, ("graph", "a", "bias"), "false")
    assert text == BLOCK.replace("features: 3\n", "features: 3\n    bias: false\n")
    text = set_value(BLOCK.replace("    features: 3\n", ""), ("graph", "a", "features"), "5")
    assert text == BLOCK.replace("features: 3", "features: 5")
    assert remove_value(BLOCK, ("graph", "a", "features")) == BLOCK.replace("    features: 3\n", "")


def test_a_value_stays_one_value():
    assert quote("dim // 2") == "dim // 2"
    assert quote("[2, 3]") == "[2, 3]"
    assert quote("max(1, dim)") == '"max(1, dim)"'
    assert quote("x.shape[-1]") == '"x.shape[-1]"'
    for value in ("1, bias: false", "1}", "# no", "1\nblock: Bad", "'"):
        assert list(yaml.safe_load(f"{{a: {quote(value)}}}")) == ["a"]
    with pytest.raises(EditError):
        quote(" ")


@pytest.mark.parametrize("text", ["[", "- a", "graph: &g {a: {block: ReLU}}\nother: *g\n"])
def test_a_text_where_no_edit_fits_is_refused(text):
    with pytest.raises(EditError):
        set_value(text, ("other", "a", "bias"), "true")


def test_values_are_shown_as_they_are_typed():
    assert [write_raw(raw) for raw in (True, None, 1e-6, "2 * dim")] == [
        "true", "null", "1e-06", "2 * dim",
    ]  # fmt: skip
    assert write_raw({"block": "Rotary", "base": [1, 2]}) == "{block: Rotary, base: [1, 2]}"
