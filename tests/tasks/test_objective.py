"""Losses composed in YAML: their sum, what they read, what is refused, and what is stored."""

import json
import re

import pytest
import torch
import torch.nn.functional as F

from blocks.__main__ import main
from blocks.graph import ConfigError, compose, plan
from tasks.learn.metrics.catalog import METRICS, make_metric
from tasks.resume import adopt
from tasks.run import run_folder, train
from tasks.run.build import make_task
from tasks.run.data_facts import read_data
from tasks.run.evaluate import evaluate_run
from tasks.run.load_run import open_run
from tasks.run.objective import list_batch, plan_objective

SMALL = ["model=vit", "model.params.depth=2", "model.params.dim=16", "model.params.heads=2"]
QUIET = ["callbacks.progress.style=none", "callbacks.nodes=null", "trainer.limit_train_batches=4"]
TWO_TERMS = (
    "+task.loss.early={block: SquaredError, in: [layers.0, layers.1], weight: 1 / data.classes}"
)


def run(place, *words):
    words = ["task=objective", *SMALL, *QUIET, *words]
    composed = compose(words)
    known = run_folder.describe_start(composed.config, adopt.run_overrides(words), place)
    train.train(composed, place, run_folder.Record(place, **known))
    return place


def built(*words):
    """A task and a batch of its data."""
    composed = compose(["task=objective", *SMALL, *words])
    data = read_data(composed)
    planned = plan(composed, data.facts())
    objective = plan_objective(composed, planned)
    task = make_task(composed, planned.materialise(), data.facts(), {}, objective)
    return task, next(iter(data.loader("test")))


def refusal(*words):
    composed = compose(["task=objective", *SMALL, *words])
    with pytest.raises(ConfigError) as error:
        plan_objective(composed, plan(composed))
    return str(error.value)


def test_the_loss_is_the_weighted_sum_of_terms_over_outputs_inner_nodes_and_the_batch():
    task, batch = built(TWO_TERMS)
    task.eval()
    values = {}
    for path in ("layers.0", "layers.1"):
        module = task.network.get_submodule(path)
        module.register_forward_hook(lambda m, i, out, path=path: values.update({path: out}))
    logits = task.network(batch["image"])["logits"]
    cross = F.cross_entropy(logits, batch["label"])
    early = F.mse_loss(values["layers.0"], values["layers.1"])
    torch.testing.assert_close(task.compute_loss(batch), cross + 0.1 * early)
    assert not task.outputs_of["model"].found  # no graph of gradients stays alive


def test_a_composed_cross_entropy_trains_as_the_task_that_is_written_for_it():
    task, batch = built("+task.loss.cross.label_smoothing=0.1")
    plain = compose(["task=classify", *SMALL])
    written = make_task(plain, task.network, task.facts, {})
    torch.testing.assert_close(task.compute_loss(batch), written.compute_loss(batch))


def test_terms_and_metrics_are_logged_by_their_names():
    task, _ = built(TWO_TERMS)
    wanted = [f"val/{name}" for name in ("loss", "cross", "early", "accuracy")]
    assert [name for name in task.metric_names() if name.startswith("val/")] == wanted
    assert task.headline == "accuracy"


