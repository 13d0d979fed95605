"""How long 200,000 rows of a Parquet file take to be read, and with what memory.

python -m bench.data.parquet FILE.parquet       made first, if it is not there
"""

import resource
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow
from pyarrow import parquet

from tasks.data.features.table import TableFile

ROWS, NUMBERS, CATEGORIES = 200_000, 8, 2


def make_table(path: Path) -> None:
    """Write random numbers and categories, and a target."""
    source = np.random.default_rng(0)
    columns: dict[str, np.ndarray] = {}
    for number in range(NUMBERS):
        columns[f"number{number}"] = source.normal(size=ROWS)
    for number in range(CATEGORIES):
        columns[f"category{number}"] = source.choice(["red", "green", "blue"], ROWS)
    columns["target"] = source.normal(size=ROWS)
    parquet.write_table(pyarrow.table(columns), path)


def main() -> None:
    path = Path(sys.argv[1])
    if not path.exists():
        make_table(path)
        sys.exit("made; start it again, so that the memory is that of reading")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    data = TableFile(path=str(path))
    data.read()
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows = sum(data.sizes().values())
    print(f"{rows:,} rows: {seconds:.1f} s, {(peak - before) / 1024:.0f} MB more at most")


if __name__ == "__main__":
    main()
