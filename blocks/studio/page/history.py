"""The texts that were on the page, for undo and redo."""

import time

TOGETHER = 0.8  # seconds within which keystrokes are undone together
UNDONE = 200  # texts that can be undone


class History:
    """The texts that were on the page, for undo and redo."""

    def __init__(self, text: str):
        self.texts, self.place, self.changed = [text], 0, 0.0

    def add(self, text: str) -> None:
        """Remember a text; quick changes count as one."""
        if text == self.texts[self.place]:
            return
        now = time.monotonic()
        del self.texts[self.place + 1 :]
        if now - self.changed < TOGETHER and self.place > 0:
            self.texts[self.place] = text
        else:
            self.texts = [*self.texts[-UNDONE:], text]
            self.place = len(self.texts) - 1
        self.changed = now

    def has(self, by: int) -> bool:
        """Return whether there is a text before (-1) or after (1) this one."""
        return 0 <= self.place + by < len(self.texts)

    def step(self, by: int) -> str:
        """Return the text before (-1) or after (1) this one."""
        self.place = min(max(self.place + by, 0), len(self.texts) - 1)
        self.changed = 0.0
        return self.texts[self.place]


class Histories:
    """The latest history of each model, which the page in another language continues."""

    def __init__(self) -> None:
        self.latest: dict[str, History] = {}

    def open(self, model: str, text: str) -> History:
        """Return a history of a model that ends with a text."""
        found, before = History(text), self.latest.get(model)
        if before is not None and before.texts[before.place] == text:
            found.texts, found.place = list(before.texts), before.place
        self.latest[model] = found
        return found
