"""Finds the packages of Dougong beside this one, whatever lies in the working directory.

A user's own `blocks.py`, `tasks.py` or `hydra_plugins/` may be found before ours, because Python
searches the working directory first in notebooks and with `python -m`.
"""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

HOME = Path(__file__).resolve().parents[1]  # the checkout, or `site-packages`
OWN = ("blocks", "tasks")


class OwnPackages(MetaPathFinder):
    """Finds `blocks` and `tasks` in `HOME` alone."""

    def find_spec(
        self, fullname: str, path: object = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is None and fullname in OWN:
            return PathFinder.find_spec(fullname, [str(HOME)])
        return None


def use_own_packages() -> None:
    """Let `import blocks` and `import tasks` find ours in this process.

    Raises:
        ImportError: another module of that name was imported before.
    """
    for name in OWN:
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        if module is not None and Path(str(file)).resolve().parent.parent != HOME:
            raise ImportError(
                f"{file} is imported as {name!r}, which is a package of Dougong: import dougong "
                "first, or rename the file",
                name=name,
                path=file,
            )
    if not any(isinstance(finder, OwnPackages) for finder in sys.meta_path):
        sys.meta_path.insert(0, OwnPackages())
