import csv
import os

import pytest

from blocks.graph import ConfigError
from tasks.run import run_folder
from tasks.sweep import plan, results, table


@pytest.fixture
def place(tmp_path):
    """A sweep of six: five of two settings with seeds, of which one was killed, and one that cannot
    be composed.
    """
    jobs = [
        {"overrides": [f"model={m}", f"seed={s}", "trainer=debug"], "folder": f"{m}{s}"}
        for m in "ab"
        for s in (1, 2)
    ]
    jobs += [{"overrides": ["model=b", "seed=3", "trainer=debug"], "folder": "b3"}]
    jobs += [
        {"overrides": ["model=c", "seed=1", "trainer=debug"], "error": "no option c\n  fits a, b"}
    ]
    plan.write_plan(tmp_path, jobs)
    for number, job in enumerate(jobs[:4]):
        record = run_folder.Record(tmp_path / job["folder"])
        record.add(
            status="finished",
            seconds=3.2,
            test={"test/loss": 0.5, "test/accuracy": 0.9 + number / 50},
        )
    run_folder.Record(tmp_path / "b3")
    return tmp_path


def test_the_table_has_every_run_the_means_and_the_reasons(place):
    assert table.format_table(plan.read_rows(place)) == (
        "job  model  seed  status    test accuracy  test loss  seconds\n"
        "---  -----  ----  --------  -------------  ---------  -------\n"
        "  0  a         1  finished         0.9000     0.5000        3\n"
        "  1  a         2  finished         0.9200     0.5000        3\n"
        "  2  b         1  finished         0.9400     0.5000        3\n"
        "  3  b         2  finished         0.9600     0.5000        3\n"
        "  4  b         3  died\n"
        "  5  c         1  failed\n"
        "\n"
        "model  runs  test accuracy (mean ± std)  test loss (mean ± std)\n"
        "-----  ----  --------------------------  ----------------------\n"
        "a         2             0.9100 ± 0.0141         0.5000 ± 0.0000\n"
        "b         2             0.9500 ± 0.0141         0.5000 ± 0.0000\n"
        "c         0\n"
        "\n"
        "job 4 died: model=b seed=3 trainer=debug\n"
        "  it was killed: its record says that it is still running\n"
        "\n"
        "job 5 failed: model=c seed=1 trainer=debug\n"
        "  no option c\n"
        "    fits a, b"
    )


def test_the_same_as_csv(place):
    table.write_csv(place, plan.read_rows(place))
    with (place / "sweep.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["finished"] * 4 + ["died", "failed"]
    assert rows[3]["test/accuracy"] == "0.96"
    assert rows[5]["error"] == "no option c fits a, b"
    with (place / "sweep_mean.csv").open(encoding="utf-8") as file:
        means = list(csv.DictReader(file))
    assert [(row["model"], row["runs"], row["failed"]) for row in means] == [
        ("a", "2", "0"),
        ("b", "2", "1"),
        ("c", "0", "1"),
    ]
    assert float(means[0]["test/accuracy std"]) == pytest.approx(0.02 / 2**0.5)


def test_one_seed_has_no_spread(tmp_path):
    plan.write_plan(tmp_path, [{"overrides": ["seed=1"], "folder": "0"}])
    run_folder.Record(tmp_path / "0").add(status="finished", seconds=1, test={"test/accuracy": 0.5})
    (mean,) = results.group_by_seed(plan.read_rows(tmp_path))
    assert mean["test/accuracy std"] != mean["test/accuracy std"]  # not a number


def test_a_job_that_never_started_is_not_run(tmp_path):
    plan.write_plan(tmp_path, [{"overrides": ["seed=1"], "folder": "0"}])
    assert plan.read_rows(tmp_path)[0]["status"] == "not run"


def test_the_newest_sweep_of_the_same_command_is_found(tmp_path):
    for number, command in enumerate((["seed=1,2"], ["seed=1,2"], ["seed=3"])):
        plan.write_plan(tmp_path / str(number), [], command)
        os.utime(tmp_path / str(number) / plan.PLAN, (number, number))
    assert plan.find_latest(tmp_path, ["seed=1,2"]) == tmp_path / "1"
    assert plan.find_latest(tmp_path, ["seed=4"]) is None


def test_what_did_not_finish_or_was_composed_to_other_values_runs_again(place):
    jobs = plan.read_plan(place)["jobs"]
    configs = {number: {"seed": number} for number in range(5)}
    for number in range(4):
        (place / jobs[number]["folder"] / "config.yaml").write_text(
            f"seed: {number if number != 2 else 99}\n", encoding="utf-8"
        )
    assert plan.find_missing(place, jobs, configs) == [2, 4]  # the sixth cannot be composed
    with pytest.raises(ConfigError, match="holds a sweep with other jobs"):
        plan.find_missing(place, jobs[:3], configs)


def test_numbers_that_follow_each_other_stand_together():
    assert plan.group_consecutive([1, 2, 5, 7, 8]) == [[1, 2], [5], [7, 8]]
    assert plan.group_consecutive([]) == []


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (-15, "the process was ended by SIGTERM"),
        (-9, "the process was ended by SIGKILL; if nobody did so, the system was out of memory"),
        (3, "it exited with status 3"),
    ],
)
def test_how_a_process_ended_is_written_into_a_record_that_could_not_say_it(tmp_path, status, told):
    run_folder.Record(tmp_path / "0")
    results.record_end(tmp_path / "0", status)
    record = run_folder.read_record(tmp_path / "0")
    assert (record["status"], record["error"]) == ("died", told)
    finished = run_folder.Record(tmp_path / "1")
    finished.add(status="finished")
    results.record_end(tmp_path / "1", status)
    assert run_folder.read_record(tmp_path / "1") == {"status": "finished"}
