"""Refuses requests that a page of another site has caused, and adds the headers that restrict this program's page.

A server on this machine only is reachable by every page in the user's browser. Such a page can send requests, and with
a host name that it makes resolve to 127.0.0.1 (DNS rebinding) it could read the answers, too. So the header ``Host``
must name this machine, or the proxy that the user allows, and ``Origin`` must be the page's own.
"""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FORBIDDEN = 403

_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """The application behind these checks."""

    def __init__(self, application: ASGIApp, policy: str, *, only_local: bool, allowed_host: str | None = None):
        """Takes the content security policy, and whether the server can only be reached from this machine.

        ``allowed_host`` is another name by which the page may be reached, that of a proxy on this machine.
        """
        self._application, self._only_local, self._allowed_host = application, only_local, allowed_host
        self._headers = _HEADERS | {"Content-Security-Policy": policy}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, as ASGI defines it."""

        async def send_restricted(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        reason = refusal(Headers(scope=scope), only_local=self._only_local, allowed_host=self._allowed_host)
        if reason is None:
            await self._application(scope, receive, send_restricted)
        else:
            await JSONResponse({"error": reason}, FORBIDDEN)(scope, receive, send_restricted)


def refusal(headers: Mapping[str, str], *, only_local: bool, allowed_host: str | None = None) -> str | None:
    """Returns why a request with these headers is refused, in a sentence; None: it is not."""
    host, origin = headers.get("host", ""), headers.get("origin")
    if only_local and not is_loopback(_name(host)) and not _is_allowed(host, allowed_host):
        return "This server only answers requests to this machine, such as http://localhost."
    if origin is None or _network_location(origin) == host.lower():
        return None
    # A proxy may leave the port out of ``Host``, which is in ``Origin``.
    if _is_allowed(host, allowed_host) and _is_allowed(_network_location(origin), allowed_host):
        return None
    return "This server only answers requests from its own page."


def is_loopback(host: str) -> bool:
    """Returns whether a name or an IP address, without a port, is that of the loopback interface."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _is_allowed(location: str, allowed_host: str | None) -> bool:
    """Whether a location, with or without a port, has the allowed name."""
    return allowed_host is not None and _name(location) == allowed_host.lower()


def _name(location: str) -> str:
    """Returns the name or address in a location such as the header ``Host``, in small letters and without a port."""
    try:
        return urlsplit(f"//{location}").hostname or ""
    except ValueError:  # such as an IPv6 address without its closing bracket
        return ""


def _network_location(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
