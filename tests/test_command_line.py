"""Words of the command line that a newcomer tries: each is answered with what to write, in all
three programs.
"""

import ast
import re
import sys
from pathlib import Path

import pytest

from blocks.__main__ import COMMANDS, main
from blocks.graph import ConfigError, compose
from tasks import __main__ as tasks_main
from tasks import session
from tasks.session import checks, command_line, failures

SHORT = {
    "lr=0.1": "write optimizer.lr=0.1",
    "learning_rate=0.1": "write optimizer.lr=0.1",
    "epochs=5": "write trainer.max_epochs=5",
    "max_epoch=5": "write trainer.max_epochs=5",
    "batch_size=32": "write data.batch_size=32",
    "depth=6": "write model.params.depth=6",
    "dropout=0.1": "write model.params.dropout=0.1",
    "workers=4": "write data.workers=4 with data=captions or data=hub or data=images",
    "momentum=0.8": "write optimizer.momentum=0.8 with optimizer=muon or optimizer=sgd",
    "path=x": "write data.path=x with data=arrays or data=labelled or data=masks",
    "sed=1": "write seed=1",
    "seeed=1": "write seed=1",
    "modle=vit": "write model=vit",
    "device=cuda": "write trainer=gpu",
}
CHOICES = {
    "trainer=cuda": (
        "trainer has no option 'cuda'",
        "base, cpu, ddp, debug, fsdp, gpu, tensor_parallel",
        "write trainer=gpu",
    ),
    "data=cifar100": (
        "data has no option 'cifar100'",
        "did you mean cifar10?",
        "write data=images data.path=FOLDER, with a folder for each class; nothing is downloaded",
    ),
    "optimizer=adam": (
        "optimizer has no option 'adam'",
        "did you mean adamw?",
        "write optimizer=adamw optimizer.weight_decay=0",
    ),
}


