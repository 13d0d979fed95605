"""The variants of a model: texts that stood on the page, each with its numbers and its parent.

They lie in `studio/variants/NAME.json` of the project, so that the page finds them again.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from blocks.studio.drafts import FOLDER, LONGEST, NAME
from blocks.support.files import FileError, read_file, replace_file

MOST = 100  # variants that are kept of a model; the oldest goes first
VARIANTS = "variants"


@dataclass(frozen=True)
class Variant:
    """A text of a model.

    Args:
        number: of the variant; the text of the file is 0.
        parent: the variant that it was made of.
        command: the overrides that name it.
        numbers: parameters, multiply-adds, memory.
    """

    number: int
    parent: int
    text: str
    command: list[str]
    numbers: dict[str, int] = field(default_factory=dict)


class Variants:
    """The variants of one model.

    Args:
        project: its folder.
        model: its name.
    """

    def __init__(self, project: Path, model: str):
        self.file = project / FOLDER / VARIANTS / f"{model}.json"
        self.all = {each.number: each for each in self._read() if NAME.fullmatch(model)}
        self.now = max(self.all, default=0)

    def add(self, text: str, command: list[str], numbers: Mapping[str, int]) -> bool:
        """Keep a text, unless it is one that is there; it becomes the one that is shown."""
        for each in self.all.values():
            if each.text == text:
                changed, self.now = self.now != each.number, each.number
                return changed
        if len(text) > LONGEST:
            return False
        number = max(self.all, default=-1) + 1
        parent = self.now if self.all else number
        self.all[number] = Variant(number, parent, text, list(command), dict(numbers))
        self.now = number
        self._forget()
        self._write()
        return True

    def ordered(self) -> Iterator[tuple[int, Variant]]:
        """Yield depth and variant, each below its parent."""
        roots = [each for each in self.all.values() if self._is_root(each)]
        for root in roots:
            yield from self._below(root, 0)

    def _is_root(self, variant: Variant) -> bool:
        return variant.parent == variant.number or variant.parent not in self.all

    def _below(self, variant: Variant, depth: int) -> Iterator[tuple[int, Variant]]:
        """Yield a variant and those made of it: the last one goes on, the others branch."""
        yield depth, variant
        children = [
            each for each in self.all.values() if each.parent == variant.number != each.number
        ]
        for place, child in enumerate(children):
            yield from self._below(child, depth + (place < len(children) - 1))

    def _forget(self) -> None:
        while len(self.all) > MOST:
            del self.all[min(number for number in self.all if number != self.now)]

    def _read(self) -> list[Variant]:
        try:
            return [Variant(**each) for each in json.loads(read_file(self.file))]
        except (OSError, ValueError, TypeError, FileError, RecursionError):
            return []

    def _write(self) -> None:
        content: list[dict[str, Any]] = [asdict(each) for each in self.all.values()]
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(self.file) as part:
            part.write_text(json.dumps(content), encoding="utf-8")
