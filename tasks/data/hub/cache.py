"""Data sets by their name on the Hugging Face Hub, where they lie in a cache on this machine."""

import re
import shlex
from pathlib import Path
from typing import Any

from tasks.data.hub.client import import_datasets
from tasks.errors import ArgumentError

NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
REVISION = re.compile(r"[A-Za-z0-9][\w./-]*")


def find_named(name: str, revision: str | None, subset: str | None, *, download: bool) -> Path:
    """Return the folder of a data set: in the cache of the Hub, or as `load_dataset` prepared it.

    Args:
        name: USER/NAME, or NAME.
        revision: a branch, a tag or a commit; None is main.
        subset: the subset, for what `load_dataset` has prepared.
        download: fetch it where the cache lacks it.

    Raises:
        ArgumentError: it is not on this machine; the message has the command that fetches it.
    """
    check_name(name, revision)
    datasets = import_datasets()
    import huggingface_hub as client

    try:
        found = client.snapshot_download(
            name, repo_type="dataset", revision=revision, local_files_only=not download
        )
        return Path(found)
    except Exception as error:  # the client raises errors of several libraries
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        prepared = None if download else find_prepared(datasets, name, revision, subset)
        if prepared is not None:
            return prepared
        raise describe_missing(client, name, revision, reason, download=download) from error


def check_name(name: str, revision: str | None) -> None:
    """Raise an ArgumentError for what cannot be a name or a revision."""
    if not NAME.fullmatch(name):
        raise ArgumentError("name", "this is no name on the Hub", got=name, fits="USER/NAME")
    if revision is not None and not REVISION.fullmatch(revision):
        fits = "a branch, a tag or a commit"
        raise ArgumentError("revision", "this is no revision", got=revision, fits=fits)


def find_prepared(
    datasets: Any, name: str, revision: str | None, subset: str | None
) -> Path | None:
    """Return the newest folder of Arrow files that `load_dataset` has prepared for a name.

    They lie in CACHE/USER___NAME/CONFIG/VERSION/COMMIT.
    """
    user, _, own = name.rpartition("/")
    folder = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", own).lower()
    place = Path(datasets.config.HF_DATASETS_CACHE) / (f"{user}___{folder}" if user else folder)
    found = []
    for info in place.glob(f"{subset or '*'}/*/{revision or '*'}/dataset_info.json"):
        found.append((info.stat().st_mtime, info.parent))
    return max(found)[1] if found else None


def describe_missing(
    client: Any, name: str, revision: str | None, reason: str, *, download: bool
) -> ArgumentError:
    """Return the error for a data set that is not on this machine."""
    command = f"hf download --repo-type dataset {name}"
    if revision is not None:
        command += f" --revision {shlex.quote(revision)}"
    shown = f"{name}@{revision}" if revision else name
    cache = client.constants.HF_HUB_CACHE
    if download:
        return ArgumentError(
            "name",
            f"{shown} could not be fetched",
            got=reason,
            fix=f"where there is a network: {command}\nand copy {cache} here",
            code="missing-file",
        )
    return ArgumentError(
        "name",
        f"{shown} is not in the cache {cache}",
        got="download=false",
        fix=f"{command}\nor data.download=true, which does the same",
        code="missing-file",
    )
