"""Shell lines exactly as a user types them, and the records they bring."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from conftest import environment


def pipe(
    line: str, cwd: Path, env: dict[str, str], timeout: float = 100
) -> subprocess.CompletedProcess[bytes]:
    """Run a line in bash, `tm` being ours; a failure anywhere in a pipe counts."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = ["bash", "-o", "pipefail", "-c", line]
    return subprocess.run(
        command, cwd=cwd, env=environment({"PATH": path} | env), capture_output=True, timeout=timeout
    )


def records(data: bytes) -> list[dict[str, Any]]:
    """JSON lines, read."""
    return [json.loads(line) for line in data.splitlines()]
