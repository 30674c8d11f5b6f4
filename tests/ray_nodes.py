"""A Ray cluster of several nodes on this machine, in processes of its own, that can lose some.

    with RayNodes(3) as nodes:
        tm("synth", "--engine", "ray", "--ray-address", nodes.address)
        nodes.kill_worker()
        nodes.remove_node()

Run as a program it starts the nodes, and lives until its stdin ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Self

STORE = 80 << 20


class RayNodes:
    def __init__(self, n: int) -> None:
        self.n = n

    def __enter__(self) -> Self:
        secret = ("OPENAI_", "TM_", "RAY_")
        env = {name: value for name, value in os.environ.items() if not name.startswith(secret)}
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(self.n)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=env | {"RAY_USAGE_STATS_ENABLED": "0"},
        )
        self.address, self.logs = self._line().split(" ")
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        self.process.kill()
        self.process.stdout.close()

    def workers(self) -> list[int]:
        """The processes that play now."""
        found = []
        for pid in filter(str.isdecimal, os.listdir("/proc")):
            with suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as line:
                if line.read().startswith(b"ray::Worker"):
                    found.append(int(pid))
        return found

    def kill_worker(self) -> None:
        os.kill(self.workers()[0], signal.SIGKILL)

    def remove_node(self) -> None:
        """The node started last is gone, from one moment to the next."""
        self._ask("remove")

    def add_node(self) -> None:
        self._ask("add")

    def _ask(self, what: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        assert self._line() == what

    def _line(self) -> str:
        """The next answer; others print as well."""
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith("> "):
                return line[2:].strip()
        raise AssertionError("the cluster did not start")


def main() -> None:
    from ray.cluster_utils import Cluster

    def say(words: str) -> None:
        print(f"> {words}", flush=True)

    options = {"num_cpus": 2, "object_store_memory": STORE}
    cluster = Cluster(initialize_head=True, head_node_args=options | {"include_dashboard": False})
    nodes = [cluster.add_node(**options) for _ in range(int(sys.argv[1]) - 1)]
    say(f"{cluster.address} {cluster.head_node.get_logs_dir_path()}")
    for line in sys.stdin:
        if line == "remove\n":
            cluster.remove_node(nodes.pop(), allow_graceful=False)
        else:
            nodes.append(cluster.add_node(**options))
        say(line.strip())
    cluster.shutdown()


if __name__ == "__main__":
    main()
