"""Hostile files that would never end or take all memory: patterns, expressions, names, sweeps,
numbers, no files.
"""

import gzip
import os
import socket
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tests.trust.case import Case
from tests.trust.corpus_yaml import LINES, model, of

STARS = {
    "stars": "*" * 25 + "#",
    "stars and letters": "*a" * 100 + "#",
    "pieces": "{a*}{b*}{c*}{d*}{e*}#",
    "pieces twice": "{a*}{b*}{c*}{d*}{a*}{b*}{c*}{d*}",
    "classes": "[a-z]*" * 60 + "#",
    "questions": "*?" * 100 + "#",
    "a regular expression": "(a+)+$",
    "a long pattern": "*" * 9000,
}


def patterns() -> Iterator[Case]:
    """Patterns where a search that goes back takes for ever."""
    for number, (name, pattern) in enumerate(STARS.items()):
        yield model(
            "patterns",
            f"{name}, initialise",
            f"{LINES}initialise: {{'{pattern}': zeros}}\n",
            number,
        )
    for name, pattern in STARS.items():
        load = [
            "blocks",
            "load",
            "model=mlp",
            "data=digits",
            "--weights",
            "@CONF@/a.pt",
            "--map",
            "@CONF@/m.yaml",
        ]
        files = {"conf/a.pt": weights, "conf/m.yaml": f"map: {{'{pattern}': '{pattern}'}}\n"}
        yield Case("patterns", f"{name}, a map", load, files)
    for key in ("freeze: [%s]", "learning_rate: {%s: 1}"):
        for name in ("pieces twice", "stars"):
            text = key % f"'{STARS[name]}'"
            yield of(
                "patterns", f"{name}, weights.{key.partition(':')[0]}", f"weights: {{{text}}}\n"
            )


def weights(path: Path) -> None:
    """Tensors with long names that fit no model."""
    import torch

    torch.save({"a" * 200 + str(number): torch.zeros(2) for number in range(50)}, path)


def chain(text: Callable[[str], str], count: int = 40) -> str:
    """Params each of which refers to the one before it."""
    lines = [f"p{number}: '{text(f'p{number - 1}')}'" for number in range(1, count + 1)]
    return (
        f"params: {{p0: 2, "
        f"{', '.join(lines)}}}\n{LINES.replace('features: 5', f'features: p{count}')}"
    )


DOUBLED: dict[str, Callable[[str], str]] = {
    "tuples": lambda p: f"[{p}, {p}]",
    "tuples of tuples": lambda p: f"[[{p}, {p}], [{p}, {p}]]",
    "sums": lambda p: f"{p} + {p}",
    "products": lambda p: f"{p} * {p}",
    "powers": lambda p: f"{p} ** {p}",
    "conditions": lambda p: f"{p} if {p} else {p}",
    "comparisons": lambda p: f"{p} == {p}",
    "membership": lambda p: f"{p} in [{p}, {p}]",
    "minima": lambda p: f"min({p}, {p})",
    "slices": lambda p: f"[{p}, {p}][0:2]",
}
HUGE = {
    "round": "round(5, -999999999)",
    "round of a float": "round(5.5, 999999999)",
    "a shift": "1 << 999999999",
    "a power of a negative": "(-9) ** 9 ** 9",
    "a power of a float": "9.9 ** 9999999",
    "a repeated list": "len([1] * 999999999)",
    "a modulus": "10 ** 18 % 0",
    "a digit string": "9" * 490,
    "infinity": "1e999",
    "an infinite width": "round(1e999)",
    "a length of nothing": "len(5)",
    "a factor of a text": "'x' * 99999999",
}


