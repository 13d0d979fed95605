"""Several processes test at once (`pytest -n auto`): each of them, and what it starts, computes
with one thread.
"""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = (
        "1"  # read by torch when it is imported, so here and not in a fixture
    )
