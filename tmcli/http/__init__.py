"""HTTP as the whole house speaks it: fast connections, patience with servers, addresses.

    client = Client(headers={"Authorization": f"Bearer {key}"})
    answer = await client.post(url, orjson.dumps(body), timeout_s=120, max_bytes=16_000_000)
    answer.status, answer.headers, answer.data
    await client.aclose()

    httpx.AsyncClient(transport=fast_transport())      # the same connections behind httpx's interface

What goes wrong is raised as httpx's errors. `Patience` says how long to try again, `address` reads an
address that a user typed.
"""

from tmcli.http.address import address
from tmcli.http.retry import Patience, retry_after
from tmcli.http.transport import Answer, Client, TooLong, allow_many_files, fast_transport

__all__ = [
    "Answer", "Client", "Patience", "TooLong", "address", "allow_many_files", "fast_transport", "retry_after",
]  # fmt: skip
