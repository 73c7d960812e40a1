"""What is posted to the webhook: in which words, and signed."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from authsvc.core.messages.kinds import KINDS, EmailTaken, Notice
from authsvc.delivery.sms.carrier import MENDABLE
from authsvc.domain import Medium
from tests.clock import FakeClock
from tests.mail.post_office import CODE, PostOffice
from tests.mail.sms_office import KIND, NUMBER, carried, owe
from tests.mail.webhook import KEY, Webhook


async def test_sms_is_posted_once_signed_and_wiped(sms: PostOffice, webhook: Webhook, clock: FakeClock) -> None:
    """The webhook gets number, text, code and times as signed JSON; nothing of them stays in the outbox."""
    await owe(sms, expires_in=timedelta(minutes=3))
    assert await sms.worker().run_once() == 1
    (posted,) = webhook.posted
    row = await sms.row()
    assert (posted.method, posted.path) == ("POST", "/sms")
    assert posted.headers["content-type"] == "application/json"
    assert posted.headers["authsvc-timestamp"] == str(int(clock.now().timestamp()))
    assert posted.is_signed()
    assert posted.message == {
        "id": str(row.mail_id),
        "kind": "SIGN_IN_CODE",
        "to": NUMBER,
        "text": f"Your verification code is {CODE}",
        "code": CODE,
        "locale": "",
        "created_at": "2030-01-15T12:00:07Z",
        "expires_at": "2030-01-15T12:03:07Z",
    }
    assert (row.state, row.is_wiped, row.is_leased, row.last_error) == ("SENT", True, False, None)
    assert await sms.worker().run_once() == 0
    assert sms.outcomes == [("SMS", KIND, "sent")]
    assert len(webhook.posted) == 1


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
async def test_signature_is_what_openssl_makes(sms: PostOffice, webhook: Webhook, tmp_path: Path) -> None:
    """The signature is the HMAC-SHA-256 of timestamp, full stop and body, by another program's reckoning."""
    await owe(sms)
    await sms.worker().run_once()
    (posted,) = webhook.posted
    (tmp_path / "signed").write_bytes(posted.headers["authsvc-timestamp"].encode() + b"." + posted.body)
    printed = await asyncio.to_thread(
        subprocess.run,
        ["openssl", "dgst", "-sha256", "-hmac", KEY, "-r", str(tmp_path / "signed")],
        check=True,
        capture_output=True,
        text=True,
    )
    assert posted.headers["authsvc-signature"] == f"v1={printed.stdout.split()[0]}"


async def test_document_has_every_field_and_every_answer(sms: PostOffice, webhook: Webhook) -> None:
    """docs/hooks.md names the fields that are posted, and the answers that are not final."""
    document = (Path(__file__).parents[2] / "docs/hooks.md").read_text(encoding="utf-8").split("## SMS")[1]
    await owe(sms)
    await sms.worker().run_once()
    (posted,) = webhook.posted
    fields = document.split("### What comes")[1].split("### Whose it is")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", fields, re.MULTILINE)) == posted.message.keys()
    answers = document.split("### What to answer")[1].split("### Changing")[0]
    assert {int(status) for status in re.findall(r"\b4[0-9]{2}\b", answers)} == MENDABLE


async def test_every_key_signs(office: PostOffice, webhook: Webhook) -> None:
    """While keys are changed, a receiver that knows the old one and a receiver that knows the new one both agree."""
    keys = ["the-new-key-" + "n" * 32, KEY]
    async with carried(office, webhook, webhook_secret=SecretStr(f"{keys[0]},\n{keys[1]}\n")):
        await owe(office)
        await office.worker().run_once()
    (posted,) = webhook.posted
    assert posted.is_signed(keys[0])
    assert posted.is_signed(keys[1])
    assert not posted.is_signed("another-key-" + "x" * 32)


@pytest.mark.parametrize(
    ("locale", "text"),
    [
        ("de-AT", f"Ihr Bestätigungscode lautet {CODE}"),
        ("fr_CA", f"Votre code de vérification est {CODE}"),
        ("EN", f"Your verification code is {CODE}"),
        ("tlh", f"Your verification code is {CODE}"),
        ("../de", f"Your verification code is {CODE}"),
    ],
)
async def test_text_is_in_the_language_of_the_account(
    sms: PostOffice, webhook: Webhook, locale: str, text: str
) -> None:
    """The default text is translated; a language without one gets the English one."""
    await owe(sms, locale=locale)
    await sms.worker().run_once()
    (posted,) = webhook.posted
    assert (posted.message["text"], posted.message["locale"]) == (text, locale)
    # What is in GSM 03.38 fits 160 letters into one SMS: é and ä are.
    assert set(text) <= set("éä") | {chr(number) for number in range(32, 127)}


async def test_default_language_is_that_of_mails(office: PostOffice, webhook: Webhook) -> None:
    """Accounts without a language, or with one that has no text, get the one that mails to them have."""
    office.change(default_locale="fr-CA")
    async with carried(office, webhook):
        for locale in ("", "tlh", "de"):
            await owe(office, locale=locale)
        await office.worker().run_once()
    texts = sorted(posted.message["text"] for posted in webhook.posted)
    assert texts == [f"Ihr Bestätigungscode lautet {CODE}", *[f"Votre code de vérification est {CODE}"] * 2]


async def test_own_text_is_for_every_language(office: PostOffice, webhook: Webhook) -> None:
    """A text of the operator's is not translated."""
    async with carried(office, webhook, code_message=" {####} is your code for Hotel Ada ({####}) "):
        await owe(office, locale="de")
        await office.worker().run_once()
    (posted,) = webhook.posted
    assert posted.message["text"] == f"{CODE} is your code for Hotel Ada ({CODE})"


async def test_what_is_mail_alone_is_no_sms(sms: PostOffice, webhook: Webhook) -> None:
    """What is neither a code nor a notice has no text for an SMS, so nothing is sent."""
    await sms.owe(NUMBER, message=EmailTaken(), medium=Medium.SMS)
    await sms.worker().run_once()
    assert (await sms.row()).last_error == "cannot be rendered: ValueError"
    assert webhook.posted == []


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if issubclass(kind, Notice)])
@pytest.mark.parametrize("locale", ["de", "en", "fr", "it"])
async def test_notice_is_one_sentence_or_two(
    sms: PostOffice, webhook: Webhook, kind: type[Notice], locale: str
) -> None:
    """A notice has words in each language, without a code, that fit into one SMS."""
    await sms.owe(NUMBER, message=kind(), medium=Medium.SMS, locale=locale)
    await sms.worker().run_once()
    (posted,) = webhook.posted
    assert posted.message["kind"] == kind.kind
    assert posted.message["code"] == ""
    assert 20 < len(posted.message["text"]) <= 160
    # Of GSM 03.38, or it would be two.
    assert not set(posted.message["text"]) - set("@èéùìòÅåÆæßÉÄÖÑÜäöñüàÇ") - set(map(chr, range(32, 127)))
