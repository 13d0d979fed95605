"""Peak memory of three steps of training, each contender in a process of its own.

Counted is what a process holds at its highest less what it held before the model was made, so that
a library which is large to import is not blamed for its models. On a GPU, what torch's allocator
held at its highest.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from bench import table
from bench.compare.contender import Family

STEPS, REPEATS = 3, 3


def held() -> int:
    """Bytes that this process holds in memory now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * resource.getpagesize()


def highest() -> int:
    """Bytes that it held at its highest."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(family: Family, contender: str) -> int:
    """Bytes for the model, its gradients, its optimiser and what the backward pass needs."""
    torch.ones(1).requires_grad_().square().backward()  # what torch starts once
    before = held()
    step = family.contenders[contender]().trainer()
    for _ in range(STEPS):
        step()
    return highest() - before


def asked(family: str, contender: str, batch: int) -> int:
    """The same in a new process."""
    command = [sys.executable, "-m", "bench.compare.memory", family, contender, str(batch)]
    done = subprocess.run(command, check=True, capture_output=True, encoding="utf-8")
    return int(json.loads(done.stdout.splitlines()[-1]))


def peaks(chosen: list[Family], given: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each contender of each family, the ratio to the most frugal peer."""
    results = []
    for family in chosen:
        names = [
            name
            for number, name in enumerate(family.contenders)
            if not number or name in (given.peers or [name])
        ]
        found = {
            name: statistics.median(asked(family.name, name, given.batch) for _ in range(REPEATS))
            for name in names
        }
        exact = [name for name in names[1:] if name not in family.near] or names[1:]
        least = min(exact, key=found.__getitem__)
        rows = [
            [name, f"{value / 2**20:,.0f} MB", f"{value / found[least]:.3f}"]
            for name, value in found.items()
        ]
        print(f"\n{family.name}: {family.size}; peak memory of training")
        print(table.table(("", "peak", "of the most frugal peer"), rows), flush=True)
        results += [
            {
                "family": family.name,
                "contender": name,
                "bytes": value,
                "ratio": value / found[least],
            }
            for name, value in found.items()
        ]
    return results


def main() -> None:
    from bench import peers

    peers.admit()
    from bench.families import families

    family, contender, batch = sys.argv[1:]
    torch.manual_seed(0)
    print(json.dumps(measure(families(int(batch))[family], contender)))


if __name__ == "__main__":
    main()
