"""The server's address, and the host names that requests may use."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass

import ifaddr

from st.runtime.errors import BadInput, Unavailable, printable

LOOPBACK, PORT = "127.0.0.1", 8765
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9.-]*[a-z0-9])?", re.ASCII)


@dataclass(frozen=True)
class Address:
    """host: an IP address without brackets, or a name. port: 0 lets the system choose one."""

    host: str = LOOPBACK
    port: int = PORT

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it.

        Raises Unavailable: the name cannot be resolved.
        """
        try:
            found = socket.getaddrinfo(self.host, None, type=socket.SOCK_STREAM)
        except OSError as error:
            raise Unavailable(f"{self.host}: no such address here ({error.strerror})") from None
        return all(ipaddress.ip_address(_bare(info[4][0])).is_loopback for info in found)

    @property
    def everywhere(self) -> bool:
        """Whether it means all addresses of this machine (0.0.0.0 or ::)."""
        return self.host in ("0.0.0.0", "::")


def parse_address(text: str) -> Address:
    """ "HOST:PORT", "HOST", ":PORT" or "PORT"; IPv6 in brackets. Raises BadInput."""
    if text.isdecimal() and text.isascii():
        text = f":{text}"
    head, colon, tail = text.rpartition(":")
    if not colon or tail.endswith("]"):
        head, tail = text, ""
    if tail and not (tail.isdecimal() and tail.isascii() and int(tail) < 65536):
        raise _refusal(text)
    port = int(tail) if tail else PORT
    if head.startswith("[") and head.endswith("]"):
        try:
            return Address(str(ipaddress.IPv6Address(head[1:-1])), port)
        except ValueError:
            raise _refusal(text) from None
    host = head.lower() or LOOPBACK
    if not _NAME.fullmatch(host):
        raise _refusal(text)
    return Address(host, port)


def _refusal(text: str) -> BadInput:
    return BadInput(
        f"{printable(text, 80)!r} is not an address: give HOST:PORT, such as {LOOPBACK}:{PORT} or "
        f"0.0.0.0:{PORT}; IPv6 in brackets"
    )


def public_hosts(address: Address) -> list[str]:
    """The hosts that are printed for visitors."""
    return (local_addresses(address.host) or [LOOPBACK]) if address.everywhere else [address.host]


def allowed_hosts(address: Address, more: Iterable[str] = ()) -> tuple[str, ...]:
    """All hosts that requests may name.

    more: further names that the user allows, such as that of a reverse proxy.
    """
    names = public_hosts(address)
    if address.everywhere:
        name = socket.gethostname().lower()
        names += [name, f"{name}.local"]
    if address.everywhere or address.loopback:
        names += [LOOPBACK, "localhost", "::1"]
    return tuple(dict.fromkeys([*names, *(checked_name(name) for name in more)]))


def checked_name(text: str) -> str:
    """A host's name or address, lower case. Raises BadInput."""
    host = text.lower().removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        if _NAME.fullmatch(host):
            return host
    raise BadInput(f"{printable(text, 80)!r} is not a host name: leave out scheme, port and path")


def local_addresses(everywhere: str) -> list[str]:
    """This machine's IPv4 addresses for 0.0.0.0, or IPv6 addresses for ::, without loopback and
    link-local ones. The address of the default route comes first."""
    version = ipaddress.ip_address(everywhere).version
    found = [_bare(ip.ip) for adapter in ifaddr.get_adapters() for ip in adapter.ips]
    addresses = sorted(ip for ip in map(ipaddress.ip_address, found) if ip.version == version)
    usable = [str(ip) for ip in addresses if not ip.is_loopback and not ip.is_link_local]
    return sorted(usable, key=lambda ip: ip != _outgoing(version))


def _outgoing(version: int) -> str:
    """The source address of the default route; "" without a network. Sends nothing."""
    family, far = (
        (socket.AF_INET, "192.0.2.1") if version == 4 else (socket.AF_INET6, "2001:db8::1")
    )
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far, 9))
            return probe.getsockname()[0]
    except OSError:
        return ""


def _bare(ip: object) -> str:
    """An address as getaddrinfo or ifaddr gives it, without its zone."""
    return str(ip[0] if isinstance(ip, tuple) else ip).partition("%")[0]


def url(secure: bool, host: str, port: int) -> str:
    """The origin of a server, as browsers send it, without a trailing slash."""
    scheme, usual = ("https", 443) if secure else ("http", 80)
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}" if port == usual else f"{scheme}://{shown}:{port}"
