"""Drawings for a paper: TikZ, and the SVG printed as PDF or PNG."""

from blocks.graph.describe.draw.paper.printed import PRINTED, PrintError, print_svg, without_dark
from blocks.graph.describe.draw.paper.tikz import write_tikz

__all__ = ["PRINTED", "PrintError", "print_svg", "without_dark", "write_tikz"]
