"""Write a run for other programs.

The result takes any batch size. It is compared with the run on samples of its test part before it
gets its name, so that a result that differs is never left behind.
"""

import contextlib
import importlib.util
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from blocks.graph import open_entry
from tasks.errors import ArgumentError
from tasks.export.cut import cut_network
from tasks.export.formats import FORMATS
from tasks.export.parity import Batch, Parity, check_parity, compare_networks
from tasks.run.load_run import Finished


def export_run(run: Finished, format: str, path: Path, batch: Batch, source: str) -> Parity:
    """Write a run to `path`, and compare it with the run.

    Args:
        run: the run, from `open_run`.
        format: a key of `FORMATS`.
        path: the file, or the folder for hub; must not exist.
        batch: inputs of the network by name, at least two samples.
        source: where the inputs come from, for the message.

    Raises:
        ArgumentError: `path` exists or cannot be written; a package is missing; the network cannot
            be written in this format; what was written differs from the run.
    """
    check_packages(format)
    if path.exists():
        raise ArgumentError(
            "out", f"{path} exists already", fix="-o with another name, or delete it"
        )
    try:
        draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.absolute().parent))
    except OSError as error:
        raise ArgumentError("out", f"{path} cannot be written", got=error.strerror) from error
    try:
        written = draft / path.name
        with quiet_exporters():
            network = FORMATS[format].write(run, written, batch)
            parity = compare_networks(run, network, batch, source)
        check_parity(parity)
        os.replace(written, path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return parity


def end_at_node(run: Finished, node: str, format: str) -> Finished:
    """Return a run whose network ends at a node.

    Raises:
        ArgumentError: there is no such node, or the format is that of a whole model.
    """
    must_be_partial("node", format)
    return replace(run, network=cut_network(run.network, node), node=node)


def take_entry(run: Finished, entry: str, format: str) -> Finished:
    """Return a run whose network is an entry of its model.

    Raises:
        ArgumentError: the format is that of a whole model.
        ConfigError: the model has no such entry.
    """
    must_be_partial("entry", format)
    return replace(run, network=open_entry(run.network, entry).eval(), entry=entry)


def must_be_partial(argument: str, format: str) -> None:
    """Raise an ArgumentError where a format holds whole models only."""
    if format == "hub":
        raise ArgumentError(
            argument,
            "a folder for the Hub holds a whole model",
            got="--to hub",
            fits="--to onnx, --to pt2, --to safetensors",
        )


def check_packages(format: str) -> None:
    """Raise an ArgumentError that names the packages to install."""
    packages = FORMATS[format].packages
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise ArgumentError(
            "to",
            f"--to {format} needs {' and '.join(missing)}, which {verb} not installed",
            fix='pip install -c constraints.txt -e ".[onnx]"',
            code="not-installed",
        )


@contextlib.contextmanager
def quiet_exporters() -> Iterator[None]:
    """Suppress warnings and logs that exporters write for their developers."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
