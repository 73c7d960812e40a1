"""Time-based one-time passwords, as RFC 6238 and authenticator apps have them."""

import base64
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, unquote, urlsplit

import pyotp
import pytest

from authsvc.crypto.totp import TotpSecret

# RFC 6238 appendix B, SHA-1: the seconds and the eight digits, of which ours are the last six.
RFC_SECRET = TotpSecret(base64.b32encode(b"12345678901234567890").decode())
RFC_CODES = [
    (59, "94287082"),
    (1111111109, "07081804"),
    (1111111111, "14050471"),
    (1234567890, "89005924"),
    (2000000000, "69279037"),
    (20000000000, "65353130"),
]
PERIOD = timedelta(seconds=30)
# The first moment of a time step.
START = datetime(2030, 1, 15, 12, 0, tzinfo=UTC)
TICK = timedelta(microseconds=1)


@pytest.mark.parametrize(("seconds", "digits"), RFC_CODES)
def test_code_is_that_of_the_rfc(seconds: int, digits: str) -> None:
    """Each test vector of RFC 6238 appendix B gives its code, and its code the step."""
    step = seconds // 30
    assert RFC_SECRET.code(step) == digits[-6:]
    assert RFC_SECRET.matching_step(digits[-6:], at=datetime.fromtimestamp(seconds, UTC)) == step


@pytest.mark.parametrize("offset", range(-3, 4))
@pytest.mark.parametrize("moment", [START, START + PERIOD - TICK])
def test_code_of_one_step_around_the_present_matches(offset: int, moment: datetime) -> None:
    """Codes of the present step and its neighbours match, those two steps off don't, at both ends of a step."""
    present = int(START.timestamp()) // 30
    matched = RFC_SECRET.matching_step(RFC_SECRET.code(present + offset), at=moment)
    assert matched == (present + offset if abs(offset) <= 1 else None)


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "000000\0", "🙂"])
def test_what_is_no_code_matches_nothing(code: str) -> None:
    """Text of another length, of other characters, or not even ASCII is just wrong."""
    assert RFC_SECRET.matching_step(code, at=START) is None


def test_secret_has_160_random_bits() -> None:
    """A new secret is 32 characters of base32 without padding, and its own."""
    secrets = {TotpSecret.generate().base32 for _ in range(100)}
    assert len(secrets) == 100
    assert all(re.fullmatch(r"[A-Z2-7]{32}", secret) for secret in secrets)
    assert all(len(base64.b32decode(secret)) == 20 for secret in secrets)


@pytest.mark.parametrize(
    ("issuer", "username"),
    [("authsvc", "ada"), ("Acme & Söhne", "ada.lovelace+1"), ("100% /?#", "Ålice #1/2:x"), ("日本", "用户")],
)
def test_setup_uri_is_read_as_it_was_meant(issuer: str, username: str) -> None:
    """Whatever is in the names, an app reads issuer, name, secret and the four parameters from the URI."""
    uri = RFC_SECRET.setup_uri(issuer=issuer, username=username)
    assert uri.isascii()
    parts = urlsplit(uri)
    assert (parts.scheme, parts.netloc, parts.fragment) == ("otpauth", "totp", "")
    assert unquote(parts.path) == f"/{issuer}:{username}"
    assert parts.path.count(":") == 1
    assert parse_qs(parts.query, strict_parsing=True) == {
        "secret": [RFC_SECRET.base32],
        "issuer": [issuer],
        "algorithm": ["SHA1"],
        "digits": ["6"],
        "period": ["30"],
    }


def test_setup_uri_makes_the_same_codes_elsewhere() -> None:
    """An authenticator that reads the URI shows the codes that match."""
    app = pyotp.parse_uri(RFC_SECRET.setup_uri(issuer="authsvc", username="ada"))
    assert isinstance(app, pyotp.TOTP)
    assert (app.issuer, app.name) == ("authsvc", "ada")
    assert RFC_SECRET.matching_step(app.at(START), at=START) == int(START.timestamp()) // 30


def test_secret_is_not_in_its_repr() -> None:
    """A secret that gets into a log by its repr is not there."""
    assert RFC_SECRET.base32 not in repr(RFC_SECRET)
