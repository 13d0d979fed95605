"""`cycle` beside `repeat`, and slots that an expression chooses."""

import pytest

from blocks.graph import Composed, compose, plan
from blocks.graph.describe.draw.draw import draw_mermaid
from blocks.graph.describe.table import describe, table
from blocks.graph.describe.why import why
from tests.graph.emitted import check_config
from tests.graph.test_copied_repeats import build_both

SLOTS = {
    "attention": {"block": "SelfAttention", "heads": 2, "window": "window"},
    "full": {"block": "SelfAttention", "heads": 4},
    "branch": {
        "holes": ["inner"],
        "body": {"inner": {"use": "inner"}, "norm": {"block": "LayerNorm"}},
    },
    "pair": {"body": {"mix": {"use": "branch", "inner": {"use": "attention"}}}},
}
BODY = {"mix": {"use": "branch", "inner": {"use": "attention"}}, "act": {"block": "GELU"}}


def model_of(body=BODY, **words):
    layers = {"repeat": 5, "body": body, **words}
    inputs, params = {"x": {"tokens": 7, "dim": 8}}, {"window": 6, "kinds": ["full", "attention"]}
    return {"params": params, "inputs": inputs, "graph": {"layers": layers}, **SLOTS}


def arguments_of(model, name, path="mix.inner"):
    built = plan(Composed({"model": model, "data": {"facts": {}}}), {})
    found = []
    for index in range(5):
        found.append(built.find(f"layers.{index}.{path}").values.get(name))
    return found


def test_values_of_a_param_take_turns_also_in_options():
    model = model_of(cycle={"window": ["window // 3", "window", 7]})
    assert arguments_of(model, "window") == [2, 6, 7, 2, 6]


@pytest.mark.parametrize("values", [["full", "full", "attention"], "kinds"])
@pytest.mark.parametrize(
    ("body", "path"), [(BODY, "mix.inner"), ({"a": {"use": "pair"}}, "a.mix.inner")]
)
def test_slots_take_turns_also_in_templates(values, body, path):
    expected = [4, 4, 2, 4, 4] if isinstance(values, list) else [4, 2, 4, 2, 4]
    assert arguments_of(model_of(body, cycle={"attention": values}), "heads", path) == expected


CHOSEN = {
    "attention if layer.index % 2 else full": [4, 2, 4, 2, 4],
    "full if window == 6 else attention": [4, 4, 4, 4, 4],
    "kinds[layer.index % 2]": [4, 2, 4, 2, 4],
    "kind": [4, 4, 2, 4, 4],  # the name of a cycle
}


@pytest.mark.parametrize("text", CHOSEN)
def test_an_expression_chooses_the_slot(text):
    cycle = {"kind": ["full", "full", "attention"]} if text == "kind" else {"window": [6]}
    body = {"mix": {"use": "branch", "inner": {"use": text}}}
    if text == "kind":
        cycle["window"] = [6]
    assert arguments_of(model_of(body, cycle=cycle), "heads") == CHOSEN[text]


def test_repeats_with_equal_elements_are_copied(monkeypatch):
    cycle = {"attention": ["full", "full", "attention"], "window": ["window", 2]}
    composed = Composed({"model": model_of(cycle=cycle), "data": {"facts": {}}})
    built, alone, copied = build_both(composed, {}, monkeypatch)
    assert built.find("layers.4.mix.inner").values == alone.find("layers.4.mix.inner").values
    for index in range(5):
        path = f"layers.{index}.mix.inner"
        assert built.find(path).values == alone.find(path).values
    assert not [path for path in copied if path.startswith(("layers.1", "layers.2"))]


def test_a_cycle_is_emitted(tmp_path):
    cycle = {"attention": ["full", "attention"], "window": [2, 3, 4]}
    check_config(model_of(cycle=cycle), tmp_path)


def test_why_names_the_line_of_the_cycle():
    built = plan(compose(["model=gemma2_2b", "model.params.depth=2"]), {})
    text = why(built, "layers.1.attention.inner.window")
    assert text.startswith("layers.1.attention.inner.window = 8192")
    assert "with      window=8192  conf/model/gemma2_2b.yaml:" in text


def test_repeats_of_one_form_share_a_line_wherever_they_stand():
    """A part, or a window at all, makes a form; another width of it is named, a rate is not."""
    turned = {"block": "SelfAttention", "heads": 2, "window": 3, "rotary": {"block": "Rotary"}}
    wider = {**turned, "window": 5}
    drop = {"block": "Dropout", "rate": "0.1 * layer.fraction"}
    body = {"attention": {"use": "attention"}, "drop": drop}
    plain = {"block": "SelfAttention", "heads": 2}
    turns = ["attention", "turned", "wider", "attention"]
    layers = {"repeat": 9, "cycle": {"attention": turns}, "body": body}
    inputs = {"x": {"tokens": 7, "dim": 8}}
    slots = {"attention": plain, "turned": turned, "wider": wider}
    model = {"inputs": inputs, "graph": {"layers": layers}, **slots}
    built = plan(Composed({"model": model, "data": {"facts": {}}}), {})
    shown = [line.split("  (batch")[0].rstrip() for line in table(built).splitlines()[2:-2]]
    assert shown == [
        "layers         9 times",
        "  0, 3-4, 7-8  body x5",
        "    attention  SelfAttention",
        "    drop       Dropout",
        "  1-2, 5-6     body x4",
        "    attention  SelfAttention +Rotary",
        "                 (window 3, 5)",
        "    drop       Dropout",
    ]
    assert "SelfAttention (window, rotary by layer)" in draw_mermaid(built)
    nodes = describe(built)["nodes"][0]["children"]
    assert [node["children"][0]["parts"] for node in nodes[:2]] == [{}, {"rotary": "Rotary"}]
