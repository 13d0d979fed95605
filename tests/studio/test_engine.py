"""Answers of Studio without a page: the same as those of the commands, for the text at hand."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blocks.graph import compose, conf_folder, plan
from blocks.graph.record.record import count_parameters
from blocks.studio.engine import Studio
from blocks.studio.page.language.mistakes import translate
from blocks.studio.totals import measure_ceiling
from blocks.watch.engine import Engine

ENGINE = Engine()
VIT = (conf_folder() / "model" / "vit.yaml").read_text(encoding="utf-8")
WORDS = ["data=digits"]
MENDED = {  # a mistake, and what the fix makes of it
    "block: ClassToken": ("block: ClassTokn", "block: ClassToken"),
    "size: patch": ("size: path", "size: patch"),
    "pool:     {block": ("pool:     {blok", "pool:     {block"),
    "norm:     {use: norm}": ("norm:     {use: norn}", "norm:     {use: norm}"),
    "features: data.classes": ("features: data.clases", "features: data.classes"),
    "logits: head": ("logits: haed", "logits: head"),
    "norm: layernorm": ("norm: layernrom", "norm: layernorm"),
    "index: 0": ("index: 0, dim: 3", "index: 0"),
    "params: {dim: 64": ("params: {dim： 64", "params: {dim: 64"),
    "    repeat: depth": ("\trepeat: depth", "    repeat: depth"),
}


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    monkeypatch.chdir(tmp_path)
    yield Studio(tmp_path, ENGINE)
    for draft in tmp_path.rglob("*.yaml"):
        draft.unlink()
    ENGINE.take_changed()  # it knows the folder of drafts by its relative path


def ask(studio: Studio, ask: str, **arguments: Any) -> dict[str, Any]:
    found = studio.answer({"ask": ask, **arguments})
    json.dumps(found)  # a process sends it
    return found


def draw(studio: Studio, text: str, model: str = "vit") -> dict[str, Any]:
    return ask(studio, "graph", model=model, text=text, words=WORDS)


def test_the_graph_and_numbers_are_those_of_the_text(studio):
    drawn = draw(studio, VIT.replace("dim: 64", "dim: 96"))
    model = plan(compose(["model=vit", "model.params.dim=96", *WORDS])).model
    assert drawn["parameters"] == count_parameters(model)
    assert drawn["command"] == ["model=vit", "model.params.dim=96", "data=digits"]
    numbers = ask(studio, "numbers")
    assert numbers["now"]["parameters"] == drawn["parameters"]
    assert numbers["base"]["parameters"] == 202186
    least = 6 * 64 * numbers["now"]["macs"] / measure_ceiling()  # 64: a batch of digits
    assert numbers["now"]["step"] == pytest.approx(least)
    assert numbers["now"]["field"] == 2  # of a patch; attention ends it
    for node, field in (("patch", 2), ("head", None), ("none", None)):
        assert ask(studio, "numbers", node=node)["now"]["field"] == field
    lines = dict(drawn["lines"])
    for name in ("patch", "layers", "head"):
        line = next(line for line, paths in lines.items() if name in paths)
        assert VIT.splitlines()[line - 1].strip().startswith(f"{name}:")
        assert f'data-node="{name}"' in drawn["svg"]
    assert "<script" not in drawn["svg"]
    assert "<style" not in drawn["svg"]


def test_a_draft_lies_in_the_project_while_the_text_differs(studio, tmp_path):
    draft = tmp_path / "studio" / "model" / "vit_draft.yaml"
    changed = VIT.replace("{block: SelectToken, index: 0}", "{block: MeanTokens}")
    assert draw(studio, changed)["command"][:3] == ["--config-dir", "studio", "model=vit_draft"]
    assert draft.read_text(encoding="utf-8") == changed
    assert draw(studio, VIT)["command"] == ["model=vit", "data=digits"]
    assert not draft.exists()


def test_a_changed_model_need_not_have_the_published_parameters(studio):
    text = (conf_folder() / "model" / "vit_b16.yaml").read_text(encoding="utf-8")
    words = ["data=imagenet"]
    changed = text.replace("depth: 12", "depth: 2")
    assert not ask(studio, "graph", model="vit_b16", text=changed, words=words)["errors"]
    assert ask(studio, "numbers")["claim"] == 86567656


@pytest.mark.parametrize("right", MENDED)
def test_a_fix_that_is_offered_mends_the_mistake(right, studio):
    wrong, better = MENDED[right]
    assert right in VIT
    text = VIT.replace(right, wrong, 1)
    errors = draw(studio, text)["errors"]
    assert errors[0]["line"]
    said = [errors[0]["problem"], errors[0]["fix"], errors[0]["fits"]]
    assert all(translate(text) or text == "index" for text in filter(None, said)), errors
    fixes = ask(studio, "fixes", model="vit", text=text, words=WORDS)["fixes"]
    assert fixes, errors
    assert not draw(studio, fixes[0]["text"])["errors"]
    assert better in fixes[0]["text"]


IMAGE = """inputs: {image: data.image}
graph:
  wide:    {block: Conv2d, features: 12, kernel: 1}
  conv:    {block: Conv2d, features: 24, groups: 2, kernel: 1}
  norm:    {block: GroupNorm, groups: 3}
  excite:  {block: SqueezeExcite, reduction: 4}
  shuffle: {block: PixelShuffle, factor: 2}
  pool:    {block: MaxPool2d, kernel: 4}
  parts:   {block: Rearrange, pattern: "b (c p) h w -> b c p h w", sizes: {p: 3}}
