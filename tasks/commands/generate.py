"""`python -m tasks generate`: continue a text, token by token."""

import argparse
from collections.abc import Iterable, Iterator
from typing import Any

from tasks.commands.common import OK, add_no_cache_option, add_run_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_run_argument(parser)
    parser.add_argument("--prompt", default="", help="the beginning of the text")
    parser.add_argument("--tokens", type=int, default=400, help="the most tokens to write (400)")
    parser.add_argument(
        "--temperature", type=float, default=0.8, help="0 takes the most probable token (0.8)"
    )
    parser.add_argument("--top-k", type=int, help="sample among the K most probable tokens")
    parser.add_argument(
        "--top-p", type=float, help="sample among the most probable tokens that add up to P"
    )
    parser.add_argument(
        "--stop", action="append", default=[], help="a text of one token after which to stop"
    )
    parser.add_argument("--seed", type=int, default=0)
    add_no_cache_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the continuation of the prompt as it grows."""
    import torch

    from tasks.data.text.tokenizer import MASK, PAD, START, UNKNOWN
    from tasks.decode import search
    from tasks.decode.scorer import NextTokenScorer
    from tasks.errors import must_be_positive
    from tasks.run.load_run import open_run

    must_be_positive("tokens", arguments.tokens)
    run = open_run(arguments.run, tuple(arguments.library))
    check_language_model(run)
    tokenizer = run.tokenizer
    stop = encode_stops(tokenizer, arguments.stop)

    start = torch.tensor([[START, *tokenizer.encode(arguments.prompt)]])
    speaker = NextTokenScorer(
        run.network,
        run.facts,
        "tokens",
        window=run.facts["tokens"]["tokens"],
        cache=not arguments.no_cache,
    )
    stream = search.stream_tokens(
        speaker.score({}, start.shape[1] + arguments.tokens),
        start,
        end=None,
        limit=arguments.tokens,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
        generator=torch.Generator().manual_seed(arguments.seed),
        stop=stop,
        forbidden=(PAD, START, UNKNOWN, MASK),
    )
    print(arguments.prompt, end="", flush=True)
    for piece in decode_stream(stream, tokenizer):
        print(piece, end="", flush=True)
    print()
    return OK


def check_language_model(run: Any) -> None:
    """Raise an ArgumentError for a run that cannot continue a text."""
    from tasks.errors import ArgumentError

    if "tokens" not in run.network.input_names or "classes" in run.facts:
        raise ArgumentError(
            "run", f"{run.folder} is no language model", fits="a run of task=language"
        )
    if run.facts.get("mask"):
        raise ArgumentError(
            "run",
            f"{run.folder} fills gaps in a text and cannot continue one",
            got=f"data.mask={run.facts['mask']}",
            fits="a run with data.mask=0",
        )


def encode_stops(tokenizer: Any, texts: list[str]) -> list[int]:
    """Return the token of each stop; raise an ArgumentError for a stop of several tokens."""
    from tasks.errors import ArgumentError

    tokens = []
    for text in texts:
        ids = tokenizer.encode(text)
        if len(ids) != 1:
            raise ArgumentError(
                "stop", "a stop must be one token", got=str(texts), fits='--stop "."'
            )
        tokens.append(ids[0])
    return tokens


def decode_stream(stream: Iterable[Any], tokenizer: Any) -> Iterator[str]:
    """Yield pieces of text; a character of several tokens is yielded once it is complete."""
    pending: list[int] = []
    for token in stream:
        pending.append(int(token[0]))
        text = tokenizer.decode(pending)
        if not text.endswith("\ufffd"):
            yield text
            pending.clear()
