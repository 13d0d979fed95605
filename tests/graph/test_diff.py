"""The difference of two models: nothing between equals, everything between others, in words that
are read at once.
"""

import re
from html.parser import HTMLParser

import pytest

from blocks.__main__ import main
from blocks.commands.diff import split_side, two_sides
from blocks.graph.describe.diff import compare, difference
from blocks.graph.describe.diff_text import WIDTH, page, text

PAIRS = [
    ("model=vit", "model=vit,model/residual=postnorm"),
    ("model=vit", "model=swin"),
    ("model=cnn", "model=unet"),
    ("model=vit", "model=vit,model/mlp=swiglu,model/position=sinusoidal,model.params.depth=6"),
    ("model=vit_s16", "model=swin_t"),
]


@pytest.mark.parametrize("model", ["model=vit", "model=swin", "model=cnn", "model=unet"])
def test_between_equals_there_is_none(model, capsys):
    assert main(["diff", model, f"{model},seed=3"]) == 0
    assert capsys.readouterr().out.endswith("\n\nthe graphs are the same\n")


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_what_is_added_one_way_is_removed_the_other_way(old, new):
    a, b, _ = two_sides([old, new])
    there, back = list(compare(a.nodes, b.nodes)), list(compare(b.nodes, a.nodes))

    def told(lines, kind):
        return sorted((line.depth, line.name, line.details) for line in lines if line.kind == kind)

    assert told(there, "added") == told(back, "removed")
    assert told(there, "removed") == told(back, "added")
    assert len(told(there, "moved")) == len(told(back, "moved"))


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_a_terminal_of_80_columns_is_wide_enough(old, new):
    a, b, _ = two_sides([old, new])
    lines = text(a, b).splitlines()
    assert max(len(line) for line in lines if not line.startswith(("old", "new"))) <= WIDTH


def test_postnorm_moves_the_norm(capsys):
    assert main(["diff", "model=vit", "model=vit,model/residual=postnorm"]) == 0
    assert (
        capsys.readouterr().out
        == """\
                        model=vit  model=vit,model/residual=postnorm
parameters                202,186                            202,186
multiply-adds              3.50 M                             3.50 M
outputs        logits (batch, 10)                 logits (batch, 10)

  layers  4 times
!   attention  residual: prenorm -> residual: postnorm
>     norm  LayerNorm  now behind add
!   mlp  residual: prenorm -> residual: postnorm
>     norm  LayerNorm  now behind add

+ added  - removed  ! replaced  > moved  ~ changed
"""
    )


def test_other_wiring_is_told(capsys):
    assert main(["diff", "model=vit", "model=vit,model.residual.body.add.in=[drop,x]"]) == 0
    assert "~     add  Add  reads x, drop -> drop, x\n" in capsys.readouterr().out


def test_a_part_that_one_side_has_is_told(capsys):
    assert main(["diff", "model=llama", "model=llama,model/position=none"]) == 0
    told = "~     inner  SelfAttention  no rotary (was Rotary(base=10000.0, head_dim=16))\n"
    assert told in capsys.readouterr().out


def test_what_does_nothing_changes_no_wiring(capsys):
    assert main(["diff", "model=vit", "model=vit,model.params.drop_path=0.1"]) == 0
    told = capsys.readouterr().out
    assert told.count("~     drop  DropPath  rate 0 -> 0..0.1\n") == 2
    assert "reads" not in told


def test_data_that_fits_both_is_found_and_told(capsys):
    assert main(["diff", "model=vit", "model=vit_ti16"]) == 0
    assert capsys.readouterr().out.endswith(
        "\nwith data=imagenet; the default data does not fit both\n"
    )


def test_a_side_that_does_not_build_is_told(capsys):
    assert main(["diff", "model=vit", "model=vit,model.params.heads=7"]) == 2
    assert "  SelfAttention: heads must divide dim\n" in capsys.readouterr().err


def test_commas_in_brackets_and_quotes_do_not_part():
    side = (
        "model=swin,model.params.depths=[2,2],+model.graph.a={block: Dropout, rate: "
        "0.1},'x=\"a,b\"'"
    )
    assert split_side(side) == [
        "model=swin",
        "model.params.depths=[2,2]",
        "+model.graph.a={block: Dropout, rate: 0.1}",
        "'x=\"a,b\"'",
    ]


class Reader(HTMLParser):
    """The text of a page, and whether every tag is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.text = [], ""

    def handle_starttag(self, tag, attributes):
        self.open += [tag] if tag not in ("meta",) else []
        assert not {"src", "href"} & dict(attributes).keys()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_the_page_says_the_same_and_needs_nothing_else(old, new, tmp_path, capsys):
    assert main(["diff", old, new, "--html", str(tmp_path / "diff.html")]) == 0
    reader = Reader()
    reader.feed((tmp_path / "diff.html").read_text(encoding="utf-8"))
    assert reader.open == []
    a, b, _ = two_sides([old, new])
    for line in difference(a, b):
        for word in (line.name, *line.details):
            assert word.replace(" -> ", " → ") in reader.text
    assert not re.search(r"https?:|url\(|@import|<script", page(a, b))


def test_a_page_that_cannot_be_written_is_told(tmp_path, capsys):
    file = tmp_path / "none" / "diff.html"
    assert main(["diff", "model=vit", "model=vit", "--html", str(file)]) == 2
    told = capsys.readouterr().err.splitlines()
    assert told[1:3] == [
        "  the file cannot be written",
        f"  got       --html {file} (No such file or directory)",
    ]
