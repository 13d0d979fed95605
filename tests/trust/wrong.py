"""The figure: how many wrong configurations of a training are told on one screen, with a place and
a way out.

python -m tests.trust.wrong            all of them
python -m tests.trust.wrong --show     with what is told
"""

import math
import re
import sys
import tempfile
from pathlib import Path

from tests.trust.case import call

LINES, COLUMNS = 24, 110  # one screen, on which longer lines wrap
FILE = "# @package _global_\n"

# What a user types; where a line begins with "FILE ", an experiment file with the rest as its text.
WRONG = r"""
trainer=cpuu
trainer.max_epochs=-5
trainer.max_epochs=three
trainer.max_epochs=2.5
trainer.max_epoch=5
+trainer.max_epoch=5
trainer.precision=bf17
trainer.accelerator=tpu
trainer.accelerator=quantum
trainer.devices=0
trainer.devices=-7
trainer.gradient_clip_val=-1
trainer.gradient_clip_val=big
trainer.accumulate_grad_batches=0
trainer.limit_train_batches=1.5
trainer.limit_train_batches=-3
trainer.limit_val_batches=none
trainer.check_val_every_n_epoch=0
trainer.deterministic=maybe
trainer.log_every_n_steps=-1
trainer.num_sanity_val_steps=-2
trainer.compile=sometimes
trainer.max_steps=-9
+trainer.strategy=warp
+trainer.logger=true
+trainer.callbacks=[]
+trainer.max_time=tomorrow
+trainer.profiler=mystery
+trainer.val_check_interval=2.5
trainer._target_=os.system
~trainer
trainer=null
data=digitss
data=images
data=arrays data.path=nowhere.npz
data=images data.path=nowhere
data=pairs data.path=nowhere.tsv
data.batch_size=0
data.batch_size=9223372036854775808
data.batch_size=-4
data.batch_size=many
data.batch_size=1.5
data.batch_size=true
data.val=1.2
data.val=-0.1
data.val=0.9 data.test=0.9
data.shift=-1
data.rotate=far
data.scale=2
data.flip=1
data.flipp=true
+data.colour=red
data.facts.classes=9
data.facts.image.height=9
+data.facts.clases=10
data.split_seed=x
data._target_=tasks.data.images.digits.Digit
data=recall data.kind=lagg
data=recall data.lag=0
data=recall data.symbols=-1
data=phrases data.target=xx_YY
data=phrases data.source=english
data=topics data.tokenizer=letters
data=topics data.length=0
data=topics data.tokenizer=bpe data.vocab=5
task=clasify
task=language
task=translate
task=recall
task.label_smoothing=2
task.label_smoothing=-0.1
task.label_smoothing=some
+task.smoothing=0.1
task._target_=torch.nn.CrossEntropyLoss
optimizer=adam
optimizer.lr=-1
optimizer.lr=0
optimizer.lr=fast
optimizer.lr=null
optimizer.weight_decay=-0.1
optimizer.betas=[0.9]
optimizer.betas=[1.5,0.9]
optimizer.betas=0.9
optimizer.learning_rate=0.1
+optimizer.learning_rate=0.1
optimizer=sgd optimizer.momentum=-1
optimizer=sgd optimizer.momentum=0
+optimizer.params=3
optimizer=null
schedule=cosin
schedule.warmup=2.5
schedule.warmup=-0.1
schedule.final=-1
schedule.warmup=long
+schedule.steps=100
schedule._target_=torch.optim.lr_scheduler.StepLR
callbacks.checkpoint.monitor=val/accuracyy
callbacks.checkpoint.mode=up
callbacks.checkpoint.save_last=7
callbacks.checkpoint.dirpat=x
+callbacks.checkpoint.dirpat=x
callbacks.progress.style=loud
+callbacks.stop={_target_: pytorch_lightning.callbacks.EarlyStopping}
+callbacks.stop={_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: val/loss, mode: down}
+callbacks.stop={_target_: pytorch_lightning.callbacks.EarlyStop, monitor: val/loss}
+callbacks.mine={style: bar}
+callbacks.mine=bar
logger=tensorbord
logger.csv.folder=3
logger.csv.file=x
+logger.mine={_target_: tasks.callbacks.logger.CSV}
experiment=mnis
experiment=mnist
seed=-1
seed=half
seed=4294967296
seed=null
seed=true
runs=null
runs=/dev/null/x
weights.load=nowhere.pt
weights.map=timm_vit
weights.freeze=[nothing.*]
weights.freeze=3
weights.learning_rate={nothing: 0.1}
weights.learning_rate={head: -1}
weights.head=new
weights.laod=x
+weights.unfreeze=[]
limits.modules=some
trust=nowhere.Mine
library=[nowhere]
+optimiser.lr=3
modle=vit
model=vit model.params.heads=7
seed=1,2
data.batch_size=010
data.flip=yes
data.flip=None
data.batch_size
=3
data.batch_size=[
FILE data: {flip: yes}
FILE data: {flip: off}
FILE trainer: {max_epochs: 010}
FILE trainer: {max_time: 12:30:45}
FILE data: {val: None}
FILE data: {val: ???}
FILE data: {batch_size: ???}
FILE data: {batchsize: 3}
FILE optimiser: {lr: 3}
FILE trainer: {max_epochs: -5}
FILE trainer: {max_epoch: 5}
FILE callbacks: {progress: {styel: bar}}
FILE defaults: [override /data: nowhere]
FILE defaults: [override /dta: digits]
FILE data: [1, 2]
FILE data: 3
FILE trainer: {max_epochs: 5
FILE seed: 3\nseed: 4
FILE runs: elsewhere
FILE trust: [a.B]
FILE schedule: {warmup: ${nowhere}}
"""


