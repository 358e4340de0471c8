"""Addresses and keys: what a server may be started with."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from r1kit.errors import UserError
from r1kit.web.hosting import Hosting
from r1kit.web.keys import ENVIRONMENT, ApiKeys, load_keys

KEY = "a-key-of-24-characters--"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", ""])
def test_other_addresses_need_keys(host: str) -> None:
    with pytest.raises(UserError, match="without a key; give --api-key-file FILE or set R1KIT_API_KEYS"):
        Hosting(host)
    assert not Hosting(host, keys=ApiKeys([KEY])).is_local


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.3.2.1", "::1"])
def test_loopback_needs_none(host: str) -> None:
    assert Hosting(host).is_local


def test_with_keys_any_name_is_answered_unless_some_are_given() -> None:
    everywhere = Hosting("0.0.0.0", keys=ApiKeys([KEY]))
    assert everywhere.trusts_host("models.example.org:8000") and not everywhere.trusts_host("a/b")
    named = Hosting("0.0.0.0", keys=ApiKeys([KEY]), allowed_hosts=("models.example.org",))
    assert named.trusts_host("models.example.org") and not named.trusts_host("evil.example")
    assert Hosting(allowed_hosts=("models.example.org",)).trusts_host("models.example.org")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"host": "no such host"}, "--host no such host: no such address"),
        ({"port": 70000}, "--port 70000: must be between 0 and 65535"),
        ({"allowed_origins": ("chat.example.org",)}, "must be like https://chat.example.org"),
        ({"allowed_origins": ("*",)}, "must be like"),
        ({"allowed_origins": ("https://chat.example.org/",)}, "without a path"),
    ],
)
def test_mistakes_are_named(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Hosting(**settings)


def test_a_taken_port_is_named() -> None:
    with Hosting().open_socket() as taken:
        port = taken.getsockname()[1]
        assert Hosting().url(taken) == f"http://127.0.0.1:{port}"
        with pytest.raises(UserError, match=f"127.0.0.1:{port}: .*choose another --port"):
            Hosting(port=port).open_socket()


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_ipv6_is_written_in_brackets() -> None:
    try:
        listener = Hosting("::1").open_socket()
    except UserError:
        pytest.skip("no IPv6 loopback here")
    with listener:
        assert Hosting("::1").url(listener).startswith("http://[::1]:")


def test_keys_come_from_file_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, f" {KEY} , second-key-second-key")
    (file := tmp_path / "keys").write_text("# team\nthird-key-third-key-\n\n")
    keys = load_keys(file)
    assert all(keys.accept(f"Bearer {key}".encode()) for key in (KEY, "second-key-second-key", "third-key-third-key-"))
    assert not keys.accept(b"Bearer # team")
    monkeypatch.delenv(ENVIRONMENT)
    assert not load_keys(None)


def test_bad_keys_are_refused_without_showing_them(tmp_path: Path) -> None:
    for bad in ("short", "with a space in the middle", "ключ-ключ-ключ-ключ"):
        with pytest.raises(UserError, match="at least 16 printable ASCII") as caught:
            ApiKeys([bad])
        assert bad not in str(caught.value)
    (empty := tmp_path / "keys").write_text("# none\n")
    with pytest.raises(UserError, match="holds no key"):
        load_keys(empty)
    with pytest.raises(UserError, match="cannot be read"):
        load_keys(tmp_path / "absent")
