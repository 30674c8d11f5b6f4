"""What tmcli.http promises, over real sockets: replies whole or an error that says why; nothing twice."""

import asyncio
import datetime
import gzip
import ipaddress
import os
import resource
import socket
import ssl
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from load_server import LoadServer

from tmcli.errors import UsageError
from tmcli.http import Answer, Client, Patience, TooLong, address, fast_transport, retry_after
from tmcli.http import transport as transport_module

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


class Raw:
    """A server of a few lines: `talk(connection, request, count)` for each request on a connection.

    `requests` holds what came, `connections` how many there were; both are only read after the fact.
    """

    def __init__(
        self, talk: Callable[[socket.socket, bytes, int], bool], context: ssl.SSLContext | None = None
    ) -> None:
        self.talk = talk
        self.context = context
        self.requests: list[bytes] = []
        self.connections = 0
        self.errors: list[BaseException] = []
        self._held: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    @property
    def url(self) -> httpx.URL:
        return httpx.URL(f"http://127.0.0.1:{self.port}/v1/chat/completions")

    def __enter__(self) -> "Raw":
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        # a plain close does not wake a thread in accept
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._threads[0].join()
        for one in self._held:
            one.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            first = connection.recv(1, socket.MSG_PEEK)
            if not first:
                connection.close()
                break
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()
        self._listener.close()

    def _serve(self, plain: socket.socket) -> None:
        try:
            connection = self.context.wrap_socket(plain, server_side=True) if self.context else plain
        except OSError:
            plain.close()
            return
        self._held.append(connection)
        count = 0
        try:
            while request := self._read(connection):
                self.requests.append(request)
                if not self.talk(connection, request, count):
                    break
                count += 1
        except OSError:
            pass
        connection.close()

    def _read(self, connection: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            part = connection.recv(65536)
            if not part:
                return b""
            data += part
        head, _, body = data.partition(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        while len(body) < length:
            body += connection.recv(65536)
        return head + b"\r\n\r\n" + body


def says(*replies: bytes) -> Callable[[socket.socket, bytes, int], bool]:
    """The n-th reply to the n-th request of a connection, then the end of the connection."""

    def talk(connection: socket.socket, request: bytes, count: int) -> bool:
        connection.sendall(replies[count])
        return count + 1 < len(replies)

    return talk


def always(reply: bytes = OK) -> Callable[[socket.socket, bytes, int], bool]:
    def talk(connection: socket.socket, request: bytes, count: int) -> bool:
        connection.sendall(reply)
        return True

    return talk


def silent(connection: socket.socket, request: bytes, count: int) -> bool:
    return True


def reset(connection: socket.socket, request: bytes, count: int) -> bool:
    """Half of the body, then a reset."""
    connection.sendall(OK.replace(b"Length: 2", b"Length: 1000"))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    return False


def ask(url: httpx.URL, content: bytes = b"{}", *, client: Client | None = None, **more: Any) -> Answer:
    """One post in an event loop of its own."""
    one = client or Client(**more.pop("made", {}))

    async def main() -> Answer:
        try:
            return await one.post(url, content, **{"timeout_s": 10, "max_bytes": 10_000_000, **more})
        finally:
            await one.aclose()

    return asyncio.run(main())


def with_client(work: Callable[[Client], Coroutine[Any, Any, Any]], **made: Any) -> Any:
    async def main() -> Any:
        client = Client(**made)
        try:
            return await work(client)
        finally:
            await client.aclose()

    return asyncio.run(main())


# ---- what is sent and what comes back --------------------------------------------------------------


def test_posts_and_reads() -> None:
    with Raw(always(OK.replace(b"200 OK", b"429 Slow down\r\nRetry-After: 7"))) as server:
        made = {"headers": {"Authorization": "Bearer sk-1"}}
        answer = ask(server.url.copy_with(query=b"a=1"), b'{"x": 1}', made=made)
    assert (answer.status, answer.data) == (429, b"{}")
    assert retry_after(answer.headers) == 7
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/chat/completions?a=1 HTTP/1.1\r\n")
    assert body == b'{"x": 1}'
    lines = {line.lower() for line in head.split(b"\r\n")}
    assert {b"authorization: bearer sk-1", b"content-type: application/json"} <= lines
    assert b"accept-encoding: identity" in lines
    assert b"host: 127.0.0.1:%d" % server.port in lines


def test_sends_a_path_as_it_is_written() -> None:
    with Raw(always()) as server:
        ask(httpx.URL(f"http://127.0.0.1:{server.port}/a%2Fb/c%20d/%C3%A9?q=%2B+1"))
    assert server.requests[0].startswith(b"POST /a%2Fb/c%20d/%C3%A9?q=%2B+1 HTTP/1.1\r\n")


def test_basic_auth() -> None:
    with Raw(always()) as server:
        ask(server.url, made={"auth": ("me", "pässword")})
    assert b"Authorization: Basic bWU6cMOkc3N3b3Jk\r\n" in server.requests[0]


def test_sends_no_netrc_and_no_cookies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    async def twice(client: Client) -> None:
        for _ in range(2):
            await client.post(server.url, b"{}", timeout_s=10, max_bytes=100)

    with Raw(always(OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=1\r\n\r\n"))) as server:
        with_client(twice)
    assert len(server.requests) == 2
    for request in server.requests:
        assert b"cookie" not in request.lower()
        assert b"authorization" not in request.lower()


def test_follows_no_redirect() -> None:
    moved = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    with Raw(always(moved)) as server:
        answer = ask(server.url)
    assert answer.status == 307
    assert answer.headers["Location"] == "/elsewhere"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello world",
        b"HTTP/1.0 200 OK\r\n\r\nhello world",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world",
    ],
    ids=["chunks", "until the end", "old", "after a 100"],
)
def test_reads_every_kind_of_body(reply: bytes) -> None:
    with Raw(says(reply)) as server:
        assert ask(server.url).data == b"hello world"


def test_unpacks_what_was_packed_unasked() -> None:
    packed = gzip.compress(b"hello")
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    with Raw(says(head + packed)) as server:
        assert ask(server.url).data == b"hello"


# ---- servers that cannot be trusted ----------------------------------------------------------------


def test_a_long_body_is_not_read() -> None:
    sent: list[int] = []

    def endless(connection: socket.socket, request: bytes, count: int) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(100_000):
            connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            sent.append(65536)
        return False

    with Raw(endless) as server, pytest.raises(TooLong):
        ask(server.url, max_bytes=1_000_000)
    assert sum(sent) < 50_000_000


def test_a_body_of_the_allowed_length_is_read() -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000
    with Raw(always(reply)) as server:
        assert len(ask(server.url, max_bytes=1000).data) == 1000
        with pytest.raises(TooLong):
            ask(server.url, max_bytes=999)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_bomb_does_not_go_off(coding: str) -> None:
    """Much in little: as much is unpacked as may be read, and memory does not fill."""
    pack = zlib.compressobj(1, wbits=31 if coding == "gzip" else 15)
    packed = b"".join(pack.compress(bytes(1 << 20)) for _ in range(256)) + pack.flush()
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Raw(says(head + packed)) as server, pytest.raises((TooLong, httpx.TransportError)):
        ask(server.url, max_bytes=2_000_000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (b"", httpx.RemoteProtocolError, "without a reply"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", httpx.RemoteProtocolError, "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", httpx.RemoteProtocolError, "breaks off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhalf", httpx.RemoteProtocolError, "no HTTP"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
            httpx.RemoteProtocolError,
            "breaks off",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nxxxx",
            httpx.RemoteProtocolError,
            "cannot be unpacked",
        ),
    ],
    ids=["nothing", "no http", "half", "bad length", "half a chunk", "no gzip"],
)
def test_a_broken_reply_is_an_error(reply: bytes, kind: type[Exception], words: str) -> None:
    with Raw(says(reply)) as server, pytest.raises(kind, match=words):
        ask(server.url)
    assert len(server.requests) == 1


def test_a_reset_is_an_error() -> None:
    with Raw(reset) as server, pytest.raises(httpx.TransportError):
        ask(server.url)
    assert len(server.requests) == 1


def test_endless_headers_are_an_error() -> None:
    head = b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 1_000_000 + b"\r\n\r\n"
    with Raw(says(head)) as server, pytest.raises(httpx.RemoteProtocolError):
        ask(server.url)


# ---- servers that are not there --------------------------------------------------------------------


def test_a_refused_connection_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    with pytest.raises(httpx.ConnectError, match="connection refused"):
        ask(httpx.URL(f"http://127.0.0.1:{port}/"))


def test_an_unknown_name_says_so() -> None:
    with pytest.raises(httpx.ConnectError, match="name cannot be found"):
        ask(httpx.URL("http://nobody.invalid/v1"))


def test_no_answer_in_time() -> None:
    with Raw(silent) as server, pytest.raises(httpx.ReadTimeout, match=r"no answer in 0\.2 s"):
        ask(server.url, timeout_s=0.2)


def test_no_connection_in_time() -> None:
    """A full backlog: the system answers no further handshake."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        target = full.getsockname()
        with socket.create_connection(target), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(target)
            with pytest.raises(httpx.ConnectTimeout):
                ask(httpx.URL(f"http://127.0.0.1:{target[1]}/"), made={"connect_s": 0.2})


def test_too_many_open_files_says_what_to_do() -> None:
    code = """
import asyncio, resource, sys, httpx
from tmcli.http import Client
async def main():
    client = Client()
    url = httpx.URL(sys.argv[1])
    await client.post(url, b"{}", timeout_s=10, max_bytes=10_000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))
    asked = (client.post(url, b"{}", timeout_s=10, max_bytes=10_000) for _ in range(64))
    met = await asyncio.gather(*asked, return_exceptions=True)
    print({str(one) for one in met if isinstance(one, Exception)})
    await client.aclose()