def entries() -> list[str]:
    """Each wrong configuration, one line."""
    return WRONG.strip().splitlines()


def told(entry: str, folder: Path) -> tuple[int, str, str]:
    """Exit status, output and error of a training."""
    (folder / "conf/experiment").mkdir(parents=True)
    words = []
    if entry.startswith("FILE "):
        text = FILE + entry.removeprefix("FILE ").replace("\\n", "\n") + "\n"
        (folder / "conf/experiment/mine.yaml").write_text(text, encoding="utf-8")
        words = ["--config-dir", str(folder / "conf"), "experiment=mine"]
    else:
        words = re.split(r" (?=[+~\w./]+=)", entry) if "{" not in entry else [entry]
    small = (
        ["trainer=debug"]
        if not any(word.lstrip("+~").startswith("trainer") for word in words)
        else []
    )
    return call(["train", *words, *small], folder)


def faults(entry: str, status: int, out: str, err: str, folder: Path) -> list[str]:
    """What is wrong with what a mistake is answered with."""
    lines = err.splitlines()
    found = [f"exit status {status}, not 2"] if status != 2 else []
    if "Traceback" in err or 'File "' in err:
        found.append("a traceback")
    height = sum(max(1, math.ceil(len(line) / COLUMNS)) for line in lines)
    if height > LINES:
        found.append(f"{height} lines")
    if not re.search(r"\.yaml\b|the command line", err):
        found.append("no place")
    if (
        not re.search(r"^  (fits|fix) ", err, re.MULTILINE)
        and "must" not in err
        and "needs" not in err
    ):
        found.append("no way out")
    if list(folder.rglob("run.json")):
        found.append("a run folder is left")
    return found


def main() -> int:
    """Make all mistakes, print the figure; 1 if any is told badly."""
    bad = 0
    for entry in entries():
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place).resolve()
            status, out, err = told(entry, folder)
            found = faults(entry, status, out, err, folder)
        bad += bool(found)
        if found or "--show" in sys.argv:
            print(
                f"{entry}\n  {'; '.join(found) or 'well told'}\n{err.strip()[:900]}\n", flush=True
            )
    print(
        f"{len(entries())} wrong configurations of a training: {len(entries()) - bad} told on "
        f"one screen, {bad} not"
    )
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
