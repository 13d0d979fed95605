"""Weights in and out: another library's `state_dict` into a model by a declarative map, safetensors out.

A map is YAML (`conf/weights/`): for each of our parameters the name of theirs. Nothing in a map or in a file of weights
is executed. Every tensor on both sides is accounted for.
"""

import os
import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from torch import Tensor, nn

from blocks.graph.compose import conf_folder
from blocks.graph.errors import ConfigError, Origin, Problem, did_you_mean, show
from blocks.graph.expression import ExpressionError, evaluate
from blocks.graph.origins import LOADER, read_origins
from blocks.graph.pattern import Pieces, fill, match, matching, nothing_matches, parameters_of
from blocks.graph.resample import FITS, resample

SECTIONS = ("rename", "tie", "drop", "keep", "head", "map")
WORDS = ("from", "parts", "of", "axis", "transpose", "permute", "flip", "reshape", "fit", "prefix")
WRAPPERS = ("state_dict", "model", "model_state_dict")  # what trainers put around a state_dict
TOLD = 6  # names that an error shows


@dataclass(frozen=True)
class Report:
    """What became of every tensor on both sides, by our names and theirs.

    Args:
        matched: ours -> theirs, copied.
        reshaped: ours -> what was done to fit another resolution.
        replaced: parameters of the head that stay new, since the number of classes differs.
        kept: ours that the map leaves as they are.
        dropped: theirs that the map leaves out.
        missing: ours that nothing fills; only without `strict`.
        left_over: theirs that fill nothing; only without `strict`.
    """

    matched: Mapping[str, str]
    reshaped: Mapping[str, str] = field(default_factory=dict)
    replaced: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    left_over: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{len(self.matched)} tensors matched"]
        lines += [f"  reshaped   {name}: {how}" for name, how in self.reshaped.items()]
        for word, names in (("replaced", self.replaced), ("kept", self.kept), ("dropped", self.dropped),
                            ("missing", self.missing), ("left over", self.left_over)):  # fmt: skip
            if names:
                lines.append(f"  {word:<10} {_some(names)}")
        return "\n".join(lines)


