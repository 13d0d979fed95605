"""Architecture drawings as pages, SVG, Mermaid and DOT."""

from blocks.graph.describe.draw.draw import WRITERS, draw, draw_mermaid, draw_svg
from blocks.graph.describe.draw.paint import picture
from blocks.graph.describe.draw.picture import Picture, unfold
from blocks.graph.describe.draw.svg import write_page_style, write_part

__all__ = [
    "WRITERS",
    "Picture",
    "draw",
    "draw_mermaid",
    "draw_svg",
    "picture",
    "unfold",
    "write_page_style",
    "write_part",
]
