import csv
import json
import re
import threading

import pytest
import torch
import yaml

from blocks.graph import ConfigError, assemble, compose
from blocks.graph.compose.compose import Composed
from tasks.run import run_folder, train
from tasks.run.data_facts import read_data
from tasks.run.sections import check_sections
from tasks.session.command_line import parse_command_line
from tasks.session.session import config_options

SMALL = [
    "model=vit",
    "data=digits",
    "trainer=debug",
    "model.params.depth=1",
    "model.params.dim=16",
    "callbacks.progress.style=none",
]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One small run: its folder, its configuration and its metrics."""
    place = tmp_path_factory.mktemp("run")
    composed = compose(SMALL)
    record = run_folder.Record(place, **run_folder.describe_start(composed.config, SMALL, place))
    return place, composed, train.train(composed, place, record)


def told(overrides):
    composed = compose(overrides)
    try:
        check_sections(composed)
        read_data(composed)
    except ConfigError as error:
        return str(error)
    return pytest.fail("nothing was told")


def test_a_run_leaves_everything_worth_keeping(done):
    place = done[0]
    names = {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}
    assert names == {
        *(
            "config.yaml",
            "run.json",
            "metrics.csv",
            "predictions.csv",
            "curves.svg",
            "confusion.svg",
            "report.html",
        ),
        "reader.json",
        *("nodes.csv", "gradients.svg", "updates.svg"),
        *("checkpoints/best.ckpt", "checkpoints/last.ckpt"),
    }


def test_the_record_says_what_ran_and_how_it_ended(done):
    place, _, metrics = done
    record = run_folder.read_record(place)
    assert record["status"] == "finished"
    assert record["test"] == metrics
    assert set(metrics) == {"test/accuracy", "test/loss"}
    assert record["command"].startswith("python train.py model=vit data=digits trainer=debug ")
    assert {"python", "torch", "pytorch-lightning", "hydra-core"} <= set(record["versions"])
    assert record["facts"] == {"image": {"channels": 1, "height": 8, "width": 8}, "classes": 10}
    assert record["git"] is None  # the folder given is no checkout


def test_the_kept_configuration_describes_the_same_network(done):
    place, composed, _ = done
    kept = yaml.safe_load((place / "config.yaml").read_text(encoding="utf-8"))
    network = assemble(Composed(kept))
    assert [name for name, _ in network.named_parameters()] == [
        name for name, _ in assemble(composed).named_parameters()
    ]


def test_a_checkpoint_is_plain_data_and_gives_the_network_back(done):
    place, _, _ = done
    kept = torch.load(place / "checkpoints" / "best.ckpt", weights_only=True)
    network = assemble(
        Composed(kept["hyper_parameters"]["config"]), kept["hyper_parameters"]["facts"]
    )
    weights = {
        key.removeprefix("network."): v
        for key, v in kept["state_dict"].items()
        if key.startswith("network.")
    }
    network.load_state_dict(weights)
    data = read_data(compose(SMALL))
    batch = next(iter(data.test_dataloader()))
    with torch.no_grad():
        share = network.eval()(image=batch["image"])["logits"].softmax(1)
    with (place / "predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["prediction"] for row in rows[:64]] == [
        str(int(number)) for number in share.argmax(1)
    ]
    assert float(rows[5]["share"]) == pytest.approx(float(share[5].max()), abs=1e-4)


def test_metrics_have_one_row_for_each_epoch(done):
    with (done[0] / "metrics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", "4"), ("2", "8")]
    assert all(
        float(row[name]) >= 0 for row in rows for name in ("train/loss", "val/loss", "val/accuracy")
    )
    assert rows[1]["test/accuracy"]
    assert not rows[0]["test/accuracy"]


def test_the_report_needs_no_network_and_holds_all(done):
    page = (done[0] / "report.html").read_text(encoding="utf-8")
    addresses = re.findall(r"""(?:src|href)=["']([^"']{0,30})""", page) + re.findall(
        r"@import|url\((?!#)", page
    )
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in addresses)
    assert "<script" not in page
    for word in (
        "Learning curves",
        "Confusion matrix",
        "Architecture",
        "SelfAttention",
        "python train.py",
        "vit on digits",
    ):
        assert word in page