def expressions() -> Iterator[Case]:
    """Expressions that double, and single ones with a huge value."""
    for number, (name, text) in enumerate(DOUBLED.items()):
        yield model("expressions", f"doubled {name}", chain(text), number)
    yield model("expressions", "a chain of three thousand", chain(lambda p: f"{p} + 1", 3000))
    lists = (
        "params: {p0: 1, " + ", ".join(f"p{n}: [p{n - 1}, p{n - 1}]" for n in range(1, 41)) + "}\n"
    )
    yield model(
        "expressions",
        "doubled lists of YAML",
        lists + LINES.replace("features: 5", "features: len(p40)"),
    )
    for number, (name, text) in enumerate(HUGE.items()):
        quoted = text.replace("'", "''")
        yield model(
            "expressions", name, LINES.replace("features: 5", f"features: '{quoted}'"), number
        )
    for place in (
        "inputs: {x: {tokens: 7, dim: 'round(5, -999999999)'}}\ngraph: {a: {block: ReLU}}\n",
        LINES + "  b: {block: ReLU, repeat: 'round(5, -999999999)'}\n",
        LINES + "expect: {parameters: 'round(5, -999999999)'}\n",
        LINES + "expect: {parameters: 35, when: 'round(5, -999999999) == 0'}\n",
    ):
        yield model("expressions", f"round in {place[-60:].strip()}", place)
    load = [
        "blocks",
        "load",
        "model=mlp",
        "data=digits",
        "--weights",
        "@CONF@/a.pt",
        "--map",
        "@CONF@/m.yaml",
    ]
    for text in (
        "{i}.{round(5, -999999999)}",
        "theirs[round(5, -999999999):]",
        "x[0:9999999999999999999]",
    ):
        files = {"conf/a.pt": weights, "conf/m.yaml": f"map: {{'{{name*}}': '{text}'}}\n"}
        yield Case("expressions", f"{text} in a map", load, files)


def numbers() -> Iterator[Case]:
    """Numbers of a thousand digits, and sizes that no machine has."""
    digits = "9" * 4000
    for number, (name, text) in enumerate(
        {
            "a width": LINES.replace("features: 5", f"features: {digits}"),
            "an input": LINES.replace("dim: 6", f"dim: {digits}"),
            "tokens": LINES.replace("tokens: 7", f"tokens: {2**62}"),
            "a negative input": LINES.replace("dim: 6", "dim: -6"),
            "a param": f"params: {{p: {digits}}}\n"
            + LINES.replace("features: 5", "features: p * p"),
            "repeats": LINES + f"  b: {{block: ReLU, repeat: {digits}}}\n",
            "a state": LINES
            + f"  b: {{scan: {{state: {{h: {digits}}}}}, body: {{c: {{block: ReLU}}}}}}\n",
            "an infinity": LINES.replace("features: 5", "features: .inf"),
            "no number": LINES.replace("features: 5", "features: .nan"),
        }.items()
    ):
        yield model("numbers", name, text, number)
    for text in (
        "seed: %s",
        "data: {batch_size: %s}",
        "trainer: {max_epochs: %s}",
        "trainer: {devices: %s}",
    ):
        yield of(
            "numbers", f"{text.partition(':')[0]}{len(text)} of 4,000 digits", text % digits + "\n"
        )


SPELLINGS = {
    "full-width self": "\uff53\uff45\uff4c\uff46",
    "a long s": "\u017felf",
    "debug": "__debug__",
    "class": "__class__",
    "a full-width keyword": "\uff43\uff4c\uff41\uff53\uff53",
    "a ligature": "\ufb01nal",
    "a dunder in full width": "\uff3f\uff3finit\uff3f\uff3f",
    "a letter without end": "a" * 9000,
}


def spellings() -> Iterator[Case]:
    """Names that Python reads as other names."""
    for number, (name, word) in enumerate(SPELLINGS.items()):
        text = (
            f'inputs: {{"{word}": {{tokens: 7, dim: 6}}}}\ngraph:\n  head: {{block: Linear, '
            f"features: 5}}\n"
        )
        harmless = name in ("a ligature", "a letter without end")
        yield model("spellings", f"{name}, an input", text, number, refused=not harmless)
    twice = "inputs: {self_x: {tokens: 7, dim: 6}, \uff53elf_x: {tokens: 7, dim: 6}}\n"
    graph = "graph:\n  head: {block: Add, in: [self_x, \uff53elf_x]}\n"
    yield model("spellings", "two inputs of one name", twice + graph)


