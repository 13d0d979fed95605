"""Architecture drawings as pages, SVG, Mermaid and DOT."""

from blocks.graph.describe.draw.draw import WRITERS, draw, draw_mermaid, draw_svg
from blocks.graph.describe.draw.paint import picture
from blocks.graph.describe.draw.picture import unfold

__all__ = ["WRITERS", "draw", "draw_mermaid", "draw_svg", "picture", "unfold"]
