"""Where a server listens and whose requests it answers.

By default only this machine can connect, and only pages of the server itself may use it. Other addresses need API keys.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import urlsplit

from r1kit.errors import UserError
from r1kit.web.keys import ENVIRONMENT, ApiKeys

LOOPBACK = "127.0.0.1"
BACKLOG = 2048  # connections that wait to be accepted


@dataclass(frozen=True)
class Hosting:
    """The address of a server, its keys, and the hosts and pages that it trusts.

    Raises:
        UserError: Other machines could connect without a key, or a value has another form.
    """

    host: str = LOOPBACK
    port: int = 0
    """0 takes a free port."""
    keys: ApiKeys = field(default_factory=ApiKeys)
    allowed_hosts: tuple[str, ...] = ()
    """Names besides those of this machine by which a proxy in front reaches the server."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of other pages that may call the API, such as https://chat.example.org."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise UserError(f"--port {self.port}: must be between 0 and 65535")
        for origin in self.allowed_origins:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or origin != f"{parts.scheme}://{parts.netloc}":
                raise UserError(f"--allow-origin {origin}: must be like https://chat.example.org, without a path")
        if not self.is_local and not self.keys:
            raise UserError(
                f"--host {self.host}: other machines could connect without a key; give --api-key-file FILE or set "
                f"{ENVIRONMENT}, or use --host {LOOPBACK}"
            )

    @cached_property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        return all(is_loopback(address) for address in self._addresses)

    def trusts_host(self, header: str) -> bool:
        """Return whether the Host header of a request names this server.

        A page elsewhere can make its own name resolve to 127.0.0.1 (DNS rebinding); its requests then carry that name.
        Where keys are needed, such a page has none, so any name is accepted unless some are given.
        """
        name = _name_of(header)
        if name is None:
            return False
        if name in self.allowed_hosts or (not self.is_local and not self.allowed_hosts):
            return True
        return name == "localhost" or is_loopback(name)

    def open_socket(self) -> socket.socket:
        """Return a socket that listens at the address.

        Raises:
            UserError: The address is taken or does not exist.
        """
        family = socket.AF_INET6 if ":" in self._addresses[0] else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self._addresses[0], self.port))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            raise UserError(f"{self.host}:{self.port}: {error.strerror}; choose another --port or --host") from None
        return listener

    def url(self, listener: socket.socket) -> str:
        """Return the URL of the server that listens on the socket."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{listener.getsockname()[1]}"

    @cached_property
    def _addresses(self) -> Sequence[str]:
        """The IP addresses of the host, IPv4 first."""
        try:
            found = {str(info[4][0]) for info in socket.getaddrinfo(self.host or "0.0.0.0", None)}
        except (OSError, UnicodeError) as error:
            raise UserError(f"--host {self.host}: no such address: {error}") from None
        return sorted(found, key=lambda address: (":" in address, address))


def is_loopback(address: str) -> bool:
    """Return whether a text is an IP address that reaches only this machine."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _name_of(header: str) -> str | None:
    """Return the host of a Host header in lower case; None if it is malformed."""
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port  # ValueError for a bad port
    except ValueError:
        return None
    is_plain = parts.netloc == header and parts.username is None and parts.path == ""
    return parts.hostname if is_plain else None
