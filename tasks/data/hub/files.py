"""Find the files of a data set in a folder, and the split that each belongs to."""

import glob
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from blocks.support.files import OUTSIDE, kind_of, read_file
from tasks.data.images.listing.files import SUFFIXES as IMAGES
from tasks.data.walk import Walk, escape_name, list_first
from tasks.errors import ArgumentError

KINDS = {
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
}  # of files by their suffix, those that state types first
SAVED = ("dataset_dict.json", "state.json")  # in folders that `save_to_disk` has written
DESCRIPTIONS = {*SAVED, "dataset_info.json", "dataset_infos.json"}
SPLITS = {
    "train": ("train", "training"),
    "val": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
SHARD = re.compile(r"(?P<split>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(-\w+)?")
SHOWN = 6  # names in a message


@dataclass(frozen=True)
class Found:
    """The files of a data set.

    Args:
        root: the folder that they are below.
        kind: parquet, arrow, json, csv, or saved, for a folder of `save_to_disk`.
        splits: the files of each split; of a saved one its folder.
    """

    root: Path
    kind: str
    splits: dict[str, list[Path]]


def find_files(paths: Sequence[str], subset: str | None = None) -> Found:
    """Find the files of a data set.

    Args:
        paths: a folder, or files; "*" stands for any letters.
        subset: the subset, where the folder has several.

    Raises:
        ArgumentError: there are no files, or several kinds or subsets of them.
    """
    places = list(expand_paths(paths))
    if len(places) == 1 and places[0].is_dir():
        found = find_in_folder(places[0], subset)
        check_shards(found)
        return found
    for place in places:
        kind = kind_of(place)
        if kind is not None:
            raise ArgumentError("path", f"{place} is {kind}", fits="one folder, or files")
    names = [place.name for place in places]
    kind, chosen = choose_kind(names, ", ".join(map(str, places[:SHOWN])))
    splits: dict[str, list[Path]] = {}
    for place in places:
        if place.name in chosen:
            splits.setdefault(find_split(Path(place.name)), []).append(place)
    return Found(places[0].parent, kind, splits)


def expand_paths(paths: Sequence[str]) -> Iterable[Path]:
    """Yield the files that patterns stand for, sorted, and all other paths as they are."""
    for given in paths:
        path = Path(given).expanduser()
        found = [path]
        if not path.exists():
            found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
        if not found:
            raise ArgumentError("path", f"{path} does not exist", fix="data.path=FOLDER_OR_FILES")
        yield from found


def find_in_folder(folder: Path, subset: str | None) -> Found:
    """Find the files of a folder: saved ones, those that README.md names, or all of one kind."""
    if (folder / "dataset_dict.json").is_file():
        names = read_yaml(folder / "dataset_dict.json").get("splits") or ()
        return Found(folder, "saved", {str(name): [folder / str(name)] for name in names})
    if (folder / "state.json").is_file():
        return Found(folder, "saved", {"train": [folder]})
    described = read_subsets(folder)
    if described:
        return find_described(folder, described, subset)
    walk = Walk(folder)
    names = [name for name in walk.names if Path(name).name not in DESCRIPTIONS]
    if subset is not None:
        names = [name for name in names if name.startswith(f"{subset}/")]
        if not names:
            below = sorted({name.partition("/")[0] for name in walk.names if "/" in name})
            fits = ", ".join(below[:SHOWN]) or None
            raise ArgumentError("subset", f"{folder} has no {subset}", got=subset, fits=fits)
    kind, chosen = choose_kind(names, str(folder))
    check_one_subset(folder, chosen)
    splits: dict[str, list[Path]] = {}
    for name in chosen:
        splits.setdefault(find_split(Path(name)), []).append(folder / name)
    return Found(folder, kind, splits)


def choose_kind(names: Sequence[str], where: str) -> tuple[str, list[str]]:
    """Return the kind of the files to read, and their names; Parquet and Arrow state the types of
    their columns, and come first.
    """
    for kind in dict.fromkeys(KINDS.values()):
        chosen = [name for name in names if KINDS.get(Path(name).suffix.lower()) == kind]
        if chosen:
            return kind, chosen
    fix = "data.path=FOLDER_OR_FILES"
    if any(Path(name).suffix.lower() in IMAGES for name in names):
        fix = "data=images, for image files in folders or by a table"
    if any(Path(name).suffix.lower() == ".tar" for name in names):
        fix = "data=shards, for images in .tar files"
    raise ArgumentError(
        "path",
        f"{where} has no files of a data set",
        got=list_first(list(map(escape_name, names))) or "no files",
        fits=" ".join(KINDS),
        fix=fix,
    )


def check_one_subset(folder: Path, names: Sequence[str]) -> None:
    """Raise an ArgumentError where folders beside each other hold data sets of their own."""
    below = {name.partition("/")[0] for name in names if "/" in name}
    own = {name for name in below if name != "data" and keyword(name) is None}
    if len(own) > 1 or (own and len(own) < len(below)):
        raise ArgumentError(
            "subset",
            f"{folder} has several subsets",
            got="subset=null",
            fits=", ".join(sorted(own)[:SHOWN]),
        )


def find_split(name: Path) -> str:
    """Return the split that a file belongs to, by its name or its folders: "train" without any."""
    stem = name.stem
    shard = SHARD.fullmatch(stem)
    if shard:
        return keyword(shard["split"]) or shard["split"]
    for text in (stem, *reversed(name.parent.parts)):
        found = keyword(text)
        if found:
            return found
    return "train"


def keyword(text: str) -> str | None:
    """Return the name of a split that is one of the words of a text."""
    for word in re.split(r"[^a-z0-9]+", text.lower()):
        if any(word in words for words in SPLITS.values()):
            return word
    return None


def check_shards(found: Found) -> None:
    """Raise an ArgumentError where a file of a folder may not be read, or some of the files
    NAME-00000-of-00005 are missing.
    """
    for files in found.splits.values():
        numbers: dict[tuple[Path, str, int], set[int]] = {}
        for file in files:
            kind = kind_of(file)
            is_saved = found.kind == "saved" and file.is_dir() and kind != OUTSIDE
            if kind is not None and not is_saved:
                raise ArgumentError("path", f"{file} is {kind}", fits="a regular file")
            shard = SHARD.fullmatch(file.stem)
            if shard:
                key = (file.parent, shard["split"], int(shard["count"]))
                numbers.setdefault(key, set()).add(int(shard["number"]))
        for (folder, split, count), present in numbers.items():
            missing = [f"{number:05}" for number in range(count) if number not in present]
            if missing:
                raise ArgumentError(
                    "path",
                    f"{len(missing)} of {count} files of {folder}/{split}-* are missing",
                    got=f"without {', '.join(missing[:SHOWN])}",
                    fits="all of them",
                    fix="fetch them again, or name the files to read: data.path=[FILE,...]",
                )


def read_subsets(folder: Path) -> dict[str, Mapping[str, Any]]:
    """Return the subsets that the head of README.md describes, by name."""
    try:
        text = read_file(folder / "README.md").decode("utf-8", "replace")
    except OSError:
        return {}
    head = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    if head is None:
        return {}
    try:
        content = yaml.safe_load(head[1])
    except yaml.YAMLError:
        return {}
    found = {}
    if isinstance(content, Mapping) and isinstance(content.get("configs"), list):
        for each in content["configs"]:
            if isinstance(each, Mapping) and each.get("data_files"):
                found[str(each.get("config_name", "default"))] = each
    return found


def find_described(
    folder: Path, described: Mapping[str, Mapping[str, Any]], subset: str | None
) -> Found:
    """Find the files of a subset of README.md."""
    names = list(described)
    if subset is None:
        default = [name for name in names if described[name].get("default") or name == "default"]
        if default or len(names) == 1:
            subset = (default or names)[0]
    if subset is None or subset not in described:
        problem = f"{folder} has several subsets"
        if subset is not None:
            problem = f"{folder} has no such subset"
        raise ArgumentError(
            "subset",
            problem,
            got=f"subset={subset or 'null'}",
            fits=", ".join(names[:SHOWN]),
        )
    chosen = described[subset]
    splits: dict[str, list[Path]] = {}
    for split, pattern in list_patterns(chosen["data_files"]):
        below = str(Path(chosen.get("data_dir") or "") / pattern)
        for file in find_pattern(folder, below):
            splits.setdefault(split or find_split(file.relative_to(folder)), []).append(file)
    files = [str(file) for each in splits.values() for file in each]
    kind, same = choose_kind(files, f"the subset {subset} of {folder}")
    kept = {split: [file for file in each if str(file) in same] for split, each in splits.items()}
    return Found(folder, kind, {split: each for split, each in kept.items() if each})


def list_patterns(given: Any) -> Iterable[tuple[str | None, str]]:
    """Yield the patterns of `data_files`, each with its split, if it names one."""
    if isinstance(given, str | Mapping):
        given = [given]
    for each in given:
        if not isinstance(each, Mapping):
            yield None, str(each)
            continue
        patterns = each.get("path") or ()
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            yield str(each.get("split", "train")), str(pattern)


def find_pattern(folder: Path, pattern: str) -> list[Path]:
    """Return the files of a pattern of README.md, which may not lead out of the folder."""
    if ":/" in pattern or ".." in Path(pattern).parts or Path(pattern).is_absolute():
        raise ArgumentError(
            "path",
            f"{folder}/README.md names files outside of its folder",
            got=pattern,
            fits="files below the folder; nothing is downloaded",
            fix="name the files to read: data.path=[FILE,...]",
        )
    return sorted(file for file in folder.glob(pattern) if file.is_file())


def read_yaml(path: Path) -> Any:
    """Return the content of a JSON file that describes a data set; raises ArgumentError."""
    try:
        found = yaml.safe_load(read_file(path))
    except (OSError, yaml.YAMLError) as error:
        raise ArgumentError("path", f"{path} cannot be read: {error}") from error
    if not isinstance(found, Mapping):
        raise ArgumentError("path", f"{path} is damaged", fits="a folder of `save_to_disk`")
    return found
