"""Checkpoint files that are whole or not there: written beside the old one, read back, then put in
its place.
"""

import contextlib
import hashlib
import os
import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch
from pytorch_lightning.plugins.io import CheckpointIO

from blocks.graph import read_archive
from blocks.support.files import kind_of, open_file
from tasks.errors import ArgumentError

MARK = b"sha256:"
COMMENT = (
    len(MARK) + 64
)  # characters behind the archive: the mark and the checksum of all before it
PIECE = 1 << 22


class SaveError(RuntimeError):
    """A checkpoint could not be saved. The run ends; the checkpoint before it is still there."""


class Hashed:
    """A file that is hashed as it is written, so that nothing has to be read for its checksum."""

    def __init__(self, file: BinaryIO):
        self.file, self.hash, self.held = file, hashlib.sha256(), b""

    def write(self, data: Any) -> int:
        """The last two bytes are held back: the length of the comment, which is zero until there is
        one.
        """
        whole = self.held + bytes(data)
        self.held = whole[-2:]
        self.hash.update(whole[:-2])
        self.file.write(whole[:-2])
        return len(data)

    def flush(self) -> None:
        self.file.flush()

    def close_with_checksum(self) -> None:
        """Write the checksum as the comment of the archive, where every reader of zip files passes
        over it.
        """
        if self.held != b"\0\0":
            raise SaveError(
                "torch wrote an archive with a comment, which leaves no place for the checksum"
            )
        length = COMMENT.to_bytes(2, "little")
        self.hash.update(length)
        self.file.write(length + MARK + self.hash.hexdigest().encode())
        self.held = b""


class SafeCheckpointIO(CheckpointIO):
    """Saves checkpoints so that neither a kill nor a full disk harms the one before, and loads only
    what is whole.

    The new file is written in the folder of the old one, so that both are in one file system; it is
    flushed to the disk and read back before it takes the old one's name, and the folder is flushed
    after. Its checksum stands in the comment of the zip archive that `torch.save` makes.

    Args:
        places: folders outside of which nothing is written or removed, whatever a name came to;
            None for anywhere.
    """

    def __init__(self, places: Sequence[Path] | None = None):
        self.places = places and [place.resolve() for place in places]
        self.made: set[Path] = (
            set()
        )  # folders that are there: one of them that is missing was removed

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Raises SaveError, whatever the reason; the file that was there before is untouched
        then.
        """
        whole = self._inside(path)
        if whole.parent not in self.made:
            with contextlib.suppress(OSError):  # the attempt to save will tell
                whole.parent.mkdir(parents=True, exist_ok=True)
            self.made.add(whole.parent)
        save_checkpoint(checkpoint, whole)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Nothing in the file is executed, whatever is asked. Raises ArgumentError for a damaged
        file.
        """
        return load_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        self._inside(path).unlink(missing_ok=True)

    def _inside(self, path: Any) -> Path:
        """A path that lies where the run may write; raises SaveError for any other."""
        whole = Path(path).parent.resolve() / Path(path).name
        if self.places is not None and not any(
            whole.is_relative_to(place) for place in self.places
        ):
            raise SaveError(
                f"the checkpoint {path} lies outside the run folder: nothing was written or removed"
            )
        return Path(path)


