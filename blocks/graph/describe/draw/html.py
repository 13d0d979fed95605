"""A drawing as one HTML page that needs nothing else: it folds, unfolds and searches, by pointer or
keyboard.

`layout.py` places everything as if all nodes were unfolded. A node is a `<details>`, which the
browser folds without a script: the layers of a body are below each other in the flow of the page,
so what is below a folded node moves up, and nothing moves sideways.
"""

import json
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from blocks.graph.describe.draw.faces import (
    FACE,
    HEAD,
    SOFT,
    badge,
    face_size,
    face_svg,
    header_svg,
    pill_svg,
    shell_svg,
    tail_svg,
    text_svg,
)
from blocks.graph.describe.draw.kinds import rules
from blocks.graph.describe.draw.layout import Box, Line, Sheet, lay_out
from blocks.graph.describe.draw.picture import Body, DrawnNode, Picture
from blocks.graph.describe.draw.svg import RADIUS, SCOPE, SHAPES, curve, line_class, tip_svg
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
{home}<h1>{title}</h1><p>{count} parameters</p>
<span id="found" role="status"></span>
<input id="search" type="search" placeholder="search  /" aria-label="search nodes"
autocomplete="off"
 spellcheck="false">
<button id="unfold-all" type="button">unfold all</button>
<button id="fold-all" type="button">fold all</button>
<button id="theme" type="button">auto</button>
</header>
<main id="stage">
<div id="canvas" class="dougong" role="group" aria-label="nodes of {title}">
{drawing}
</div>
</main>
<aside id="panel" aria-label="the chosen node" aria-live="polite"></aside>
<footer>{legend}<div><kbd>&uarr;</kbd> <kbd>&darr;</kbd> go,
 <kbd>&larr;</kbd> <kbd>&rarr;</kbd> <kbd>Enter</kbd> fold and unfold,
 <kbd>/</kbd> search, <kbd>Esc</kbd> end the search</div></footer>
<script type="application/json" id="nodes">{nodes}</script>
<script>
{script}</script>
</body>
</html>
"""


@cache
def _read_file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def write_html(picture: Picture, home: str = "") -> str:
    """The page of a drawing.

    Args:
        home: the address of the page that lists this one.
    """
    nodes = {node.id: _describe_node(node) for node in picture.nodes()}
    return PAGE.format(
        title=escape(picture.title),
        home=f'<a href="{escape(home)}" aria-label="all models">←</a>' if home else "",
        count=f"{picture.parameters:,}",
        style=_write_style(),
        drawing=_write_body(picture.body, lay_out(picture.body, whole=True), top=True),
        legend=_write_legend(picture),
        nodes=json.dumps(nodes, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
        script=_read_file("page.js"),
    )


def _write_style() -> str:
    """Colours as the reader's system says, unless the button says otherwise."""
    chosen = rules("dark", f':root[data-theme="dark"] {SCOPE}')
    system = rules("dark", f':root:not([data-theme="light"]) {SCOPE}')
    dark = f"{chosen}\n@media (prefers-color-scheme:dark){{\n{system}\n}}"
    return f"{STYLE}{_read_file('page.css')}{SHAPES}\n{rules('light', SCOPE)}\n{dark}\n"


def _write_legend(picture: Picture) -> str:
    parts = []
    for _, name, colour in picture.legend():
        parts.append(f'<span style="--colour:{colour}">{escape(name)}</span>')
    return "".join(parts)


# The drawing --------------------------------------------------------------------------------------


def _write_body(body: Body, sheet: Sheet, top: bool = False) -> str:
    """The layers of a body, each with the gap below it."""
    parts = [f'<div class="body" style="width:{sheet.w:.1f}px">']
    for layer in range(len(sheet.tops)):
        parts.append(f'<div class="layer">{_write_passing(body, sheet, layer)}')
        for vertex, box in enumerate(sheet.boxes):
            if sheet.layers[vertex] == layer:
                parts.append(_write_vertex(body, vertex, sheet, box, top))
        parts.append(f"</div>{_write_gap(body, sheet, layer)}")
    return "\n".join([*parts, "</div>"])


