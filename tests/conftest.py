"""What tests share: `tm`, the real command line as a process."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import settings

# two busy cores say nothing about an example's time; test-wide limits come from pytest-timeout
settings.register_profile("tm", deadline=None)
settings.load_profile("tm")

Tm = Callable[..., subprocess.CompletedProcess[bytes]]


def environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without what would change the outcome, and with `env`."""
    changing = ("TM_", "OPENAI_", "COLUMNS", "NO_COLOR", "FORCE_COLOR")
    return {k: v for k, v in os.environ.items() if not k.startswith(changing)} | dict(env or {})


@pytest.fixture
def tm(tmp_path: Path) -> Tm:
    """`tm(*words, input=None, cwd=tmp_path, env=None, timeout=60)`; no input is an empty stdin."""

    def run(
        *words: str | Path,
        input: bytes | None = None,  # noqa: A002 - as subprocess calls it
        cwd: Path = tmp_path,
        env: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "tmcli", *map(str, words)],
            input=input or b"",
            cwd=cwd,
            env=environment(env),
            capture_output=True,
            timeout=timeout,
        )

    return run