asyncio.run(main())
"""
    with LoadServer(latency_ms=300) as server:
        data = subprocess.run(
            [sys.executable, "-c", code, f"{server.url}/chat/completions"], capture_output=True, text=True
        )
    assert "lower --concurrency, or raise the limit with `ulimit -n 65536`" in data.stdout, data.stderr


def test_the_soft_limit_of_open_files_is_raised() -> None:
    code = """
import resource
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
from tmcli.http import Client, fast_transport
Client()
assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(hard, 65536), resource.getrlimit(7)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- connections -----------------------------------------------------------------------------------


def test_a_connection_is_kept() -> None:
    async def several(client: Client) -> None:
        for _ in range(5):
            await client.post(server.url, b"{}", timeout_s=10, max_bytes=100)

    with Raw(always()) as server:
        with_client(several)
    assert (len(server.requests), server.connections) == (5, 1)


def test_a_connection_the_server_closed_is_not_used() -> None:
    """Each reply is followed by the end of its connection, without a word about it."""

    async def several(client: Client) -> None:
        for _ in range(20):
            await client.post(server.url, b"{}", timeout_s=10, max_bytes=100)
            await asyncio.sleep(0.02)  # the end arrives

    with Raw(says(OK)) as server:
        with_client(several)
    assert (len(server.requests), server.connections) == (20, 20)


