"""Drawings for a paper: what LaTeX compiles, and what is printed."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from blocks.__main__ import main
from blocks.graph import compose, conf_folder, plan
from blocks.graph.describe.draw import WRITERS, PrintError, draw_file, picture, unfold
from blocks.graph.describe.draw.gallery import Entry, describe_model, write_index
from blocks.graph.describe.draw.paper.tikz import escape_tex

LATEX = shutil.which("pdflatex")
PAPER = r"""\documentclass{article}
\usepackage{tikz}
\usepackage[paperwidth=150cm,paperheight=300cm,margin=1cm]{geometry}
\begin{document}
\noindent\input{FILE}
\end{document}
"""


FACTS = {"source": {"tokens": 12, "dtype": "int", "vocab": 53}, "vocab": 53}
FACTS["target"] = FACTS["source"]


def small(name):
    facts = FACTS if name in ("seq2seq", "transformer") else None
    return plan(compose([f"model={name}"]), facts)


def check_tikz(text):
    """Every environment and every brace is closed, and no node, colour or text is left behind."""
    plain = re.sub(r"\\[\\{}$&#%_]", "", text)
    assert plain.count("{") == plain.count("}")
    opened = re.findall(r"\\(begin|end)\{(\w+)\}", text)
    depth = 0
    for word, _ in opened:
        depth += 1 if word == "begin" else -1
        assert depth >= 0
    assert depth == 0
    defined = set(re.findall(r"\\definecolor\{(\w+)\}", text))
    assert set(re.findall(r"(?:fill|draw|text)=(\w+)", text)) <= defined
    assert "nan" not in text


@pytest.mark.parametrize("model", ["vit", "swin", "seq2seq", "transformer"])
def test_every_node_that_is_unfolded_stands_in_the_figure(model):
    drawn = unfold(picture(small(model), model), 1)
    text = WRITERS[".tex"](drawn)
    check_tikz(text)
    for node in drawn.body.nodes:
        assert f"\\textbf{{{escape_tex(node.name)}" in text
        for inner in node.body.nodes if node.body else ():
            assert f"\\textbf{{{escape_tex(inner.name)}" in text
    folded = WRITERS[".tex"](unfold(picture(small(model), model), 0))
    assert len(folded) < len(text)


def test_a_text_is_no_command_of_tex():
    hostile = "\\input{/etc/passwd} $x$ #1 %_^~&\n\n\\write18{x}"
    escaped = escape_tex(hostile)
    assert "\n" not in escaped
    assert not re.search(r"\\(input|write)", escaped)
    drawn = picture(small("mlp"), hostile)
    drawn.body.nodes[0].name = hostile
    text = WRITERS[".tex"](drawn)
    check_tikz(text)
    assert not re.search(r"\\(input\{/|write)", text)


@pytest.mark.slow
@pytest.mark.skipif(LATEX is None, reason="needs pdflatex with TikZ")
@pytest.mark.parametrize("model", ["vit", "swin_t", "lstm", "transformer_base", "unet"])
def test_latex_compiles_the_figure_without_a_warning(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["draw", f"model={model}", "-o", "figure.tex", "--depth", "2"]) == 0
    Path("paper.tex").write_text(PAPER.replace("FILE", "figure.tex"), encoding="utf-8")
    command = [str(LATEX), "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, capture_output=True, encoding="latin-1", timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Warning" not in done.stdout
    assert Path("paper.pdf").read_bytes().startswith(b"%PDF")


def test_a_drawing_is_printed_light_on_its_own(tmp_path):
    pytest.importorskip("cairosvg")
    pdf = draw_file(small("vit"), ".pdf", "vit", 0)
    assert pdf.startswith(b"%PDF")
    png = draw_file(small("vit"), ".png", "vit", 0)
    assert png.startswith(b"\x89PNG")
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))
    svg = WRITERS[".svg"](unfold(picture(small("vit"), "vit"), 0))
    size = re.search(r'viewBox="0 0 (\d+) (\d+)"', svg)
    assert (width, height) == (2 * int(size[1]), 2 * int(size[2]))


def test_without_the_library_the_command_says_what_to_install(monkeypatch, capsys):
    def refuse(*_):
        raise PrintError("No module named 'cairosvg'")

    monkeypatch.setattr("blocks.commands.draw.draw_file", refuse)
    assert main(["draw", "model=mlp", "-o", "figure.pdf"]) == 2
    assert (
        capsys.readouterr().err
        == """the command line
  a PDF or PNG needs a package that is not installed
  got       -o figure.pdf (No module named 'cairosvg')
  fits      the extra `figure` and the library cairo; .svg and .tex need neither
  fix       pip install 'dougong[figure]'
"""
    )


def test_the_gallery_finds_a_model_by_its_blocks_and_holds_no_script_of_a_name():
    hostile = "</script><script>boom()</script>"
    entries = [describe_model(picture(small("vit"), "vit"), "by D&S"), Entry(hostile, "", 1, [])]
    page = write_index(entries)
    words = json.loads(re.search(r'id="words">(.*?)</script>', page)[1])
    assert "selfattention" in words["vit"]
    assert "<script>boom" not in page
    assert page.count("<script") == 2
    assert "by D&amp;S" in page


@pytest.mark.slow
def test_all_models_become_a_static_site(tmp_path):
    assert main(["draw", "--all", str(tmp_path / "site")]) == 0
    names = {file.stem for file in (conf_folder() / "model").glob("*.yaml")}
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert set(re.findall(r'data-name="(\w+)"', page)) == names
    for name in names:
        text = (tmp_path / "site" / f"{name}.html").read_text(encoding="utf-8")
        assert 'href="index.html"' in text
        assert "https://" not in text.replace("https://arxiv", "")
        assert (tmp_path / "site" / f"{name}.svg").is_file()


def test_a_folder_that_cannot_be_written_is_reported(tmp_path, capsys):
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert main(["draw", "--all", str(tmp_path / "file")]) == 2
    assert "the file cannot be written" in capsys.readouterr().err
