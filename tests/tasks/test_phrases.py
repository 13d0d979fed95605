"""Phrases: each part has its own values, a source text has one target, all parts are mixed
alike.
"""

import datetime
import re

import pytest

from tasks.data.text.phrases import phrases
from tasks.errors import ArgumentError

CHINESE_DAY = re.compile(r"\d+年\d+月\d+日")


@pytest.fixture(scope="module")
def parts():
    return phrases("en", "zh", train=6000, val=500, test=500, seed=0)


def test_full_dates_say_the_day_that_the_calendar_says(parts):
    full = [pair for pair in parts["train"] if re.match(r"[A-Z][a-z]+day, ", pair[0])]
    assert len(full) > 300
    for source, target in full:
        day = datetime.datetime.strptime(source, "%A, %B %d, %Y")
        assert (
            target == f"{day.year}年{day.month}月{day.day}日星期{'一二三四五六日'[day.weekday()]}"
        )


def test_parts_share_no_value(parts):
    amounts = {
        name: {
            re.sub(r"[^\d.]", "", source)
            for source, _ in pairs
            if re.fullmatch(r"\D?[\d,.]+", source)
        }
        for name, pairs in parts.items()
    }
    days = {
        name: set(CHINESE_DAY.findall(" ".join(target for _, target in pairs)))
        for name, pairs in parts.items()
    }
    for kind in (amounts, days):
        assert min(map(len, kind.values())) > 80
        assert not kind["test"] & kind["train"]
        assert not kind["val"] & kind["train"]
        assert not kind["test"] & kind["val"]


def test_half_of_every_part_is_dates(parts):
    for pairs in parts.values():
        assert (
            0.45 < sum(bool(CHINESE_DAY.search(target)) for _, target in pairs) / len(pairs) < 0.65
        )


def test_every_part_has_spans_of_time(parts):
    for pairs in parts.values():
        assert sum(source.endswith(" ago") for source, _ in pairs) > 5


def test_the_test_part_does_not_depend_on_the_size_of_training(parts):
    assert phrases("en", "zh", train=10, val=500, test=500, seed=0)["test"] == parts["test"]


def test_one_source_text_has_one_target_where_two_formats_coincide():
    pairs = phrases("zh", "en", train=3000, val=100, test=100, seed=0)["train"]
    plain = [target for source, target in pairs if CHINESE_DAY.fullmatch(source)]
    assert len(plain) > 300
    assert all(re.match(r"[A-Z][a-z]+ \d+, \d{4}$", target) for target in plain)
    assert not any(
        target.startswith(("Jan ", "Sep ", "Dec ")) for target in plain
    )  # long, never medium


@pytest.mark.parametrize(
    ("locale", "message"),
    [
        ("german", "no locale 'german'; got source=german; fits: de"),
        ("zz", "no locale 'zz'; got source=zz; fits: for example en, zh, de, pt_BR"),
        ("", "no locale ''; got source=; fits: for example en, zh, de, pt_BR"),
    ],
)
def test_an_unknown_locale_is_told(locale, message):
    with pytest.raises(ArgumentError) as error:
        phrases(locale, "en", train=1, val=1, test=1, seed=0)
    assert error.value.argument == "source"
    assert str(error.value).startswith(message)


def test_a_locale_may_be_written_with_a_hyphen():
    options = {"train": 5, "val": 5, "test": 5, "seed": 0}
    assert phrases("en-US", "pt-BR", **options) == phrases("en_US", "pt_BR", **options)
