"""A composition that is changed in place is what Hydra composes of the files as they are."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from blocks.graph.compose.compose import opened_hydra
from blocks.graph.read import live_loader
from blocks.graph.read.edits import find_edits, follows_values
from blocks.graph.read.live_loader import LiveLoader
from blocks.graph.read.loader import CachedLoader, Loader

OWN = """defaults: [mlp: gelu, norm: layernorm, _self_]
params: {dim: 24, rate: 0.1, name: a, sizes: [1, 2], flag: true, other: null}
inputs: {image: data.image}
graph: {wide: {block: Linear, features: dim}, mlp: {use: mlp, hidden: "${model.params.dim}"}}
"""
TOP = "defaults: [own, _self_]\nparams: {rate: 0.2, sizes: [3], extra: {dim: 3}}\n"
EDITS = {  # what is edited -> the file, before, after, whether the files are merged again
    "a whole number": ("own", "dim: 24", "dim: 48", False),
    "the type of a number": ("own", "dim: 24", "dim: 24.0", False),
    "a number with a mark": ("own", "dim: 24", "dim: 1_000", False),
    "a power of ten": ("top", "rate: 0.2", "rate: 2e-1", False),
    "a truth value": ("own", "flag: true", "flag: 1", False),
    "a word": ("own", "name: a", "name: bc", False),
    "a number as a word": ("own", "dim: 24", "dim: '24'", False),
    "an expression": ("own", "features: dim", "features: 2 * dim", False),
    "a comment": ("own", "\nparams", "\n# more\nparams", False),
    "a value of the last file": ("top", "rate: 0.2", "rate: 0.3", False),
    "a value inside a section": ("top", "dim: 3", "dim: 5", False),
    "a value that a later file writes": ("own", "rate: 0.1", "rate: 0.4", True),
    "a value that becomes a list": ("own", "name: a", "name: [a]", True),
    "an element of a list": ("top", "[3]", "[3.0]", True),
    "a value that is removed": ("own", "flag: true, other: null", "flag: true", True),
    "a value that is added": ("own", "flag: true", "flag: true, more: 1", True),
    "a value that becomes null": ("own", "name: a", "name: null", True),
    "a value that becomes missing": ("own", "name: a", 'name: "???"', True),
    "a value that becomes an interpolation": ("own", "dim: 24", 'dim: "${seed}"', True),
    "an interpolation": ("own", "${model.params.dim}", "${model.params.rate}", True),
    "null that becomes a value": ("own", "other: null", "other: 1", True),
    "the order": ("own", "dim: 24, rate: 0.1", "rate: 0.1, dim: 24", True),
}
WORDS = ["model=top", "data=digits"]


def load(loader: Loader, *folders: Path) -> Any:
    searched = [f"file://{folder}" for folder in folders]
    with opened_hydra() as hydra:
        return loader.load(hydra, "train", [f"hydra.searchpath={searched}", *WORDS])[0]


def show(config: Any) -> str:
    """All of a configuration: keys in order, values with their types, as they are written."""
    config = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
    return repr(OmegaConf.to_container(config, resolve=False))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LiveLoader]:
    """A folder with two files, and what has read them."""
    folder = tmp_path_factory.mktemp("edited")
    write(folder, OWN, TOP)
    loader = LiveLoader()
    load(loader, folder)
    return folder, loader


def write(folder: Path, own: str, top: str) -> None:
    (folder / "model").mkdir(exist_ok=True)
    (folder / "model" / "own.yaml").write_text(own, encoding="utf-8")
    (folder / "model" / "top.yaml").write_text(top, encoding="utf-8")


def texts_after(what: str) -> tuple[str, str]:
    """Both files after an edit."""
    name, before, after, _ = EDITS[what]
    own, top = OWN, TOP
    if name == "own":
        own = OWN.replace(before, after, 1)
    else:
        top = TOP.replace(before, after, 1)
    assert (own, top) != (OWN, TOP)
    return own, top


@pytest.mark.parametrize("what", EDITS)
def test_an_edited_composition_is_the_one_that_is_merged_again(
    what: str, kept: tuple[Path, LiveLoader], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, loader = kept
    merged: list[object] = []
    merge = live_loader.compose_files
    monkeypatch.setattr(
        live_loader, "compose_files", lambda *given: merged.append(1) or merge(*given)
    )
    for texts in (texts_after(what), (OWN, TOP)):
        write(folder, *texts)
        loader.refresh()
        merged.clear()
        config = load(loader, folder)
        assert bool(merged) == EDITS[what][-1]
        loader.composed.clear()
        again = load(loader, folder)
        assert show(config) == show(again)
        assert config == again
        assert OmegaConf.is_struct(config)


@pytest.mark.slow
@pytest.mark.parametrize("what", EDITS)
def test_an_edited_composition_is_what_hydra_composes(what: str, tmp_path: Path) -> None:
    write(tmp_path, OWN, TOP)
    loader = LiveLoader()
    load(loader, tmp_path)
    write(tmp_path, *texts_after(what))
    loader.refresh()
    assert show(load(loader, tmp_path)) == show(load(Loader(), tmp_path))


def test_several_edits_in_a_row_are_all_seen(kept: tuple[Path, LiveLoader]) -> None:
    folder, loader = kept
    for number in (3, 5, 7):
        write(folder, OWN.replace("24", str(number)), TOP)
        loader.refresh()
        write(folder, OWN.replace("24", str(number)), TOP.replace("0.2", f"0.{number}"))
        loader.refresh()
        params = load(loader, folder).model.params
        assert (params.dim, params.rate) == (number, number / 10)


STEPS = [  # a file and its text; None where it vanishes
    ("second/model/own.yaml", OWN.replace("mlp: gelu", "mlp: swiglu")),
    ("first/model/own.yaml", OWN.replace("24", "5")),  # is found before the other one
    ("first/model/own.yaml", OWN.replace("24", "7")),
    ("first/model/own.yaml", None),
    ("first/model/own.yaml", OWN.replace("24", "11")),
    ("second/model/mlp/own_mlp.yaml", "block: Identity\n"),
    ("first/model/own.yaml", OWN.replace("mlp: gelu", "mlp: own_mlp")),
    ("first/model/own.yaml", OWN.replace("norm: layernorm, ", "")),
    ("second/model/own.yaml", OWN),
    ("first/model/own.yaml", None),
]


def test_a_file_that_appears_or_vanishes_is_followed_and_no_other_is_read_again(tmp_path) -> None:
    folders = tmp_path / "first", tmp_path / "second"
    (folders[0] / "model").mkdir(parents=True)
    (folders[1] / "model" / "mlp").mkdir(parents=True)
    write(folders[1], OWN, TOP)
    loader = LiveLoader()
    load(loader, *folders)
    (repository,) = loader.repositories.values()
    others = {key: found for key, found in repository.cache.items() if "own" not in key}
    for name, text in STEPS:
        if text is None:
            (tmp_path / name).unlink()
        else:
            (tmp_path / name).write_text(text, encoding="utf-8")
        loader.refresh()
        config = load(loader, *folders)
        assert show(config) == show(load(CachedLoader(), *folders)), name
        for key, found in others.items():
            assert repository.cache[key] is found or "top" in key, key


def test_a_value_that_names_another_is_followed() -> None:
    assert follows_values({"a": "${b.${c}}"})
    assert not follows_values({"a": "${b.c}", "d": "${e}"})


def test_edits_are_values_alone() -> None:
    assert find_edits({"a": {"b": 1, "c": [2]}}, {"a": {"b": True, "c": [2]}}) == {("a", "b"): True}
    assert find_edits({"a": [1]}, {"a": [True]}) is None
    assert find_edits({"a": 1}, {"a": {"b": 1}}) is None
    assert find_edits({"a": 1}, {"b": 1}) is None
