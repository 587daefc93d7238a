"""TLS with the user's certificate or a generated self-signed one.

Browsers allow camera access only on localhost or over TLS. For a self-signed certificate the
browser shows a warning once; the user compares its fingerprint with the printed one.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import os
import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from st.runtime.errors import BadInput, StError, printable

DAYS = 397  # days: close to 398, the longest validity that browsers accept
RENEW = 30  # days before expiry at which a new certificate is made


def own_certificate(names: Sequence[str], folder: Path | None = None) -> tuple[Path, Path]:
    """Paths of the PEM (certificate, key) for these names, generated once and then reused.

    folder: where to store them, by default in the user's cache. Only the user can read them.

    Raises StError: the folder is not writable.
    """
    folder = folder or cache_folder()
    mark = hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:16]
    path = folder / f"{mark}.pem"
    try:
        if not _still_good(path):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_private(path, _made(names))
    except OSError as error:
        raise StError(
            f"{printable(path)}: cannot store the certificate: {error.strerror}; "
            "give a certificate and a key of your own"
        ) from None
    return path, path


def tls(certificate: Path, key: Path) -> ssl.SSLContext:
    """A server's TLS context.

    Raises BadInput: a file is missing or invalid, the key does not match, or it has a passphrase.
    """
    for path in (certificate, key):
        if not path.is_file():
            raise BadInput(f"{printable(path)}: no such file")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without a callback, OpenSSL would prompt for the passphrase on the terminal.
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except (ssl.SSLError, ValueError, OSError) as error:
        raise BadInput(
            f"{printable(certificate)} and {printable(key)}: not a PEM certificate and its key "
            f"without a passphrase ({printable(error, 80)})"
        ) from None
    return context


def fingerprint(certificate: Path) -> str:
    """SHA-256 of the first certificate in a PEM file, formatted as in browsers: AA:BB:…

    Raises BadInput: the file contains no certificate.
    """
    text = certificate.read_text("ascii", errors="replace")
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    try:
        body = text[text.index(begin) : text.index(end) + len(end)]
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(body)).hexdigest().upper()
    except ValueError:
        raise BadInput(f"{printable(certificate)}: contains no PEM certificate") from None
    return ":".join(digest[n : n + 2] for n in range(0, 64, 2))


def cache_folder() -> Path:
    """The folder in the user's cache where st stores generated certificates."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "st" / "tls"


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")


def _still_good(path: Path) -> bool:
    try:
        end = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return False
    return end > datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=RENEW)


def _made(names: Sequence[str]) -> bytes:
    """A new P-256 key and its certificate for these host names and IP addresses, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "st")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # the visitor's clock may be slow
        .not_valid_after(now + datetime.timedelta(days=DAYS - 1))
        .add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return secret + certificate.public_bytes(serialization.Encoding.PEM)


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write_private(path: Path, data: bytes) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    part.replace(path)
