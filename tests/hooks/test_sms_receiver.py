"""The example receiver of SMS, as its README tells to run and to use it, and as strangers would."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.hooks.sms_receiver import PROGRAM, ROOT, SmsReceiver

KEY, OTHER_KEY = "the-key-of-the-example-in-tests-00", "another-key-of-the-example-in-tests"
NUMBER = "+4915112345678"
README = (ROOT / "examples/sms_receiver/README.md").read_text(encoding="utf-8")
MAKE_KEY, RUN, POST = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmsReceiver]:
    """Run the example with two keys, as while they are changed."""
    with SmsReceiver(f"{KEY},{OTHER_KEY}", tmp_path_factory.mktemp("receiver")) as running:
        yield running


def message(**changes: Any) -> bytes:
    """Return a message that nobody has sent before."""
    end = datetime.now(UTC) + timedelta(minutes=3)
    told = {"id": str(uuid.uuid4()), "to": NUMBER, "text": "481516", "expires_at": f"{end:%Y-%m-%dT%H:%M:%SZ}"}
    return json.dumps({**told, **changes}).encode()


def signature(body: bytes, timestamp: str, key: str = KEY) -> str:
    """Return the signature that docs/hooks.md describes."""
    return "v1=" + hmac.new(key.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


def post(receiver: SmsReceiver, body: bytes, timestamp: str, header: str) -> int:
    """Post to the receiver and return the status."""
    headers = {"authsvc-timestamp": timestamp, "authsvc-signature": header}
    request = urllib.request.Request(receiver.url, body, headers)  # noqa: S310 - the example's own URL
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - as above
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def now(shift: int = 0) -> str:
    """Return a timestamp, some seconds from now."""
    return str(int(time.time()) + shift)


def test_readme_tells_how_to_run_it() -> None:
    """The README runs the program that is tested here, and makes a key of 64 digits."""
    assert RUN.split() == ["python3", PROGRAM, "--port", "8090"]
    assert MAKE_KEY == "export AUTHSVC_SMS_WEBHOOK_SECRET=$(openssl rand -hex 32)\n"


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("openssl")), reason="needs curl and openssl")
def test_readme_posts_to_the_example_to_the_letter(tmp_path: Path) -> None:
    """What the README says to paste is taken and printed, and not printed a second time; another key is refused."""
    key = subprocess.run(
        ["bash", "-euc", f"{MAKE_KEY} echo $AUTHSVC_SMS_WEBHOOK_SECRET"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert re.fullmatch(r"[0-9a-f]{64}", key)

    def paste(url: str, secret: str) -> str:
        block = POST.replace("http://localhost:8090/", url)
        assert block != POST
        environment = {**os.environ, "AUTHSVC_SMS_WEBHOOK_SECRET": secret, "no_proxy": "*"}
        done = subprocess.run(["bash", "-euc", block], env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    with SmsReceiver(key, tmp_path) as running:
        assert paste(running.url, key) == "204\n"
        assert running.printed() == ["to +4915112345678: Your verification code is 481516"]
        assert paste(running.url, key) == "204\n"
        assert paste(running.url, KEY) == "401\n"
        assert len(running.printed()) == 1


@pytest.mark.parametrize("key", [KEY, OTHER_KEY])
def test_signed_message_is_sent_once(receiver: SmsReceiver, key: str) -> None:
    """A message under any of the keys is sent, and its copies, signed anew or played again, are not."""
    before, body, timestamp = len(receiver.printed()), message(), now()
    assert post(receiver, body, timestamp, signature(body, timestamp, key)) == 204
    assert post(receiver, body, timestamp, signature(body, timestamp, key)) == 204
    assert post(receiver, body, now(1), signature(body, now(1), key)) == 204
    assert receiver.printed()[before:] == [f"to {NUMBER}: 481516"]


def test_signature_among_others_is_found(receiver: SmsReceiver) -> None:
    """While authsvc signs under two keys, a receiver that knows one of them takes the message."""
    body, timestamp = message(), now()
    both = f"{signature(body, timestamp, 'unknown')},{signature(body, timestamp)}"
    assert post(receiver, body, timestamp, both) == 204


def test_what_was_tampered_with_is_refused(receiver: SmsReceiver) -> None:
    """Another body, another time, a signature under another key, or none at all: nothing is sent."""
    before, body, timestamp = len(receiver.printed()), message(), now()
    good = signature(body, timestamp)
    attempts = [
        (message(to="+4915199999999"), timestamp, good),
        (body + b" ", timestamp, good),
        (body, now(1), good),
        (body, timestamp, signature(body, timestamp, "unknown")),
        (body, timestamp, good.replace("v1=", "v0=")),
        (body, timestamp, good[:-1]),
        (body, timestamp, "v1="),
        (body, timestamp, ""),
        (body, "", signature(body, "")),
        (body, "soon", signature(body, "soon")),
        (body, "9" * 4000, signature(body, "9" * 4000)),
    ]
    assert {post(receiver, *attempt) for attempt in attempts} == {401}
    assert len(receiver.printed()) == before


@pytest.mark.parametrize(("shift", "status"), [(-330, 401), (-270, 204), (270, 204), (330, 401)])
def test_what_is_played_again_later_is_refused(receiver: SmsReceiver, shift: int, status: int) -> None:
    """A message counts for five minutes around its signature, however good that is."""
    body, timestamp = message(), now(shift)
    assert post(receiver, body, timestamp, signature(body, timestamp)) == status


def test_message_after_its_expiry_is_not_sent(receiver: SmsReceiver) -> None:
    """A code that expired on the way is of no use to anybody."""
    before, body, timestamp = len(receiver.printed()), message(expires_at="2020-01-01T00:00:00Z"), now()
    assert post(receiver, body, timestamp, signature(body, timestamp)) == 204
    assert len(receiver.printed()) == before


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"\xff", b'{"id": "1", "to": "+1", "text": "", "expires_at": 5}'])
def test_signed_nonsense_is_refused(receiver: SmsReceiver, body: bytes) -> None:
    """What is signed but no message is refused for good."""
    timestamp = now()
    assert post(receiver, body, timestamp, signature(body, timestamp)) == 400
