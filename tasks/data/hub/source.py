"""A data set as its YAML names it: opened, its splits divided among the parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blocks.support.files import OUTSIDE, lies_outside, open_file
from tasks.data.hub.cache import find_named
from tasks.data.hub.client import offline
from tasks.data.hub.files import SHOWN, SPLITS, Found, find_files
from tasks.data.split import PARTS
from tasks.data.walk import list_first
from tasks.errors import ArgumentError

ARROW = b"ARROW1"

Given = Mapping[str, str | None] | None


@dataclass(frozen=True)
class HubSource:
    """Where a data set lies, and what is read of it.

    Args:
        path: a folder, a file, or several files.
        name: USER/NAME on the Hub, instead of a path.
        revision: of a name: a branch, a tag or a commit.
        subset: the subset, where there are several.
        splits: the split of each part; None: by its name.
        download: fetch a name that is not in the cache.

    Raises:
        ArgumentError: neither or both of path and name, or an option that needs the other one.
    """

    path: str | Sequence[str] | None = None
    name: str | None = None
    revision: str | None = None
    subset: str | None = None
    splits: Given = None
    download: bool = False

    def __post_init__(self) -> None:
        if (self.path is None) == (self.name is None):
            problem = "a data set lies in files, or has a name"
            got = "neither" if self.path is None else "both"
            fix = "data.path=FOLDER_OR_FILES, or data.name=USER/NAME"
            raise ArgumentError("path", problem, got=got, fix=fix, code="missing-argument")
        if self.name is None and (self.revision is not None or self.download):
            option = "revision" if self.revision is not None else "download"
            fits = "an option of data.name=USER/NAME"
            raise ArgumentError(option, "files have no revision to fetch", fits=fits)
        check_keys("splits", self.splits, PARTS)

    @property
    def shown(self) -> str:
        """The data set as people call it."""
        if self.name is not None:
            return self.name
        return ", ".join(self.paths)

    @property
    def paths(self) -> list[str]:
        """The given paths."""
        if self.path is None:
            return []
        return [self.path] if isinstance(self.path, str) else list(self.path)

    def find(self) -> Found:
        """Return the files; raises ArgumentError."""
        paths, subset = self.paths, self.subset
        if self.name is not None:
            folder = find_named(self.name, self.revision, subset, download=self.download)
            paths = [str(folder)]
            if (folder / "dataset_info.json").exists():  # of one subset
                subset = None
        return find_files(paths, subset)

    def find_parquet(self) -> tuple[Path, dict[str, list[Path]], list[str]]:
        """Return the folder of Parquet files, the files of each part, and notes.

        Raises:
            ArgumentError: the files are of another kind, or there is no training part.
        """
        found = self.find()
        if found.kind != "parquet":
            problem = f"{self.shown} is no data set in Parquet files, which are streamed"
            fix = "data.streaming=false"
            if found.kind in ("saved", "arrow"):
                fix += ", which maps Arrow files into memory without a copy"
            raise ArgumentError("streaming", problem, got=found.kind, fits="parquet", fix=fix)
        chosen, notes = choose_splits(list(found.splits), self.splits)
        return found.root, {part: found.splits[name] for part, name in chosen.items()}, notes

    def open(self) -> tuple[dict[str, Any], Path, list[str]]:
        """Return the rows of each part, the folder of the files, and notes.

        Raises:
            ArgumentError: the files cannot be read, or there is no training part.
        """
        found = self.find()
        chosen, notes = choose_splits(list(found.splits), self.splits)
        parts = {part: load_rows(found, split) for part, split in chosen.items()}
        return parts, found.root, notes


def check_keys(option: str, given: Mapping[str, Any] | None, known: Sequence[str]) -> None:
    """Raise an ArgumentError for a key of an option that there is not."""
    for key in given or {}:
        if key not in known:
            raise ArgumentError(
                option, f"{option} has no {key}", got=str(key), fits=", ".join(known)
            )


def choose_splits(names: Sequence[str], given: Given) -> tuple[dict[str, str], list[str]]:
    """Return the split of each part that there is, and notes on the others.

    Args:
        names: the splits of the data.
        given: the split of each part; None: by its name.

    Raises:
        ArgumentError: there is no split of a given name, or none to train on.
    """
    chosen = {}
    for part in PARTS:
        wanted = (given or {}).get(part)
        if wanted is not None and wanted not in names:
            raise ArgumentError(
                "splits",
                f"there is no split {wanted}",
                got=f"splits.{part}={wanted}",
                fits=", ".join(names[:SHOWN]),
            )
        fitting = [name for name in SPLITS[part] if name in names]
        if wanted is None and fitting:
            wanted = fitting[0]
        if wanted is not None:
            chosen[part] = wanted
    if "train" not in chosen:
        raise ArgumentError(
            "splits",
            "no split is named train",
            got=", ".join(names[:SHOWN]) or "no splits",
            fix=f"data.splits.train={names[0] if names else 'NAME'}",
        )
    notes = []
    for part in ("val", "test"):
        if list(chosen.values()).count(chosen.get(part, "")) > 1:
            notes.append(f"the split {chosen[part]} is used for several parts")
    unused = [name for name in names if name not in chosen.values()]
    if unused:
        notes.append(f"splits that are not used: {list_first(unused)}")
    return chosen, notes


def load_rows(found: Found, split: str) -> Any:
    """Return a split as a `datasets.Dataset`, which maps Arrow files into memory.

    Raises:
        ArgumentError: the files cannot be read.
    """
    files = [str(file) for file in found.splits[split]]
    with offline() as datasets:
        try:
            if found.kind == "saved":
                return datasets.load_from_disk(files[0])
            if found.kind == "arrow" and are_streams(files):
                return datasets.concatenate_datasets(list(map(datasets.Dataset.from_file, files)))
            check_cache(datasets.config.HF_DATASETS_CACHE, found.kind)
            options: dict[str, Any] = {}
            if found.kind == "csv" and files[0].lower().endswith(".tsv"):
                options["delimiter"] = "\t"
            return datasets.load_dataset(
                found.kind, data_files={"train": files}, split="train", **options
            )
        except ArgumentError:
            raise
        except Exception as error:  # pyarrow, pandas and others raise their own
            cause = error.__cause__ or error
            reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0][:200]
            raise ArgumentError(
                "path",
                f"the split {split} of {found.root} cannot be read as {found.kind}: {reason}",
                got=", ".join(files[:SHOWN]),
                fits="whole files of one schema",
            ) from error


def check_cache(folder: Path | str, kind: str) -> None:
    """Raise an ArgumentError where `datasets` would write its copy outside of the project of a
    confined process.
    """
    if lies_outside(folder):
        fix = "HF_DATASETS_CACHE=FOLDER of the project"
        if kind == "parquet":
            fix += ", or data.streaming=true, which makes no copy (data=hub)"
        problem = f"the cache of the package datasets, {folder}, is {OUTSIDE}"
        raise ArgumentError("path", problem, fix=fix)


def are_streams(files: Sequence[str]) -> bool:
    """Whether Arrow files are of the kind that can be mapped into memory as they are."""
    for file in files:
        with open_file(file) as content:
            if content.read(len(ARROW)) == ARROW:  # of the kind that is read from its end
                return False
    return True
