"""Structured logs on standard error: an event name and fields."""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
from typing import TextIO, cast

import structlog
from structlog.types import EventDict

from authsvc.config import LogSettings

# Names of fields whose values must not be written, wherever a line comes from. The code's own lines have none of them;
# this is the second fence.
SECRET_FIELDS = frozenset(
    {
        "access_token",
        "admin_key",
        "authorization",
        "code",
        "confirmation_code",
        "custom_answer",
        "email",
        "email_code",
        "hash",
        "id_token",
        "master",
        "new_password",
        "password",
        "previous_password",
        "proposed_password",
        "recovery_code",
        "refresh_token",
        "secret",
        "session",
        "setup_uri",
        "shared_secret",
        "sms_code",
        "temporary_password",
        "token",
        "totp_code",
    }
)
REDACTED = "[redacted]"


def set_up_logs(settings: LogSettings) -> None:
    """Send the logs of this process, libraries included, to standard error in the form that the settings ask for."""
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    renderers: list[structlog.types.Processor] = [structlog.processors.JSONRenderer()]
    if settings.format == "console":
        console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
        renderers = [_exception_as_text, console]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            redact,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _exception_without_message,
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, _Stderr())),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Forward()], level=max(level, logging.WARNING), force=True)


def redact(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Replace the values of fields with secret names."""
    for name in event.keys() & SECRET_FIELDS:
        event[name] = REDACTED
    return event


def _exception_without_message(_logger: object, _method: str, event: EventDict) -> EventDict:
    # Messages of exceptions can repeat values (of a row, of a field); types and places can't.
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        event["exception"] = describe(error)
    return event


def _exception_as_text(_logger: object, _method: str, event: EventDict) -> EventDict:
    # The console renderer writes this field below the line, and takes nothing but text.
    if "exception" in event:
        event["exception"] = "\n".join(event["exception"])
    return event


def describe(error: BaseException) -> list[str]:
    """Return the types and source places of an exception and its causes, without their messages."""
    lines: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        lines.append(f"{type(cause).__module__}.{type(cause).__qualname__}")
        for frame, line in traceback.walk_tb(cause.__traceback__):
            file = frame.f_code.co_filename.rpartition("site-packages/")[2]
            lines.append(f"{file}:{line} {frame.f_code.co_name}")
        if isinstance(cause, BaseExceptionGroup):
            for each in cause.exceptions:
                lines += describe(each)
        cause = cause.__cause__ or cause.__context__
    return lines


class _Stderr:
    """Write to standard error as long as somebody reads it: a log that can't be written must not fail a call."""

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()


class _Forward(logging.Handler):
    """Hand the records of libraries on: their own words at most, never their arguments."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        # The first line alone: below it asyncio writes the reprs of exceptions that nobody fetched.
        text = str(record.msg).partition("\n")[0]
        structlog.get_logger().log(record.levelno, "library", library=record.name, text=text, exc_info=error)
