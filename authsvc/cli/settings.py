"""Read the settings for a command, and say which ones it needs."""

from __future__ import annotations

from authsvc.cli.failures import WrongSettings
from authsvc.config import Settings, SettingsError, load
from authsvc.crypto.sealing import MasterKeyError, parse_master_keys

_NEEDS = {
    "AUTHSVC_DATABASE_URL": "the URL of the database, postgresql://user:password@host/name",
    "AUTHSVC_KEYS_MASTER": "the master keys; make one by `authsvc keys generate`",
    "AUTHSVC_MAIL_SMTP_HOST": "the name of the SMTP server",
}


def read_settings(*, keys: bool = False, mail: bool = False) -> Settings:
    """Return the settings, the database's among them; with `keys` and `mail` those must be there as well.

    Raises:
        WrongSettings: settings are missing or wrong; all of them at once.
    """
    try:
        settings = load()
    except SettingsError as error:
        raise WrongSettings(str(error)) from error
    faults = []
    if not settings.database.url.get_secret_value():
        faults.append(_missing("AUTHSVC_DATABASE_URL"))
    master = settings.keys.master.get_secret_value()
    if keys and not master:
        faults.append(_missing("AUTHSVC_KEYS_MASTER"))
    elif keys:
        try:
            parse_master_keys(master)
        except MasterKeyError as error:
            faults.append(f"AUTHSVC_KEYS_MASTER: {error}; make a key by `authsvc keys generate`")
    if mail and not settings.mail.smtp_host:
        faults.append(_missing("AUTHSVC_MAIL_SMTP_HOST"))
    if faults:
        raise WrongSettings("\n".join(faults))
    return settings


def _missing(name: str) -> str:
    return f"{name}: is missing; set it to {_NEEDS[name]}"
