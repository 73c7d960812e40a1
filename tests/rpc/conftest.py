"""Fixtures: the service with other settings, or started again, on the same database, clock and mailbox."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from authsvc.config import Settings
from tests.clock import FakeClock
from tests.service import Service

Run = Callable[..., AbstractAsyncContextManager[Service]]


def changed(settings: Settings, **sections: dict[str, object]) -> Settings:
    """Return settings with some fields of some sections changed, within their ranges."""
    values = {section: {**getattr(settings, section).model_dump(), **fields} for section, fields in sections.items()}
    update = {section: type(getattr(settings, section)).model_validate(values[section]) for section in values}
    return settings.model_copy(update=update)


@pytest.fixture
def run(settings: Settings, clock: FakeClock, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run the service with fields of the settings changed: `run(accounts={"mfa": "OFF"})`; one at a time."""
    folder = tmp_path_factory.mktemp("mail")

    def run_with(**sections: dict[str, object]) -> AbstractAsyncContextManager[Service]:
        return Service.run(changed(settings, **sections), clock, folder)

    return run_with
