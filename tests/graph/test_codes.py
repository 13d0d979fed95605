"""Codes of mistakes: every problem has one of the table, and a code stays what it was."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.graph import ConfigError, compose, plan
from blocks.graph.codes import CODES
from blocks.support import answers
from tasks import errors
from tests.graph.test_errors import WRONG

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).parent / "wrong_codes.txt"


def stated() -> Iterator[tuple[str, str]]:
    """Every code that the source states, with its place."""
    for folder in ("blocks", "dougong", "tasks", "hydra_plugins"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                yield from codes_of(node, file)


def codes_of(node: ast.AST, file: Path) -> Iterator[tuple[str, str]]:
    """The codes of `code="..."`, as a keyword or as an assignment."""
    is_keyword = isinstance(node, ast.keyword) and node.arg == "code"
    is_assignment = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "code"
    if not is_keyword and not is_assignment:
        return
    if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        yield f"{file.relative_to(ROOT)}:{node.value.lineno}", node.value.value


def test_every_code_that_the_source_states_is_in_the_table():
    unknown = [(place, code) for place, code in stated() if code not in CODES]
    assert not unknown
    assert set(errors.CODES.values()) <= CODES.keys()


def test_the_table_has_no_code_that_nothing_gives():
    elsewhere = {"bad-argument", "bad-expression", "refused-file", *errors.CODES.values()}
    raised = {"crash", *answers.CODES.values()}
    assert CODES.keys() == {code for _, code in stated()} | elsewhere | raised


@pytest.mark.parametrize("code", CODES)
def test_a_meaning_is_one_sentence(code):
    assert CODES[code][0].isupper() or CODES[code].startswith("YAML")
    assert CODES[code].endswith(".")
    assert len(CODES[code]) <= 90
    assert code == code.lower().replace("_", "-")


def codes_for(folder: Path, model: str | None, overrides: list[str]) -> list[str]:
    (folder / "model").mkdir(parents=True)
    if model is not None:
        (folder / "model" / "broken.yaml").write_text(f"{model}\n", encoding="utf-8")
    chosen = "vit" if model is None else "broken"
    with pytest.raises(ConfigError) as caught:
        plan(compose([f"model={chosen}", *overrides], config_dir=str(folder)))
    return [problem.code for problem in caught.value.problems]


@pytest.mark.slow
def test_the_codes_of_the_wrong_models_stay(tmp_path, monkeypatch, golden):
    """A line for each file of wrong/: the codes of its problems, in their order."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_SUCH_VARIABLE", raising=False)
    lines = []
    for name, (model, overrides, _) in WRONG.items():
        found = codes_for(tmp_path / name, model, overrides)
        assert set(found) <= CODES.keys()
        lines.append(f"{name}: {' '.join(found)}\n")
    golden(LIST, LIST.read_text(encoding="utf-8"), "".join(lines))
