"""Memory and speed of encoding a corpus and of reading it, over ten times the text.

python -m bench.data.tokens FOLDER        writes 10 and 100 MB of text into it, and their tokens
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from tasks.data.text.documents import Documents
from tasks.data.tokens.folder import TokenFolder

SIZES = (10_000_000, 100_000_000)  # characters, each a byte and a token
DOCUMENTS = 20
STATUS = Path("/proc/self/status")


def write_corpus(folder: Path, size: int) -> None:
    """Write documents of random words."""
    folder.mkdir(parents=True)
    source = np.random.default_rng(0)
    letters = source.integers(ord("a"), ord("z") + 1, size // DOCUMENTS, dtype=np.uint8)
    for number in range(DOCUMENTS):
        content = source.permutation(letters)
        content[source.integers(0, len(content), len(content) // 6)] = ord(" ")
        content[::80] = ord("\n")
        (folder / f"{number:02d}.txt").write_bytes(content.tobytes())


def held_memory() -> float:
    """Return the memory of this process in MB; pages of files, which the system may forget at any
    time, do not count.
    """
    for line in STATUS.read_text(encoding="utf-8").splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"{STATUS} has no RssAnon")


def read_epoch(kind: str, path: str) -> None:
    """Read all training windows once, shuffled, and print what it took."""
    before = held_memory()
    started = time.process_time()
    if kind == "tokens":
        data: TokenFolder | Documents = TokenFolder(path=path, batch_size=32)
    else:
        data = Documents(path=path, tokenizer="bytes", batch_size=32)
    data.read()
    opened = time.process_time() - started
    most = held_memory()
    started = time.process_time()
    batches = 0
    for _ in data.train_dataloader():
        batches += 1
        if batches % 1000 == 0:
            most = max(most, held_memory())
    each = (time.process_time() - started) / batches
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([opened, batches, each * 1e6, most - before, peak]))


def main() -> None:
    folder = Path(sys.argv[1])
    for size in SIZES:
        texts, tokens = folder / f"texts{size}", folder / f"tokens{size}"
        if not texts.exists():
            write_corpus(texts, size)
        words = ["tokenize", str(texts), "-o", str(tokens), "--tokenizer", "bytes"]
        if not tokens.exists():
            subprocess.run(
                [sys.executable, "-m", "tasks", *words, "--processes", "2"],
                check=True,
                stdout=subprocess.DEVNULL,
            )
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            largest, seconds = used.ru_maxrss / 1024, used.ru_utime + used.ru_stime
            print(
                f"{size:,} characters: {seconds:.1f} s of CPU time to encode them (and those "
                f"before), largest process {largest:.0f} MB"
            )
        for kind, path in (("tokens", tokens), ("text", texts)):
            done = subprocess.run(
                [sys.executable, "-m", "bench.data.tokens", "--read", kind, str(path)],
                check=True,
                capture_output=True,
                encoding="utf-8",
            )
            opened, batches, each, held, peak = json.loads(done.stdout)
            print(
                f"{size:,} characters by data={kind}: read in {opened:.1f} s, {batches:,} batches, "
                f"{each:.0f} µs each; {held:.0f} MB held, peak {peak:.0f} MB"
            )


if __name__ == "__main__":
    if sys.argv[1] == "--read":
        read_epoch(*sys.argv[2:])
    else:
        main()
