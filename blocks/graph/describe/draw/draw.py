"""Drawings of a composed model, without a system binary and without the network.

    from blocks.graph import compose, plan
    from blocks.graph.describe.draw import draw_svg
    Path("vit.svg").write_text(draw_svg(plan(compose(["model=vit"])), "vit"), encoding="utf-8")

Equal repeats are drawn once. A structure is unfolded where it stands first; `depth` unfolds by
level instead.
"""

from collections.abc import Callable

from blocks.graph.describe.draw.html import write_html
from blocks.graph.describe.draw.paint import picture
from blocks.graph.describe.draw.paper import PRINTED, print_svg, write_tikz
from blocks.graph.describe.draw.picture import Picture, unfold
from blocks.graph.describe.draw.svg import write_svg
from blocks.graph.describe.draw.text import write_dot, write_mermaid
from blocks.graph.record.record import Built

WRITERS: dict[str, Callable[[Picture], str]] = {
    ".html": write_html,
    ".svg": write_svg,
    ".mmd": write_mermaid,
    ".dot": write_dot,
    ".tex": write_tikz,
}
ENDINGS = (*WRITERS, *PRINTED)


def draw(built: Built, ending: str, title: str = "model", depth: int | None = None) -> str:
    """The drawing of a model as the text of a file.

    Args:
        ending: of the file: .html (a page that folds and searches), .svg (light and dark), .mmd
            (Mermaid, for a README), .dot (for Graphviz) or .tex (TikZ, for a paper).
        depth: levels to unfold.
    """
    drawn = picture(built, title)
    if depth is not None:
        drawn = unfold(drawn, depth)
    return WRITERS[ending](drawn)


def draw_file(built: Built, ending: str, title: str = "model", depth: int | None = None) -> bytes:
    """The drawing of a model as the content of a file.

    Args:
        ending: one of `draw`, .pdf or .png.
        depth: levels to unfold.

    Raises:
        PrintError: what prints a PDF or PNG is not installed.
    """
    if ending in PRINTED:
        return print_svg(draw(built, ".svg", title, depth), ending)
    return draw(built, ending, title, depth).encode(errors="backslashreplace")


def draw_svg(built: Built, title: str = "model") -> str:
    """A static drawing that adapts to light and dark; it may be put into a page as it is."""
    return draw(built, ".svg", title)


def draw_mermaid(built: Built, title: str = "model") -> str:
    """Text for a README."""
    return draw(built, ".mmd", title)
