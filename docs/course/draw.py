"""Draw the pictures of the lessons, and compute the numbers of the interactive parts, with the
project's own blocks.

python docs/course/draw.py                         what needs no training
python docs/course/draw.py --rnn RUN --gpt RUN     gradients through time (lesson 1)
python docs/course/draw.py --vit RUN --cnn RUN     what trained networks look at (lessons 4 and 6)

The other options name a run of the lesson whose picture needs one.
"""

import argparse
from collections.abc import Callable

import matplotlib.pyplot as plt
from drawing import learning, meeting, seeing, sequences, touching
from drawing.canvas import write_numbers

RUNS = {  # option -> what the run is
    "rnn": "lesson 1: model=rnn_language data.lag=20",
    "gpt": "lesson 1: model=gpt data.lag=20",
    "vit": "lesson 4",
    "cnn": "lesson 6: model=cnn",
    "tanh": "lesson 8: model/pool=average model/activation=tanh",
    "relu": "lesson 8: model/pool=average model/activation=relu",
    "table": "lesson 9: data.kind=reverse model/position=learned",
    "cat": "lesson 11: model=cat",
    "answer": "lesson 11: model.params.depth=1",
    "decoder": "lesson 12: model.params.depth=1",
    "mae": "lesson 14: trainer.max_epochs=60",
    "plain": "lesson 15: model/recurrence=rnn",
    "gated": "lesson 15: model/recurrence=min_gru",
}


def draw_untrained() -> None:
    """Draw and compute what needs no run."""
    write_numbers("windows", seeing.describe_windows())
    write_numbers("fields", seeing.describe_fields())
    write_numbers("positions", sequences.describe_positions())
    seeing.draw_regions()
    seeing.draw_reach()
    seeing.draw_masks()
    learning.draw_backprop()
    learning.draw_depth()
    meeting.draw_modern()
    sequences.print_order()


def draw_runs(runs: dict[str, str]) -> None:
    """Draw what the named runs allow."""
    for wanted, draw in PICTURES.items():
        if all(name in runs for name in wanted):
            draw(*(runs[name] for name in wanted))


def draw_answer(folder: str) -> None:
    """The picture of lesson 11, and the answers of the interactive part of lesson 8."""
    meeting.draw_question(folder)
    write_numbers("softmax", touching.describe_softmax(folder))


def draw_decoder(folder: str) -> None:
    """The picture of lesson 12 and its interactive part."""
    sequences.draw_decoder(folder)
    write_numbers("mask", touching.describe_mask(folder))


PICTURES: dict[tuple[str, ...], Callable[..., None]] = {
    ("rnn", "gpt"): lambda rnn, gpt: seeing.draw_gradients({"RNN": rnn, "Transformer": gpt}),
    ("vit",): seeing.draw_vit,
    ("cnn",): seeing.draw_cnn,
    ("tanh", "relu"): lambda tanh, relu: learning.draw_functions({"tanh": tanh, "ReLU": relu}),
    ("table",): sequences.draw_positions,
    ("cat",): meeting.draw_cat,
    ("answer",): draw_answer,
    ("decoder",): draw_decoder,
    ("mae",): meeting.draw_hidden,
    ("plain", "gated"): lambda rnn, gru: sequences.draw_recurrences({"RNN": rnn, "MinGRU": gru}),
}


def main() -> None:
    """Draw what needs no training, or what the named runs allow."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, meaning in RUNS.items():
        parser.add_argument(f"--{name}", metavar="RUN", help=meaning)
    given = parser.parse_args()
    runs = {name: folder for name, folder in vars(given).items() if folder}
    plt.switch_backend("svg")
    if runs:
        draw_runs(runs)
    else:
        draw_untrained()


if __name__ == "__main__":
    main()