SWEPT = {
    "a range": "seed: 'range(1000000000)'",
    "a shuffled range": "seed: 'shuffle(range(1000000000))'",
    "a fine range": "optimizer.lr: 'range(0,1,1e-30)'",
    "a range without a step": "seed: 'range(0,9,0)'",
    "a range to infinity": "optimizer.lr: 'range(0,inf)'",
    "a range of huge numbers": f"seed: 'range({'9' * 300})'",
    "products": ", ".join(f"data.k{n}: '{','.join(map(str, range(20)))}'" for n in range(9)),
    "files": ", ".join(
        f"model/{slot}: 'glob(*)'" for slot in ("attention", "mlp", "norm", "position", "residual")
    ),
    "a long list": f"seed: '{'1,' * 90_000}1'",
    "deep brackets": f"seed: '{'[' * 4000}'",
    "deep calls": f"seed: '{'sort(' * 2000}1{')' * 2000}'",
}


def sweeps() -> Iterator[Case]:
    """Sweeps of more runs than anybody waits for."""
    for name, text in SWEPT.items():
        text = f"hydra: {{sweeper: {{params: {{{text}}}}}}}\n"
        yield of("sweeps", name, text, sweep=True)
        command = ["blocks", "check", "--config-dir", "@CONF@", "experiment=evil"]
        yield Case(
            "sweeps",
            f"{name}, check",
            command,
            {"conf/experiment/evil.yaml": f"# @package _global_\n{text}"},
        )


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def socket_(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as found:
        found.bind(path.name)
    os.chdir(here)


def kernel(path: Path) -> None:
    path.symlink_to("/proc/self/environ")


def vast(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 43)


def bomb(path: Path) -> None:
    """Two hundred megabytes of zeros in two hundred kilobytes."""
    if path.suffix == ".npz":
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("x_train.npy", "w") as file,
        ):
            header = {"descr": "|u1", "fortran_order": False, "shape": (3_125_000, 8, 8)}
            np.lib.format.write_array_header_1_0(file, header)
            for _ in range(20):
                file.write(bytes(10_000_000))
    else:
        path.write_bytes(
            gzip.compress(b"\0\0\x08\x03" + (3000).to_bytes(4, "big") * 3 + bytes(100_000))
        )


FORMS = {
    "a pipe": pipe,
    "a device": device,
    "a socket": socket_,
    "a file of the kernel": kernel,
    "a vast file": vast,
}
READS = {
    "data=text": "here/a.txt",
    "data=labelled": "here/a.csv",
    "data=pairs": "here/a.tsv",
    "data=arrays": "here/a.npz",
    "data=images": "here/a",
}


def files() -> Iterator[Case]:
    """Paths that lead to no file, to one without end, or to one that grows when it is unpacked."""
    for form, write in FORMS.items():
        for data, name in READS.items():
            text = f"defaults: [override /data: {data[5:]}]\ndata: {{path: {Path(name).name}}}\n"
            case = of("files", f"{form}, {data}", text)
            yield Case(case.family, case.name, [*case.command], {**case.files, name: write})
        load = ["blocks", "load", "model=mlp", "data=digits", "--weights", "@CONF@/a.pt"]
        yield Case("files", f"{form}, weights", load, {"conf/a.pt": write})
        yield Case(
            "files",
            f"{form}, a map",
            [*load, "--map", "@CONF@/m.yaml"],
            {"conf/a.pt": weights, "conf/m.yaml": write},
        )
        explain = ["blocks", "explain", "model=evil", "--config-dir", "@CONF@"]
        yield Case("files", f"{form}, a model", explain, {"conf/model/evil.yaml": write})
        yield Case(
            "files",
            f"{form}, a checkpoint",
            ["tasks", "evaluate", "@RUN@"],
            {"run/config.yaml": "model: {}\n", "run/checkpoints/best.ckpt": write},
        )
        yield Case(
            "files",
            f"{form}, a record",
            ["train", "resume=@RUN@"],
            {"run/config.yaml": "model: {}\n", "run/run.json": write},
        )
    for data, name in (("arrays", "here/a.npz"), ("arrays", "here/set/train-images-idx3-ubyte.gz")):
        path = "set" if "set" in name else "a.npz"
        case = of(
            "files",
            f"a bomb, {path}",
            f"defaults: [override /data: {data}]\ndata: {{path: {path}}}\n",
        )
        yield Case(case.family, case.name, case.command, {**case.files, name: bomb})


FAMILIES = (patterns, expressions, numbers, spellings, sweeps, files)
