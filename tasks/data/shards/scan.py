"""Where the images of a .tar file lie, and their classes; the images themselves are not read.

A sample is a run of files whose names are equal up to the first dot: 0001.jpg, 0001.cls.
"""

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from blocks.support.files import open_file
from tasks.data.images.listing.files import SUFFIXES
from tasks.data.labels import check_separator, join_list, read_flags, read_list, split_cell
from tasks.data.tables.wanted import LABELS
from tasks.errors import ArgumentError

CLASS, RECORD = "cls", "json"
FITS = "texts, whole numbers, or lists of them; 0 and 1 in several fields"
BLOCK = 512  # bytes of a header; a file ends with blocks of zeros


@dataclass(frozen=True)
class Fields:
    """What is read of a sample.

    Args:
        image: the ending of the images; None: that of any kind of image.
        label: the ending of the classes, "json.KEY" for a value of a record, which may be a list;
            None: "cls", or else the value of a usual name in "json". Several: each says 0 or 1.
        separator: of several labels in a text.

    Raises:
        ArgumentError: a separator that separates nothing, or is given with several fields.
    """

    image: str | None = None
    label: str | tuple[str, ...] | None = None
    separator: str | None = None

    def __post_init__(self) -> None:
        check_separator(self.separator)
        if not isinstance(self.label, tuple):
            return
        got = f"fields.label={', '.join(self.label)}"
        if self.separator is not None:
            problem, fits = "a separator divides the labels of one field", "separator=null"
            raise ArgumentError("separator", problem, got=got, fits=fits)
        if len(set(self.names)) < len(self.names):
            raise ArgumentError("fields", "two fields are one label", got=got)

    @property
    def names(self) -> list[str]:
        """The names of the labels that have a field each: "ape" for json.ape."""
        if not isinstance(self.label, tuple):
            return []
        return [label.removeprefix(f"{RECORD}.") for label in self.label]


@dataclass
class Shard:
    """The samples of a shard.

    Args:
        path: the file.
        names: of the images, in the file.
        labels: the class of each image; of several labels, a text by `join_list`.
        offsets: where each image begins.
        sizes: the bytes of each.
        no_image: samples without an image.
        no_label: samples without a class or labels.
        has_end: whether the file ends as a .tar file should.
    """

    path: Path
    names: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    no_image: list[str] = field(default_factory=list)
    no_label: list[str] = field(default_factory=list)
    has_end: bool = True


def scan_shard(path: Path, fields: Fields) -> Shard:
    """Find the samples of a shard.

    Raises:
        ArgumentError: the file is damaged, or a sample has two files of one ending.
    """
    shard = Shard(path)
    try:
        with open_file(path) as file:
            for key, members in group_members(file, shard):
                add_sample(shard, file, key, members, fields)
    except (OSError, tarfile.TarError) as error:
        raise damaged(path, str(error)) from error
    return shard


def group_members(file: BinaryIO, shard: Shard) -> Iterator[tuple[str, dict[str, tarfile.TarInfo]]]:
    """Yield each sample: its name, and its files by their endings."""
    current, members = "", dict[str, tarfile.TarInfo]()
    for member in read_members(file, shard):
        folder, slash, name = member.name.rpartition("/")
        stem, _, ending = name.partition(".")
        if not member.isfile() or not stem or stem.startswith("__"):
            continue  # folders, hidden files, and notes on the whole shard
        key, ending = f"{folder}{slash}{stem}", ending.lower()
        if key != current and members:
            yield current, members
            members = {}
        if ending in members:
            problem = f"{shard.path} has {key}.{ending} twice"
            raise ArgumentError("path", problem, fits="one file of each ending in a sample")
        current, members[ending] = key, member
    if members:
        yield current, members


