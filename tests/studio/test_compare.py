"""Two models beside each other, the code of a model line by line, and its variants."""

import ast

import pytest

from blocks.graph import compose, conf_folder, plan
from blocks.graph.describe.diff import side
from blocks.graph.describe.draw import picture
from blocks.graph.describe.emit import emit
from blocks.studio.compare.beside import light
from blocks.studio.compare.code import find_lines
from blocks.studio.compare.variants import MOST, Variants
from blocks.studio.engine import Studio
from blocks.watch.engine import Engine

VIT = (conf_folder() / "model" / "vit.yaml").read_text(encoding="utf-8")


def built(*words):
    return plan(compose([*words]))


def drawn(model):
    return {node.id for node in picture(model).nodes()}


def lit(old, new):
    return light(side("old", old), side("new", new), drawn(old), drawn(new))


def test_each_difference_is_lit_on_the_side_that_has_it():
    old = built("model=vit", "data=digits")
    found = lit(old, built("model=vit", "model/mlp=swiglu", "data=digits"))
    assert found.new["layers.0.mlp.inner.gate"] == "added"
    assert "layers.0.mlp.inner.gate" not in found.old
    assert found.old["layers.0.mlp.inner.activation"]
    assert lit(old, old).old == lit(old, old).new == {}
    swin = built("model=swin", "data=digits")
    both = lit(old, swin)
    assert both.old["layers"] == both.new["stages"].replace("added", "removed")
    assert set(both.old) <= drawn(old)
    assert set(both.new) <= drawn(swin)


@pytest.mark.parametrize("model", ["vit", "swin", "unet", "llama_7b", "cat", "lenet5"])
def test_a_line_of_the_code_names_the_nodes_that_it_belongs_to(model):
    found = built(f"model={model}")
    code = emit(found, model, "emit")
    lines = find_lines(code, drawn(found))
    texts = code.splitlines()
    for number, paths in lines.items():
        for path in paths:
            name = path.rpartition(".")[2]
            assert name.isdigit() or f"self.{name}" in texts[number - 1]
    covered = {path for paths in lines.values() for path in paths}
    assert len(covered) >= 0.8 * len(drawn(found))  # the rest is written as an expression
    assert ast.parse(code)


def test_the_other_model_is_drawn_and_a_variant_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    studio = Studio(tmp_path, Engine())
    ask = studio.answer
    ask({"ask": "graph", "model": "vit", "text": VIT, "words": ["data=digits"]})
    swin = ask({"ask": "diff", "other": "swin"})
    assert 'data-node="stages"' in swin["svg"]
    assert swin["new"]["layers"] == "added"
    own = ask({"ask": "diff", "text": VIT.replace("depth: 4", "depth: 3")})
    assert "3 times -> 4 times" in own["text"]
    assert not list(tmp_path.rglob("*_trial*"))
    for other in ("../x", "/etc/passwd", "nothing"):
        assert ask({"ask": "diff", "other": other})["errors"]


def test_variants_branch_survive_and_are_limited(tmp_path):
    kept = Variants(tmp_path, "vit")
    assert [kept.add(text, ["model=vit"], {"parameters": 1}) for text in ("a", "b", "c")]
    assert kept.add("a", [], {})  # back to the first
    assert not kept.add("a", [], {})
    kept.add("d", [], {})
    again = Variants(tmp_path, "vit")
    assert {each.text: each.parent for each in again.all.values()} == {
        "a": 0,
        "b": 0,
        "c": 1,
        "d": 0,
    }
    assert [(depth, each.text) for depth, each in again.ordered()] == [
        (0, "a"),
        (1, "b"),
        (1, "c"),
        (0, "d"),
    ]
    for number in range(MOST + 20):
        again.add(f"text {number}", [], {})
    assert len(again.all) == MOST
    (tmp_path / "studio" / "variants" / "vit.json").write_text("[[[", encoding="utf-8")
    assert not Variants(tmp_path, "vit").all
    assert not Variants(tmp_path, "../../x").all
