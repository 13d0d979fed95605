"""What the README shows is what happens."""

import re
import shlex
from pathlib import Path

import pytest

from blocks.__main__ import main

ROOT = Path(__file__).resolve().parents[1]
BLOCKS = re.findall(
    r"^```(\w*)\n(.*?)^```$",
    (ROOT / "README.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)
COMMANDS = [line for kind, code in BLOCKS if kind == "sh" for line in code.splitlines()]
EXPLAIN = [line for line in COMMANDS if line.startswith("python -m blocks explain")]
WRONG = "python -m blocks explain model.params.heads=7"


def shown_after(command: str) -> str:
    """The output that stands under a command."""
    return BLOCKS[BLOCKS.index(("sh", f"{command}\n")) + 1][1]


def arguments(command: str) -> list[str]:
    return shlex.split(command.partition(" # ")[0])[3:]


@pytest.mark.parametrize("command", [command for command in EXPLAIN if command != WRONG])
def test_a_command_that_explains_a_model_works(command, capsys):
    assert main(arguments(command)) == 0, capsys.readouterr().err


def test_the_table_is_as_printed(capsys):
    command = "python -m blocks explain model=vit_ti16 data=imagenet --depth 1"
    assert main(arguments(command)) == 0
    assert shown_after(command) == capsys.readouterr().out


def test_the_error_is_as_printed(capsys):
    assert main(arguments(WRONG)) == 2
    assert shown_after(WRONG) == capsys.readouterr().err


def test_the_python_runs_and_the_own_block_builds(tmp_path, capsys):
    own, api = (code for kind, code in BLOCKS if kind == "python")
    (tmp_path / "mixing.py").write_text(own, encoding="utf-8")
    (command,) = [command for command in COMMANDS if "library=" in command]
    words = shlex.split(command)[2:]
    assert main(["explain", *(word.replace("my_blocks", str(tmp_path)) for word in words)]) == 0
    assert re.search(r"mixing +TokenMixing +\(batch, 17, 64\) +306 ", capsys.readouterr().out)
    names: dict = {}
    exec(api, names)
    assert tuple(names["logits"].shape) == (8, 10)
    assert "def forward(self, image)" in capsys.readouterr().out
