"""Hostile sections of a training, hostile run folders and files of weights; secrets that must stay
where they are.
"""

import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.trust.case import SECRET, SMALL, TYPED, Case
from tests.trust.corpus_yaml import CALL, GLOBAL, of

NAMES = (
    "os.system",
    "evil.Evil",
    "builtins.eval",
    "subprocess.Popen",
    "torch.load",
    "torch.hub.load",
    "numpy.load",
    "pathlib.Path.write_text",
    "tasks.config.instantiate.find_class",
    "pytorch_lightning.Trainer.__init__",
)
SECTIONS = ("data", "task", "optimizer", "schedule", "trainer", "callbacks.evil", "logger.evil")


def targets() -> Iterator[Case]:
    for number, section in enumerate(SECTIONS):
        for name in dict.fromkeys((NAMES[number], NAMES[(number + 3) % len(NAMES)], "evil.Evil")):
            head, _, tail = section.partition(".")
            text = f"{{{tail}: {{_target_: {name}}}}}" if tail else f"{{_target_: {name}}}"
            yield of("targets", f"{name} in {section}", f"{head}: {text}\n", "_target_")
    inner = "{_target_: evil.Evil}"
    for place in (
        f"callbacks: {{checkpoint: {{filename: {inner}}}}}",
        f"trainer: {{plugins: [{inner}]}}",
        f"trainer: {{strategy: {inner}}}",
        f"data: {{shift: {inner}}}",
        f"optimizer: {{lr: {inner}}}",
        f"logger: {{csv: {{name: {inner}}}}}",
        "data: {_target_: {_target_: evil.Evil}}",
    ):
        yield of("targets", f"nested in {place.split(':')[0]}{len(place)}", f"{place}\n")


PLACES = (
    "callbacks: {checkpoint: {dirpath: /srv/stranger}}",
    "callbacks: {checkpoint: {dirpath: ../../../stranger}}",
    "callbacks: {checkpoint: {dirpath: '~/stranger'}}",
    "callbacks: {checkpoint: {filename: ../../../../stranger}}",
    "callbacks: {checkpoint: {filename: /srv/stranger}}",
    "callbacks: {checkpoint: {dirpath: 's3://stranger/x'}}",
    "callbacks: {checkpoint: {dirpath: 'a\\..\\..\\..\\b'}}",
    "logger: {csv: {folder: /srv/stranger}}",
    "logger: {csv: {name: ../../../../stranger.csv}}",
    "logger: {csv: {name: /srv/stranger.csv}}",
    "logger: {t: {_target_: pytorch_lightning.loggers.TensorBoardLogger, save_dir: /srv/stranger}}",
    "logger: {t: {_target_: pytorch_lightning.loggers.TensorBoardLogger, save_dir: ., name: "
    "../../../stranger}}",
    "logger: {t: {_target_: pytorch_lightning.loggers.TensorBoardLogger, save_dir: ., sub_dir: "
    "../../../stranger}}",
    "logger: {m: {_target_: pytorch_lightning.loggers.MLFlowLogger, tracking_uri: "
    "'http://stranger.example'}}",
    "logger: {m: {_target_: pytorch_lightning.loggers.MLFlowLogger, tracking_uri: "
    "'file:///srv/stranger'}}",
    "logger: {m: {_target_: pytorch_lightning.loggers.MLFlowLogger, artifact_location: "
    "/srv/stranger}}",
    "logger: {w: {_target_: pytorch_lightning.loggers.WandbLogger, offline: false}}",
    "logger: {w: {_target_: pytorch_lightning.loggers.WandbLogger, offline: true, dir: "
    "/srv/stranger}}",
    "logger: {w: {_target_: pytorch_lightning.loggers.WandbLogger, offline: true, settings: "
    "{x_executable: evil}}}",
    "trainer: {default_root_dir: /srv/stranger}",
    "trainer: {model_registry: stranger/model}",
)


def places() -> Iterator[Case]:
    for number, text in enumerate(PLACES):
        yield of("places", f"{number} {text[:70]}", f"{text}\n")


# Run folders --------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def honest() -> dict[str, Any]:
    """What an honest run leaves in its checkpoint, without training it."""
    from blocks.graph import assemble, compose

    composed = compose(["model=mlp", "data=digits"])
    network = assemble(composed)
    facts = {"image": {"channels": 1, "height": 8, "width": 8}, "classes": 10}
    state = {f"network.{name}": value for name, value in network.state_dict().items()}
    return {
        "state_dict": state,
        "hyper_parameters": {"config": composed.config, "facts": facts},
        "epoch": 1,
    }


