"""How long a folder of many images takes to be read, the first time and with its index.

python -m bench.data.images FOLDER                 make 1,000,000 images of a pixel, and read them
python -m bench.data.images FOLDER --files 10000   fewer
"""

import argparse
import io
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image

from tasks.data.images.image_folder import Images

SECONDS = 3  # until a new folder counts as settled


def make_images(folder: Path, files: int, classes: int) -> None:
    """Write PNG files of one pixel, the same number for each class."""
    content = io.BytesIO()
    Image.new("L", (1, 1)).save(content, "PNG")
    for number in range(classes):
        place = folder / f"class{number:04}"
        place.mkdir(parents=True)
        for image in range(files // classes):
            (place / f"{image:07}.png").write_bytes(content.getvalue())
    time.sleep(SECONDS)


def read_images(folder: Path) -> None:
    """Read the folder in this process, and print what it takes."""
    started, before = time.perf_counter(), time.process_time()
    data = Images(str(folder))
    data.read()
    seconds = time.perf_counter() - started
    own = time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{seconds:.2f} s, {own:.2f} s of CPU time, at most {peak:.0f} MB: {data.notes[0]}")


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m bench.data.images",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--once", action="store_true", help="read in this process, and end")
    given = parser.parse_args()
    if given.once:
        read_images(given.folder)
        return
    if not given.folder.exists():
        make_images(given.folder, given.files, given.classes)
    command = [sys.executable, "-m", "bench.data.images", "--once", os.fspath(given.folder)]
    for _ in range(3):
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
