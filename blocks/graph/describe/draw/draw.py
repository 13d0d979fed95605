"""Pictures of a composed model, without a system binary and without the network.

    from blocks.graph import compose, plan
    from blocks.graph.describe.draw import svg
    Path("vit.svg").write_text(svg(plan(compose(["model=vit"])), "vit"), encoding="utf-8")

Repeats that are equal are drawn once. A structure is unfolded where it stands first; `depth`
unfolds by level instead.
"""

from collections.abc import Callable

from blocks.graph.describe.draw import html as _html
from blocks.graph.describe.draw import svg as _svg
from blocks.graph.describe.draw import text as _text
from blocks.graph.describe.draw.paint import picture
from blocks.graph.describe.draw.picture import Picture, unfold
from blocks.graph.record.record import Built


def draw(plan: Built, ending: str, title: str = "model", depth: int | None = None) -> str:
    """The picture of a model as a file of that ending: .html, .svg, .mmd or .dot."""
    drawn = picture(plan, title)
    return WRITERS[ending](drawn if depth is None else unfold(drawn, depth))


def svg(plan: Built, title: str = "model", depth: int | None = None) -> str:
    """A static picture, which adapts to light and dark; it may be put into a page as it is."""
    return draw(plan, ".svg", title, depth)


def html(plan: Built, title: str = "model", depth: int | None = None) -> str:
    """One page that needs nothing else: fold and unfold, details, search."""
    return draw(plan, ".html", title, depth)


def mermaid(plan: Built, title: str = "model", depth: int | None = None) -> str:
    """Text for a README."""
    return draw(plan, ".mmd", title, depth)


def dot(plan: Built, title: str = "model", depth: int | None = None) -> str:
    """Text for Graphviz."""
    return draw(plan, ".dot", title, depth)


WRITERS: dict[str, Callable[[Picture], str]] = {
    ".html": _html.html,
    ".svg": _svg.svg,
    ".mmd": _text.mermaid,
    ".dot": _text.dot,
}

__all__ = ["WRITERS", "Picture", "dot", "draw", "html", "mermaid", "picture", "svg", "unfold"]
