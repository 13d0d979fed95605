"""Where callbacks and loggers may write: a configuration file may choose only places in the run
folder, and may send nothing away.

Values of the command line are not checked.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blocks.graph import ConfigError, Problem, show, stays_inside
from blocks.support.yaml_rules import ENVIRONMENT

WRITING = ("callbacks", "logger", "trainer")
FOLDERS = ("dirpath", "folder", "save_dir", "dir")  # arguments that name a place in the run folder
# arguments that MLflow may take for the name of a server where they have no scheme
ADDRESSES = ("tracking_uri", "artifact_location")

# What Lightning and the loggers do with a text of these sections: `str.format` reads attributes and
# items of its arguments, `os.path.expandvars` the environment, and a chain of fsspec (`a::b`) opens
# what follows. A text may therefore have neither braces nor any other mark of a template, except
# that of a file name.
#   ModelCheckpoint       filename: str.format with the metrics; dirpath: expanduser, fsspec
#   TensorBoardLogger     save_dir, name, version, sub_dir: expandvars and expanduser of the path
#   MLFlowLogger          tracking_uri, artifact_location: addresses; save_dir
#   WandbLogger           save_dir, dir: a path; name, id, version, checkpoint_name: names on its
#                         server
#   CsvLogger, GradientStats, RouterStats, Checkpoint, Prune   folder, name, dirpath: paths
#   Trainer               strategy, accelerator, precision, profiler: names; devices, max_time:
#                         numbers
#   EarlyStopping, LearningRateMonitor, EMAWeightAveraging, Progress   monitor, mode, device, style:
#                         names
PLAIN = re.compile(r"[\w .,:=+@#()/-]*")
FIELD = re.compile(r"\{[A-Za-z_][\w/-]*(:0?\d{0,2}(\.\d{1,2})?[dfge]?)?\}")
FIELDS = ("filename",)  # arguments that a library fills with metrics
# replace the defaults of a class, where a section does not set them
DEFAULTS: dict[str, dict[str, Any]] = {
    "tasks.resume.checkpoint.Checkpoint": {"dirpath": "checkpoints"},
    "tasks.callbacks.gradient_stats.GradientStats": {"folder": "."},
    "tasks.callbacks.router_stats.RouterStats": {"folder": "."},
    "tasks.callbacks.logger.CsvLogger": {"folder": "."},
    "pytorch_lightning.loggers.MLFlowLogger": {
        "tracking_uri": "file:./mlruns",
        "save_dir": "mlruns",
    },
    "pytorch_lightning.loggers.WandbLogger": {"save_dir": ".", "offline": True},
}
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
SENDING = {  # arguments that send something, and the value that sends nothing
    "offline": True,
    "log_model": False,
    "model_registry": None,
    "save_code": False,
}
FIX = "set it on the command line: {}=..."


def find_violations(
    composed: Any, path: tuple[str, ...], arguments: dict[str, Any]
) -> Iterator[Problem]:
    """Yield a problem for each argument of a section that would write outside the run folder, or
    send something away.
    """
    if path[0] not in WRITING:
        return
    for key, value in arguments.items():
        here = (*path, key)
        if is_typed(composed, here):
            continue
        shown = ".".join(here)
        where, got, fix = composed.origin(shown), f"{key}={value!r}"[:90], FIX.format(shown)
        for problem, fits in _check_argument(key, value):
            yield Problem(problem, where, shown, got=got, fits=fits, fix=fix, code="refused-file")


def _check_argument(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with an argument, and what fits."""
    sends = "a file may not send anything away"
    if key in ADDRESSES and isinstance(value, str) and not value.startswith("file:"):
        yield sends, "file:./mlruns, which is in the run folder"
    elif key in SENDING and value is not SENDING[key]:
        yield sends, f"{key}: {show(SENDING[key])}"
    for text in _list_texts(value):
        if mark := find_template(text, fields=key in FIELDS):
            fits = "letters, digits, spaces and . , : = + @ # ( ) / -"
            if key in FIELDS:
                fits += ", {epoch:02d} and {val/loss:.3f}"
            yield f"{mark!r} may be a command to the library that reads this text", fits
        elif not _is_inside(text):
            fits = "a relative path, which is in the run folder"
            yield "a file may not write outside the run folder", fits


