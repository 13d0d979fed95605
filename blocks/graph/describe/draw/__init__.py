"""Architecture drawings as pages, SVG, Mermaid, DOT, TikZ, PDF and PNG."""

from blocks.graph.describe.draw.draw import (
    ENDINGS,
    WRITERS,
    draw,
    draw_file,
    draw_mermaid,
    draw_svg,
)
from blocks.graph.describe.draw.html import write_html
from blocks.graph.describe.draw.paint import picture
from blocks.graph.describe.draw.paper import PrintError, without_dark
from blocks.graph.describe.draw.picture import Picture, unfold
from blocks.graph.describe.draw.svg import write_page_style, write_part

__all__ = [
    "ENDINGS",
    "WRITERS",
    "Picture",
    "PrintError",
    "draw",
    "draw_file",
    "draw_mermaid",
    "draw_svg",
    "picture",
    "unfold",
    "without_dark",
    "write_html",
    "write_page_style",
    "write_part",
]
