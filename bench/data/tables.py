"""How long 200,000 rows of a table take to be read, and with what memory.

python -m bench.data.tables FILE.parquet       made first, if it is not there; or FILE.csv
"""

import resource
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow
from pyarrow import csv, parquet

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
    table = pyarrow.table(columns)
    if path.suffix == ".csv":
        csv.write_csv(table, path)
    else:
        parquet.write_table(table, path)


def main() -> None:
    path = Path(sys.argv[1])
    if not path.exists():
        make_table(path)
        sys.exit("made; start it again, so that the memory is that of reading")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, busy = time.perf_counter(), time.process_time()
    data = TableFile(path=str(path))
    data.read()
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows = sum(data.sizes().values())
    more = (peak - before) / 1024
    print(f"{rows:,} rows: {busy:.1f} s of CPU time, {seconds:.1f} s, {more:.0f} MB more at most")


if __name__ == "__main__":
    main()
