"""The folder where the user stands is a stranger's, whose `conf/` is read before the program's."""

from collections.abc import Iterator
from dataclasses import replace

from tests.trust import corpus_run, corpus_unread, corpus_yaml
from tests.trust.case import SMALL, Case

STEP = 3  # every third case with `--config-dir` is tried as a project as well
RUNS = "_target_: os.system\ncommand: touch @MARK@\n"
HYDRA = {
    "the program's defaults": ("train.yaml", f"defaults: [_self_]\nlibrary: ['.']\nx:\n  {RUNS}"),
    "a launcher": ("hydra/launcher/processes.yaml", "_target_: evil.Launcher\n"),
    "a sweeper": ("hydra/sweeper/table.yaml", "_target_: evil.Sweeper\n"),
    "a log": ("hydra/job_logging/file.yaml", "version: 1\nroot: {handlers: [{(): evil.run}]}\n"),
    "settings of Hydra": ("hydra/config.yaml", "run: {dir: '@MARK@'}\n"),
}
SHADOWS = {
    "a callback": ("callbacks/default.yaml", "evil: {_target_: evil.Callback}\n"),
    "a trainer": ("trainer/debug.yaml", "_target_: evil.Trainer\nmax_epochs: 1\n"),
    "data": ("data/digits.yaml", "_target_: evil.Data\n"),
    "a task": ("task/classify.yaml", "_target_: evil.Task\n"),
    "an optimizer": ("optimizer/adamw.yaml", "_target_: evil.Optimizer\n"),
    "a logger": ("logger/csv.yaml", "evil: {_target_: evil.Logger}\n"),
}


def moved() -> Iterator[Case]:
    """Yield cases in which a folder was named, with the same files in the folder of the user."""
    families = (*corpus_yaml.FAMILIES, *corpus_run.FAMILIES, *corpus_unread.FAMILIES)
    cases = [case for family in families for case in family()]
    for case in [case for case in cases if "--config-dir" in case.command][::STEP]:
        words = list(case.command)
        at = words.index("--config-dir")
        del words[at : at + 2]
        files = {}
        for name, content in case.files.items():
            files[f"here/{name}" if name.startswith("conf/") else name] = content
        command = [word.replace("@CONF@", "@HERE@/conf") for word in words]
        found = replace(case, family="project", name=str(case), command=command, files=files)
        if any(name.startswith("here/conf/hydra/") for name in files):  # which nothing reads
            found = replace(found, refused=False, says="")
        yield found


def ruled() -> Iterator[Case]:
    """Yield files that would change how the program runs; none of them is read."""
    for name, (file, text) in HYDRA.items():
        files = {f"here/conf/{file}": text}
        yield Case("project", f"{name}, explain", ["blocks", "explain", "model=mlp"], files, False)
        yield Case("project", f"{name}, train", ["train", *SMALL], files, False)


def shadowed() -> Iterator[Case]:
    """Yield files in place of the program's own, which name a class of the stranger's."""
    for name, (file, text) in SHADOWS.items():
        yield Case("project", f"shadow: {name}", ["train", *SMALL], {f"here/conf/{file}": text})


FAMILIES = (moved, ruled, shadowed)
