"""`train.py` up to the first step of its training, and no further: how long it takes to start.

python -m bench.start.first_step [words of the command line]
"""

import gc
import os
import sys

gc.disable()  # as train.py does before it imports

import train  # noqa: E402
from tasks.callbacks.step_time import StepTime  # noqa: E402


def leave(*_: object) -> None:
    sys.stdout.flush()
    os._exit(0)  # at once: what comes after the first step is not asked for


def main() -> None:
    StepTime.on_train_batch_start = leave  # type: ignore[method-assign, assignment]
    sys.argv[0] = train.__file__
    train.main()


if __name__ == "__main__":
    main()
