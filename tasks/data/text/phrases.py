"""Dates, times, numbers and money in two languages, as Unicode's CLDR writes them: phrases without
end, offline.
"""

import datetime
import difflib
import hashlib
import random
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from babel import Locale, UnknownLocaleError, dates, localedata, numbers

from tasks.data.split import PARTS
from tasks.errors import ArgumentError

FIRST, LAST = datetime.date(1950, 1, 1), datetime.date(2050, 12, 31)
CURRENCIES = ("USD", "EUR", "CNY", "JPY", "GBP")
UNITS = {"second": 60, "minute": 60, "hour": 24, "day": 7, "week": 4, "month": 12, "year": 50}

Pair = tuple[str, str]
Write = Callable[[Locale], str]
Draw = Callable[
    [random.Random, datetime.date], tuple[str, list[Write]]
]  # the value, and ways to write it, best first


def date(source: random.Random, day: datetime.date) -> tuple[str, list[Write]]:
    styles = ["full", "long", "medium"]
    ways: list[Write] = [partial(_date, day, style) for style in styles]
    first = source.randrange(len(ways))
    return "", [ways[first], *ways]


def _date(day: datetime.date, style: Any, locale: Locale) -> str:
    return dates.format_date(day, style, locale)


def moment(source: random.Random, day: datetime.date) -> tuple[str, list[Write]]:
    at = datetime.datetime.combine(day, datetime.time(source.randrange(24), source.randrange(60)))
    return "", [
        lambda locale: (
            f"{_date(day, 'long', locale)} {dates.format_time(at, 'short', locale=locale)}"
        )
    ]


def time(source: random.Random, _: datetime.date) -> tuple[str, list[Write]]:
    at = datetime.time(source.randrange(24), source.randrange(60), source.randrange(60))
    return at.isoformat(), [lambda locale: dates.format_time(at, "medium", locale=locale)]


def number(source: random.Random, _: datetime.date) -> tuple[str, list[Write]]:
    value = source.randrange(10 ** source.randint(3, 8)) / 100
    return f"{value:.2f}", [lambda locale: numbers.format_decimal(value, locale=locale)]


def money(source: random.Random, _: datetime.date) -> tuple[str, list[Write]]:
    kind = source.choice(CURRENCIES)
    value = round(
        source.randrange(10 ** source.randint(3, 7)) / 100, numbers.get_currency_precision(kind)
    )
    return f"{value:.2f}", [lambda locale: numbers.format_currency(value, kind, locale=locale)]


def span(source: random.Random, _: datetime.date) -> tuple[str, list[Write]]:
    unit = source.choice(tuple(UNITS))
    count = source.choice((-1, 1)) * source.randrange(1, UNITS[unit])
    seconds = (
        count * dates.TIMEDELTA_UNITS[[name for name, _ in dates.TIMEDELTA_UNITS].index(unit)][1]
    )
    write: Callable[..., str] = partial(
        dates.format_timedelta,
        seconds,
        granularity=cast(Any, unit),
        threshold=1e9,
        add_direction=True,
    )
    return f"{count} {unit}", [lambda locale: write(locale=locale)]


KINDS: tuple[Draw, ...] = (date, date, date, moment, moment, time, number, money, money, span)


def known(argument: str, name: str) -> Locale:
    """The locale of a name; raises ArgumentError with the nearest there are."""
    try:
        return Locale.parse(name.replace("-", "_"))
    except (UnknownLocaleError, ValueError, TypeError) as error:
        languages = {
            word.lower(): code
            for code, word in Locale("en").languages.items()
            if localedata.exists(code)
        }
        near = [languages[word] for word in difflib.get_close_matches(name.lower(), languages, 3)]
        near += difflib.get_close_matches(name, localedata.locale_identifiers(), 6)
        fits = ", ".join(dict.fromkeys(near)) or "en, zh, de, pt_BR, say"
        raise ArgumentError(
            argument, f"no locale {name!r}", got=f"{argument}={name}", fits=fits
        ) from error


def part_of(value: str, seed: int) -> str:
    """To which part a time, an amount or a span belongs; a tenth goes to test and to val each,
    whatever their sizes.
    """
    digest = hashlib.blake2b(f"{seed} {value}".encode(), digest_size=2).digest()
    return {0: "test", 1: "val"}.get(int.from_bytes(digest, "big") % 10, "train")


def phrases(
    source: str, target: str, *, train: int, val: int, test: int, seed: int
) -> dict[str, list[Pair]]:
    """Pairs of texts that say the same, by part: a function of its arguments alone.

    Args:
        source: a locale, e.g. "en".
        target: another one, e.g. "zh" or "pt_BR".
        train: how many pairs; no source text comes twice, in one part or in two.
        val: the same for validation.
        test: the same for the test. No date of validation or test is in training.
        seed: what chance depends on.

    Raises:
        ArgumentError: an unknown locale; more pairs than there are phrases.
    """
    here, there = known("source", source), known("target", target)
    days: dict[str, list[datetime.date]] = {part: [] for part in PARTS}
    for number in range((LAST - FIRST).days + 1):
        day = FIRST + datetime.timedelta(number)
        days[part_of(day.isoformat(), seed)].append(day)
    targets: dict[str, str] = {}
    found: dict[str, list[Pair]] = {}
    for part, count in (("test", test), ("val", val), ("train", train)):
        chance, found[part], vain = random.Random(f"{seed} {part}"), [], 0
        while len(found[part]) < count:
            draw = chance.choice(KINDS)
            value, (write, *better) = draw(chance, chance.choice(days[part]))
            while (
                value and part_of(value, seed) != part
            ):  # the same kind again, so that all parts are mixed alike
                value, (write, *better) = draw(chance, chance.choice(days[part]))
            text = readable(write(here))
            if text in targets:
                vain += 1
                if vain > 1000:
                    fits = f"{len(found[part])} or fewer"
                    raise ArgumentError(
                        part, "there are not so many phrases", got=f"{part}={count}", fits=fits
                    )
                continue
            vain = 0
            write = next(
                (way for way in better if readable(way(here)) == text), write
            )  # one source text, one target
            targets[text] = readable(write(there))
            found[part].append((text, targets[text]))
    return {part: found[part] for part in PARTS}


def readable(text: str) -> str:
    """A phrase with plain blanks: CLDR has narrow and unbreakable ones that nobody types."""
    return text.replace("\u202f", " ").replace("\xa0", " ")
