"""The last model without a mistake as a figure: page, SVG, Mermaid, DOT, TikZ, PDF or PNG."""

import base64
from typing import Any

from blocks.graph import Built
from blocks.graph.describe.draw import ENDINGS, PrintError, draw_file, without_dark
from blocks.support.answers import error_entry


def draw_figure(built: Built, title: str, ending: str, depth: int | None) -> dict[str, Any]:
    """Draw a model as a file.

    Args:
        ending: of the file.
        depth: levels to unfold; each structure once when left out.

    Returns:
        content: in base64; or errors, where what prints is not installed.
    """
    if ending not in ENDINGS:
        entry = error_entry(f"no figure ends in {ending!r}", code="bad-value", where="the page")
        return {"errors": [entry]}
    try:
        content = draw_file(built, ".svg" if ending == ".png" else ending, title, depth)
    except PrintError as error:
        entry = error_entry(
            "a PDF needs a package that is not installed",
            code="not-installed",
            where="the page",
            got=str(error),
            fix="pip install 'dougong[figure]'",
        )
        return {"errors": [entry]}
    if ending == ".png":  # the browser makes it, without a library of the system
        content = without_dark(content.decode()).encode()
    return {"content": base64.b64encode(content).decode()}
