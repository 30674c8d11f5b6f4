"""Memory that the passes of a step leave behind, given back before something else is done.

    give_back()

Passes differ in length, so what one frees seldom fits the next: on a CPU, glibc kept 1.8 GB of smollm2's
(LoRA, four episodes of 500 tokens a pass) beside what generation then takes. Elsewhere nothing is done.
"""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Free heap to the kernel, of all threads."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
