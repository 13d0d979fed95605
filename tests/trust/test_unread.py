"""Nothing of a stranger's file is resolved before it is checked; no message shows what the
environment says.
"""

import inspect

import pytest

from tasks.config import secrets, targets, write_policy
from tasks.resume.checkpoint_file import SafeCheckpointIO, SaveError
from tests.trust import corpus_unread, hostile
from tests.trust.case import SECRET, Case, play
from tests.trust.corpus_run import saved
from tests.trust.corpus_yaml import GLOBAL, experiment, of

ALL = [case for family in corpus_unread.FAMILIES for case in family()]
CORE = [
    case
    for case in ALL
    if case.name.startswith(("an override,", "a dictionary", "a size", "shown by --cfg job"))
]
CORE += [case for case in ALL if case.family == "templates"][:2]


@pytest.mark.parametrize("case", CORE, ids=str)
def test_nothing_is_resolved_before_it_is_checked(case):
    assert hostile.faults(case) == []


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in ALL if case not in CORE], ids=str)
def test_nothing_of_the_rest_is_resolved(case):
    assert hostile.faults(case) == []


def test_every_form_is_in_the_corpus():
    assert len(corpus_unread.NAMES) + len(corpus_unread.EXPANDED) >= 40
    assert len(ALL) >= 90
    assert len(CORE) >= 8


@pytest.mark.parametrize("text", [*corpus_unread.NAMES, *corpus_unread.NAMES[:2]])
def test_a_name_of_a_file_is_no_program(text):
    assert write_policy.find_template(text.encode().decode("unicode_escape"), fields=True)


@pytest.mark.parametrize(
    "text",
    ["{epoch}", "{epoch:02d}-{step}", "best-{val/loss:.3f}", "run 3 (a), 花", "{val/top-1:5.2f}"],
)
def test_a_name_of_a_file_may_have_metrics(text):
    assert write_policy.find_template(text, fields=True) == ""
    assert bool(write_policy.find_template(text)) == ("{" in text)


def test_a_checkpoint_is_written_and_removed_in_the_run_folder_alone(tmp_path):
    run, other = tmp_path / "run", tmp_path / "other.ckpt"
    run.mkdir()
    other.write_text("mine", encoding="utf-8")
    (run / "link").symlink_to(tmp_path)
    files = SafeCheckpointIO([run])
    for name in ("../other.ckpt", "a/../../other.ckpt", "link/other.ckpt", str(other)):
        with pytest.raises(SaveError, match="outside the run folder"):
            files.save_checkpoint({}, run / name)
        with pytest.raises(SaveError, match="outside the run folder"):
            files.remove_checkpoint(f"{run}/{name}" if name[0] != "/" else name)
    assert other.read_text(encoding="utf-8") == "mine"
    files.save_checkpoint({"epoch": 1}, run / "epoch=1.ckpt")
    files.remove_checkpoint(run / "epoch=1.ckpt")
    SafeCheckpointIO().save_checkpoint(
        {"epoch": 1}, other
    )  # of a program that says nothing about places
    assert sorted(path.name for path in run.iterdir()) == ["link"]


@pytest.mark.parametrize(
    "name", [name for part in write_policy.WRITING for name in targets.TARGETS[part]]
)
def test_what_a_file_leaves_out_lies_in_the_run_folder_too(name):
    """A default such as `save_dir="."` would lie where the user stands."""
    module, _, attribute = name.rpartition(".")
    kind = getattr(pytest.importorskip(module), attribute)
    defaults = {key: each.default for key, each in inspect.signature(kind).parameters.items()}
    unsaid = {
        key
        for key, value in defaults.items()
        if key in write_policy.FOLDERS and isinstance(value, str)
    }
    assert unsaid <= set(write_policy.DEFAULTS.get(name, {}))
    sent = {
        key
        for key, value in defaults.items()
        if key in write_policy.SENDING and value is not write_policy.SENDING[key]
    }
    assert sent <= {*write_policy.DEFAULTS.get(name, {}), "model_registry"}


