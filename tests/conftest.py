"""Several processes test at once (`pytest -n auto`): each of them, and what it starts, computes
with one thread.
"""

import gc
import logging
import os
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hydra._internal.defaults_list import DefaultsList
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from blocks.graph.read.live_loader import LiveLoader
from blocks.graph.read.loader import KEPT
from blocks.support.conf_folders import lab_folders, project_folder

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = (
        "1"  # read by torch when it is imported, so here and not in a fixture
    )


class FreshLoader(LiveLoader):
    """Keeps what was read for all tests of a process, and reads again what a test wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.folders: list[Path | None] = []

    def load(
        self, hydra: GlobalHydra, config_name: str, overrides: list[str]
    ) -> tuple[DictConfig, DefaultsList]:
        folders = [project_folder(), *lab_folders()]
        if folders != self.folders:
            self.__init__()  # type: ignore[misc]
            self.folders = folders
        self.refresh()
        return super().load(hydra, config_name, overrides)


KEPT.set(FreshLoader())  # a composition takes 0.1 s, and a twentieth of it where it was made before


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write the golden texts that differ; read the difference before you commit it",
    )


def pytest_collection_finish() -> None:
    """Look for cycles less often, and not among what was imported: it took a tenth of the time of
    all tests.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Leave the root logger as it was: a run inside this process adds the file of its folder, which
    is gone when a later test logs.
    """
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        return (yield)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str, str], None]:
    """Compare a text with the one in its file; `--update-golden` writes it there instead."""

    def compare(file: Path, expected: str, found: str) -> None:
        if found != expected and request.config.getoption("--update-golden"):
            whole = file.read_text(encoding="utf-8")
            assert whole.count(expected) == 1, file
            file.write_text(whole.replace(expected, found), encoding="utf-8")
            return
        assert found == expected

    return compare
