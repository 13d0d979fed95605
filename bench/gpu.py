"""Training steps on a GPU beside the peers, in bfloat16, eager and compiled.

python -m bench.gpu                                 every family
python -m bench.gpu --only vit_s gpt2 --rounds 5    some of them
python -m bench.gpu --check                         the tests that need a GPU first

Without a GPU the same runs on the CPU, at the small sizes, to show that it works.

Each contender runs in a process of its own, and all get the same options. All are built, compiled
and warmed up first. Then, while nothing else runs, every round asks each contender of a family for
`STEPS` steps and waits for the GPU once. The language models have the sizes of their papers.
"""

import argparse
import json
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from bench import peers, table
from bench.compare.contender import Family
from bench.measure import Times, interleave
from blocks.graph import compile_network
from tasks.process.peaks import peak_operations

HAS_GPU = torch.cuda.is_available()
DEVICE, STEPS, SIDE = ("cuda", 4, 8192) if HAS_GPU else ("cpu", 1, 512)
TRIES = 20
OURS = "dougong"
SLOWER = ("vit-pytorch", "x-transformers")  # which also differ from ours in details
HEAD = ("", "a step", "spread", "of the fastest peer", "TFLOP/s", "of the product", "MFU", "memory")
Key = tuple[str, str]  # family, contender


def wait() -> None:
    """Wait until the GPU has done all that it was asked for."""
    if HAS_GPU:
        torch.cuda.synchronize()


def name_device() -> str:
    """The name of the GPU, or "CPU"."""
    return torch.cuda.get_device_name() if HAS_GPU else "CPU"


def measure_ceiling(seconds: float = 1.0) -> float:
    """Operations per second of a product of two large bfloat16 matrices, at best."""
    a, b = torch.randn(2, SIDE, SIDE, dtype=torch.bfloat16, device=DEVICE)
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        wait()
        begun = time.perf_counter()
        for _ in range(10):
            a @ b
        wait()
        best = min(best, (time.perf_counter() - begun) / 10)
    return 2 * SIDE**3 / best


def serve(
    connection: Connection, family: str, contender: str, batch: int, compiled: bool, threads: int
) -> None:
    """Build one contender, report when it is warm, and answer each question with a measurement."""
    torch.set_num_threads(threads)
    peers.admit()
    from bench.families import families

    torch.manual_seed(0)
    made = families(batch, DEVICE, large=HAS_GPU)[family].contenders[contender]()
    if compiled and contender == OURS:
        compile_network(made.model)
    elif compiled:
        made.model.compile(dynamic=False)
    step = made.trainer(bfloat16=True)
    for _ in range(3):
        run_patiently(step)
    time_steps(step)
    connection.send(True)
    while True:
        try:
            connection.recv()
        except EOFError:
            return
        connection.send(time_steps(step))


def run_patiently(step: Callable[[], object]) -> None:
    """Run a step; retry while processes that warm up at the same time hold the memory."""
    for _ in range(TRIES - 1):
        try:
            step()
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            time.sleep(1)
        else:
            return
    step()


def time_steps(step: Callable[[], object]) -> tuple[float, float]:
    """Seconds per step, and the peak of allocated bytes. Gives freed memory back afterwards."""
    run_patiently(step)
    wait()
    begun = time.perf_counter()
    for _ in range(STEPS):
        step()
    wait()
    taken = (time.perf_counter() - begun) / STEPS
    torch.cuda.empty_cache()
    return taken, torch.cuda.max_memory_allocated()


class Server:
    """One contender in a process of its own, which warms up while others do."""

    def __init__(self, family: str, contender: str, batch: int, compiled: bool, threads: int):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        given = (theirs, family, contender, batch, compiled, threads)
        self.process = context.Process(target=serve, args=given, daemon=True)
        self.process.start()
        theirs.close()

    def is_ready(self, until: float) -> bool:
        """Whether it is warm before that moment; a contender that raised never is."""
        try:
            return self.connection.poll(max(until - time.monotonic(), 0)) and self.connection.recv()
        except EOFError:
            return False

    def ask(self) -> tuple[float, float]:
        self.connection.send(True)
        found: tuple[float, float] = self.connection.recv()
        return found

    def close(self) -> None:
        self.connection.close()
        self.process.join(1)
        self.process.kill()


