"""What Hydra or a library would resolve in a stranger's file: the environment, and templates that
are programs.
"""

from collections.abc import Iterator

from tests.trust.case import Case
from tests.trust.corpus_yaml import GLOBAL, experiment, of

READ = "${oc.env:CANARY_SECRET}"
OWN = "without ${...}"
MORE = "may name another key"
DATA = "section data only"

DEFAULTS = {
    "an override": f"defaults: [override /model: '{READ}']",
    "a group": f"defaults: [/model: '{READ}']",
    "a list of options": f"defaults: [/model: ['{READ}']]",
    "a file": f"defaults: ['{READ}']",
    "a package": f"defaults: ['/model@{READ}: vit']",
    "an optional file": f"defaults: [optional /model: '{READ}']",
    "an alias": f"x: &a '{READ}'\ndefaults: [override /model: *a]",
    "another key": f"x: '{READ}'\ndefaults: [override /model: '${{x}}']",
    "a list elsewhere": f"x: [override /model: '{READ}']\ndefaults: '${{x}}'",
    "an escape": 'defaults: [override /model: "\\x24{oc.env:CANARY_SECRET}"]',
    "an escape of both letters": "defaults: [override /model: "
    '"\\u0024\\u007boc.env:CANARY_SECRET}"]',
    "a folded line": 'defaults: [override /model: "$\\\n  {oc.env:CANARY_SECRET}"]',
    "a default of a default": f"defaults: [override /model: '${{oc.env:NO_SUCH,{READ}}}']",
    "a decoder": f"defaults: [override /model: '${{oc.decode:{READ}}}']",
    "a selection": f"x: '{READ}'\ndefaults: [override /model: '${{oc.select:x}}']",
    "a merge": f"m: &m {{defaults: [override /model: '{READ}']}}\n<<: *m",
}
RESOLVED = {
    "a dictionary that is decoded": "data: {facts: \"${oc.decode:'{x: "
    "${oc.env:CANARY_SECRET}}'}\"}",
    "a dictionary that is made": "data: {facts: '${oc.create:{x: ${oc.env:CANARY_SECRET}}}'}",
    "Hydra's own values": "x: ${hydra:runtime.cwd}",
    "names of the environment": "x: '${oc.dict.keys:hydra.job.env_copy}'",
    "a name that is made": f"x: '${{oc.env:{READ}}}'",
}
ELSEWHERE = {
    "the seed": f"seed: '{READ}'",
    "the trainer": f"trainer: '{READ}'",
    "the callbacks": f"callbacks: {{checkpoint: {{dirpath: '{READ}'}}}}",
    "weights": f"weights: {{load: '{READ}'}}",
    "a checkpoint": f"ckpt_path: '{READ}'",
    "a picture": f"picture: {{kind: '{READ}'}}",
}
IN_DATA = {
    "a size": f"data: {{size: '{READ}'}}",
    "a switch": f"data: {{flip: '{READ}'}}",
    "facts": f"data: {{facts: {{classes: '{READ}'}}}}",
    "a target": f"data: {{_target_: '{READ}'}}",
    "a key that is unknown": f"data: {{nosuch: '{READ}'}}",
    "the whole section": f"data: '{READ}'",
    "all facts": f"data: {{facts: '{READ}'}}",
    "a folder by reference": f"data: {{size: '{READ}'}}\ncallbacks: {{checkpoint: {{dirpath: "
    f"'${{data.size}}'}}}}",
    "a seed by reference": f"data: {{flip: '{READ}'}}\nseed: '${{data.flip}}'",
}
READERS = {
    "arrays": f"'{READ}'",
    "images": f"'{READ}/x'",
    "labelled": f"'{'a' * 70}{READ}'",
    "text": f"'{READ}.txt'",
    "pairs": f"'~/{READ}'",
    "questions": f"'{READ}'",
}


