"""From a saved file to the printed answer of `python -m blocks watch explain`, again and again.

python -m bench.page.watch                 medians and 95th percentiles of 30 edits
python -m bench.page.watch --edits 100

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
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.__main__ import machine

WORDS = "params: {{drop_path: {rate}, dim: {width}}}"
MODELS = {  # name -> file of conf/model, data, lines of the file, first width, step
    "ViT-B/16": ("vit_b16", "imagenet", WORDS, 256, 64),
    "Swin-T": ("swin_t", "imagenet", WORDS, 96, 24),
    "GPT, 48 layers": (
        "gpt2",
        "text",
        "params: {{depth: 48, dropout: {rate}, dim: {width}}}",
        768,
        48,
    ),
}
WARM = 3  # edits that are not counted


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        "python -m bench.page.watch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--edits", type=int, default=30, help="of each kind (30)")
    chosen = parser.parse_args()
    print(", ".join(f"{name} {value}" for name, value in machine().items() if name != "seed"))
    print(f"{os.cpu_count()} cores; milliseconds from saving a file to the last line printed\n")
    print(f"{'model':<16} {'edit':<6} {'median':>7} {'95 %':>7}")
    for title, (model, data, line, width, step) in MODELS.items():
        text = f"defaults: [{model}, _self_]\nexpect: null\n{line}\n"
        with tempfile.TemporaryDirectory() as folder:
            edits = Edits(text, width, step, chosen.edits)
            for edit, seconds in measure(Path(folder), edits, data):
                ordered = sorted(1000 * each for each in seconds)
                late = ordered[int(0.95 * (len(ordered) - 1))]
                print(f"{title:<16} {edit:<6} {statistics.median(ordered):7.0f} {late:7.0f}")


@dataclass(frozen=True)
class Edits:
    """How a file is edited: its text, with `rate` and `width` to fill in."""

    text: str
    width: int
    step: int
    count: int

    def make(self, kind: str, number: int) -> str:
        """Return the text after an edit."""
        if kind == "rate":
            return self.text.format(rate=0.1 + number / 1000, width=self.width)
        return self.text.format(rate=0.1, width=self.width + number * self.step)


def measure(folder: Path, edits: Edits, data: str) -> Iterator[tuple[str, list[float]]]:
    """Edit a file; yield the kind of the edits, and the seconds that each answer took."""
    file = folder / "model" / "edited.yaml"
    file.parent.mkdir()
    file.write_text(edits.make("rate", 0), encoding="utf-8")
    words = ["watch", "explain", "model=edited", f"data={data}", "--config-dir", str(folder)]
    command = [sys.executable, "-m", "blocks", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        wait_for_answer(process.stdout)
        for kind in ("rate", "width"):
            found = []
            for number in range(1, WARM + edits.count + 1):
                time.sleep(0.3)  # a hand is not faster
                start = time.perf_counter()
                file.write_text(edits.make(kind, number), encoding="utf-8")
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
