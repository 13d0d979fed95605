r"""A drawing as TikZ, the graphics of LaTeX: a picture that a paper reads by `\input`.

Boxes and lines stand where the SVG has them; the texts are set in the sans serif font of the paper.
"""

import re
from collections.abc import Iterator
from itertools import pairwise

from blocks.graph.describe.draw.faces import (
    HEAD,
    badge,
    count_text,
    face_size,
    pill_text,
    subtitle,
    text_width,
)
from blocks.graph.describe.draw.kinds import KINDS, TINTS, mix
from blocks.graph.describe.draw.layout import Box, Line, Sheet, lay_out
from blocks.graph.describe.draw.picture import Body, DrawnNode, Picture
from blocks.support.palette import THEMES

PAPER = THEMES["light"]["paper"]
LEGEND = 34  # height of the legend
SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    '"': r"\textquotedbl{}",
    "|": r"\textbar{}",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "–": "--",
    "—": "---",
    "→": r"$\to$",
    "↻": r"$\hookleftarrow$",
    "√": r"$\surd$",
}
UNSEEN = re.compile(r"[\x00-\x1f\x7f]+")
BEGIN = r"""% {title}: {count} parameters. Drawn by Dougong.
% \usepackage{{tikz}}, then \input this file,
% as wide as a column: \resizebox{{\columnwidth}}{{!}}{{\input{{...}}}}
\begin{{tikzpicture}}[x=0.75bp, y=-0.75bp, line width=0.6bp, inner sep=0pt, outer sep=0pt,
  words/.style={{anchor=base west, font=\sffamily\fontsize{{#1pt}}{{#1pt}}\selectfont}},
  box/.style={{rounded corners=3.5bp}}, shell/.style={{rounded corners=6bp}},
  edge/.style={{rounded corners=4bp, draw=dgLine}}, skip/.style={{draw=dgSkip}},
  maybe/.style={{dash pattern=on 2.4bp off 1.8bp}}, tip/.style={{-{{latex}}}}]"""


def write_tikz(picture: Picture) -> str:
    """The drawing as an environment `tikzpicture`."""
    sheet = lay_out(picture.body)
    title = escape_tex(picture.title)
    lines = [
        BEGIN.format(title=title, count=f"{picture.parameters:,}"),
        *_define_colours(picture),
        *_write_sheet(picture.body, sheet, top=True),
        *_write_legend(picture, sheet),
        r"\end{tikzpicture}",
    ]
    return "\n".join(lines) + "\n"


def escape_tex(text: str) -> str:
    """A text in which TeX finds no command."""
    return "".join(SPECIAL.get(letter, letter) for letter in UNSEEN.sub(" ", text))


def _define_colours(picture: Picture) -> Iterator[str]:
    theme = THEMES["light"]
    named = {"dgInk": "ink", "dgSoft": "soft", "dgLine": "line", "dgSkip": "skip", "dgChip": "chip"}
    for name, key in named.items():
        yield _define(name, theme[key])
    box, shell = TINTS["light"]
    for kind in sorted({node.kind for node in picture.nodes()}):
        accent = KINDS[kind][1]
        tints = {"": 1.0, "Box": box, "Shell": shell, "Rim": 0.75}
        for part, share in tints.items():
            yield _define(f"dg{kind}{part}", mix(accent, PAPER, share))


def _define(name: str, colour: str) -> str:
    return rf"\definecolor{{{name}}}{{HTML}}{{{colour.lstrip('#').upper()}}}"


def _write_sheet(body: Body, sheet: Sheet, top: bool = False) -> Iterator[str]:
    """A body: first the nodes, then the lines between them."""
    for vertex, box in enumerate(sheet.boxes):
        node = body.node(vertex)
        inner = _write_pill(body, vertex, box, top)
        if node is not None:
            inner = _write_node(node, box)
        inside = list(inner)
        if inside:
            yield rf"\begin{{scope}}[shift={{({box.x:.1f},{box.y:.1f})}}]"
            yield from inside
            yield r"\end{scope}"
    for line in sorted(sheet.lines, key=lambda line: not line.skip):
        yield _write_line(line)
    for net, x in sheet.labels:
        box = sheet.boxes[net.source]
        yield _write_words(x, box.y + box.h + 13, net.shape, 8, "dgSoft")


