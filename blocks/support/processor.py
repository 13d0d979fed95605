"""The vendor of the processor: which of two ways to the same numbers is faster depends on it."""

import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")  # Linux: there `platform.processor()` is often empty


def is_intel() -> bool:
    """Return whether the processor is made by Intel, the vendor of MKL."""
    vendor = platform.processor()
    if CPUINFO.is_file():
        vendor = CPUINFO.read_text(encoding="utf-8", errors="replace").partition("flags")[0]
    return "GenuineIntel" in vendor


INTEL = is_intel()
