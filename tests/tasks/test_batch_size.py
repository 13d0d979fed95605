import json

import pytest
import torch
import yaml

from blocks.graph import ConfigError, compose
from tasks.run import run_folder, train
from tasks.run.sections import check_sections
from tasks.tune import batch_size
from tasks.tune.batch_size import StepMeasure, Tried, choose_batch_size, try_batch_sizes


def test_the_batch_doubles_while_it_pays():
    seconds = {4: 1.0, 8: 1.2, 16: 2.3, 32: 9.0}
    found = list(try_batch_sizes(seconds.__getitem__, 4, 1000))
    assert found == [Tried(4, 4.0), Tried(8, 8 / 1.2), Tried(16, 16 / 2.3)]
    assert choose_batch_size(found) == Tried(8, 8 / 1.2)  # 16 is 4 % faster: not worth it


def test_it_ends_where_the_memory_or_the_data_end():
    found = list(try_batch_sizes(lambda size: 1.0 if size < 16 else None, 4, 1000))
    assert found == [Tried(4, 4.0), Tried(8, 8.0), Tried(16, None)]
    assert [tried.batch_size for tried in try_batch_sizes(lambda size: 1.0, 4, 10)] == [4, 8]
    assert [tried.batch_size for tried in try_batch_sizes(lambda size: 1.0, 64, 10)] == [10]


class Data:
    batch_size = 0


def test_what_would_not_fit_is_not_tried(monkeypatch):
    resident = iter([0, 600, 600, 1300])
    monkeypatch.setattr(batch_size, "resident_memory", lambda: next(resident))
    monkeypatch.setattr(batch_size, "free_memory", lambda: 1500)
    tried = []
    measure = StepMeasure(lambda callbacks: tried.append(data.batch_size), data := Data())
    assert [measure(size) is None for size in (4, 8, 16)] == [False, False, True]
    assert tried == [4, 8]


def test_a_full_gpu_is_told_not_raised():
    def fit(callbacks):
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert StepMeasure(fit, Data())(8) is None
    assert str(Tried(1024, None)) == "     1,024  too large"


def test_the_word_tune_tells_the_batch_size_and_trains_nothing(tmp_path, capsys):
    words = ["tune=true", "model.params.depth=1", "model.params.dim=16", "data.batch_size=700"]
    composed = compose(words)
    known = run_folder.describe_start(composed.config, words, tmp_path)
    record = run_folder.Record(tmp_path, **known)
    assert train.train(composed, tmp_path, record) == {}
    kept = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert kept["status"] == "finished"
    assert [each["batch_size"] for each in kept["tune"]] == [700]
    assert (
        capsys.readouterr()
        .out.splitlines()[-1]
        .startswith("data.batch_size=700 is the smallest within 5% of the fastest; another")
    )
    assert yaml.safe_load((tmp_path / "config.yaml").read_text(encoding="utf-8"))["tune"] is True
    assert not (tmp_path / "checkpoints").exists()


def test_another_word_than_true_is_told():
    with pytest.raises(ConfigError) as error:
        check_sections(compose(["tune=fast"]))
    assert str(error.value) == (
        "the command line: tune=fast  tune\n"
        "  tune must be true or false\n"
        "  got       tune='fast'\n"
        "  from      the command line: tune=fast\n"
        "  fits      tune=true"
    )
