"""Loads the weights of another library into a model by a declarative map.

A map is YAML (`conf/weights/`): for each parameter of the model ("ours") the name of the tensor of
the file ("theirs"). No code in a map or a file of weights is run. Every tensor on both sides is
accounted for.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from blocks.graph.errors import ConfigError, Problem, did_you_mean, guess
from blocks.graph.language.expression import ExpressionError, limited
from blocks.graph.language.patterns import fill_template, match_name
from blocks.graph.record.token_grid import Grid, find_tables, read_grid
from blocks.graph.steps import spend
from blocks.graph.weights.file import list_tensors, read_grids, read_tensors
from blocks.graph.weights.first import find_first, is_rgb
from blocks.graph.weights.interpolate import fit_channels, resample
from blocks.graph.weights.line import Line, TensorPart, count_parts, read_line
from blocks.graph.weights.names import Map, read_map
from blocks.support.conf_folders import conf_folders

MAX_SHOWN = 20  # names in an error


@dataclass(frozen=True)
class Report:
    """The result of a load for every tensor on both sides.

    Args:
        matched: ours -> theirs, copied.
        reshaped: ours -> how it was resampled to another resolution.
        channels: filters of ours -> how they were made for another number of channels.
        replaced: parameters of the head that stay new, since the number of classes differs.
        kept: ours that the map keeps as they are.
        dropped: theirs that the map drops.
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
        for name, how in self.reshaped.items():
            lines.append(f"  reshaped   {name}: {how}")
        for name, how in self.channels.items():
            lines.append(f"  channels   {name}: {how}")
        for word in ("replaced", "kept", "dropped", "missing", "left_over"):
            names = getattr(self, word)
            if names:
                lines.append(f"  {word.replace('_', ' '):<10} {_shorten(names)}")
        return "\n".join(lines)


