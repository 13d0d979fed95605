"""A drawing as one HTML page that needs nothing else: it folds, unfolds and searches, by pointer or
keyboard.
"""

import json
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from blocks.graph.describe.draw.faces import (
    badge,
    face_size,
    face_svg,
    header_svg,
    label_width,
    least_width,
    pill_size,
    pill_svg,
    tail_svg,
)
from blocks.graph.describe.draw.kinds import ACCENTS, NAMES, rules
from blocks.graph.describe.draw.layout import Sheet, is_labelled, lay_out
from blocks.graph.describe.draw.order import Lane, Net, Target, order_body
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
def _read_file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def write_html(picture: Picture) -> str:
    """The page of a drawing."""
    model = {"body": _describe_body(picture.body, True), "check": {}}
    _add_boxes(model["check"], picture.body, lay_out(picture.body), 0, 0)
    return PAGE.format(
        title=escape(picture.title),
        count=f"{picture.parameters:,}",
        style=_write_style(),
        legend=_write_legend(picture),
        model=json.dumps(model, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
        script=_read_file("layout.js") + _read_file("page.js"),
    )


def _write_style() -> str:
    """Colours as the reader's system says, unless the button says otherwise."""
    chosen = rules("dark", f':root[data-theme="dark"] {SCOPE}')
    system = rules("dark", f':root:not([data-theme="light"]) {SCOPE}')
    dark = f"{chosen}\n@media (prefers-color-scheme:dark){{\n{system}\n}}"
    return f"{STYLE}{_read_file('page.css')}{SHAPES}\n{rules('light', SCOPE)}\n{dark}\n"


def _write_legend(picture: Picture) -> str:
    used = {node.kind for node in picture.nodes()}
    parts = []
    for kind, name in NAMES.items():
        if kind in used and kind != "body":
            parts.append(f'<span style="--colour:{ACCENTS[kind]}">{escape(name)}</span>')
    return "".join(parts)


# What `layout.js` and `page.js` read --------------------------------------------------------------


def _describe_body(body: Body, top: bool) -> dict[str, Any]:
    found = order_body(body, top)
    order = {
        "layers": found.layers,
        "lanes": list(map(_describe_lane, found.lanes)),
        "nets": [_describe_net(body, net, top) for net in found.nets],
    }
    return {
        "vertices": [_describe_vertex(body, vertex, top) for vertex in range(body.size)],
        "outputs": body.first_output,
        "order": order,
    }


def _describe_lane(lane: Lane) -> dict[str, Any]:
    return {"side": lane.side, "first": lane.first, "last": lane.last, "vertices": lane.vertices}


def _describe_net(body: Body, net: Net, top: bool) -> dict[str, Any]:
    return {
        "source": net.source,
        "slot": net.slot,
        "exit": net.exit,
        "lane": net.lane,
        "shape": net.shape,
        "width": label_width(net.shape),
        "labelled": is_labelled(body, net, top),
        "targets": list(map(_describe_target, net.targets)),
    }


def _describe_target(target: Target) -> dict[str, Any]:
    return {
        "vertex": target.vertex,
        "slot": target.slot,
        "entry": target.entry,
        "straight": target.straight,
    }


def _describe_vertex(body: Body, vertex: int, top: bool) -> dict[str, Any]:
    node = body.node(vertex)
    if node is None:
        w, h = pill_size(body, vertex, top)
        return {"w": w, "h": h, "face": pill_svg(body, vertex, top)}
    w, h = face_size(node)
    name = f"{node.name} {badge(node)}".rstrip()
    found = {
        "id": node.id,
        "name": node.name,
        "kind": node.kind,
        "times": node.times,
        "w": w,
        "h": h,
        "face": face_svg(node),
        "label": f"{name}, {node.block or 'body'}, {node.parameters:,} parameters",
        "info": _describe_node(node),
    }
    if node.body is not None:
        found["open"] = node.opened
        found["least"] = least_width(node)
        found["head"] = header_svg(node)
        found["tail"] = tail_svg(node)
        found["body"] = _describe_body(node.body, False)
    return found


def _describe_node(node: DrawnNode) -> dict[str, Any]:
    """What the panel of the page shows of a node."""
    block = node.block or "body"
    if node.times > 1:
        block += f", {node.times} times"
    count = ""
    if node.parameters:
        share = f"{node.share:.1%}" if node.share >= 0.001 else "under 0.1%"
        count = f"{node.parameters:,}  ({share} of the model)"
    gives = []
    for port, shape in node.gives.items():
        gives.append(["out" if port == "out" else f"out: {port}", shape])
    return {
        "title": node.display,
        "block": block,
        "takes": node.takes,
        "gives": gives,
        "parameters": count,
        "share": round(node.share, 5),
        "arguments": [f"{name}: {value}" for name, value in node.arguments.items()],
        "summary": node.summary,
        "formula": node.formula,
        "source": node.source,
        "left_out": ", ".join(node.body.left_out) if node.body else "",
        "where": node.where,
    }


def _add_boxes(found: dict[str, list[float]], body: Body, sheet: Sheet, x: float, y: float) -> None:
    """Where the static layout puts each visible node: the page checks itself against it."""
    for vertex, box in enumerate(sheet.boxes):
        node = body.node(vertex)
        if node is not None:
            edges = (x + box.x, y + box.y, box.w, box.h)
            found[node.id] = [round(edge, 2) for edge in edges]
            if box.inside is not None and node.body is not None:
                _add_boxes(found, node.body, box.inside, x + box.x, y + box.y)
