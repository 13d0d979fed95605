"""A picture as one HTML page that needs nothing else: fold and unfold, look closer, search, by
pointer or keyboard.
"""

import json
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from blocks.graph.describe.draw.faces import (
    badge,
    face,
    face_svg,
    head,
    head_svg,
    label_width,
    pill,
    pill_svg,
    tail_svg,
)
from blocks.graph.describe.draw.kinds import ACCENTS, NAMES, rules
from blocks.graph.describe.draw.layout import Sheet, labelled, lay
from blocks.graph.describe.draw.order import order
from blocks.graph.describe.draw.picture import Body, DrawnNode, Picture
from blocks.graph.describe.draw.svg import SCOPE, SHAPES
from blocks.support.palette import STYLE

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{title}</h1><p>{count} parameters</p>
<span id="found" role="status"></span>
<input id="search" type="search" placeholder="search  /" aria-label="search nodes"
autocomplete="off"
 spellcheck="false">
<button id="unfold-all" type="button">unfold all</button>
<button id="fold-all" type="button">fold all</button>
<button id="theme" type="button">auto</button>
</header>
<main id="stage">
<svg id="canvas" class="dougong" role="tree" aria-label="nodes of {title}" xmlns="http://www.w3.org/2000/svg"></svg>
</main>
<aside id="panel" aria-label="the chosen node" aria-live="polite"></aside>
<footer>{legend}<div><kbd>&uarr;</kbd> <kbd>&darr;</kbd> go,
 <kbd>&larr;</kbd> <kbd>&rarr;</kbd> <kbd>Enter</kbd> fold and unfold,
 <kbd>/</kbd> search, <kbd>Esc</kbd> end the search</div></footer>
<script type="application/json" id="model">{model}</script>
<script>
{script}</script>
</body>
</html>
"""


@cache
def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def html(picture: Picture) -> str:
    """The page of a picture."""
    model = {
        "body": _body(picture.body, True),
        "check": dict(_places(picture.body, lay(picture.body), 0, 0)),
    }
    return PAGE.format(
        title=escape(picture.title),
        count=f"{picture.parameters:,}",
        style=_style(),
        legend=_legend(picture),
        model=json.dumps(model, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
        script=_file("layout.js") + _file("page.js"),
    )


def _style() -> str:
    """Colours as the reader's system says, unless the button says otherwise."""
    chosen = rules("dark", f':root[data-theme="dark"] {SCOPE}')
    asked = rules("dark", f':root:not([data-theme="light"]) {SCOPE}')
    dark = f"{chosen}\n@media (prefers-color-scheme:dark){{\n{asked}\n}}"
    return f"{STYLE}{_file('page.css')}{SHAPES}\n{rules('light', SCOPE)}\n{dark}\n"


def _legend(picture: Picture) -> str:
    used = {node.kind for node in picture.nodes()}
    return "".join(
        f'<span style="--colour:{ACCENTS[kind]}">{escape(name)}</span>'
        for kind, name in NAMES.items()
        if kind in used and kind != "body"
    )


def _body(body: Body, top: bool) -> dict[str, Any]:
    found = order(body, top)
    nets = [
        {
            **{key: getattr(net, key) for key in ("source", "slot", "exit", "lane", "shape")},
            "width": label_width(net.shape),
            "labelled": labelled(body, net, top),
            "targets": [
                {key: getattr(t, key) for key in ("vertex", "slot", "entry", "straight")}
                for t in net.targets
            ],
        }
        for net in found.nets
    ]
    lanes = [
        {key: getattr(lane, key) for key in ("side", "first", "last", "vertices")}
        for lane in found.lanes
    ]
    return {
        "vertices": [_vertex(body, vertex, top) for vertex in range(body.size)],
        "outputs": len(body.inputs) + len(body.nodes),
        "order": {"layers": found.layers, "lanes": lanes, "nets": nets},
    }


def _vertex(body: Body, vertex: int, top: bool) -> dict[str, Any]:
    node = body.node(vertex)
    if node is None:
        w, h = pill(body, vertex, top)
        return {"w": w, "h": h, "face": pill_svg(body, vertex, top)}
    w, h = face(node)
    told = f"{node.name} {badge(node)}, {node.block or 'body'}, {node.parameters:,} parameters"
    told = told.replace(" ,", ",")
    found = {key: getattr(node, key) for key in ("id", "name", "kind", "times")}
    found |= {"w": w, "h": h, "face": face_svg(node), "told": told, "info": information(node)}
    if node.body is not None:
        found |= {
            "open": node.opened,
            "least": head(node),
            "head": head_svg(node),
            "tail": tail_svg(node),
            "body": _body(node.body, False),
        }
    return found


def information(node: DrawnNode) -> dict[str, Any]:
    """What the page tells about a node."""
    share = f"{node.share:.1%}" if node.share >= 0.001 else "under 0.1%"
    count = f"{node.parameters:,}  ({share} of the model)" if node.parameters else ""
    return {
        "title": node.display,
        "block": f"{node.block or 'body'}{f', {node.times} times' if node.times > 1 else ''}",
        "takes": node.takes,
        "gives": [
            ["out" if port == "out" else f"out: {port}", shape]
            for port, shape in node.gives.items()
        ],
        "parameters": count,
        "share": round(node.share, 5),
        "arguments": [f"{word}: {value}" for word, value in node.arguments.items()],
        "summary": node.summary,
        "formula": node.formula,
        "source": node.source,
        "left_out": ", ".join(node.body.left_out) if node.body else "",
        "where": node.where,
    }


def _places(body: Body, sheet: Sheet, x: float, y: float) -> list[tuple[str, list[float]]]:
    """Where the static layout puts each visible node: the page checks itself against it."""
    found: list[tuple[str, list[float]]] = []
    for vertex, box in enumerate(sheet.boxes):
        node = body.node(vertex)
        if node is not None:
            found.append(
                (
                    node.id,
                    [round(x + box.x, 2), round(y + box.y, 2), round(box.w, 2), round(box.h, 2)],
                )
            )
            if box.inside is not None and node.body is not None:
                found += _places(node.body, box.inside, x + box.x, y + box.y)
    return found
