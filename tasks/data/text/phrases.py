"""Generate dates, times, numbers and money in two languages, as Unicode's CLDR writes them."""

import datetime
import hashlib
import random
from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from typing import Any, cast

from babel import Locale, UnknownLocaleError, dates, localedata, numbers

from tasks.data.split import PARTS
from tasks.errors import ArgumentError

FIRST, LAST = datetime.date(1950, 1, 1), datetime.date(2050, 12, 31)
CURRENCIES = ("USD", "EUR", "CNY", "JPY", "GBP")
UNITS = {"second": 60, "minute": 60, "hour": 24, "day": 7, "week": 4, "month": 12, "year": 50}
MOST_VAIN = 1000  # repeated phrases in a row, after which there are no new ones

Pair = tuple[str, str]
Write = Callable[[Locale], str]
Drawn = tuple[str, list[Write]]  # a value, and ways to write it, the best first
Draw = Callable[[random.Random, datetime.date], Drawn]


def date(source: random.Random, day: datetime.date) -> Drawn:
    styles = ["full", "long", "medium"]
    ways: list[Write] = [partial(_date, day, style) for style in styles]
    first = source.randrange(len(ways))
    return "", [ways[first], *ways]


def _date(day: datetime.date, style: Any, locale: Locale) -> str:
    return dates.format_date(day, style, locale)


def moment(source: random.Random, day: datetime.date) -> Drawn:
    at = datetime.datetime.combine(day, datetime.time(source.randrange(24), source.randrange(60)))

    def write(locale: Locale) -> str:
        return f"{_date(day, 'long', locale)} {dates.format_time(at, 'short', locale=locale)}"

    return "", [write]


def time(source: random.Random, _: datetime.date) -> Drawn:
    at = datetime.time(source.randrange(24), source.randrange(60), source.randrange(60))
    return at.isoformat(), [lambda locale: dates.format_time(at, "medium", locale=locale)]


def number(source: random.Random, _: datetime.date) -> Drawn:
    value = source.randrange(10 ** source.randint(3, 8)) / 100
    return f"{value:.2f}", [lambda locale: numbers.format_decimal(value, locale=locale)]


def money(source: random.Random, _: datetime.date) -> Drawn:
    kind = source.choice(CURRENCIES)
    value = source.randrange(10 ** source.randint(3, 7)) / 100
    value = round(value, numbers.get_currency_precision(kind))
    return f"{value:.2f}", [lambda locale: numbers.format_currency(value, kind, locale=locale)]


def span(source: random.Random, _: datetime.date) -> Drawn:
    unit = source.choice(tuple(UNITS))
    count = source.choice((-1, 1)) * source.randrange(1, UNITS[unit])
    seconds = count * dict(dates.TIMEDELTA_UNITS)[unit]
    write: Callable[..., str] = partial(
        dates.format_timedelta,
        seconds,
        granularity=cast(Any, unit),
        threshold=1e9,
        add_direction=True,
    )
    return f"{count} {unit}", [lambda locale: write(locale=locale)]


KINDS: tuple[Draw, ...] = (date, date, date, moment, moment, time, number, money, money, span)


def find_locale(argument: str, name: str) -> Locale:
    """Return the locale of a name; raises ArgumentError with the nearest ones."""
    try:
        return Locale.parse(name.replace("-", "_"))
    except (UnknownLocaleError, ValueError, TypeError) as error:
        fits = ", ".join(near_locales(name)) or "for example en, zh, de, pt_BR"
        text, got = f"no locale {name!r}", f"{argument}={name}"
        raise ArgumentError(argument, text, got=got, fits=fits) from error


def near_locales(name: str) -> list[str]:
    """Return the locales that are nearest to a name, by the English names of languages too."""
    languages = {}
    for code, word in Locale("en").languages.items():
        if localedata.exists(code):
            languages[word.lower()] = code
    near = list(map(languages.__getitem__, get_close_matches(name.lower(), languages, 3)))
    near += get_close_matches(name, localedata.locale_identifiers(), 6)
    return list(dict.fromkeys(near))


def part_of(value: str, seed: int) -> str:
    """Return the part of a date, a time, an amount or a span; a tenth is test, a tenth is val."""
    digest = hashlib.blake2b(f"{seed} {value}".encode(), digest_size=2).digest()
    return {0: "test", 1: "val"}.get(int.from_bytes(digest, "big") % 10, "train")


def phrases(
    source: str, target: str, *, train: int, val: int, test: int, seed: int
) -> dict[str, list[Pair]]:
    """Return pairs of texts with the same meaning, by part: a function of its arguments alone.

    Args:
        source: a locale, e.g. "en".
        target: another one, e.g. "zh" or "pt_BR".
        train: number of pairs; no source text occurs twice, in one part or in two.
        val: the same for validation.
        test: the same for the test. No date of validation or test is in training.
        seed: seed of the choice.

    Raises:
        ArgumentError: an unknown locale; more pairs than there are phrases.
    """
    here, there = find_locale("source", source), find_locale("target", target)
    days = split_days(seed)
    seen: set[str] = set()
    found: dict[str, list[Pair]] = {}
    for part, count in (("test", test), ("val", val), ("train", train)):
        found[part] = []
        chance, vain = random.Random(f"{seed} {part}"), 0
        while len(found[part]) < count:
            ways = draw_in_part(chance, part, days[part], seed)
            text = with_plain_blanks(ways[0](here))
            if text not in seen:
                seen.add(text)
                found[part].append((text, translate(text, ways, here, there)))
                vain = 0
                continue
            vain += 1
            if vain > MOST_VAIN:
                problem, got = "there are not enough different phrases", f"{part}={count}"
                fits = f"{len(found[part])} or fewer"
                raise ArgumentError(part, problem, got=got, fits=fits)
    return {part: found[part] for part in PARTS}


def split_days(seed: int) -> dict[str, list[datetime.date]]:
    """Return the days of each part."""
    days: dict[str, list[datetime.date]] = {part: [] for part in PARTS}
    for number in range((LAST - FIRST).days + 1):
        day = FIRST + datetime.timedelta(number)
        days[part_of(day.isoformat(), seed)].append(day)
    return days


def draw_in_part(
    chance: random.Random, part: str, days: list[datetime.date], seed: int
) -> list[Write]:
    """Draw a phrase of a random kind whose value belongs to the part; return how to write it."""
    draw = chance.choice(KINDS)
    while True:  # the same kind again, so that all parts have the same mix of kinds
        value, ways = draw(chance, chance.choice(days))
        if not value or part_of(value, seed) == part:
            return ways


def translate(text: str, ways: list[Write], source: Locale, target: Locale) -> str:
    """Write a phrase in the other language, so that each source text has one target.

    The first way is the one that was drawn; the others are tried before it.
    """
    for way in (*ways[1:], ways[0]):
        if with_plain_blanks(way(source)) == text:
            return with_plain_blanks(way(target))
    raise AssertionError(f"{text!r} is not what its first way writes")


def with_plain_blanks(text: str) -> str:
    """Return a phrase with plain blanks: CLDR has narrow and unbreakable ones that nobody types."""
    return text.replace("\u202f", " ").replace("\xa0", " ")
