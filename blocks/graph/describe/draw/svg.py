"""A picture as SVG: readable alone and in a README, on light and on dark, with no script and no
network.
"""

from html import escape
from itertools import pairwise

from blocks.graph.describe.draw.faces import (
    count_text,
    face_svg,
    head_svg,
    pill_svg,
    shell_svg,
    tail_svg,
    text,
    text_width,
)
from blocks.graph.describe.draw.kinds import NAMES, rules
from blocks.graph.describe.draw.layout import Line, Point, Sheet, lay
from blocks.graph.describe.draw.order import Net, order
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


def style() -> str:
    """The colours: light, or dark where the reader prefers it."""
    return (
        f"{SHAPES}\n{rules('light', SCOPE)}\n@media "
        f"(prefers-color-scheme:dark){{\n{rules('dark', SCOPE)}\n}}"
    )


def svg(picture: Picture) -> str:
    """The whole picture as a document of its own."""
    sheet = lay(picture.body)
    caption = f"{picture.title}  ·  {picture.parameters:,} parameters"
    legend, least = _legend(picture)
    width, height = max(sheet.w, text_width(caption, 14) + 40, least), sheet.h + 74
    return (
        "\n".join(
            [
                '<svg xmlns="http://www.w3.org/2000/svg" class="dougong" viewBox="0 0 '
                f'{width:.0f} {height:.0f}" '
                f'width="{width:.0f}" height="{height:.0f}" role="img" '
                f'aria-label="{escape(caption)}">',
                f"<title>{escape(caption)}</title>",
                f"<style>{style()}</style>",
                f'<rect class="paper" width="{width:.0f}" height="{height:.0f}" rx="12"/>',
                text(width / 2, 30, caption, 14, ' text-anchor="middle" font-weight="600"'),
                f'<g transform="translate({(width - sheet.w) / 2:.1f} 34)">',
                _sheet(picture.body, sheet, top=True),
                "</g>",
                f'<g transform="translate({(width - least) / 2 + 20:.1f} '
                f'{height - 18:.1f})">{legend}</g>',
                "</svg>",
            ]
        )
        + "\n"
    )


def _legend(picture: Picture) -> tuple[str, float]:
    used = {node.kind for node in picture.nodes()}
    parts, x = [], 0.0
    for kind, name in NAMES.items():
        if kind in used and kind != "body":
            parts.append(
                f'<g class="{kind}"><rect class="accent" x="{x:g}" y="-9" width="10" '
                'height="10" rx="3"/></g>'
            )
            parts.append(text(x + 15, 0, name, 10.5, ' class="soft"'))
            x += text_width(name, 10.5) + 32
    return "".join(parts), x + 24


def _sheet(body: Body, sheet: Sheet, top: bool = False) -> str:
    """A body: first the nodes, then the lines between them, which cross none."""
    parts = []
    for vertex, box in enumerate(sheet.boxes):
        node = body.node(vertex)
        inner = pill_svg(body, vertex, top) if node is None else _node(node, box.inside)
        if inner:
            kind = "io" if node is None else node.kind
            parts.append(
                f'<g class="{kind}" transform="translate({box.x:.1f} '
                f'{box.y:.1f})">{_told(node)}{inner}</g>'
            )
    nets = order(body, top).nets
    parts += [
        line_svg(line, nets[line.net])
        for line in sorted(sheet.lines, key=lambda line: not line.skip)
    ]
    parts += [
        text(round(x, 1), round(y, 1), nets[net].shape, 10, ' class="soft"')
        for net, x, y in sheet.labels
    ]
    return "\n".join(parts)


def _node(node: DrawnNode, inside: Sheet | None) -> str:
    if inside is None or node.body is None:
        return face_svg(node)
    tail = f'<g transform="translate({inside.w:.1f} 0)">{tail_svg(node)}</g>'
    return (
        shell_svg(node, inside.w, inside.h)
        + head_svg(node)
        + tail
        + "\n"
        + _sheet(node.body, inside)
    )


def _told(node: DrawnNode | None) -> str:
    """What a browser shows when the pointer rests: a tooltip without a script."""
    if node is None:
        return ""
    given = "; ".join(f"{key}={value}" for key, value in node.arguments.items())
    lines = [
        f"{node.display}  {node.block}".strip(),
        given,
        f"{count_text(node.parameters)} parameters" if node.parameters else "",
        node.summary,
    ]
    return f"<title>{escape(chr(10).join(line for line in lines if line))}</title>"


def line_svg(line: Line, net: Net) -> str:
    """An edge and its arrow."""
    kinds = " skip" * line.skip
    x, y = line.points[-1]
    tip = f'<path class="tip{kinds}" d="M{x:.1f} {y:.1f}l-3.6 -6.5h7.2z"/>' if line.tip else ""
    end = (x, y - 4) if line.tip else (x, y)
    return (
        f'<path class="edge{kinds}{"" if net.shape else " maybe"}" '
        f'd="{curve([*line.points[:-1], end])}"/>{tip}'
    )


def curve(points: list[Point]) -> str:
    """A path through corners, rounded."""
    clean = [points[0]]
    for before, here, after in zip(points, points[1:], [*points[2:], points[-1]], strict=False):
        straight = abs(before[0] - here[0]) < 0.05 and abs(here[0] - after[0]) < 0.05
        if here is points[-1] or not straight:
            clean.append(here)
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