WRONG = {
    "task.loss.cross.in=[logit,batch.label]": """\
conf/task/objective.yaml:4:3  task.loss.cross
  no node or input 'logit' here, before this one
  got       in: logit
  from      the command line: task.loss.cross.in=[logit,batch.label]
  fits      did you mean logits?""",
    "task.loss.cross.in=[logits,batch.labels]": """\
conf/task/objective.yaml:4:3  task.loss.cross
  'batch' has no output 'labels'
  got       in: batch.labels
  from      the command line: task.loss.cross.in=[logits,batch.labels]
  fits      index, label, image""",
    "task.loss.cross.in=[logits,batch]": """\
conf/task/objective.yaml:4:3  task.loss.cross
  'batch' has many values
  got       in: batch
  fits      batch.NAME""",
    "task.loss.cross.block=CrosEntropy": """\
conf/task/objective.yaml:4:3  task.loss.cross
  no block 'CrosEntropy'
  got       block: CrosEntropy
  from      the command line: task.loss.cross.block=CrosEntropy
  fits      did you mean CrossEntropy or BinaryCrossEntropy?
  fix       python -m blocks catalog lists all; blocks of your own come with library=[FOLDER]""",
    "+task.loss.cross.weight=lots": """\
the command line: +task.loss.cross.weight=lots  task.loss.cross.weight
  a weight is a number
  got       weight: lots
  fits      weight: 0.1""",
    "+task.loss.more={block: ReLU, in: logits}": """\
the command line: +task.loss.more={block: ReLU, in: logits}  task.loss.more
  a term of a loss is one number, the mean over the batch
  got       (batch, 10)
  fits      a block of losses: CrossEntropy, SquaredError, ...
  fix       or put it under `nodes`, and take its mean: {block: Mean, in: NODE}""",
    "task.metrics.accuracy.block=Acuracy": """\
the command line: task.metrics.accuracy.block=Acuracy  task.metrics.accuracy.block
  no metric 'Acuracy'
  got       block: Acuracy
  fits      Accuracy, F1, AUROC, Overlap, AbsoluteError, SquaredError, R2, Mean""",
    "+task.metrics.accuracy.top=11": """\
the command line: +task.metrics.accuracy.top=11  task.metrics.accuracy.top
  top is between 1 and the 10 classes
  got       top=11
  fits      top=1""",
    "task.loss=null": """\
the command line: task.loss=null  task.loss
  an objective has at least one term
  fits      loss: {cross: {block: CrossEntropy, in: [logits, batch.label]}}""",
}


@pytest.mark.parametrize("word", WRONG)
def test_a_mistake_is_told_with_its_place(word):
    assert refusal(word) == WRONG[word]


def test_the_data_say_what_a_batch_holds():
    for words, wanted in {
        ("data=digits",): {"index": (), "label": (), "image": (1, 8, 8)},
        ("data=diabetes", "task=regress", "model=table_mlp"): {
            "index": (),
            "target": (1,),
            "numbers": (10,),
            "categories": (1,),
        },
        ("data=topics", "task=language", "model=gpt"): {
            "index": (),
            "label": (128,),
            "tokens": (128,),
        },
    }.items():
        composed = compose(words)
        data = read_data(composed)
        found = list_batch(composed, data.facts())
        assert {name: value.shape[1:] for name, value in found.items()} == wanted
        batch = next(iter(data.loader("val")))
        for name, value in found.items():
            assert tuple(batch[name].shape[1:]) == value.shape[1:], name
            assert batch[name].dtype == value.tensor.dtype, name


def test_a_term_whose_condition_does_not_hold_is_left_out():
    task, _ = built(
        "+task.loss.more={block: Mean, in: logits, when: 'data.classes > 10'}",
        "+task.loss.other={block: Mean, in: logits, when: 'data.classes == 10'}",
    )
    assert list(task.weights) == ["cross", "other"]
    told = refusal("+task.loss.cross.when='data.classes > 10'")
    assert "an objective has at least one term" in told


def test_nodes_of_the_objective_are_read_by_terms_and_metrics():
    task, batch = built(
        "+task.nodes={share: {block: Softmax, in: logits, axis: -1}}",
        "+task.metrics.sure={block: Mean, in: share}",
        "+task.loss.sure={block: Mean, in: share, weight: -1}",
    )
    with torch.no_grad():
        values = task.evaluate(batch)
    assert float(values["sure"]) == pytest.approx(0.1, abs=1e-6)  # shares of ten classes
    total = float(values["cross"]) - 0.1
    assert task.compute_loss(batch).item() == pytest.approx(total, abs=1e-5)


def test_metrics_have_the_shapes_of_what_they_judge():
    logits, label = torch.randn(5, 3, 7), torch.randint(3, (5, 7))
    label[0] = -100
    kind, metric = make_metric({"block": "Accuracy"}, [logits.shape, label.shape])
    metric.update(*kind.prepare(logits, label))
    wanted = (logits.argmax(1) == label)[1:].double().mean()
    assert float(metric.compute()) == pytest.approx(float(wanted))
    assert set(METRICS) >= {"Accuracy", "F1", "AUROC", "R2"}


