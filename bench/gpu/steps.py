"""Steps of training and inference beside the peers, in bfloat16, eager and compiled.

python -m bench.gpu.steps                                 every family
python -m bench.gpu.steps --only vit_s gpt2 --rounds 5    some of them
python -m bench.gpu.steps --only llama --kinds compiled   a model too large to lie beside others

Without a GPU the same runs on the CPU, in float32 at the small sizes, to show that it works.

Each contender runs in a process of its own, and all get the same options. All are built, compiled
and warmed up first. Then, while nothing else runs, every round asks each contender of a family for
some steps and waits for the GPU once. The language models have the sizes of their papers.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch

from bench import peers, table
from bench.choose import choose
from bench.compare.contender import Family
from bench.gpu.device import HAS_GPU, PRECISION, measure_ceiling, name_device
from bench.gpu.server import OURS, Seat, Server, is_attention
from bench.measure import Times, interleave
from tasks.process.peaks import peak_operations

FAMILIES = (
    "vit_s",
    "vit_b",
    "swin_t",
    "resnet50",
    "convnext_t",
    "gpt2",
    "llama",
    "encoder_decoder",
)
SLOWER = ("vit-pytorch", "x-transformers")  # which also differ from ours in details
KINDS = ("compiled", "eager")
HEAD = (
    "",
    "a step",
    "spread",
    "of the fastest peer",
    "a second",
    "of the product",
    "MFU",
    "memory",
    "of its estimate",
    "attention",
)


def choose_contenders(family: Family, named: list[str] | None) -> list[str]:
    """The contenders worth their time; for images transformers is slower than timm."""
    if named:
        return [name for name in family.contenders if name == OURS or name in named]
    slower = list(SLOWER)
    if "timm" in family.contenders:
        slower.append("transformers")
    return [name for name in family.contenders if name not in slower]


def start_servers(chosen: list[Family], given: argparse.Namespace) -> dict[str, list[Server]]:
    """Start every contender of some families; returns those that get ready in time, by family."""
    until, waiting = time.monotonic() + given.patience, []
    for family in chosen:
        for kind in given.kinds:
            for name in choose_contenders(family, given.peers):
                seat = Seat(
                    family.name, name, kind == "compiled", given.batch, given.threads, given.infer
                )
                waiting.append(Server(seat))
    ready: dict[str, list[Server]] = {family.name: [] for family in chosen}
    for server in waiting:
        if server.is_ready(until):
            ready[server.seat.family].append(server)
        else:
            print("not measured:", server.seat.family, server.seat, flush=True)
            server.close()
    return ready


def measure(servers: list[Server], question: str, rounds: int) -> Times:
    """Seconds by contender, and in the place of the processor's the bytes that were held."""
    steps = {str(server.seat): server for server in servers}
    return interleave(steps, rounds, warm=1, ask=lambda server: server.ask(question))


def make_rows(
    times: Times, family: Family, passes: int, limit: float, peak: float | None
) -> list[dict[str, Any]]:
    """The measurements by contender; a ratio is to the fastest peer, eager or compiled as ours.

    Args:
        times: seconds, and bytes.
        family: whose.
        passes: 3 for a step of training, of which the backward pass is 2, and 1 for inference.
        limit: operations per second of a large product.
        peak: what the maker prints, where it is known.
    """
    found = []
    flops, (items, kind) = family.flops() * passes / 3, family.items
    for name, seconds in times.clock.items():
        row: dict[str, Any] = {"contender": name, "seconds": times.median(name)}
        row["spread"] = (max(seconds) - min(seconds)) / row["seconds"]
        row["speed"], row["items"] = items / row["seconds"], kind
        row["share"] = flops / row["seconds"] / limit
        if peak:
            row["mfu"] = flops / row["seconds"] / peak
        row["bytes"] = statistics.median(times.processor[name])
        if name == OURS and passes == 3 and row["bytes"]:
            row["estimate"] = family.memory()
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
    return [
        row["contender"],
        f"{row['seconds'] * 1e3:.2f} ms",
        f"{row['spread']:.1%}",
        table.ratio(row["ratio"]) if "ratio" in row else "",
        f"{row['speed']:,.0f} {row['items']}",
        f"{row['share']:.1%}",
        f"{row['mfu']:.1%}" if "mfu" in row else "",
        f"{row['bytes'] / 1e9:.2f} GB",
        f"{row['bytes'] / row['estimate']:.2f}" if "estimate" in row else "",
        row.get("attention", ""),
    ]


def name_attention(kernels: list[tuple[str, int, float]]) -> str:
    """The kernels of attention that ran, shortened: `flash_fwd x12, flash_bwd x12`."""
    found = []
    for name, calls, _ in kernels:
        if is_attention(name):
            short = name.replace("void ", "").partition("<")[0].split("::")[-1][:40]
            found.append(f"{short} x{calls}")
    return ", ".join(dict.fromkeys(found))


def compare(family: Family, servers: list[Server], given: argparse.Namespace, limit: float) -> Any:
    """Measure one family, print its tables, and return the rows."""
    peak = peak_operations(name_device(), "bf16-mixed")
    precision = str(PRECISION).removeprefix("torch.")
    results = []
    for question, passes in (("train", 3), ("infer", 1)):
        if question == "infer" and not given.infer:
            continue
        rows = make_rows(measure(servers, question, given.rounds), family, passes, limit, peak)
        if question == "train":
            for row, server in zip(rows, servers, strict=True):
                row["kernels"] = server.ask("kernels")
                row["attention"] = name_attention(row["kernels"])
        print(f"\n{family.name}: {family.size}; {question}, {precision}")
        print(table.table(HEAD, [format_row(row) for row in rows]), flush=True)
        results += [
            {"family": family.name, "size": family.size, "work": question, **row} for row in rows
        ]
    return results


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m bench.gpu.steps",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", metavar="FAMILY", help="these families")
    parser.add_argument("--peers", nargs="+", metavar="PEER", help="these peers")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="both")
    parser.add_argument("--rounds", type=int, default=9, help="how often each is asked (9)")
    parser.add_argument(
        "--batch", type=int, default=256 if HAS_GPU else 1, help="images per step (256; 1 on a CPU)"
    )
    parser.add_argument("--infer", action="store_true", help="inference beside the training step")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads per process (2)")
    parser.add_argument("--patience", type=float, default=600, help="seconds to get ready (600)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    given = parser.parse_args()
    peers.admit()
    from bench.families import families

    known = families(given.batch, large=HAS_GPU)
    chosen = choose(known, given.only or FAMILIES, given.peers)
    begun = time.monotonic()
    ready = start_servers(chosen, given)
    limit = measure_ceiling()
    print(
        f"{name_device()}, torch {torch.__version__}, {limit / 1e12:.3g} TFLOP/s; "
        f"ready after {time.monotonic() - begun:.0f} s",
        flush=True,
    )
    results: list[dict[str, Any]] = []
    for family in chosen:
        if ready[family.name]:
            results += compare(family, ready[family.name], given, limit)
        for server in ready[family.name]:
            server.close()
    if given.json:
        found = {"device": name_device(), "ceiling": limit, "results": results}
        given.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    if missing := [family.name for family in chosen if not ready[family.name]]:
        sys.exit(f"nothing was ready of {', '.join(missing)}; --patience gives more time")


if __name__ == "__main__":
    main()
