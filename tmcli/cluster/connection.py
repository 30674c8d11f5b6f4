"""The connection to a Ray cluster: found or started, quiet, and closed again.

    with connection("10.0.0.5:6379") as ray:
        ray.get(...)

An address that nobody listens at is told at once, where Ray alone would try for minutes. Ray prints what
becomes of its processes on stdout: that is held back here, and nothing is sent to its makers.
"""

from __future__ import annotations

import io
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from tmcli import console
from tmcli.errors import UsageError

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nobody asked to be counted
    "RAY_NUM_REDIS_GET_RETRIES": "1",  # how often it tries to reach a cluster, 40 s each
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the default of Ray to come; else it warns
}
"""Read when ray is imported."""
CONNECT_S = 5.0
"""So long a cluster has to answer the first knock."""

HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How gRPC, which Ray speaks, begins; the other side begins with its settings."""
SETTINGS_FRAME = b"\x04"


@contextmanager
def connection(address: str | None) -> Iterator[Any]:
    """The module `ray`, connected. Without an address: RAY_ADDRESS, else a cluster that was started on this
    machine (`ray start`), else one that lives as long as this run."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    address = address or os.environ.get("RAY_ADDRESS") or None
    if address is not None and address not in ("auto", "local"):
        _knock(address)  # first: ray takes seconds to load
    try:
        import ray
    except ImportError as error:
        raise UsageError("--engine ray needs the package ray", "pip install 'tmcli[ray]'") from error
    heard = signal.getsignal(signal.SIGTERM)
    with redirect_stdout(_Held()):
        try:
            _connect(ray, address)
        except (ConnectionError, RuntimeError, ValueError) as error:
            problem = str(error).strip().split("\n")[0][:300]
            raise UsageError(
                f"no Ray cluster can be used at {address or 'this machine'}: {problem}",
                "start one with ray start --head; where it asks for a token (since Ray 2.59), set"
                " RAY_AUTH_MODE=token and RAY_AUTH_TOKEN on each machine",
            ) from error
        finally:
            signal.signal(signal.SIGTERM, heard)  # Ray puts its own in place, which ends without a word
        try:
            yield ray
        finally:
            ray.shutdown()


def _connect(ray: Any, address: str | None) -> None:
    quiet = {"logging_level": "critical", "log_to_driver": False}
    if address is None:
        try:
            ray.init("auto", **quiet)
        except ConnectionError:
            console.note("no Ray cluster runs on this machine; one is started for this run")
            address = "local"
        else:
            return
    ray.init(address, **quiet, **({"include_dashboard": False} if address == "local" else {}))


def _knock(address: str) -> None:
    """Raise `UsageError` when nobody listens there."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if address.startswith("ray://"):
        raise UsageError(
            f"{address} is the address of a Ray client server",
            "run tm on a machine of the cluster, and give the HOST:PORT that ray start --head printed",
        )
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise UsageError(f"{address!r} is no address of a Ray cluster", "write HOST:PORT, as 10.0.0.5:6379")
    try:
        with socket.create_connection((host, int(port)), timeout=CONNECT_S) as there:
            if os.environ.get("RAY_USE_TLS") in (None, "", "0"):
                there.sendall(HELLO)
                if there.recv(4)[3:] != SETTINGS_FRAME:
                    raise OSError("it speaks something else")
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(
            f"no Ray cluster answers at {address} ({reason})",
            "start one with ray start --head, and give its HOST:PORT with --ray-address",
        ) from error


class _Held(io.TextIOBase):
    """What Ray prints about its processes: shown under -v only."""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if text.strip():
            console.detail(text.strip().split("\n")[0][:300])
        return len(text)
