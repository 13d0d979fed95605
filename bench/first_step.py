"""`train.py` up to the first step of its training, and no further: how long it takes to start.

python -m bench.first_step [words of the command line]
"""

import os
import sys

import pytorch_lightning as pl

import train
from tasks.callbacks.step_time import StepTime


def leave(*_: object) -> None:
    sys.stdout.flush()
    os._exit(0)  # at once: what comes after the first step is not asked for


def main() -> None:
    StepTime.on_train_batch_start = leave  # type: ignore[method-assign, assignment]
    sys.argv[0] = train.__file__
    train.main()


if __name__ == "__main__":
    assert pl
    main()
