"""Rules between settings: what contradicts itself is told at the start, in words."""

import pytest

from tests.unit.test_config import faults


@pytest.mark.parametrize(
    ("environ", "rule"),
    [
        (
            {"AUTHSVC_SERVER_TLS_KEY_FILE": "key.pem"},
            "server.tls_certificate_file and server.tls_key_file must be given together",
        ),
        (
            {"AUTHSVC_SERVER_TLS_CLIENT_CA_FILE": "ca.pem"},
            "server.tls_client_ca_file needs server.tls_certificate_file",
        ),
        (
            {"AUTHSVC_PASSWORDS_MAX_LENGTH": "64", "AUTHSVC_PASSWORDS_MIN_LENGTH": "65"},
            "passwords.max_length must not be below passwords.min_length and passwords.min_length_with_mfa",
        ),
        ({"AUTHSVC_MAIL_CODE_MESSAGE": "Your code"}, "mail.code_message must contain {####}"),
        (
            {"AUTHSVC_ACCOUNTS_SIGN_IN_BY_EMAIL": "true", "AUTHSVC_ACCOUNTS_CONFIRM_SIGN_UP": "false"},
            "accounts.sign_in_by_email needs accounts.confirm_sign_up: an address that was never verified signs nobody "
            "in",
        ),
        (
            {
                "AUTHSVC_ACCOUNTS_REQUIRED_ATTRIBUTES": "name,custom:team",
                "AUTHSVC_ATTRIBUTES_CUSTOM": '{"custom:team": {"user_may_write": false}}',
            },
            "accounts.required_attributes: custom ones must be in attributes.custom with user_may_write, or nobody "
            "could sign up",
        ),
        ({"AUTHSVC_MAIL_CODE_SUBJECT": " "}, "mail.code_subject must not be blank"),
        (
            {"AUTHSVC_MAIL_SEND_TIMEOUT_SECONDS": "61"},
            "mail.lease must be at least twice mail.send_timeout, or mails are sent twice",
        ),
        (
            {"AUTHSVC_HOOKS_CHALLENGE_TLS_KEY_FILE": "key.pem"},
            "hooks.challenge_tls_certificate_file and hooks.challenge_tls_key_file must be given together",
        ),
        (
            {
                "AUTHSVC_HOOKS_CHALLENGE_TLS_CERTIFICATE_FILE": "a.pem",
                "AUTHSVC_HOOKS_CHALLENGE_TLS_KEY_FILE": "key.pem",
            },
            "hooks.challenge_tls_certificate_file needs hooks.challenge_tls_ca_file",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_a_fault(environ: dict[str, str], rule: str) -> None:
    """Each rule between settings is told in words."""
    assert faults(environ) == [f"settings: {rule}"]


def test_contradictions_are_told_all_at_once() -> None:
    """Two broken rules are two lines."""
    environ = {"AUTHSVC_MAIL_CODE_MESSAGE": "Your code", "AUTHSVC_SERVER_TLS_KEY_FILE": "key.pem"}
    assert len(faults(environ)) == 2
