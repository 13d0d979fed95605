"""Texts that may mend a mistake, read from what its message says. Who offers one tries it first."""

import difflib
import re
from collections.abc import Callable, Iterator
from typing import Any

from blocks.studio.text.edits import EditError, insert_before, remove_key, set_slot

NEAR = 0.7  # from 0 to 1, how like each other two words are of which one is meant
Entry = dict[str, Any]  # a problem as JSON states it: file, line, column, problem, got, fits, fix
PLACE = re.compile(r":(\d+):(\d+)$")
PLACES = re.compile(r"(\S+):(\d+):(\d+)\b")
USED_AT = re.compile(r"used at studio/\S+?:(\d+):(\d+)")  # in a template that the text uses
MEANT = re.compile(r"did you mean ([^?]+)\?")
SETTING = re.compile(r"([A-Za-z_]\w*): ([^,;]+)")
BETWEEN = re.compile(r"put between: (\{.*\})")
OPTION = re.compile(r"^\+?model/(\w+)=(?!OPTION\b)(\w+)(?: or (\w+))?", re.MULTILINE)
LEAVE_OUT = re.compile(r"leave ['`]?([A-Za-z_]\w*)['`]? out\b")
LOOK_ALIKE = re.compile(r"'(.)' is U\+[0-9A-F]+ .*: write (?:'(.)'|(a space))")


def move_here(entry: Entry, is_own: Callable[[str], bool]) -> Entry | None:
    """Return a mistake with its place in the text at hand: that of the node, or of what was given
    to a node of another file. None where it has no such place.
    """
    if is_own(entry["file"] or ""):
        return entry
    for file, line, column in PLACES.findall(entry["from"] or ""):
        if is_own(file):
            return {**entry, "file": file, "line": int(line), "column": int(column)}
    return None


def propose(text: str, entry: Entry) -> Iterator[tuple[str, str]]:
    """Yield what an edit does, as text, and the model file after it.

    Args:
        text: of the file that the mistake is in.
    """
    has_place = entry["line"] and entry["line"] <= text.count("\n") + 1
    seen = {text}
    for read in RULES if has_place else ANYWHERE:
        try:
            found = list(read(text, entry))
        except EditError:
            continue
        for label, after in found:
            if after not in seen:
                seen.add(after)
                yield label, after


def _replace_meant(text: str, entry: Entry) -> Iterator[tuple[str, str]]:
    """Replace a word by the one that was meant."""
    fits = entry["fits"] or ""
    meant = MEANT.search(fits)
    if meant is None and entry["code"] != "unknown-argument":  # the only one need not be near
        meant = re.fullmatch(r"([A-Za-z_]\w*)", fits)
    if meant is None:
        return
    for better in meant[1].split(" or "):
        for word in _words_of(entry):
            if entry["code"] == "unknown-argument" and not _is_near(word, better):
                continue
            after = _replace_near(text, entry, word, better)
            if after is not None:
                yield f"{word} → {better}", after
                break


def _replace_nearest(text: str, entry: Entry) -> Iterator[tuple[str, str]]:
    """Replace a word by the nearest of those that fit."""
    known = re.findall(r"[A-Za-z_]\w*", entry["fits"] or "")
    for word in _words_of(entry):
        for better in difflib.get_close_matches(word, known, n=1, cutoff=NEAR):
            after = _replace_near(text, entry, word, better)
            if after is not None:
                yield f"{word} → {better}", after


def _is_near(word: str, better: str) -> bool:
    return difflib.SequenceMatcher(None, word, better).ratio() >= NEAR


def _words_of(entry: Entry) -> list[str]:
    """Return the words that may be wrong: quoted in the message, or the key that was given."""
    words = re.findall(r"'([^']+)'", entry["problem"])
    got = entry["got"] or ""
    words += [got.partition("=")[2], got.partition(":")[0], got.partition(": ")[2]]
    words += got.split(", ")
    return [word for word in dict.fromkeys(words) if re.fullmatch(r"[\w.]+", word)]


def _replace_value(text: str, entry: Entry) -> Iterator[tuple[str, str]]:
    """Write `bias: true` for `bias: 1`, where the message says what fits."""
    got, fits = SETTING.match(entry["got"] or ""), SETTING.match(entry["fits"] or "")
    if got and fits and got[1] == fits[1]:
        old = (entry["got"] or "").partition(": ")[2]
        after = _replace_near(text, entry, old, fits[2].strip())
        if after is not None:
            yield f"{got[1]}: {fits[2].strip()}", after


