"""The experiments behind docs/results.md: every file composes, and the page says what the figures
say.
"""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

from blocks.graph import compose
from blocks.graph.compose.combinations import combinations
from blocks.graph.compose.compose import opened_hydra
from blocks.graph.read.loader import CachedLoader
from tasks.run import run_folder
from tasks.run.sections import check_sections
from tasks.sweep import figure, plan, study

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))
spec = importlib.util.spec_from_file_location("experiments", ROOT / "docs" / "experiments.py")
assert spec is not None
assert spec.loader is not None
experiments = importlib.util.module_from_spec(spec)
spec.loader.exec_module(experiments)
CLAIMS = {claim.name: claim for claim in experiments.CLAIMS}
Figures = experiments.Figures
readings, places, properties = (sys.modules[name] for name in ("readings", "places", "properties"))
share_of_a_set, joint_verdict = readings.share_of_a_set, readings.joint_verdict


@pytest.mark.parametrize("name", CLAIMS)
def test_every_arm_of_a_claim_composes_and_has_a_picture(name):
    loader = CachedLoader()
    with opened_hydra():
        listed = combinations([f"experiment={name}"])
        design = experiments.study_of(name)
        arms = study.Study(choose={}, by="val/loss").list_arms(listed)
        if design:
            arms = [design.list_trials(arm)[-1] for arm in design.list_arms(listed)]
        found = [compose(each, loader=loader) for each in arms]
    assert len(found) > 1
    for composed in found:
        check_sections(composed)
    assert figure.read_picture(found[0]) is not None
    assert not compose([f"experiment={name}"]).config.get("hydra")  # alone it is one run


def test_every_claim_states_its_command_and_its_minutes():
    for name in CLAIMS:
        text = (ROOT / "conf" / "experiment" / f"{name}.yaml").read_text(encoding="utf-8")
        head = [line for line in text.splitlines() if line.startswith("#")]
        assert f"#   python train.py -m experiment={name}" in head, name
        assert any("minute" in line for line in head), name


def test_the_page_says_what_the_figures_say():
    old = experiments.PAGE.read_text(encoding="utf-8")
    assert experiments.written(old) == old, "run python docs/experiments.py --page"


def test_what_is_written_by_hand_stays():
    old = experiments.PAGE.read_text(encoding="utf-8")
    by_hand = "\n\n## Mine\n\nwords\n"
    assert experiments.written(
        old.partition(experiments.END)[0] + experiments.END + by_hand
    ).endswith(by_hand)


def figures(measure="test/accuracy", **arms):
    """The runs of arms, each a list of values by seed, or such a list for each lag."""
    return Figures(
        [
            {
                "settings": {"study.arm": arm, "data.lag": str(lag), "seed": str(seed)},
                measure: value,
            }
            for arm, lags in arms.items()
            for lag, values in lags.items()
            for seed, value in enumerate(values)
        ]
    )


def test_a_difference_is_that_of_pairs_of_equal_seeds():
    found = figures(a={5: [0.1, 0.5, 0.9]}, b={5: [0.0, 0.41, 0.79]})
    difference = found.paired("test/accuracy", {"arm": "a"}, {"arm": "b"})
    assert difference.mean == pytest.approx(0.1)
    assert (difference.low, difference.high) == pytest.approx((0.0752, 0.1248), abs=1e-3)
    assert difference.verdict() == "confirmed"
    assert found.paired("test/accuracy", {"arm": "b"}, {"arm": "a"}).verdict() == "refuted"
    wide = figures(a={5: [0.9, 0.1]}, b={5: [0.5, 0.4]})
    assert wide.paired("test/accuracy", {"arm": "a"}, {"arm": "b"}).verdict() == "not decided"


def test_a_verdict_of_several_differences_is_that_of_the_weakest():
    above, around, below = (readings.Difference(x, x - 0.1, x + 0.1) for x in (0.2, 0.0, -0.2))
    assert joint_verdict(above, above) == "confirmed"
    assert joint_verdict(above, around) == "not decided"
    assert joint_verdict(around, below) == "refuted"


