"""What is wrong with a block: its arguments, its inputs, or what it raises."""

import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from blocks.errors import BlockError, must_divide
from blocks.graph.errors import Origin, Problem, show
from blocks.graph.language.scope import Text
from blocks.graph.language.signature import ArgumentSpec, Port, Signature
from blocks.graph.language.types import describe_type
from blocks.graph.language.words import suggest_words
from blocks.graph.record.record import MakeBody, Recipe
from blocks.graph.record.value import Value, show_size

LONGEST = 100  # characters of a message
DIVISIBLE = re.compile(r"(\w+)(?: \(\d+\))? must be divisible by (\w+)(?: \(\d+\))?")  # of torch
Wired = Sequence[tuple[Port, Value]]


def unknown_argument(signature: Signature, word: str, text: Text) -> Problem:
    return Problem(
        f"{signature.name} has no argument {word!r}",
        got=f"{word}: {show(text.raw)}",
        source=str(text.origin),
        fits=suggest_words(word, signature.parameters),
        fix=_choose_another(text),
        code="unknown-argument",
    )


def _choose_another(text: Text) -> str | None:
    """What to write where the argument comes from the option of another slot: rotary positions for
    a block that has none.
    """
    file = Path(text.origin.file or "")
    slot = file.parent.name
    if file.parent.parent.name != "model" or text.path[:2] == ("model", slot):
        return None
    none = file.with_name("none.yaml")
    choice = "none" if none.is_file() else "OPTION"
    return f"model/{slot}={choice}: model/{slot}={file.stem} does not fit this block"


def missing_argument(
    signature: Signature, parameter: ArgumentSpec, values: Sequence[Value]
) -> Problem:
    if parameter.word in signature.infer:
        given = ", ".join(map(str, values)) or "nothing"
        return Problem(
            f"{signature.name}: {parameter.word} cannot be inferred",
            got=f"inputs {given}",
            fix=f"write {parameter.word}: ...",
            code="missing-argument",
        )
    return Problem(
        f"{signature.name} needs {parameter.word}",
        fits=f"{parameter.word}: {describe_type(parameter.annotation)}",
        code="missing-argument",
    )


def contradicting_argument(
    signature: Signature, word: str, value: Any, inferred: int, text: Text, values: Sequence[Value]
) -> Problem:
    """A written width that differs from the one that flows in."""
    made_by = _show_sources(values)
    return Problem(
        f"{signature.name}: {word} is {inferred} in what flows in, and {value} is written",
        got=f"{word}={value!r}",
        source=f"{text.origin}\nthe input comes from {made_by}",
        fits=f"{word}={inferred}",
        fix=f"leave {word} out: it is inferred",
        code="shape-mismatch",
    )


def refused_by_block(
    signature: Signature,
    error: BlockError,
    texts: Mapping[str, Text],
    arguments: Mapping[str, Any],
    known: Mapping[str, Any],
    wired: Wired,
) -> Problem:
    """A BlockError, with the origin of each argument that it mentions."""
    mentioned = re.findall(r"(\w+)=", error.got or "")
    values = [value for _, value in wired]
    known = {**known, **signature.infer}
    return Problem(
        f"{signature.name}: {name_batch(error.problem)}",
        got=name_batch(error.got),
        fits=name_batch(error.fits),
        fix=name_batch(error.fix),
        source=_sources(mentioned, texts, arguments, known, values),
        code=error.code,
    )


def _sources(
    names: list[str],
    texts: Mapping[str, Text],
    arguments: Mapping[str, Any],
    known: Mapping[str, Any],
    values: Sequence[Value],
) -> str | None:
    """Where each argument came from: file, command line, an input, or the block's own default."""
    lines = []
    for name in dict.fromkeys(names or list(texts)):
        if name in texts:
            lines += _written(name, texts[name])
        elif name in known:
            lines.append(f"{name}  inferred from {_show_sources(values)}")
        elif name in arguments or name.isidentifier():
            lines.append(f"{name}  the block's default")
    return "\n".join(lines) or None


def _written(name: str, text: Text) -> list[str]:
    line = f"{name}  {text.origin}"
    if isinstance(text.raw, str):
        line += f"  ({text.raw})"
    return [line, *(f"  {each}" for each in dict.fromkeys(text.scope.trace))]


def _show_sources(values: Sequence[Value]) -> str:
    return ", ".join(f"{value.made_by} {value}" for value in values)


def read_divisor(
    signature: Signature, error: Exception, arguments: Mapping[str, Any]
) -> BlockError | None:
    """Return what a layer of torch says of numbers that do not divide, in the words of YAML; None
    for another error.
    """
    found = DIVISIBLE.fullmatch(str(error).strip())
    if found is None:
        return None
    words = {each.name: word for word, each in signature.parameters.items()}
    whole, part = (words.get(name, name) for name in found.groups())
    if not all(isinstance(arguments.get(word), int) for word in (whole, part)):
        return None
    try:
        must_divide(part, arguments[part], whole, arguments[whole])
    except BlockError as better:
        return better
    return None


def failed_block(
    signature: Signature,
    error: Exception,
    texts: Mapping[str, Text],
    arguments: Mapping[str, Any],
    wired: Wired,
) -> Problem:
    """Any other exception of a constructor or a forward."""
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    message = f"{signature.name} fails: {name_batch(first_line)}"
    if len(message) > LONGEST:
        message = f"{message[: LONGEST - 3]}..."
    parts = [", ".join(f"{port.name} {value}" for port, value in wired) or "no input"]
    written = []
    for word, value in arguments.items():
        if not isinstance(value, Recipe):
            written.append(f"{word}={value!r}")
        elif isinstance(value.factory, MakeBody):
            count = len(value.factory.graph.output_names)
            written.append(f"{word} with {count} output{'s' * (count > 1)}")
    if written:
        parts.append(", ".join(written))
    got, source = "; ".join(parts)[:90], _sources(list(texts), texts, arguments, {}, [])
    line = _line_of(signature.factory, error)
    if line:
        fix = f"look at {line}; DOUGONG_DEBUG=1 shows the traceback"
        return Problem(message, got=got, source=source, fix=fix, code="block-failed")
    return Problem(
        message, got=got, source=source, fits=_usage(signature)[:90] or None, code="block-failed"
    )


def _usage(signature: Signature) -> str:
    words = []
    for word, parameter in signature.parameters.items():
        words.append(f"{word}: {describe_type(parameter.annotation)}")
    return ", ".join(words)


def name_batch(message: str | None) -> str | None:
    """A message with "batch" in place of the number that stands for it."""
    if not message:
        return message
    for size in sorted({int(n) for n in re.findall(r"\d{4,}", message)}, reverse=True):
        message = message.replace(str(size), show_size(size))
    return message


def _line_of(factory: Any, error: BaseException) -> str | None:
    """File and line of the user's own code that raised; None for a layer of torch."""
    if factory.__module__.startswith("torch."):
        return None
    file, line, trace = inspect.getsourcefile(factory), None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    if not line or not file:
        return None
    return str(Origin(file, line, 1))
