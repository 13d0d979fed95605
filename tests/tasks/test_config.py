import pytest

from blocks.graph import ConfigError
from tasks.config import instantiate
from tasks.data.images.digits import Digits


class Composed:
    """A configuration whose every value was written on line 7 of a file."""

    def __init__(self, **sections):
        self.config = sections

    def origin(self, path):
        return f"conf/{path.split('.')[0]}.yaml:7:1"


def told(path, section, **options):
    composed = Composed(**{path[0]: section if len(path) == 1 else {path[1]: section}})
    with pytest.raises(ConfigError) as error:
        instantiate.make(composed, path, **options)
    return str(error.value)


DIGITS = "tasks.data.images.digits.Digits"


def test_a_section_becomes_its_object():
    composed = Composed(data={"_target_": DIGITS, "batch_size": 31})
    data = instantiate.make(composed, ("data",))
    assert isinstance(data, Digits)
    assert data.batch_size == 31


def test_what_is_left_out_can_be_given_later():
    import torch

    composed = Composed(optimizer={"_target_": "torch.optim.AdamW", "lr": 0.5, "betas": [0.8, 0.9]})
    optimizer = instantiate.make(composed, ("optimizer",), leave=("params",))([torch.zeros(1)])
    assert optimizer.param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize(
    "name", ["os.system", "torch.load", "torch.hub.load", "pytorch_lightning.Trainer", 3, None]
)
def test_only_listed_targets_stand_in_a_section(name):
    assert told(("data",), {"_target_": name}) == (
        "conf/data.yaml:7:1  data._target_\n"
        "  this _target_ is not allowed in the section data\n"
        f"  got       {name}\n"
        "  fits      tasks.data.images.digits.Digits, tasks.data.images.image_folder.Images, "
        "tasks.data.images.arrays.Arrays, tasks.data.sequences.mnist1d.Mnist1d, "
        "tasks.data.text.questions.Questions,\n"
        "            tasks.data.sequences.recall.Recall, tasks.data.text.text.Topics, "
        "tasks.data.text.documents.Documents, tasks.data.tokens.folder.TokenFolder, "
        "tasks.data.text.translation.Phrases,\n"
        "            tasks.data.text.translation.Pairs, tasks.data.text.labelled.Labelled, "
        "tasks.data.text.names.Names, "
        "tasks.data.features.embedded.Embedded, tasks.data.features.table.TableFile,\n"
        "            ... and 2 more lines\n"
        "            tasks.data.shards.images.Shards\n"
        "  fix       a class of your own: trust=PACKAGE.CLASS on the command line"
    )


def test_a_misspelt_target_is_guessed_at():
    assert "did you mean tasks.data.images.digits.Digits?" in told(
        ("data",), {"_target_": "tasks.data.images.digits.Digit"}
    )


def test_nothing_is_imported_for_a_target_that_is_not_listed(monkeypatch):
    monkeypatch.setattr(
        instantiate.importlib, "import_module", lambda name: pytest.fail(f"imported {name}")
    )
    told(("data",), {"_target_": "antigravity.fly"})


def test_a_section_without_target_says_what_fits():
    assert told(("schedule",), {"warmup": 0.1}) == (
        "conf/schedule.yaml:7:1  schedule\n"
        "  schedule has no _target_: it does not state its class\n"
        "  fits      tasks.optimize.schedule.Cosine, tasks.optimize.schedule.Constant, "
        "tasks.optimize.schedule.InverseSquareRoot, tasks.optimize.schedule.OneCycle, "
        "tasks.optimize.schedule.StepDecay,\n"
        "            tasks.optimize.schedule.WarmupStableDecay\n"
        "  fix       schedule._target_=tasks.optimize.schedule.Cosine"
    )


def test_every_mistake_of_a_section_is_told_at_once():
    section = {"_target_": DIGITS, "batchsize": 3, "shift": "one", "flip": 1, "val": "???"}
    assert told(("data",), section) == (
        "conf/data.yaml:7:1  data.batchsize\n"
        "  Digits has no argument batchsize\n"
        "  fits      size, batch_size, val, test, shift, rotate, scale, test_shift, flip, mixup, "
        "cutmix, erase, randaugment, magnitude, views, share, sampling, seed, split_seed, facts\n"
        "  fix       did you mean batch_size?\n"
        "\n"
        "conf/data.yaml:7:1  data.shift\n"
        "  shift must be a number\n"
        "  got       shift='one'\n"
        "\n"
        "conf/data.yaml:7:1  data.flip\n"
        "  flip must be true or false\n"
        "  got       flip=1\n"
        "\n"
        "conf/data.yaml:7:1  data.val\n"
        "  data.val is missing\n"
        "  fix       data.val=..."
    )


def test_a_value_that_the_object_refuses_is_told_where_it_was_written():
    assert told(("data",), {"_target_": DIGITS, "batch_size": 0}) == (
        "conf/data.yaml:7:1  data.batch_size\n"
        "  batch_size must be positive\n"
        "  got       batch_size=0\n"
        "  fits      1 or more"
    )


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ({"lr": -1}, "lr must be positive\n  got       lr=-1"),
        (
            {"lr": 0.1, "weight_decay": -0.1},
            "weight_decay must not be negative\n  got       weight_decay=-0.1",
        ),
        ({"lr": "fast"}, "lr must be a number or Tensor\n  got       lr='fast'"),
        ({"lr": 0.1, "betas": [0.9]}, "got       betas=[0.9]"),
        ({"lr": float("nan")}, "lr must be positive"),
    ],
)
def test_optimisers_refuse_what_cannot_train(section, text):
    assert text in told(
        ("optimizer",), {"_target_": "torch.optim.AdamW", **section}, leave=("params",)
    )


def test_the_trainer_knows_its_precisions():
    text = told(("trainer",), {"_target_": "pytorch_lightning.Trainer", "precision": "bf16-mixe"})
    assert "precision must be one of 64, 32, 16, transformer-engine" in text
    assert text.endswith("did you mean bf16-mixed?")


def test_a_device_that_is_not_there_is_a_mistake_of_the_configuration():
    text = told(
        ("trainer",),
        {"_target_": "pytorch_lightning.Trainer", "accelerator": "tpu", "logger": False},
    )
    assert text.startswith("conf/trainer.yaml:7:1  trainer\n  Trainer refuses: ")


def test_a_missing_package_is_told_with_the_command_that_brings_it(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError("No module named 'wandb'", name="wandb")

    monkeypatch.setattr(instantiate.importlib, "import_module", missing)
    assert told(("logger", "w"), {"_target_": "pytorch_lightning.loggers.WandbLogger"}) == (
        "conf/logger.yaml:7:1  logger.w\n"
        "  pytorch_lightning.loggers.WandbLogger needs the package wandb, which is not installed\n"
        "  fix       pip install -c constraints.txt -e '.[wandb]'"
    )


def test_a_whole_number_that_no_checkpoint_holds_is_refused():
    assert told(("data",), {"_target_": DIGITS, "batch_size": 2**63}) == (
        "conf/data.yaml:7:1  data.batch_size\n"
        "  batch_size is too large\n"
        "  got       batch_size=9223372036854775808\n"
        "  fits      up to 9,223,372,036,854,775,807"
    )


def test_what_a_logger_hands_on_is_known_by_name():
    target = "pytorch_lightning.loggers.TensorBoardLogger"
    said = told(("logger", "m"), {"_target_": target, "save_dir": ".", "tokn": 3})
    assert "TensorBoardLogger has no argument tokn" in said
    assert "max_queue" in said
