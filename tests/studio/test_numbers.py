"""Numbers in the place of one that does not fit: which, and where the text has it."""

import pytest

from blocks.studio.text.edits import EditError
from blocks.studio.text.numbers import (
    find_literal,
    find_number,
    list_divisors,
    list_multiples,
    propose_numbers,
    read_fitting,
)
from blocks.support.answers import error_entry

FILE = "studio/model/vit_draft.yaml"
TEXT = """params: {dim: 192, heads: 7}
graph:
  a: {block: SelfAttention, heads: heads}
  b: {block: Conv2d, features: 14, groups: 5}
  c: {use: stage, heads: [3, 5, 12]}
"""


def refuse(name: str, value: str) -> str:
    raise EditError("no argument is named")


def propose(got: str, source: str = "", before: dict[str, int] | None = None, **more: str):
    said = {"problem": "SelfAttention: heads must divide dim", "code": "bad-argument", **more}
    entry = error_entry(**said, where=f"{FILE}:3:3", got=got, source=source)
    return list(propose_numbers(TEXT, entry, before or {}, refuse))


def test_the_nearest_divisors_and_multiples():
    assert list_divisors(7, 192) == [6, 8, 4, 12]
    assert list_divisors(50, 192) == [48, 64, 32, 96]
    assert list_divisors(0, 6) == [1, 2]
    assert list_divisors(9, 8) == [8, 4]
    assert list_divisors(3, 10**15 + 1)[:2] == [1, 7]
    assert list_multiples(190, 4) == [188, 192]
    assert list_multiples(3, 7) == [7]
    assert list_multiples(3, 0) == []


@pytest.mark.parametrize(
    ("fits", "numbers"),
    [
        ("heads in 1, 2, 3, ...", [1, 2, 3]),
        ("heads=6 or 9", [6, 9]),
        ("e.g. heads=8", [8]),
        ("heads in -17..16", [16]),
        ("heads=1 to 4", [4]),
        ("kv_heads=1", []),
        ("heads in tokens, grid", []),
    ],
)
def test_what_a_message_offers(fits, numbers):
    assert read_fitting(fits, "heads", 40) == numbers


def test_the_number_is_changed_where_the_message_says_it_stands():
    source = f"heads  conf/model/attention/full.yaml:3:1  (heads)\n  heads=7  {FILE}:1:20"
    found = propose("heads=7, dim=192", source, {"heads": 4, "dim": 192})
    assert [each.label for each in found] == ["heads: 6", "heads: 8", "heads: 4", "heads: 12"]
    assert found[0].text == TEXT.replace("heads: 7", "heads: 6")
    first = propose("heads=5, dim=192", f"heads  {FILE}:5:16")[0]
    assert (first.label, first.text) == ("heads: 4", TEXT.replace("[3, 5, 12]", "[3, 4, 12]"))


def test_what_was_changed_last_is_changed_first():
    found = propose("heads=7, dim=192", before={"heads": 7, "dim": 84})
    labels = [each.label for each in found]
    assert labels[:2] == ["dim: 189", "dim: 196"]
    assert labels[2:] == ["heads: 6", "heads: 8", "heads: 4", "heads: 12"]


def test_a_number_that_is_the_value_of_no_such_key_stays():
    assert propose("heads=99, features=5", problem="x: heads must divide features") == []
    entry = error_entry("x", code="bad-argument", got="groups=5", where=f"{FILE}:4:3")
    literal = find_literal(TEXT, entry, "groups", 5)
    assert literal is not None
    assert TEXT[literal.value.start_mark.index :].startswith("5}")
    assert find_literal(TEXT, entry, "groups", 14) is None


def test_the_wrong_number_is_underlined_where_it_stands():
    source = f"heads  conf/model/attention/full.yaml:3:1  (heads)\n  heads=7  {FILE}:1:20"
    said = {"code": "bad-argument", "where": f"{FILE}:3:3", "source": source}
    begin, end = find_number(TEXT, error_entry("x", got="heads=7, dim=192", **said))
    assert TEXT[begin:end] == "heads: 7"
    assert find_number(TEXT, error_entry("x", got="block: Cnov", **said)) is None
    assert find_number("[", error_entry("x", got="heads=7", **said)) is None
