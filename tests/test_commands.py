"""Every command that the documents show runs as it is written.

Names in capitals and files of the reader are replaced by small ones made here, and trainings are
cut to two batches an epoch; nothing else of a command is changed.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blocks.__main__ import main as blocks_main
from blocks.graph import compose
from blocks.graph.compose.combinations import combinations
from tasks.data.tokens.write import Options, write_tokens

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHORT = [
    "trainer.max_epochs=1",
    "trainer.limit_train_batches=2",
    "trainer.limit_val_batches=2",
    "trainer.limit_test_batches=2",
    "callbacks.progress.style=none",
]

# What is not run here, by how a command begins, and why.
ELSEWHERE = {
    "make ": "sets up an environment; .ci/run calls it",
    "python3 -m venv": "sets up an environment",
    "py -3.12": "Windows",
    ".venv": "runs this very test suite, or is Windows",
    "source ": "a builtin of the shell",
    "pip install": "sets up an environment",
    "eval ": "a builtin of the shell; tests/test_train.py asks for completion",
    "pip wheel": "builds a package",
    "cd demo": "tests/test_install.py runs the transcript of the README",
    "dougong ": "tests/test_install.py runs the transcript of the README, tests/dougong the rest",
    "torchrun ": "several machines or GPUs",
    "srun ": "a cluster",
    "python -m bench": "minutes, and peers; tests/bench",
}
# What asks for a cluster, eight GPUs or an extra that the tests do without: composed, not run.
COMPOSED = ("llama_7b", "submitit_slurm", "hydra/sweeper=search")
# What is shown for its error: no 7 heads divide these widths.
FAILS = {
    "python -m blocks explain model.params.depht=6": 2,
    "python -m blocks explain model.params.heads=7": 2,
    "python -m blocks check model.params.dim=32,64 model.params.heads=4,7": 2,
}


def read_commands(document: Path) -> list[str]:
    """The shell commands of a document, one a string, without the comments behind them."""
    text = document.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:sh|bash|powershell)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    commands = [line.partition(" # ")[0].strip() for line in lines]
    return [command for command in commands if command and not command.startswith("#")]


COMMANDS = sorted({command for document in DOCUMENTS for command in read_commands(document)})
BLOCKS = [command for command in COMMANDS if command.startswith("python -m blocks ")]
TASKS = [command for command in COMMANDS if command.startswith("python -m tasks ")]
TRAIN = [command for command in COMMANDS if command.startswith("python train.py ")]


def test_every_command_is_run_or_is_listed_with_a_reason():
    run = {*BLOCKS, *TASKS, *TRAIN}
    rest = [command for command in COMMANDS if command not in run]
    assert [command for command in rest if not command.startswith(tuple(ELSEWHERE))] == []
    unused = [
        start for start in ELSEWHERE if not any(command.startswith(start) for command in rest)
    ]
    assert unused == []


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with the files that the documents name."""
    folder = tmp_path_factory.mktemp("reader")
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / "FOLDER" / name).mkdir(parents=True)
        for number in range(8):
            pixels = random.integers(0, 255, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "FOLDER" / name / f"{number}.png")
    (folder / "photos").mkdir()
    pixels = random.integers(0, 255, (8, 8), dtype=np.uint8)
    for path in (folder / "photos" / "1.png", folder / "x.png"):
        Image.fromarray(pixels).save(path)
    images = random.integers(0, 255, (60, 28, 28), dtype=np.uint8)
    labels = np.arange(60) % 10
    np.savez(
        folder / "mnist.npz", x_train=images, y_train=labels, x_test=images[:20], y_test=labels[:20]
    )
    (folder / "TEXTS").mkdir()
    (folder / "TEXTS" / "a.txt").write_text(
        "It was the best of times, it was the worst. " * 400, encoding="utf-8"
    )
    write_tokens([folder / "TEXTS"], folder / "tokens", Options(), lambda part, written: None)
    rows = [
        f"a {word} film number {number},{word}" for number in range(20) for word in ("good", "bad")
    ]
    (folder / "reviews.csv").write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    (folder / "my_blocks").mkdir()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    own = re.search(r"^```python\n(# my_blocks.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert own is not None
    (folder / "my_blocks" / "mixing.py").write_text(own[1], encoding="utf-8")
    (folder / "my_conf" / "model").mkdir(parents=True)
    (folder / "my_package.py").write_text(
        "from pytorch_lightning import Callback\nfrom tasks.data.images.digits import Digits\n\n\n"
        "class MyCallback(Callback):\n    pass\n\n\nclass MyData(Digits):\n    pass\n",
        encoding="utf-8",
    )
    return folder


def run_python(words: list[str], place: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{place}"}
    return subprocess.run(
        [sys.executable, *words],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


@pytest.fixture(scope="module")
def runs(place) -> dict[str, Path]:
    """One finished run of each kind that the documents use."""
    found = {}
    kinds = {
        "digits": ["model.params.depth=1"],
        "reviews": ["model=encoder", "data=labelled", f"data.path={place / 'reviews.csv'}"],
        "language": ["experiment=language"],
        "translate": ["experiment=translate"],
    }
    for kind, words in kinds.items():
        folder = place / "runs" / kind
        done = run_python(
            [str(ROOT / "train.py"), *words, *SHORT, f"hydra.run.dir={folder}"], place
        )
        assert done.returncode == 0, done.stderr
        found[kind] = folder
    return found


def kind_of_run(command: str) -> str:
    """Which run stands for RUN in a command."""
    if "generate" in command:
        return "language"
    if "translate" in command:
        return "translate"
    return "reviews" if "reviews.csv" in command else "digits"


def fill_in(command: str, place: Path, runs: dict[str, Path]) -> list[str]:
    """The words of a command behind `python`, with the reader's own names filled in."""
    words = shlex.split(command)[1:]
    folder = "TEXTS" if "data=text" in command else "FOLDER"
    run = runs.get(kind_of_run(command), place)
    names = {
        "RUN": str(run),
        "FOLDER": str(place / folder),
        "TEXTS": str(place / "TEXTS"),
        "TOKENS": str(place / ("new_tokens" if "tokenize" in command else "tokens")),
        "FILE": str(run / "checkpoints" / "last.ckpt"),
    }
    return [
        re.sub(rf"\b({'|'.join(names)})\b", lambda found: names[found[0]], word) for word in words
    ]


@pytest.mark.slow
@pytest.mark.parametrize("command", BLOCKS)
def test_a_question_about_an_architecture_is_answered(command, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    words = shlex.split(command.partition(" | ")[0])[3:]
    assert blocks_main(words) == FAILS.get(command, 0), capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("command", TASKS)
def test_a_finished_run_is_used(command, place, runs):
    done = run_python(fill_in(command, place, runs), place)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", TRAIN)
def test_a_training_starts_and_ends(command, place, runs, tmp_path):
    words = fill_in(command, place, runs)[1:]
    if any(word in command for word in COMPOSED):
        given = []
        for word in words:
            searched = re.search(r"\b(tag|interval)\(", word)
            if "=" in word and not word.startswith("hydra") and not searched:
                given.append(word)
        assert all(compose(each).config for each in combinations(given))
        return
    if "<TAB>" in command:
        pytest.skip("a key of the shell; tests/test_train.py asks for completion")
    if "mnist1d" in command:
        pytest.importorskip("mnist1d")
    limits = [word for word in SHORT if word.partition("=")[0] not in command]
    sweep = (
        [f"hydra.sweep.dir={tmp_path}", "hydra.sweeper.max_batch_size=null"]
        if "-m" in words
        else []
    )
    own = [] if "resume=" in command else [f"runs={tmp_path}"]
    if "resume=" in command or "ckpt_path=" in command:
        limits = ["callbacks.progress.style=none"]
    if "ckpt_path=" in command:
        own.append("model.params.depth=1")  # the model of that run
    done = run_python([str(ROOT / "train.py"), *words, *limits, *own, *sweep], place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
