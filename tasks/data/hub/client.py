"""The package `datasets`, kept off the network."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tasks.errors import ArgumentError


def import_datasets() -> Any:
    """Return the package `datasets`.

    Raises:
        ArgumentError: it is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise ArgumentError(
            "path",
            "data sets of the Hugging Face Hub are read by the package datasets",
            got="no package datasets",
            fix="pip install -c constraints.txt -e '.[datasets]'",
            code="not-installed",
        ) from error
    return datasets


@contextmanager
def offline() -> Iterator[Any]:
    """Yield the package `datasets`, which reaches no network and shows no progress meanwhile.

    Without this it reports each reading to the Hub.
    """
    datasets = import_datasets()
    config, bars = datasets.config, datasets.utils.are_progress_bars_disabled()
    before = config.HF_HUB_OFFLINE
    level = datasets.logging.get_verbosity()
    config.HF_HUB_OFFLINE = True
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    try:
        yield datasets
    finally:
        config.HF_HUB_OFFLINE = before
        datasets.logging.set_verbosity(level)
        if not bars:
            datasets.enable_progress_bars()
