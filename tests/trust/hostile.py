"""The figure: how many hostile configurations executed something, wrote outside, or leaked.

python -m tests.trust.hostile              all of them, in this process under an audit hook
python -m tests.trust.hostile --processes  a sample of each family, each in a process of its own
python -m tests.trust.hostile --bombs      how long each bomb is looked at before it is refused
python -m tests.trust.hostile --costs      the time and the memory of each answer to what would
never end
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from blocks.support.yaml_rules import check
from tests.trust import corpus_ends, corpus_project, corpus_run, corpus_unread, corpus_yaml, cost
from tests.trust.case import SECRET, Case, play
from tests.trust.watch import ROOT

SCRIPTS = {"train": [str(ROOT / "train.py")], "blocks": ["-m", "blocks"], "tasks": ["-m", "tasks"]}


def cases() -> Iterator[Case]:
    """The whole corpus, but for what would never end, which `endless` has."""
    corpora = (corpus_yaml, corpus_run, corpus_unread, corpus_project)
    for family in [family for corpus in corpora for family in corpus.FAMILIES]:
        yield from family()


def sample(step: int) -> list[Case]:
    """Every so manieth case."""
    return list(cases())[::step]


def faults(case: Case, processes: bool = False) -> list[str]:
    """What is wrong with the answer to a case."""
    with tempfile.TemporaryDirectory() as folder:
        return play(case, Path(folder).resolve(), apart if processes else None).faults(case)


def apart(command: list[str], here: Path) -> tuple[int, str, str]:
    """Run a command in a process of its own, as a user who stands in `here` does."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "CANARY_SECRET": SECRET,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    words = [sys.executable, *SCRIPTS[command[0]], *command[1:]]
    done = subprocess.run(
        words, cwd=here, env=environment, capture_output=True, encoding="utf-8", timeout=300
    )
    return done.returncode, done.stdout, done.stderr


def seconds(case: Case, folder: Path) -> float:
    """CPU time from the call of a command to its refusal, the largest of its files being a bomb."""
    begun = time.process_time()
    play(case, folder)
    return time.process_time() - begun


def bombs() -> int:
    """Print the time of each bomb; 1 if the rules for YAML look at one longer than a tenth of a
    second.
    """
    times = {}
    for case in corpus_yaml.bombs():
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder).resolve()
            whole = seconds(case, place)
            file = max(place.rglob("evil*.yaml"), key=lambda path: path.stat().st_size)
            begun = time.process_time()
            with contextlib.suppress(yaml.YAMLError):
                check(file)
            times[str(case)] = time.process_time() - begun
        print(
            f"{case}: rules {1000 * times[str(case)]:.2f} ms, the whole command {whole:.2f} s",
            flush=True,
        )
    print(
        f"{len(times)} bombs: the rules look at each for {1000 * max(times.values()):.0f} ms at "
        "most"
    )
    return int(max(times.values()) > 0.1)


def endless() -> list[Case]:
    """The cases whose answers are measured."""
    return [
        case for family in (*corpus_ends.FAMILIES, *corpus_unread.FAMILIES) for case in family()
    ]


def costs(only: list[str]) -> int:
    """Print what the slowest and the largest answers take; 1 if one is wrong, or takes too long or
    too much.
    """
    cost.prepare()
    chosen = [case for case in endless() if not only or case.family in only]
    found = {}
    for case in chosen:
        each = found[str(case)] = cost.measure(case)
        print(
            f"{case}: {each.seconds:.2f} s, {each.megabytes:.0f} MB",
            *each.faults,
            sep="\n  ",
            flush=True,
        )
    slowest = max(found, key=lambda name: found[name].seconds)
    largest = max(found, key=lambda name: found[name].megabytes)
    bad = sum(bool(each.faults) for each in found.values())
    print(f"{len(found)} answers: {bad} with a fault")
    print(f"slowest: {found[slowest].seconds:.2f} s of CPU ({slowest})")
    print(f"largest: {found[largest].megabytes:.0f} MB ({largest})")
    return int(bad > 0)


def main() -> int:
    """Play all, print the figure; 1 if anything is wrong."""
    if "--bombs" in sys.argv:
        return bombs()
    only = [word for word in sys.argv[1:] if not word.startswith("-")]
    if "--costs" in sys.argv:
        return costs(only)
    processes = "--processes" in sys.argv
    chosen = [
        case for case in (sample(9) if processes else cases()) if not only or case.family in only
    ]
    bad, counts, start = 0, dict[str, int](), time.monotonic()
    for case in chosen:
        begun = time.monotonic()
        found = faults(case, processes)
        counts[case.family] = counts.get(case.family, 0) + 1
        if found:
            bad += 1
            print(f"{case} ({time.monotonic() - begun:.1f} s)", *found, sep="\n  ", flush=True)
    told = ", ".join(f"{count} {family}" for family, count in counts.items())
    print(
        f"{len(chosen)} hostile configurations ({told}): {bad} with a fault, in "
        f"{time.monotonic() - start:.0f} s"
    )
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