def test_the_reach_of_a_memory_ends_at_its_first_failure():
    spread = (0.0, 0.01, -0.01, 0.005, -0.005)

    def read(**lines):
        found = figures(
            **{
                arm: {
                    lag: [x - step for step in spread]
                    for lag, x in zip((5, 20, 80), line, strict=True)
                }
                for arm, line in lines.items()
            }
        )
        rows = [{**row, "val/accuracy": row["test/accuracy"]} for row in found.rows]
        return CLAIMS["memory"].read(Figures(rows))

    lines = {
        "rnn": (0.98, 0.2, 0.95),
        "orthogonal": (0.98, 0.95, 0.2),
        "gru": (0.98, 0.98, 0.97),
        "lstm": (0.98, 0.1, 0.1),
        "chrono": (0.98, 0.98, 0.5),
        "attention": (0.98, 0.98, 0.98),
    }
    verdict, words = read(**lines | {"rnn": (0.98, 0.2, 0.12)})
    assert verdict == "confirmed"
    assert "RNN 5 steps, RNN with an orthogonal start 20 steps, GRU 80 steps" in words
    assert "RNN 5 steps" in read(**lines)[1]  # right at 80 is no reach where 20 fails
    assert read(**lines | {"attention": (0.98, 0.98, 0.5)})[0] == "not decided"
    assert read(**lines | {"rnn": (0.12, 0.12, 0.12)})[0] == "not judged"


def test_what_a_set_tells_of_a_sequence():
    assert share_of_a_set(1, 5) == pytest.approx(1)
    assert share_of_a_set(2, 2) == pytest.approx((1 + 3 / 4) / 2)  # both alike half of the time
    assert share_of_a_set(3, 10**6) == pytest.approx((1 + 1 / 2 + 1 / 3) / 3, abs=1e-5)


def test_a_choice_is_told_apart_from_the_seed():
    def found(choice, seed):
        rows = [
            {
                "settings": {"model/pool": p, "model/activation": a, "seed": str(n)},
                "test/accuracy": 0.9 + choice * x + seed * n + noise * (-1) ** (n + y),
            }
            for x, p in enumerate(("average", "max"))
            for y, a in enumerate(("relu", "tanh"))
            for n in range(5)
        ]
        return CLAIMS["pooling"].read(Figures(rows))

    noise = 0.001
    verdict, words = found(choice=0.02, seed=0.0)
    assert verdict == "confirmed"
    assert "matters less" not in words
    verdict, words = found(choice=0.0, seed=0.005)
    assert verdict == "not decided"
    assert words.endswith("The choice matters less than the seed.")


def test_pairs_that_have_not_learned_are_not_judged():
    def found(sgd):
        right = {("adamw", 0.01): 0.95, ("adamw", 0.1): 0.5, ("sgd", 0.01): 0.4, ("sgd", 0.1): sgd}
        rows = [
            {
                "settings": {
                    "optimizer": optimizer,
                    "task.loss": "cross_entropy",
                    "optimizer.lr": str(rate),
                    "seed": str(n),
                },
                "val/accuracy": value,
                "test/accuracy": value + n / 1000,
            }
            for (optimizer, rate), value in right.items()
            for n in range(5)
        ]
        return CLAIMS["rates"].read(Figures(rows))

    verdict, words = found(0.96)
    assert verdict == "confirmed"
    assert "adamw with cross entropy at 0.01 (0.952), sgd with cross entropy at 0.1" in words
    assert found(0.8)[0] == "not judged"


def test_a_claim_with_too_few_seeds_is_not_decided(tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "FIGURES", tmp_path)
    for seeds, verdict in ((4, "**Not decided: 4 seeds"), (5, "**Confirmed.**")):
        rows = [
            {
                "settings": {"study.arm": arm, "seed": str(seed)},
                "status": "finished",
                "test/accuracy": right + seed / 1000,
            }
            for arm, right in (("shifted", 0.95), ("unshifted", 0.9))
            for seed in range(seeds)
        ]
        found = {"rows": rows, "machine": None, "versions": {"python": "", "torch": ""}, "day": ""}
        (tmp_path / "shift.json").write_text(json.dumps(found), encoding="utf-8")
        assert verdict in "\n".join(experiments.section(9, CLAIMS["shift"]))