def load_weights(
    model: nn.Module,
    source: str | Path | Mapping[str, Tensor],
    map: str | Path | Mapping[str, Any] | None = None,
    *,
    head: Literal["keep", "replace"] = "keep",
    strict: bool = True,
    folder: Path | None = None,
) -> Report:
    """Copy weights into a model; nothing is copied unless everything fits.

    Args:
        source: a file (.safetensors, or .pt, .pth, .bin with tensors only), or a state_dict.
        map: a file of `conf/weights/` without its ending, a path, or the map itself; None where the names are ours.
        head: "replace" leaves the head new where the number of classes differs.
        strict: every tensor must be accounted for; otherwise the report names what is not.
        folder: where maps of the user's own lie, searched first.

    Raises:
        ConfigError: every tensor that does not fit or is not accounted for.
    """
    if head not in ("keep", "replace"):
        raise ConfigError(
            [
                Problem(
                    f"no way {head!r} with the head", path="weights.head", fits=did_you_mean(head, ("keep", "replace"))
                )
            ]
        )
    loader = Loader(
        read_map(map, folder), read_tensors(source), str(source) if isinstance(source, str | Path) else "the state_dict"
    )
    report, values = loader.plan(model, head)
    problems = loader.problems
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
    """

    map: Map
    tensors: dict[str, Tensor]
    file: str
    problems: list[Problem] = field(default_factory=list)
    used: dict[str, set[tuple[int, int]]] = field(default_factory=dict)  # theirs -> parts (part, of) that are taken

    def plan(self, model: nn.Module, head: str) -> tuple[Report, dict[str, Tensor]]:
        """What goes where, and the values; nothing is copied yet."""
        theirs = self._renamed()
        report: dict[str, Any] = {"matched": {}, "reshaped": {}, "replaced": [], "kept": [], "missing": []}
        values: dict[str, Tensor] = {}
        for ours, (parameter, aliases) in tensors_of(model).items():
            value, how, found = None, "", None
            for name in (ours, *aliases):
                try:
                    found = self._line(name, theirs)
                    if found is None:
                        continue
                    pattern, pieces, line = found
                    new, source, how = self._value(theirs, line, pieces, tuple(parameter.shape))
                except ExpressionError as error:
                    where = self.map.origin("map", found[0]) if found else self.map.name
                    self.problems.append(Problem(error.problem, where, name, fits=error.fits, fix=error.fix))
                    value = parameter  # told already, so neither missing nor left over
                    self.used.update({each: {(0, 1)} for each in (found[2]["from"] if found else ())})
                    break
                if value is not None and not torch.equal(value, new):
                    self.problems.append(Problem(f"{ours} and {name} are one parameter here and two different ones there", self.file, name,
                                                 fix=f"~model.tie takes the tie away"))  # fmt: skip
                value = new if value is None else value
                report["matched"].setdefault(ours, source)
            if value is None:
                word = "kept" if self._listed("keep", ours) else "missing"
                report[word].append(ours)
            elif tuple(value.shape) == tuple(parameter.shape):
                values[ours] = value
                if how:
                    report["reshaped"][ours] = how
            elif head == "replace" and self._listed("head", ours):
                report["matched"].pop(ours)
                report["replaced"].append(ours)
            else:
                self._misfit(ours, tuple(parameter.shape), tuple(value.shape), report["matched"].get(ours, ""))
        left = [name for name in theirs if not self._spent(name)]
        report["dropped"] = [name for name in left if self._listed("drop", name)]
        report["left_over"] = [name for name in left if name not in report["dropped"]]
        return Report(
            **{key: tuple(value) if isinstance(value, list) else value for key, value in report.items()}
        ), values

    def _misfit(self, ours: str, shape: tuple[int, ...], came: tuple[int, ...], source: str) -> None:
        fix = None
        if self._listed("head", ours):
            fix = "--head replace, or weights.head=replace: where the number of classes differs, the head stays new"
        self.problems.append(Problem(f"{ours} is {shape}, and {source} gives {came}", self.file, ours, fix=fix))

    def _renamed(self) -> dict[str, Tensor]:
        """Theirs by the names that the map uses: spellings of other versions are brought to one."""
        names = {name: name for name in self.tensors}
        for old, new in (self.map.sections.get("rename") or {}).items():
            for name, now in names.items():
                pieces = self._safely(("rename", old), lambda: match(old, now))  # noqa: B023
                if pieces is not None:
                    names[name] = self._safely(("rename", old), lambda: fill(str(new), pieces)) or now  # noqa: B023
        found: dict[str, Tensor] = {}
        for name, now in names.items():
            if now in found:
                self.problems.append(Problem(f"two tensors are {now!r} to this map", self.file, name))
            found[now] = self.tensors[name]
        for absent, present in (self.map.sections.get("tie") or {}).items():
            if absent not in found and present in found:
                found[absent] = found[present]
        return found

    def _safely(self, path: tuple[str, str], read: Callable[[], Any]) -> Any:
        try:
            return read()
        except ExpressionError as error:
            self.problems.append(
                Problem(error.problem, self.map.origin(*path), path[1], fits=error.fits, fix=error.fix)
            )
            return None

    def _listed(self, section: str, name: str) -> bool:
        return any(fnmatchcase(name, str(pattern)) for pattern in self.map.sections.get(section) or ())

    def _line(self, ours: str, theirs: Mapping[str, Tensor]) -> tuple[str, dict[str, str], dict[str, Any]] | None:
        """The first line that fits one of ours and whose tensors are all there."""
        for pattern, raw in self.map.sections["map"].items():
            pieces = match(str(pattern), ours)
            if pieces is None:
                continue
            line = dict(raw) if isinstance(raw, Mapping) else {"from": raw}
            unknown = [word for word in line if word not in WORDS]
            if unknown or "from" not in line:
                problem = f"a line of a map has no {unknown[0]!r}" if unknown else "a line of a map says `from`"
                fits = did_you_mean(str(unknown[0]), WORDS) if unknown else "from: THEIRS"
                self.problems.append(Problem(problem, self.map.origin("map", pattern), ours, fits=fits))
                continue
            names = line["from"] if isinstance(line["from"], list) else [line["from"]]
            line["from"] = [fill(str(name), pieces) for name in names]
            if all(name in theirs for name in line["from"]):
                return str(pattern), pieces, line
        return None

    def _value(
        self, theirs: Mapping[str, Tensor], line: Mapping[str, Any], pieces: Mapping[str, str], shape: tuple[int, ...]
    ) -> tuple[Tensor, str, str]:
        """Theirs as ours needs it, in the order: axes, join, parts, shape, resolution."""
        axis = _number(line.get("axis", 0), pieces, "axis")
        tensors = [_turned(theirs[name], line) for name in line["from"]]
        for name in line["from"]:
            self.used.setdefault(name, set())
        try:
            value = torch.cat(tensors, axis) if len(tensors) > 1 else tensors[0]
            if "parts" in line:
                value = self._parts(value, line, pieces, axis)
            else:
                for name in line["from"]:
                    self.used[name].add((0, 1))
            if line.get("reshape") is True and tuple(value.shape) != shape:
                value = value.reshape(shape)
        except (RuntimeError, IndexError) as error:
            shapes = ", ".join(f"{name} {tuple(theirs[name].shape)}" for name in line["from"])
            raise ExpressionError(f"{shapes} cannot become {shape}: {_first_line(error)}") from None
        source = " + ".join(line["from"]) + (f" [{line['parts']} of {line['of']}]" if "parts" in line else "")
        how = ""
        if "fit" in line and tuple(value.shape) != shape:
            value, how = resample(str(line["fit"]), value, shape, _number(line.get("prefix", 0), pieces, "prefix"))
        return value, source, how

    def _parts(self, value: Tensor, line: Mapping[str, Any], pieces: Mapping[str, str], axis: int) -> Tensor:
        """Some of several equal parts along an axis, in the order named."""
        of = _number(line.get("of"), pieces, "of")
        raw = line["parts"] if isinstance(line["parts"], list) else [line["parts"]]
        parts = [_number(part, pieces, "parts") for part in raw]
        if of < 1 or value.shape[axis] % of or not all(0 <= part < of for part in parts):
            raise ExpressionError(f"parts {parts} of {of} do not divide {tuple(value.shape)} along axis {axis}")
        for name in line["from"]:
            self.used[name] |= {(part, of) for part in parts}
        pieces_of = value.chunk(of, axis)
        return torch.cat([pieces_of[part] for part in parts], axis)

    def _spent(self, name: str) -> bool:
        """Whether all of theirs went somewhere."""
        taken = self.used.get(name, set())
        return any({(part, of) for part in range(of)} <= taken for _, of in taken)

    def unaccounted(self, report: Report, map: Any, folder: Path | None, model: nn.Module) -> Iterator[Problem]:
        """What a strict load does not accept: ours that nothing fills, theirs that fill nothing."""
        if not report.missing and not report.left_over:
            return
        fix = None
        if len(report.missing) > len(report.matched) and not isinstance(map, Mapping):
            better = self._better_map(model, folder, len(report.matched))
            fix = better and f"the map {better} fits this file"
        if report.missing:
            near = did_you_mean(report.missing[0], report.left_over) if report.left_over else ""
            yield Problem(f"nothing fills {len(report.missing)} of ours", self.map.name, "weights", got=_some(report.missing),
                          fits=near if near.startswith("did") else None, fix=fix or "another map, or fewer layers")  # fmt: skip
        if report.left_over:
            yield Problem(f"{len(report.left_over)} of theirs fill nothing", self.file, "weights", got=_some(report.left_over),
                          fix="a line in the map, or in its `drop`" if not fix else None)  # fmt: skip

    def _better_map(self, model: nn.Module, folder: Path | None, matched: int) -> str | None:
        """The map of ours that fills most of this model from this file, if it fills more."""
        best, most = None, matched
        for place in (folder, conf_folder() / "weights"):
            for file in sorted(place.glob("*.yaml")) if place else []:
                report, _ = Loader(read_map(file), self.tensors, self.file).plan(model, "replace")
                if len(report.matched) > most:
                    best, most = file.stem, len(report.matched)
        return best


def _number(raw: Any, pieces: Mapping[str, str], word: str) -> int:
    value = evaluate(raw, Pieces(pieces)) if isinstance(raw, str) else raw
    if not isinstance(value, int) or isinstance(value, bool):
        raise ExpressionError(f"{word} of a map is a whole number, not {raw!r}")
    return value


def _turned(value: Tensor, line: Mapping[str, Any]) -> Tensor:
    """Axes of one tensor in another order or direction."""
    if line.get("transpose") is True and value.dim() == 2:
        value = value.t()
    try:
        if "permute" in line:
            value = value.permute(*line["permute"])
        return value.flip(line["flip"]) if "flip" in line else value
    except (RuntimeError, IndexError, TypeError) as error:
        raise ExpressionError(f"axes of {tuple(value.shape)}: {_first_line(error)}") from None


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:TOLD]) + (f", ... ({len(names)})" if len(names) > TOLD else "")


__all__ = ["FITS", "Report", "fine_tune", "freeze", "learning_rates", "load_weights", "save_weights"]
