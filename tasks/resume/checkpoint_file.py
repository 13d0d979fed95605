"""Checkpoint files that are either whole or absent: written beside the old one, read back, then
renamed.
"""

import contextlib
import hashlib
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch
from pytorch_lightning.plugins.io import CheckpointIO

from blocks.graph import read_archive, read_whole
from blocks.graph.weights.shards import KEY, find_shard_damage, is_sharded
from blocks.support.files import kind_of, open_file
from tasks.errors import ArgumentError
from tasks.resume.writer import LIMIT, Writer, copy_state, count_bytes

MARK = b"sha256:"
SHARDED_MARK = b"shards:"  # instead, where the tensors lie in shards; as long
COMMENT = len(MARK) + 64  # bytes after the archive: the mark and the checksum of all before it
CHUNK = 1 << 22
SHARDS = "shards-"  # names of folders with shards begin with it


class SaveError(RuntimeError):
    """A checkpoint could not be saved. The run ends; the checkpoint before it is intact."""

    code = "unwritable-file"


class HashingFile:
    """A file that is hashed while it is written, so that its checksum needs no reading.

    Args:
        file: open for writing.
    """

    def __init__(self, file: BinaryIO):
        self.file = file
        self.hash = hashlib.sha256()
        self.pending = b""

    def write(self, data: Any) -> int:
        """Write all but the last two bytes: they are the length of the comment, which is zero until
        there is one.
        """
        whole = self.pending + bytes(data)
        self.pending = whole[-2:]
        self.hash.update(whole[:-2])
        self.file.write(whole[:-2])
        return len(data)

    def flush(self) -> None:
        self.file.flush()

    def close_with_checksum(self, mark: bytes = MARK) -> None:
        """Write the checksum as the comment of the archive, which readers of zip files skip."""
        if self.pending != b"\0\0":
            raise SaveError(
                "torch wrote an archive with a comment, which leaves no room for the checksum"
            )
        length = COMMENT.to_bytes(2, "little")
        self.hash.update(length)
        self.file.write(length + mark + self.hash.hexdigest().encode())
        self.pending = b""


class SafeCheckpointIO(CheckpointIO):
    """Saves checkpoints so that neither a kill nor a full disk damages the one before, and loads
    only those that are whole.

    The new file is written in the folder of the old one, so that both are in one file system; it is
    flushed to the disk and read back before it takes the old one's name, and the folder is flushed
    after. Its checksum is the comment of the zip archive that `torch.save` writes.

    Args:
        folders: outside of which nothing is written or removed; None for anywhere.

    Attributes:
        made: folders that exist; one of them that is missing was removed, and stays so.
        writer: takes the steps of saving; in the background only what it has a copy of.
    """

    def __init__(self, folders: Sequence[Path] | None = None):
        self.folders = folders
        if folders is not None:
            self.folders = [folder.resolve() for folder in folders]
        self.made: set[Path] = set()
        self.writer = Writer()

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Save a checkpoint, or raise SaveError and leave the file that was there before.

        A writer in the background gets a copy, and raises the error later; of large checkpoints
        there is none, and they are written at once.
        """
        allowed = self._check_path(path)
        if allowed.parent not in self.made:
            make_folder(allowed.parent)
            self.made.add(allowed.parent)
        if self.writer.is_background and count_bytes(checkpoint) <= LIMIT:
            self.writer.add(save_checkpoint, copy_state(checkpoint), allowed)
        else:
            self.writer.wait()
            save_checkpoint(checkpoint, allowed)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Load a checkpoint without executing anything in it; raise ArgumentError for a damaged
        file.
        """
        return load_checkpoint(Path(path))

    def choose_shards(self, path: Any, step: int) -> Path:
        """Return a folder beside a checkpoint that is not there yet, for its shards.

        Args:
            path: of the checkpoint.
            step: of the optimizer.
        """
        folder = self._check_path(path).parent
        number = 0
        while (folder / f"{SHARDS}{step}-{number}").exists():
            number += 1
        return folder / f"{SHARDS}{step}-{number}"

    def remove_checkpoint(self, path: Any) -> None:
        self._check_path(path).unlink(missing_ok=True)

    def _check_path(self, path: Any) -> Path:
        """Return a path where the run may write; raise SaveError for any other."""
        resolved = Path(path).parent.resolve() / Path(path).name
        if self.folders is None or any(map(resolved.is_relative_to, self.folders)):
            return Path(path)
        raise SaveError(
            f"the checkpoint {path} lies outside the run folder: nothing was written or removed"
        )


def make_folder(folder: Path) -> None:
    """Create a folder if that is possible; otherwise the attempt to save reports the reason."""
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)


