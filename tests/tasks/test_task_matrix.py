"""What every task keeps: explain, check, report, evaluate, predict, export, resume and sweeps."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from blocks.__main__ import main as ask
from blocks.graph import compose
from tasks.__main__ import main as use
from tasks.resume import adopt
from tasks.run import run_folder, train

ROOT = Path(__file__).parents[2]
QUICK = (
    *("trainer.max_epochs=2", "trainer.limit_train_batches=3", "trainer.limit_val_batches=2"),
    *("callbacks.progress.style=none", "schedule=constant"),
)
IMAGES = ROOT / "dougong" / "template" / "digits"


@dataclass(frozen=True)
class Case:
    """A task with data of its own.

    Args:
        words: of the command line.
        inputs: of `predict`.
        taught: whether it needs a teacher.
    """

    words: tuple[str, ...]
    inputs: tuple[str, ...]
    taught: bool = False


SMALL_VIT = ("model.params.depth=1", "model.params.dim=16", "model.params.heads=2")
CASES = {
    "classify": Case(("task=classify", *SMALL_VIT), (str(IMAGES),)),
    "objective": Case(("task=objective", *SMALL_VIT), (str(IMAGES),)),
    "vae": Case(("experiment=vae", "model.params.hidden=16"), (str(IMAGES),)),
    "regress": Case(("experiment=diabetes",), ("rows.csv",)),
    "segment": Case(("experiment=segment", "model.params.width=4", "data.train=64"), ("one.png",)),
    "multilabel": Case(("experiment=multilabel", "data.train=200"), ("one.png",)),
    "contrast": Case(("experiment=simclr", "model.params.width=8"), (str(IMAGES),)),
    "contrast_pairs": Case(
        ("experiment=clip", "data.train=384", "data.val=60", "data.test=80", *SMALL_VIT),
        ("one.png",),
    ),
    "reconstruct": Case(("experiment=mae",), (str(IMAGES),)),
    "distill": Case(
        ("task=distill", "task.match={layers.0: layers.1}", *SMALL_VIT),
        (str(IMAGES),),
        taught=True,
    ),
}


def run(place: Path, *words: str) -> Path:
    words = (*words, *QUICK)
    composed = compose(list(words))
    known = run_folder.describe_start(composed.config, adopt.run_overrides(words), place)
    train.train(composed, place, run_folder.Record(place, **known))
    return place


def find_teacher(case: Case, place: Path) -> Case:
    """Return a case with the run that teaches it, where it needs one."""
    if not case.taught:
        return case
    teacher = run(place, *SMALL_VIT, "model.params.depth=2")
    return replace(case, words=(*case.words, f"task.teacher={teacher}"))


@pytest.fixture(scope="module", params=CASES)
def finished(request, tmp_path_factory):
    """A case and its finished run."""
    folder = tmp_path_factory.mktemp(request.param)
    case = find_teacher(CASES[request.param], folder / "teacher")
    return case, run(folder / "run", *case.words)


def state(place: Path) -> dict[str, torch.Tensor]:
    return torch.load(place / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.slow
def test_explain_and_check_know_it(finished, capsys):
    case, _ = finished
    assert ask(["explain", *case.words]) == 0
    assert ask(["check", *case.words]) == 0


@pytest.mark.slow
def test_its_report_shows_the_metrics_of_the_test(finished):
    _, place = finished
    page = (place / "report.html").read_text(encoding="utf-8")
    record = json.loads((place / "run.json").read_text(encoding="utf-8"))
    assert record["status"] == "finished"
    assert record["test"]
    for name, value in record["test"].items():
        row = rf"{re.escape(name.removeprefix('test/'))}</td>\s*<td[^>]*>{value:.4f}<"
        assert re.search(row, page), name


@pytest.mark.slow
def test_it_is_evaluated_as_it_was_tested(finished, capsys):
    _, place = finished
    capsys.readouterr()
    assert use(["evaluate", str(place)]) == 0
    record = json.loads((place / "run.json").read_text(encoding="utf-8"))
    found = {}
    for line in capsys.readouterr().out.splitlines():
        name, _, value = line.rpartition(" ")
        found[name.replace("test ", "test/")] = float(value)
    assert found == pytest.approx(record["test"], abs=6e-5)


@pytest.mark.slow
def test_it_predicts_a_row_for_each_item(finished, tmp_path, capsys, monkeypatch):
    case, place = finished
    monkeypatch.chdir(tmp_path)
    write_inputs(tmp_path)
    capsys.readouterr()
    status = use(["predict", str(place), *case.inputs, "-o", str(tmp_path / "out")])
    said = capsys.readouterr()
    assert status == 0, said.err
    written = tmp_path / "out"
    count = 3 if case.inputs == ("rows.csv",) else 1
    if case.inputs == (str(IMAGES),):
        count = len(list(IMAGES.iterdir()))
    if written.is_dir():
        assert len(list(written.glob("*.png"))) == count
    else:
        assert len(written.read_text(encoding="utf-8").splitlines()) == count + 1


def write_inputs(folder: Path) -> None:
    from PIL import Image
    from sklearn.datasets import load_diabetes

    Image.new("L", (32, 32), 100).save(folder / "one.png")
    bunch = load_diabetes(scaled=False)
    lines = [",".join(bunch.feature_names)]
    for row in bunch.data[:3]:
        lines.append(",".join(f"{value:g}" for value in row))
    (folder / "rows.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["safetensors", "onnx"])
def test_it_is_exported(finished, tmp_path, kind):
    _, place = finished
    assert use(["export", str(place), "--to", kind, "-o", str(tmp_path / f"model.{kind}")]) == 0
    assert list(tmp_path.iterdir())


@pytest.mark.slow
def test_it_is_resumed_to_the_bit(finished, tmp_path):
    case, place = finished
    part = run(tmp_path / "part", *case.words, "trainer.max_epochs=1")
    run(part, *case.words, f"resume={part}")
    mine, theirs = state(place), state(part)
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        assert torch.equal(value, theirs[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_it_is_swept(name, tmp_path):
    case = find_teacher(CASES[name], tmp_path / "teacher")
    words = [*case.words, *QUICK, "trainer.max_epochs=1", "optimizer.lr=1e-3,1e-2"]
    runs = tmp_path / "runs"
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), "-m", *words, f"runs={runs}"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    records = [json.loads(path.read_text("utf-8")) for path in runs.rglob("run.json")]
    assert [record["status"] for record in records] == ["finished", "finished"]
    assert len({json.dumps(record["test"]) for record in records}) == 2  # the rate was swept
