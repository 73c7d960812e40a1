"""The signature of what goes to webhooks."""

from __future__ import annotations

import pytest

from authsvc.crypto.webhook_signature import is_signed, sign

KEYS = ["first-key", "second-key"]
BODY = b'{"id":1}'


def test_signature_is_the_documented_one() -> None:
    """The header is `v1=` and the hex HMAC-SHA-256 of timestamp, full stop and body, as openssl reckons it."""
    # printf '1700000000.{"id":1}' | openssl dgst -sha256 -hmac first-key
    assert (
        sign(["first-key"], "1700000000", BODY) == "v1=718e51abb89646338de93836d0bc2f840547b9c9d7f8ae109861a8c63a89e303"
    )


@pytest.mark.parametrize("header", ["{0},{1}", "{1}", "v0=00, {0}", " {0} ", "v1=zz,{1}"])
def test_one_signature_is_enough(header: str) -> None:
    """Among signatures of other schemes and keys, the right one is found."""
    signatures = sign(KEYS, "1", BODY).split(",")
    assert is_signed(KEYS[:1], "1", BODY, header=header.format(*signatures)) == ("{0}" in header)
    assert is_signed(KEYS, "1", BODY, header=header.format(*signatures))


@pytest.mark.parametrize(
    ("timestamp", "body", "header"),
    [
        ("2", BODY, None),
        ("1", BODY + b" ", None),
        ("1", BODY, ""),
        ("1", BODY, "v1="),
        ("1", BODY, "v1=" + "0" * 64),
    ],
)
def test_what_was_changed_is_not_signed(timestamp: str, body: bytes, header: str | None) -> None:
    """Another time, another body or another signature is told from the signed one."""
    assert not is_signed(KEYS, timestamp, body, header=sign(KEYS, "1", BODY) if header is None else header)


def test_nothing_is_signed_under_no_key() -> None:
    """Without a key nothing passes."""
    assert not is_signed([], "1", BODY, header=sign(KEYS, "1", BODY))
