"""Architecture drawings as pages, SVG, Mermaid and DOT."""

from blocks.graph.describe.draw.draw import WRITERS, dot, draw, html, mermaid, svg
from blocks.graph.describe.draw.paint import picture
from blocks.graph.describe.draw.picture import unfold

__all__ = ["WRITERS", "dot", "draw", "html", "mermaid", "picture", "svg", "unfold"]
