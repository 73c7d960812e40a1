"""Fixtures: the service with other settings, or started again, on the same database, clock and mailbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

import pytest

from authsvc.config import Settings
from tests.clock import FakeClock
from tests.hooks.process import HookProcess
from tests.hooks.puzzles import EXAMPLE
from tests.service import Service

Run = Callable[..., AbstractAsyncContextManager[Service]]
Asking = Callable[..., AbstractAsyncContextManager[Service]]


def changed(settings: Settings, **sections: dict[str, object]) -> Settings:
    """Return settings with some fields of some sections changed, within their ranges."""
    values = {section: {**getattr(settings, section).model_dump(), **fields} for section, fields in sections.items()}
    update = {section: type(getattr(settings, section)).model_validate(values[section]) for section in values}
    return settings.model_copy(update=update)


@pytest.fixture
def run(settings: Settings, clock: FakeClock, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run the service with fields of the settings changed: `run(accounts={"mfa": "OFF"})`; one at a time."""
    folder = tmp_path_factory.mktemp("mail")

    def run_with(*, has_sms: bool = True, **sections: dict[str, object]) -> AbstractAsyncContextManager[Service]:
        return Service.run(changed(settings, **sections), clock, folder, has_sms=has_sms)

    return run_with


@pytest.fixture(scope="module")
def example() -> Iterator[HookProcess]:
    """Run the example of a challenge hook."""
    with HookProcess(*EXAMPLE) as running:
        yield running


@pytest.fixture(scope="module")
def scripted() -> Iterator[HookProcess]:
    """Run a challenge hook that does what the user's name says."""
    with HookProcess() as running:
        yield running


@pytest.fixture
def asking(run: Run) -> Asking:
    """Return what runs the service without MFA, with a hook and other settings changed."""

    def run_with(hook: HookProcess, **sections: dict[str, object]) -> AbstractAsyncContextManager[Service]:
        hooks = {"challenge_target": hook.target, "challenge_timeout": timedelta(seconds=10)}
        settings: dict[str, dict[str, object]] = {"accounts": {"mfa": "OFF"}, "hooks": hooks}
        for section, fields in sections.items():
            settings[section] = {**settings.get(section, {}), **fields}
        return run(**settings)

    return run_with
