"""What standards ask of settings: no value below it is taken, and the defaults are theirs."""

from __future__ import annotations

import base64
import json
from datetime import timedelta

import pytest
from annotated_types import Ge
from pydantic import BaseModel

from authsvc.config import MfaMode, Settings
from authsvc.crypto.jwt import ACCESS_TOKEN_TYPE, SigningKey
from authsvc.domain import FactorKind


@pytest.mark.parametrize(
    ("section", "field", "least"),
    [
        # ASVS 5 V6.2.1, V6.2.9, NIST SP 800-63B-4 §3.1.1.2.
        ("passwords", "min_length", 8),
        ("passwords", "min_length_with_mfa", 8),
        ("passwords", "max_length", 64),
        # ASVS 5 V6.5.4, NIST SP 800-63B-4 §3.1.3.2.
        ("codes", "sign_up_digits", 6),
        ("codes", "reset_digits", 6),
        ("codes", "attribute_digits", 6),
        ("codes", "sign_in_digits", 6),
    ],
)
def test_least_value_is_that_of_standards(section: str, field: str, least: int) -> None:
    """No operator can set less than standards ask."""
    model: type[BaseModel] = type(getattr(Settings(), section))
    assert [bound.ge for bound in model.model_fields[field].metadata if isinstance(bound, Ge)] == [least]


def test_defaults_are_those_of_standards() -> None:
    """As it comes the service has what ASVS 5, NIST SP 800-63B-4 and OWASP's advice on hashes ask or recommend."""
    settings = Settings()
    passwords, codes, tokens = settings.passwords, settings.codes, settings.tokens
    assert (passwords.min_length, passwords.min_length_with_mfa) == (15, 8)
    assert (passwords.argon2_time_cost, passwords.argon2_memory_kib, passwords.argon2_parallelism) == (2, 19 * 1024, 1)
    assert not any(getattr(passwords, f"require_{kind}") for kind in ("lowercase", "uppercase", "numbers", "symbols"))
    assert (settings.accounts.mfa, set(settings.accounts.mfa_types)) == (MfaMode.REQUIRED, {FactorKind.TOTP})
    assert settings.limits.close_at <= 100
    assert codes.reset_ttl <= timedelta(minutes=10)
    assert codes.attribute_ttl <= timedelta(hours=24)
    assert settings.challenges.ttl <= timedelta(minutes=10)
    assert tokens.refresh_ttl <= timedelta(days=30)
    assert not settings.server.reflection


def test_text_of_tokens_is_utf_8() -> None:
    """A name beyond ASCII is in the token as UTF-8 JSON, whoever reads it (RFC 8725 §3.7)."""
    token = SigningKey.generate("EdDSA").sign({"username": "Jürgen 山田"}, typ=ACCESS_TOKEN_TYPE)
    for part in token.split(".")[:2]:
        read = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode("utf-8"))
        assert read.get("username", "Jürgen 山田") == "Jürgen 山田"
