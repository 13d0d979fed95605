"""Edits of model files: the command line that is shown for an edit means what the text means."""

from pathlib import Path

import pytest
import yaml

from blocks.graph import compose, conf_folder
from blocks.studio.text.edits import (
    EditError,
    read_changes,
    remove_key,
    set_param,
    set_slot,
    write_overrides,
)

FLOW = "defaults: [mlp: gelu, _self_]\nparams: {dim: 6} # wide\ngraph: {}\n"
BLOCK = "defaults:\n  - mlp: gelu\n  - _self_\nparams:\n  dim: 6\n\n  # heads\ngraph: {}\n"
INHERITED = "defaults: [vit, _self_]\nexpect: {when: false}\n"


@pytest.mark.parametrize("text", [FLOW, BLOCK, INHERITED])
def test_an_edit_changes_its_value_and_nothing_else(text):
    before = yaml.safe_load(text)
    after = yaml.safe_load(set_param(set_param(text, "dim", "[2, 3]"), "heads", "dim // 32"))
    assert after == {**before, "params": {"dim": [2, 3], "heads": "dim // 32"}}
    chosen = yaml.safe_load(set_slot(text, "mlp", "swiglu"))
    assert chosen.pop("defaults")[-2] in ({"mlp": "swiglu"}, {"override mlp": "swiglu"})
    assert chosen == {name: value for name, value in before.items() if name != "defaults"}
    comments = [line for line in text.splitlines() if "#" in line]
    assert all(line.split("#")[1] in set_param(text, "dim", "7") for line in comments)


@pytest.mark.parametrize("value", ["", "1, depth: 2", "{", "1 # x", "1\nb: 2", "'", "}"])
def test_a_value_cannot_bring_keys_with_it(value):
    with pytest.raises(EditError, match="no value of YAML"):
        set_param(FLOW, "dim", value)


@pytest.mark.parametrize("text", ["[", "a: [1, {", "- 1", "3", ""])
def test_a_text_that_is_no_model_is_refused(text):
    for edit in (set_param, set_slot):
        with pytest.raises(EditError):
            edit(text, "norm", "rmsnorm")


@pytest.mark.parametrize("model", ["vit", "vit_b16", "gpt", "cat"])
def test_the_command_line_of_an_edit_means_the_same_as_the_text(model, tmp_path):
    before = (conf_folder() / "model" / f"{model}.yaml").read_text(encoding="utf-8")
    after = set_param(set_param(before, "depth", "3"), "dropout", "0.25")
    after = set_slot(after, "norm", "rmsnorm")
    known = compose([f"model={model}"]).config["model"]["params"]
    words = read_changes(before, after, known)
    assert words is not None
    (tmp_path / "model").mkdir()
    Path(tmp_path, "model", "other.yaml").write_text(after, encoding="utf-8")
    typed = compose([f"model={model}", *words]).config["model"]
    assert typed == compose(["model=other"], config_dir=str(tmp_path)).config["model"]
    assert read_changes(before, before, known) == []
    assert read_changes(before, after.replace("params", "parms"), known) is None


def test_a_key_is_removed_in_both_styles():
    text = "graph:\n  a: {block: Linear, dim: 3, features: 5}\n  b:\n    dim: 3\n    use: x\n"
    assert remove_key(text, 2, "dim") == text.replace("dim: 3, ", "")
    assert remove_key(text, 2, "features") == text.replace(", features: 5", "")
    assert remove_key(text, 4, "dim") == text.replace("    dim: 3\n", "")
    with pytest.raises(EditError, match="no key 'use' in line 2"):
        remove_key(text, 2, "use")


def test_slots_and_params_of_a_command_line_become_text():
    words = ["model/mlp=swiglu", "data.size=32", "+model.params.heads=[2, 3]", "model.params.dim=7"]
    text, rest = write_overrides(FLOW, words)
    assert rest == ["data.size=32"]
    assert text == FLOW.replace("gelu", "swiglu").replace("dim: 6", "dim: 7, heads: [2, 3]")
