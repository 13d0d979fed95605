"""Answers about models again and again while their files change."""

import contextlib
import gc
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from blocks.commands.check import build_checked
from blocks.commands.common import Planner
from blocks.commands.diff import two_sides
from blocks.graph import Built, Composed, compose
from blocks.graph.describe.cost import Cost, measure
from blocks.graph.describe.diff import Side
from blocks.graph.describe.sweep_check import Result, check
from blocks.graph.read.live_loader import LiveLoader
from blocks.graph.read.loader import KEPT
from blocks.graph.record.kept import KEPT as KEPT_RESULTS
from blocks.graph.record.kept import Kept


@dataclass(frozen=True)
class Explained:
    """A model and what it costs.

    Args:
        composed: the configuration.
        built: the model on the meta device, with its record.
        costs: of every node by its path; {} where they were not measured.
        notes: lines beside the answer, e.g. which facts of the data were used.
    """

    composed: Composed
    built: Built
    costs: dict[str, Cost]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Printed:
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str


class Engine:
    """Answers for the files as they are when it is asked.

    It keeps what was read and computed, and recomputes what depends on a file that changed. One
    thread at a time may ask.
    """

    def __init__(self) -> None:
        self.loader = LiveLoader()
        self.results = Kept()
        self.changed: dict[Path, None] = {}  # files, since `take_changed` was called

    def explain(self, words: Sequence[str], config_dir: str | None = None) -> Explained:
        """Build a model and measure it; raises ConfigError."""
        planned = self.plan(words, config_dir)
        return replace(planned, costs=self.measure(planned.built))

    def plan(self, words: Sequence[str], config_dir: str | None = None) -> Explained:
        """Build a model, without its costs; raises ConfigError."""
        with self._keeping():
            planner = Planner(say=lambda note: None)
            composed = compose(words, config_dir=config_dir)
            return Explained(composed, planner(composed), {}, tuple(planner.said))

    def measure(self, built: Built) -> dict[str, Cost]:
        """Return what every node of a model costs, by its path; no file is looked at."""
        with self._keeping(looks=False):
            return measure(built)

    def check(self, words: Sequence[str], config_dir: str | None = None) -> list[Result]:
        """Build every combination of a sweep; each result has its own problems.

        Raises:
            ConfigError: the command line itself cannot be read.
        """
        with self._keeping():
            return check(words, config_dir, build_checked(Planner(say=lambda note: None)))

    def diff(self, words: Sequence[str], config_dir: str | None = None) -> tuple[Side, Side, str]:
        """Compare two models: the first two words are their overrides, as for the command `diff`.

        Returns:
            Both sides, and the data they were built for where no word chose them.

        Raises:
            ConfigError: a side that fits no data.
        """
        with self._keeping():
            return two_sides(words[:2], words[2:], config_dir)

    def run(self, command: Callable[[list[str]], int], arguments: Sequence[str]) -> Printed:
        """Run a command line; return what it prints.

        Args:
            command: `blocks.__main__.main`.
        """
        out, err = io.StringIO(), io.StringIO()
        with self._keeping(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = command(list(arguments))
            except SystemExit as error:
                status = 2
                if isinstance(error.code, int):
                    status = error.code
        return Printed(status, out.getvalue(), err.getvalue())

    def list_files(self) -> list[Path]:
        """Return the files that the answers depend on."""
        return [path for path, stamp in self.loader.probes.stamps.items() if stamp.is_file]

    def take_changed(self) -> list[Path]:
        """Return the files that changed, appeared or vanished since this was called before."""
        changed = dict.fromkeys([*self.changed, *self.loader.refresh()])
        self.changed.clear()
        return list(changed)

    @contextlib.contextmanager
    def _keeping(self, looks: bool = True) -> Iterator[None]:
        """Let every composition of this process use the files that were read before.

        Args:
            looks: whether to look for files that changed since.
        """
        if looks:
            self.changed.update(dict.fromkeys(self.loader.refresh()))
        tokens = KEPT.set(self.loader), KEPT_RESULTS.set(self.results)
        collects = gc.isenabled()
        gc.disable()  # a model is one web of references; who asks collects between two questions
        try:
            yield
        finally:
            KEPT.reset(tokens[0])
            KEPT_RESULTS.reset(tokens[1])
            self.results.trim()
            if collects:
                gc.enable()