def _write_pill(body: Body, vertex: int, box: Box, top: bool) -> Iterator[str]:
    """An input or output."""
    if not box.h:
        return
    half = f"{0.75 * box.h / 2:.1f}bp"
    yield (
        rf"\filldraw[rounded corners={half}, draw=dgLine, fill=dgChip] "
        f"(0,0) rectangle ({box.w:.1f},{box.h:.1f});"
    )
    text = pill_text(body, vertex, top)
    yield _write_words(box.w / 2, 14, text, 8, "dgSoft", anchor="base")


def _write_node(node: DrawnNode, box: Box) -> Iterator[str]:
    if box.inside is not None and node.body is not None:
        yield from _write_pile(node, box, "shell", 4, f"dg{node.kind}Shell")
        name = rf"\textbf{{{escape_tex(node.name)}}}"
        if node.block:
            small = r"\ \ \color{dgSoft}\mdseries\fontsize{8pt}{8pt}\selectfont "
            name += small + escape_tex(node.block)
        yield rf"\node[words=9, text=dgInk] at (13,19.5) {{{name}}};"
        yield from _write_end(node, box.w, 19.5, HEAD - 10.5)
        yield from _write_sheet(node.body, box.inside)
        return
    yield from _write_pile(node, box, "box", 3, f"dg{node.kind}Box")
    high = face_size(node)[1]
    yield (rf"\fill[fill=dg{node.kind}, rounded corners=1.2bp] (0,8) rectangle (3.5,{high - 8:g});")
    yield _write_words(13, 19, node.name, 9, "dgInk", bold=True)
    yield _write_words(13, 34, subtitle(node), 8, "dgSoft")
    yield from _write_end(node, box.w, 34, 19)


def _write_pile(node: DrawnNode, box: Box, style: str, step: int, fill: str) -> Iterator[str]:
    """The frame of a node; several equal ones look like a pile."""
    for place in (2, 1, 0):
        if place and node.times <= 1:
            continue
        yield (
            rf"\filldraw[{style}, draw=dg{node.kind}Rim, fill={fill}] "
            f"({step * place},{-step * place}) rectangle "
            f"({box.w + step * place:.1f},{box.h - step * place:.1f});"
        )


def _write_end(node: DrawnNode, width: float, count_at: float, badge_at: float) -> Iterator[str]:
    """The right of a node: its parameters, and how often it is repeated."""
    right = width - 10
    times = badge(node)
    if times:
        wide = text_width(times, 11) + 10
        yield (
            rf"\fill[rounded corners=6bp, fill=dgChip] ({right - wide:.1f},{badge_at - 12:.1f}) "
            f"rectangle ({right:.1f},{badge_at + 4:.1f});"
        )
        yield _write_words(right - wide / 2, badge_at, times, 8, "dgInk", anchor="base", bold=True)
        if count_at == badge_at or node.opened:
            right -= wide + 8
    if node.parameters:
        count = count_text(node.parameters)
        yield _write_words(right, count_at, count, 8, "dgSoft", anchor="base east")


def _write_words(
    x: float,
    y: float,
    text: str,
    size: float,
    colour: str,
    anchor: str = "base west",
    bold: bool = False,
) -> str:
    words = escape_tex(text)
    if bold:
        words = rf"\textbf{{{words}}}"
    return (
        rf"\node[words={size:g}, text={colour}, anchor={anchor}] at ({x:.1f},{y:.1f}) {{{words}}};"
    )


def _write_line(line: Line) -> str:
    """An edge through rounded corners, with its arrow."""
    styles = ["edge"]
    if line.skip:
        styles.append("skip")
    if not line.net.shape:
        styles.append("maybe")
    if line.tip:
        styles.append("tip")
    points = [line.points[0]]
    for before, here in pairwise(line.points):
        if abs(before[0] - here[0]) > 0.05 or abs(before[1] - here[1]) > 0.05:
            points.append(here)
    path = " -- ".join(f"({x:.1f},{y:.1f})" for x, y in points)
    return rf"\draw[{', '.join(styles)}] {path};"


def _write_legend(picture: Picture, sheet: Sheet) -> Iterator[str]:
    """The kinds that occur, in rows below the drawing."""
    x, y = 0.0, sheet.h + LEGEND / 2
    for kind, name, _ in picture.legend():
        wide = text_width(name, 10.5) + 32
        if x and x + wide > sheet.w:
            x, y = 0.0, y + 16
        yield (
            rf"\fill[fill=dg{kind}, rounded corners=2bp] ({x:.1f},{y - 9:.1f}) "
            f"rectangle ({x + 10:.1f},{y + 1:.1f});"
        )
        yield _write_words(x + 15, y, name, 8, "dgSoft")
        x += wide
