"""Generate the pages of `docs/` that are derived from the code: the catalogue, the steps from RNN to
Swin, the codes of errors, and a page for each model.

python docs/generate.py [--check]
"""

import argparse
import difflib
import sys
from pathlib import Path
from typing import Any

from blocks.catalog import catalog
from blocks.graph import build, compose, conf_folder, plan
from blocks.graph.codes import CODES
from blocks.graph.describe.catalog_pages import entries, markdown
from blocks.graph.describe.draw import draw_svg
from blocks.graph.record.record import count_parameters

DOCS = Path(__file__).parent
TEXT = {
    "tokens": {"tokens": 64, "dtype": "int", "vocab": 1000},
    "classes": 4,
    "vocab": 1000,
    "source": {"tokens": 64, "dtype": "int", "vocab": 1000},
    "target": {"tokens": 64, "dtype": "int", "vocab": 1000},
}
TABLE = {
    "numbers": {"features": 10},
    "categories": {"columns": 3, "dtype": "int", "vocab": 20},
    "targets": 1,
}
IMAGE = {"image": {"channels": 3, "height": 224, "width": 224}, "classes": 1000}
STEPS: list[tuple[str, str, dict[str, Any], str]] = [
    (
        "rnn",
        "A sequence, one step after another",
        TEXT,
        "A state is updated by one token after another. What the model knows of the first token "
        "has to survive all later updates, and a step cannot start before the previous one has "
        "ended. `recurrence/rnn_graph` is the same step written in YAML.",
    ),
    (
        "lstm",
        "Gates keep a state",
        TEXT,
        "Only the recurrence changes. Gates decide what is added to the cell and what is removed, "
        "and the gradient flows further through the additions. The steps are still serial.",
    ),
    (
        "seq2seq",
        "Attention over the source",
        TEXT,
        "The decoder is a recurrence written in YAML (`scan`) that attends to the encoder's states "
        "at every step. Attention was introduced here: the source no longer has to fit into one "
        "vector.",
    ),
    (
        "transformer_base",
        "Attention alone",
        TEXT,
        "There is no recurrence: every token attends to every token in parallel. The order of the "
        "tokens is given by positions, and residual paths and norms make depth trainable. A causal "
        "mask hides the tokens that the decoder is to predict, and cross-attention gives it the "
        "whole source.",
    ),
    (
        "gpt2",
        "The decoder alone",
        TEXT,
        "Without a source there is no cross-attention. The norm precedes each branch, and the "
        "positions are learned.",
    ),
    (
        "qwen3_600m",
        "The decoder since 2023",
        TEXT,
        "Rotary positions are inside the attention, RMSNorm has no mean, the MLP is gated, and query "
        "heads share keys and values. Queries and keys are normalised before they meet.",
    ),
    (
        "bert_base",
        "The encoder alone",
        TEXT,
        "No causal mask: a token attends to both sides. The first token represents the sequence.",
    ),
    (
        "vit_ti16",
        "A patch is a token",
        IMAGE,
        "The layers stay the same; only their input changes. An image is cut into patches, each a "
        "token, and a class token is prepended.",
    ),
    (
        "swin_t",
        "Windows, shifted, in a hierarchy",
        IMAGE,
        "The tokens stay a grid. Attention is restricted to windows, so that its cost grows "
        "linearly with the number of pixels, not quadratically. Every second layer shifts the "
        "windows, which connects them. Between stages four tokens are merged into one, as by "
        "pooling in a CNN.",
    ),
    (
        "cat_t",
        "Inside patches, then between them",
        IMAGE,
        "CAT does not shift windows. It alternates attention inside patches with attention between "
        "patches, channel by channel.",
    ),
    (
        "resnet50",
        "Convolution",
        IMAGE,
        "A kernel covers a neighbourhood and is the same everywhere; depth and stride widen the "
        "receptive field. The Transformer took its residual path from here.",
    ),
]