def save_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Write `content` to `path`, or raise SaveError and leave `path` as it was."""
    draft = draft_path(path)
    try:
        with draft.open("wb") as file:
            hashed = Hashed(file)
            torch.save(content, hashed)  # type: ignore[arg-type]
            hashed.close_with_checksum()
            file.flush()
            os.fsync(file.fileno())
        damage = find_damage(draft)
        if damage is not None:
            raise SaveError(f"{draft} was written, but not as it was meant: {damage}")
        replace_with_draft(draft, path)
    except SaveError:
        draft.unlink(missing_ok=True)
        raise
    except (
        OSError,
        RuntimeError,
    ) as error:  # torch turns what the disk says into a RuntimeError now and then
        reason = error.__context__ if isinstance(error.__context__, OSError) else error
        text = getattr(reason, "strerror", None) or str(reason).splitlines()[0]
        remove_draft(draft)
        kept = f"; {path.name} is the one before" if exists(path) else ""
        raise SaveError(f"the checkpoint {path} could not be saved: {text}{kept}") from error


def draft_path(path: Path) -> Path:
    """Where a new version of a file is written before it takes its name."""
    return path.with_name(f".{path.name}.part")


def replace_with_draft(draft: Path, path: Path) -> None:
    """Give a finished draft the name it is meant for, for good."""
    os.replace(draft, path)
    flush_folder(path.parent)


def link_checkpoint(path: Path, name: Path) -> None:
    """Let `name` be the same file as `path`; a copy where the file system knows no links. Raises
    SaveError.
    """
    draft = draft_path(name)
    try:
        draft.unlink(missing_ok=True)
        try:
            os.link(path, draft)
        except OSError:
            copy(path, draft)
        replace_with_draft(draft, name)
    except OSError as error:
        remove_draft(draft)
        raise SaveError(f"the checkpoint {name} could not be saved: {error.strerror}") from error


def copy(path: Path, target: Path) -> None:
    """Copy a file and flush it."""
    with path.open("rb") as source, target.open("wb") as file:
        while data := source.read(PIECE):
            file.write(data)
        file.flush()
        os.fsync(file.fileno())


def remove_draft(draft: Path) -> None:
    """Remove a draft if that can be done; what stopped it from being written may stop this too."""
    try:
        draft.unlink(missing_ok=True)
    except OSError:
        return  # the error that led here is about to be told


def exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def flush_folder(folder: Path) -> None:
    """Let the names in a folder reach the disk."""
    if os.name != "posix":
        return  # Windows has no way to ask for it
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def find_damage(path: Path) -> str | None:
    """What is wrong with a checkpoint file, or None. A file of another program, without a
    checksum, is read through.
    """
    kind = kind_of(path)
    if kind is not None:
        return f"it is {kind}, not a regular file"
    size = path.stat().st_size
    with open_file(path) as file:
        file.seek(max(size - COMMENT, 0))
        comment = file.read()
        if not comment.startswith(MARK):
            return unreadable(path)
        found, left = hashlib.sha256(), size - COMMENT
        file.seek(0)
        while left:
            data = file.read(min(PIECE, left))
            found.update(data)
            left -= len(data)
    return (
        None
        if comment == MARK + found.hexdigest().encode()
        else "its checksum does not fit its content"
    )


def unreadable(path: Path) -> str | None:
    """What is wrong with an archive that has no checksum of ours: the CRC of each of its
    members.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.comment:
                return "its checksum is damaged"
            bad = archive.testzip()
        return f"its part {bad} is damaged" if bad else None
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError) as error:
        return f"it is no whole archive ({error})" if str(error) else "it is no whole archive"


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint; raises ArgumentError where the file is missing, damaged or
    none.
    """
    if not path.exists():
        raise ArgumentError("ckpt_path", f"there is no checkpoint {path}", fix="ckpt_path=FILE")
    damage = find_damage(path)
    if damage is not None:
        raise ArgumentError(
            "ckpt_path", f"the checkpoint {path} is damaged: {damage}", fix="take another one"
        )
    try:
        return read_archive(path)
    except pickle.UnpicklingError as error:
        problem = f"{path} holds more than tensors and plain data, which could run when it is read"
        raise ArgumentError("ckpt_path", problem, fix="take another one") from error
    except Exception as error:  # torch raises what the content happens to hit
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ArgumentError(
            "ckpt_path", f"{path} is no checkpoint that can be read: {text}"
        ) from error


def list_intact(folder: Path) -> list[Path]:
    """The checkpoints in a folder that are whole, the newest first."""
    files = sorted(folder.glob("*.ckpt"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return [path for path in files if find_damage(path) is None]