outputs: {logits: parts}
"""
DIVIDED = [  # the text, what stands there, what is written instead, and the fixes
    (VIT, "heads: 4", "heads: 7", "heads: 8|heads: 4"),
    (VIT, "dim: 64", "dim: 66", "dim: 64|dim: 68|heads: 3|heads: 2"),
    (VIT, "heads: 4", "heads: 4, kv_heads: 3", "kv_heads: 2|kv_heads: 4"),
    (VIT, "inner: {use: attention}", "inner: {use: attention, heads: 7}", "heads: 8|heads: 4"),
    (VIT, "patch: 2", "patch: 3", "patch: 2|patch: 4"),
    (VIT, "index: 0", "index: 40", "index: 16"),
    (VIT.replace("heads: 4, ", ""), "dim: 64", "dim: 200", "dim: 201|dim: 198|heads: 2|heads: 4"),
    (IMAGE, "groups: 2", "groups: 5", "groups: 4|groups: 6"),
    (IMAGE, "groups: 3", "groups: 5", "groups: 4|groups: 6"),
    (IMAGE, "reduction: 4", "reduction: 5", "reduction: 4|reduction: 6"),
    (IMAGE, "factor: 2", "factor: 5", "factor: 2"),
    (IMAGE, "kernel: 4", "kernel: 19", "kernel: 16|kernel: 8"),
    (IMAGE, "p: 3", "p: 4", "p: 3|p: 2"),
]


@pytest.mark.parametrize(("text", "right", "wrong", "labels"), DIVIDED)
def test_a_number_that_does_not_divide_is_replaced_by_the_nearest(
    text, right, wrong, labels, studio
):
    assert not draw(studio, text)["errors"]
    errors = draw(studio, text.replace(right, wrong, 1))["errors"]
    found = ask(studio, "fixes", model="vit", text=text.replace(right, wrong, 1), words=WORDS)
    assert "|".join(fix["label"] for fix in found["fixes"]) == labels, errors
    for fix in found["fixes"]:
        assert not draw(studio, fix["text"])["errors"]


def test_heads_of_a_small_vit_are_those_that_divide_192(studio):
    text = VIT.replace("dim: 64", "dim: 192")
    draw(studio, text)
    text = text.replace("heads: 4", "heads: 7")
    entry = draw(studio, text)["errors"][0]
    assert translate(entry["problem"]) == "SelfAttention：heads 必须整除 dim"
    fixes = ask(studio, "fixes", model="vit", text=text, words=WORDS)["fixes"]
    assert [fix["label"] for fix in fixes] == ["heads: 6", "heads: 8"]
    assert fixes[0]["text"] == text.replace("heads: 7", "heads: 6")


@pytest.mark.parametrize(
    ("right", "wrong", "label", "after"),
    [
        ("SelectToken, index: 0", "MeanTokens, index: 0", "− index", "{block: MeanTokens}"),
        ("SelectToken, index: 0", "MeanTokens, skp: 1", "skp → skip", "MeanTokens, skip: 1"),
        ("{use: norm}\n", "\n    use: norm\n    index: 3\n", "− index", "    use: norm\n  pool:"),
        ("{use: attention}", "{use: attention, hedas: 2}", "hedas → heads", "heads: 2}"),
        ("{use: attention}", "{use: attention, zzz: 2}", "− zzz", "{use: attention}"),
        ("params: {dim", "norm: {index: 0}\nparams: {dim", "− index", "\nparams: {dim"),
    ],
)
def test_an_argument_that_a_block_lacks_is_renamed_or_left_out(right, wrong, label, after, studio):
    draw(studio, VIT)
    text = VIT.replace(right, wrong, 1)
    assert draw(studio, text)["errors"][0]["code"] == "unknown-argument"
    fixes = ask(studio, "fixes", model="vit", text=text, words=WORDS)["fixes"]
    assert [fix["label"] for fix in fixes] == [label]
    assert after in fixes[0]["text"]
    assert not draw(studio, fixes[0]["text"])["errors"]


@pytest.mark.parametrize(
    ("model", "words", "slot", "option", "label"),
    [
        ("vit", WORDS, "norm: layernorm", "norm: batchnorm", "norm: layernorm"),
        ("vit", WORDS, "attention: full", "attention: window", "attention: full"),
        ("llama", ["data=text"], "attention: full", "attention: mamba", "position: none"),
    ],
)
def test_an_option_that_does_not_fit_is_changed_or_chosen_again(
    model, words, slot, option, label, studio
):
    text = (conf_folder() / "model" / f"{model}.yaml").read_text(encoding="utf-8")
    question = {"model": model, "words": words}
    assert not ask(studio, "graph", text=text, **question)["errors"]
    text = text.replace(slot, option, 1)
    assert option in text
    assert ask(studio, "graph", text=text, **question)["errors"]
    fixes = ask(studio, "fixes", text=text, **question)["fixes"]
    assert [fix["label"] for fix in fixes] == [label]
    assert not ask(studio, "graph", text=fixes[0]["text"], **question)["errors"]


def test_a_mistake_that_hides_another_is_mended_first(studio):
    draw(studio, VIT)
    text = VIT.replace("SelectToken, index: 0", "MeanTokens, index: 0")
    text = text.replace("patch: 2", "patch: 3")  # pool is not built before patch is
    assert len(draw(studio, text)["errors"]) == 1
    for label in ("patch: 2", "− index"):
        fixes = ask(studio, "fixes", model="vit", text=text, words=WORDS)["fixes"]
        assert fixes[0]["label"] == label
        text = fixes[0]["text"]
    assert not draw(studio, text)["errors"]


def test_a_mistake_keeps_the_model_that_was_right(studio):
    draw(studio, VIT)
    assert draw(studio, VIT.replace("use: norm", "use: norn"))["errors"]
    assert ask(studio, "node", path="head")["outputs"] == ["out (batch, 10)"]
    assert not ask(studio, "fixes", model="vit", text="graph: [", words=WORDS)["fixes"]


@pytest.mark.parametrize(
    ("right", "wrong", "node", "behind", "before"),
    [
        ("SelectToken", "SelectTokn", "pool", "head", "norm layers"),
        ("{use: position}", "{use: position, in: foo}", "position", "layers norm", "patch"),
        (
            "inner: {use: mlp",
            "inner: {use: mlq",
            "layers.0.mlp.inner",
            "layers.0.mlp.add pool",
            "layers.0.mlp layers",
        ),
        ("data.classes", "data.clases", "head", "", "pool"),
        ("norm: layernorm", "norm: layernrom", "", "", "head"),
    ],
)
def test_a_mistake_stands_in_the_last_graph(right, wrong, node, behind, before, studio):
    draw(studio, VIT)
    found = draw(studio, VIT.replace(right, wrong, 1))
    assert found["wrong"] == node.split()
    assert set(behind.split()) <= set(found["behind"])
    assert not {*before.split(), node} & set(found["behind"])


def test_the_fields_show_the_params_of_a_text_with_a_mistake(studio):
    def read_form(text: str) -> dict[str, str]:
        form = draw(studio, text)["form"]
        assert {each["name"]: each["option"] for each in form["slots"]}["norm"] == "layernorm"
        return {each["name"]: each["value"] for each in form["params"]}

    params = read_form(VIT)
    assert params["heads"] == "4"
    assert read_form(VIT.replace("heads: 4", "heads: 7")) == {**params, "heads": "7"}
    read_form(VIT.replace("heads: 4", "h"))  # half a word is a param
    assert read_form(VIT.replace("heads: 4", "heads: 7")) == {**params, "heads": "7"}
    assert "form" not in draw(studio, "params: [")
    huge = draw(studio, VIT.replace("heads: 4", f"heads: {10**80}"))["form"]["params"]
    assert [each["kind"] for each in huge if each["name"] == "heads"] == ["text"]


def test_the_palette_offers_slots_that_are_nodes(studio):
    nodes = draw(studio, VIT)["names"]["nodes"]
    assert list(nodes) == ["patch", "position", "attention", "norm", "mlp"]
    assert nodes["norm"] == "layernorm: Ba et al. 2016, arXiv:1607.06450."
    for name in nodes:
        if name != "patch":  # which reads an image
            added = VIT.replace("  layers:\n", f"  extra:    {{use: {name}}}\n  layers:\n")
            assert not draw(studio, added)["errors"], name


def test_a_node_tells_where_its_arguments_come_from(studio):
    draw(studio, VIT)
    node = ask(studio, "node", path="layers.0.attention.inner")
    arguments = {each["name"]: each for each in node["arguments"]}
    assert arguments["heads"]["value"] == "4"
    assert arguments["heads"]["origin"] == "conf/model/attention/full.yaml:3:1"
    dim = {"value": "64", "written": "", "origin": "inferred", "kind": "a whole number"}
    assert dim.items() <= arguments["dim"].items()
    assert "inferred  from" in node["why"]
    assert "  conf/model/attention/full.yaml:3:1" in node["why"]
    assert str(conf_folder()) not in node["why"]
    assert node["macs"] > 0
    assert "path" not in ask(studio, "node", path="../../etc/passwd")


def test_an_argument_of_a_node_is_edited_in_the_text(studio):
    draw(studio, VIT)
    path = "layers.1.mlp.inner.expand"  # in the file of an option
    entry = {each["name"]: each for each in ask(studio, "node", path=path)["arguments"]}["bias"]
    assert (entry["choices"], entry["default"], entry["is_here"]) == (
        ["true", "false"],
        "true",
        False,
    )
    edit = {"kind": "argument", "name": "bias", "node": path}
    text = ask(studio, "edit", text=VIT, value="false", **edit)["text"]
    assert text == VIT.replace("params:", "mlp: {body: {expand: {bias: false}}}\nparams:", 1)
    assert draw(studio, text)["parameters"] == 202186 - 4 * 256
    entry = {each["name"]: each for each in ask(studio, "node", path=path)["arguments"]}["bias"]
    assert (entry["written"], entry["is_here"]) == ("false", True)
    assert ask(studio, "edit", text=text, value="", **edit)["text"] == VIT
    assert ask(studio, "edit", text=VIT, value="", **edit)["errors"]
    assert ask(studio, "edit", text="[", value="1", **edit)["errors"]


def test_the_budget_is_met_and_the_difference_told(studio):
    draw(studio, VIT)
    assert not ask(studio, "diff")["new"]
    found = ask(studio, "fit", param="dim", budget=1e6)
    text = ask(studio, "edit", text=VIT, kind="param", name="dim", value=str(found["value"]))
    assert draw(studio, text["text"])["parameters"] == found["count"]
    assert abs(found["count"] / 1e6 - 1) < 0.05
    found = ask(studio, "diff")
    assert "patch" in found["new"]
    names = [row[0] for row in found["heading"]]
    assert names == ["", "parameters", "multiply-adds", "outputs"]
    first = found["lines"][0]
    assert (first["kind"], first["depth"], first["name"]) == ("changed", 0, "patch")
    assert "class " in ask(studio, "emit")["text"]


@pytest.mark.parametrize("name", ["../x", "a/b", "", "x" * 65, "名", ".", "vit\n"])
def test_a_name_that_leads_elsewhere_is_refused(name, studio, tmp_path):
    for question in (
        {"ask": "graph", "model": name, "text": VIT, "words": WORDS},
        {"ask": "save", "name": name, "text": VIT},
    ):
        assert studio.answer(question)["errors"]
    assert not list(tmp_path.rglob("*.yaml"))


def test_a_model_is_saved_once(studio, tmp_path):
    saved = ask(studio, "save", name="mine", text=VIT)
    assert saved["file"] == "conf/model/mine.yaml"
    assert (tmp_path / "conf" / "model" / "mine.yaml").read_text(encoding="utf-8") == VIT
    for name in ("mine", "vit"):
        assert "already" in ask(studio, "save", name=name, text=VIT)["errors"][0]["problem"]


@pytest.mark.parametrize(
    "text",
    [
        "graph: " + "[" * 5000,
        "a: &a [1]\n" + "".join(f"b{i}: [*a, *a, *a, *a, *a, *a]\n" for i in range(3000)),
        "x: " + "y" * 200_000,
        VIT.replace("depth: 4", "depth: 10000000000"),
        VIT + "\nlibrary: [/tmp]\n",
        VIT.replace("index: 0", "index: ${oc.env:HOME}"),
        VIT.replace("block: ClassToken", "block: os.system"),
        "!!python/object/apply:os.system ['true']",
        "defaults: [/hydra/launcher: ray]\n" + VIT,
        "\0",
        "\ud800",
    ],
)
def test_a_hostile_text_is_an_error_and_nothing_more(text, studio):
    assert draw(studio, text)["errors"]
    assert not draw(studio, VIT)["errors"]