def save_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Write `content` to `path`, or raise SaveError and leave `path` as it was."""
    draft = draft_path(path)
    mark = MARK
    if is_sharded(content):
        mark = SHARDED_MARK
    try:
        with draft.open("wb") as file:
            hashing = HashingFile(file)
            torch.save(content, hashing)  # type: ignore[arg-type]
            hashing.close_with_checksum(mark)
            file.flush()
            os.fsync(file.fileno())
        damage = find_file_damage(draft)
        if damage is not None:
            raise SaveError(f"{draft} was written incorrectly: {damage}")
        replace_with_draft(draft, path)
    except SaveError:
        draft.unlink(missing_ok=True)
        raise
    except (OSError, RuntimeError) as error:
        remove_draft(draft)
        text = f"the checkpoint {path} could not be saved: {disk_error(error)}"
        if exists(path):
            text += f"; {path.name} is the one before"
        raise SaveError(text) from error


def disk_error(error: BaseException) -> str:
    """Return the message of the operating system, which torch sometimes hides in a
    RuntimeError.
    """
    if isinstance(error.__context__, OSError):
        error = error.__context__
    return getattr(error, "strerror", None) or str(error).splitlines()[0]


def draft_path(path: Path) -> Path:
    """Return where a new version of a file is written before it is renamed."""
    return path.with_name(f".{path.name}.part")


def replace_with_draft(draft: Path, path: Path) -> None:
    """Rename a finished draft, and flush the folder."""
    os.replace(draft, path)
    flush_folder(path.parent)


def link_checkpoint(path: Path, name: Path) -> None:
    """Link `name` to `path`, or copy it where the file system has no links.

    Raises:
        SaveError: neither is possible.
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
        while data := source.read(CHUNK):
            file.write(data)
        file.flush()
        os.fsync(file.fileno())


def remove_draft(draft: Path) -> None:
    """Remove a draft if possible; what prevented writing it may prevent this too."""
    with contextlib.suppress(OSError):
        draft.unlink(missing_ok=True)


def exists(path: Path) -> bool:
    """Return whether a path exists and can be accessed."""
    try:
        return path.exists()
    except OSError:
        return False


def remove_unused(folder: Path) -> None:
    """Remove the shards of checkpoints that are gone, or that were never finished."""
    found = {path for path in folder.glob(f"{SHARDS}*") if path.is_dir() and not path.is_symlink()}
    if not found:
        return
    used = set()
    for file in folder.glob("*.ckpt"):
        content = read_archive(file)
        if is_sharded(content):
            used.add(file.parent / str(content[KEY].get("folder")))
    for path in found - used:
        shutil.rmtree(path, ignore_errors=True)


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk."""
    if os.name != "posix":
        return  # not possible on Windows
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def find_damage(path: Path) -> str | None:
    """Return what is wrong with a checkpoint and its shards, or None."""
    damage = find_file_damage(path)
    if damage is None and read_comment(path).startswith(SHARDED_MARK):
        return find_shard_damage(path)
    return damage


def read_comment(path: Path) -> bytes:
    """Return the last bytes of a file, where the mark and the checksum are."""
    with open_file(path) as file:
        file.seek(max(path.stat().st_size - COMMENT, 0))
        return file.read()


def find_file_damage(path: Path) -> str | None:
    """Return what is wrong with a checkpoint file, without its shards, or None.

    A file without our checksum, e.g. of another program, is read as an archive.
    """
    kind = kind_of(path)
    if kind is not None:
        return f"it is {kind}, not a regular file"
    comment = read_comment(path)
    if not comment.startswith((MARK, SHARDED_MARK)):
        return find_archive_damage(path)
    checksum = hashlib.sha256()
    left = path.stat().st_size - COMMENT
    with open_file(path) as file:
        while left:
            data = file.read(min(CHUNK, left))
            checksum.update(data)
            left -= len(data)
    if comment[len(MARK) :] != checksum.hexdigest().encode():
        return "its checksum does not fit its content"
    return None


def find_archive_damage(path: Path) -> str | None:
    """Return what is wrong with an archive according to the CRC of each of its members, or None."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.comment:
                return "its checksum is damaged"
            member = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError) as error:
        detail = f" ({error})" if str(error) else ""
        return f"it is no whole archive{detail}"
    if member is not None:
        return f"its part {member} is damaged"
    return None


def load_checkpoint(
    path: Path, read: Callable[[Path], dict[str, Any]] = read_whole
) -> dict[str, Any]:
    """Return the content of a checkpoint.

    Args:
        path: of the file.
        read: how a file is read that is whole; `read_archive` leaves out what lies in shards.

    Raises:
        ArgumentError: the file is missing, damaged or no checkpoint.
    """
    if not path.exists():
        raise ArgumentError("ckpt_path", f"there is no checkpoint {path}", fix="ckpt_path=FILE")
    damage = find_damage(path)
    if damage is not None:
        raise ArgumentError(
            "ckpt_path", f"the checkpoint {path} is damaged: {damage}", fix="take another one"
        )
    try:
        return read(path)
    except pickle.UnpicklingError as error:
        problem = f"{path} holds more than tensors and plain data, which could run when it is read"
        raise ArgumentError("ckpt_path", problem, fix="take another one") from error
    except Exception as error:  # torch raises whatever the content provokes
        lines = str(error).splitlines() or [type(error).__name__]
        raise ArgumentError(
            "ckpt_path", f"{path} is no checkpoint that can be read: {lines[0]}"
        ) from error


def list_intact(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder that are whole, the newest first."""
    files = sorted(folder.glob("*.ckpt"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return [path for path in files if find_damage(path) is None]
