"""The outputs that docs/why_yaml.md shows are the beginnings of what the commands print."""

import re
import shlex
from pathlib import Path

import pytest

from blocks.__main__ import main

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "why_yaml.md").read_text(encoding="utf-8")
SHOWN = re.findall(
    r"^```sh\npython -m blocks ([^\n]*)\n```\n\n```text\n(.*?)^```$", PAGE, re.M | re.S
)


def test_all_outputs_are_found():
    assert len(SHOWN) == PAGE.count("```text") == 5


@pytest.mark.parametrize(("command", "shown"), SHOWN, ids=[command for command, _ in SHOWN])
def test_the_output_is_what_the_command_prints(command, shown, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    status = main(shlex.split(command))
    out, err = capsys.readouterr()
    printed = out or err
    assert status == (2 if "depht" in command or "heads=4,7" in command else 0)
    assert printed.startswith(shown)