def test_a_request_that_meets_the_closing_is_an_error_and_not_sent_twice() -> None:
    """The connection ends in the moment of the second request: whether that was read nobody knows."""

    def talk(connection: socket.socket, request: bytes, count: int) -> bool:
        if count == 0:
            connection.sendall(OK)
        return count == 0

    async def twice(client: Client) -> None:
        await client.post(server.url, b"1", timeout_s=10, max_bytes=100)
        with pytest.raises(httpx.RemoteProtocolError, match="without a reply"):
            await client.post(server.url, b"2", timeout_s=10, max_bytes=100)

    with Raw(talk) as server:
        with_client(twice)
    assert [request[-1:] for request in server.requests] == [b"1", b"2"]


def test_a_cancelled_request_leaves_nothing() -> None:
    """Its connection is closed, and the next reply is not the late one of the request before."""

    def talk(connection: socket.socket, request: bytes, count: int) -> bool:
        arrived.set()
        if request.endswith(b"slow"):
            left.wait(10)
        with_body = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + request[-4:]
        connection.sendall(with_body)
        return True

    async def main(client: Client) -> None:
        task = asyncio.ensure_future(client.post(server.url, b"slow", timeout_s=10, max_bytes=100))
        await asyncio.to_thread(arrived.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        left.set()
        for _ in range(3):
            assert (await client.post(server.url, b"next", timeout_s=10, max_bytes=100)).data == b"next"
        assert len(asyncio.all_tasks()) == 1

    arrived, left = threading.Event(), threading.Event()
    with Raw(talk) as server:
        with_client(main)
    assert server.connections == 2


def test_many_at_once_each_get_their_own_reply() -> None:
    def bodies(numbers: range) -> list[bytes]:
        return [b'{"messages": [{"role": "user", "content": "%d"}]}' % n for n in numbers]

    async def main(client: Client) -> list[bytes]:
        url = httpx.URL(f"{server.url}/chat/completions")
        asked = (client.post(url, body, timeout_s=30, max_bytes=10_000) for body in bodies(range(300)))
        return [answer.data for answer in await asyncio.gather(*asked)]

    with LoadServer(latency_ms=100, answers=10**9) as server:
        first, again = with_client(main), with_client(main)
        stats = server.stats()
    assert first == again
    assert len(set(first)) == 300
    assert stats["requests"] == 600
    assert stats["most"] >= 300


def test_one_client_serves_one_loop_after_the_other() -> None:
    client = Client()
    with Raw(always()) as server:
        for _ in range(3):
            assert ask(server.url, client=client).status == 200
    assert server.connections == 3


def test_closing_leaves_no_connection() -> None:
    """Nothing warns of what was left open, whatever ended the requests."""
    code = """
import asyncio, gc, sys, httpx
from tmcli.http import Client, fast_transport
async def main():
    client = Client()
    url = httpx.URL(sys.argv[1])
    tasks = [asyncio.ensure_future(client.post(url, b"{}", timeout_s=5, max_bytes=9)) for _ in range(20)]
    await asyncio.sleep(0.2)
    for task in tasks[:10]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await client.aclose()
    async with httpx.AsyncClient(transport=fast_transport()) as http:
        await asyncio.gather(*(http.post(url, content=b"{}") for _ in range(20)))
for _ in range(2):
    asyncio.run(main())
    gc.collect()
"""
    with LoadServer(latency_ms=300) as server:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code, f"{server.url}/chat/completions"],
            capture_output=True,
            text=True,
        )
    assert (done.returncode, done.stderr) == (0, "")