def unread() -> Iterator[Case]:
    """The environment in a file that is chosen."""
    for texts, says in ((DEFAULTS, OWN), (RESOLVED, MORE), (ELSEWHERE, DATA), (IN_DATA, "")):
        for name, text in texts.items():
            yield of("unread", f"{name}, {says or 'data'}", f"{text}\n", says)
    twice = {
        "conf/experiment/evil.yaml": f"{GLOBAL}defaults: [first, _self_]\ndata: {{facts: {{y: "
        f"1}}}}\n",
        "conf/experiment/first.yaml": GLOBAL + RESOLVED["a dictionary that is decoded"] + "\n",
    }
    yield Case("unread", "a dictionary that is merged", experiment(), twice, says=MORE)
    for name, path in READERS.items():
        text = f"{GLOBAL}data: {{path: {path}}}\n"
        yield Case(
            "unread",
            f"a path of {name}",
            experiment(f"data={name}"),
            {"conf/experiment/evil.yaml": text},
        )
    shown = {"conf/experiment/evil.yaml": f"{GLOBAL}data: {{size: '{READ}'}}\nseed: '{READ}'\n"}
    for words in (
        ("--cfg", "job", "--resolve"),
        ("--cfg", "all", "--resolve"),
        ("--info", "defaults"),
    ):
        yield Case(
            "unread", f"shown by {' '.join(words)}", experiment(*words), shown, refused=False
        )
    first = {"conf/evil.yaml": f"defaults: [train, override model: '{READ}']\n"}
    yield Case(
        "unread",
        "a first file",
        ["train", "--config-dir", "@CONF@", "--config-name", "evil"],
        first,
    )
    for text in (DEFAULTS["an override"], IN_DATA["a size"], ELSEWHERE["the seed"]):
        command = experiment("hydra/launcher=basic", "optimizer.lr=0.1,0.2", sweep=True)
        files = {"conf/experiment/evil.yaml": f"{GLOBAL}{text}\n"}
        yield Case(
            "unread", f"a sweep, {text[:30]}", command, files, refused=text not in IN_DATA.values()
        )
    for number, (name, text) in enumerate(IN_DATA.items()):
        door = ("explain", "check")[number % 2]
        command = ["blocks", door, "--config-dir", "@CONF@", "experiment=evil"]
        files = {"conf/experiment/evil.yaml": f"{GLOBAL}{text}\n"}
        yield Case("unread", f"{name}, {door}", command, files, refused=False)
    for door in ("explain", "check"):
        files = {"conf/model/evil.yaml": f"defaults: [vit, override /data: '{READ}']\n"}
        yield Case(
            "unread",
            f"a model, {door}",
            ["blocks", door, "model=evil", "--config-dir", "@CONF@"],
            files,
            says=OWN,
        )


READS = "{epoch].__dir__.__globals__[torch].os.environ[CANARY_SECRET]}"
CLIMBS = (
    "{epoch].__dir__.__globals__[torch].os.pardir}{epoch].__dir__.__globals__[torch].os.sep}" * 4
    + "stranger"
)
NAMES = (
    READS,
    CLIMBS,
    "{epoch.real}",
    "{epoch!r}",
    "{epoch[0]}",
    "{0}",
    "{}",
    "{{epoch}}",
    "{epoch:{step}}",
    "{epoch:99999999d}",
    "{epoch:>9}",
    "{epoch:.999f}",
    "{epoch",
    "epoch}",
    "{__class__.__mro__}",
    "{e}{epoch].imag}",
    "%(epoch)s",
    "$CANARY_SECRET",
    "a\\nb",
    "a::b",
    "x*?[a]",
    "`id`",
    "a;b|c>d",
    "{epoch]}",
    "\\0",
)
BOARD = "logger: {t: {_target_: pytorch_lightning.loggers.TensorBoardLogger, save_dir: ., "
FLOW = "logger: {m: {_target_: pytorch_lightning.loggers.MLFlowLogger, "
WANDB = "logger: {w: {_target_: pytorch_lightning.loggers.WandbLogger, "
EXPANDED = (
    f"{BOARD}name: $CANARY_SECRET}}}}",
    f"{BOARD}version: '%CANARY_SECRET%'}}}}",
    f"{BOARD}sub_dir: '~root'}}}}",
    "logger: {t: {_target_: pytorch_lightning.loggers.TensorBoardLogger, save_dir: '$HOME'}}",
    f"{FLOW}tracking_uri: databricks}}}}",
    f"{FLOW}tracking_uri: stranger}}}}",
    f"{FLOW}artifact_location: dbfs}}}}",
    f"{FLOW}tracking_uri: 'file:$HOME'}}}}",
    f"{FLOW}tags: {{'${{x': 1}}}}}}",
    f"{FLOW}log_model: all}}}}",
    f"{WANDB}offline: true, log_model: all}}}}",
    f"{WANDB}offline: true, save_dir: '$HOME'}}}}",
    "callbacks: {checkpoint: {dirpath: $HOME}}",
    "callbacks: {checkpoint: {dirpath: 'x::file:///srv'}}",
    "logger: {csv: {name: '{step}.csv'}}",
    "callbacks: {nodes: {name: '$HOME.csv'}}",
    "trainer: {accelerator: '{0}'}",
)


def templates() -> Iterator[Case]:
    """Texts that a library formats or expands."""
    for number, name in enumerate(NAMES):
        text = (
            f"callbacks: {{m: {{_target_: pytorch_lightning.callbacks.ModelCheckpoint, "
            f'filename: "{name}"}}}}\n'
        )
        yield of("templates", f"{number} {name[:40]!r}", text, "callbacks.m.filename")
    for number, text in enumerate(EXPANDED):
        yield of("templates", f"{number} {text[:70]}", f"{text}\n", text.partition(":")[0])


FAMILIES = (unread, templates)
