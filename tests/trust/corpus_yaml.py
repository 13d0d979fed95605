"""Hostile YAML: what acts through Hydra, through names, through size.

Each family is run through the doors in turn.
"""

from collections.abc import Iterator

from tests.trust.case import SMALL, Case

LINES = "inputs: {x: {tokens: 7, dim: 6}}\ngraph:\n  head: {block: Linear, features: 5}\n"
GLOBAL = "# @package _global_\n"
DOORS = (["blocks", "explain"], ["blocks", "check"], ["blocks", "draw", "-o", "out.html"])
OURS = "may not change how Hydra runs"


def experiment(*words: str, sweep: bool = False) -> list[str]:
    return [
        "train",
        *(["-m"] if sweep else []),
        "--config-dir",
        "@CONF@",
        "experiment=evil",
        *SMALL,
        *words,
    ]


def of(
    family: str,
    name: str,
    text: str,
    says: str = "",
    sweep: bool = False,
    words: tuple[str, ...] = (),
) -> Case:
    """An experiment file of a stranger, trained."""
    return Case(
        family,
        name,
        experiment(*words, sweep=sweep),
        {"conf/experiment/evil.yaml": GLOBAL + text},
        says=says,
    )


def model(
    family: str, name: str, text: str | bytes, door: int = 0, says: str = "", refused: bool = True
) -> Case:
    """A model file of a stranger, looked at."""
    command = [*DOORS[door % 3][:2], "model=evil", "--config-dir", "@CONF@", *DOORS[door % 3][2:]]
    return Case(family, name, command, {"conf/model/evil.yaml": text}, refused=refused, says=says)


HYDRA = {
    "callbacks": "callbacks: {evil: {_target_: evil.Evil}}",
    "run.dir": "run: {dir: /srv/stranger}",
    "sweep.dir": "sweep: {dir: ../../stranger}",
    "a handler of the log": "job_logging: {handlers: {h: {class: evil.Evil}}, root: {handlers: "
    "[h]}}",
    "a factory in the log": "job_logging: {formatters: {f: {(): evil.Evil}}}",
    "the log as a file elsewhere": "job_logging: {handlers: {file: {class: logging.FileHandler, "
    "filename: '@MARK@'}}}",
    "hydra_logging": "hydra_logging: {version: 1, root: {handlers: [h]}, handlers: {h: {class: "
    "evil.Evil}}}",
    "job.env_set": "job: {env_set: {LD_PRELOAD: /srv/evil.so}}",
    "job.chdir": "job: {chdir: true}",
    "job.name": "job: {name: ../../../stranger}",
    "launcher": "launcher: {_target_: evil.Evil}",
    "sweeper": "sweeper: {_target_: evil.Evil}",
    "searchpath": "searchpath: ['pkg://evil']",
    "output_subdir": "output_subdir: ../../stranger",
    "mode": "mode: MULTIRUN",
    "runtime": "runtime: {output_dir: /srv/stranger}",
}
EVIL = "callbacks: {e: {_target_: evil.Evil}}"
AROUND = {
    "a package in the header": {
        "conf/experiment/evil.yaml": "# @package hydra.callbacks.evil\n_target_: evil.Evil\n"
    },
    "the name as the package": {
        "conf/experiment/hydra.yaml": f"# @package _name_\n{EVIL}",
        "conf/experiment/evil.yaml": GLOBAL + "defaults: [hydra]\n",
    },
    "a package in the defaults": {
        "conf/experiment/evil.yaml": GLOBAL + "defaults: [/model/x@hydra.callbacks.e: y]\n",
        "conf/model/x/y.yaml": "_target_: evil.Evil\n",
    },
    "an override": {
        "conf/experiment/evil.yaml": f"{GLOBAL}defaults: [override /hydra/launcher: evil]\n",
        "conf/hydra/launcher/evil.yaml": "_target_: evil.Evil\n",
    },
    "a merge": {"conf/experiment/evil.yaml": f"{GLOBAL}x: &x {{hydra: {{{EVIL}}}}}\n<<: *x\n"},
    "an escape": {
        "conf/experiment/evil.yaml": GLOBAL
        + '"\\x68ydra": {callbacks: {e: {_target_: evil.Evil}}}\n'
    },
    "an alias as the key": {
        "conf/experiment/evil.yaml": f"{GLOBAL}seed: &h hydra\n*h : {{{EVIL}}}\n"
    },
    "Hydra's own default": {
        "conf/hydra/env/default.yaml": GLOBAL + "hydra: {callbacks: {e: {_target_: evil.Evil}}}\n",
        "conf/experiment/evil.yaml": GLOBAL + "seed: 3\n",
    },
    "Hydra's own launcher": {
        "conf/hydra/launcher/basic.yaml": "_target_: evil.Evil\n",
        "conf/experiment/evil.yaml": GLOBAL + "seed: 3\n",
    },
}
SWEPT = (
    "library: '[@CONF@]'",
    "+trust: evil.Evil",
    "hydra.run.dir: /srv/x",
    "runs: /srv/stranger",
    "callbacks.checkpoint.dirpath: /srv/stranger",
    "data._target_: evil.Evil",
    "data.path: '${oc.env:CANARY_SECRET}'",
    "+x: {a: 1}",
)


