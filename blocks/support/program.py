"""By which name the program was started: `dougong train`, or `python train.py` in a checkout."""

import sys
from pathlib import Path

HOME = Path(__file__).resolve().parents[2]  # the checkout, or `site-packages`
DOOR = HOME / "dougong" / "__main__.py"
SCRIPT = HOME / "train.py"  # in a checkout


def started_as_dougong() -> bool:
    """Return whether the command `dougong` runs, or `python -m dougong`."""
    started = Path(sys.argv[0])
    return started.stem == "dougong" or started == DOOR


def command_line(module: str, words: str) -> str:
    """Return a command as the user types it: `python -m blocks explain`, or `dougong explain`.

    Args:
        module: "blocks" or "tasks".
        words: the command and what follows.
    """
    start = f"python -m {module}"
    if started_as_dougong():
        start = "dougong"
    return f"{start} {words}"


def train_command() -> list[str]:
    """Return the words that a user types to train: `python train.py`, or `dougong train`."""
    return ["dougong", "train"] if started_as_dougong() else ["python", "train.py"]


def train_script() -> list[str]:
    """Return the words after `python` that start the program that trains, in any folder."""
    if started_as_dougong() or not SCRIPT.is_file():
        return [str(DOOR), "train"]
    return [str(SCRIPT)]
