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
        if (self.server.tls_certificate_file is None) != (self.server.tls_key_file is None):
            raise ValueError("server.tls_certificate_file and server.tls_key_file must be given together")
        if self.server.tls_client_ca_file is not None and self.server.tls_certificate_file is None:
            raise ValueError("server.tls_client_ca_file needs server.tls_certificate_file")
        if "{####}" not in self.mail.code_message:
            raise ValueError("mail.code_message must contain {####}")
        if self.mail.lease < self.mail.send_timeout * 2:
            raise ValueError("mail.lease must be at least twice mail.send_timeout, or mails are sent twice")
        return self