def hydra_sections() -> Iterator[Case]:
    for name, text in HYDRA.items():
        yield of("hydra", name, f"hydra:\n  {text}\n", OURS)
    for name, files in AROUND.items():
        harmless = name == "Hydra's own default"  # which Hydra takes from its own files
        words = ["hydra/launcher=basic"] if "launcher" in name else []
        yield Case(
            "hydra",
            name,
            experiment(*words),
            dict(files),
            refused=not harmless,
            says="" if harmless else OURS,
        )
    for text in SWEPT:
        yield of(
            "hydra",
            f"a sweep of {text.split(':')[0]}",
            f"hydra: {{sweeper: {{params: {{{text}}}}}}}\n",
            sweep=True,
        )
    logs = {"conf/experiment/evil.yaml": GLOBAL + f"hydra:\n  {HYDRA['hydra_logging']}\n"}
    for word in ("--help", "--cfg=hydra", "--info=config"):
        yield Case("hydra", f"asked with {word}", [*experiment(), word], logs, refused=False)
    yield Case(
        "hydra",
        "a configuration of its own",
        ["train", "--config-path", "@CONF@", "--config-name", "evil"],
        {"conf/evil.yaml": "hydra: {callbacks: {e: {_target_: evil.Evil}}}\n"},
    )
    yield Case(
        "hydra",
        "a first file of its own",
        ["train", "--config-dir", "@CONF@", "--config-name", "evil"],
        {"conf/evil.yaml": "defaults: [train]\nhydra: {searchpath: ['pkg://evil']}\n"},
    )
    pickled = b"cposix\nsystem\n(S'touch @MARK@'\ntR."
    yield Case(
        "hydra",
        "a pickle to run again",
        ["train", "--experimental-rerun", "@CONF@/job.pickle"],
        {"conf/job.pickle": pickled},
    )


def typed_words() -> Iterator[Case]:
    for word, value in (
        ("library", "[@CONF@]"),
        ("library", "'@CONF@'"),
        ("trust", "[evil.Evil]"),
        ("limits", "{modules: 9}"),
    ):
        yield of("command line only", f"{word} in an experiment, {value[0]}", f"{word}: {value}\n")
        text = (
            f"{GLOBAL}{word}: {value}\nmodel:\n  inputs: {{x: [6]}}\n  graph: {{a: {{block: "
            f"ReLU}}}}\n"
        )
        yield model("command line only", f"{word} in a model, {value[0]}", text, len(word))
    first = ["train", "--config-dir", "@CONF@", "--config-name", "evil"]
    yield Case(
        "command line only",
        "library in a first file",
        first,
        {"conf/evil.yaml": "defaults: [train]\nlibrary: ['@CONF@']\n"},
    )
    yield of("command line only", "runs elsewhere", "runs: /srv/stranger\n", "the folder of runs")
    yield of("command line only", "runs above", "runs: ../../stranger\n", "the folder of runs")
    yield of(
        "command line only",
        "runs by another key",
        "data: {flip: /srv/stranger}\nruns: ${data.flip}\n",
    )
    yield of(
        "command line only",
        "runs in a sweep",
        "runs: ../stranger\n",
        sweep=True,
        words=("seed=1,2",),
    )


