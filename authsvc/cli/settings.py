"""Read the settings for a command, and say which ones it needs."""

from __future__ import annotations

import os
from typing import Literal

from authsvc.cli.failures import WrongSettings
from authsvc.config import Settings, SettingsError, load
from authsvc.crypto.sealing import MasterKeyError, parse_master_keys

Need = Literal["database", "keys", "mail"]


def read_settings(*needs: Need) -> Settings:
    """Return the settings, of which those that the command needs must be there.

    Raises:
        WrongSettings: settings are missing or wrong; all of them at once.
    """
    try:
        settings = load()
    except SettingsError as error:
        raise WrongSettings(str(error)) from error
    faults = [fault for need in needs if (fault := _fault(settings, need))]
    if faults:
        raise WrongSettings("\n".join(faults))
    return settings


def environment() -> dict[str, str]:
    """Return the environment: to be handed on to child processes, or for settings on top of it."""
    return dict(os.environ)  # noqa: TID251 - handed on whole; settings are read from it by authsvc.config alone


def _fault(settings: Settings, need: Need) -> str | None:
    match need:
        case "database":
            if not settings.database.url.get_secret_value():
                return "AUTHSVC_DATABASE_URL: is missing; set it to postgresql://USER:PASSWORD@HOST/DATABASE"
        case "keys":
            try:
                parse_master_keys(settings.keys.master.get_secret_value())
            except MasterKeyError as error:
                return f"AUTHSVC_KEYS_MASTER: {error}; make one by `authsvc keys generate`"
        case "mail":
            if not settings.mail.smtp_host:
                return "AUTHSVC_MAIL_SMTP_HOST: is missing; set it to the name of your SMTP server"
    return None
