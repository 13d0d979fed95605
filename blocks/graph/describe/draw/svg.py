"""A drawing as SVG: readable alone and in a README, on light and on dark, without a script or the
network.
"""

from html import escape
from itertools import pairwise

from blocks.graph.describe.draw.faces import (
    BOLD,
    MIDDLE,
    SOFT,
    count_text,
    face_svg,
    header_svg,
    pill_svg,
    shell_svg,
    tail_svg,
    text_svg,
    text_width,
)
from blocks.graph.describe.draw.kinds import rules
from blocks.graph.describe.draw.layout import Line, Point, Sheet, lay_out
from blocks.graph.describe.draw.picture import Body, DrawnNode, Picture

SCOPE = ".dougong"
FONT = "ui-sans-serif,system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
SHAPES = f"""{SCOPE} text{{font-family:{FONT};font-variant-numeric:tabular-nums}}
{SCOPE} .box,{SCOPE} .shell{{stroke-width:1}}{SCOPE} .pill{{stroke-width:1}}
{SCOPE} .edge{{fill:none;stroke-width:1.4;stroke-linejoin:round}}{SCOPE}
.edge.skip{{stroke-width:1.6}}
{SCOPE} .edge.maybe{{stroke-dasharray:4 3}}
{SCOPE}
.sign{{fill:none;stroke:#8791A1;stroke-width:1.6;stroke-linecap:round;stroke-linejoin:round}}"""
RADIUS = 7


def write_svg(picture: Picture) -> str:
    """The drawing as a document of its own."""
    return _write_document(picture, f"<style>{_write_style()}</style>")


def write_part(picture: Picture) -> str:
    """The drawing as a part of a page that has the style (`write_page_style`); each node carries
    the path of the first that it stands for as `data-node`, and each edge those of the nodes at
    its ends as `data-edge`.
    """
    return _write_document(picture, "", marked=True)


def write_page_style(dark: str) -> str:
    """The style of `write_part`, light, and dark below the selector `dark`."""
    return f"{SHAPES}\n{rules('light', SCOPE)}\n{rules('dark', f'{dark} {SCOPE}')}"


def _write_document(picture: Picture, style: str, marked: bool = False) -> str:
    sheet = lay_out(picture.body)
    caption = f"{picture.title}  ·  {picture.parameters:,} parameters"
    legend, least = _write_legend(picture)
    width, height = max(sheet.w, text_width(caption, 14) + 40, least), sheet.h + 74
    x, bottom = (width - least) / 2 + 20, height - 18
    role = "graphics-document" if marked else "img"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="dougong" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="{role}" aria-label="{escape(caption)}">',
        f"<title>{escape(caption)}</title>",
        style,
        f'<rect class="paper" width="{width:.0f}" height="{height:.0f}" rx="12"/>',
        text_svg(width / 2, 30, caption, 14, MIDDLE + BOLD),
        f'<g transform="translate({(width - sheet.w) / 2:.1f} 34)">',
        _write_sheet(picture.body, sheet, marked, top=True),
        "</g>",
        f'<g transform="translate({x:.1f} {bottom:.1f})">{legend}</g>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _write_style() -> str:
    """The colours: light, or dark where the reader prefers it."""
    dark = f"@media (prefers-color-scheme:dark){{\n{rules('dark', SCOPE)}\n}}"
    return f"{SHAPES}\n{rules('light', SCOPE)}\n{dark}"


def _write_legend(picture: Picture) -> tuple[str, float]:
    """The kinds that occur, and the width they take."""
    parts, x = [], 0.0
    for kind, name, _ in picture.legend():
        box = f'x="{x:g}" y="-9" width="10" height="10" rx="3"'
        parts.append(f'<g class="{kind}"><rect class="accent" {box}/></g>')
        parts.append(text_svg(x + 15, 0, name, 10.5, SOFT))
        x += text_width(name, 10.5) + 32
    return "".join(parts), x + 24


