"""Read the settings for a command, and say which ones it needs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

from authsvc.cli.failures import WrongSettings
from authsvc.cli.setting_files import faults_of_files, faults_of_templates
from authsvc.config import Settings, SettingsError, load
from authsvc.crypto.sealing import MasterKeyError, parse_master_keys

Need = Literal["database", "keys", "mail", "files", "templates"]


def read_settings(*needs: Need, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings, of which those that the command needs must be there; with `files`, all files as well.

    They are those of the process's environment unless another one is given.

    Raises:
        WrongSettings: settings are missing or wrong; all of them at once.
    """
    try:
        settings = load(environ)
    except SettingsError as error:
        raise WrongSettings(str(error)) from error
    if faults := [fault for need in needs for fault in _faults(settings, need)]:
        raise WrongSettings("\n".join(faults))
    return settings


def environment() -> dict[str, str]:
    """Return the environment: to be handed on to child processes, or for settings on top of it."""
    return dict(os.environ)  # noqa: TID251 - handed on whole; settings are read from it by authsvc.config alone


def _faults(settings: Settings, need: Need) -> list[str]:
    match need:
        case "database":
            url = settings.database.url.get_secret_value()
            if not url.startswith(("postgresql://", "postgres://")):
                wrong = "is not the URL of a database" if url else "is missing"
                return [f"AUTHSVC_DATABASE_URL: {wrong}; set it to postgresql://USER:PASSWORD@HOST/DATABASE"]
        case "keys":
            try:
                parse_master_keys(settings.keys.master.get_secret_value())
            except MasterKeyError as error:
                return [f"AUTHSVC_KEYS_MASTER: {error}; make one by `authsvc keys generate`"]
        case "mail":
            if not settings.mail.smtp_host:
                return ["AUTHSVC_MAIL_SMTP_HOST: is missing; set it to the name of your SMTP server"]
        case "files":
            return faults_of_files(settings)
        case "templates":
            return faults_of_templates(settings)
    return []
