"""The folders of YAML that `model=NAME` and the other choices are looked up in."""

import importlib.util
import os
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path

LABS = "dougong.conf"  # entry points of packages that ship YAML: `my_lab = "my_lab.conf"`
OF_THE_PROGRAM = ("train.yaml", "hydra")  # only the program's own folder has them


def conf_folder() -> Path:
    """Return the program's own `conf/`: beside `blocks/` in a checkout, inside it in an installed
    package.
    """
    package = Path(__file__).resolve().parents[1]
    return package / "conf" if (package / "conf").is_dir() else package.parent / "conf"


def without_program(text: object) -> str:
    """Return a text with places in the program's own YAML as "conf/model/vit.yaml:7:3"."""
    return str(text).replace(f"{conf_folder()}{os.sep}", f"{conf_folder().name}{os.sep}")


def project_folder() -> Path | None:
    """Return `conf/` of the working directory, or None where there is none.

    It is searched before the program's own folder, so that its files win.
    """
    folder = Path.cwd() / "conf"
    if not folder.is_dir() or folder.resolve() == conf_folder().resolve():
        return None
    return folder


@lru_cache(maxsize=1)
def lab_folders() -> tuple[Path, ...]:
    """Return the folders of installed packages that ship YAML, by the names of their entry points.

    Nothing but the packages above the folder is imported.
    """
    folders = []
    for point in sorted(entry_points(group=LABS), key=lambda point: point.name):
        spec = importlib.util.find_spec(point.module)
        if spec is not None and spec.submodule_search_locations:
            folders.append(Path(next(iter(spec.submodule_search_locations))))
    return tuple(folders)


def conf_folders() -> list[Path]:
    """Return all folders in the order of the search: the project's, the program's, those of
    packages.
    """
    project = project_folder()
    first = [] if project is None else [project]
    return [*first, conf_folder(), *lab_folders()]


def is_of_the_program(config_path: str) -> bool:
    """Return whether only the program's own folder may have a file: `train`, `hydra/launcher/ray`.

    Args:
        config_path: relative to the folder, with or without `.yaml`.
    """
    first = config_path.partition("/")[0]
    return first in OF_THE_PROGRAM or f"{first}.yaml" in OF_THE_PROGRAM


def unread_files(folder: Path) -> list[str]:
    """Return the names in a folder that are not read, because only the program may have them."""
    return [name for name in OF_THE_PROGRAM if (folder / name).exists()]


def option_files(group: str) -> dict[str, Path]:
    """Return option -> file of a group such as `model` or `model/norm`; the first folder wins."""
    found: dict[str, Path] = {}
    for folder in conf_folders():
        for file in sorted((folder / group).glob("*.yaml"), key=str):
            found.setdefault(file.stem, file)
    return dict(sorted(found.items()))


def groups() -> Iterator[str]:
    """Yield the groups whose options the command line chooses: `data`, `model`, `model/norm`."""
    seen: set[str] = set()
    for folder in conf_folders():
        for path in folder.rglob("*.yaml"):
            group = path.parent.relative_to(folder).as_posix()
            if group != "." and not is_of_the_program(group):
                seen.add(group)
    yield from sorted(seen)
