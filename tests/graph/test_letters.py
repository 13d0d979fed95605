"""`explain --symbolic`: sizes of the inputs as letters, which predict the shapes at other sizes."""

import json
import re

import pytest

from blocks.__main__ import main
from blocks.graph import Composed, compose, plan
from blocks.graph.describe.answers.letters import find_letters
from blocks.graph.language.expression import evaluate
from blocks.graph.language.patterns import Pieces

SIZES = {
    "vit_ti16": {"height": 64, "width": 96},
    "swin_t": {"height": 448, "width": 672},
    "resnet18": {"height": 128, "width": 64},
}
OUTPUTS = {
    "vit_ti16": "(batch, height*width/256 + 1, 192)",
    "swin_t": "(batch, height/32, width/32, 768)",
    "resnet18": "(batch, 512, height/32, width/32)",
}
LAST = {"vit_ti16": "layers", "swin_t": "stages", "resnet18": "stages"}


class Sizes(Pieces):
    """Letters as names of an expression."""

    def value(self, name):
        return self.pieces[name]


def facts_of(sizes):
    return {"image": {"channels": 3, **sizes}, "classes": 10}


SHORT = {"vit_ti16": ["model.params.depth=1"], "swin_t": [], "resnet18": []}
MODELS = [
    "vit_ti16",
    pytest.param("swin_t", marks=pytest.mark.slow),
    pytest.param("resnet18", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("model", MODELS)
def test_letters_predict_the_shapes_of_another_input(model):
    composed = compose([f"model={model}", *SHORT[model]])
    built = plan(composed, facts_of({"height": 224, "width": 224}))
    letters = find_letters(composed, built, plan)
    assert letters.show(LAST[model], "out") == OUTPUTS[model]
    other = plan(composed, facts_of(SIZES[model]))
    for node in other.walk():
        for name, value in node.outputs.items():
            texts = letters.shapes[node.path, name]
            found = [evaluate(text, Sizes({"batch": 7919, **SIZES[model]})) for text in texts]
            assert found == list(value.shape), node.path


def test_a_size_that_no_sum_describes_stays_a_number():
    graph = {
        "few": {"block": "Parameter", "shape": ["min(x.tokens, 20)", 6], "in": "x"},
        "all": {"block": "Concat", "in": ["few", "x"], "axis": 1},
        "wide": {"block": "Concat", "in": ["x", "x"], "axis": 2},
    }
    config = {"inputs": {"x": {"tokens": 7, "dim": 6}}, "graph": graph, "outputs": ["all", "wide"]}
    composed = Composed({"model": config, "data": {"facts": {}}})
    letters = find_letters(composed, plan(composed, {}), plan)
    assert letters.show("few", "out") == "(batch, 7, 6)"
    assert letters.show("all", "out") == "(batch, 14, 6)"
    assert letters.show("wide", "out") == "(batch, tokens, 12)"


def test_tokens_and_their_mask_are_one_letter(capsys):
    assert main(["explain", "model=transformer", "--symbolic", "--depth", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"decoder +2 times +\(batch, tokens, 128\) .*", lines[10])
    assert lines[-1] == "parameters and MACs for tokens=128"


def test_the_json_has_letters(capsys):
    assert main(["explain", "model=gpt", "--symbolic", "--json", "--depth", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["outputs"]["logits"] == ["batch", "tokens", 1024]
    assert main(["explain", "model=gpt", "--symbolic", "--csv"]) == 2
    assert capsys.readouterr().err.endswith(
        """\
the command line: --symbolic --csv
  --csv prints numbers alone
  fits      --symbolic with the table or with --json
"""
    )
