"""Opens the server's socket, and serves on it until the process ends."""

import contextlib
import errno
import socket
from collections.abc import Iterator

import uvicorn

from chimeramix_jax.errors import InputError
from chimeramix_jax.serve.guard import Guard, is_loopback

MOST_CONNECTIONS = 200

_ALL = ("0.0.0.0", "::")  # what stands for all addresses of a machine
# Addresses of documentation (RFC 5737, RFC 3849): the system chooses the way to them as for any other machine.
_ELSEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}


@contextlib.contextmanager
def listening_socket(host: str, port: int) -> Iterator[socket.socket]:
    """Provides a socket that listens at an address; port 0 stands for a free one.

    Browsers that connect before the server is ready wait for it. Raises InputError if the address cannot be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a name of a machine"
        raise InputError(f"--host={host}: {reason}; it must be an address of this machine, such as 0.0.0.0") from None
    with socket.socket(family, kind, protocol) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # else a port stays taken for a while
        try:
            opened.bind(address)
            opened.listen()
        except OSError as error:
            raise _unusable(host, port, error) from None
        yield opened


def addresses_of(opened: socket.socket) -> list[str]:
    """Returns the addresses to open in a browser, the best for this machine first.

    If the socket listens at all addresses, these are this machine's name, which others need not know, and its address
    in the local network, if it has one.
    """
    host, port = opened.getsockname()[:2]
    if host not in _ALL:
        return [_page(host, port)]
    of_network = _address_in_network(opened.family)
    return [_page(found, port) for found in (socket.gethostname(), of_network) if found is not None]


def _page(host: str, port: int) -> str:
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _address_in_network(family: socket.AddressFamily) -> str | None:
    """Returns the address from which this machine would reach others; None if there is none. Sends nothing."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect((_ELSEWHERE[family], 9))
            found = str(asking.getsockname()[0])
    except (OSError, KeyError):
        return None
    return None if found in _ALL or is_loopback(found) else found


def is_only_local(opened: socket.socket) -> bool:
    """Returns whether only this machine can reach the socket."""
    return is_loopback(opened.getsockname()[0])


def serve(application: Guard, opened: socket.socket) -> None:
    """Answers requests until the process ends; signals are left to the caller."""
    server_for(application).run([opened])


def server_for(application: Guard) -> uvicorn.Server:
    """Returns a server that logs nothing and handles no signals."""
    config = uvicorn.Config(
        application,
        loop="asyncio",  # uvloop would take the signals
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
    )
    return _Server(config)


class _Server(uvicorn.Server):
    """A server that leaves signals to the program."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield


def _unusable(host: str, port: int, error: OSError) -> InputError:
    if error.errno == errno.EADDRINUSE:
        return InputError(f"--port={port}: another program uses it; choose another port, or --port=0 for a free one")
    if error.errno == errno.EACCES:
        return InputError(f"--port={port}: not allowed for this user; choose one from 1024, or --port=0 for a free one")
    return InputError(f"--host={host}: {error.strerror}; it must be an address of this machine, such as 0.0.0.0")
