"""What `catalog` finds, and libraries of blocks that cannot be read."""

import pytest

from blocks.__main__ import main

FITS = "  fits      a folder with .py files, or a package\n"
FILES = "  fits      a folder with files that define nn.Module classes\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("missing", "  no folder or package 'missing' with blocks\n" + FITS),
        ("", "  a folder with blocks has a name\n  got       an empty text\n" + FITS),
        ("/dev/null", "  '/dev/null' is a device\n" + FITS),
        ("empty", "  no .py file in 'empty'\n" + FILES),
    ],
)
def test_a_library_that_cannot_be_read_is_told_in_parts(tmp_path, monkeypatch, capsys, name, text):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["catalog", "--library", name]) == 2
    assert capsys.readouterr().err == f"the command line: --library  library\n{text}"


def test_a_library_with_a_mistake_is_told(tmp_path, monkeypatch, capsys):
    (tmp_path / "bad.py").write_text("def f(:\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["catalog", "--library", "bad.py"]) == 2
    assert "  bad.py cannot be imported\n" in capsys.readouterr().err


def test_another_word_is_searched_for_in_blocks_options_and_models(capsys):
    assert main(["catalog", "Delta"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("model/attention=delta    Gated DeltaNet: what the state already")
    assert "block: LinearRecurrence" in {line.split("  ")[0] for line in lines}
    assert main(["catalog", "smollm"]) == 2
    assert capsys.readouterr().err == (
        "the command line\n  no block 'smollm'\n  fix       python -m blocks catalog lists all\n"
    )
    assert main(["catalog", "LayerNrom"]) == 2
    assert "  fits      did you mean LayerNorm" in capsys.readouterr().err