def refuse_unchecked(composed: Any, path: tuple[str, ...], key: str) -> Iterator[Problem]:
    """Yield a problem for an argument that a class passes on to another library, unless it is set
    on the command line.
    """
    here = (*path, key)
    if path[0] in WRITING and not is_typed(composed, here):
        shown = ".".join(here)
        text, fix = f"{key} is passed on unchecked, so a file may not set it", FIX.format(shown)
        yield Problem(text, composed.origin(shown), shown, fix=fix, code="refused-file")


def is_typed(composed: Any, path: tuple[str, ...]) -> bool:
    """Return whether a value was set on the command line."""
    return getattr(composed, "is_typed", lambda _: False)(path)


def _list_texts(value: Any) -> Iterator[str]:
    """Yield every text inside an argument, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from filter(lambda key: isinstance(key, str), value)
        yield from _list_texts(list(value.values()))
    elif isinstance(value, list):
        for item in value:
            yield from _list_texts(item)


def find_template(text: str, *, fields: bool = False) -> str:
    """Return the first mark of a text that a library may take for a command; empty without one.

    Args:
        fields: whether the text may refer to metrics.
    """
    if fields:
        text = FIELD.sub("", text)
    for mark in ("::", "://"):
        if mark in text:
            return mark
    plain = PLAIN.match(text)
    assert plain is not None
    return text[plain.end() : plain.end() + 1]


def _is_inside(text: str) -> bool:
    """Return whether a text, read as a path or an address, stays in the run folder."""
    scheme = SCHEME.match(text)
    if scheme is None:
        return stays_inside(text)
    return scheme[1] == "file" and stays_inside(text.partition(":")[2])


def move_into_run_folder(composed: Any, folder: Path) -> None:
    """Replace the relative folders of callbacks and loggers by folders in the run folder.

    Raises:
        ConfigError: a folder is outside, or something would be sent away.
    """
    sections: dict[tuple[str, ...], dict[str, Any]] = {}
    problems: list[Problem] = []
    for part in ("callbacks", "logger"):
        for name, section in (composed.config.get(part) or {}).items():
            if isinstance(section, dict):
                sections[part, name] = section
                problems += find_violations(composed, (part, name), section)
    if problems:
        raise ConfigError(problems)
    for path, section in sections.items():
        trusted = is_typed(composed, (*path, "_target_"))
        for key, value in DEFAULTS.get(str(section.get("_target_")), {}).items():
            if key in FOLDERS or not trusted:
                section.setdefault(key, value)
        _move_section(composed, path, section, folder)


def _move_section(
    composed: Any, path: tuple[str, ...], section: dict[str, Any], folder: Path
) -> None:
    for key, value in section.items():
        if not isinstance(value, str) or ENVIRONMENT.match(value):
            continue
        if key in FOLDERS:
            section[key] = str(folder / value)
        elif value.startswith("file:") and not is_typed(composed, (*path, key)):
            section[key] = f"file:{folder / value.removeprefix('file:')}"


def list_writable(composed: Any, folder: Path) -> list[Path] | None:
    """Return where checkpoints may be written: the run folder, and folders that the command line
    names; None for anywhere.
    """
    if getattr(composed, "typed", {}).get("trust"):
        return None  # a class of the user's own may write anywhere
    found = [folder]
    for name, section in (composed.config.get("callbacks") or {}).items():
        place = folder / str((section or {}).get("dirpath") or "")
        if is_typed(composed, ("callbacks", name, "dirpath")):
            found.append(place)
        if is_typed(composed, ("callbacks", name, "filename")):
            found.append((place / str(section["filename"])).parent)
    return found