def choose_contenders(family: Family) -> list[str]:
    """The contenders worth their time; for images transformers is slower than timm."""
    slower = list(SLOWER)
    if "timm" in family.contenders:
        slower.append("transformers")
    return [name for name in family.contenders if name not in slower]


def make_rows(times: Times, flops: int, limit: float) -> list[dict[str, Any]]:
    """The measurements by contender; a ratio is to the fastest peer, eager or compiled as ours."""
    found = []
    for name, seconds in times.clock.items():
        row: dict[str, Any] = {"contender": name, "seconds": times.median(name)}
        row["spread"] = (max(seconds) - min(seconds)) / row["seconds"]
        row["flops"] = flops / row["seconds"]
        row["share"] = row["flops"] / limit
        if peak := peak_operations(name_device(), "bf16-mixed"):
            row["mfu"] = row["flops"] / peak
        row["bytes"] = max(times.processor[name])  # the second number that a contender gives
        suffix = name.partition(" ")[2]
        alike = [other for other in times.clock if other.partition(" ")[2] == suffix]
        theirs = [other for other in alike if not other.startswith(OURS)]
        if theirs:
            row["fastest"] = times.fastest(theirs)
            row["ratio"] = times.ratio(name, row["fastest"])
        found.append(row)
    return found


def format_row(row: dict[str, Any]) -> list[str]:
    """A row as cells of the table."""
    ratio = table.ratio(row["ratio"]) if "ratio" in row else ""
    return [
        row["contender"],
        f"{row['seconds'] * 1e3:.2f} ms",
        f"{row['spread']:.1%}",
        ratio,
        f"{row['flops'] / 1e12:.2g}",
        f"{row['share']:.0%}",
        f"{row['mfu']:.0%}" if "mfu" in row else "",
        f"{row['bytes'] / 1e9:.1f} GB",
    ]


def start_servers(chosen: list[Family], given: argparse.Namespace) -> dict[Key, Server]:
    """Start every contender, eager and compiled; returns those that get ready in time."""
    until, waiting = time.monotonic() + given.patience, {}
    for family in chosen:
        for name in choose_contenders(family):
            for suffix in (" compiled", ""):
                server = Server(family.name, name, given.batch, bool(suffix), given.threads)
                waiting[family.name, name + suffix] = server
    ready = {}
    for key, server in waiting.items():
        if server.is_ready(until):
            ready[key] = server
        else:
            print("not measured:", *key, flush=True)
            server.close()
    return ready


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m bench.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", metavar="FAMILY", help="these families")
    parser.add_argument("--rounds", type=int, default=9, help="how often each is asked (9)")
    parser.add_argument(
        "--batch", type=int, default=256 if HAS_GPU else 1, help="images per step (256; 1 on a CPU)"
    )
    parser.add_argument("--check", action="store_true", help="first run the tests marked gpu")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads per process (2)")
    parser.add_argument("--patience", type=float, default=600, help="seconds to get ready (600)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    given = parser.parse_args()
    if given.check:  # nothing is measured that is not right
        command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests"]
        subprocess.run(command, check=True, cwd=Path(__file__).resolve().parents[1])
    peers.admit()
    from bench.families import families

    known = families(given.batch, large=HAS_GPU)
    chosen = [known[name] for name in given.only or known]
    servers = start_servers(chosen, given)
    limit = measure_ceiling()
    name = name_device()
    print(f"{name}, torch {torch.__version__}, {limit / 1e12:.2g} TFLOP/s", flush=True)
    results = []
    for family in chosen:
        steps = {name: each for (owner, name), each in servers.items() if owner == family.name}
        if not steps:
            continue
        times = interleave(steps, given.rounds, warm=1, ask=Server.ask)
        rows = make_rows(times, family.flops(), limit)
        print(f"\n{family.name}: {family.size}; training step, bfloat16")
        print(table.table(HEAD, [format_row(row) for row in rows]), flush=True)
        results += [{"family": family.name, "size": family.size, **row} for row in rows]
        for server in steps.values():
            server.close()
    if given.json:
        found = {"device": name, "ceiling": limit, "results": results}
        given.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
