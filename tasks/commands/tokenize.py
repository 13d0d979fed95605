"""`python -m tasks tokenize`: encode a corpus once, for `data=tokens`."""

import argparse
import sys
import time
from pathlib import Path

from tasks.commands.common import OK

DESCRIPTION = """Encode texts once into a folder of tokens, which data=tokens maps into memory.

python -m tasks tokenize corpus/ -o tokens --tokenizer bpe --vocab 32000
python train.py model=gpt task=language data=tokens data.path=tokens

Whole files go to training, validation or test, as with data=text. The folder appears when it is
whole; its bytes do not depend on the number of processes."""
PAUSE = 10  # seconds between two lines of progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "input", nargs="+", metavar="FILE", help="texts, or folders that are read with all below"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="the folder to write")
    parser.add_argument(
        "--tokenizer",
        default="bpe",
        metavar="NAME",
        help="characters, bytes, words or bpe (default), trained on the training part; or a "
        "tokenizer.json, or the folder of a run",
    )
    parser.add_argument(
        "--vocab", type=int, default=4000, help="the most tokens, for words and bpe (4000)"
    )
    parser.add_argument(
        "--sample",
        type=int,
        default=0,
        metavar="N",
        help="train the tokenizer on the first N characters of the training part (0: all)",
    )
    parser.add_argument("--val", type=float, default=0.1, help="share for validation (0.1)")
    parser.add_argument("--test", type=float, default=0.1, help="share for the test (0.1)")
    parser.add_argument("--split-seed", type=int, default=0, help="of the split (0)")
    parser.add_argument(
        "--processes", type=int, default=0, help="how many encode (0: one for each core)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the folder, and print what it holds."""
    from tasks.data.tokens.write import Options, write_tokens
    from tasks.process.runtime import count_cores

    options = Options(
        tokenizer=arguments.tokenizer,
        vocab=arguments.vocab,
        sample=arguments.sample,
        val=arguments.val,
        test=arguments.test,
        seed=arguments.split_seed,
        processes=arguments.processes or count_cores(),
    )
    progress = Progress()
    paths = [Path(name).expanduser() for name in arguments.input]
    header = write_tokens(paths, arguments.output.expanduser(), options, progress)
    for note in header.notes:
        print(f"note: {note}")
    for part, found in header.parts.items():
        print(f"{part:<5} {found.tokens:>15,} tokens {found.characters:>15,} characters")
    seconds = time.monotonic() - progress.started
    print(f"{arguments.output}: {header.vocab:,} different tokens ({header.kind}), {seconds:.1f} s")
    return OK


class Progress:
    """Prints how far the encoding is, now and then."""

    def __init__(self) -> None:
        self.started = self.shown = time.monotonic()

    def __call__(self, part: str, characters: int) -> None:
        now = time.monotonic()
        if now - self.shown > PAUSE:
            self.shown = now
            print(f"{part}: {characters:,} characters are encoded", file=sys.stderr)
