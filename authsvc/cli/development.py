"""Everything in one process and one folder: embedded Postgres, mail catcher, server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from authsvc.cli import key_file
from authsvc.cli.client import address_of, health_of
from authsvc.cli.database import opened
from authsvc.cli.failures import Failed, expected
from authsvc.cli.ports import require_free
from authsvc.cli.process import serving
from authsvc.cli.settings import read_settings
from authsvc.clock import SystemClock
from authsvc.config import Settings
from authsvc.crypto.sealing import DEV_KEY_PREFIX, MasterKey, MasterKeyError, parse_master_keys
from authsvc.crypto.tokens import new_handle
from authsvc.dev.catcher import MailCatcher
from authsvc.dev.postgres import EmbeddedPostgres, EmbeddedPostgresError
from authsvc.store.migrate import MigrationError, migrate, read_migrations
from authsvc.telemetry.logs import set_up_logs

HOST = "127.0.0.1"
# What the environment may say otherwise.
DEFAULTS = {
    "AUTHSVC_SERVER_HOST": HOST,
    "AUTHSVC_SERVER_REFLECTION": "true",
    "AUTHSVC_SERVER_TRUSTED_CALLERS": "127.0.0.0/8, ::1",
    "AUTHSVC_LOG_FORMAT": "console",
}
# What it may not: there are a database, keys, a mail server and an SMS webhook here, and one process.
OWN = frozenset(
    {
        "AUTHSVC_DATABASE_URL",
        "AUTHSVC_KEYS_MASTER",
        "AUTHSVC_MAIL_SMTP_CA_FILE",
        "AUTHSVC_MAIL_SMTP_HOST",
        "AUTHSVC_MAIL_SMTP_PASSWORD",
        "AUTHSVC_MAIL_SMTP_PORT",
        "AUTHSVC_MAIL_SMTP_TLS",
        "AUTHSVC_MAIL_SMTP_USERNAME",
        "AUTHSVC_SERVER_PORT",
        "AUTHSVC_SERVER_WORKERS",
        "AUTHSVC_SMS_WEBHOOK_CA_FILE",
        "AUTHSVC_SMS_WEBHOOK_SECRET",
        "AUTHSVC_SMS_WEBHOOK_URL",
    }
)
HEALTH_INTERVAL = timedelta(milliseconds=50)
HEALTH_TRIES = 200


@dataclass(frozen=True)
class Development:
    """Hold where the server and the mails are."""

    address: str
    mail_url: str
    has_tls: bool


@asynccontextmanager
async def running(
    folder: Path,
    *,
    environment: Mapping[str, str],
    echo: Callable[[str], None] = lambda line: None,
    port: int = 0,
    smtp_port: int = 0,
    http_port: int = 0,
) -> AsyncIterator[Development]:
    """Start everything on the state in `folder`, which is made when missing, and stop everything at the end.

    `echo` gets a line for each mail and SMS. A port of 0 is a free one.

    Raises:
        Failed: something can't start; says what to do.
        WrongSettings: there are wrong settings in `environment`.
    """
    port = require_free(environment.get("AUTHSVC_SERVER_HOST", HOST), port, chosen_by="--port")
    require_free(HOST, smtp_port, chosen_by="--smtp-port")
    require_free(HOST, http_port, chosen_by="--http-port")
    keys = _own_keys(folder)
    postgres = EmbeddedPostgres(folder=folder / "postgres")
    try:
        with expected(EmbeddedPostgresError):
            await asyncio.to_thread(postgres.start)
        sms_key = new_handle()
        async with MailCatcher(
            folder=folder / "mail", host=HOST, port=smtp_port, echo=echo, http_port=http_port, sms_keys=[sms_key]
        ) as catcher:
            own = {
                "AUTHSVC_DATABASE_URL": postgres.dsn(),
                "AUTHSVC_KEYS_MASTER": keys,
                "AUTHSVC_MAIL_SMTP_HOST": HOST,
                "AUTHSVC_MAIL_SMTP_PORT": str(catcher.port),
                "AUTHSVC_MAIL_SMTP_TLS": "none",
                "AUTHSVC_MAIL_SMTP_USERNAME": "",
                "AUTHSVC_SERVER_PORT": str(port),
                "AUTHSVC_SERVER_WORKERS": "1",
                "AUTHSVC_SMS_WEBHOOK_SECRET": sms_key,
                "AUTHSVC_SMS_WEBHOOK_URL": catcher.sms_url,
            }
            ignored = overridden(environment)
            theirs = {name: value for name, value in environment.items() if name not in ignored}
            settings = read_settings("files", environ={**DEFAULTS, **theirs, **own})
            set_up_logs(settings.log)
            await _migrate(settings)
            async with serving(settings):
                address = address_of(settings.server)
                await _wait_until_serving(address, settings)
                mail_url = f"http://{HOST}:{catcher.http_port}"
                yield Development(address, mail_url, has_tls=settings.server.tls_certificate_file is not None)
    finally:
        await asyncio.to_thread(postgres.stop)


def overridden(environment: Mapping[str, str]) -> list[str]:
    """Return the names of settings in the environment that don't count here."""
    return sorted(name for name in environment if not OWN.isdisjoint({name, name.removesuffix("_FILE")}))


def _own_keys(folder: Path) -> str:
    """Return the text of the folder's master keys; make the first one together with the folder."""
    path = folder / "master.key"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            if (folder / "postgres" / "data").exists():
                raise Failed(f"{path} is gone, and nothing in {folder} can be read without it: remove the folder")
            key_file.create(path, MasterKey.generate(DEV_KEY_PREFIX))
        keys = path.read_text(encoding="utf-8")
    except OSError as error:
        raise Failed(f"{error.filename}: {error.strerror}") from error
    try:
        parse_master_keys(keys)
    except MasterKeyError as error:
        raise Failed(f"{path}: {error}") from error
    return keys


async def _migrate(settings: Settings) -> None:
    async with opened(settings, hurried=False) as database:
        with expected(MigrationError):
            await migrate(database, read_migrations(), SystemClock())


async def _wait_until_serving(address: str, settings: Settings) -> None:
    for _ in range(HEALTH_TRIES):
        if await asyncio.to_thread(health_of, address, settings.server, timeout_seconds=5) == "SERVING":
            return
        await SystemClock().sleep(HEALTH_INTERVAL)
    raise Failed("the server does not get ready; its log says why")
