"""What an epoch of streamed images needs in memory, with one and with ten times the data.

python -m bench.data.stream FOLDER                  5,000 and 50,000 images of 12 kB, made first
python -m bench.data.stream FOLDER --images 500     fewer
"""

import argparse
import io
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow
from PIL import Image
from pyarrow import parquet

from tasks.data.hub.images import HubImages

SIDE, DIFFERENT, GROUP, CLASSES = 64, 500, 100, 10
TIMES = (1, 10)


def make_images(file: Path, count: int) -> None:
    """Write images of noise, which no compression makes smaller, in row groups of 100."""
    source = np.random.default_rng(0)
    contents = []
    for _ in range(DIFFERENT):
        content = io.BytesIO()
        pixels = source.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        Image.fromarray(pixels).save(content, "PNG")
        contents.append(content.getvalue())
    schema = pyarrow.schema({"image": pyarrow.binary(), "label": pyarrow.int64()})
    with parquet.ParquetWriter(file, schema, compression="none", use_dictionary=False) as writer:
        for first in range(0, count, GROUP):
            numbers = range(first, min(first + GROUP, count))
            images = [contents[number % DIFFERENT] for number in numbers]
            labels = [number % CLASSES for number in numbers]
            writer.write_table(pyarrow.table([images, labels], schema=schema), row_group_size=GROUP)


def read_epoch(file: Path) -> None:
    """Read the training images of an epoch in this process, and print what it takes."""
    data = HubImages(str(file), streaming=True, size=SIDE, crop=1, workers=0)
    data.read()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    images = sum(len(batch["label"]) for batch in data.loader("train"))
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{file.stat().st_size / 2**20:.0f} MB, {images:,} images for training: {seconds:.1f} s, "
        f"{images / seconds:,.0f} images/s, at most {peak / 1024:.0f} MB, "
        f"{(peak - before) / 1024:.0f} MB of it while reading"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m bench.data.stream",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--once", action="store_true", help="read a file in this process, and end")
    given = parser.parse_args()
    if given.once:
        read_epoch(given.folder)
        return
    given.folder.mkdir(parents=True, exist_ok=True)
    for times in TIMES:
        file = given.folder / f"train-{given.images * times}.parquet"
        if not file.exists():
            make_images(file, given.images * times)
        command = [sys.executable, "-m", "bench.data.stream", "--once", os.fspath(file)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
