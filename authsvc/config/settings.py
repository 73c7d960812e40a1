"""All settings together, and the rules between them."""

from __future__ import annotations

from pydantic import model_validator

from authsvc.config.infrastructure import DatabaseSettings, KeysSettings, LogSettings, MailSettings, ServerSettings
from authsvc.config.rules import (
    AccountsSettings,
    ChallengesSettings,
    CodesSettings,
    LimitsSettings,
    PasswordsSettings,
    TokensSettings,
)
from authsvc.config.types import Section


class Settings(Section):
    """Hold every setting of the service."""

    database: DatabaseSettings = DatabaseSettings()
    server: ServerSettings = ServerSettings()
    keys: KeysSettings = KeysSettings()
    accounts: AccountsSettings = AccountsSettings()
    passwords: PasswordsSettings = PasswordsSettings()
    codes: CodesSettings = CodesSettings()
    challenges: ChallengesSettings = ChallengesSettings()
    tokens: TokensSettings = TokensSettings()
    limits: LimitsSettings = LimitsSettings()
    mail: MailSettings = MailSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        server, mail, passwords = self.server, self.mail, self.passwords
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
            (
                mail.lease < mail.send_timeout * 2,
                "mail.lease must be at least twice mail.send_timeout, or mails are sent twice",
            ),
        )
        if broken := [rule for is_broken, rule in rules if is_broken]:
            raise ValueError("\n".join(broken))
        return self
