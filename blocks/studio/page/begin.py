"""What a page shows first, from the command line and the address."""

from dataclasses import dataclass, replace

from blocks.studio.drafts import NAME

TABS = ("edit", "node", "difference", "PyTorch", "train", "sweep", "look", "runs")
LEVELS = {-1: "automatic", 0: "0", 1: "1", 2: "2", 3: "3", 99: "all"}


@dataclass(frozen=True)
class Begin:
    """What a page shows first.

    Args:
        model: its name.
        data: the data set; "" for the example of the model.
        words: further overrides.
    """

    model: str
    data: str = ""
    words: tuple[str, ...] = ()
    language: str = "en"
    depth: int = -1
    tab: str = TABS[0]

    @property
    def all_words(self) -> list[str]:
        """The overrides beside the model."""
        chosen = [f"data={self.data}"] if self.data else []
        return [*chosen, *self.words]

    def with_query(self, model: str, data: str, depth: int, tab: str) -> "Begin":
        """Return the same with what the address names, where it can be meant."""
        found = self
        if NAME.fullmatch(model) and NAME.fullmatch(data or "x"):
            words = self.words if (model, data) == (self.model, self.data) else ()
            found = replace(found, model=model, data=data, words=words)
        if depth in LEVELS:
            found = replace(found, depth=depth)
        if tab in TABS:
            found = replace(found, tab=tab)
        return found