def test_the_same_seed_gives_the_same_numbers(done, tmp_path):
    composed = compose(SMALL)
    known = run_folder.describe_start(composed.config, SMALL, tmp_path)
    record = run_folder.Record(tmp_path, **known)
    assert train.train(composed, tmp_path, record) == done[2]
    other = compose([*SMALL, "seed=1"])
    assert (
        train.train(
            other, tmp_path / "other", run_folder.Record(tmp_path / "other", **record.entries)
        )
        != done[2]
    )


def test_folders_are_unique_even_for_fifty_starts_at_once(tmp_path):
    found = []
    wanted = tmp_path / "12-00-00"
    threads = [
        threading.Thread(target=lambda: found.append(run_folder.claim_folder(wanted)))
        for _ in range(50)
    ]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(set(found)) == 50
    assert {path.name for path in found} == {
        "12-00-00",
        *(f"12-00-00-{number}" for number in range(2, 51)),
    }


def test_a_record_is_replaced_as_a_whole(tmp_path):
    record = run_folder.Record(tmp_path, seed=3)
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8")) == {
        "status": "running",
        "seed": 3,
    }
    record.add(status="failed", error="x")
    assert run_folder.read_record(tmp_path) == {"status": "failed", "seed": 3, "error": "x"}
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_folder_with_a_run_is_not_used_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_folder.Record(tmp_path / "mine")
    with pytest.raises(ConfigError) as error:
        run_folder.check_unused(tmp_path / "mine")
    assert str(error.value) == (
        "the command line  hydra.run.dir\n"
        "  mine holds a run already\n"
        "  fix       another hydra.run.dir, or leave it out for a new folder"
    )


def test_a_command_survives_the_shell():
    assert run_folder.format_command(["model=vit", "model.params.name=a b", "data.path='x,y'"]) == (
        "python train.py model=vit 'model.params.name=a b' 'data.path='\"'\"'x,y'\"'\"''"
    )


def test_the_recorded_command_names_the_folder_of_its_model(tmp_path):
    words = ["--config-dir", "mine", "model=vit"]
    config = {"seed": 0}
    known = run_folder.describe_start(config, words[2:], tmp_path, words[:2])
    assert known["command"] == "python train.py --config-dir mine model=vit"
    assert known["overrides"] == ["model=vit"]
    assert config_options(parse_command_line(words)) == words[:2]


def test_a_section_that_nobody_reads_is_told():
    assert told(["+optimiser.lr=3"]) == (
        "the command line: +optimiser.lr=3  optimiser\n"
        "  there is no section optimiser\n"
        "  fits      model, data, task, optimizer, schedule, trainer, callbacks, logger, seed, "
        "library, trust, limits, "
        "runs, resume, weights, picture, study, ckpt_path, carry_over, tune\n"
        "  fix       did you mean optimizer?"
    )


@pytest.mark.parametrize("seed", ["-1", "half", "4294967296", "1.5"])
def test_a_seed_is_a_whole_number(seed):
    assert "seed must be a whole number from 0 to 4294967295" in told([f"seed={seed}"])


def test_declared_facts_are_checked_against_the_data():
    assert told(["data=digits", "data.facts.classes=9"]) == (
        "the command line: data.facts.classes=9  data.facts.classes\n"
        "  the data differ from what is declared\n"
        "  got       classes=9 declared, classes=10 read\n"
        "  fix       data.facts.classes=10, or leave it out"
    )


def test_data_without_a_path_say_so():
    assert told(["data=images"]).endswith(
        "data.path\n  path is missing\n  fix       data.path=FOLDER, or data.table=FILE"
    )


def test_a_loss_that_is_no_number_ends_the_run_before_a_checkpoint_is_written(tmp_path):
    overrides = [*SMALL, "optimizer=sgd", "optimizer.lr=1e30", "trainer.gradient_clip_val=null"]
    with pytest.raises(
        RuntimeError,
        match=r"the loss or a gradient became infinite or not a number in epoch 1, step 2, at a "
        r"learning rate of",
    ):
        train.train(compose(overrides), tmp_path, run_folder.Record(tmp_path, notes=[]))
    assert not list(tmp_path.rglob("*.ckpt"))
