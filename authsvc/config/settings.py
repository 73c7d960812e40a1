"""All settings together, and the rules between them."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import model_validator

from authsvc.config import infrastructure, rules
from authsvc.config.types import MfaMode, Section, sends_sms


class Settings(Section):
    """Hold every setting of the service."""

    database: infrastructure.DatabaseSettings = infrastructure.DatabaseSettings()
    server: infrastructure.ServerSettings = infrastructure.ServerSettings()
    keys: infrastructure.KeysSettings = infrastructure.KeysSettings()
    accounts: rules.AccountsSettings = rules.AccountsSettings()
    attributes: rules.AttributesSettings = rules.AttributesSettings()
    passwords: rules.PasswordsSettings = rules.PasswordsSettings()
    codes: rules.CodesSettings = rules.CodesSettings()
    challenges: rules.ChallengesSettings = rules.ChallengesSettings()
    tokens: rules.TokensSettings = rules.TokensSettings()
    limits: rules.LimitsSettings = rules.LimitsSettings()
    mail: infrastructure.MailSettings = infrastructure.MailSettings()
    sms: infrastructure.SmsSettings = infrastructure.SmsSettings()
    hooks: infrastructure.HooksSettings = infrastructure.HooksSettings()
    admin: infrastructure.AdminSettings = infrastructure.AdminSettings()
    audit: infrastructure.AuditSettings = infrastructure.AuditSettings()
    log: infrastructure.LogSettings = infrastructure.LogSettings()

    def broken_rules(self) -> Iterator[str]:
        """Yield what contradicts itself within a section, or one section the other."""
        for section in type(self).model_fields:
            yield from getattr(self, section).broken_rules()
        if sends_sms(self.accounts.mfa_types) and self.accounts.mfa is not MfaMode.OFF and not self.sms.webhook_url:
            yield "accounts.mfa_types has SMS: sms.webhook_url must be given"
        if self.sms.webhook_url and self.mail.lease < self.sms.webhook_timeout * 2:
            yield "mail.lease must be at least twice sms.webhook_timeout, or SMS are sent twice"
        custom = [name for name in self.accounts.required_attributes if name.startswith("custom:")]
        declared = self.attributes.custom
        if not all(name in declared and declared[name].user_may_write for name in custom):
            yield (
                "accounts.required_attributes: custom ones must be in attributes.custom with user_may_write, or nobody "
                "could sign up"
            )

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if broken := list(self.broken_rules()):
            raise ValueError("\n".join(broken))
        return self
