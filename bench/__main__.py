"""Training and inference side by side with the peers, as ratios.

python -m bench                                  every family, a training step
python -m bench --only vit_s swin_t --infer      some of them, and inference too
python -m bench --words bf16                     ours in mixed precision, the peers as they come
python -m bench --keep                           the peers keep freed memory, as ours does
python -m bench --memory                         peak memory, each contender in a process of its own
python -m bench --start                          building, importing, starting, loading, the loop
"""

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import torch

from bench import peers
from bench.choose import choose


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", metavar="FAMILY", help="these families")
    parser.add_argument("--peers", nargs="+", metavar="PEER", help="these peers")
    parser.add_argument("--rounds", type=int, default=15, help="how often each is asked (15)")
    parser.add_argument("--batch", type=int, default=8, help="images at a time (8)")
    parser.add_argument(
        "--threads", type=int, help="threads of torch; as torch chooses if left out"
    )
    parser.add_argument("--infer", action="store_true", help="inference beside the training step")
    parser.add_argument(
        "--words",
        nargs="+",
        default=[],
        choices=["bf16", "compile"],
        help="for ours, not for the peers",
    )
    parser.add_argument(
        "--keep", action="store_true", help="the peers keep freed memory, as ours does"
    )
    parser.add_argument("--memory", action="store_true", help="peak memory instead of time")
    parser.add_argument(
        "--start", action="store_true", help="building, importing, starting, loading and the loop"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    return parser.parse_args()


def machine() -> dict[str, Any]:
    """What a figure belongs to."""
    names = [line.split(":")[1].strip() for line in _cpu() if line.startswith("model name")]
    found: dict[str, Any] = {"machine": names[0] if names else platform.processor()}
    found["torch"] = torch.__version__
    found |= {"threads": torch.get_num_threads(), "python": platform.python_version(), "seed": 0}
    for name in ("timm", "torchvision", "transformers", "vit-pytorch", "x-transformers"):
        found |= {name: version} if (version := _version(name)) else {}
    return found


def _cpu() -> list[str]:
    file = Path("/proc/cpuinfo")
    return file.read_text(encoding="utf-8").splitlines() if file.is_file() else []


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def main() -> None:
    given = arguments()
    if given.threads:
        torch.set_num_threads(given.threads)
    peers.admit()
    from bench.families import families

    chosen = choose(families(given.batch), given.only, given.peers)
    about = machine()
    print(", ".join(f"{key} {value}" for key, value in about.items()), flush=True)
    if given.memory:
        from bench.compare.memory import peaks

        results = peaks(chosen, given)
    elif given.start:
        from bench.start.around import started

        results = started(given.rounds)
    else:
        results = timed(chosen, given)
    if given.json:
        given.json.write_text(json.dumps({**about, "results": results}, indent=1), encoding="utf-8")


def timed(chosen: list[Any], given: argparse.Namespace) -> list[dict[str, Any]]:
    from bench import table
    from bench.compare.apart import Work
    from bench.compare.family import compare
    from blocks.graph.describe.answers import ceiling

    limit = ceiling.measure()
    print(limit, flush=True)
    results = []
    for family in chosen:
        for infer in (False, True) if given.infer else (False,):
            threads, words = torch.get_num_threads(), tuple(given.words)
            work = Work(family.name, given.batch, threads, infer, words, given.keep)
            rows = compare(family, limit, given.rounds, work, given.peers)
            print(f"\n{family.name}: {family.size}; {rows[0]['work']}")
            print(table.table(table.HEAD, [table.row(row) for row in rows]), flush=True)
            results += rows
    return results


if __name__ == "__main__":
    main()