def bombs() -> Iterator[Case]:
    levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10))
    doubled = "".join(
        f"p{n}: '${{model.params.p{n - 1}}}${{model.params.p{n - 1}}}', " for n in range(1, 40)
    )
    nested = "".join(
        f"  q{n}: {{a: '${{model.params.q{n - 1}}}', b: '${{model.params.q{n - 1}}}'}}\n"
        for n in range(1, 30)
    )
    texts: dict[str, tuple[str | bytes, str]] = {
        "aliases of aliases": (f"a0: &a0 [x, x]\n{levels}\n{LINES}", "aliases"),
        "a merge of merges": (
            "a: &a {k: 1}\n"
            + "".join(f"b{n}: &b{n} {{<<: [*a, *a], k{n}: *a}}\n" for n in range(9000)),
            "",
        ),
        "deep brackets": ("params: " + "[" * 9000 + "]" * 9000, "deep"),
        "deep braces": ("params: " + "{a: " * 300 + "1" + "}" * 300, "deep"),
        "deep dashes": ("params:\n  " + "- " * 5000 + "x", "deep"),
        "deep indentation": ("".join(" " * n + f"k{n}:\n" for n in range(200)), "deep"),
        "an alias in itself": (f"params: &p [*p]\n{LINES}", "inside"),
        "a mapping in itself": (f"params: &p {{a: *p}}\n{LINES}", "inside"),
        "a large file": ("# " + "x" * 2_000_000 + f"\n{LINES}", "large"),
        "a tag of Python": (
            "params: {a: !!python/object/apply:os.system ['touch @MARK@']}\n" + LINES,
            "tag",
        ),
        "a tag of a name": ("params:\n  a: !!python/name:evil.Evil x\n" + LINES, "tag"),
        "a tag of a path": (
            "params: {a: !!python/object/apply:pathlib.PosixPath [/etc/passwd]}\n" + LINES,
            "tag",
        ),
        "a tag of its own": (
            "%TAG ! tag:yaml.org,2002:python/\n---\nparams: {a: !name:os.system x}\n" + LINES,
            "tag",
        ),
        "bytes": (b"\xff\xfe\x00\x01" * 50, ""),
        "zeros": (b"params: {a: '\x00'}\n", ""),
        "doubled references": (f"params: {{p0: xxxxxxxxxx, {doubled}}}\n{LINES}", "grow"),
        "doubled mappings": (f"params:\n  q0: {{a: 1}}\n{nested}{LINES}", "grow"),
        "a reference to itself": (
            "params: {a: '${model.params.b}', b: '${model.params.a}'}\n" + LINES,
            "",
        ),
        "a reference to all": ("params: {a: '${model}'}\n" + LINES, ""),
        "a file in itself": ("defaults: [evil]\n" + LINES, ""),
        "a long number": ("params: {a: " + "9" * 50_000 + "}\n" + LINES, ""),
        "two documents": (LINES + "---\n" + LINES, ""),
    }
    for number, (name, (text, says)) in enumerate(texts.items()):
        yield model("bombs", name, text, number, says)


def resolvers() -> Iterator[Case]:
    asks = (
        "${oc.env:CANARY_SECRET}",
        "${oc.decode:'${o}c.env:X}'}",
        "${oc.create:{a: 1}}",
        "${oc.select:model}",
        "${now:%Y}",
        "${hydra:runtime.cwd}",
        "${oc.dict.values:model.params}",
        "${${model.params.o}:CANARY_SECRET}",
        "${oc.deprecated:seed}",
    )
    for number, ask in enumerate(asks):
        text = f'params: {{o: oc.env, a: "{ask}"}}\n{LINES}'
        yield model("resolvers", f"{ask} in a model", text, number)
    for place in (
        "logger: {csv: {name: %s}}",
        "callbacks: {checkpoint: {filename: %s}}",
        "task: {label_smoothing: %s}",
        "data: {batch_size: '${data.val}', val: %s}\nlogger: {csv: {name: '${data.val}'}}",
    ):
        yield of(
            "resolvers",
            f"the environment in {place.split(':')[0]}",
            place % '"${oc.env:CANARY_SECRET}"' + "\n",
        )