@limited()
def load_weights(
    model: nn.Module,
    source: str | Path | Mapping[str, Tensor] | nn.Module,
    map: str | Path | Mapping[str, Any] | None = None,
    *,
    head: Literal["keep", "replace"] = "keep",
    strict: bool = True,
    folder: Path | None = None,
    grid: tuple[int, int] | None = None,
) -> Report:
    """Copy weights into a model; nothing is copied unless everything fits.

    Args:
        model: the model.
        source: a file (.safetensors, or .pt, .pth, .bin with tensors only), a state_dict, or
            another model.
        map: a file of `conf/weights/` without its suffix, a path, or the map itself; None where the
            names are those of the model.
        head: "replace" keeps the head new where the number of classes differs.
        strict: every tensor must be accounted for; otherwise the report names the others.
        folder: a folder with the user's maps, searched first.
        grid: rows and columns of the position tables of the file, where the file does not state
            them and they are no square.

    Raises:
        ConfigError: every tensor that does not fit, or is not accounted for.
    """
    if head not in ("keep", "replace"):
        fits = did_you_mean(head, ("keep", "replace"))
        problem = Problem(
            f"no way {head!r} with the head", path="weights.head", fits=fits, code="bad-value"
        )
        raise ConfigError(problem)
    file = "the state_dict"
    if isinstance(source, str | Path):
        file = str(source)
    elif isinstance(source, nn.Module):
        file = "the other model"
    loader = Loader(read_map(map, folder), read_tensors(source), file, read_grids(source))
    loader.stated = _read_stated_grid(grid)
    report, values = loader.plan(model, head)
    problems = loader.problems
    if grid is not None and not loader.resampling:
        fix = "leave weights.grid out, or a map with fit: grid"
        text = "weights.grid is given, and no position table over a grid is loaded"
        problems.append(Problem(text, path="weights.grid", fix=fix, code="unused"))
    if strict:
        problems = [*problems, *loader.check_all_used(report, map, folder, model)]
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
        map: the map.
        tensors: theirs.
        file: the source of the tensors, for messages.
        grids: rows and columns of their position tables by name, where the file states them.
        stated: rows and columns of their position tables, as the user states them.
        tables: position tables of ours -> how each is resampled, and its grid.
        resampling: whether a table over a grid was found.
        problems: all problems so far.
        used: theirs -> parts (part, of) that are taken.
        copies: theirs that a `tie` of the map adds.
        reading: the left side of the current line.
    """

    map: Map
    tensors: dict[str, Tensor]
    file: str
    grids: dict[str, Grid] = field(default_factory=dict)
    stated: Grid | None = None
    tables: dict[str, tuple[str, Grid]] = field(default_factory=dict)
    resampling: bool = False
    problems: list[Problem] = field(default_factory=list)
    used: dict[str, set[TensorPart]] = field(default_factory=dict)
    copies: set[str] = field(default_factory=set)
    reading: str = ""

    def plan(self, model: nn.Module, head: str) -> tuple[Report, dict[str, Tensor]]:
        """Return a report, and the values to copy; nothing is copied yet."""
        theirs = self._rename()
        self.tables, first = find_tables(model), find_first(model)
        channels: dict[str, str] = {}
        values: dict[str, Tensor] = {}
        matched: dict[str, str] = {}
        reshaped: dict[str, str] = {}
        replaced: list[str] = []
        kept: list[str] = []
        missing: list[str] = []
        for ours, (parameter, aliases) in list_tensors(model).items():
            shape = tuple(parameter.shape)
            value, source, how = self._gather(ours, aliases, shape, theirs)
            if value is not None and ours.partition(".")[0] in first and is_rgb(value, shape):
                value, channels[ours] = fit_channels(value, shape[1])
            if value is None:
                listed = kept if self._is_listed("keep", ours) else missing
                listed.append(ours)
            elif tuple(value.shape) == shape:
                values[ours], matched[ours] = value, source
                if how:
                    reshaped[ours] = how
            elif head == "replace" and self._is_listed("head", ours):
                replaced.append(ours)
            elif source:
                self._report_misfit(ours, shape, tuple(value.shape), source)
        dropped: list[str] = []
        left: list[str] = []
        for name in theirs:
            if not self._is_used_up(name) and name not in self.copies:
                listed = dropped if self._is_listed("drop", name) else left
                listed.append(name)
        lists = map(tuple, (replaced, kept, dropped, missing, left))
        return Report(matched, reshaped, channels, *lists), values

    def _gather(
        self,
        ours: str,
        aliases: tuple[str, ...],
        shape: tuple[int, ...],
        theirs: Mapping[str, Tensor],
    ) -> tuple[Tensor | None, str, str]:
        """Return what fills one of ours, under any of its names: the value, its source, and how it
        was resampled.
        """
        value, source, how = None, "", ""
        for name in (ours, *aliases):
            line = None
            try:
                line = self._find_line(name, theirs)
                if line is None:
                    continue
                new, how = self._resample(name, line, line.value(theirs, shape), shape)
            except ExpressionError as error:
                where = self.map.origin("map", self.reading)
                self.problems.append(
                    Problem(
                        error.problem, where, name, fits=error.fits, fix=error.fix, code=error.code
                    )
                )
                for each in line.sources if line else ():
                    self.used[each] = {(0, 1)}
                return torch.empty(0), "", ""  # reported: neither missing nor left over
            for each in line.sources:
                self.used.setdefault(each, set()).update(line.taken())
            if value is not None and not torch.equal(value, new):
                problem = f"{ours} and {name} are one parameter here and two different ones there"
                self.problems.append(
                    Problem(
                        problem,
                        self.file,
                        name,
                        fix="'~model.tie' takes the tie away",
                        code="weights-mismatch",
                    )
                )
            if value is None:
                value, source = new, line.text()
        return value, source, how

    def _resample(
        self, ours: str, line: Line, value: Tensor, shape: tuple[int, ...]
    ) -> tuple[Tensor, str]:
        """Return a position table in our resolution, and how it was resampled; any other tensor as
        it is.
        """
        kind, prefix = line.words.get("fit"), line.prefix
        if kind is None:
            return value, ""
        own_kind, new = self.tables.get(ours, (None, None))
        old = line.grid or self.grids.get(line.sources[0])
        if kind == "own":
            if own_kind is None or new is None:
                return value, ""
            kind, prefix = own_kind, math.prod(shape[:-1]) - math.prod(new)
            if old is None and self.stated is None and tuple(value.shape) == shape:
                old = new  # our own names and shape: a state_dict is loaded as it is
        if kind == "grid":
            self.resampling = True
            old = line.grid or self.stated or old
        return resample(str(kind), value, shape, prefix, old=old, new=new)

    def _report_misfit(
        self, ours: str, shape: tuple[int, ...], given: tuple[int, ...], source: str
    ) -> None:
        fix = None
        if self._is_listed("head", ours):
            fix = (
                "--head replace, or weights.head=replace: where the number of classes "
                "differs, the head stays new"
            )
        self.problems.append(
            Problem(
                f"{ours} is {shape}, and {source} gives {given}",
                self.file,
                ours,
                fix=fix,
                code="weights-mismatch",
            )
        )

    def _rename(self) -> dict[str, Tensor]:
        """Return theirs by the names that the map uses, with names of other versions replaced."""
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
                    Problem(
                        f"two tensors are {now!r} to this map",
                        self.file,
                        name,
                        code="weights-mismatch",
                    )
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
                    error.problem,
                    self.map.origin(*path),
                    path[1],
                    fits=error.fits,
                    fix=error.fix,
                    code=error.code,
                )
            )
            return None

    def _is_listed(self, section: str, name: str) -> bool:
        patterns = [str(pattern) for pattern in self.map.sections.get(section) or ()]
        spend(1 + sum(map(len, patterns)) * len(name) // 10_000)
        return any(fnmatchcase(name, pattern) for pattern in patterns)

    def _find_line(self, ours: str, theirs: Mapping[str, Tensor]) -> Line | None:
        """Return the first line that matches one of ours and whose tensors all exist."""
        for pattern, raw in self.map.sections["map"].items():
            pieces = match_name(str(pattern), ours)
            if pieces is not None:
                self.reading = str(pattern)
                line = read_line(str(pattern), raw, pieces)
                if all(name in theirs for name in line.sources):
                    return line
        return None

    def _is_used_up(self, name: str) -> bool:
        """Return whether all parts of theirs are taken."""
        taken = self.used.get(name, set())
        return any({(part, of) for part in range(count_parts(of))} <= taken for _, of in taken)

    def check_all_used(
        self, report: Report, map: Any, folder: Path | None, model: nn.Module
    ) -> Iterator[Problem]:
        """Yield the problems of a strict load: tensors on either side that are not used."""
        if not report.missing and not report.left_over:
            return
        fix = None
        if len(report.missing) > len(report.matched) and not isinstance(map, Mapping):
            better = self._better_map(model, folder, len(report.matched))
            fix = better and f"the map {better} fits this file"
        if report.missing:
            yield Problem(
                f"nothing fills {len(report.missing)} of ours",
                self.map.name,
                "weights",
                got=_shorten(report.missing),
                fits=guess(report.missing[0], sorted(set(report.left_over)), most=2),
                fix=fix or "another map, or fewer layers",
                code="weights-mismatch",
            )
        if report.left_over:
            yield Problem(
                f"{len(report.left_over)} of theirs fill nothing",
                self.file,
                "weights",
                got=_shorten(report.left_over),
                fix=None if fix else "a line in the map, or in its `drop`",
                code="weights-mismatch",
            )

    def _better_map(self, model: nn.Module, folder: Path | None, matched: int) -> str | None:
        """Return the map that fills most of this model from this file, if it fills more."""
        best, most = None, matched
        for each in (*filter(None, [folder]), *(conf / "weights" for conf in conf_folders())):
            for file in sorted(each.glob("*.yaml")):
                loader = Loader(read_map(file), self.tensors, self.file, self.grids)
                report, _ = loader.plan(model, "replace")
                if len(report.matched) > most:
                    best, most = file.stem, len(report.matched)
        return best


def _read_stated_grid(grid: Any) -> Grid | None:
    if grid is None:
        return None
    try:
        return read_grid(grid)
    except ExpressionError as error:
        raise ConfigError(
            Problem(error.problem, path="weights.grid", fits=error.fits, code=error.code)
        ) from None


def _shorten(names: Sequence[str]) -> str:
    """Join the first names, with the number of all where there are more; those that differ in
    numbers alone are one, `layers.*.norm.weight (12)`.
    """
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(re.sub(r"(?<![^.])\d+(?![^.])", "*", name), []).append(name)
    texts = []
    for pattern, found in alike.items():
        texts.append(f"{pattern} ({len(found)})" if len(found) > 1 else found[0])
    text = ", ".join(texts[:MAX_SHOWN])
    if len(texts) > MAX_SHOWN:
        text += f", ... ({len(names)})"
    return text
