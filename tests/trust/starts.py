"""The figure: starts at the same moment, each in a folder of its own.

python -m tests.trust.starts [50]      fifty real starts of train.py, released at once; none of them learns
python -m tests.trust.starts --claims  fifty processes that claim a folder alone
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.trust.watch import ROOT

# Each start claims its folder as train.py does, marks it, and stops before it learns.
START = """
import sys, time
from pathlib import Path
import train, tasks.run
tasks.run.train = lambda composed, place, record: (Path(place) / "mine").write_text(sys.argv[0]) and {}
sys.argv = ["train.py", *sys.argv[2:]]
Path(f"ready-{train.os.getpid()}").touch()
while not Path("go").exists():
    time.sleep(0.01)
train.main()
"""


def _claim(place: str, gate: object, told: object) -> None:
    from tasks import folder

    gate.wait()  # type: ignore[attr-defined]
    told.put(str(folder.claim(Path(place))))  # type: ignore[attr-defined]


def claims(count: int, place: Path) -> list[str]:
    """The folders that so many processes get which claim the same one at the same moment."""
    context = multiprocessing.get_context("fork")
    gate, told = context.Barrier(count), context.Queue()
    started = [context.Process(target=_claim, args=(str(place / "12-00-00"), gate, told)) for _ in range(count)]
    for process in started:
        process.start()
    found = [told.get(timeout=120) for _ in started]
    for process in started:
        process.join()
    return found


def starts(count: int, place: Path) -> list[Path]:
    """The folders of so many starts of train.py in `place`, released once all are loaded."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", START, "start", "callbacks.progress.style=none"]
    waiting = [subprocess.Popen(words, cwd=place, env=environment, stdout=subprocess.DEVNULL) for _ in range(count)]
    while len(list(place.glob("ready-*"))) < count and all(process.poll() is None for process in waiting):
        time.sleep(0.1)
    (place / "go").touch()
    for process in waiting:
        process.wait()
    return sorted(path.parent for path in place.rglob("mine"))


def main() -> int:
    """Start, count, print the figure; 1 if a folder was shared."""
    count = next((int(word) for word in sys.argv[1:] if word.isdigit()), 50)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        only = "--claims" in sys.argv
        found = [Path(name) for name in claims(count, place)] if only else starts(count, place)
        seconds = {path.name[:8] for path in found}
        print(f"{count} starts at once: {len(set(found))} folders, of {len(seconds)} second(s) of the clock")
        return int(len(set(found)) != count)


if __name__ == "__main__":
    sys.exit(main())