def answer(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        compose(overrides)
    return str(caught.value)


@pytest.mark.parametrize(("word", "fix"), SHORT.items())
def test_a_short_word_is_answered_with_the_full_path_of_the_key(word, fix):
    name = word.partition("=")[0]
    assert (
        answer(word)
        == f"the command line: {word}\n  no key '{name}' in the configuration\n  fix       {fix}"
    )


def test_what_is_answered_is_accepted():
    """Nothing is recommended that the next start refuses."""
    alone = [fix.removeprefix("write ").split() for fix in SHORT.values() if " with " not in fix]
    compose(list({word.partition("=")[0]: word for words in alone for word in words}.values()))
    compose(
        ["data=images", "data.path=x", "data.workers=4", "optimizer=sgd", "optimizer.momentum=0.8"]
    )
    compose(["data=arrays", "data.path=x.npz", "optimizer=adamw", "optimizer.weight_decay=0"])


def test_a_key_in_the_wrong_section_is_answered_with_its_own():
    assert answer("trainer.lr=0.1") == (
        "the command line: trainer.lr=0.1\n"
        "  no key 'lr' in trainer\n"
        "  fix       write optimizer.lr=0.1\n"
        "            to add a new key, write +trainer.lr=0.1"
    )


def test_keys_for_a_mapping_that_has_none_of_them_are_added_with_a_plus():
    assert answer("weights.learning_rate={head.weight: 2}") == (
        "the command line: weights.learning_rate={head.weight: 2}\n"
        "  weights.learning_rate has not all of these keys\n"
        "  fix       to add keys to it, write +weights.learning_rate={head.weight: 2}"
    )
    compose(["+weights.learning_rate={head.weight: 2}"])


def test_a_key_that_nothing_reads_is_answered_with_the_one_that_is_read():
    assert answer("+lr=0.1") == (
        "the command line: +lr=0.1\n  this changes nothing: nothing reads 'lr'\n  fix       "
        "write optimizer.lr=0.1"
    )


def test_an_argument_that_the_file_leaves_out_is_still_added_with_a_plus():
    """`eps` stands in norms of the model as well, which is not meant."""
    word = "optimizer.eps=1e-8"
    assert answer(word).endswith(f"\n  fix       to add a new key, write +{word}")


def test_a_key_of_a_section_is_not_answered_with_another_section():
    assert answer("experiment=vae", "task.loss.reconstruction.weight=2") == (
        "the command line: task.loss.reconstruction.weight=2\n"
        "  no key 'weight' in task.loss.reconstruction\n"
        "  fits      block, in\n"
        "  fix       to add a new key, write +task.loss.reconstruction.weight=2"
    )


OWNERS = {
    "optimizer.nesterov=true": ("optimizer=adamw", "optimizer=sgd"),
    "optimizer.momentum=0.9": ("optimizer=adamw", "optimizer=muon, sgd"),
    "trainer.num_nodes=2": ("trainer=cpu", "trainer=fsdp, tensor_parallel"),
    "callbacks.ema.decay=0.9": ("callbacks=default", "callbacks=ema"),
    "task.teacher=RUN": ("task=classify", "task=distill"),
    "data.table=x.csv": ("data=digits", "data=captions, imagenet, images"),
}


@pytest.mark.parametrize("word", OWNERS)
def test_a_key_of_other_options_is_answered_with_their_names(word):
    """Also where an option has it from the file that it starts from: data=imagenet."""
    chosen, owners = OWNERS[word]
    group, name = chosen.partition("=")[0], word.partition("=")[0]
    assert answer(word) == (
        f"the command line: {word}\n"
        f"  {chosen} has no key {name.removeprefix(group + '.')!r}\n"
        f"  fits      {owners}\n"
        f"  fix       choose {group}=... of those that have it, or leave {name} out\n"
        f"            to add a new key, write +{word}"
    )


@pytest.mark.parametrize("word", CHOICES)
def test_an_option_of_another_name_is_answered_with_ours(word):
    problem, fits, fix = CHOICES[word]
    text = f"  {problem}\n  got       {word}\n  fits      {fits}\n  fix       {fix}"
    assert answer(word) == f"the command line: {word}\n{text}"


UNREADABLE = """\
the command line: vit
  this override cannot be read
  fits      {}
  fix       write model=vit
"""


@pytest.mark.parametrize(
    ("command", "fits"),
    [
        ("explain", "key=value, +key=value or ~key"),
        ("check", "key=value, key=1,2 or key=range(1,5)"),
    ],
)
def test_a_bare_model_is_answered_with_the_override(command, fits, capsys):
    assert main([command, "vit"]) == 2
    assert capsys.readouterr().err == UNREADABLE.format(fits)


def test_a_bare_word_is_looked_up_in_every_section():
    assert answer("sgd").endswith("fix       write optimizer=sgd")


FLAG = """\
the command line: {}
  no such option
  fits      KEY=VALUE; --help lists the options
  fix       write {}"""
FLAGS = {
    "--model vit": "model=vit",
    "--model=vit": "model=vit",
    "--lr 0.1": "optimizer.lr=0.1",
    "-lr 0.1": "optimizer.lr=0.1",
    "--batch-size=32": "data.batch_size=32",
    "--optimizer.lr 0.1": "optimizer.lr=0.1",
    "--confg-dir conf": "--config-dir conf",
}


@pytest.mark.parametrize("words", FLAGS)
def test_an_option_that_is_none_is_answered_with_the_override(words):
    with pytest.raises(ConfigError) as caught:
        command_line.parse_command_line(["seed=1", *words.split(), "trainer=debug"])
    assert str(caught.value) == FLAG.format(words, FLAGS[words])


@pytest.mark.parametrize(
    ("words", "fix"), {"--model vit": "model=vit", "--depht 1": "--depth 1"}.items()
)
def test_an_option_of_explain_that_is_none_is_answered_with_what_is_meant(words, fix, capsys):
    assert main(["explain", *words.split()]) == 2
    assert capsys.readouterr().err == FLAG.format(words, fix) + "\n"


def test_a_mistake_in_an_option_ends_train_with_status_2(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train.py", "--epochs", "5"])
    with pytest.raises(SystemExit) as left:
        session.main()
    assert left.value.code == failures.MISTAKE
    assert capsys.readouterr().err == FLAG.format("--epochs 5", "trainer.max_epochs=5") + "\n"


@pytest.mark.parametrize(
    ("words", "read"),
    [
        ("model.params.depth=2 --config-dir conf", "model.params.depth=2 --config-dir conf"),
        ("--config-dir conf seed=1", "seed=1 --config-dir conf"),
        (
            "model=vit --config-dir conf seed=1,2 -m optimizer=sgd",
            "model=vit seed=1,2 optimizer=sgd --config-dir conf -m",
        ),
        ("seed=1 --info", "seed=1 --info"),
    ],
)
def test_options_of_train_stand_anywhere(words, read):
    from hydra._internal.utils import get_args_parser

    arguments = command_line.parse_command_line(words.split())
    assert vars(arguments) == vars(get_args_parser().parse_args(read.split()))


def test_one_function_sets_the_arguments_that_lightning_reads():
    root = Path(__file__).resolve().parents[1]
    files = [root / "train.py"]
    for folder in ("dougong", "hydra_plugins", "tasks", "blocks"):
        files += sorted((root / folder).rglob("*.py"))
    found = []
    for path in files:
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                text = ast.unparse(function)
                if re.search(r"sys\.argv(\[.*\])? = |sys\.argv\.\w+\(", text):
                    found.append(f"{path.name}:{function.name}")
    # it runs a job of a sweep as `python train.py` in a process of its own
    assert found == ["dougong_launcher.py:run_job"]


@pytest.mark.parametrize("word", ["optimizer.lr=[1,", "a={b", "optimizer.lr=1,2,(3"])
def test_an_override_of_a_sweep_that_cannot_be_read_is_named(word):
    arguments = command_line.parse_command_line(["-m", "seed=1,2", word])
    with pytest.raises(ConfigError) as caught:
        checks.check_sweep(arguments)
    assert str(caught.value).startswith(
        f"the command line: {word}\n  this override cannot be read\n  fits      key=value, key=1,2"
    )
    assert ("quote it" in str(caught.value)) == word.endswith("(3")


def test_options_of_blocks_stand_behind_overrides(tmp_path, capsys):
    (tmp_path / "model").mkdir()
    model = "# One layer.\ninputs: {x: [6]}\ngraph: {act: {block: ReLU}}\noutputs: {logits: act}\n"
    (tmp_path / "model" / "mine.yaml").write_text(model, encoding="utf-8")
    assert (
        main(["explain", "model=mine", "--config-dir", str(tmp_path), "seed=1", "--depth", "1"])
        == 0
    )
    assert "ReLU" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "library"),
    [
        ("--library a evaluate RUN val=0.1", ["a"]),
        ("evaluate RUN val=0.1 --library a --library b path=x", ["a", "b"]),
        ("evaluate RUN val=0.1", []),
    ],
)
def test_options_of_tasks_stand_before_and_behind_the_command(words, library):
    arguments = tasks_main.parse_arguments(words.split())
    assert (arguments.library, arguments.trust) == (library, [])
    assert arguments.data == [word for word in words.split() if "=" in word]


def test_blocks_alone_lists_its_commands_with_a_line_each(capsys):
    assert main([]) == 2
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "python -m blocks COMMAND ..."
    assert [line.split(maxsplit=1) for line in lines] == [list(pair) for pair in COMMANDS.items()]


def test_tasks_alone_lists_its_commands_with_a_line_each(capsys):
    assert tasks_main.main([]) == 2
    lines = [
        line for line in capsys.readouterr().out.splitlines() if line.startswith("python -m tasks ")
    ]
    assert {line.split()[3] for line in lines} == set(tasks_main.COMMANDS)
