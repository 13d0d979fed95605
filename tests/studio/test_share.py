"""What leaves the page: figures, links; and what a link may bring."""

import base64
import os
import shlex
import subprocess
import zlib

import pytest

from blocks.graph import compose, conf_folder, plan
from blocks.graph.describe.draw import ENDINGS, WRITERS, draw
from blocks.studio.drafts import LONGEST
from blocks.studio.share.figure import draw_figure
from blocks.studio.share.link import MOST, read_link, write_link

VIT = (conf_folder() / "model" / "vit.yaml").read_text(encoding="utf-8")


def test_a_figure_is_the_one_that_draw_writes():
    built = plan(compose(["model=vit", "data=digits"]))
    for ending in WRITERS:
        found = base64.b64decode(draw_figure(built, "vit", ending, 1)["content"]).decode()
        assert found == draw(built, ending, "vit", 1)
    assert "prefers-color-scheme" not in str(
        base64.b64decode(draw_figure(built, "vit", ".png", 1)["content"])
    )
    for ending in ("", ".exe", "/etc/passwd", ".svg/../x"):
        assert ending not in ENDINGS
        assert draw_figure(built, "vit", ending, None)["errors"]


@pytest.mark.parametrize("text", [VIT, "名: 字\n", "x" * LONGEST])
def test_a_link_brings_the_text_that_it_was_made_of(text):
    assert read_link(write_link(text)) == text
    assert write_link(text).replace("-", "").replace("_", "").isalnum()


def test_a_script_brings_the_draft_that_its_command_names(tmp_path):
    pytest.importorskip("nicegui")
    from blocks.studio.page.share import write_script

    text = VIT + "# END $HOME `ls` 'x'\n"
    command = ["--config-dir", "studio", "model=vit_draft", "data=digits"]
    script = write_script(command, "vit", text)
    *parts, line = script.splitlines(keepends=True)
    assert shlex.split(line)[-4:] == command
    subprocess.run(["sh", "-c", "".join(parts)], cwd=tmp_path, check=True)
    assert (tmp_path / "studio/model/vit_draft.yaml").read_text("utf-8") == text
    plain = ["model=vit", "data=digits"]
    assert shlex.split(write_script(plain, "vit", VIT))[-2:] == plain


BOMB = base64.urlsafe_b64encode(zlib.compress(b"a" * 50_000_000, 9)).decode()
HOSTILE = {
    "nothing": "",
    "no base64": "%%%",
    "no zlib": base64.urlsafe_b64encode(os.urandom(64)).decode(),
    "cut off": write_link(VIT)[:-20],
    "no text": base64.urlsafe_b64encode(zlib.compress(b"\xff\xfe")).decode(),
    "empty": write_link(""),
    "too long": write_link("x" * (LONGEST + 1)),
    "unpacks to 50 MB": BOMB,
    "an endless address": "A" * (MOST + 1),
    "other letters": "名",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_damaged_or_hostile_link_brings_nothing(name):
    assert read_link(HOSTILE[name]) is None
