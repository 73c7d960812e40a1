"""Look into the files that settings name, so that a wrong one is told by the setting's name before anything starts."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path

from authsvc.config import Settings, setting_names

TEMPLATES_FOLDER = "AUTHSVC_MAIL_TEMPLATES_FOLDER"

_NO_CERTIFICATE = "holds no certificate in PEM form"
_NO_PAIR = "does not go with {}, or one of them is not in PEM form without a password"
_PAIRS = (
    ("AUTHSVC_SERVER_TLS_CERTIFICATE_FILE", "AUTHSVC_SERVER_TLS_KEY_FILE"),
    ("AUTHSVC_HOOKS_CHALLENGE_TLS_CERTIFICATE_FILE", "AUTHSVC_HOOKS_CHALLENGE_TLS_KEY_FILE"),
)
_AUTHORITIES = (
    "AUTHSVC_MAIL_SMTP_CA_FILE",
    "AUTHSVC_SERVER_TLS_CLIENT_CA_FILE",
    "AUTHSVC_HOOKS_CHALLENGE_TLS_CA_FILE",
    "AUTHSVC_SMS_WEBHOOK_CA_FILE",
)


def faults_of_files(settings: Settings) -> list[str]:
    """Return a line for each setting whose file can't be read, or does not hold what it should."""
    paths = {
        name: path
        for name, (section, field) in setting_names().items()
        if isinstance(path := getattr(getattr(settings, section), field), Path) and name != TEMPLATES_FOLDER
    }
    faults: dict[str, str] = {}

    def note(name: str, fault_of: Callable[[Path], str]) -> None:
        if name in paths and name not in faults and (fault := fault_of(paths[name])):
            faults[name] = fault

    for name in paths:
        note(name, lambda path: _fault_of(path, Path.read_bytes))
    note(
        "AUTHSVC_PASSWORDS_BLOCKLIST_FILE",
        lambda path: _fault_of(path, partial(Path.read_text, encoding="utf-8"), "is not UTF-8 text"),
    )
    for name in _AUTHORITIES:
        note(name, fault_of_authorities)
    for certificate, key in _PAIRS:
        if key in paths and key not in faults:
            note(certificate, partial(fault_of_pair, key=paths[key], key_name=key))
    return [f"{name}: {paths[name]}: {fault}" for name, fault in faults.items()] + faults_of_templates(settings)


def fault_of_authorities(path: Path) -> str:
    """Return what is wrong with a file of certificates to check others with; empty if nothing is."""
    return _fault_of(path, lambda path: ssl.create_default_context(cafile=path), _NO_CERTIFICATE)


def fault_of_pair(certificate: Path, key: Path, key_name: str) -> str:
    """Return what is wrong with a certificate for a key; empty if nothing is."""
    return _fault_of(certificate, partial(_load_pair, key=key), _NO_PAIR.format(key_name))


def faults_of_templates(settings: Settings) -> list[str]:
    """Return a line for each fault of the operator's mail templates."""
    if settings.mail.templates_folder is None:
        return []
    from authsvc.delivery.mail.proofs import proofread  # noqa: PLC0415  # with the templates comes Jinja, of no use to others
    from authsvc.delivery.mail.wording import TemplatesError  # noqa: PLC0415  # the same

    try:
        proofread(settings.mail)
    except TemplatesError as error:
        return [f"{TEMPLATES_FOLDER}: {line}" for line in str(error).splitlines()]
    return []


def _fault_of(path: Path, look: Callable[[Path], object], wrong: str = "") -> str:
    try:
        look(path)
    # Errors of SSL are OSErrors and ValueErrors as well.
    except (ssl.SSLError, UnicodeDecodeError):
        return wrong
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return ""


def _load_pair(certificate: Path, key: Path) -> None:
    # A password would otherwise be asked for on the terminal.
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: "")
