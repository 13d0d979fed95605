"""Several processes test at once (`pytest -n auto`): each of them, and what it starts, computes
with one thread.
"""

import logging
import os
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = (
        "1"  # read by torch when it is imported, so here and not in a fixture
    )


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write the golden texts that differ; read the difference before you commit it",
    )


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
