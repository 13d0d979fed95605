"""What a node looks like by itself: the box of a folded node, the head of an unfolded one, the pill
of an input.
"""

from html import escape

from blocks.graph.describe.draw.picture import Body, DrawnNode

HEAD, FACE, PILL, LEAST = 30, 46, 20, 148
WIDE, NARROW = set("mwMW%@—×"), set("iljtfrI.,:;'|()[]!/ ")


def text_width(text: str, size: float) -> float:
    """An upper guess of the width of a text: no fonts are read."""
    size = size * 1.1 if size >= 12 else size  # larger text is bold
    units = sum(
        0.92 if c in WIDE else 0.36 if c in NARROW else 0.7 if c.isupper() or c in "&_" else 0.6
        for c in text
    )
    return round(units * size, 1)


def label_width(shape: str) -> float:
    return text_width(shape, 10)


def count_text(count: int) -> str:
    """28288354 -> "28.3M"."""
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return (
                f"{count / size:.3g}{letter}"
                if count / size < 999.5
                else f"{count / size:.0f}{letter}"
            )
    return str(count) if count else ""


def badge(node: DrawnNode) -> str:
    return f"×{node.times}" if node.times > 1 else ""


def subtitle(node: DrawnNode) -> str:
    """The block or template of a node; for a body without a name, what is in it."""
    names = (
        ", ".join(child.name for child in node.body.nodes) if node.body and not node.block else ""
    )
    return node.block or (names if len(names) <= 26 else f"{names[:24].rstrip(', ')} ...")


def face(node: DrawnNode) -> tuple[float, float]:
    """Width and height of a folded node."""
    first = (
        text_width(node.name, 12.5)
        + (text_width(badge(node), 11) + 22 if badge(node) else 0)
        + (16 if node.body else 0)
    )
    second = text_width(subtitle(node), 10.5) + text_width(count_text(node.parameters), 10.5) + 16
    return max(LEAST, round(max(first, second) + 26)), FACE


def head(node: DrawnNode) -> float:
    """The least width of an unfolded node."""
    parts = (
        text_width(node.name, 12.5)
        + text_width(node.block, 10.5)
        + text_width(count_text(node.parameters), 10.5)
    )
    return round(parts + (text_width(badge(node), 11) + 22 if badge(node) else 0) + 62)


def pill(body: Body, vertex: int, top: bool) -> tuple[float, float]:
    """Width and height of an input or output: named where there is a choice, else the end of a
    line.
    """
    text = pill_text(body, vertex, top)
    return (round(text_width(text, 10.5) + 20), PILL) if text else (0, 0)


def pill_text(body: Body, vertex: int, top: bool) -> str:
    names = body.inputs if vertex < len(body.inputs) else body.outputs
    name = names[
        vertex if vertex < len(body.inputs) else vertex - len(body.inputs) - len(body.nodes)
    ]
    if not (top or len(names) > 1 or body.states):
        return ""
    return f"{name} ↻" if name in body.states else name


def text(x: float, y: float, words: str, size: float, style: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" font-size="{size:g}"{style}>{escape(words)}</text>'


def _badge(node: DrawnNode, x: float, y: float) -> str:
    """The pill "×12", whose left end is at x."""
    if not badge(node):
        return ""
    wide = text_width(badge(node), 11) + 10
    return (
        f'<rect class="chip" x="{x:g}" y="{y - 12:g}" width="{wide:g}" height="16" rx="8"/>'
        + text(x + wide / 2, y, badge(node), 11, ' text-anchor="middle" font-weight="600"')
    )


def face_svg(node: DrawnNode) -> str:
    """A folded node, its corner at 0, 0; several equal ones look like a pile."""
    w, h = face(node)
    parts = [
        f'<rect class="box" x="{3 * i}" y="{-3 * i}" width="{w:g}" height="{h}" rx="7"/>'
        for i in ((2, 1) if node.times > 1 else ())
    ]
    parts += [
        f'<rect class="box" width="{w:g}" height="{h}" rx="7"/>',
        f'<rect class="accent" x="0" y="8" width="3.5" height="{h - 16}" rx="1.75"/>',
        text(13, 19, node.name, 12.5, ' font-weight="600"'),
        text(13, 34, subtitle(node), 10.5, ' class="soft"'),
        text(w - 10, 34, count_text(node.parameters), 10.5, ' class="soft" text-anchor="end"'),
    ]
    right = w - 10 - (14 if node.body else 0)
    if badge(node):
        parts.append(_badge(node, right - text_width(badge(node), 11) - 10, 19))
    if node.body:
        parts.append(f'<path class="sign" d="M{w - 18:g} 11l4 4 -4 4"/>')
    return "".join(parts) + _share(node, w, h)


def _share(node: DrawnNode, w: float, h: float) -> str:
    """The share of the model's parameters as a quiet bar."""
    if not node.parameters:
        return ""
    full = w - 26
    part = max(2.0, full * node.share)
    return (
        f'<rect class="track" x="13" y="{h - 6:g}" width="{full:g}" height="2" rx="1"/>'
        f'<rect class="share" x="13" y="{h - 6:g}" width="{part:.1f}" height="2" rx="1"/>'
    )


def head_svg(node: DrawnNode) -> str:
    """The left of the head of an unfolded node, from its corner."""
    name = f'<tspan font-size="12.5" font-weight="600">{escape(node.name)}</tspan>'
    words = f'{name}<tspan dx="8" class="soft">{escape(node.block)}</tspan>'
    return (
        '<path class="sign" d="M13 12l4 4 4 -4"/><text x="29" y="19.5" '
        f'font-size="10.5">{words}</text>'
    )


def tail_svg(node: DrawnNode) -> str:
    """The right of the head of an unfolded node, from its other corner: parameters, and how
    often.
    """
    wide = text_width(badge(node), 11) + 18 if badge(node) else 0
    words = text(
        -12 - wide, 19.5, count_text(node.parameters), 10.5, ' class="soft" text-anchor="end"'
    )
    return words + _badge(node, 8 - wide - 10, 19.5)


def shell_svg(node: DrawnNode, w: float, h: float) -> str:
    """The frame of an unfolded node; several equal ones look like a pile."""
    shifts = (2, 1, 0) if node.times > 1 else (0,)
    frames = [
        f'<rect class="shell" x="{4 * i}" y="{-4 * i}" width="{w:g}" height="{h:g}" rx="10"/>'
        for i in shifts
    ]
    return "".join(frames)


def pill_svg(body: Body, vertex: int, top: bool) -> str:
    """An input or output, its corner at 0, 0."""
    w, h = pill(body, vertex, top)
    if not h:
        return ""
    words = text(
        w / 2, 14, pill_text(body, vertex, top), 10.5, ' text-anchor="middle" class="soft"'
    )
    return f'<rect class="pill" width="{w:g}" height="{h}" rx="{h / 2:g}"/>{words}'
