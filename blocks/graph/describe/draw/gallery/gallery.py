"""The list of a gallery: what each model is, how large, of which blocks, with its picture."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path

from blocks.graph.describe.draw.faces import count_text
from blocks.graph.describe.draw.picture import Picture
from blocks.support.palette import STYLE

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline';
 img-src 'self' data:">
<link rel="icon" href="data:,">
<title>Models · 斗拱 Dougong</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1 data-zh="模型图库">Models</h1>
<label><span class="hidden" data-zh="搜索模型、论文、模块">Search names, papers, blocks</span>
<input id="search" type="search" autocomplete="off" spellcheck="false"
 placeholder="ViT, 2017, RMSNorm, …"></label>
<label><span data-zh="排序">Order</span> <select id="order">
<option value="name" data-zh="名称">name</option>
<option value="size" data-zh="参数量">parameters</option>
</select></label>
<p id="found" role="status">{count}</p>
</header>
<main>
<ul id="models">
{models}
</ul>
</main>
<script type="application/json" id="words">{words}</script>
<script>
{script}</script>
</body>
</html>
"""
MODEL = """<li data-name="{name}" data-size="{parameters}"><a href="{name}.html">
<img src="{name}.svg" alt="" loading="lazy">
<b>{name}</b><span class="count">{count}</span>
<span class="about">{about}</span></a></li>"""


@dataclass(frozen=True)
class Entry:
    """A model of the list.

    Args:
        about: its description and source, from its file.
        words: what a search finds it by, beside its name: its blocks and options.
    """

    name: str
    about: str
    parameters: int
    words: Sequence[str]


def describe_model(picture: Picture, about: str) -> Entry:
    """Return the entry of a model."""
    words = dict.fromkeys(word for node in picture.nodes() for word in (node.block, node.name))
    return Entry(picture.title, about, picture.parameters, list(filter(None, words)))


def write_index(entries: Iterable[Entry]) -> str:
    """The page that lists and searches the models; it names `NAME.html` and `NAME.svg`."""
    listed = list(entries)
    words = {each.name: " ".join([each.name, each.about, *each.words]).lower() for each in listed}
    return PAGE.format(
        style=STYLE + _read_file("gallery.css"),
        count=len(listed),
        models="\n".join(map(_write_model, listed)),
        words=json.dumps(words, ensure_ascii=False).replace("<", "\\u003c"),
        script=_read_file("gallery.js"),
    )


def _write_model(entry: Entry) -> str:
    return MODEL.format(
        name=escape(entry.name),
        parameters=entry.parameters,
        count=count_text(entry.parameters),
        about=escape(entry.about),
    )


@cache
def _read_file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
