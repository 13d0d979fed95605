"""Dates, times, numbers and money in two languages, as Unicode's CLDR writes them: phrases without end, offline."""

import datetime
import random
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from babel import Locale, UnknownLocaleError, dates, localedata, numbers

from tasks.errors import ArgumentError

FIRST, LAST = datetime.date(1950, 1, 1), datetime.date(2050, 12, 31)
CURRENCIES = ("USD", "EUR", "CNY", "JPY", "GBP")
UNITS = {"second": 60, "minute": 60, "hour": 24, "day": 7, "week": 4, "month": 12, "year": 50}
PARTS = ("train", "val", "test")

Pair = tuple[str, str]
Draw = Callable[[random.Random, datetime.date], Callable[[Locale], str]]


def date(source: random.Random, day: datetime.date) -> Callable[[Locale], str]:
    style = source.choice(("full", "long", "medium"))
    return lambda locale: dates.format_date(day, style, locale)


def moment(source: random.Random, day: datetime.date) -> Callable[[Locale], str]:
    at = datetime.datetime.combine(day, datetime.time(source.randrange(24), source.randrange(60)))

    def write(locale: Locale) -> str:
        return f"{dates.format_date(at, 'long', locale)} {dates.format_time(at, 'short', locale=locale)}"

    return write


def time(source: random.Random, _: datetime.date) -> Callable[[Locale], str]:
    at = datetime.time(source.randrange(24), source.randrange(60), source.randrange(60))
    return lambda locale: dates.format_time(at, "medium", locale=locale)


def number(source: random.Random, _: datetime.date) -> Callable[[Locale], str]:
    value = source.randrange(10 ** source.randint(3, 8)) / 100
    return lambda locale: numbers.format_decimal(value, locale=locale)


def money(source: random.Random, _: datetime.date) -> Callable[[Locale], str]:
    value, kind = source.randrange(10 ** source.randint(3, 7)) / 100, source.choice(CURRENCIES)
    return lambda locale: numbers.format_currency(value, kind, locale=locale)


def span(source: random.Random, _: datetime.date) -> Callable[[Locale], str]:
    unit = source.choice(tuple(UNITS))
    count = source.choice((-1, 1)) * source.randrange(1, UNITS[unit])
    seconds = count * dates.TIMEDELTA_UNITS[[name for name, _ in dates.TIMEDELTA_UNITS].index(unit)][1]
    write: Callable[..., str] = partial(
        dates.format_timedelta, seconds, granularity=cast(Any, unit), threshold=1e9, add_direction=True
    )
    return lambda locale: write(locale=locale)


KINDS: tuple[Draw, ...] = (date, date, date, moment, moment, time, number, money, money, span)


def known(argument: str, name: str) -> Locale:
    """The locale of a name; raises ArgumentError with what there is."""
    try:
        return Locale.parse(name)
    except (UnknownLocaleError, ValueError) as error:
        first = name[:1].lower()
        fits = ", ".join(sorted(found for found in localedata.locale_identifiers() if found.startswith(first))[:12])
        raise ArgumentError(argument, f"no locale {name!r}", got=f"{argument}={name}", fits=fits or "en, zh") from error


def phrases(source: str, target: str, *, train: int, val: int, test: int, seed: int) -> dict[str, list[Pair]]:
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
    chance = random.Random(seed)
    days = [FIRST + datetime.timedelta(number) for number in range((LAST - FIRST).days + 1)]
    chance.shuffle(days)
    tenth = len(days) // 10
    calendar = {"test": days[:tenth], "val": days[tenth : 2 * tenth], "train": days[2 * tenth :]}
    seen: set[str] = set()
    found: dict[str, list[Pair]] = {}
    for part, count in zip(PARTS, (train, val, test), strict=True):
        found[part] = []
        vain = 0
        while len(found[part]) < count:
            write = chance.choice(KINDS)(chance, chance.choice(calendar[part]))
            pair = readable(write(here)), readable(write(there))
            vain = vain + 1 if pair[0] in seen else 0
            if vain > 1000:
                fits = f"{len(found[part])} or fewer"
                raise ArgumentError(part, "there are not so many phrases", got=f"{part}={count}", fits=fits)
            if pair[0] not in seen:
                seen.add(pair[0])
                found[part].append(pair)
    return found


def readable(text: str) -> str:
    """A phrase with plain blanks: CLDR has narrow and unbreakable ones that nobody types."""
    return text.replace("\u202f", " ").replace("\xa0", " ")
