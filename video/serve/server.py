"""Run the server until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
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
from st.video.serve.pictures import MAX_PIXELS
from st.video.serve.qr import qr_text
from st.video.serve.session import SessionDefaults

MAX_WORKERS = 4


@dataclass(frozen=True)
class ServerConfig:
    """Settings of the server.

    certificate, key: PEM files for TLS. Without them, loopback has no TLS, and any other address
        uses a generated certificate.
    names: further host names of the server.
    max_sessions: maximum number of simultaneous visitors.
    threads: number of painting threads; by default all that this process may use, at most 4.
    max_pixels: maximum pixels of a picture sent over HTTP.
    """

    address: Address
    certificate: Path | None = None
    key: Path | None = None
    names: Sequence[str] = ()
    max_sessions: int = 4
    threads: int | None = None
    max_pixels: int = MAX_PIXELS


def serve(
    defaults: SessionDefaults,
    config: ServerConfig,
    tell: Callable[[str], object] = print,
    show_codes: bool = False,
) -> None:
    """Serve until Ctrl-C or SIGTERM.

    tell: called with lines of text: the server's URLs, then the certificate's fingerprint.
    show_codes: also print the first URL as a QR code, if phones can reach it.

    Raises:
        BadInput: an address, name, certificate or key that cannot be used.
        StError: the port is taken.
    """
    _hush()
    with stoppable() as stop:
        asyncio.run(_serve(defaults, config, tell, show_codes, stop))


async def _serve(
    defaults: SessionDefaults,
    config: ServerConfig,
    tell: Callable[[str], object],
    show_codes: bool,
    stop: threading.Event,
) -> None:
    address = config.address
    names = allowed_hosts(address, config.names)
    certificate, context = _tls(config, names)
    token = None if address.loopback else secrets.token_urlsafe(24)
    guard = Guard(token)
    workers = min(config.threads or usable_cpus(), MAX_WORKERS)
    visits = Visits(defaults, config.max_sessions, workers, max_pixels=config.max_pixels)
    runner = runner_of(visits.app(guard))
    await runner.setup()
    try:
        site = web.TCPSite(runner, address.host, address.port, ssl_context=context)
        try:
            await site.start()
        except OSError as error:
            why = os.strerror(error.errno or 0)
            raise StError(f"{address.host}:{address.port} cannot listen there: {why}") from None
        port = runner.addresses[0][1]
        guard.allow(url(context is not None, name, port) for name in names)
        for number, host in enumerate(public_hosts(address)):
            shown = url(context is not None, host, port) + (f"/?token={token}" if token else "/")
            tell(shown)
            if show_codes and token and number == 0:
                with contextlib.suppress(ImportError):  # without segno, only the address is printed
                    tell(qr_text(shown))
        if certificate is not None:
            tell(f"certificate SHA-256 {fingerprint(certificate)}")
        sweeping = asyncio.create_task(sweep(visits, runner))
        while not stop.is_set():
            await asyncio.sleep(0.2)
        sweeping.cancel()
    finally:
        await runner.cleanup()


async def sweep(visits: Visits, runner: web.AppRunner) -> None:
    """Close connections that send nothing, for as long as the server runs."""
    while runner.server is not None:
        visits.connections.close_idle(runner.server)
        await asyncio.sleep(0.2)


def runner_of(app: web.Application) -> web.AppRunner:
    """A runner that cancels the handler of a client that has gone.

    It writes no access log, since the URL of a visitor's first request contains the token.
    """
    return web.AppRunner(app, access_log=None, shutdown_timeout=2, handler_cancellation=True)


def _tls(config: ServerConfig, names: Sequence[str]) -> tuple[Path | None, ssl.SSLContext | None]:
    """(certificate, TLS context), or (None, None) without TLS."""
    certificate, key = config.certificate, config.key
    if key is not None and certificate is None:
        raise BadInput("a key needs its certificate: give both")
    if certificate is None:
        if config.address.loopback:
            return None, None
        certificate, key = own_certificate(names)
    return certificate, tls(certificate, key or certificate)


def _hush() -> None:
    """Hide the libraries' warnings about peers that disconnect."""
    for name in ("aiortc", "aioice", "aiohttp.server", "asyncio"):
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).propagate = False
