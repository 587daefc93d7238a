"""Run the server until Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from st.runtime import BadInput, StError
from st.runtime.system.cpus import usable_cpus
from st.runtime.system.signals import stoppable
from st.video.serve.address import Address, allowed_hosts, public_hosts, url
from st.video.serve.app import Visits
from st.video.serve.certificate import fingerprint, own_certificate, tls
from st.video.serve.guard import Guard
from st.video.serve.session import SessionDefaults

MOST_WORKERS = 4


@dataclass(frozen=True)
class ServerConfig:
    """How the server is reached.

    certificate, key: PEM files for TLS; without them loopback has no TLS, and any other address one
        of our own making.
    names: further names that visitors may call it by.
    max_sessions: visitors at once.
    threads: that paint frames side by side; by default as many as this process may use, at most 4.
    """

    address: Address
    certificate: Path | None = None
    key: Path | None = None
    names: Sequence[str] = ()
    max_sessions: int = 4
    threads: int | None = None


def serve(
    defaults: SessionDefaults, config: ServerConfig, tell: Callable[[str], object] = print
) -> None:
    """Serve until Ctrl-C or SIGTERM.

    tell: told where the server is, line by line: its URLs, then the certificate's fingerprint.

    Raises:
        BadInput: an address, name, certificate or key that cannot be used.
        StError: the port is taken.
    """
    _hush()
    with stoppable() as stop:
        asyncio.run(_serve(defaults, config, tell, stop))


async def _serve(
    defaults: SessionDefaults,
    config: ServerConfig,
    tell: Callable[[str], object],
    stop: threading.Event,
) -> None:
    address = config.address
    names = allowed_hosts(address, config.names)
    certificate, context = _tls(config, names)
    token = None if address.loopback else secrets.token_urlsafe(24)
    guard = Guard(token)
    visits = Visits(
        defaults, config.max_sessions, min(config.threads or usable_cpus(), MOST_WORKERS)
    )
    # No access log: the first visit has the token in its address.
    runner = web.AppRunner(visits.app(guard), access_log=None, shutdown_timeout=2)
    await runner.setup()
    try:
        site = web.TCPSite(runner, address.host, address.port, ssl_context=context)
        try:
            await site.start()
        except OSError as error:
            why = os.strerror(error.errno or 0)
            raise StError(f"{address.host}:{address.port} cannot be served at: {why}") from None
        port = runner.addresses[0][1]
        guard.allow(url(context is not None, name, port) for name in names)
        for host in public_hosts(address):
            tell(url(context is not None, host, port) + (f"/?token={token}" if token else "/"))
        if certificate is not None:
            tell(f"certificate SHA-256 {fingerprint(certificate)}")
        while not stop.is_set():
            await asyncio.sleep(0.2)
    finally:
        await runner.cleanup()


def _tls(config: ServerConfig, names: Sequence[str]) -> tuple[Path | None, ssl.SSLContext | None]:
    """(certificate, TLS settings), None for neither."""
    certificate, key = config.certificate, config.key
    if key is not None and certificate is None:
        raise BadInput("--key needs its certificate: --cert FILE")
    if certificate is None:
        if config.address.loopback:
            return None, None
        certificate, key = own_certificate(names)
    return certificate, tls(certificate, key or certificate)


def _hush() -> None:
    """Peers that come and go are no news: the libraries' warnings about them are not shown."""
    for name in ("aiortc", "aioice", "aiohttp.server", "asyncio"):
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).propagate = False