def _write_vertex(body: Body, vertex: int, sheet: Sheet, box: Box, top: bool) -> str:
    node, at = body.node(vertex), f"margin-left:{box.x:.1f}px"
    if node is None:
        pill = pill_svg(body, vertex, top)
        return f'<svg class="io" style="{at}" width="{box.w:g}" height="{box.h:g}">{pill}</svg>'
    name = f"{node.name} {badge(node)}".rstrip()
    label = f"{name}, {node.block or 'body'}, {node.parameters:,} parameters"
    which = f'data-id="{escape(node.id)}" aria-label="{escape(label)}"'
    if box.inside is None or node.body is None:
        face = _write_face(node, 0, box.w)
        return f'<div class="node" style="{at}" role="note" tabindex="0" {which}>{face}</div>'
    face = _write_face(node, *_find_face(node, vertex, sheet))
    tail = f'<g transform="translate({box.w:.1f} 0)">{tail_svg(node)}</g>'
    state = ' open=""' if node.opened else ""
    return f"""<details class="node" style="{at};width:{box.w:.1f}px"{state}>
<summary {which}>{face}<svg class="head" height="{HEAD}">{header_svg(node)}{tail}</svg></summary>
<svg class="frame {node.kind}">{shell_svg(node, "100%", "100%")}</svg>
{_write_body(node.body, box.inside)}
</details>"""


def _write_face(node: DrawnNode, x: float, width: float) -> str:
    size = f'style="margin-left:{x:.1f}px" width="{width:.1f}" height="{FACE}"'
    return f'<svg class="face {node.kind}" {size}>{face_svg(node, width)}</svg>'


def _find_face(node: DrawnNode, vertex: int, sheet: Sheet) -> tuple[float, float]:
    """Where the folded node begins in its box, and its width: below its main input, and wide enough
    for all its lines.
    """
    box = sheet.boxes[vertex]
    middle, xs = box.w / 2, []
    for line in sheet.lines:
        if line.target.vertex == vertex:
            xs.append(line.ways[-1].end - box.x)
            if line.target.slot == 0:
                middle = xs[-1]
        if line.net.source == vertex:
            xs.append(line.ways[0].start - box.x)
    low, high = min(xs, default=middle) - 2 * RADIUS, max(xs, default=middle) + 2 * RADIUS
    width = min(max(face_size(node)[0], high - low), box.w)
    x = max(min(middle - width / 2, low), high - width)
    return min(max(x, 0), box.w - width), width


def _write_passing(body: Body, sheet: Sheet, layer: int) -> str:
    """Lines beside the boxes of a layer, and below a box that is less high than its neighbours."""
    crowded = sheet.layers.count(layer) > 1
    lines = []
    for line in sheet.lines:
        for way in line.ways:
            if way.gap == layer and (crowded or way is not line.ways[0]):
                x = f"{way.start:.1f}"
                lines.append(f'<line {_describe_edge(body, line)} x1="{x}" x2="{x}" y2="100%"/>')
    return _write_lines("passing", lines)


def _write_gap(body: Body, sheet: Sheet, layer: int) -> str:
    """The lines below a layer; only its bends have a height of their own."""
    bottom = sheet.h
    if layer + 1 < len(sheet.tops):
        bottom = sheet.tops[layer + 1]
    height = bottom - sheet.ends[layer]
    parts = []
    for line in sheet.lines:
        for way in line.ways:
            if way.gap == layer:
                end = height
                if line.tip and way is line.ways[-1]:
                    parts.append(tip_svg(line, way.end, height))
                    end -= 4
                path = curve([(way.start, 0), *way.corners(0), (way.end, end)])
                parts.append(f'<path {_describe_edge(body, line)} d="{path}"/>')
    for net, x in sheet.labels:
        if sheet.layers[net.source] == layer:
            parts.append(text_svg(round(x, 1), 13, net.shape, 10, SOFT))
    return _write_lines("gap", parts, f' height="{height:g}"')


def _write_lines(name: str, parts: list[str], size: str = "") -> str:
    """Lines as a drawing; those of one net are drawn once where they run together."""
    return f'<svg class="{name}"{size} aria-hidden="true">{"".join(dict.fromkeys(parts))}</svg>'


def _describe_edge(body: Body, line: Line) -> str:
    """The attributes of an edge: its classes, and the nodes at the ends of its net."""
    nodes = map(body.node, [line.net.source, *(end.vertex for end in line.net.targets)])
    ends = "|".join(node.id for node in nodes if node is not None)
    return f'class="edge{line_class(line)}" data-ends="|{escape(ends)}|"'


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
