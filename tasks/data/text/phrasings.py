"""Questions in English about four digits in a square, and their answers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

PLACES = ("top left", "top right", "bottom left", "bottom right")
LINES = {"upper row": (0, 1), "lower row": (2, 3), "left column": (0, 2), "right column": (1, 3)}
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ONES = tuple(f"a {digit}".replace("a eight", "an eight") for digit in DIGITS)
PLURALS = tuple(f"{digit}s".replace("sixs", "sixes") for digit in DIGITS)
LARGEST_SUM = 18
ANSWERS = (*map(str, range(LARGEST_SUM + 1)), "no", "yes")

PHRASINGS = {
    "place": (
        "which digit is at the {place}",
        "what is the {place} digit",
        "name the digit at the {place}",
    ),
    "count": ("how many {plural}", "how many {plural} are there", "count the {plural}"),
    "presence": ("is there {one}", "does {one} occur", "do you see {one}"),
    "sum": (
        "sum of the {line}",
        "what is the sum of the {line}",
        "add up the digits of the {line}",
    ),
    "difference": (
        "difference of the {line}",
        "what is the difference of the {line}",
        "how far apart are the digits of the {line}",
    ),
    "largest": ("largest digit", "what is the largest digit", "which digit is the largest"),
    "smallest": ("smallest digit", "what is the smallest digit", "which digit is the smallest"),
    "comparison": (
        "is the {place} digit larger than {digit}",
        "is the digit at the {place} larger than {digit}",
        "is {digit} smaller than the {place} digit",
    ),
}
KINDS = tuple(PHRASINGS)


@dataclass(frozen=True)
class Question:
    """One question in English.

    Args:
        text: lower case, words with blanks between them.
        kind: one of KINDS.
        about: what it asks about: a digit for count and presence, a place and a digit for
            comparison, otherwise places by number.
    """

    text: str
    kind: str
    about: tuple[int, ...]


def questions() -> list[Question]:
    """Return all questions, in a fixed order."""
    found = []
    for kind, phrasings in PHRASINGS.items():
        for about, words in subjects(kind):
            found += [Question(phrase.format(**words), kind, about) for phrase in phrasings]
    return found


def subjects(kind: str) -> Iterator[tuple[tuple[int, ...], dict[str, str]]]:
    """Yield what a question of this kind can be about, and the words for it."""
    if kind in ("count", "presence"):
        for number, (one, plural) in enumerate(zip(ONES, PLURALS, strict=True)):
            yield (number,), {"plural": plural, "one": one}
    elif kind == "place":
        for number, place in enumerate(PLACES):
            yield (number,), {"place": place}
    elif kind in ("sum", "difference"):
        for line, numbers in LINES.items():
            yield numbers, {"line": line}
    elif kind == "comparison":
        for number, place in enumerate(PLACES):
            for digit in range(1, len(DIGITS) - 1):
                yield (number, digit), {"place": place, "digit": DIGITS[digit]}
    else:
        yield (0, 1, 2, 3), {}


def answer(question: Question, digits: list[int]) -> str:
    """Return the right answer, one of ANSWERS, for the digits at PLACES."""
    first, last = question.about[0], question.about[-1]
    ways: dict[str, Callable[[], int | bool]] = {
        "place": lambda: digits[first],
        "count": lambda: digits.count(first),
        "presence": lambda: first in digits,
        "sum": lambda: digits[first] + digits[last],
        "difference": lambda: abs(digits[first] - digits[last]),
        "largest": lambda: max(digits),
        "smallest": lambda: min(digits),
        "comparison": lambda: digits[first] > last,
    }
    found = ways[question.kind]()
    if isinstance(found, bool):
        return ("no", "yes")[found]
    return str(found)
