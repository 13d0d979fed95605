"""The ten edits of docs/agents.md give what the page says; llms.txt names what exists."""

import json
import re
from pathlib import Path

import pytest

from tests.agents.test_tools import TOOLS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")
INDEX = (ROOT / "llms.txt").read_text(encoding="utf-8")
LINK = re.compile(r"\]\(([^)]+)\)")


def read_edits():
    """Pairs of a call and a part of its answer."""
    blocks = re.findall(r"```json\n(.*?)```", PAGE.partition("## Ten edits")[2], re.DOTALL)
    found = [json.loads(block) for block in blocks]
    return list(zip(found[::2], found[1::2], strict=True))


EDITS = read_edits()


def contains(answer, part):
    """Whether an answer has all that a part of it states, in its order."""
    if isinstance(part, dict):
        return all(key in answer and contains(answer[key], part[key]) for key in part)
    if isinstance(part, list) and any(isinstance(item, dict) for item in part):
        rest = iter(answer)
        return all(any(contains(found, item) for found in rest) for item in part)
    return answer == part


def test_a_part_that_an_answer_lacks_is_noticed():
    assert contains({"a": [{"b": 1, "c": 2}, {"b": 3}]}, {"a": [{"b": 1}, {"b": 3}]})
    assert not contains({"a": [{"b": 1}, {"b": 3}]}, {"a": [{"b": 3}, {"b": 1}]})
    assert not contains({"a": 1}, {"a": 2})
    assert not contains({"a": 1}, {"b": 1})


# the ninth and the tenth build the largest models
@pytest.mark.parametrize(
    "number", [*range(8), *(pytest.param(number, marks=pytest.mark.slow) for number in (8, 9))]
)
def test_an_edit_has_the_answer_of_the_page(agent, number):
    call, part = EDITS[number]
    answer = agent.call(call["tool"], **call["arguments"])
    assert contains(answer, part), json.dumps(answer, indent=1)[:3000]


def test_the_page_has_ten_edits_and_every_tool():
    assert len(EDITS) == 10
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == TOOLS


def test_the_index_for_language_models_names_files_that_exist():
    lines = INDEX.splitlines()
    assert lines[0] == "# Dougong"
    assert lines[2].startswith("> ")
    targets = LINK.findall(INDEX)
    assert len(targets) > 10
    for target in targets:
        assert (ROOT / target).is_file(), target


def test_the_index_of_the_documents_is_the_same():
    moved = re.sub(r"\]\((?!docs/)", "](../", INDEX).replace("](docs/", "](")
    assert (ROOT / "docs" / "llms.txt").read_text(encoding="utf-8") == moved