class Harm:
    """A pickle that runs a command when it is read by an unwary reader."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> Any:
        return eval, (f"open({str(self.mark)!r}, 'w').close()",)


def saved(change: Callable[[dict, Path], Any], **options: Any) -> Callable[[Path], None]:
    """Writes the checkpoint of an honest run, changed."""

    def write(path: Path) -> None:
        found = honest()
        kept = {**found, "hyper_parameters": json.loads(json.dumps(found["hyper_parameters"]))}
        again = change(kept, path.parents[2] / "EXECUTED")
        torch.save(kept if again is None else again, path, **options)

    return write


def configured(change: Callable[[dict], None]) -> Callable[[Path], None]:
    return saved(lambda kept, _: change(kept["hyper_parameters"]["config"]))


def harm_beside(kept: dict, mark: Path) -> None:
    kept["callbacks"] = Harm(mark)


def zipped(change: Callable[[zipfile.ZipFile, zipfile.ZipFile], None]) -> Callable[[Path], None]:
    """Writes an honest checkpoint, its archive made anew by `change(old, new)`."""

    def write(path: Path) -> None:
        draft = path.with_suffix(".draft")
        torch.save(honest(), draft)
        with zipfile.ZipFile(draft) as old, zipfile.ZipFile(path, "w") as new:
            change(old, new)
        draft.unlink()

    return write


def packed(old: zipfile.ZipFile, new: zipfile.ZipFile) -> None:
    for record in old.infolist():
        new.writestr(
            record.filename,
            b"\0" * 50_000_000 if "/data/0" in record.filename else old.read(record),
            compress_type=zipfile.ZIP_DEFLATED,
        )


def climbing(old: zipfile.ZipFile, new: zipfile.ZipFile) -> None:
    for record in old.infolist():
        new.writestr(record.filename, old.read(record))
    new.writestr("../../../../here/stranger.py", b"x")


def tarred(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        content = pickle.dumps(Harm(path.parents[2] / "EXECUTED"))
        for name in ("sys_info", "pickle", "tensors", "storages"):
            record = tarfile.TarInfo(name)
            record.size = len(content)
            archive.addfile(record, io.BytesIO(content))


def scripted(path: Path) -> None:
    torch.jit.script(torch.nn.Linear(2, 3)).save(str(path))


def in_itself(kept: dict, _: Path) -> None:
    kept["hyper_parameters"]["config"]["loop"] = loop = []
    loop.append(loop)


def thousandfold(kept: dict, _: Path) -> None:
    value: Any = ["x"]
    for _step in range(30):
        value = [value] * 10
    kept["hyper_parameters"]["config"]["data"]["facts"] = value


def endless(kept: dict, _: Path) -> None:
    for name in kept["state_dict"]:
        kept["state_dict"][name] = torch.zeros(1).expand(10**12)
        return


def wide(config: dict) -> None:
    config["model"]["graph"]["extra"] = {"block": "Linear", "features": 10**13, "in": "flatten"}


CHECKPOINTS: dict[str, tuple[Any, bool]] = {
    "a pickle beside the weights": (saved(harm_beside), True),
    "a pickle in the old format": (saved(harm_beside, _use_new_zipfile_serialization=False), True),
    "a pickle alone": (
        lambda path: path.write_bytes(pickle.dumps(Harm(path.parents[2] / "EXECUTED"))),
        True,
    ),
    "a pickle of protocol 0": (b"cposix\nsystem\n(S'touch EXECUTED'\ntR.", True),
    "a whole module": (saved(lambda *_: torch.nn.Linear(2, 3)), True),
    "a tar": (tarred, True),
    "a script": (scripted, True),
    "a packed archive": (zipped(packed), True),
    "a record that climbs": (zipped(climbing), True),
    "nothing": (b"", True),
    "half of it": (
        lambda path: (saved(lambda *_: None)(path), path.write_bytes(path.read_bytes()[:9000]))[0],
        True,
    ),
    "a list in itself": (saved(in_itself), True),
    "a list of lists of lists": (saved(thousandfold), True),
    "a tensor without end": (saved(endless), True),
    "no hyper-parameters": (saved(lambda kept, _: kept.pop("hyper_parameters") and None), True),
    "texts for sections": (
        saved(lambda kept, _: kept["hyper_parameters"].update(config="x", facts=[])),
        True,
    ),
    "a library": (configured(lambda config: config.update(library=["@HERE@", "evil"])), False),
    "trust and a target": (
        configured(lambda c: c.update(trust=["evil.Evil"], data={"_target_": "evil.Evil"})),
        True,
    ),
    "a task of its own": (configured(lambda c: c["task"].update(_target_="evil.Evil")), True),
    "an optimiser of its own": (
        configured(lambda c: c["optimizer"].update(_target_="os.system")),
        True,
    ),
    "callbacks and loggers": (
        configured(
            lambda c: c.update(
                callbacks={"e": {"_target_": "evil.Evil"}}, logger={"e": {"_target_": "evil.Evil"}}
            )
        ),
        False,
    ),
    "a name that is code": (
        configured(lambda c: c["model"].update(inputs={f"x={CALL}": "data.image"})),
        True,
    ),
    "a million layers": (
        configured(lambda c: c["model"]["graph"].update(e={"block": "ReLU", "repeat": 10**9})),
        True,
    ),
    "a layer of terabytes": (configured(wide), True),
    "a resolver": (
        configured(lambda c: c["data"].update(batch_size="${oc.env:CANARY_SECRET}")),
        True,
    ),
}
RECORD = {
    "status": "finished",
    "choices": {"model": f'x"""; {CALL}; """', "data": "<script>"},
    "parameters": 3,
    "seed": 1,
    "command": f'train """\n{CALL}\n"""; {CALL} #',
    "test": {"test/accuracy": 1.0},
    "facts": {},
}


def run_folders() -> Iterator[Case]:
    marker = {"run/config.yaml": "model: {}\n"}
    for number, (name, (content, refused)) in enumerate(CHECKPOINTS.items()):
        export = ["tasks", "export", "@RUN@", "--to", "safetensors"]
        door = (["tasks", "evaluate", "@RUN@"], export)[
            number % 2 and "target" not in name and "its own" not in name
        ]
        refused = refused and not (door is export and name == "a resolver")
        yield Case(
            "run folders",
            f"{name}, {door[1]}",
            door,
            {**marker, "run/checkpoints/best.ckpt": content},
            refused,
        )
    good = {**marker, "run/checkpoints/best.ckpt": saved(lambda *_: None)}
    hub = ["tasks", "export", "@RUN@", "--to", "hub"]
    text = json.dumps(RECORD)
    yield Case("run folders", "code in the record, hub", hub, {**good, "run/run.json": text}, False)
    yield Case(
        "run folders", "a deep record, hub", hub, {**good, "run/run.json": "[" * 90_000}, False
    )
    yield Case(
        "run folders", "a record that is a list, hub", hub, {**good, "run/run.json": "[1]"}, False
    )
    for word in ("generate", "translate"):
        command = ["tasks", word, "@RUN@", *(["x"] if word == "translate" else [])]
        yield Case(
            "run folders", f"of classes, {word}", command, {**good, "run/tokenizer.json": "{}"}
        )
    for value in ("!!python/object/apply:os.system ['touch @MARK@']", "&a [*a]", "[" * 3000):
        command = ["tasks", "evaluate", "@RUN@", f"batch_size={value}"]
        yield Case("run folders", f"a change of the data, {value[:9]}", command, good)
    bomb = "a: &a [x]\n" + "b: &b [*a, *a]\n" * 5
    yield Case(
        "run folders",
        "a bomb as config.yaml",
        ["tasks", "evaluate", "@RUN@"],
        {**good, "run/config.yaml": bomb},
        False,
    )
    yield Case(
        "run folders",
        "the record of a sweep",
        ["tasks", "export", "@RUN@", "--to", "safetensors"],
        {**good, "run/sweep.json": "[" * 9000},
        False,
    )


def trained(change: Callable[[dict, Path], Any]) -> Callable[[Path], None]:
    """Writes the checkpoint of a run that could go on, changed."""

    def write(kept: dict, mark: Path) -> Any:
        kept |= {
            "optimizer_states": [],
            "global_step": 4,
            "pytorch-lightning_version": "2.6.6",
            "lr_schedulers": [],
        }
        return change(kept, mark)

    return saved(write)


def linked(path: Path) -> None:
    path.symlink_to(path.parents[1] / "stranger.csv")


RESUMED: dict[str, list[Any]] = {
    "a library": ["library=[@HERE@]"],
    "trust": ["trust=[evil.Evil]", "+callbacks.e={_target_: evil.Evil}"],
    "a target": ["+callbacks.e={_target_: evil.Evil}"],
    "a command": ["+callbacks.e={_target_: os.system, command: touch}"],
    "checkpoints elsewhere": ["callbacks.checkpoint.dirpath=/srv/stranger"],
    "metrics elsewhere": ["logger.csv.folder=../../../stranger"],
    "a secret": ["+logger.csv.name=${oc.env:CANARY_SECRET}"],
    "Hydra's places": [
        "hydra.run.dir=/srv/stranger",
        "hydra/job_logging=default",
        "hydra.searchpath=[file:///srv]",
    ],
    "words that are none": [["library=[evil]"], {"trust": "evil.Evil"}, 3, None],
}
HARMED: dict[str, tuple[str, Any]] = {
    "a pickle": ("checkpoints/last.ckpt", trained(harm_beside)),
    "a state that is none": (
        "checkpoints/last.ckpt",
        trained(lambda kept, _: kept.update(dougong="x")),
    ),
    "weights that are none": (
        "checkpoints/last.ckpt",
        trained(lambda kept, _: kept.update(state_dict=[1])),
    ),
    "a link": ("metrics.csv", linked),
}


def resumes() -> Iterator[Case]:
    """Run folders of strangers that are to go on."""
    small = ["model=mlp", "data=digits", "trainer=debug", "callbacks.progress.style=none"]
    whole = trained(lambda *_: None)
    found = {name: (words, "checkpoints/last.ckpt", whole) for name, words in RESUMED.items()}
    found |= {name: ([], path, content) for name, (path, content) in HARMED.items()}
    for name, (words, path, content) in found.items():
        record = json.dumps({**RECORD, "overrides": [*small, *words]})
        files = {"run/config.yaml": "model: {}\n", "run/run.json": record, f"run/{path}": content}
        dropped = name in (
            "Hydra's places",
            "words that are none",
        )  # not said to anybody: what is left may go on
        yield Case("resumes", name, ["train", "resume=@RUN@"], files, refused=not dropped)


def weights() -> Iterator[Case]:
    load = ["blocks", "load", "model=mlp", "data=digits", "--weights"]
    for suffix, name in ((".pt", "a pickle"), (".bin", "old"), (".ckpt", "beside")):
        content = saved(harm_beside, _use_new_zipfile_serialization=suffix != ".bin")
        yield Case(
            "weights",
            f"{name}, load",
            [*load, f"@CONF@/a/b{suffix}"],
            {f"conf/a/b{suffix}": content},
        )
        words = [*SMALL, "weights.head=keep"][:1]
        text = f"weights: {{load: '@CONF@/a/b{suffix}'}}\n"
        files = {f"conf/a/b{suffix}": content, "conf/experiment/evil.yaml": GLOBAL + text}
        command = [
            "train",
            "--config-dir",
            "@CONF@",
            "experiment=evil",
            *words,
            f"weights.load=@CONF@/a/b{suffix}",
        ]
        yield Case("weights", f"{name}, train", command, files)
    header = (2**60).to_bytes(8, "little") + b"{}"
    yield Case(
        "weights",
        "a header without end",
        [*load, "@CONF@/a.safetensors"],
        {"conf/a.safetensors": header},
    )
    packed_ = {"conf/a/b/a.pt": zipped(packed)}
    yield Case("weights", "packed", [*load, "@CONF@/a/b/a.pt"], packed_)
    for name, text in (
        ("tag", "map: {a: !!python/name:os.system x}"),
        ("bomb", "map: &m {a: *m}"),
        ("deep", "map: " + "[" * 4000),
    ):
        files = {"conf/a/b/a.pt": saved(lambda kept, _: kept["state_dict"]), "conf/m.yaml": text}
        yield Case(
            "weights",
            f"a map with a {name}",
            [*load, "@CONF@/a/b/a.pt", "--map", "@CONF@/m.yaml"],
            files,
        )


# Secrets ------------------------------------------------------------------------------------------


def arrays(path: Path) -> None:
    """A data set whose path is a secret."""
    source = np.random.default_rng(0)
    np.savez(path, x_train=source.integers(0, 255, (60, 8, 8), np.uint8), y_train=np.arange(60) % 3)


def secrets() -> Iterator[Case]:
    name = f"here/{SECRET}"
    train = ["train", "--config-dir", "@CONF@", "experiment=evil", *SMALL, "trainer.max_epochs=1"]
    files = {
        f"{name}.npz": arrays,
        "conf/experiment/evil.yaml": GLOBAL + "data: {path: '${oc.env:CANARY_SECRET}.npz'}\n",
    }
    read = [*train, "data=arrays", "data.path=${oc.env:CANARY_SECRET}.npz"]
    yield Case("secrets", "the environment, for the data", read, files, refused=False)
    yield Case(
        "secrets",
        "the environment, for data that are not there",
        read,
        {"conf/experiment/evil.yaml": GLOBAL + "seed: 1\n"},
    )
    uri = (
        f"+logger.m={{_target_: pytorch_lightning.loggers.TensorBoardLogger, save_dir: ., "
        f"token: {TYPED}}}"
    )
    yield Case(
        "secrets",
        "a key that a logger does not take",
        [*train, uri],
        {"conf/experiment/evil.yaml": GLOBAL + "seed: 1\n"},
    )
    keyed = ["+callbacks.checkpoint.api_key=" + TYPED]
    yield Case(
        "secrets",
        "a key that a callback does not take",
        [*train, *keyed],
        {"conf/experiment/evil.yaml": GLOBAL + "seed: 1\n"},
    )
    words = ["-m", *read[1:], "hydra/launcher=basic", "seed=1", f"+logger.csv.token={TYPED}"]
    yield Case("secrets", "a sweep with a key", ["train", *words], files, refused=False)


FAMILIES = (targets, places, run_folders, resumes, weights, secrets)
