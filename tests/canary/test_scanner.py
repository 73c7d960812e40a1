"""The canary can sing: what is planted is found, and what is not is not."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from tests.canary.scanner import Secrets

TOKEN = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJlIG9mIGEgdG9rZW4"
CODE = "271828"


@pytest.fixture
def secrets() -> Secrets:
    """Collect a long secret and a short one."""
    collected = Secrets()
    collected.add("token", TOKEN)
    collected.add("code", CODE)
    return collected


@pytest.mark.parametrize(
    "leak",
    [
        TOKEN,
        f"Bearer {TOKEN}",
        TOKEN[:16],
        TOKEN[23:39],
        TOKEN[-16:],
        TOKEN.upper(),
        TOKEN.encode().hex(),
        base64.b64encode(TOKEN.encode()).decode(),
        json.dumps({"event": "rpc", "text": f"refused: {TOKEN}"}),
    ],
)
def test_token_in_text(secrets: Secrets, leak: str) -> None:
    """A token is found as a whole, in any part of sixteen characters, and encoded."""
    assert secrets.kinds_in_text(f"one line\n{leak}\nanother") == {"token"}


@pytest.mark.parametrize(
    "leak", [CODE, f"code {CODE}", f'{{"code": "{CODE}"}}', f"'{CODE}'", f"2030-01-15T12:00:07.271828Z {CODE}"]
)
def test_code_in_text(secrets: Secrets, leak: str) -> None:
    """A code of six digits is found wherever it stands by itself."""
    assert secrets.kinds_in_text(f"one line\n{leak}\nanother") == {"code"}


@pytest.mark.parametrize(
    "noise",
    [
        "2030-01-15T12:00:07.271828Z",
        "a271828f-271a-4271-8282-0123a2718280",
        "1271828",
        "0.271828",
        "ab271828cd",
        TOKEN[:15],
        "",
    ],
)
def test_noise(secrets: Secrets, noise: str) -> None:
    """A time, an id, a longer number, or too small a part of a token are no leak."""
    assert secrets.kinds_in_text(f"one line\n{noise}\nanother") == set()


PLANTED: dict[str, tuple[str, object]] = {
    "token in a text": ("token", TOKEN),
    "part of a token in a text": ("token", f"…{TOKEN[5:30]}…"),
    "token in bytes": ("token", TOKEN.encode()),
    "part of a token in an array": ("token", [b"other", b"\x00\xff" + TOKEN.encode()[10:40]]),
    "code in a text": ("code", CODE),
    "code in bytes": ("code", CODE.encode()),
    "code as a number": ("code", int(CODE)),
    "code in an array": ("code", ["other", [CODE]]),
}


@pytest.mark.parametrize(("kind", "value"), PLANTED.values(), ids=PLANTED.keys())
def test_values(secrets: Secrets, kind: str, value: object) -> None:
    """A secret is found in a database's texts, bytes, numbers and arrays; and not where its kind is allowed."""
    harmless = [None, True, 5, 2.5, "text", b"\x01", datetime(2030, 1, 15, 12, 0, 7, 271828, UTC), UUID(int=271828)]
    assert secrets.kinds_in_values([*harmless, value]) == {kind}
    assert secrets.kinds_in_values([*harmless, value], allowed=frozenset({kind})) == set()
    assert secrets.kinds_in_values(harmless) == set()