def _remove(text: str, entry: Entry) -> Iterator[tuple[str, str]]:
    """Remove what nothing reads, or what stands twice."""
    fix = entry["fix"] or ""
    found = LEAVE_OUT.search(fix)
    names = [] if found is None else [found[1]]
    unknown = entry["code"] in ("unknown-key", "unknown-argument")
    if unknown or re.search(r"delete it$|one of the two|leave it out", fix):
        names.append((entry["got"] or "").partition(":")[0])
    if not unknown and re.search(r"delete it$|leave it out", fix):
        names.append((entry["path"] or "").rpartition(".")[2])
    for name in filter(None, names):
        for line in dict.fromkeys((_place_of(entry)[0], entry["line"])):
            try:
                yield f"− {name}", remove_key(text, line, name)
            except EditError:
                continue
    if "keep one of the two" in fix:
        lines = text.split("\n")
        del lines[entry["line"] - 1]
        yield f"− {entry['got']}", "\n".join(lines)


def _insert(text: str, entry: Entry) -> Iterator[tuple[str, str]]:
    """Insert the node that the message names before the one that needs it."""
    found = BETWEEN.search(entry["fix"] or "")
    if found is not None:
        block = re.search(r"block: (\w+)", found[1])
        name = block[1].lower() if block else "between"
        node = _quote_pattern(found[1])
        yield f"+ {node}", insert_before(text, entry["line"], name, node)


def _quote_pattern(node: str) -> str:
    """Put the pattern of a Rearrange, which may hold a comma or a colon, in quotes."""
    return re.sub(r'(pattern: )([^"}]+)\}', r'\1"\2"}', node)


def _write_ascii(text: str, entry: Entry) -> Iterator[tuple[str, str]]:
    """Write the character that another one looks like."""
    found = LOOK_ALIKE.search(entry["fix"] or "")
    if found is not None:
        yield f"{found[1]} → {found[2] or ' '}", text.replace(found[1], found[2] or " ")


def _indent(text: str, entry: Entry) -> Iterator[tuple[str, str]]:
    """Indent a line like the one below it."""
    lines = text.split("\n")
    number = entry["line"] - 1
    if "not with a tab" not in (entry["fix"] or ""):
        return
    below = lines[number + 1] if number + 1 < len(lines) else ""
    indent = below[: len(below) - len(below.lstrip(" "))]
    lines[number] = (indent or "  ") + lines[number].lstrip()
    yield "⇥ → ␣␣", "\n".join(lines)


def _choose_option(text: str, entry: Entry) -> Iterator[tuple[str, str]]:
    """Choose an option of a slot that the message names."""
    found = OPTION.search(entry["fix"] or "")
    if found is None:
        return
    for option in filter(None, found.groups()[1:]):
        yield f"{found[1]}: {option}", set_slot(text, found[1], option)


Rule = Callable[[str, Entry], Iterator[tuple[str, str]]]
ANYWHERE: tuple[Rule, ...] = (_choose_option,)  # also for a mistake of another file
RULES: tuple[Rule, ...] = (
    *ANYWHERE,
    _write_ascii,
    _indent,
    _replace_meant,
    _replace_nearest,
    _replace_value,
    _insert,
    _remove,
)


def _place_of(entry: Entry) -> tuple[int, int]:
    """Return line and column of the value that was given, or of the node."""
    found = PLACE.search((entry["from"] or "").partition("\n")[0])
    if found and (entry["from"] or "").startswith(entry["file"] or ""):
        return int(found[1]), int(found[2])
    return entry["line"], entry["column"] or 1


def find_mistake(text: str, entry: Entry) -> tuple[int, int] | None:
    """Return where the wrong word of a mistake begins and ends; None for one without a line."""
    lines = text.split("\n")
    line, column = _place_of(entry)
    used = USED_AT.search(entry["from"] or "")
    if used is not None:
        line, column = int(used[1]), int(used[2])
    if not line or line > len(lines):
        return None
    start = sum(len(each) + 1 for each in lines[: line - 1])
    end = start + len(lines[line - 1])
    words = [] if entry["code"] == "invalid-yaml" else _words_of(entry)
    for word in words:
        for begin in (start + column - 1, start):
            found = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)").search(text, begin, end)
            if found is not None:
                return found.span()
    begin = min(start + column - 1, end)
    length = len(re.split(r"[,}]", text[begin:end])[0].rstrip())
    return begin, begin + max(length, min(1, end - begin))


def _replace_near(text: str, entry: Entry, word: str, better: str) -> str | None:
    """Replace the first such word at or behind the place of a mistake; None where there is none."""
    lines = text.split("\n")
    for line, column in dict.fromkeys((_place_of(entry), (entry["line"], 1))):
        if line > len(lines):
            continue
        start = sum(len(each) + 1 for each in lines[: line - 1])
        pattern = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)")
        for begin in (start + column - 1, start):
            found = pattern.search(text, begin)
            if found is not None:
                return text[: found.start()] + better + text[found.end() :]
    return None
