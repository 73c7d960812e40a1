"""Settings: read once, typed, bounded, documented, frozen.

Every field is the setting `AUTHSVC_<SECTION>_<FIELD>`, and the key `<field>` under `[<section>]` of the TOML file that
`AUTHSVC_SETTINGS_FILE` names; the environment wins. Durations end in `_SECONDS` out there and are timedeltas in here.
Secrets can be given as `<NAME>_FILE`, the path of a file with the value. An unknown name fails.
`docs/configuration.md` is made from these fields.
"""

from authsvc.config.infrastructure import (
    DatabaseSettings,
    HooksSettings,
    KeysSettings,
    LogSettings,
    MailSettings,
    ServerSettings,
    SmsSettings,
)
from authsvc.config.load import PREFIX, SETTINGS_FILE, SettingsError, is_secret, load, setting_names
from authsvc.config.rules import (
    AccountsSettings,
    ChallengesSettings,
    CodesSettings,
    LimitsSettings,
    PasswordsSettings,
    TokensSettings,
)
from authsvc.config.settings import Settings
from authsvc.config.types import AttributeType, CustomAttribute, MfaMode, TrustedCallers, UsernameScripts, sends_sms

__all__ = [
    "PREFIX",
    "SETTINGS_FILE",
    "AccountsSettings",
    "AttributeType",
    "ChallengesSettings",
    "CodesSettings",
    "CustomAttribute",
    "DatabaseSettings",
    "HooksSettings",
    "KeysSettings",
    "LimitsSettings",
    "LogSettings",
    "MailSettings",
    "MfaMode",
    "PasswordsSettings",
    "ServerSettings",
    "Settings",
    "SettingsError",
    "SmsSettings",
    "TokensSettings",
    "TrustedCallers",
    "UsernameScripts",
    "is_secret",
    "load",
    "sends_sms",
    "setting_names",
]
