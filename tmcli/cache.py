"""Replies that were had before: a rerun asks nothing, costs nothing, and works offline.

    cache = Cache("replies/", "gpt-4o")
    choice = cache.get(body)             # None: never asked
    cache.put(body, choice)
    cache.close()

One SQLite file in a folder. The key is the hash of the server's name and of the request's bytes: model,
messages, tools, sampling and seed, so that samples differ and nothing stale can be served. Neither keys nor
headers come here. Any number of processes of one machine may use a folder at once (SQLite's log does not work
over a network: give each machine its own). A thread of its own writes, so that no episode waits for the disk;
what a killed process had not written yet, at most the last moment's replies, is asked again.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
import time
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson
import zstandard

from tmcli import console
from tmcli.errors import InputError, OutputError
from tmcli.records import Json

FILE = "replies.sqlite"
VERSION = 1
WAIT_S = 30.0
"""How long to wait for another process that writes."""

_Item = tuple[bytes, bytes] | None


class Cache:
    """One folder of replies, for one server name. Raises `OutputError` when it cannot be opened."""

    def __init__(self, folder: str, name: str) -> None:
        self.path = Path(folder) / FILE
        self._salt = f"{VERSION}\0{name}\0".encode()
        self._unpack = zstandard.ZstdDecompressor().decompress
        self._fresh: dict[bytes, bytes] = {}
        """Put, and not yet in the file."""
        self._queue: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._ended = False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._reader = self._open()
            self._connection = self._open()
        except OSError as error:
            raise OutputError(
                f"the cache folder {folder!r} cannot be used ({error.strerror})", "name another with --cache"
            ) from error
        self._writer = threading.Thread(target=self._write, name="tm-cache", daemon=True)
        self._writer.start()

    def get(self, body: bytes) -> Json | None:
        """The reply to this request; None: there is none. Raises `InputError` when the file is broken."""
        key = self._key(body)
        data = self._fresh.get(key)
        try:
            if data is None:
                row = self._reader.execute("SELECT data FROM replies WHERE key = ?", (key,)).fetchone()
                if row is None:
                    return None
                data = self._unpack(row[0])
            choice: Json = orjson.loads(data)
        except (sqlite3.Error, zstandard.ZstdError, orjson.JSONDecodeError) as error:
            raise self._broken(error) from error
        return choice

    def put(self, body: bytes, choice: Json) -> None:
        """Remember a reply. What is there already stays."""
        key, data = self._key(body), orjson.dumps(choice)
        self._fresh[key] = data
        self._queue.put((key, data))

    def close(self) -> None:
        """Wait until all is written."""
        if self._writer.is_alive():
            self._queue.put(None)
            self._writer.join()
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _key(self, body: bytes) -> bytes:
        return sha256(self._salt + body).digest()

    def _open(self) -> sqlite3.Connection:
        """A connection to the file, which is made when it is not there."""
        until = time.monotonic() + WAIT_S
        while True:
            try:
                # each is used by one thread at a time; transactions are ours to begin
                connection = sqlite3.connect(
                    self.path, timeout=WAIT_S, isolation_level=None, check_same_thread=False
                )
                try:
                    self._prepare(connection)
                except BaseException:
                    connection.close()
                    raise
                return connection
            except sqlite3.OperationalError as error:
                # processes that make the file at once do not wait for each other by themselves
                if "locked" in str(error) and time.monotonic() < until:
                    time.sleep(0.05)
                    continue
                raise OutputError(
                    f"the cache {str(self.path)!r} cannot be written ({error})",
                    "name another folder with --cache",
                ) from error
            except sqlite3.DatabaseError as error:
                raise self._broken(error) from error

    def _prepare(self, connection: sqlite3.Connection) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, VERSION):
            raise self._broken("another version of tm made it")
        # not synced at each commit: a power cut may lose the last replies, no more
        connection.execute("PRAGMA synchronous = NORMAL")
        if version == 0:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS replies (key BLOB PRIMARY KEY, data BLOB) WITHOUT ROWID"
            )
            connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.execute("COMMIT")

    def _write(self) -> None:
        """Write what comes, all that waits in one transaction; runs in a thread."""
        pack = zstandard.ZstdCompressor(level=3).compress
        failed = False
        with contextlib.closing(self._connection) as connection:
            while (items := self._waiting()) or not self._ended:
                rows = [(key, pack(data)) for key, data in items]
                try:
                    if rows and not failed:
                        connection.execute("BEGIN IMMEDIATE")
                        connection.executemany("INSERT OR IGNORE INTO replies VALUES (?, ?)", rows)
                        connection.execute("COMMIT")
                except sqlite3.Error as error:
                    failed = True
                    with contextlib.suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                    console.warn(f"the cache {str(self.path)!r} cannot be written any more ({error})")
                for key, _ in items:
                    self._fresh.pop(key, None)

    def _waiting(self) -> list[tuple[bytes, bytes]]:
        """What is to be written, at least one if there will be any."""
        items: list[tuple[bytes, bytes]] = []
        while not self._ended and (not items or not self._queue.empty()):
            item = self._queue.get()
            if item is None:
                self._ended = True
            else:
                items.append(item)
        return items

    def _broken(self, why: object) -> InputError:
        return InputError(
            f"the cache {str(self.path)!r} cannot be read ({why})", "delete it, or name another folder"
        )
