"""Trainings for a number of seconds, and questions that take too long."""

import anyio
import pytest

from dougong.agents.questions import Questions

VARIANT = ["model=vit", "model/norm=rmsnorm", "model/mlp=swiglu"]


@pytest.mark.slow
def test_a_variant_is_composed_checked_trained_for_20_seconds_and_scored(agent, project):
    assert agent.call("check", overrides=VARIANT)["errors"] == []
    answer = agent.call("train", overrides=[*VARIANT, "trainer.max_epochs=1000"], seconds=20)
    assert answer["stopped"]
    assert answer["status"] == "interrupted"
    scores = agent.call("result", run=answer["run"], rows=1)
    assert scores["metrics"][0]["epoch"] == scores["epochs"] > 1
    assert scores["metrics"][0]["val/accuracy"] > 0.5
    assert (project / answer["run"] / "checkpoints" / "last.ckpt").is_file()
    resumed = agent.call(
        "train", overrides=[f"resume={answer['run']}", "trainer.max_epochs=1"], seconds=60
    )
    assert resumed["run"] == answer["run"]


@pytest.mark.slow
def test_a_training_that_is_wrong_is_answered_with_its_error(agent, project):
    before = sorted(project.rglob("*"))
    answer = agent.call("train", overrides=["+callbacks.x={_target_: os.system}"])
    assert answer["errors"][0]["code"] == "not-allowed"
    answer = agent.call("train", overrides=["logger=wandb", "logger.wandb.offline=false"])
    assert answer["errors"][0]["problem"] == "a file may not send anything away"
    assert sorted(project.rglob("*")) == before


@pytest.mark.slow
def test_a_question_that_takes_too_long_ends_its_process(tmp_path):
    async def ask():
        questions = Questions(tmp_path, seconds=0.01)
        answer, _ = await questions.ask(["explain", "--json"], [])
        assert questions.process is None
        questions.seconds = 100.0
        again, _ = await questions.ask(["list", "--json"], [])
        await questions.stop()
        return answer, again

    answer, again = anyio.run(ask)
    assert answer["errors"][0]["code"] == "too-slow"
    assert again["choices"]