def test_a_change_whose_interval_contains_zero_is_not_told_apart():
    bits = {"gpt2": (2.0, 2.1, 2.2), "rotary": (1.8, 1.9, 1.99), "swiglu": (1.9, 2.3, 2.2)}
    bits |= {"qk_norm": (2.5, 2.6, 2.71), "all": (1.6, 1.7, 1.81)}
    measure = "test/bits_per_character"
    rows = [
        {"settings": {"experiment/modern": arm, "seed": str(seed)}, measure: value}
        for arm, values in bits.items()
        for seed, value in enumerate(values)
    ]
    verdict, words = CLAIMS["modern"].read(Figures(rows))
    assert verdict == "confirmed"
    assert "the best change alone, rotary, 1.897." in words
    assert "better: rotary -0.203 [-0.218, -0.189], all -0.397 [-0.411, -0.382]" in words
    assert "worse: qk_norm +0.503 [+0.489, +0.518]; not told apart: swiglu +0.033 [" in words


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folder of a sweep of two runs, and a docs/ to record it in."""
    monkeypatch.setattr(experiments, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(experiments, "FIGURES", tmp_path / "results")
    monkeypatch.setattr(experiments, "PICTURES", tmp_path / "results")
    place = experiments.place_of("shift")
    plan.write_plan(place / study.TRIED, [])
    plan.write_plan(place, [{"overrides": [f"seed={n}"], "folder": str(n)} for n in range(2)])
    (place / figure.NAME).write_text("<svg/>", encoding="utf-8")
    return place


def test_a_sweep_that_was_stopped_is_gone_on_with_and_not_recorded(place):
    run_folder.Record(place / "0").add(status="finished", seconds=1.0, test={"test/accuracy": 0.5})
    run_folder.Record(place / "1")  # killed: it says that it runs
    assert experiments.arguments("shift", place)[-1] == "resume=true"
    assert not experiments.record("shift")
    run_folder.Record(place / "1").add(status="failed", error="no")
    assert not experiments.record("shift")  # no claim is read from half its runs
    run_folder.Record(place / "1").add(status="finished", seconds=1.0, test={"test/accuracy": 0.25})
    assert experiments.record("shift")
    rows = json.loads((experiments.FIGURES / "shift.json").read_text(encoding="utf-8"))["rows"]
    assert [(row["settings"]["seed"], row["test/accuracy"]) for row in rows] == [
        ("0", 0.5),
        ("1", 0.25),
    ]


def test_a_sweep_that_has_not_begun_begins(tmp_path):
    assert "resume=true" not in experiments.arguments("shift", tmp_path)


def test_other_runs_have_another_folder(monkeypatch):
    from blocks.graph.compose import combinations

    before = experiments.place_of("shift")
    monkeypatch.setattr(combinations, "swept_by_files", lambda _: ["seed=0,1,2"])
    assert experiments.place_of("shift") != before


@pytest.mark.parametrize("mask", ["true", "false"])
def test_the_loss_at_a_place_is_that_of_what_comes_before(mask):
    model = properties.network(
        "transformer",
        [
            "model.params.dim=32",
            "model.params.depth=1",
            f"model.graph.decoder.body.attention.inner.causal={mask}",
        ],
        {"source": properties.WORDS, "target": properties.WORDS, "vocab": 16},
    )
    tokens = torch.randint(16, (3, 7), generator=torch.Generator().manual_seed(0))
    label = tokens.roll(-1, 1)
    label[0, 5:] = places.IGNORED
    real = torch.ones_like(tokens, dtype=torch.bool)
    batch = {"source": tokens, "target": tokens, "source_mask": real, "target_mask": real}
    with torch.no_grad():
        found = places.losses_of(model, {**batch, "label": label})
        logits = model(source=tokens, source_mask=real, target=tokens[:, :4])["logits"]
    expected = torch.nn.functional.cross_entropy(logits[:, 3], label[:, 3], reduction="none")
    assert torch.allclose(found["before"][:, 3], expected)
    assert torch.allclose(found["before"], found["whole"]) == (mask == "true")
    for losses in found.values():
        assert losses[0, 5:].eq(0).all()


def test_places_that_a_run_has_not_are_left_out():
    rows = [
        {
            "settings": {"decoder.causal": mask, "seed": str(seed)},
            "places": {"whole": whole[: 3 - seed], "before": before[: 3 - seed]},
        }
        for mask, whole, before in (
            ("True", [0.3, 0.2, 0.1], [0.3, 0.2, 0.1]),
            ("False", [0.0, 0.0, 0.0], [2.0, 3.0, 4.0]),
        )
        for seed in range(2)
    ]
    head, _, *table = places.describe_places(Figures(rows))
    assert head.endswith("but for 0 at most.")
    assert table == [
        "| place | mask | no mask, whole text given | no mask, beginning given |",
        "|---:|---:|---:|---:|",
        "| 1 | 0.300 ± 0.000 | 0.000 ± 0.000 | 2.000 ± 0.000 |",
        "| 2 | 0.200 ± 0.000 | 0.000 ± 0.000 | 3.000 ± 0.000 |",
    ]


def test_a_rate_at_the_edge_of_its_grid_is_named():
    def found(*rates):
        settings = [{"study.arm": f"arm{n}", "optimizer.lr": x} for n, x in enumerate(rates)]
        rows = [{"settings": {**each, "seed": seed}} for each in settings for seed in "01"]
        return {"rows": rows, "study": {"choose": {"optimizer.lr": [0.01, 0.03, 0.1]}}}

    assert experiments.edges(found("0.03")) == "No row has a value at an edge of its grid"
    named = "At an edge of its grid: arm1 (0.01), arm2 (0.1)"
    assert experiments.edges(found("0.03", "0.01", "0.1")) == named
