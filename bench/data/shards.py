"""How long shards of many images take to be read, the first time and with their index.

python -m bench.data.shards FOLDER                    make 100,000 samples in 10 shards
python -m bench.data.shards FOLDER --samples 1000000  more
"""

import argparse
import io
import os
import resource
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from PIL import Image

from tasks.data.shards.images import Shards

SECONDS = 3  # until new shards count as settled
SIZE, CLASSES = 10_000, 1000  # samples of a shard


def make_shards(folder: Path, samples: int) -> None:
    """Write PNG files of one pixel and classes into shards of 10,000 samples."""
    folder.mkdir(parents=True)
    content = io.BytesIO()
    Image.new("L", (1, 1)).save(content, "PNG")
    for first in range(0, samples, SIZE):
        with tarfile.open(folder / f"train-{first // SIZE:04}.tar", "w") as archive:
            for number in range(first, min(first + SIZE, samples)):
                label = str(number % CLASSES).encode()
                for ending, value in (("png", content.getvalue()), ("cls", label)):
                    member = tarfile.TarInfo(f"{number:08}.{ending}")
                    member.size = len(value)
                    archive.addfile(member, io.BytesIO(value))
    time.sleep(SECONDS)


def read_shards(folder: Path) -> None:
    """Read the shards in this process, and print what it takes."""
    started, before = time.perf_counter(), time.process_time()
    data = Shards(str(folder), check=False)
    data.read()
    seconds = time.perf_counter() - started
    own = time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{seconds:.2f} s, {own:.2f} s of CPU time, at most {peak:.0f} MB: {data.notes[:2]}")


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m bench.data.shards",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--once", action="store_true", help="read in this process, and end")
    given = parser.parse_args()
    if given.once:
        read_shards(given.folder)
        return
    if not given.folder.exists():
        make_shards(given.folder, given.samples)
    command = [sys.executable, "-m", "bench.data.shards", "--once", os.fspath(given.folder)]
    for _ in range(2):
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
