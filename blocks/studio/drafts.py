"""Where the text of a model that was changed on the page lies: `studio/model/NAME_draft.yaml` of
the project, read by `--config-dir studio model=NAME_draft`. Nothing else is written here.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from blocks.support.conf_folders import option_files
from blocks.support.files import read_file, replace_file

FOLDER = "studio"  # of the project
DRAFT, TRIAL = "_draft", "_trial"  # behind the name of the model
NAME = re.compile(r"[A-Za-z_]\w{0,63}", re.ASCII)
LONGEST = 100_000  # characters of a model file


class DraftError(ValueError):
    """A draft that is not kept; the message says why."""


@dataclass(frozen=True)
class Drafts:
    """The drafts of a project.

    Args:
        project: its folder.
    """

    project: Path

    @property
    def folder(self) -> Path:
        """The folder for `--config-dir`."""
        return self.project / FOLDER

    def path(self, model: str, ending: str = DRAFT) -> Path:
        """Return the file of a draft; raises DraftError for a name that is none."""
        if not NAME.fullmatch(model):
            raise DraftError("a model is named by letters, digits and _")
        path = self.folder / "model" / f"{model}{ending}.yaml"
        inside = path.resolve().is_relative_to(self.project.resolve())
        if not inside or path.is_symlink():
            raise DraftError("the folder of drafts leads out of the project")
        return path

    def names(self) -> list[str]:
        """Return the models that can be opened."""
        return list(option_files("model"))

    def original(self, model: str) -> Path:
        """Return the file that a draft began with; raises DraftError where there is none."""
        self.path(model)
        file = option_files("model").get(model)
        if file is None:
            raise DraftError(f"there is no model {model!r}")
        return file

    def read(self, model: str) -> tuple[str, str]:
        """Return the text of a model, and that of the file that it began with.

        Raises:
            DraftError: there is no such model, or its file is not read.
        """
        draft, file = self.path(model), self.original(model)
        try:
            before = text = read_file(file).decode()
            if draft.is_file():
                text = read_file(draft).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise DraftError(f"the file of {model} cannot be read: {error}") from error
        return text, before

    def write(self, model: str, text: str) -> bool:
        """Keep the text of a model where it differs from the file that it began with; return
        whether it does.

        Raises:
            DraftError: it is too long, or cannot be written.
        """
        draft, file = self.path(model), self.original(model)
        if len(text) > LONGEST:
            raise DraftError(f"{len(text):,} characters; a model file has {LONGEST:,} at most")
        try:
            if text == read_file(file).decode():
                return False
            self._put(draft, text)
        except (OSError, UnicodeError) as error:
            raise DraftError(f"the draft cannot be written: {error}") from error
        return True

    def remove(self, model: str) -> None:
        """Remove a draft that does not differ any more."""
        try:
            self.path(model).unlink(missing_ok=True)
        except OSError as error:
            raise DraftError(f"the draft cannot be removed: {error}") from error

    @contextmanager
    def trying(self, model: str, text: str) -> Iterator[str]:
        """Yield the name of a model with another text, which is gone afterwards."""
        file = self.path(model, TRIAL)
        try:
            self._put(file, text)
            yield f"{model}{TRIAL}"
        finally:
            file.unlink(missing_ok=True)

    def save(self, model: str, text: str) -> Path:
        """Write a new model file of the project, `conf/model/NAME.yaml`.

        Raises:
            DraftError: the name is taken, or the file cannot be written.
        """
        self.path(model)
        file = self.project / "conf" / "model" / f"{model}.yaml"
        if model in self.names() or file.exists():
            raise DraftError(f"there is a model {model!r} already")
        if not file.resolve().is_relative_to(self.project.resolve()) or len(text) > LONGEST:
            raise DraftError("the file would lie outside of the project, or is too long")
        try:
            self._put(file, text)
        except OSError as error:
            raise DraftError(f"the file cannot be written: {error}") from error
        return file

    def _put(self, file: Path, text: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            with replace_file(file) as part:
                part.write_text(text, encoding="utf-8", newline="\n")
