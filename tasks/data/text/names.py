"""Names of things in many languages, as Unicode's CLDR gives them, by Babel: real, and offline."""

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

from babel import Locale

from tasks.data.text.labelled import LabelledTexts, Row
from tasks.data.text.phrases import find_locale, with_plain_blanks
from tasks.errors import ArgumentError, must_be_positive

LANGUAGES = "cs da de en es et fi fr hr hu id it lt lv nb nl pl pt ro sk sl sv sw tr vi"


class Names(LabelledTexts):
    """Names of countries, languages, scripts, currencies, months, days, cities and time zones.

    The class is the language. A name that several of the languages share, as "Angola", is left out:
    it has no answer.

    Args:
        languages: locales as Babel names them; 25 languages in Latin letters.
        names: the most names of each language, drawn by `split_seed`.
        options: those of `LabelledTexts`.
    """

    quick = True

    def __init__(self, *, languages: list[str] | None = None, names: int = 800, **options: Any):
        super().__init__(**options)
        must_be_positive("names", names)
        self.languages, self.most_names = list(languages or LANGUAGES.split()), names
        if len(set(self.languages)) < 2:
            text, got = "there must be two languages or more", f"languages={self.languages}"
            raise ArgumentError("languages", text, got=got, fits="[en, de]")

    def labelled(self) -> list[Row]:
        found: dict[str, list[str]] = {}
        counts: Counter[str] = Counter()
        for code in self.languages:
            found[code] = list(dict.fromkeys(find_names(find_locale("languages", code))))
        for texts in found.values():
            counts.update(texts)
        chance = random.Random(self.split_seed)
        rows: list[Row] = []
        for code, texts in found.items():
            own = [text for text in texts if counts[text] == 1]
            taken = sorted(chance.sample(range(len(own)), min(self.most_names, len(own))))
            rows += [(own[index], code) for index in taken]
        return rows


def find_names(locale: Locale) -> Iterator[str]:
    """Yield the names of things in a language, in a fixed order."""
    for group in (
        locale.territories,
        locale.languages,
        locale.scripts,
        locale.currencies,
        locale.months["format"]["wide"],
        locale.days["format"]["wide"],
    ):
        for key in sorted(group):
            yield with_plain_blanks(group[key])
    for _, zone in sorted(locale.time_zones.items()):
        if "city" in zone:
            yield with_plain_blanks(zone["city"])
    for _, zone in sorted(locale.meta_zones.items()):
        for _, text in sorted(zone.get("long", {}).items()):
            yield with_plain_blanks(text)
