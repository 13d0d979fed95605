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
from blocks.graph.errors import ConfigError, Origin, Problem, did_you_mean
from blocks.graph.expression import ExpressionError, evaluate
from blocks.graph.origins import LOADER, read_origins
from blocks.graph.pattern import Pieces, fill, match, matching, nothing_matches, parameters_of
from blocks.graph.resample import FITS, resample

SECTIONS = ("rename", "tie", "drop", "keep", "head", "map")
WORDS = ("from", "parts", "of", "axis", "transpose", "permute", "flip", "reshape", "fit", "prefix")
WRAPPERS = ("state_dict", "model", "model_state_dict")  # what trainers put around a state_dict
TOLD = 12  # names that an error shows


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
        raise ConfigError([Problem(f"no way {head!r} with the head", path="weights.head", fits=did_you_mean(head, ("keep", "replace")))])
    loader = Loader(read_map(map, folder), read_tensors(source), str(source) if isinstance(source, str | Path) else "the state_dict")
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


def save_weights(model: nn.Module, path: str | Path) -> None:
    """Write parameters and buffers as safetensors, a tied one once; `load_weights` without a map reads them back.

    Raises:
        ConfigError: the file cannot be written.
    """
    from safetensors.torch import save

    path = Path(path)
    tensors = {name: value.detach().cpu().contiguous() for name, (value, _) in _targets(model).items()}
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            file.write(save(tensors, metadata={"format": "pt"}))
        os.replace(file.name, path)
    except OSError as error:
        raise ConfigError([Problem(f"{path} cannot be written", got=str(error))]) from error


# -------------------------------------------------------------------------------------------------- files