def test_explain_shows_the_terms_with_their_shapes(capsys):
    assert main(["explain", "experiment=vae"]) == 0
    lines = [re.split(r"  +", line) for line in capsys.readouterr().out.splitlines()[-7:]]
    images = "reconstruction (batch, 1, 8, 8), batch.image (batch, 1, 8, 8)"
    assert lines[1:3] + lines[4:5] + lines[6:] == [
        ["reconstruction", "SquaredError", images, "1"],
        ["divergence", "GaussianKL", "mean (batch, 8), log_variance (batch, 8)", "0.007812"],
        ["metric", "block", "inputs"],
        ["r2", "R2", images],
    ]
    assert main(["explain", "experiment=vae", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["objective"]
    assert [term["weight"] for term in found["terms"]] == [1.0, 0.5 / 64]


def test_check_finds_a_wrong_term(capsys):
    assert main(["check", "experiment=vae", "task.loss.divergence.in=[mean,reconstruction]"]) == 2
    assert "GaussianKL: mean and log_variance have one shape" in capsys.readouterr().out


def test_small_batches_together_are_a_large_one(tmp_path):
    words = [
        *("optimizer=sgd", "optimizer.lr=0.05", "optimizer.weight_decay=0.0", TWO_TERMS),
        *("trainer.gradient_clip_val=null", "trainer.max_epochs=1"),
        *("data.shift=0", "data.rotate=0", "data.scale=0"),
    ]
    large = open_run(run(tmp_path / "a", "data.batch_size=32", *words))
    small = open_run(
        run(
            tmp_path / "b",
            "data.batch_size=8",
            "trainer.accumulate_grad_batches=4",
            "trainer.limit_train_batches=16",
            *words,
        )
    )
    for mine, theirs in zip(large.network.parameters(), small.network.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=2e-6)


def test_a_student_learns_from_a_run_and_from_its_nodes(tmp_path):
    teacher = run(tmp_path / "teacher", "trainer.max_epochs=1", "model.params.depth=3")
    words = [
        *("task=distill", f"task.teacher={teacher}", "model.params.dim=12"),
        *("task.match={layers.0: layers.1, layers.1: layers.2}", "trainer.max_epochs=1"),
    ]
    student = run(tmp_path / "student", *words)
    found = json.loads((student / "run.json").read_text(encoding="utf-8"))["test"]
    assert {"test/soft", "test/match_0", "test/match_1", "test/cross"} <= set(found)
    opened = open_run(student)
    projections = [name for name in opened.terms if name.endswith("weight")]
    assert projections == ["match_0_projected.weight", "match_1_projected.weight"]
    assert evaluate_run(opened, {}) == pytest.approx(found, abs=1e-6)
    # the projections are trained with the student
    start = torch.load(student / "checkpoints" / "last.ckpt", weights_only=True)
    state = start["optimizer_states"][0]["state"]
    assert len(state) == len(list(opened.network.parameters())) + len(opened.terms)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["task.match={layers.9: layers.1}"], "the model has no node layers.9"),
        (["task.match={layers.0: layer.1}"], "the teacher has no node layer.1"),
        (["task.match={layers.0: head}"], "matched nodes differ in more than their width"),
        (["data.split_seed=0", "task.teacher=nowhere"], "nowhere is no run folder"),
    ],
)
def test_a_teacher_that_does_not_fit_is_told(tmp_path_factory, words, text):
    folder = tmp_path_factory.getbasetemp() / "one_teacher"
    if not folder.exists():
        run(folder, "trainer.max_epochs=1")
    composed = compose(["task=distill", *SMALL, f"task.teacher={folder}", *words])
    with pytest.raises(ConfigError) as error:
        plan_objective(composed, plan(composed))
    assert text in str(error.value)


@pytest.mark.slow
def test_a_run_resumes_to_the_bit(tmp_path):
    words = [TWO_TERMS, "schedule=constant"]
    whole = run(tmp_path / "whole", *words, "trainer.max_epochs=4")
    part = run(tmp_path / "part", *words, "trainer.max_epochs=2")
    run(part, *words, "trainer.max_epochs=4", f"resume={part}")
    states = []
    for place in (whole, part):
        found = torch.load(place / "checkpoints" / "last.ckpt", weights_only=True)
        states.append(found["state_dict"])
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
