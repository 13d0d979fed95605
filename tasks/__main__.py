"""Questions about a finished run.

python -m tasks generate RUN --prompt "The "              go on writing
python -m tasks translate RUN "Monday, November 23, 2026" say it in the other language
python -m tasks predict RUN INPUT ...                     name the classes of images, arrays,
signals or texts
python -m tasks predict RUN IMAGE --question "..."        answer a question about an image
python -m tasks evaluate RUN [KEY=VALUE ...]              judge it again, on the same data or on
others
python -m tasks export RUN --to onnx                      for other programs: onnx, pt2,
safetensors, hub
python -m tasks schema                                    JSON Schema of conf/ for editors
"""

import os
import sys

if sys.path and sys.path[0] in ("", os.getcwd()):
    # `python -m` looks into the folder where the user stands before all others: a yaml.py or
    # hydra_plugins/ of a stranger's folder would run. The project is found where it is; blocks of
    # the user's own are named by `library`.
    sys.path.pop(0)
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.path.extend([] if root in sys.path else [root])

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

FINE, CRASH, MISTAKE, INTERRUPTED = 0, 1, 2, 130


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m tasks", description="Use a finished run.")
    made.set_defaults(library=[], trust=[])
    shared = argparse.ArgumentParser(add_help=False)  # before a command and behind it
    for place in (made, shared):
        add_own_code(place)
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")

    generate = commands.add_parser(
        "generate",
        parents=[shared],
        help="go on writing where a text stops, as a language model does",
    )
    generate.add_argument("run", type=Path, help="the run folder")
    generate.add_argument("--prompt", default="", help="the beginning")
    generate.add_argument("--tokens", type=int, default=400, help="how many to write at most (400)")
    generate.add_argument(
        "--temperature", type=float, default=0.8, help="0 takes the likeliest (0.8)"
    )
    generate.add_argument("--top-k", type=int, help="among so many of the likeliest")
    generate.add_argument("--top-p", type=float, help="among the likeliest that make up this share")
    generate.add_argument(
        "--stop", action="append", default=[], help="a text of one token after which to stop"
    )
    generate.add_argument("--seed", type=int, default=0)
    generate.add_argument(
        "--no-cache", action="store_true", help="ask the whole network for every token"
    )

    translate = commands.add_parser(
        "translate", parents=[shared], help="translate texts: arguments, or lines of standard input"
    )
    translate.add_argument("run", type=Path, help="the run folder")
    translate.add_argument("text", nargs="*", help="texts; none reads lines of standard input")
    translate.add_argument("--beams", type=int, default=1, help="width of the beam (1: greedy)")
    translate.add_argument("--length-penalty", type=float, default=0.6)
    translate.add_argument(
        "--no-cache", action="store_true", help="ask the whole network for every token"
    )

    predict = commands.add_parser(
        "predict",
        parents=[shared],
        help="name the class of images, arrays or texts",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="One row for each item: its likeliest class and how probable it is.\n"
        "A bad item is told, keeps its row, and does not stop the rest.",
    )
    predict.add_argument("run", type=Path, help="the run folder, of task=classify or task=answer")
    predict.add_argument(
        "input",
        nargs="*",
        help="files, FOLDER/, FILE.npz:ARRAY, texts; - or none: lines of standard input",
    )
    predict.add_argument(
        "--question", help="what is asked about each image, for a run of task=answer"
    )
    predict.add_argument(
        "--text",
        metavar="COLUMN",
        help="of a table, by name or number from 1; else that of training",
    )
    predict.add_argument(
        "--header",
        choices=("auto", "true", "false"),
        default="auto",
        help="whether tables have a header (auto)",
    )
    predict.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="write there, not to standard output"
    )
    predict.add_argument(
        "--json", action="store_true", help="one JSON object a line, instead of CSV"
    )
    predict.add_argument(
        "--top", type=int, default=1, metavar="K", help="the K likeliest classes of each (1)"
    )
    predict.add_argument(
        "--batch-size", type=int, default=64, metavar="N", help="items at a time (64)"
    )

    evaluate = commands.add_parser(
        "evaluate",
        parents=[shared],
        help="judge a run again on the test part of its data, or of others",
    )
    evaluate.add_argument("run", type=Path, help="the run folder")
    evaluate.add_argument(
        "data", nargs="*", metavar="KEY=VALUE", help="what differs in the section data: path=FILE"
    )

    schema = commands.add_parser(
        "schema", parents=[shared], help="JSON Schema for editors, of conf/ outside the models"
    )
    schema.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("docs/schema"),
        help="where to write (docs/schema)",
    )

    export = commands.add_parser(
        "export", parents=[shared], help="write it for other programs, compared with the run"
    )
    export.add_argument("run", type=Path, help="the run folder")
    kinds = (
        "onnx: onnxruntime and its kin; pt2: torch.export; safetensors: weights alone; hub: "
        "a folder as on the Hub"
    )
    export.add_argument(
        "--to", required=True, choices=("onnx", "pt2", "safetensors", "hub"), help=kinds
    )
    export.add_argument(
        "-o", "--out", type=Path, help="the file, or folder; otherwise in the run folder"
    )
    return made