def without_comments(name: str) -> list[str]:
    lines = (conf_folder() / "model" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


def source_of(name: str) -> str:
    first = (conf_folder() / "model" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    return first.lstrip("# ")


def way() -> str:
    """The page `docs/from_rnn_to_swin.md`."""
    parts = [
        "# From RNN to Swin",
        "",
        "Each architecture is a file in `conf/model/`. This page shows what changes in the YAML "
        "from one to the next. `python docs/generate.py` generates it, and a test checks that it "
        "is current.",
        "",
    ]
    before = None
    for index, (name, title, facts, story) in enumerate(STEPS, 1):
        count = count_parameters(build(name, facts=facts, device="meta"))
        parts += [
            f"## {index}. {title}: `{name}`",
            "",
            f"{source_of(name)}",
            "",
            story,
            "",
            f"Parameters: {count:,}.",
            "",
        ]
        if before is None:
            parts += ["```yaml", *without_comments(name), "```", ""]
        else:
            diff = list(
                difflib.unified_diff(
                    without_comments(before), without_comments(name), before, name, lineterm="", n=1
                )
            )
            parts += ["```diff", *(line for line in diff if not line.startswith("@@")), "```", ""]
        before = name
    return "\n".join(parts).rstrip() + "\n"


DIGITS = {"image": {"channels": 1, "height": 8, "width": 8}, "classes": 10}
CANVAS = {"image": {"channels": 1, "height": 32, "width": 32}, "classes": 11}
OBJECTS = {"image": {"channels": 3, "height": 800, "width": 1066}, "classes": 91}
LARGER = {"image": {"channels": 3, "height": 256, "width": 256}, "classes": 1000}
SCENES = {"image": {"channels": 3, "height": 512, "width": 512}, "classes": 150}
LENET = {"image": {"channels": 1, "height": 28, "width": 28}, "classes": 10}
VIDEO = {"video": {"channels": 1, "frames": 8, "height": 16, "width": 16}, "classes": 10}
SIGNAL = {"signal": {"tokens": 40, "dim": 1}, "classes": 10}
SIGNALS = ("signal_cnn", "signal_gru", "signal_logistic", "signal_mlp")
QUESTION = {
    "image": {"channels": 1, "height": 16, "width": 16},
    "classes": 21,
    "question": {"tokens": 10, "dtype": "int", "vocab": 70},
}
PAIR = {
    "image": {"channels": 1, "height": 16, "width": 16},
    "text": {"tokens": 6, "dtype": "int", "vocab": 24},
    "text_mask": {"tokens": 6, "dtype": "bool"},
}
SMALL = {
    **dict.fromkeys(SIGNALS, SIGNAL),
    "answer": QUESTION,
    "cat": DIGITS,
    "clip_small": PAIR,
    "cnn": DIGITS,
    "lenet5": LENET,
    "mae": DIGITS,
    "simclr": DIGITS,
    "mlp": DIGITS,
    "swin": DIGITS,
    "unet": DIGITS,
    "segformer": CANVAS,
    "detr_r50": OBJECTS,
    "segformer_b0": SCENES,
    "swinv2_t": LARGER,
    "vit_segment": CANVAS,
    "vae": DIGITS,
    "vit": DIGITS,
    "vivit": VIDEO,
    "table_mlp": TABLE,
    "ft_transformer": TABLE,
}


def models() -> dict[Path, str]:
    """A page and a picture for each model, and the table of all."""
    found: dict[Path, str] = {}
    table = [
        "# Models",
        "",
        "Every file of `conf/model/`, drawn by `python docs/generate.py`. The same as a page "
        "that folds and unfolds: "
        "`python -m blocks draw model=NAME`.",
        "",
        "| model | parameters | source |",
        "|---|---:|---|",
    ]
    for name in sorted(file.stem for file in (conf_folder() / "model").glob("*.yaml")):
        planned = plan(compose([f"model={name}"]), SMALL.get(name, {**TEXT, **IMAGE}))
        count = f"{count_parameters(planned.model):,}"
        found[DOCS / "pictures" / f"{name}.svg"] = draw_svg(planned, name)
        found[DOCS / "models" / f"{name}.md"] = model_page(name, count)
        table.append(f"| [{name}]({name}.md) | {count} | {source_of(name)} |")
    found[DOCS / "models" / "README.md"] = "\n".join(table) + "\n"
    return found


def model_page(name: str, count: str) -> str:
    """The page `docs/models/NAME.md`."""
    parts = [
        f"# {name}",
        "",
        source_of(name),
        "",
        f"Parameters: {count}, for the data of the picture.",
        "",
        f"![the graph of {name}](../pictures/{name}.svg)",
        "",
        "```yaml",
        *without_comments(name),
        "```",
    ]
    return "\n".join(parts).rstrip() + "\n"


def answers() -> str:
    """The page about answers, with the table of codes."""
    text = (DOCS / "answers.md").read_text(encoding="utf-8")
    before, start, rest = text.partition("<!-- codes: python docs/generate.py -->\n")
    _, end, after = rest.partition("<!-- end -->\n")
    rows = ["| code | meaning |", "|---|---|"]
    rows += [f"| `{code}` | {meaning} |" for code, meaning in CODES.items()]
    return "".join([before, start, "\n", *(f"{row}\n" for row in rows), "\n", end, after])


def pages() -> dict[Path, str]:
    """Return the text of every generated page."""
    return {
        **models(),
        DOCS / "catalog.md": markdown(entries(catalog(), conf_folder() / "model")),
        DOCS / "from_rnn_to_swin.md": way(),
        DOCS / "answers.md": answers(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; exit with 1 where a page is not current",
    )
    check = parser.parse_args().check
    wanted = pages()
    stale = [
        path
        for path, text in wanted.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        print(
            f"{path.relative_to(DOCS.parent)} "
            f"{'is not current: run python docs/generate.py' if check else 'written'}"
        )
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
