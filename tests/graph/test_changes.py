"""Words of `python -m tasks evaluate` are read as `train.py` reads overrides."""

import pytest

from blocks.graph import ConfigError, compose, parse_changes

WORDS = [
    "1e-1",
    "2024-01-01",
    "123",
    "yes.csv",
    "1_000",
    "null",
    "[a,b]",
    "'123'",
    "true",
    "a b/c d.csv",
    "0x10",
]


@pytest.mark.parametrize("word", WORDS)
def test_a_value_is_what_train_makes_of_it(word):
    composed = compose([f"data.split_seed={word}"])
    value = composed.config["data"]["split_seed"]
    for text in (f"split_seed={word}", f"data.split_seed={word}"):
        found = parse_changes([text], "data")
        assert found == {"split_seed": value}
        assert type(found["split_seed"]) is type(value)


def test_a_number_is_a_number_and_a_date_a_text():
    assert parse_changes(["val=1e-1", "path=2024-01-01", "test=.5", "facts.vocab=7"], "data") == {
        "val": 0.1,
        "path": "2024-01-01",
        "test": 0.5,
        "facts": {"vocab": 7},
    }


def test_what_is_no_change_is_told_in_one_pass():
    with pytest.raises(ConfigError) as error:
        parse_changes(["path", "val=0.1,0.2", "~test", "length=3"], "data")
    assert str(error.value).count("the command line") == 3