def test_a_logger_that_says_nothing_stays_in_the_run_folder(tmp_path):
    from blocks.graph import compose

    (tmp_path / "experiment").mkdir()
    wandb, flow = "pytorch_lightning.loggers.WandbLogger", "pytorch_lightning.loggers.MLFlowLogger"
    text = f"{GLOBAL}logger: {{w: {{_target_: {wandb}}}, m: {{_target_: {flow}}}}}\n"
    (tmp_path / "experiment/mine.yaml").write_text(text, encoding="utf-8")
    composed = compose(
        ["experiment=mine", f"+logger.typed={{_target_: {wandb}}}"], config_dir=str(tmp_path)
    )
    write_policy.move_into_run_folder(composed, tmp_path / "run")
    found = composed.config["logger"]
    assert found["w"] == {"_target_": wandb, "save_dir": str(tmp_path / "run"), "offline": True}
    assert found["m"]["tracking_uri"] == f"file:{tmp_path / 'run' / 'mlruns'}"
    assert "offline" not in found["typed"]


def test_a_checkpoint_named_by_its_metrics_is_saved(tmp_path):
    name = "e{epoch:02d}-{val/loss:.1f}"
    words = (
        f"_target_: pytorch_lightning.callbacks.ModelCheckpoint, filename: '{name}', "
        "auto_insert_metric_name: false"
    )
    case = of(
        "own",
        "metrics in a name",
        f"callbacks: {{m: {{{words}, dirpath: named, monitor: val/loss}}}}\n",
    )
    outcome = play(case, tmp_path)
    assert (outcome.status, outcome.harm) == (0, [])
    assert [path.parent.name for path in tmp_path.rglob("e0*-*.ckpt")] == ["named"]


@pytest.fixture
def forgotten(monkeypatch):
    monkeypatch.setattr(secrets, "_replacements", {})
    monkeypatch.setattr(secrets, "_message_replacements", {})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("s3cr3t-of-mine", "no file s3cr3t-of-mine.npz"),
        ("1234", "got 1234"),
        ("it's \\ s3cret", f"got {'it' + chr(39) + 's ' + chr(92) + ' s3cret'!r}"),
        ("a<b>&s3cret", "<td>a&lt;b&gt;&amp;s3cret</td>"),
        ("line\ns3cret", '{"got": "line\\ns3cret"}'),
        ("/srv/s3cret-folder/x", "no folder s3cret-folder in /srv"),
        ("s3cr3t-of-mine", "the text is too long: s3cr3t-of"),
    ],
)
def test_a_message_hides_each_form_of_a_value(forgotten, monkeypatch, value, message):
    monkeypatch.setenv("MINE", value)
    assert secrets.reveal("${oc.env:MINE}") == value
    told = secrets.hide_in_message(message)
    assert "${oc.env:MINE}" in told
    assert not any(part in told for part in ("s3cr", "1234"))
    assert secrets.hide_in_message("12345 words") == "12345 words"


def test_a_run_folder_of_a_stranger_reads_no_environment(tmp_path):
    import json

    words = ["model=${oc.env:CANARY_SECRET}", "trainer=debug"]
    record = json.dumps({"status": "interrupted", "overrides": words})
    files = {"run/config.yaml": "model: {}\n", "run/run.json": record}
    case = Case("resumes", "a choice of the environment", ["train", "resume=@RUN@"], files)
    assert play(case, tmp_path).faults(case) == []


def test_a_run_folder_whose_data_are_named_by_the_environment(tmp_path):
    def path(kept, _):
        data = {"_target_": "tasks.data.images.arrays.Arrays", "path": corpus_unread.READ}
        kept["hyper_parameters"]["config"]["data"] = data

    files = {"run/config.yaml": "model: {}\n", "run/checkpoints/best.ckpt": saved(path)}
    case = Case("run folders", "a path of the environment", ["tasks", "evaluate", "@RUN@"], files)
    assert play(case, tmp_path).faults(case) == []


def test_the_command_line_may_still_read_the_environment(tmp_path):
    case = Case(
        "own", "a path", experiment("data=arrays", "data.path=${oc.env:CANARY_SECRET}.npz"), {}
    )
    case.files["conf/experiment/evil.yaml"] = GLOBAL + "seed: 3\n"
    outcome = play(case, tmp_path)
    assert outcome.faults(case) == []
    assert "${oc.env:CANARY_SECRET}.npz" in outcome.err
    assert SECRET not in outcome.err
