"""The state of one model while it is assembled: what is known, what was built, what is wrong."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from blocks.graph.assemble.body_builder import Path
from blocks.graph.assemble.context import NodeContext, Outputs
from blocks.graph.errors import NodeError, Origin, Problem, guess
from blocks.graph.language.scope import Scope, Text
from blocks.graph.language.signature import Signature, signature_of
from blocks.graph.language.words import check_node
from blocks.graph.record.initialise import Section, Start
from blocks.graph.record.kept import Kept, open_kept
from blocks.graph.record.limits import MODULES
from blocks.graph.record.record import Recipe
from blocks.support.program import command_line

SECTIONS = (
    "inputs",
    "outputs",
    "entries",
    "tie",
    "expect",
)  # of a model, which stand outside its graph
SHOWN = 70  # characters of a path; of a longer one its two ends are shown


@dataclass
class Assembly:
    """One model under construction.

    Args:
        catalog: block name -> `nn.Module` class or `Layer`.
        origin: path in the configuration -> where that was written.
        facts: what the data state.
        build_node: builds one node of a body.
        build_kind: builds a node whose inputs are known, by its kind.
        choices: slot -> name of the chosen option.
        altered: the command line changed the model, so that the claims of its file do not bind.
        most: limit of a `repeat`.
        stated: names of facts that any data state; an absent name near one of them is a mistake.
        root: what messages call the body at the top.
    """

    catalog: Mapping[str, Any]
    origin: Callable[[Path], Origin]
    facts: Mapping[str, Any]
    build_node: Callable[..., Outputs]
    build_kind: Callable[["Assembly", NodeContext], Outputs]
    choices: Mapping[str, str] = field(default_factory=dict)
    altered: bool = False
    most: int = MODULES
    stated: Collection[str] = ()
    root: str = "graph"

    problems: list[Problem] = field(default_factory=list)
    recipes: dict[int, Recipe] = field(default_factory=dict)
    starts: list[Start] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)  # `initialise` of templates
    modules: dict[str, tuple[nn.Module, Outputs]] = field(default_factory=dict)  # for `share`
    slots: Mapping[str, Any] = field(default_factory=dict)
    params: dict[str, Text] = field(default_factory=dict)
    read_params: set[Path] = field(default_factory=set)
    used_slots: set[str] = field(default_factory=set)
    ties: dict[str, str] = field(default_factory=dict)  # of parts that share their parameters
    # what shares -> the first part of it: its path, and how it is made
    shared: dict[Any, tuple[str, Recipe]] = field(default_factory=dict)
    kept: Kept = field(default_factory=open_kept)  # blocks that were made and ran already
    # (id of a node as it is written, option) -> it, and what is wrong with it
    checked: dict[tuple[int, bool], tuple[Any, Problem | None]] = field(default_factory=dict)
    passed: int = 0  # innermost repeats passed inside the present top-level node
    total: Callable[[], int] = lambda: 0  # of the innermost repeats of that node

    def __post_init__(self) -> None:
        # the names that every text may refer to
        self.outermost = Scope(params=self.params, facts=self.facts, read=self.read_params)

    def check_node(self, raw: Any, option: bool = False) -> Problem | None:
        """What is wrong with a node as it is written; each is checked once."""
        key = (id(raw), option)
        if key not in self.checked:
            self.checked[key] = raw, check_node(raw, option)
        return self.checked[key][1]

    def find_signature(self, name: Any, origin: Origin) -> Signature:
        """The signature of a block; raises NodeError with the nearest names."""
        if isinstance(name, str) and name in self.catalog:
            return signature_of(name, self.catalog[name])
        raise NodeError(
            Problem(
                f"no block {name!r}",
                got=f"block: {name}",
                source=str(origin),
                fits=guess(str(name).rpartition(".")[2], self.catalog, most=2),
                fix=f"{command_line('blocks', 'catalog')} lists all; blocks of your own come with "
                "library=[FOLDER]",
                code="unknown-block",
            )
        )

    @contextmanager
    def reporting(self, path: Path, display: str) -> Iterator[None]:
        """Report problems raised inside with this place, and continue after it."""
        try:
            yield
        except NodeError as error:
            for problem in error.problems:
                self.report(problem, path, display)

    def report(self, problem: Problem, path: Path, display: str, where: str | None = None) -> None:
        """Keep a problem with its place."""
        place: Any = where
        if not place and path:
            place = self.origin(path)
        shown = self._shown_path(display)
        self.problems.append(
            replace(problem, where=problem.where or place, path=problem.path or shown)
        )

    def _shown_path(self, display: str) -> str:
        if self.root == "graph" and display.partition(".")[0] in SECTIONS:
            shown = display
        else:
            shown = f"{self.root}.{display}".rstrip(".")
        if len(shown) > SHOWN:
            return f"{shown[:30]} ... {shown[-30:]}"
        return shown
