"""Weights in and out: another library's `state_dict` into a model by a declarative map, safetensors
out.

A map is YAML (`conf/weights/`): for each of our parameters the name of theirs. Nothing in a map or
in a file of weights is executed. Every tensor on both sides is accounted for.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from blocks.graph.compose.compose import conf_folder
from blocks.graph.errors import ConfigError, Problem, did_you_mean
from blocks.graph.language.expression import ExpressionError, limited
from blocks.graph.language.patterns import fill_template, match_name
from blocks.graph.record.token_grid import Grid, find_tables, read_grid
from blocks.graph.steps import spend
from blocks.graph.weights.file import read_grids, read_tensors, save_weights, tensors_of
from blocks.graph.weights.first import find_first, is_rgb
from blocks.graph.weights.interpolate import fit_channels, resample
from blocks.graph.weights.line import Line, read_line
from blocks.graph.weights.names import Map, read_map

TOLD = 6  # names that an error shows


@dataclass(frozen=True)
class Report:
    """What became of every tensor on both sides, by our names and theirs.

    Args:
        matched: ours -> theirs, copied.
        reshaped: ours -> what was done to fit another resolution.
        channels: filters of ours -> what was done to fit another number of channels of the images.
        replaced: parameters of the head that stay new, since the number of classes differs.
        kept: ours that the map leaves as they are.
        dropped: theirs that the map leaves out.
        missing: ours that nothing fills; only without `strict`.
        left_over: theirs that fill nothing; only without `strict`.
    """

    matched: Mapping[str, str]
    reshaped: Mapping[str, str] = field(default_factory=dict)
    channels: Mapping[str, str] = field(default_factory=dict)
    replaced: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    left_over: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{len(self.matched)} tensors matched"]
        lines += [f"  reshaped   {name}: {how}" for name, how in self.reshaped.items()]
        lines += [f"  channels   {name}: {how}" for name, how in self.channels.items()]
        for word in ("replaced", "kept", "dropped", "missing", "left_over"):
            names = getattr(self, word)
            if names:
                lines.append(f"  {word.replace('_', ' '):<10} {_some(names)}")
        return "\n".join(lines)


@limited()
def load_weights(
    model: nn.Module,
    source: str | Path | Mapping[str, Tensor],
    map: str | Path | Mapping[str, Any] | None = None,
    *,
    head: Literal["keep", "replace"] = "keep",
    strict: bool = True,
    folder: Path | None = None,
    grid: tuple[int, int] | None = None,
) -> Report:
    """Copy weights into a model; nothing is copied unless everything fits.

    Args:
        source: a file (.safetensors, or .pt, .pth, .bin with tensors only), or a state_dict.
        map: a file of `conf/weights/` without its ending, a path, or the map itself; None where the
            names are ours.
        head: "replace" leaves the head new where the number of classes differs.
        strict: every tensor must be accounted for; otherwise the report names what is not.
        folder: where maps of the user's own lie, searched first.
        grid: rows and columns of the grid of their positions, where the file does not state it and
            it is no square.

    Raises:
        ConfigError: every tensor that does not fit or is not accounted for.
    """
    if head not in ("keep", "replace"):
        fits = did_you_mean(head, ("keep", "replace"))
        raise ConfigError(
            [Problem(f"no way {head!r} with the head", path="weights.head", fits=fits)]
        )
    file = str(source) if isinstance(source, str | Path) else "the state_dict"
    loader = Loader(read_map(map, folder), read_tensors(source), file, read_grids(source))
    loader.stated = _stated_grid(grid)
    report, values = loader.plan(model, head)
    problems = loader.problems
    if grid is not None and not loader.resampling:
        fix = "leave weights.grid out, or a map with fit: grid"
        problems.append(
            Problem(
                "no position table is loaded that a grid could be of", path="weights.grid", fix=fix
            )
        )
    if strict:
        problems = [*problems, *loader.unaccounted(report, map, folder, model)]
    if problems:
        raise ConfigError(problems)
    own = model.state_dict(keep_vars=True)
    with torch.no_grad():
        for name, value in values.items():
            own[name].copy_(value)
    return report


@dataclass
class Loader:
    """One map and one set of tensors; problems are collected.

    Args:
        map: what fills what.
        tensors: theirs.
        file: where theirs come from, for messages.
        grids: rows and columns of their position tables, by name, where the file states them.
        stated: rows and columns of the grid of their positions, as the user states them.
    """

    map: Map
    tensors: dict[str, Tensor]
    file: str
    grids: dict[str, Grid] = field(default_factory=dict)
    stated: Grid | None = None
    tables: dict[str, tuple[str, Grid]] = field(
        default_factory=dict
    )  # of ours: how each is resampled, and its grid
    resampling: bool = False  # whether a table over a grid was met
    problems: list[Problem] = field(default_factory=list)
    used: dict[str, set[tuple[int, int]]] = field(
        default_factory=dict
    )  # theirs -> parts (part, of) that are taken
    copies: set[str] = field(default_factory=set)  # theirs that a `tie` of the map adds
    reading: str = ""  # the left side of the line that is read

    def plan(self, model: nn.Module, head: str) -> tuple[Report, dict[str, Tensor]]:
        """What goes where, and the values; nothing is copied yet."""
        theirs = self._renamed()
        self.tables, first = find_tables(model), find_first(model)
        channels: dict[str, str] = {}
        values: dict[str, Tensor] = {}
        matched: dict[str, str] = {}
        reshaped: dict[str, str] = {}
        replaced: list[str] = []
        kept: list[str] = []
        missing: list[str] = []
        for ours, (parameter, aliases) in tensors_of(model).items():
            shape = tuple(parameter.shape)
            value, source, how = self._gather(ours, aliases, shape, theirs)
            if value is not None and ours.partition(".")[0] in first and is_rgb(value, shape):
                value, channels[ours] = fit_channels(value, shape[1])
            if value is None:
                (kept if self._listed("keep", ours) else missing).append(ours)
            elif tuple(value.shape) == shape:
                values[ours], matched[ours] = value, source
                if how:
                    reshaped[ours] = how
            elif head == "replace" and self._listed("head", ours):
                replaced.append(ours)
            elif source:
                self._misfit(ours, shape, tuple(value.shape), source)
        left = [name for name in theirs if not self._spent(name) and name not in self.copies]
        dropped = [name for name in left if self._listed("drop", name)]
        left = [name for name in left if name not in dropped]
        lists = map(tuple, (replaced, kept, dropped, missing, left))
        return Report(matched, reshaped, channels, *lists), values

    def _gather(
        self,
        ours: str,
        aliases: tuple[str, ...],
        shape: tuple[int, ...],
        theirs: Mapping[str, Tensor],
    ) -> tuple[Tensor | None, str, str]:
        """What fills one of ours, under any of its names: the value, where it comes from, how it
        was resampled.
        """
        value, source, how = None, "", ""
        for name in (ours, *aliases):
            line = None
            try:
                line = self._line(name, theirs)
                if line is None:
                    continue
                new, how = self._resampled(name, line, line.value(theirs, shape), shape)
            except ExpressionError as error:
                where = self.map.origin("map", self.reading)
                self.problems.append(
                    Problem(error.problem, where, name, fits=error.fits, fix=error.fix)
                )
                for each in line.sources if line else ():
                    self.used[each] = {(0, 1)}
                return torch.empty(0), "", ""  # told: neither missing nor left over
            for each in line.sources:
                self.used.setdefault(each, set()).update(line.taken())
            if value is not None and not torch.equal(value, new):
                problem = f"{ours} and {name} are one parameter here and two different ones there"
                self.problems.append(
                    Problem(problem, self.file, name, fix="'~model.tie' takes the tie away")
                )
            value, source = (new, line.text()) if value is None else (value, source)
        return value, source, how

    def _resampled(
        self, ours: str, line: Line, value: Tensor, shape: tuple[int, ...]
    ) -> tuple[Tensor, str]:
        """A position table in our resolution, and what was done; anything else as it is."""
        kind, prefix = line.words.get("fit"), line.prefix
        if kind is None:
            return value, ""
        ours_is, new = self.tables.get(ours, (None, None))
        old = line.grid or self.grids.get(line.sources[0])
        if kind == "own":
            if ours_is is None or new is None:
                return value, ""
            kind, prefix = ours_is, math.prod(shape[:-1]) - math.prod(new)
            if old is None and self.stated is None and tuple(value.shape) == shape:
                old = new  # our own names and our own shape: a state_dict comes back as it was
        if kind == "grid":
            self.resampling = True
            old = line.grid or self.stated or old
        return resample(str(kind), value, shape, prefix, old=old, new=new)

    def _misfit(
        self, ours: str, shape: tuple[int, ...], came: tuple[int, ...], source: str
    ) -> None:
        fix = None
        if self._listed("head", ours):
            fix = (
                "--head replace, or weights.head=replace: where the number of classes "
                "differs, the head stays new"
            )
        self.problems.append(
            Problem(f"{ours} is {shape}, and {source} gives {came}", self.file, ours, fix=fix)
        )

    def _renamed(self) -> dict[str, Tensor]:
        """Theirs by the names that the map uses: spellings of other versions are brought to one."""
        names = {name: name for name in self.tensors}
        for old, new in (self.map.sections.get("rename") or {}).items():
            for name, now in names.items():
                pieces = self._safely(("rename", old), partial(match_name, old, now))
                if pieces is not None:
                    filled = self._safely(("rename", old), partial(fill_template, str(new), pieces))
                    names[name] = filled or now
        found: dict[str, Tensor] = {}
        for name, now in names.items():
            if now in found:
                self.problems.append(
                    Problem(f"two tensors are {now!r} to this map", self.file, name)
                )
            found[now] = self.tensors[name]
            if name in self.grids:
                self.grids[now] = self.grids[name]
        for absent, present in (self.map.sections.get("tie") or {}).items():
            if absent not in found and present in found:
                found[absent] = found[present]
                self.copies.add(absent)
        return found

    def _safely(self, path: tuple[str, str], read: Callable[[], Any]) -> Any:
        try:
            return read()
        except ExpressionError as error:
            self.problems.append(
                Problem(
                    error.problem, self.map.origin(*path), path[1], fits=error.fits, fix=error.fix
                )
            )
            return None

    def _listed(self, section: str, name: str) -> bool:
        patterns = [str(pattern) for pattern in self.map.sections.get(section) or ()]
        spend(1 + sum(map(len, patterns)) * len(name) // 10_000)
        return any(fnmatchcase(name, pattern) for pattern in patterns)

    def _line(self, ours: str, theirs: Mapping[str, Tensor]) -> Line | None:
        """The first line that fits one of ours and whose tensors are all there."""
        for pattern, raw in self.map.sections["map"].items():
            pieces = match_name(str(pattern), ours)
            if pieces is not None:
                self.reading = str(pattern)
                line = read_line(str(pattern), raw, pieces)
                if all(name in theirs for name in line.sources):
                    return line
        return None

    def _spent(self, name: str) -> bool:
        """Whether all of theirs went somewhere."""
        taken = self.used.get(name, set())
        return any({(part, of) for part in range(of)} <= taken for _, of in taken)

    def unaccounted(
        self, report: Report, map: Any, folder: Path | None, model: nn.Module
    ) -> Iterator[Problem]:
        """What a strict load does not accept: ours that nothing fills, theirs that fill nothing."""
        if not report.missing and not report.left_over:
            return
        fix = None
        if len(report.missing) > len(report.matched) and not isinstance(map, Mapping):
            better = self._better_map(model, folder, len(report.matched))
            fix = better and f"the map {better} fits this file"
        if report.missing:
            near = did_you_mean(report.missing[0], report.left_over) if report.left_over else ""
            fits = near if near.startswith("did") else None
            problem, fix_missing = (
                f"nothing fills {len(report.missing)} of ours",
                fix or "another map, or fewer layers",
            )
            yield Problem(
                problem,
                self.map.name,
                "weights",
                got=_some(report.missing),
                fits=fits,
                fix=fix_missing,
            )
        if report.left_over:
            problem, fix_left = (
                f"{len(report.left_over)} of theirs fill nothing",
                "a line in the map, or in its `drop`",
            )
            yield Problem(
                problem,
                self.file,
                "weights",
                got=_some(report.left_over),
                fix=None if fix else fix_left,
            )

    def _better_map(self, model: nn.Module, folder: Path | None, matched: int) -> str | None:
        """The map of ours that fills most of this model from this file, if it fills more."""
        best, most = None, matched
        for place in (folder, conf_folder() / "weights"):
            for file in sorted(place.glob("*.yaml")) if place else []:
                loader = Loader(read_map(file), self.tensors, self.file, self.grids)
                report, _ = loader.plan(model, "replace")
                if len(report.matched) > most:
                    best, most = file.stem, len(report.matched)
        return best


def _stated_grid(grid: Any) -> Grid | None:
    if grid is None:
        return None
    try:
        return read_grid(grid)
    except ExpressionError as error:
        raise ConfigError([Problem(error.problem, path="weights.grid", fits=error.fits)]) from None


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:TOLD]) + (f", ... ({len(names)})" if len(names) > TOLD else "")


__all__ = ["Report", "load_weights", "save_weights"]
