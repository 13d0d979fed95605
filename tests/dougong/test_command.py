"""The command `dougong`: its help, its completion, and what it answers to lines with mistakes."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dougong import main as dougong

ROOT = Path(__file__).resolve().parents[2]
DOOR = ROOT / "dougong" / "__main__.py"
HEAVY = {
    "torch",
    "hydra",
    "omegaconf",
    "pytorch_lightning",
    "torchmetrics",
    "sklearn",
    "matplotlib",
}


def answer(monkeypatch, capsys, line):
    """The status of a line, and the last line that it prints on standard error."""
    words = line.split()[1:]
    monkeypatch.setattr(sys, "argv", ["dougong", *words])
    try:
        status = dougong.main(words)
    except SystemExit as left:  # the session of train.py exits by itself
        status = left.code
    return status, capsys.readouterr().err.rstrip().rpartition("\n")[2]


TRY = {
    "dougong explain vit": "dougong explain model=vit",
    "dougong explain model=vitt": "dougong explain model=vit",
    "dougong explain model=resnet": "dougong explain model=resnet50",
    "dougong explain --model vit --depth 1": "dougong explain model=vit --depth 1",
    "dougong draw swin": "dougong draw model=swin",
    "dougong train vit": "dougong train model=vit",
    "dougong train model=vitt": "dougong train model=vit",
    "dougong train epochs=5": "dougong train trainer.max_epochs=5",
    "dougong train lr=0.1": "dougong train optimizer.lr=0.1",
    "dougong train lr=0.1 epochs=5": "dougong train optimizer.lr=0.1 trainer.max_epochs=5",
    "dougong train batch_size=32": "dougong train data.batch_size=32",
    "dougong train trainer=cuda": "dougong train trainer=gpu",
    "dougong train --model vit": "dougong train model=vit",
    "dougong train --lr 0.1 model=cnn": "dougong train optimizer.lr=0.1 model=cnn",
    "dougong train momentum=0.8": "dougong train optimizer=muon optimizer.momentum=0.8",
}


@pytest.mark.parametrize("line", TRY)
def test_a_line_with_a_mistake_is_answered_with_the_line_to_type(monkeypatch, capsys, line):
    assert answer(monkeypatch, capsys, line) == (2, f"try: {TRY[line]}")


@pytest.mark.parametrize("line", [line for line in TRY.values() if line.startswith("dougong e")])
def test_the_line_to_type_is_accepted(monkeypatch, capsys, line):
    assert answer(monkeypatch, capsys, line)[0] == 0


WITHOUT_A_LINE = ["dougong train data=mnist", "dougong explain model.params.heads=7"]


@pytest.mark.parametrize("line", WITHOUT_A_LINE)
def test_no_line_is_proposed_where_only_the_user_knows_the_value(monkeypatch, capsys, line):
    status, last = answer(monkeypatch, capsys, line)
    assert status == 2
    assert not last.startswith("try:")


def test_a_line_that_ends_with_m_is_a_sweep(tmp_path):
    """Two values without `-m` would be refused; behind them it counts as before them."""
    from tasks.session.command_line import parse_command_line

    assert parse_command_line(["seed=1,2", "-m"]).multirun


UNKNOWN = {
    "dougong explian model=vit": ["dougong explain model=vit"],
    "dougong vit": ["dougong explain model=vit", "dougong train model=vit"],
    "dougong model=vit depth=2": [
        "dougong train model=vit depth=2",
        "dougong explain model=vit depth=2",
    ],
    "dougong -m seed=1,2": ["dougong train -m seed=1,2"],
    "dougong sweep seed=1,2": ["dougong train seed=1,2"],
    "dougong rmsnorm": ["dougong explain model/norm=rmsnorm", "dougong train model/norm=rmsnorm"],
    "dougong xyzzy": ["dougong --help"],
}


@pytest.mark.parametrize("line", UNKNOWN)
def test_a_forgotten_or_misspelt_command_is_answered_with_the_lines_to_type(line, capsys):
    assert dougong.main(line.split()[1:]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"the command line: {line.split()[1]}\n  no such command\n")
    shown = [text[text.index("dougong") :] for text in err.splitlines() if " dougong " in text]
    assert shown == UNKNOWN[line]


def run(*words, cwd, **environment):
    return subprocess.run(
        [sys.executable, str(DOOR), *words],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )


def test_help_names_every_command_and_imports_nothing_heavy(tmp_path):
    code = f"import runpy, sys\nsys.argv = [{str(DOOR)!r}, '--help']\ntry:\n    "
    code += f"runpy.run_path({str(DOOR)!r}, run_name='__main__')\nfinally:\n    "
    code += "print(sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )
    for name in dougong.all_commands():
        assert f"\n  {name} " in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert not HEAVY & {name.strip("[]' ") for name in done.stderr.split(",")}


def test_help_answers_at_once(tmp_path):
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        assert run("--help", cwd=tmp_path).returncode == 0
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.4


def test_no_word_at_all_prints_the_help_with_the_status_of_a_mistake(capsys):
    assert dougong.main([]) == 2
    assert capsys.readouterr().out.startswith("dougong COMMAND ...")


COMPLETIONS = {
    "dougong ex": ["explain", "export", "exercise"],
    "dougong train model=vit_": ["vit_b16", "vit_l16", "vit_s16", "vit_segment", "vit_ti16"],
    "dougong explain model/nor": ["model/norm="],
    "dougong train trainer.max": ["trainer.max_epochs=", "trainer.max_steps="],
    "dougong train model.params.dep": ["model.params.depth="],
    "dougong show data/diab": ["data/diabetes"],
    "dougong completion f": ["fish"],
}


@pytest.mark.skipif(sys.platform == "win32", reason="bash")
@pytest.mark.parametrize("line", COMPLETIONS)
def test_bash_completes(line, tmp_path):
    script = tmp_path / "ask.sh"
    script.write_text(
        "_python_argcomplete() { :; }\n"
        f'"{sys.executable}" "{DOOR}" 8>&1 9>/dev/null 1>/dev/null\n',
        encoding="utf-8",
    )
    asked = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_SHELL": "bash",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_COMP_WORDBREAKS": " \t\n\"'><=;|&(:",
        "COMP_TYPE": "9",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    done = subprocess.run(
        ["bash", str(script)],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )
    assert [word.strip() for word in done.stdout.split("\n") if word] == COMPLETIONS[line]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_the_code_for_a_shell_is_printed_and_can_be_read_by_it(shell, tmp_path):
    done = run("completion", shell, cwd=tmp_path)
    assert done.returncode == 0
    assert "dougong" in done.stdout
    if shutil.which(shell) and shell != "powershell":
        read = subprocess.run(
            [shell, "-n"], input=done.stdout, text=True, encoding="utf-8", capture_output=True
        )
        assert (read.returncode, read.stderr) == (0, "")
