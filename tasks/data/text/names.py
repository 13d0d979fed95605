"""In which language is this? Names of things as Unicode's CLDR gives them, by Babel: real, and
offline.
"""

import random
from collections.abc import Iterator
from typing import Any

from babel import Locale

from tasks.data.text.labelled import HeldLabelled, Row
from tasks.data.text.phrases import known, readable
from tasks.errors import ArgumentError, must_be_positive

LANGUAGES = (
    "cs",
    "da",
    "de",
    "en",
    "es",
    "et",
    "fi",
    "fr",
    "hr",
    "hu",
    "id",
    "it",
    "lt",
    "lv",
    "nb",
    "nl",
    "pl",
    "pt",
    "ro",
    "sk",
    "sl",
    "sv",
    "sw",
    "tr",
    "vi",
)


class Names(HeldLabelled):
    """Names of countries, languages, scripts, currencies, months, days, cities and time zones.

    The class is the language. A name that several of the languages share, as "Angola", is left out:
    it has no answer.

    Args:
        languages: locales as Babel names them; 25 languages in Latin letters.
        names: at most so many of each language, drawn by `split_seed`.
        options: those of `HeldLabelled`.
    """

    quick = True

    def __init__(self, *, languages: list[str] | None = None, names: int = 800, **options: Any):
        super().__init__(**options)
        must_be_positive("names", names)
        self.languages, self.most_names = list(languages or LANGUAGES), names
        if len(set(self.languages)) < 2:
            got = f"languages={self.languages}"
            raise ArgumentError(
                "languages", "there must be two languages or more", got=got, fits="[en, de]"
            )

    def labelled(self) -> list[Row]:
        found = {code: dict.fromkeys(names(known("languages", code))) for code in self.languages}
        several: dict[str, int] = {}
        for texts in found.values():
            for text in texts:
                several[text] = several.get(text, 0) + 1
        chance = random.Random(self.split_seed)
        rows: list[Row] = []
        for code, texts in found.items():
            own = [text for text in texts if several[text] == 1]
            taken = sorted(chance.sample(range(len(own)), min(self.most_names, len(own))))
            rows += [(own[place], code) for place in taken]
        return rows


def names(locale: Locale) -> Iterator[str]:
    """What a language calls things, in an order that does not change."""
    groups = (locale.territories, locale.languages, locale.scripts, locale.currencies)
    spans = (locale.months["format"]["wide"], locale.days["format"]["wide"])
    for group in (*groups, *spans):
        yield from (readable(group[key]) for key in sorted(group))
    yield from (
        readable(zone["city"]) for _, zone in sorted(locale.time_zones.items()) if "city" in zone
    )
    for _, zone in sorted(locale.meta_zones.items()):
        yield from (readable(text) for _, text in sorted(zone.get("long", {}).items()))
