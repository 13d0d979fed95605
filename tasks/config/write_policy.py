"""Where callbacks and loggers may write: a file that is chosen stays in the run folder and sends
nothing away.

The command line may do as it likes: what it says itself is not checked here.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blocks.graph import ConfigError, Problem, show, stays_inside
from blocks.support.yaml_rules import ENVIRONMENT

WRITING = ("callbacks", "logger", "trainer")
PLACES = (
    "dirpath",
    "folder",
    "save_dir",
    "dir",
)  # arguments that name a place inside the run folder
ADDRESSES = (
    "tracking_uri",
    "artifact_location",
)  # without a scheme MLflow may take them for a server's name

# What Lightning and the loggers make of a text of these sections. `str.format` reads attributes and
# items of what it is given, `os.path.expandvars` the environment, a chain of fsspec (`a::b`) opens
# what stands behind it. So a text has neither braces nor any other mark of a template, but for the
# one that a name of a file may have:
#   ModelCheckpoint       filename: str.format with the metrics; dirpath: expanduser, fsspec
# TensorBoardLogger     save_dir, name, version, sub_dir: expandvars and expanduser of the whole
# path
#   MLFlowLogger          tracking_uri, artifact_location: addresses; save_dir
# WandbLogger           save_dir, dir: a path; name, id, version, checkpoint_name: names on its
# server
#   Csv, Nodes, Checkpoint, Prune   folder, name, dirpath: paths
# Trainer               strategy, accelerator, precision, profiler: names; devices, max_time:
# numbers
# EarlyStopping, LearningRateMonitor, EMAWeightAveraging, Progress   monitor, mode, device, style:
# names
PLAIN = re.compile(r"[\w .,:=+@#()/-]*")
FIELD = re.compile(r"\{[A-Za-z_][\w/-]*(:0?\d{0,2}(\.\d{1,2})?[dfge]?)?\}")
FIELDS = ("filename",)  # arguments that a library fills with metrics
UNSAID: dict[str, dict[str, Any]] = {  # what a class takes where a section does not say it
    "tasks.resume.checkpoint.Checkpoint": {"dirpath": "checkpoints"},
    "tasks.callbacks.gradient_stats.GradientStats": {"folder": "."},
    "tasks.callbacks.logger.CsvLogger": {"folder": "."},
    "pytorch_lightning.loggers.MLFlowLogger": {
        "tracking_uri": "file:./mlruns",
        "save_dir": "mlruns",
    },
    "pytorch_lightning.loggers.WandbLogger": {"save_dir": ".", "offline": True},
}
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
SENDING = {
    "offline": True,
    "log_model": False,
    "model_registry": None,
    "save_code": False,
}  # what sends nothing
FIX = "say it on the command line: {}=..."


def strays(composed: Any, path: tuple[str, ...], arguments: dict[str, Any]) -> Iterator[Problem]:
    """Problems with arguments of a section that would write outside the run folder, or send
    something away.
    """
    if path[0] not in WRITING:
        return
    for key, value in arguments.items():
        here = (*path, key)
        if is_typed(composed, here):
            continue
        shown = ".".join(here)
        where, got, fix = composed.origin(shown), f"{key}={value!r}"[:90], FIX.format(shown)
        address = key in ADDRESSES and isinstance(value, str) and not value.startswith("file:")
        if address or (key in SENDING and value is not SENDING[key]):
            fits = (
                "file:./mlruns, which lies in the run folder"
                if address
                else f"{key}: {show(SENDING[key])}"
            )
            yield Problem(
                "a file may not send anything away",
                where,
                shown,
                got=got,
                fits=fits,
                fix=fix,
                code="refused-file",
            )
        for text in texts(value):
            if mark := template(text, fields=key in FIELDS):
                fits = "letters, digits, spaces and . , : = + @ # ( ) / -"
                fits += ", {epoch:02d} and {val/loss:.3f}" * (key in FIELDS)
                problem = f"{mark!r} may be a command to the library that reads this text"
                yield Problem(
                    problem, where, shown, got=got, fits=fits, fix=fix, code="refused-file"
                )
            elif not inside(text):
                fits = "a relative path, which lies in the run folder"
                problem = "a file may not write outside the run folder"
                yield Problem(
                    problem, where, shown, got=got, fits=fits, fix=fix, code="refused-file"
                )


def unchecked(composed: Any, path: tuple[str, ...], key: str) -> Iterator[Problem]:
    """A problem with an argument that a class hands on to somebody else, unless the command line
    says it.
    """
    here = (*path, key)
    if path[0] in WRITING and not is_typed(composed, here):
        shown = ".".join(here)
        text = f"{key} is handed on unchecked, so a file may not say it"
        yield Problem(
            text, composed.origin(shown), shown, fix=FIX.format(shown), code="refused-file"
        )


def is_typed(composed: Any, path: tuple[str, ...]) -> bool:
    """Whether the command line gave this value."""
    return getattr(composed, "is_typed", lambda _: False)(path)


def texts(value: Any) -> Iterator[str]:
    """Every text of an argument."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        yield from (key for key in value if isinstance(value, dict) and isinstance(key, str))
        for item in value.values() if isinstance(value, dict) else value:
            yield from texts(item)


def template(text: str, *, fields: bool = False) -> str:
    """The first mark of a text that a library may take for a command; empty where there is none."""
    rest = FIELD.sub("", text) if fields else text
    if "::" in rest or "://" in rest:
        return "::" if "::" in rest else "://"
    plain = PLAIN.match(rest)
    assert plain is not None
    return rest[plain.end() : plain.end() + 1]


def inside(text: str) -> bool:
    """Whether a text, taken as a path or an address, stays in the run folder."""
    scheme = SCHEME.match(text)
    if scheme is None:
        return stays_inside(text)
    return scheme[1] == "file" and stays_inside(text.partition(":")[2])


def move(composed: Any, place: Path) -> None:
    """Let the relative folders of callbacks and loggers lie in the run folder; raises ConfigError
    for those outside.
    """
    sections = [
        ((part, name), section)
        for part in ("callbacks", "logger")
        for name, section in (composed.config.get(part) or {}).items()
        if isinstance(section, dict)
    ]
    problems = [
        problem for path, section in sections for problem in strays(composed, path, section)
    ]
    if problems:
        raise ConfigError(problems)
    for path, section in sections:
        trusted = is_typed(composed, (*path, "_target_"))
        for key, value in UNSAID.get(str(section.get("_target_")), {}).items():
            if key in PLACES or not trusted:
                section.setdefault(key, value)
        for key, value in section.items():
            if not isinstance(value, str) or ENVIRONMENT.match(value):
                continue
            if key in PLACES:
                section[key] = str(place / value)
            elif value.startswith("file:") and not is_typed(composed, (*path, key)):
                section[key] = f"file:{place / value.removeprefix('file:')}"


def writable(composed: Any, place: Path) -> list[Path] | None:
    """Where checkpoints may be written: the run folder, and folders that the command line names;
    None for anywhere.
    """
    if getattr(composed, "typed", {}).get("trust"):
        return None  # a class of the user's own writes where it likes
    found = [place]
    for name, section in (composed.config.get("callbacks") or {}).items():
        folder = place / str((section or {}).get("dirpath") or "")
        if is_typed(composed, ("callbacks", name, "dirpath")):
            found.append(folder)
        if is_typed(composed, ("callbacks", name, "filename")):
            found.append((folder / str(section["filename"])).parent)
    return found