def sizes() -> Iterator[Case]:
    def node(text: str) -> str:
        return f"inputs: {{x: {{tokens: 7, dim: 6}}}}\ngraph:\n  a: {text}\n"

    texts = {
        "a tower of powers": node("{block: Linear, features: 9**9**9}"),
        "parentheses": node("{block: Linear, features: '" + "(" * 240 + "1" + ")" * 240 + "'}"),
        "minuses": node("{block: Linear, features: '" + "-" * 490 + "1'}"),
        "nots": node("{block: Linear, features: '" + "not " * 120 + "1'}"),
        "a long expression": node("{block: Linear, features: '" + "1+" * 3000 + "1'}"),
        "an import": node("{block: Linear, features: \"__import__('os').system('touch @MARK@')\"}"),
        "an attribute": node(
            "{block: Linear, features: '().__class__.__bases__[0].__subclasses__()'}"
        ),
        "a lambda": node('{block: Linear, features: \'(lambda: open("@MARK@", "w"))()\'}'),
        "a comprehension": node("{block: Linear, features: 'len([i for i in range(10**9)])'}"),
        "a formatted text": node("{block: Linear, features: 'f\"{open(1)}\"'}"),
        "a walrus": node("{block: Linear, features: '(a := 9)'}"),
        "a multiplied text": node("{block: Linear, features: 'len(\"x\" * 10**9)'}"),
        "a million repeats": node("{block: Linear, features: 6, repeat: 1000000}"),
        "repeats of repeats": node(
            "{repeat: 900, body: {b: {repeat: 900, body: {c: {block: Linear, features: 6}}}}}"
        ),
        "a trillion wide": node("{block: SelfAttention, heads: 7}").replace(
            "dim: 6", "dim: 1000000000000"
        ),
        "layers without end": node("{block: LSTM, hidden: 6, layers: 10000000}"),
        "experts without end": node(
            "{block: MixtureOfExperts, experts: 10000000, expert: {block: MLP}}"
        ),
        "negative": node("{block: Linear, features: -(10**18)}"),
    }
    for number, (name, text) in enumerate(texts.items()):
        yield model("sizes", name, text, number % 2, refused=name not in ("minuses", "nots"))
    yield Case(
        "sizes",
        "a depth of a hundred thousand",
        ["blocks", "explain", "model.params.depth=100000"],
        says="limits.modules",
    )
    yield Case(
        "sizes",
        "weights of a terabyte",
        ["train", "model.params.dim=4194304", *["model.params.heads=4"]],
        says="memory",
    )


CALL = "__import__('os').system('touch @MARK@')"


def names() -> Iterator[Case]:
    texts = {
        "an input": f'inputs: {{"x={CALL}": {{tokens: 7, dim: 6}}}}\ngraph:\n  a: {{block: '
        f"Linear, features: 6}}\n",
        "a port": LINES
        + f'  b: {{in: {{x: head, "y={CALL}": head}}, body: {{c: {{block: Add, in: [x, '
        f'"y={CALL}"]}}}}}}\n',
        "a state": LINES
        + f'  b: {{scan: {{state: {{"h={CALL}": 5}}}}, body: {{c: {{block: Linear, in: x, '
        f"features: 5}}}}}}\n",
        "a node": LINES.replace("head", f'"head = {CALL}"'),
        "a node with a line": LINES.replace("head", '"a\\n    open(chr(65))\\n"'),
        "a block": LINES.replace("Linear", "evil.Evil"),
        "a block with a module": LINES.replace("Linear", "os.system"),
        "a word": LINES.replace("features: 5", f'"features=5, x={CALL}": 5'),
        "a counter": LINES + f'  b: {{block: Linear, features: 5, repeat: 2, as: "i={CALL}"}}\n',
        "a share": LINES + f'  b: {{share: "head\\"); {CALL} #"}}\n',
        "a tie": LINES + f'tie: {{"head.weight": "head.weight; {CALL}"}}\n',
        "a start": LINES + f'initialise: {{"*": {{"{CALL}": 1}}}}\n',
        "a pattern": LINES
        + f"  b: {{block: Rearrange, pattern: \"b t d -> b t d' + {CALL} + '\"}}\n",
        "a target": LINES.replace("block: Linear", "_target_: evil.Evil"),
        "a target beside": LINES.replace("features: 5", "features: 5, _target_: evil.Evil"),
    }
    for number, (name, text) in enumerate(texts.items()):
        yield model("names", name, text, number, refused=name != "a counter")
    for door in (0, 2):
        output = (
            LINES + f'outputs: {{"a\\"); {CALL} #": head, "<script>alert(1)</script>": head}}\n'
        )
        yield model("names", f"an output, {DOORS[door][1]}", output, door, refused=False)
    header = f'# a """; {CALL}; """ header\n' + LINES
    emit = ["blocks", "emit", "model=evil", "--config-dir", "@CONF@", "-o", "out.py"]
    yield Case(
        "names",
        "a comment that ends the docstring",
        emit,
        {"conf/model/evil.yaml": header},
        refused=False,
    )


FAMILIES = (hydra_sections, typed_words, bombs, resolvers, sizes, names)
