"""What a node looks like: the box of a folded node, the header of an unfolded one, the pill of an
input.
"""

from html import escape

from blocks.graph.describe.draw.picture import Body, DrawnNode

WIDEST = 40  # letters of a block with its parts
HEAD, FACE, PILL, LEAST = 30, 46, 20, 148  # heights, and the least width of a folded node
WIDE, NARROW = set("mwMW%@—×"), set("iljtfrI.,:;'|()[]!/ ")
UNITS = ((10**9, "B"), (10**6, "M"), (10**3, "k"))
SOFT, BOLD = ' class="soft"', ' font-weight="600"'
END, MIDDLE = ' text-anchor="end"', ' text-anchor="middle"'


# Sizes --------------------------------------------------------------------------------------------


def text_width(text: str, size: float) -> float:
    """An upper guess of the width of a text: no fonts are read."""
    if size >= 12:
        size *= 1.1  # larger text is bold
    return round(sum(map(_letter_width, text)) * size, 1)


def _letter_width(letter: str) -> float:
    if letter in WIDE:
        return 0.92
    if letter in NARROW:
        return 0.36
    if letter.isupper() or letter in "&_":
        return 0.7
    return 0.6


def count_text(count: int) -> str:
    """28288354 -> "28.3M"."""
    for size, letter in UNITS:
        if count >= 999.5 * size:
            return f"{count / size:.0f}{letter}"
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return str(count or "")


def badge(node: DrawnNode) -> str:
    """How often a node is repeated, "×12"."""
    return f"×{node.times}" if node.times > 1 else ""


def _badge_width(node: DrawnNode) -> float:
    return text_width(badge(node), 11) + 22 if badge(node) else 0


def subtitle(node: DrawnNode) -> str:
    """The block or template of a node; for a body without a name, its nodes."""
    if node.block or node.body is None:
        return _shorten(node.block)
    names = ", ".join(child.name for child in node.body.nodes)
    if len(names) > 26:
        return f"{names[:24].rstrip(', ')} ..."
    return names


def _shorten(block: str) -> str:
    """A block without the last of its parts: "LinearRecurrence +StepDecay +2 parts"."""
    words, left = block.split(" +"), 0
    while len(words) > 1 and len(" +".join(words)) > WIDEST:
        left += 1
        del words[-1]
    return " +".join(words) + (f" +{left} parts" if left else "")


def face_size(node: DrawnNode) -> tuple[float, float]:
    """Width and height of a folded node."""
    first = text_width(node.name, 12.5) + _badge_width(node)
    if node.body:
        first += 16
    second = text_width(subtitle(node), 10.5) + text_width(count_text(node.parameters), 10.5) + 16
    return max(LEAST, round(max(first, second) + 26)), FACE


def least_width(node: DrawnNode) -> float:
    """The least width of an unfolded node: that of its header."""
    parts = (
        text_width(node.name, 12.5)
        + text_width(node.block, 10.5)
        + text_width(count_text(node.parameters), 10.5)
    )
    return round(parts + _badge_width(node) + 62)


def pill_size(body: Body, vertex: int, top: bool) -> tuple[float, float]:
    """Width and height of an input or output; nothing where it has no name."""
    text = pill_text(body, vertex, top)
    if not text:
        return 0, 0
    return round(text_width(text, 10.5) + 20), PILL


def pill_text(body: Body, vertex: int, top: bool) -> str:
    """The name of an input or output, where there is a choice."""
    names, index = body.inputs, vertex
    if vertex >= len(body.inputs):
        names, index = body.outputs, vertex - body.first_output
    if not (top or len(names) > 1 or body.states):
        return ""
    if names[index] in body.states:
        return f"{names[index]} ↻"
    return names[index]


# SVG ----------------------------------------------------------------------------------------------


def text_svg(x: float, y: float, words: str, size: float, style: str = "") -> str:
    """A text whose baseline begins at x, y."""
    return f'<text x="{x:g}" y="{y:g}" font-size="{size:g}"{style}>{escape(words)}</text>'