def read_tensors(source: str | Path | Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a file or a state_dict, by name; nothing in a file is executed."""
    if isinstance(source, Mapping):
        found: Any = source
    else:
        path = Path(source)
        if not path.is_file():
            known = sorted(file.name for file in path.parent.glob("*") if file.suffix in SUFFIXES) if path.parent.is_dir() else []
            raise ConfigError([Problem(f"no file {str(path)!r} with weights", fits=did_you_mean(path.name, known) if known else None)])
        try:
            found = _read_file(path)
        except pickle.UnpicklingError as error:
            raise ConfigError([Problem(f"{path} holds more than tensors: reading it could run its code", got=_first_line(error),
                                       fix="save its state_dict alone, or as safetensors")]) from error  # fmt: skip
        except Exception as error:  # each format has errors of its own for a broken file
            raise ConfigError([Problem(f"{path} cannot be read as weights", got=f"{type(error).__name__}: {_first_line(error)}",
                                       fits="a .safetensors, or a .pt, .pth, .bin of torch.save")]) from error  # fmt: skip
    for wrapper in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
    tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)} if isinstance(found, Mapping) else {}
    if not tensors:
        raise ConfigError([Problem("no tensors in there", str(source) if not isinstance(source, Mapping) else None,
                                   fits=f"a state_dict, bare or under {', '.join(WRAPPERS)}")])  # fmt: skip
    return tensors


SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")


def _read_file(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]


@dataclass(frozen=True)
class Map:
    """A map as read: sections, and where each line stands."""

    name: str
    sections: Mapping[str, Any]
    origins: Mapping[tuple[Any, ...], Origin] = field(default_factory=dict)

    def origin(self, *path: str) -> Origin:
        return self.origins.get(path) or Origin(text=self.name)


def read_map(map: str | Path | Mapping[str, Any] | None, folder: Path | None = None) -> Map:
    """The map of that name or path; raises ConfigError."""
    if map is None:
        return Map("names of our own", {"map": {"{name*}": "{name*}"}})
    origins: dict[tuple[Any, ...], Origin] = {}
    if isinstance(map, Mapping):
        name, sections = "the map", map
    else:
        path = find_map(map, folder)
        name = path.stem
        try:
            sections = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
            found, traps = read_origins(path)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = Origin(str(path), mark.line + 1, mark.column + 1) if mark else str(path)
            raise ConfigError([Problem(f"not YAML: {getattr(error, 'problem', error)}", where)]) from error
        origins = {place: origin for place, origin, _ in found}
        if traps:
            raise ConfigError(traps)
    read = Map(name, sections if isinstance(sections, Mapping) else {}, origins)
    problems = [Problem(f"no section {key!r} in a map", read.origin(str(key)), fits=did_you_mean(str(key), SECTIONS))
                for key in read.sections if key not in SECTIONS]  # fmt: skip
    for key, value in read.sections.items():
        wanted: type = list if key in ("drop", "keep", "head") else Mapping  # type: ignore[assignment]
        if key in SECTIONS and value is not None and not isinstance(value, wanted):
            problems.append(Problem(f"{key!r} of a map is a {'list of patterns' if wanted is list else 'mapping'}", read.origin(key), got=repr(value)))
    if not read.sections.get("map"):
        problems.append(Problem("a map needs lines", name, fits="map: {ours: theirs}"))
    if problems:
        raise ConfigError(problems)
    return read


def find_map(name: str | Path, folder: Path | None = None) -> Path:
    """The file of a map; raises ConfigError with the maps that there are."""
    folders = [*([folder] if folder else []), conf_folder() / "weights"]
    for path in (Path(name), *(place / f"{name}.yaml" for place in folders)):
        if path.suffix == ".yaml" and path.is_file():
            return path
    known = [file.stem for place in folders for file in place.glob("*.yaml")]
    raise ConfigError([Problem(f"no map {str(name)!r}", path="weights.map", fits=did_you_mean(str(name), known), fix="or the path of a .yaml")])


# -------------------------------------------------------------------------------------------------- one load


def _targets(model: nn.Module) -> dict[str, tuple[Tensor, tuple[str, ...]]]:
    """Every tensor of the state_dict once, with the other names it has by tying."""
    names: dict[int, list[str]] = {}
    values: dict[int, Tensor] = {}
    for name, value in model.state_dict(keep_vars=True).items():
        names.setdefault(id(value), []).append(name)
        values[id(value)] = value
    return {alike[0]: (values[key], tuple(alike[1:])) for key, alike in names.items()}


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
        for ours, (parameter, aliases) in _targets(model).items():
            value, how = None, None
            for name in (ours, *aliases):
                try:
                    found = self._line(name, theirs)
                    if found is None:
                        continue
                    pattern, pieces, line = found
                    new, source, how = self._value(theirs, line, pieces, tuple(parameter.shape), how)
                except ExpressionError as error:
                    where = self.map.origin("map", found[0]) if found else self.map.name
                    self.problems.append(Problem(error.problem, where, name, fits=error.fits, fix=error.fix))
                    value = parameter  # told already, so not missing as well
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
        return Report(**{key: tuple(value) if isinstance(value, list) else value for key, value in report.items()}), values

    def _misfit(self, ours: str, shape: tuple[int, ...], came: tuple[int, ...], source: str) -> None:
        fix = None
        if self._listed("head", ours):
            fix = "weights.head=replace, to leave the head new: the number of classes differs"
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
            self.problems.append(Problem(error.problem, self.map.origin(*path), path[1], fits=error.fits, fix=error.fix))
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
        self, theirs: Mapping[str, Tensor], line: Mapping[str, Any], pieces: Mapping[str, str], shape: tuple[int, ...], how: str | None
    ) -> tuple[Tensor, str, str | None]:
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


# -------------------------------------------------------------------------------------------------- fine-tuning


def freeze(model: nn.Module, patterns: Iterable[str]) -> list[str]:
    """Take parameters out of the training; their names.

    Args:
        patterns: of paths (`layers.[0-3].*`), modules (`patch`), or kinds (`LayerNorm.*`).

    Raises:
        ConfigError: a pattern that matches nothing.
    """
    parameters, frozen, problems = parameters_of(model), {}, []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        try:
            found = matching(parameters, str(pattern))
        except ExpressionError as error:
            problems.append(Problem(error.problem, path="weights.freeze", fits=error.fits))
            continue
        if not found:
            problems.append(nothing_matches(str(pattern), parameters, None, "weights.freeze"))
        frozen.update({each.path: each.value for each, _ in found})
    if problems:
        raise ConfigError(problems)
    for value in frozen.values():
        value.requires_grad_(False)
    return list(frozen)


def learning_rates(model: nn.Module, multipliers: Mapping[str, Any]) -> dict[str, float]:
    """What the learning rate of each parameter is multiplied by; 1 where no pattern matches, the last that does wins.

    Args:
        multipliers: pattern -> number, or an expression of the pattern's pieces: {"layers.{i}": "0.75 ** (12 - i)"}.

    Raises:
        ConfigError: a pattern that matches nothing, a multiplier that is no number or negative.
    """
    parameters, problems = parameters_of(model), []
    rates = {each.path: 1.0 for each in parameters}
    for pattern, raw in multipliers.items():
        try:
            found = matching(parameters, str(pattern))
            if not found:
                problems.append(nothing_matches(str(pattern), parameters, None, "weights.learning_rate"))
            for each, pieces in found:
                value = evaluate(raw, Pieces(pieces)) if isinstance(raw, str) else raw
                if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
                    raise ExpressionError(f"{pattern}: a multiplier is a number from 0", "0.1, or 0.75 ** (12 - i)")
                rates[each.path] = float(value)
        except ExpressionError as error:
            problems.append(Problem(error.problem, path="weights.learning_rate", got=f"{pattern}: {raw}", fits=error.fits, fix=error.fix))
    if problems:
        raise ConfigError(problems)
    return rates


__all__ = ["FITS", "Report", "freeze", "learning_rates", "load_weights", "save_weights"]
