"""All settings together, and the rules between them."""

from __future__ import annotations

import re

from pydantic import model_validator

from authsvc.config.infrastructure import (
    AdminSettings,
    AuditSettings,
    DatabaseSettings,
    HooksSettings,
    KeysSettings,
    LogSettings,
    MailSettings,
    ServerSettings,
    SmsSettings,
)
from authsvc.config.rules import (
    AccountsSettings,
    AttributesSettings,
    ChallengesSettings,
    CodesSettings,
    LimitsSettings,
    PasswordsSettings,
    TokensSettings,
)
from authsvc.config.types import MfaMode, MfaType, Section

WEBHOOK_SECRET_CHARACTERS = 32
_CUSTOM_NAME = re.compile(r"custom:[A-Za-z0-9_.-]{1,64}")


class Settings(Section):
    """Hold every setting of the service."""

    database: DatabaseSettings = DatabaseSettings()
    server: ServerSettings = ServerSettings()
    keys: KeysSettings = KeysSettings()
    accounts: AccountsSettings = AccountsSettings()
    attributes: AttributesSettings = AttributesSettings()
    passwords: PasswordsSettings = PasswordsSettings()
    codes: CodesSettings = CodesSettings()
    challenges: ChallengesSettings = ChallengesSettings()
    tokens: TokensSettings = TokensSettings()
    limits: LimitsSettings = LimitsSettings()
    mail: MailSettings = MailSettings()
    sms: SmsSettings = SmsSettings()
    hooks: HooksSettings = HooksSettings()
    admin: AdminSettings = AdminSettings()
    audit: AuditSettings = AuditSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        server, mail, passwords, sms, hooks = self.server, self.mail, self.passwords, self.sms, self.hooks
        has_sms_factor = MfaType.SMS in self.accounts.mfa_types and self.accounts.mfa is not MfaMode.OFF
        rules = (
            (
                (server.tls_certificate_file is None) != (server.tls_key_file is None),
                "server.tls_certificate_file and server.tls_key_file must be given together",
            ),
            (
                server.tls_client_ca_file is not None and server.tls_certificate_file is None,
                "server.tls_client_ca_file needs server.tls_certificate_file",
            ),
            (
                passwords.max_length < max(passwords.min_length, passwords.min_length_with_mfa),
                "passwords.max_length must not be below passwords.min_length and passwords.min_length_with_mfa",
            ),
            ("{####}" not in mail.code_message, "mail.code_message must contain {####}"),
            (not mail.code_subject.strip(), "mail.code_subject must not be blank"),
            (
                mail.lease < mail.send_timeout * 2,
                "mail.lease must be at least twice mail.send_timeout, or mails are sent twice",
            ),
            (
                self.accounts.mfa is MfaMode.REQUIRED and set(self.accounts.mfa_types) == {MfaType.EMAIL},
                "accounts.mfa_types has EMAIL alone: where MFA is REQUIRED there must be another, since passwords are "
                "recovered by e-mail too",
            ),
            (has_sms_factor and not sms.webhook_url, "accounts.mfa_types has SMS: sms.webhook_url must be given"),
            (
                bool(sms.webhook_url) and min(map(len, sms.keys()), default=0) < WEBHOOK_SECRET_CHARACTERS,
                f"sms.webhook_secret must have at least {WEBHOOK_SECRET_CHARACTERS} characters in each key",
            ),
            (
                bool(sms.webhook_url) and mail.lease < sms.webhook_timeout * 2,
                "mail.lease must be at least twice sms.webhook_timeout, or SMS are sent twice",
            ),
            ("{####}" not in sms.code_message, "sms.code_message must contain {####}"),
            (
                (hooks.challenge_tls_certificate_file is None) != (hooks.challenge_tls_key_file is None),
                "hooks.challenge_tls_certificate_file and hooks.challenge_tls_key_file must be given together",
            ),
            (
                hooks.challenge_tls_certificate_file is not None and hooks.challenge_tls_ca_file is None,
                "hooks.challenge_tls_certificate_file needs hooks.challenge_tls_ca_file",
            ),
            (
                not all(_CUSTOM_NAME.fullmatch(name) for name in self.attributes.custom),
                "attributes.custom: names are `custom:` and 1 to 64 letters, digits, `_`, `.` or `-`",
            ),
            (
                self.accounts.sign_in_by_email and not self.accounts.confirm_sign_up,
                "accounts.sign_in_by_email needs accounts.confirm_sign_up: an address that was never verified signs "
                "nobody in",
            ),
            (
                not all(
                    name in self.attributes.custom and self.attributes.custom[name].user_may_write
                    for name in self.accounts.required_attributes
                    if name.startswith("custom:")
                ),
                "accounts.required_attributes: custom ones must be in attributes.custom with user_may_write, or nobody "
                "could sign up",
            ),
        )
        if broken := [rule for is_broken, rule in rules if is_broken]:
            raise ValueError("\n".join(broken))
        return self