def _write_sheet(body: Body, sheet: Sheet, marked: bool, top: bool = False) -> str:
    """A body: first the nodes, then the lines between them, which cross none."""
    parts = []
    for vertex, box in enumerate(sheet.boxes):
        node, mark = body.node(vertex), ""
        if node is None:
            kind, inner = "io", pill_svg(body, vertex, top)
        else:
            kind, inner = node.kind, _write_tooltip(node) + _write_node(node, box.inside, marked)
            if marked:
                label = f"{node.display}, {node.block or 'body'}, {node.parameters:,} parameters"
                mark = f' data-node="{escape(node.id)}" tabindex="0" role="graphics-object"'
                mark += f' aria-label="{escape(label)}"'
        if inner:
            move = f"translate({box.x:.1f} {box.y:.1f})"
            parts.append(f'<g class="{kind}" transform="{move}"{mark}>{inner}</g>')
    for line in sorted(sheet.lines, key=lambda line: not line.skip):
        parts.append(_write_line(line, body if marked else None))
    for net, x in sheet.labels:
        box = sheet.boxes[net.source]
        parts.append(text_svg(round(x, 1), round(box.y + box.h + 13, 1), net.shape, 10, SOFT))
    return "\n".join(parts)


def _write_node(node: DrawnNode, inside: Sheet | None, marked: bool) -> str:
    if inside is None or node.body is None:
        return face_svg(node)
    tail = f'<g transform="translate({inside.w:.1f} 0)">{tail_svg(node)}</g>'
    header = shell_svg(node, f"{inside.w:g}", f"{inside.h:g}") + header_svg(node) + tail
    return f"{header}\n{_write_sheet(node.body, inside, marked)}"


def _write_tooltip(node: DrawnNode) -> str:
    """What a browser shows when the pointer rests, without a script."""
    lines = [f"{node.display}  {node.block}".strip()]
    lines.append("; ".join(f"{name}={value}" for name, value in node.arguments.items()))
    if node.parameters:
        lines.append(f"{count_text(node.parameters)} parameters")
    lines.append(node.summary)
    return f"<title>{escape(chr(10).join(filter(None, lines)))}</title>"


def line_class(line: Line) -> str:
    """The classes of an edge, beside "edge"."""
    skip = " skip" if line.skip else ""
    maybe = "" if line.net.shape else " maybe"
    return skip + maybe


def tip_svg(line: Line, x: float, y: float) -> str:
    """The arrow at the end of an edge."""
    skip = " skip" if line.skip else ""
    return f'<path class="tip{skip}" d="M{x:.1f} {y:.1f}l-3.6 -6.5h7.2z"/>'


def _write_line(line: Line, body: Body | None) -> str:
    """An edge and its arrow; of a body that is marked, with the nodes at its ends."""
    x, y = line.points[-1]
    tip = ""
    if line.tip:
        tip = tip_svg(line, x, y)
        y -= 4
    path = curve([*line.points[:-1], (x, y)])
    mark = ""
    if body is not None:
        ends = [body.node(line.net.source), body.node(line.target.vertex)]
        source, target = ("" if node is None else escape(node.id) for node in ends)
        mark = f' data-edge="{source} {target}"'
    return f'<path class="edge{line_class(line)}"{mark} d="{path}"/>{tip}'


def curve(points: list[Point]) -> str:
    """A path through rounded corners; a corner on a straight line is left out."""
    clean = [points[0]]
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        straight = abs(before[0] - here[0]) < 0.05 and abs(here[0] - after[0]) < 0.05
        if not straight:
            clean.append(here)
    clean.append(points[-1])
    parts = [f"M{clean[0][0]:.1f} {clean[0][1]:.1f}"]
    lengths = [abs(a[0] - b[0]) + abs(a[1] - b[1]) for a, b in pairwise(clean)]
    for number in range(1, len(clean) - 1):
        (ax, ay), (x, y), (bx, by) = clean[number - 1 : number + 2]
        r = min(RADIUS, lengths[number - 1] / 2, lengths[number] / 2)
        start = (x - r * _sign(x - ax), y - r * _sign(y - ay))
        stop = (x + r * _sign(bx - x), y + r * _sign(by - y))
        parts.append(f"L{start[0]:.1f} {start[1]:.1f}Q{x:.1f} {y:.1f} {stop[0]:.1f} {stop[1]:.1f}")
    return "".join([*parts, f"L{clean[-1][0]:.1f} {clean[-1][1]:.1f}"])


def _sign(value: float) -> int:
    return (value > 0.05) - (value < -0.05)