def read_members(file: BinaryIO, shard: Shard) -> Iterator[tarfile.TarInfo]:
    """Yield the members of a .tar file; raises ArgumentError where it is cut or overwritten.

    `tarfile` ends without an error at a header that is damaged.
    """
    with tarfile.open(fileobj=file, mode="r:", errorlevel=2) as archive:
        while (member := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined] # it would keep all of them
            yield member
        end = archive.offset
    file.seek(end)
    block = file.read(BLOCK)
    if block.strip(b"\0"):
        raise damaged(shard.path, f"no header at byte {end:,}")
    shard.has_end = len(block) == BLOCK


def add_sample(
    shard: Shard, file: BinaryIO, key: str, members: dict[str, tarfile.TarInfo], fields: Fields
) -> None:
    """Add a sample to its shard, or to those that lack an image or a class."""
    image = find_image(members, fields)
    if image is None:
        shard.no_image.append(key)
        return
    try:
        label = read_label(file, members, fields)
    except ValueError as error:
        problem = f"{shard.path}, {key}: {error}"
        raise ArgumentError("path", problem, fits=FITS) from error
    if label is None:
        shard.no_label.append(key)
        return
    shard.names.append(members[image].name)
    shard.labels.append(label)
    shard.offsets.append(members[image].offset_data)
    shard.sizes.append(members[image].size)


def find_image(members: dict[str, tarfile.TarInfo], fields: Fields) -> str | None:
    """Return the ending of the image of a sample."""
    if fields.image is not None:
        return fields.image if fields.image in members else None
    for ending in members:
        if f".{ending.rpartition('.')[2]}" in SUFFIXES:
            return ending
    return None


def read_label(file: BinaryIO, members: dict[str, tarfile.TarInfo], fields: Fields) -> str | None:
    """Return the class of a sample, or its labels as one text; None where it has none.

    Raises:
        ValueError: a record cannot be read, or a value is no label.
    """
    if isinstance(fields.label, tuple):
        cells = {}
        for name, label in zip(fields.names, fields.label, strict=True):
            value = read_value(file, members, label)
            if value is None:
                return None
            cells[name] = [str(value)]
        return join_list(read_flags(cells, 0))
    value = read_value(file, members, fields.label)
    if value is None:
        return None
    if isinstance(value, list):
        if fields.separator is not None:
            raise ValueError("a separator divides texts, not lists; separator=null")
        return join_list(read_list(value))
    if fields.separator is not None:
        return join_list(split_cell(str(value), fields.separator))
    return str(value).strip() or None


def read_value(
    file: BinaryIO, members: dict[str, tarfile.TarInfo], label: str | None
) -> str | int | list[Any] | None:
    """Return the content of a file, or a value of a record; None where there is none.

    Raises:
        ValueError: a record cannot be read, or the value is of another kind.
    """
    ending, _, wanted = (label or CLASS).partition(".")
    if label is None and CLASS not in members:
        ending = RECORD
    if ending not in members:
        return None
    member = members[ending]
    place = file.tell()
    file.seek(member.offset_data)
    content = file.read(member.size)
    file.seek(place)
    if ending != RECORD:
        return content.decode("utf-8", "backslashreplace")
    try:
        record = json.loads(content)
    except ValueError as error:
        raise ValueError(f"{ending} cannot be read as JSON: {error}") from error
    return choose_value(record, [wanted] if wanted else list(LABELS))


def choose_value(record: Any, keys: list[str]) -> str | int | list[Any] | None:
    """Return the first value of some keys in a record; raises ValueError."""
    for key in keys:
        value = record.get(key) if isinstance(record, dict) else None
        if isinstance(value, str | int | list) and (value != "" or len(keys) == 1):
            return value
        if value is not None and len(keys) == 1:
            raise ValueError(f"{RECORD}.{key} is {json.dumps(value)[:40]}")
    return None


def damaged(path: Path, reason: str) -> ArgumentError:
    """Return the error for a shard that is no whole .tar file."""
    return ArgumentError(
        "path",
        f"{path} is damaged: {reason}",
        fits="a whole .tar file",
        fix="fetch it again, or leave it out of data.path",
    )
