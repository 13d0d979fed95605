"""Questions in words about four digits in a square, and their answers."""

from collections.abc import Callable
from dataclasses import dataclass

PLACES = ("top left", "top right", "bottom left", "bottom right")
LINES = {"upper row": (0, 1), "lower row": (2, 3), "left column": (0, 2), "right column": (1, 3)}
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PLURALS = tuple(f"{digit}es" if digit == "six" else f"{digit}s" for digit in DIGITS)
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
    """One question in words.

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
    """Every question there is, in an order that does not change."""
    return [
        Question(phrase.format(**words), kind, about)
        for kind in KINDS
        for about, words in subjects(kind)
        for phrase in PHRASINGS[kind]
    ]


def subjects(kind: str) -> list[tuple[tuple[int, ...], dict[str, str]]]:
    """What a question of this kind can be about, and the words for it."""
    if kind in ("count", "presence"):
        articles = ["an" if digit == "eight" else "a" for digit in DIGITS]
        return [
            ((number,), {"plural": PLURALS[number], "one": f"{articles[number]} {DIGITS[number]}"})
            for number in range(len(DIGITS))
        ]
    if kind == "place":
        return [((number,), {"place": place}) for number, place in enumerate(PLACES)]
    if kind in ("sum", "difference"):
        return [(places, {"line": line}) for line, places in LINES.items()]
    if kind == "comparison":
        pairs = [
            (place, number) for place in range(len(PLACES)) for number in range(1, len(DIGITS) - 1)
        ]
        return [
            ((place, number), {"place": PLACES[place], "digit": DIGITS[number]})
            for place, number in pairs
        ]
    return [((0, 1, 2, 3), {})]


def answer(question: Question, digits: list[int]) -> str:
    """The right answer, one of ANSWERS, for the digits at PLACES."""
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
    return ("no", "yes")[found] if isinstance(found, bool) else str(found)
