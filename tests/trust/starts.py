"""The figure: starts at the same moment, each in a folder of its own.

python -m tests.trust.starts [50]      fifty real starts of train.py, released at once; none of them
learns
python -m tests.trust.starts --claims  fifty processes that claim a folder alone
"""

import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

from tests.trust.watch import ROOT


def _claim(place: str, gate: object, told: object) -> None:
    from tasks.run import run_folder

    gate.wait()  # type: ignore[attr-defined]
    told.put(str(run_folder.claim_folder(Path(place))))  # type: ignore[attr-defined]


def claims(count: int, place: Path) -> list[str]:
    """The folders that so many processes get which claim the same one at the same moment."""
    context = multiprocessing.get_context("fork")
    gate, told = context.Barrier(count), context.Queue()
    started = [
        context.Process(target=_claim, args=(str(place / "12-00-00"), gate, told))
        for _ in range(count)
    ]
    for process in started:
        process.start()
    found = [told.get(timeout=120) for _ in started]
    for process in started:
        process.join()
    return found


def _start(place: str, gate: object) -> None:
    """Be `python train.py` in `place`: claim a folder as it does, mark it, and stop before anything
    is learned.
    """
    import tasks.run.train
    import train

    os.chdir(place)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    tasks.run.train.train = lambda composed, folder, record: (Path(folder) / "mine").touch() or {}  # type: ignore
    sys.argv = [str(ROOT / "train.py"), "callbacks.progress.style=none"]
    gate.wait()  # type: ignore[attr-defined]
    train.main()


def starts(count: int, place: Path) -> list[Path]:
    """The folders of so many starts of train.py in `place`, released at once.

    They are forked from this process, which has imported all that they need: fifty that import
    torch by themselves would measure the machine's memory.
    """
    import tasks.run.train  # noqa: F401
    import train  # noqa: F401

    context = multiprocessing.get_context("fork")
    gate = context.Barrier(count)
    started = [context.Process(target=_start, args=(str(place), gate)) for _ in range(count)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    return sorted(path.parent for path in place.rglob("mine"))


def main() -> int:
    """Start, count, print the figure; 1 if a folder was shared."""
    count = next((int(word) for word in sys.argv[1:] if word.isdigit()), 50)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        only = "--claims" in sys.argv
        found = [Path(name) for name in claims(count, place)] if only else starts(count, place)
        seconds = {path.name[:8] for path in found}
        print(
            f"{count} starts at once: {len(set(found))} folders, of {len(seconds)} second(s) of "
            "the clock"
        )
        return int(len(set(found)) != count)


if __name__ == "__main__":
    sys.exit(main())