# ---- TLS -------------------------------------------------------------------------------------------


def certificate(folder: Path, name: str = "127.0.0.1", *, days: int = 1) -> Path:
    """A certificate that signs itself, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=3))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@contextmanager
def over_tls(path: Path) -> Iterator[httpx.URL]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    with Raw(always(), context) as server:
        yield server.url.copy_with(scheme="https")


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    def trust(path: Path) -> None:
        monkeypatch.setattr(transport_module, "_CONTEXTS", [])
        monkeypatch.setenv("SSL_CERT_FILE", str(path))

    return trust


def through_httpx(url: httpx.URL) -> httpx.Response:
    async def main() -> httpx.Response:
        async with httpx.AsyncClient(transport=fast_transport()) as http:
            return await http.post(url, content=b"{}")

    return asyncio.run(main())


def test_tls_with_a_certificate_of_ones_own(tmp_path: Path, trusted: Callable[[Path], None]) -> None:
    path = certificate(tmp_path)
    trusted(path)
    with over_tls(path) as url:
        assert ask(url).status == 200
        assert through_httpx(url).status_code == 200


def test_tls_with_a_stranger_says_why(tmp_path: Path, trusted: Callable[[Path], None]) -> None:
    (tmp_path / "other").mkdir()
    trusted(certificate(tmp_path / "other"))
    with over_tls(certificate(tmp_path)) as url:
        with pytest.raises(httpx.ConnectError, match=r"certificate cannot be trusted: self.signed"):
            ask(url)
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            through_httpx(url)


@pytest.mark.parametrize(
    ("name", "days", "why"),
    [("127.0.0.2", 1, "not valid for '127.0.0.1'"), ("127.0.0.1", -1, "expired")],
    ids=["other name", "too old"],
)
def test_tls_checks_name_and_date(
    tmp_path: Path, trusted: Callable[[Path], None], name: str, days: int, why: str
) -> None:
    path = certificate(tmp_path, name, days=days)
    trusted(path)
    with over_tls(path) as url, pytest.raises(httpx.ConnectError, match=why):
        ask(url)


def test_tls_with_a_server_that_has_none() -> None:
    """A server that speaks HTTP where TLS is due answers the handshake with an error page."""

    async def main() -> None:
        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(10)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
            url = httpx.URL(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
            client = Client()
            with pytest.raises(httpx.ConnectError, match="TLS failed"):
                await client.post(url, b"{}", timeout_s=10, max_bytes=100)
            await client.aclose()

    asyncio.run(main())


def test_a_missing_list_of_certificates_is_a_users_error(
    tmp_path: Path, trusted: Callable[[Path], None]
) -> None:
    (tmp_path / "not.pem").write_text("no certificate")
    trusted(tmp_path / "not.pem")
    with pytest.raises(UsageError, match="SSL_CERT_FILE"):
        ask(httpx.URL("https://127.0.0.1:9/"))


# ---- proxies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [ask, through_httpx], ids=["post", "httpx"])
def test_a_proxy_is_used(monkeypatch: pytest.MonkeyPatch, way: Callable[[httpx.URL], object]) -> None:
    with Raw(always()) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@127.0.0.1:{proxy.port}")
        way(httpx.URL("http://nobody.invalid/v1"))
    assert proxy.requests[0].startswith(b"POST http://nobody.invalid/v1 HTTP/1.1\r\n")
    assert b"proxy-authorization: basic bwu6c2vjcmv0\r\n" in proxy.requests[0].lower()


def test_a_proxy_for_all_tunnels_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    with Raw(says(b"HTTP/1.1 403 Forbidden\r\n\r\n")) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"127.0.0.1:{proxy.port}")
        with pytest.raises(httpx.ProxyError):
            ask(httpx.URL("https://nobody.invalid/v1"))
    assert proxy.requests[0].startswith(b"CONNECT nobody.invalid:443 HTTP/1.1\r\n")


@pytest.mark.parametrize("way", [ask, through_httpx], ids=["post", "httpx"])
@pytest.mark.parametrize("past", ["*", "127.0.0.1", "x.org,127.0.0.1"])
def test_no_proxy_is_obeyed(
    monkeypatch: pytest.MonkeyPatch, way: Callable[[httpx.URL], object], past: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", past)
    with Raw(always()) as server:
        way(server.url)
    assert len(server.requests) == 1


def test_a_proxy_that_cannot_be_used_is_a_users_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "gopher://127.0.0.1:9")
    with pytest.raises(UsageError, match="the proxy"):
        ask(httpx.URL("http://nobody.invalid/v1"))


def test_a_key_stays_out_of_a_proxys_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://me:sk-secret@127.0.0.1:9")
    with pytest.raises(httpx.TransportError) as caught:
        ask(httpx.URL("http://nobody.invalid/v1"), made={"headers": {"Authorization": "sk-secret"}})
    assert "sk-secret" not in str(caught.value)


# ---- httpx's interface -----------------------------------------------------------------------------


def test_a_few_requests_share_connections_and_many_have_room() -> None:
    async def rounds(http: httpx.AsyncClient, at_once: int) -> None:
        for number in range(3):
            body = b'{"messages": [{"role": "user", "content": "%d %d"}]}'
            asked = (
                http.post(f"{server.url}/x", content=body % (number, n), timeout=30) for n in range(at_once)
            )
            assert {response.status_code for response in await asyncio.gather(*asked)} == {200}

    async def main(at_once: int) -> int:
        before = server.stats()["connected"]
        async with httpx.AsyncClient(transport=fast_transport()) as http:
            await rounds(http, at_once)
        return int(server.stats()["connected"] - before - 1)

    with LoadServer(latency_ms=50) as server:
        assert asyncio.run(main(1)) == 1
        assert asyncio.run(main(40)) == 40


def test_a_body_that_is_left_gives_its_place_back() -> None:
    with Raw(always(OK)) as server:

        async def main() -> None:
            async with httpx.AsyncClient(transport=fast_transport()) as http:
                for _ in range(30):
                    async with http.stream("POST", server.url, content=b"{}"):
                        pass
                pools: Any = http._transport
                assert [[pool.n_running for pool in some] for some in pools._pools.values()] == [[0]]

        asyncio.run(main())


# ---- patience and addresses ------------------------------------------------------------------------


def test_pauses_grow_and_are_bounded() -> None:
    patience = Patience(base_s=1, max_pause_s=5)
    for attempt, most in enumerate([1, 2, 4, 5, 5]):
        drawn = [patience.pause_s(attempt) for _ in range(200)]
        assert min(drawn) >= 0
        assert max(drawn) <= most
        assert max(drawn) > most / 2
    assert patience.pause_s(100_000) <= 5


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("7", 7), ("0.5", 0.5), ("-3", 0), ("nan", None), ("inf", None), ("soon", None), ("", None)],
)
def test_retry_after(said: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": said}) == seconds


def test_retry_after_a_date() -> None:
    assert retry_after({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    far = retry_after({"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"})
    assert far is not None
    assert far > 1e9


@pytest.mark.parametrize("text", ["", "localhost:8000", "ftp://x", "http://", "http://x:99999", "http://[::1"])
def test_an_address_that_cannot_be_read_is_not_shown(text: str) -> None:
    with pytest.raises(UsageError, match=r"the server's address cannot be read; write it like X"):
        address(text, "X")


def test_aiohttp_is_not_loaded_for_an_address() -> None:
    """`tm --help` and scripted runs load none of this; see test_startup.py."""
    code = "import sys, tmcli.runner; assert not {'aiohttp', 'httpx', 'uvloop'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": ""})