def _badge_svg(node: DrawnNode, x: float, y: float) -> str:
    """The badge "×12", whose left end is at x."""
    if not badge(node):
        return ""
    wide = text_width(badge(node), 11) + 10
    return (
        f'<rect class="chip" x="{x:g}" y="{y - 12:g}" width="{wide:g}" height="16" rx="8"/>'
        + text_svg(x + wide / 2, y, badge(node), 11, MIDDLE + BOLD)
    )


def face_svg(node: DrawnNode, wide: float = 0) -> str:
    """A folded node, its corner at 0, 0; several equal ones look like a pile."""
    w, h = face_size(node)
    w = max(w, wide)
    parts = []
    if node.times > 1:
        for i in (2, 1):
            box = f'x="{3 * i}" y="{-3 * i}" width="{w:g}" height="{h}" rx="7"'
            parts.append(f'<rect class="box" {box}/>')
    parts += [
        f'<rect class="box" width="{w:g}" height="{h}" rx="7"/>',
        f'<rect class="accent" x="0" y="8" width="3.5" height="{h - 16}" rx="1.75"/>',
        text_svg(13, 19, node.name, 12.5, BOLD),
        text_svg(13, 34, subtitle(node), 10.5, SOFT),
        text_svg(w - 10, 34, count_text(node.parameters), 10.5, SOFT + END),
    ]
    right = w - 10
    if node.body:
        right -= 14
    if badge(node):
        parts.append(_badge_svg(node, right - text_width(badge(node), 11) - 10, 19))
    if node.body:
        parts.append(f'<path class="sign" d="M{w - 18:g} 11l4 4 -4 4"/>')
    parts.append(_share_svg(node, w, h))
    return "".join(parts)


def _share_svg(node: DrawnNode, w: float, h: float) -> str:
    """The share of the model's parameters as a bar."""
    if not node.parameters:
        return ""
    full = w - 26
    part = max(2.0, full * node.share)
    return (
        f'<rect class="track" x="13" y="{h - 6:g}" width="{full:g}" height="2" rx="1"/>'
        f'<rect class="share" x="13" y="{h - 6:g}" width="{part:.1f}" height="2" rx="1"/>'
    )


def header_svg(node: DrawnNode) -> str:
    """The left of the header of an unfolded node, from its corner."""
    name = f'<tspan font-size="12.5" font-weight="600">{escape(node.name)}</tspan>'
    words = f'{name}<tspan dx="8" class="soft">{escape(node.block)}</tspan>'
    return (
        '<path class="sign" d="M13 12l4 4 4 -4"/><text x="29" y="19.5" '
        f'font-size="10.5">{words}</text>'
    )


def tail_svg(node: DrawnNode) -> str:
    """The right of the header of an unfolded node, from its other corner."""
    wide = 0.0
    if badge(node):
        wide = text_width(badge(node), 11) + 18
    count = text_svg(-12 - wide, 19.5, count_text(node.parameters), 10.5, SOFT + END)
    return count + _badge_svg(node, 8 - wide - 10, 19.5)


def shell_svg(node: DrawnNode, w: str, h: str) -> str:
    """The frame of an unfolded node; several equal ones look like a pile."""
    frames = []
    for i in (2, 1, 0):
        if i == 0 or node.times > 1:
            box = f'x="{4 * i}" y="{-4 * i}" width="{w}" height="{h}" rx="10"'
            frames.append(f'<rect class="shell" {box}/>')
    return "".join(frames)


def pill_svg(body: Body, vertex: int, top: bool) -> str:
    """An input or output, its corner at 0, 0."""
    w, h = pill_size(body, vertex, top)
    if not h:
        return ""
    name = text_svg(w / 2, 14, pill_text(body, vertex, top), 10.5, MIDDLE + SOFT)
    return f'<rect class="pill" width="{w:g}" height="{h}" rx="{h / 2:g}"/>{name}'
