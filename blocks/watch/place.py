"""Where a resident process of this user, folder, Python and source is found.

Imports nothing outside Python's standard library: a client asks before it imports torch.
"""

import hashlib
import os
import stat
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("blocks", "tasks", "hydra_plugins", "dougong")
# Variables that tell terminals apart, and change no answer.
OF_TERMINALS = (
    *("_", "COLUMNS", "LINES", "OLDPWD", "PS1", "PWD", "SHLVL", "STY", "WINDOWID"),
    *("ALACRITTY", "DBUS_", "GNOME_TERMINAL", "ITERM_", "KITTY_", "KONSOLE_", "LC_TERMINAL"),
    *("SSH_", "TERM", "TMUX", "VSCODE_", "VTE_", "WT_", "XDG_SESSION"),
)


def find_version() -> str:
    """Return a digest of the source: names, sizes and times of its files."""
    found = []
    for package in PACKAGES:
        for folder, _, names in os.walk(ROOT / package):
            for name in names:
                if name.endswith(".py"):
                    file = os.path.join(folder, name)
                    status = os.stat(file)
                    found.append((file, status.st_size, status.st_mtime_ns))
    return _digest(sorted(found))


def digest_environment() -> str:
    """Return a digest of the variables of the environment that may change an answer."""
    kept = []
    for name, value in sorted(os.environ.items()):
        if not name.startswith(OF_TERMINALS[9:]) and name not in OF_TERMINALS:
            kept.append((name, value))
    return _digest(kept)


def locate_socket(program: str, create: bool = False) -> Path | None:
    """Return the path of the socket; None where this system or this user has no private folder
    for it.

    Args:
        program: how the user calls it, which usage messages repeat.
        create: whether to make the folder.
    """
    if not hasattr(os, "getuid"):  # Windows has no sockets that one user alone may open
        return None
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    folder = folder / f"dougong-{os.getuid()}"
    if create:
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError:
            return None
    if not is_private(folder):
        return None
    python = (sys.executable, sys.prefix, sys.version, sys.flags, sys.warnoptions)
    key = _digest([program, os.getcwd(), str(ROOT), python, find_version()])
    return folder / f"{key[:24]}.sock"


def is_private(folder: Path) -> bool:
    """Return whether a folder belongs to this user, who alone may enter it."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    mine = found.st_uid == os.getuid()
    return stat.S_ISDIR(found.st_mode) and mine and not found.st_mode & 0o077


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode(errors="surrogatepass")).hexdigest()
