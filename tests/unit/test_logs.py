"""Logs: one line an event, without secrets, wherever the event comes from."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from authsvc.core.factors.kinds import SPECS
from authsvc.telemetry.logs import REDACTED, SECRET_FIELDS, describe, redact

ROOT = Path(__file__).resolve().parents[2]
SET_UP = """
import asyncio, logging, structlog
from authsvc.config import LogSettings
from authsvc.telemetry.logs import set_up_logs
set_up_logs(LogSettings(level="{level}", format="{format}"))
log = structlog.get_logger()
"""


def written(code: str, *, level: str = "info", format_: str = "json") -> str:
    """Return what a process writes to standard error that sets its logs up and runs some code."""
    source = SET_UP.format(level=level, format=format_) + code
    ran = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, check=True, text=True)
    assert ran.stdout == ""
    return ran.stderr


def lines(code: str, *, level: str = "info") -> list[dict[str, Any]]:
    """Return the JSON lines of such a process."""
    return [json.loads(line) for line in written(code, level=level).splitlines()]


def test_event_is_a_line_of_json_with_its_time_and_level() -> None:
    """An event has its name, its fields, its level and its time in UTC, on a line of its own."""
    (line,) = lines(r"log.info('rpc', method='SignIn', text='two\nlines')")
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "rpc", "level": "info", "method": "SignIn", "text": "two\nlines"}


def test_level_of_the_settings_is_the_least_that_is_written() -> None:
    """Events below the level are not written; those at it and above are."""
    code = "log.debug('d'); log.info('i'); log.warning('w'); log.error('e')"
    assert [[line["event"] for line in lines(code, level=level)] for level in ("debug", "warning")] == [
        ["d", "i", "w", "e"],
        ["w", "e"],
    ]


@pytest.mark.parametrize("format_", ["json", "console"])
def test_secrets_reach_no_line(format_: str) -> None:
    """Fields with secret names, messages of exceptions and arguments of libraries are not written."""
    code = """
def fail(number):
    try:
        raise KeyError("hunter2")
    except KeyError as error:
        raise ValueError(f"hunter2 {number}") from error

log.info("event", password="hunter2", refresh_token="hunter2", session="hunter2")
try:
    fail(1)
except ValueError as error:
    log.error("given", exc_info=error)
    log.exception("raised")
    logging.getLogger("library").exception("argument %s", "hunter2")
    logging.getLogger("library").error("plain %s", "hunter2")
"""
    told = written(code, format_=format_)
    assert "hunter2" not in told
    for word in (REDACTED, "builtins.ValueError", "builtins.KeyError", "argument %s", "plain %s", "given", "raised"):
        assert word in told


def test_libraries_are_heard_from_warnings_on() -> None:
    """A library's record becomes a line with its name; its chatter is left out."""
    told = lines("logging.getLogger('grpc').info('chatter'); logging.getLogger('grpc').warning('careful')")
    assert [(line["event"], line["library"], line["text"], line["level"]) for line in told] == [
        ("library", "grpc", "careful", "warning")
    ]


def test_log_that_nobody_reads_any_more_fails_nothing() -> None:
    """When the reader of standard error has gone, what is logged is lost and the program goes on."""
    reader, writer = os.pipe()
    os.close(reader)
    code = "log.info('lost'); log.error('lost'); logging.getLogger('library').error('lost'); print('alive')"
    source = SET_UP.format(level="info", format="json") + code
    ran = subprocess.run(
        [sys.executable, "-c", source], cwd=ROOT, stdout=subprocess.PIPE, stderr=writer, check=False, text=True
    )
    os.close(writer)
    assert ran.stdout == "alive\n"


def test_lost_task_is_logged_without_its_words() -> None:
    """What asyncio says of an exception that nobody fetched is a line without the exception's message."""
    told = written(
        """
async def main():
    async def fail():
        raise ValueError("hunter2")
    task = asyncio.ensure_future(fail())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task
asyncio.run(main())
"""
    )
    assert "ValueError" in told
    assert "hunter2" not in told


@pytest.mark.parametrize("name", sorted(SECRET_FIELDS))
def test_field_with_a_secret_name_is_redacted(name: str) -> None:
    """The value of each secret field is replaced, whatever it is; other fields stay."""
    assert redact(None, "info", {"event": "e", name: ["value"]}) == {"event": "e", name: REDACTED}


def test_answers_of_all_factors_are_secrets() -> None:
    """No kind of factor's answer is written, whichever kinds there are."""
    assert {spec.answer for spec in SPECS.values()} <= SECRET_FIELDS


def failed() -> ZeroDivisionError:
    """Return an error that was raised here while another one was handled."""
    try:
        try:
            raise KeyError("inner")
        except KeyError:
            raise ZeroDivisionError("outer")  # noqa: B904 - an error of its own that came up on the way
    except ZeroDivisionError as error:
        return error


def test_exception_is_described_by_types_and_places() -> None:
    """The description names the types of an exception and of what it came from, and where each was raised."""
    types = [line for line in describe(failed()) if ":" not in line]
    places = [line for line in describe(failed()) if ":" in line]
    assert types == ["builtins.ZeroDivisionError", "builtins.KeyError"]
    assert len(places) == 2
    assert all(place.endswith(" failed") and Path(__file__).name in place for place in places)


def test_exceptions_of_a_group_are_described_too() -> None:
    """What failed in a group of tasks is described one by one."""
    group = ExceptionGroup("tasks", [failed(), ValueError("alone")])
    types = [line for line in describe(group) if ":" not in line]
    assert types == [
        "builtins.ExceptionGroup",
        "builtins.ZeroDivisionError",
        "builtins.KeyError",
        "builtins.ValueError",
    ]
