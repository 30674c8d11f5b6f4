"""What training leaves in the heap goes back to the kernel."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
import torch

from tmcli.trainer.memory import give_back


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps it")
def test_what_was_freed_is_given_back() -> None:
    blocks = [torch.ones(16_000) for _ in range(4000)]  # 64 kB each: below what is mapped apart
    kept = blocks[::200]  # and the heap's top is in use
    full = resident()
    del blocks
    give_back()
    assert resident() < full - (150 << 20)
    assert all(block.sum() == 16_000 for block in kept)


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096
