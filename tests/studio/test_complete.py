"""Completion: what is offered at a place is what the language takes there."""

import re
from typing import Any

import pytest

from blocks.catalog import catalog
from blocks.graph import compose, conf_folder
from blocks.graph.describe.schema import schemas
from blocks.graph.language.expression import FUNCTIONS as KNOWN
from blocks.studio.text.complete import FUNCTIONS, complete, explain
from blocks.studio.text.fixes import find_mistake
from blocks.studio.text.spot import find_written
from blocks.studio.text.vocabulary import Vocabulary, shorten
from blocks.support.conf_folders import conf_folders

VIT = (conf_folder() / "model" / "vit.yaml").read_text(encoding="utf-8")
PLACES = {  # what is written in ViT -> what stands there, | for the cursor; some of what is offered
    "SelectToken": ("Sel|", "SelectToken MeanTokens", "token"),
    "index: 0}": ("|}", "index in repeat when", "block use dim"),
    "index: 0": ("index: 0, |", "in after", "index block"),
    "norm: layernorm": ("norm: |", "rmsnorm layernorm batchnorm", "gelu"),
    "{use: norm}": ("{use: |}", "norm mlp attention", "head_dim"),
    "data.classes}": ("da|}", "data.classes dim max default", "patch.x true"),
    "{block: ClassToken}": ("{block: ClassToken, in: [|]}", "image patch layers", "token mlp x"),
    "inner: {use: mlp": ("inner: {use: mlp, |", "hidden", "use block dropout causal"),
    "drop_path * layer.fraction": ("l|", "layer.index layer.count depth", "layer"),
    "    repeat: depth": ("    |", "repeat in scan", "dim body"),
    "logits: head": ("logits: |", "head pool image", "dim"),
    "outputs:": ("ti|", "tie outputs expect example norm", "dim graph"),
    "{use: norm}\n": ("{use: norm, in: |\n", "pool image", "norm"),
    "mlp:       {": (
        "new: {block: Add, in: |}\n      mlp:       {",
        "x attention mlp",
        "patch new",
    ),
}


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    folders = [folder / "model" for folder in conf_folders()]
    return Vocabulary(shorten(schemas(catalog([]), folders)["model.json"]))


def names_of(model: str) -> dict[str, Any]:
    facts = {"image": "[1, 8, 8]", "classes": "10"}
    return {"model": compose([f"model={model}"]).config["model"], "facts": facts}


@pytest.mark.parametrize("written", PLACES)
def test_what_fits_is_offered_and_nothing_else(written, vocabulary):
    typed, offered, left_out = PLACES[written]
    assert written in VIT
    text = VIT.replace(written, typed, 1)
    offset = text.index("|", VIT.index(written))
    text = text[:offset] + text[offset + 1 :]
    found = complete(text, offset, vocabulary, names_of("vit"))
    labels = [option["label"] for option in found["options"]]
    assert len(labels) == len(set(labels))
    assert set(offered.split()) <= set(labels)
    assert not set(left_out.split()) & set(labels)
    assert re.fullmatch(r"\w*", text[found["from"] : found["to"]])


@pytest.mark.parametrize("model", ["vit", "resnet18", "vit_b16"])
def test_each_word_of_a_model_that_is_no_new_name_is_offered_where_it_stands(model, vocabulary):
    text = (conf_folder() / "model" / f"{model}.yaml").read_text(encoding="utf-8")
    names = names_of(model)
    for match in re.finditer(r"(?<=[ {\[:])[A-Za-z_]\w+(?=[,:}\]\n])", text):
        found = find_written(text, match.start())
        if found is None or found[1] != match[0]:
            continue  # in a comment or a longer expression
        spot = found[0]
        place = str(spot.path[-1]) if spot.path else ""
        free = ("graph", "body", "params", "inputs", "state", "example", "repeat", "shape")
        if spot.is_key and (place in (*free, "in", "outputs", "sizes") or "inputs" in spot.path):
            continue  # a name that the author gives
        if place == "as" or "example" in spot.path or "initialise" in spot.path:
            continue
        cut = text[: match.start() + 1] + text[match.end() :]
        options = complete(cut, match.start() + 1, vocabulary, names)["options"]
        assert match[0] in [option["label"] for option in options], (spot.path, match[0])


def test_the_functions_are_those_of_expressions():
    assert set(FUNCTIONS) == {*KNOWN, "default"}


def test_a_word_is_explained(vocabulary):
    names = {**names_of("vit"), "slots": {"norm": {"layernorm": "Ba et al. 2016."}}}

    def say(word: str, before: str = "") -> str:
        offset = VIT.index(before + word) + len(before)
        return explain(VIT, offset, vocabulary, names).get("text", "")

    assert say("ClassToken") == "Put learned tokens before the first one."
    assert say("index").startswith("Place of the token")
    assert say("layernorm") == "Ba et al. 2016."
    assert say("patch", "size: ") == "A param: 2"
    assert say("patch", "  ") == ""


@pytest.mark.parametrize(
    "text", ["", "|", "graph: [|", "a: {b: [1, {c|", "\t|", "- |", "#|", "a: '|"]
)
def test_a_broken_text_is_completed_or_not_but_read(text, vocabulary):
    offset = max(text.find("|"), 0)
    found = complete(text.replace("|", ""), offset, vocabulary, {})
    assert found["from"] <= offset <= found["to"]


def test_the_wrong_word_of_a_mistake_is_found():
    text = VIT.replace("SelectToken", "SelectTokn")
    line = text[: text.index("SelectTokn")].count("\n") + 1
    entry = {"line": line, "column": 3, "from": None, "file": "studio/model/vit_draft.yaml"}
    entry |= {"code": "unknown-block", "problem": "unknown block 'SelectTokn'", "got": None}
    start, end = find_mistake(text, entry)
    assert text[start:end] == "SelectTokn"
    used = {"from": f"residual: prenorm, used at studio/model/vit_draft.yaml:{line}:3"}
    assert find_mistake(text, {**entry, **used, "line": 6}) == (start, end)
    assert find_mistake(text, {**entry, "line": 999}) is None
