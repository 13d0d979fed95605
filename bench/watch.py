"""From a saved file to the printed answer of `python -m blocks watch explain`, again and again.

python -m bench.watch                 medians and 95th percentiles of 30 edits
python -m bench.watch --edits 100

Each edit is one that was not made before. A rate leaves all sizes as they are, so that blocks which
were looked at before are known; a width changes nearly all.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from bench.__main__ import machine

MODELS = {  # name -> file of conf/model, its params, the multiple that its width must be, data
    "ViT-B/16": ("vit_b16", "", 64, "imagenet"),
    "Swin-T": ("swin_t", "", 24, "imagenet"),
    "GPT, 48 layers": ("gpt2", "depth: 48, ", 64, "text"),
}
RATES = {"vit_b16": "drop_path", "swin_t": "drop_path", "gpt2": "dropout"}
WARM = 5  # edits that are not counted


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        "python -m bench.watch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--edits", type=int, default=30, help="of each kind (30)")
    chosen = parser.parse_args()
    print(", ".join(f"{name} {value}" for name, value in machine().items() if name != "seed"))
    print(f"{os.cpu_count()} cores; milliseconds from saving a file to the last line printed\n")
    print(f"{'model':<16} {'edit':<6} {'median':>7} {'95 %':>7}")
    for title, (model, params, multiple, data) in MODELS.items():
        with tempfile.TemporaryDirectory() as folder:
            for edit, seconds in measure(Path(folder), model, params, multiple, data, chosen.edits):
                ordered = sorted(1000 * each for each in seconds)
                late = ordered[int(0.95 * (len(ordered) - 1))]
                print(f"{title:<16} {edit:<6} {statistics.median(ordered):7.0f} {late:7.0f}")


def measure(
    folder: Path, model: str, params: str, multiple: int, data: str, edits: int
) -> Iterator[tuple[str, list[float]]]:
    """Edit the file of a model that begins with another; yield the kind of the edits, and the
    seconds that each answer took.
    """
    file = folder / "model" / "edited.yaml"
    file.parent.mkdir()

    def save(rate: float, width: int) -> None:
        values = f"{params}{RATES[model]}: {rate}, dim: {width}"
        text = f"defaults: [{model}, _self_]\nexpect: null\nparams: {{{values}}}\n"
        file.write_text(text, encoding="utf-8")

    first = 4 * multiple
    save(0.1, first)
    words = ["watch", "explain", "model=edited", f"data={data}", "--config-dir", str(folder)]
    command = [sys.executable, "-m", "blocks", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        wait_for_answer(process.stdout)
        for kind in ("rate", "width"):
            found = []
            for edit in range(WARM + edits):
                time.sleep(0.3)  # a hand is not faster
                start = time.perf_counter()
                if kind == "rate":
                    save(0.1 + edit / 1000, first)
                else:
                    save(0.1, first + (1 + edit) * multiple)
                wait_for_answer(process.stdout)
                found.append(time.perf_counter() - start)
            yield kind, found[WARM:]
        process.terminate()


def wait_for_answer(stream: IO[str]) -> None:
    """Read up to the empty line behind a table."""
    for line in stream:
        if line.startswith("total"):
            assert not next(stream).strip()
            return
    raise SystemExit("python -m blocks watch has ended")


if __name__ == "__main__":
    main()
