"""Nodes copied from the repeat before: the record is that of a model built node by node."""

from collections.abc import Mapping
from typing import Any

import pytest

from blocks.graph import Built, ConfigError, compose, plan
from blocks.graph.assemble import node as nodes
from blocks.graph.compose.compose import Composed
from blocks.graph.compose.facts import example_of
from blocks.graph.describe.why import why
from blocks.graph.record.module import Graph
from tests.graph.test_copies import describe

FACTS = {"tokens": {"tokens": 7, "dim": 24}}
TEMPLATE = {
    "params": {"rate": 0.0},
    "holes": ["inner"],
    "body": {
        "norm": {"block": "LayerNorm"},
        "inner": {"use": "inner"},
        "drop": {"block": "DropPath", "rate": "rate"},
        "add": {"block": "Add", "in": ["x", "drop"]},
    },
}
LINEAR = {"block": "Linear", "features": 24}


def model_of(body: Mapping[str, Any], **words: Any) -> Composed:
    """A model that repeats a body five times."""
    layers = {"repeat": 5, "body": dict(body), **words}
    slots = {"branch": TEMPLATE, "mlp": {"body": {"expand": LINEAR, "act": {"block": "GELU"}}}}
    model = {"inputs": {"tokens": "data.tokens"}, "graph": {"layers": layers}, **slots}
    return Composed({"model": model, "data": {"facts": {}}})


def build_both(
    composed: Composed, facts: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> tuple[Built, Built, list[str]]:
    """A model with copies, the same without, and the paths of what was copied."""
    copied: list[str] = []
    copy = nodes.copy_node

    def note(assembly: Any, context: Any) -> Any:
        outputs = copy(assembly, context)
        if outputs is not None:
            copied.append(context.display)
        return outputs

    with monkeypatch.context() as patch:
        patch.setattr(nodes, "copy_node", note)
        with_copies = plan(composed, facts)
        patch.setattr(nodes, "copy_node", lambda assembly, context: None)
        without = plan(composed, facts)
    return with_copies, without, copied


def list_calls(built: Built) -> list[object]:
    """The calls of all bodies, the records they carry, and every name that leads to a value."""
    found: list[object] = []
    for path, module in built.model.named_modules(remove_duplicate=False):
        if not isinstance(module, Graph):
            continue
        found.append((path, repr(module.meta)))
        for call in module.graph.nodes:
            node = call.meta.get("node")
            carried = None if node is None else (node.path, [each.path for each in node.children])
            values = [_describe_value(each) for each in call.meta.get("inputs", ())]
            found.append((call.format_node(), carried, values))
    for node in built.walk():
        values = [_describe_value(each) for each in (*node.flow.values(), *node.outputs.values())]
        found.append((node.path, values, list(node.flow), list(node.arguments)))
    found += [list(built.registered), built.read_params, built.used_slots, len(built.recipes)]
    return found


def _describe_value(value: Any) -> tuple[object, ...]:
    return str(value), value.made_by, value.names, value.grid, value.idle, str(value.node)


def explain_all(built: Built) -> list[str]:
    return [why(built, node.path) for node in built.walk()]


@pytest.mark.parametrize(
    "model",
    ["vit", "gpt", "swin", "transformer", *(pytest.param("cat_t", marks=pytest.mark.slow),)],
)
def test_the_record_is_that_of_a_model_built_node_by_node(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = compose([f"model={model}"])
    built, expected, copied = build_both(composed, example_of(composed) or {}, monkeypatch)
    assert copied
    assert describe(built) == describe(expected)
    assert list_calls(built) == list_calls(expected)
    assert explain_all(built) == explain_all(expected)


# What depends on the repeat -> the nodes of the second repeat that are copied all the same.
BODIES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "nothing": (
        {"mlp": {"use": "branch", "inner": {"use": "mlp"}, "rate": 0.1}},
        {""},
    ),
    "an argument of a template": (
        {"mlp": {"use": "branch", "inner": {"use": "mlp"}, "rate": "layer.fraction / 2"}},
        {"mlp.norm", "mlp.inner", "mlp.add"},
    ),
    "a name that an argument leads to": (
        {
            "mlp": {
                "params": {"slope": "layer.index / 10", "rate": "slope"},
                "body": {"act": {"block": "GELU"}, "drop": {"block": "DropPath", "rate": "rate"}},
            },
        },
        {"mlp.act"},
    ),
    "what fills a hole": (
        {"mlp": {"use": "branch", "inner": {"block": "Dropout", "rate": "layer.index / 10"}}},
        {"mlp.norm", "mlp.drop", "mlp.add"},
    ),
    "a condition": (
        {"act": {"block": "GELU"}, "more": {**LINEAR, "when": "(layer).index % 2 > 0"}},
        {"act"},
    ),
    "a condition further inside": (
        {
            "act": {"block": "GELU"},
            "inside": {"body": {"more": {**LINEAR, "when": "layer . index > 2"}, "last": LINEAR}},
        },
        {"act", "inside.last"},
    ),
    "the argument of a node before": (
        {
            "first": {"block": "DropPath", "rate": "layer.index / 10"},
            "second": {"block": "DropPath", "rate": "first.rate"},
            "third": {"block": "DropPath", "rate": 0.1},
        },
        {"third"},
    ),
    "the shape of a node before": (
        {
            "first": {"block": "Linear", "features": "24 + 2 * layer.index"},
            "second": {"block": "GELU"},
            "third": LINEAR,
            "fourth": {"block": "ReLU"},
        },
        {"fourth"},
    ),
    "a repeat inside": (
        {"act": {"block": "GELU"}, "deep": {"repeat": 2, "body": {"linear": LINEAR}}},
        {"act", "deep.1"},
    ),
}


@pytest.mark.parametrize("what", BODIES)
def test_what_depends_on_the_repeat_is_built(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body, expected = BODIES[what]
    built, alone, copied = build_both(model_of(body), FACTS, monkeypatch)
    second = {path for path in copied if path.startswith("layers.1")}
    assert {path.removeprefix("layers.1").lstrip(".") for path in second} == expected
    assert describe(built) == describe(alone)
    assert list_calls(built) == list_calls(alone)
    assert explain_all(built) == explain_all(alone)


def test_elements_of_lists_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"linear": {"block": "Linear", "features": "width"}, "back": LINEAR}
    composed = model_of(body, repeat={"width": [3, 5, 7]})
    built, alone, copied = build_both(composed, FACTS, monkeypatch)
    assert not copied
    assert describe(built) == describe(alone)


def test_a_shape_that_changes_from_repeat_to_repeat_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    composed = model_of({"wider": {"block": "Linear", "features": "2 * dim"}})
    built, alone, copied = build_both(composed, FACTS, monkeypatch)
    assert not copied
    assert describe(built) == describe(alone)


@pytest.mark.parametrize(
    "body",
    [
        {"wrong": {"block": "DropPath", "rate": "layer.index / 3"}},
        {"linear": {"block": "Linear", "features": "24 - 6 * layer.index"}},
        {"spare": {"block": "GELU"}, "used": {**LINEAR, "in": "x"}},
        {"act": {"block": "Dropout", "rate": 2}},
    ],
)
def test_problems_are_those_of_a_model_built_node_by_node(
    body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = []
    for copies in (True, False):
        with monkeypatch.context() as patch:
            if not copies:
                patch.setattr(nodes, "copy_node", lambda assembly, context: None)
            with pytest.raises(ConfigError) as caught:
                plan(model_of(body), FACTS)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
