"""A drawing as PDF or PNG: its SVG, printed by CairoSVG on white paper."""

import importlib
import re
from typing import Any

PRINTED = (".pdf", ".png")
SHARP = 2.0  # pixels of a PNG for each unit of the SVG
FONTS = re.compile(r"font-family:[^;}]*")
DARK = re.compile(r"@media \(prefers-color-scheme:dark\)\{.*?\n\}", re.DOTALL)


class PrintError(ValueError):
    """The library that prints is not installed."""


def print_svg(svg: str, ending: str) -> bytes:
    """Print a drawing of `write_svg`.

    Args:
        ending: ".pdf" or ".png".

    Raises:
        PrintError: the extra `figure` or the system's cairo is not installed.
    """
    cairosvg = _load()
    light = FONTS.sub("font-family:sans-serif", without_dark(svg))
    print_as = {".pdf": cairosvg.svg2pdf, ".png": cairosvg.svg2png}[ending]
    # `unsafe` stays off: nothing outside of the drawing is read
    found: bytes = print_as(bytestring=light.encode(), scale=SHARP if ending == ".png" else 1.0)
    return found


def without_dark(svg: str) -> str:
    """A drawing of `write_svg` that is light wherever it is shown."""
    return DARK.sub("", svg)


def _load() -> Any:
    try:
        return importlib.import_module("cairosvg")
    except (ImportError, OSError) as error:  # OSError: the shared library cairo is not there
        raise PrintError(str(error)) from error
