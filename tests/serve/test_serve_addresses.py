"""Listen addresses, host names and certificates."""

from __future__ import annotations

import datetime
import ipaddress
import stat
from pathlib import Path

import pytest

pytest.importorskip("cryptography")
pytest.importorskip("aiohttp")

from cryptography import x509

from st.runtime import BadInput, StError, Unavailable
from st.video.serve import certificate
from st.video.serve.address import (
    Address,
    allowed_hosts,
    local_addresses,
    parse_address,
    public_hosts,
    url,
)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("", "127.0.0.1", 8765),
        ("9000", "127.0.0.1", 9000),
        (":0", "127.0.0.1", 0),
        ("0.0.0.0", "0.0.0.0", 8765),
        ("0.0.0.0:1", "0.0.0.0", 1),
        ("Studio.Local:80", "studio.local", 80),
        ("[::1]", "::1", 8765),
        ("[2001:DB8::1]:443", "2001:db8::1", 443),
        ("x:", "x", 8765),
    ],
)
def test_addresses_are_parsed(text: str, host: str, port: int) -> None:
    assert parse_address(text) == Address(host, port)


@pytest.mark.parametrize(
    "text", ["a:b", ":70000", "http://x", "a b", "::1", "[x]:1", "a\x1b", "-x", "[::1]x"]
)
def test_bad_addresses_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="HOST:PORT"):
        parse_address(text)


def test_loopback_addresses_are_recognized() -> None:
    for text in ("127.0.0.1", "127.8.9.1", "localhost", "[::1]"):
        assert parse_address(text).loopback, text
    for text in ("0.0.0.0", "[::]", "192.0.2.7"):
        assert not parse_address(text).loopback, text
    with pytest.raises(Unavailable):
        _ = parse_address("no-such-host.invalid").loopback


def test_allowed_and_public_hosts() -> None:
    assert allowed_hosts(Address("127.0.0.1")) == ("127.0.0.1", "localhost", "::1")
    assert allowed_hosts(Address("192.0.2.7"), ["Studio.example"]) == (
        "192.0.2.7",
        "studio.example",
    )
    everywhere = allowed_hosts(Address("0.0.0.0"))
    assert {*local_addresses("0.0.0.0"), "localhost"} <= set(everywhere)
    assert "0.0.0.0" not in everywhere
    assert public_hosts(Address("0.0.0.0")) == (local_addresses("0.0.0.0") or ["127.0.0.1"])
    assert public_hosts(Address("192.0.2.7")) == ["192.0.2.7"]
    assert all(":" in ip for ip in local_addresses("::"))
    for bad in ("http://x", "x/y", "x:1", ""):
        with pytest.raises(BadInput):
            allowed_hosts(Address(), [bad])


def test_urls_omit_default_ports() -> None:
    assert url(False, "127.0.0.1", 8765) == "http://127.0.0.1:8765"
    assert url(True, "::1", 443) == "https://[::1]"
    assert url(False, "x", 80) == "http://x"


def test_a_self_signed_certificate_covers_its_names_and_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "tls"
    names = ["192.0.2.7", "studio.local", "::1"]
    path, key = certificate.own_certificate(names, folder)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    made = x509.load_pem_x509_certificate(path.read_bytes())
    san = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert san.get_values_for_type(x509.DNSName) == ["studio.local"]
    found = san.get_values_for_type(x509.IPAddress)
    assert found == [ipaddress.ip_address("192.0.2.7"), ipaddress.ip_address("::1")]
    lasts = made.not_valid_after_utc - made.not_valid_before_utc
    assert lasts <= datetime.timedelta(days=398)
    certificate.tls(path, key)
    mark = certificate.fingerprint(path)
    assert len(mark) == 95
    assert certificate.fingerprint(certificate.own_certificate(names[::-1], folder)[0]) == mark
    assert certificate.own_certificate(["other.local"], folder)[0] != path


def test_an_expiring_or_damaged_certificate_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = certificate.own_certificate(["a"], tmp_path)
    marks = [certificate.fingerprint(path)]
    monkeypatch.setattr(certificate, "RENEW", certificate.DAYS)
    certificate.own_certificate(["a"], tmp_path)
    marks.append(certificate.fingerprint(path))
    monkeypatch.undo()
    path.write_text("damaged")
    certificate.own_certificate(["a"], tmp_path)
    marks.append(certificate.fingerprint(path))
    assert len(set(marks)) == 3
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_files_that_are_no_certificate_are_refused(tmp_path: Path) -> None:
    good, _ = certificate.own_certificate(["a"], tmp_path / "a")
    other, _ = certificate.own_certificate(["b"], tmp_path / "b")
    text = tmp_path / "x.pem"
    text.write_text("no certificate")
    for pair in ((text, text), (good, text), (tmp_path / "none", good), (tmp_path, good)):
        with pytest.raises(BadInput):
            certificate.tls(*pair)
    with pytest.raises(BadInput):
        certificate.tls(good, other)
    with pytest.raises(BadInput):
        certificate.fingerprint(text)


def test_an_unwritable_cache_gives_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StError, match="certificate and a key of your own"):
        certificate.own_certificate(["a"], tmp_path / "file" / "tls")


def test_certificates_are_cached_in_the_users_cache_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert certificate.cache_folder() == tmp_path / "st" / "tls"
