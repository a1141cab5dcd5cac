from __future__ import annotations

import pytest

from accounts.keys import UnreadableKeyError, read_key


def test_a_key_is_read_from_the_environment(monkeypatch):
    monkeypatch.setenv("A_SECRET", " abc123\n")

    assert read_key("env:A_SECRET") == "abc123"


def test_a_key_is_read_from_a_file(tmp_path):
    path = tmp_path / "key.pem"
    path.write_text("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n")

    assert read_key(f"file:{path}") == "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----"


def test_a_pem_in_one_line_gets_its_line_breaks_back(monkeypatch):
    monkeypatch.setenv("A_PEM", r"-----BEGIN PUBLIC KEY-----\nMIIE\n-----END PUBLIC KEY-----")

    assert read_key("env:A_PEM") == "-----BEGIN PUBLIC KEY-----\nMIIE\n-----END PUBLIC KEY-----"


def test_an_unset_variable_is_named(monkeypatch):
    monkeypatch.delenv("NOT_SET", raising=False)

    with pytest.raises(UnreadableKeyError, match="env:NOT_SET is unset or empty"):
        read_key("env:NOT_SET")


def test_a_missing_file_is_named_with_the_reason(tmp_path):
    with pytest.raises(UnreadableKeyError, match=r"nothing\.pem cannot be read: No such file"):
        read_key(f"file:{tmp_path}/nothing.pem")


@pytest.mark.parametrize("ref", ["MIIEvQIBADANBg", "env:", "file:", "", "http://x/key"])
def test_what_is_no_reference_is_not_repeated_for_it_may_be_the_key(ref):
    with pytest.raises(UnreadableKeyError) as refused:
        read_key(ref)

    assert str(refused.value) == "a key is named as env:NAME or file:/path"


def test_a_binary_file_is_refused_without_showing_its_bytes(tmp_path):
    path = tmp_path / "key.p12"
    path.write_bytes(b"\xff\xfe secret")

    with pytest.raises(UnreadableKeyError, match="is not a text") as refused:
        read_key(f"file:{path}")

    assert "secret" not in str(refused.value)
    assert refused.value.__suppress_context__


def test_a_file_that_is_too_long_is_refused(tmp_path):
    path = tmp_path / "disk.img"
    path.write_bytes(b"x" * 65_537)

    with pytest.raises(UnreadableKeyError, match="longer than 65536 bytes"):
        read_key(f"file:{path}")