def add_own_code(parser: argparse.ArgumentParser) -> None:
    """The options that let code of the user's own run."""
    parser.add_argument(
        "--library",
        action="append",
        default=argparse.SUPPRESS,
        help="a folder or package with blocks of your own",
    )
    parser.add_argument(
        "--trust",
        action="append",
        default=argparse.SUPPRESS,
        help="a class of your own that a run names by _target_",
    )


def parsed() -> argparse.Namespace:
    """The arguments; texts and files may stand before options and behind them, which argparse alone
    does not take.
    """
    if len(sys.argv) == 1:
        print(__doc__)
        sys.exit(MISTAKE)
    made = parser()
    arguments, rest = made.parse_known_args()
    several = next((name for name in ("input", "text", "data") if hasattr(arguments, name)), None)
    if rest and (several is None or any(word.startswith("-") and word != "-" for word in rest)):
        made.error(f"unrecognized arguments: {' '.join(rest)}")
    if several and rest:
        getattr(arguments, several).extend(rest)
    return arguments


def main() -> int:
    """Answer; 0 if all is well, 1 where some item was bad, 2 for a mistake on the command line, 130
    after Ctrl-C.
    """
    from blocks.graph import ConfigError
    from blocks.support.streams import spare_streams
    from tasks.config import secrets
    from tasks.errors import ArgumentError, SampleError

    spare_streams()
    arguments = parsed()
    try:
        return COMMANDS[arguments.command](arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    except ConfigError as error:
        print(secrets.hide_in_message(str(error)), file=sys.stderr)
        return MISTAKE
    except (ArgumentError, OSError) as error:
        print("\n".join(secrets.hide_in_message(str(error)).split("; ")), file=sys.stderr)
        return MISTAKE
    except SampleError as error:
        print(secrets.hide_in_message(str(error)), file=sys.stderr)
        return CRASH


def generate(arguments: argparse.Namespace) -> int:
    """Write on, token by token, as they come."""
    import torch

    from tasks.data.text.tokenizer import MASK, PAD, START, UNKNOWN
    from tasks.decode import search
    from tasks.decode.scorer import Speaker
    from tasks.errors import ArgumentError, must_be_positive
    from tasks.run.load_run import open_run

    must_be_positive("tokens", arguments.tokens)
    run = open_run(arguments.run, tuple(arguments.library))
    if "tokens" not in run.network.input_names or "classes" in run.facts:
        raise ArgumentError(
            "run", f"{arguments.run} is no language model", fits="a run of task=language"
        )
    if run.facts.get("mask"):
        problem = f"{arguments.run} fills gaps in a text, and cannot go on writing"
        raise ArgumentError(
            "run", problem, got=f"data.mask={run.facts['mask']}", fits="a run with data.mask=0"
        )
    tokenizer, window = run.tokenizer, run.facts["tokens"]["tokens"]
    stop = [tokenizer.encode(text) for text in arguments.stop]
    if any(len(ids) != 1 for ids in stop):
        raise ArgumentError(
            "stop", "a stop must be one token", got=str(arguments.stop), fits='--stop "."'
        )

    start = torch.tensor([[START, *tokenizer.encode(arguments.prompt)]])
    speaker = Speaker(run.network, run.facts, "tokens", window=window, cache=not arguments.no_cache)
    stream = search.stream(
        speaker.score({}, start.shape[1] + arguments.tokens),
        start,
        end=None,
        limit=arguments.tokens,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
        generator=torch.Generator().manual_seed(arguments.seed),
        stop=[ids[0] for ids in stop],
        forbidden=(PAD, START, UNKNOWN, MASK),
    )
    print(arguments.prompt, end="", flush=True)
    for piece in written(stream, tokenizer):
        print(piece, end="", flush=True)
    print()
    return FINE


def written(stream: Iterable[Any], tokenizer: Any) -> Iterator[str]:
    """The text as it grows. A character of several tokens is held back until it is whole."""
    held: list[int] = []
    for token in stream:
        held.append(int(token[0]))
        text = tokenizer.decode(held)
        if not text.endswith("\ufffd"):
            yield text
            held.clear()


def translate(arguments: argparse.Namespace) -> int:
    """One line for each text; a bad one is told and does not stop the rest."""
    import torch

    from tasks.decode import translate_lines
    from tasks.errors import ArgumentError
    from tasks.learn.translate import Translate
    from tasks.run.load_run import open_run

    run = open_run(arguments.run, tuple(arguments.library))
    if "source" not in run.network.input_names:
        raise ArgumentError(
            "run", f"{arguments.run} does not translate", fits="a run of task=translate"
        )
    options: dict[str, Any] = {
        "optimizer": torch.optim.SGD,
        "facts": run.facts,
        "cache": not arguments.no_cache,
    }
    task = Translate(
        run.network, beams=arguments.beams, length_penalty=arguments.length_penalty, **options
    ).eval()
    bad = 0
    for texts in [arguments.text] if arguments.text else translate_lines.ready(sys.stdin):
        questions = [
            translate_lines.Question.of(text, run.tokenizer, run.facts["source"]["tokens"])
            for text in texts
        ]
        said = translate_lines.answers(task, run.tokenizer, questions)
        for question, answer in zip(questions, said, strict=True):
            if question.bad:
                bad += 1
                print(question.bad, file=sys.stderr)
            print(answer, flush=True)  # an empty line for none: answers stay beside their questions
    return CRASH if bad else FINE


def predict(arguments: argparse.Namespace) -> int:
    """The classes of new input."""
    from tasks.commands import predict

    return predict.predict(arguments)


def evaluate(arguments: argparse.Namespace) -> int:
    """The metrics of the test part, as train.py prints them."""
    import logging

    from blocks.graph import parse_changes
    from tasks.run.load_run import open_run
    from tasks.run.train import judge

    changes = parse_changes(arguments.data, "data")
    run = open_run(arguments.run, tuple(arguments.library), tuple(arguments.trust))
    logging.getLogger("pytorch_lightning").setLevel(
        logging.ERROR
    )  # what it says of GPUs and of itself
    for name, value in judge(run, changes).items():
        print(f"{name.replace('/', ' ')} {value:.4f}")
    return FINE


def export(arguments: argparse.Namespace) -> int:
    """Write the run, and say how close what was written is."""
    from blocks.graph import ConfigError
    from tasks.export import KINDS, made_inputs, needs, real_inputs
    from tasks.export import export as write
    from tasks.run.load_run import open_run

    needs(arguments.to)
    run = open_run(arguments.run, tuple(arguments.library), tuple(arguments.trust))
    place = arguments.out or arguments.run / KINDS[arguments.to].name
    try:
        batch, source = real_inputs(run), "test samples of the run"
    except ConfigError as error:
        print(
            f"the data of the run cannot be read, so made ones are compared\n{error}",
            file=sys.stderr,
        )
        batch, source = made_inputs(run), "made inputs"
    parity = write(run, arguments.to, place, batch, source)
    print(f"{place}\n{parity}")
    return FINE


def schema(arguments: argparse.Namespace) -> int:
    """Write a file for each section, as `python -m blocks schema` does for models."""
    from blocks.graph.describe.schema import text
    from tasks.config.schema import schemas

    arguments.output.mkdir(parents=True, exist_ok=True)
    for name, content in schemas().items():
        (arguments.output / name).write_text(text(content), encoding="utf-8")
        print(arguments.output / name)
    return FINE


COMMANDS = {
    "generate": generate,
    "translate": translate,
    "predict": predict,
    "evaluate": evaluate,
    "export": export,
    "schema": schema,
}

if __name__ == "__main__":
    sys.exit(main())
