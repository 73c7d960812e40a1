"""The settings of SMS, and what they must not be."""

from __future__ import annotations

import pytest

from authsvc.config import SettingsError, load

KEY = "k" * 32
GOOD = {"AUTHSVC_SMS_WEBHOOK_URL": "https://sms.example.com/send", "AUTHSVC_SMS_WEBHOOK_SECRET": KEY}


def faults(environ: dict[str, str]) -> list[str]:
    """Return the lines of what is wrong."""
    with pytest.raises(SettingsError) as caught:
        load(environ)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("secret", "keys"),
    [("", ()), (KEY, (KEY,)), (f"{KEY},{'n' * 40}", (KEY, "n" * 40)), (f"\n{KEY} ,\n\t{'n' * 40}\n", (KEY, "n" * 40))],
)
def test_keys_are_told_apart(secret: str, keys: tuple[str, ...]) -> None:
    """Keys are parted by commas and white space, so that a file may have one a line."""
    assert load({"AUTHSVC_SMS_WEBHOOK_SECRET": secret}).sms.keys() == keys


@pytest.mark.parametrize("secret", ["", "k" * 31, f"{KEY},short", f"{KEY} short", ","])
def test_webhook_needs_keys_that_nobody_guesses(secret: str) -> None:
    """Each key has at least 32 characters, and there is one."""
    assert faults({**GOOD, "AUTHSVC_SMS_WEBHOOK_SECRET": secret}) == [
        "settings: sms.webhook_secret must have at least 32 characters in each key"
    ]


@pytest.mark.parametrize(
    "url",
    ["", "https://sms.example.com/send?x=1", "http://localhost:8080/", "https://[2001:db8::1]:8443/sms", "http://sms"],
)
def test_webhook_is_at_a_url(url: str) -> None:
    """The webhook is a URL of http or https, or there is none."""
    assert load({**GOOD, "AUTHSVC_SMS_WEBHOOK_URL": url}).sms.webhook_url == url


@pytest.mark.parametrize(
    "url",
    [
        "sms.example.com",
        "ftp://sms.example.com",
        "https://",
        "https:///send",
        "https://sms.example.com:0/",
        "https://sms.example.com:99999/",
        "https://[2001:db8::1/",
        "https://ada:secret@sms.example.com/",
        "https://sms.example.com/#here",
        "https://sms.example.com/a b",
        "https://sms.example.com/\n",
        "https://bücher.example/",
    ],
)
def test_webhook_is_at_nothing_else(url: str) -> None:
    """What is no URL, or carries credentials, is told at the start and not repeated."""
    (fault,) = faults({**GOOD, "AUTHSVC_SMS_WEBHOOK_URL": url})
    assert fault.startswith("AUTHSVC_SMS_WEBHOOK_URL: ")
    assert "secret" not in fault


@pytest.mark.parametrize(
    ("environ", "rule"),
    [
        ({"AUTHSVC_SMS_CODE_MESSAGE": "Your code"}, "sms.code_message must contain {####}"),
        (
            {"AUTHSVC_ACCOUNTS_MFA_TYPES": "TOTP,SMS"},
            "accounts.mfa_types has SMS: sms.webhook_url must be given",
        ),
        (
            {
                "AUTHSVC_MAIL_LEASE_SECONDS": "60",
                "AUTHSVC_SMS_WEBHOOK_TIMEOUT_SECONDS": "31",
                "AUTHSVC_SMS_WEBHOOK_URL": "http://sms",
                "AUTHSVC_SMS_WEBHOOK_SECRET": KEY,
            },
            "mail.lease must be at least twice sms.webhook_timeout, or SMS are sent twice",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_a_fault(environ: dict[str, str], rule: str) -> None:
    """Each rule between settings is told in words."""
    assert faults(environ) == [f"settings: {rule}"]


def test_sms_may_be_a_factor_with_a_webhook() -> None:
    """With a webhook, SMS may be among the second factors."""
    assert "SMS" in load({**GOOD, "AUTHSVC_ACCOUNTS_MFA_TYPES": "TOTP,SMS"}).accounts.mfa_types
