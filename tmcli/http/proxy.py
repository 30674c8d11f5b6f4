"""Which proxy the environment names for an address: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY."""

from urllib.request import getproxies, proxy_bypass

import httpx


def proxy_for(url: httpx.URL) -> str | None:
    """The proxy's address, as httpx would choose it; None: none."""
    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if not proxy:
        return None
    host = url.host if url.port is None else f"{url.host}:{url.port}"
    if proxy_bypass(host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
