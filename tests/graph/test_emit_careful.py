"""Emitted files beside what a careful person writes: the same weights, the same logits, and not many more lines."""

import ast
import importlib.util
from pathlib import Path

import pytest
import torch

from blocks.graph import compose, plan
from blocks.graph.emit import emit

CAREFUL = Path(__file__).with_name("careful")
IMAGE = {"channels": 3, "height": 64, "width": 64}
FACTS = {"classes": 10, "vocab": 53, "tokens": {"tokens": 7, "dtype": "int", "vocab": 53}, "image": IMAGE}
# What the careful version takes; overrides that keep the test quick; how many times its lines of code the emitted file
# has at most.
MODELS = {
    "vit_b16": ((10, 17), ["depth=12"], 1.2),
    "swin_t": ((10, 16), [], 1.6),
    "resnet50": ((10,), [], 1.2),
    "lstm_language": ((53,), [], 1.2),
    "gpt2": ((2,), ["depth=2"], 1.2),
    "transformer_base": ((1,), ["depth=1"], 1.4),
}


def lines_of_code(text):
    """Lines that are neither blank nor in a docstring or comment."""
    silent = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            silent |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(number not in silent and bool(line.strip()) and line.strip()[0] != "#" for number, line in lines)


def inputs_of(model):
    words = torch.randint(0, 53, (2, 7))
    real = torch.arange(7) < torch.tensor([[7], [4]])
    if model == "transformer_base":
        return {"source": words, "target": words[:, 2:], "source_mask": real, "target_mask": real[:, :5]}
    if model == "gpt2":
        return {"tokens": words, "padding_mask": real}
    return {"tokens": words} if model == "lstm_language" else {"image": torch.randn(2, 3, 64, 64)}


@pytest.mark.parametrize("model", MODELS)
def test_an_emitted_file_is_about_as_long_as_a_careful_one(model):
    sizes, overrides, times = MODELS[model]
    path = CAREFUL / f"{model}.py"
    found = importlib.util.spec_from_file_location(model, path)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    planned = plan(compose([f"model={model}", *(f"model.params.{word}" for word in overrides)]), FACTS)
    text = emit(planned, model, "emit")
    assert lines_of_code(text) <= times * lines_of_code(path.read_text("utf-8"))
    composed, careful = planned.materialise().eval(), module.Model(*sizes).eval()
    careful.load_state_dict(composed.state_dict())
    torch.manual_seed(3)
    given = inputs_of(model)
    with torch.no_grad():
        expected, logits = composed(**given)["logits"], careful(**given)["logits"]
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)
        for name in [name for name in given if name.endswith("mask")]:
            del given[name]
        torch.testing.assert_close(careful(**given)["logits"], composed(**given)["logits"], atol=1e-5, rtol=0)
