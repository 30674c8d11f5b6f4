"""OpenMP's workers belong to the thread that made them, and two threads' workers are in each other's way.

    workers.dismiss()       # in the thread that has them; they come back when it needs them

libgomp lets workers wait awake only while there are no more of them than cores. With those of the trainer's
thread beside those of the generating one, each small operation waits for the kernel to wake somebody:
decoding takes twice as long. So whoever hands over to the other thread dismisses its own first.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import torch

SOFT = 1
"""`omp_pause_soft` of OpenMP 5.0: settings are kept."""


def dismiss() -> None:
    """Nothing where torch brings another OpenMP than GNU's."""
    if (library := _libgomp()) is not None:
        library.omp_pause_resource_all(SOFT)


@cache
def _libgomp() -> Any:
    """The one that torch has loaded."""
    for file in sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*")):
        library = ctypes.CDLL(str(file))
        if hasattr(library, "omp_pause_resource_all"):
            return library
    return None
