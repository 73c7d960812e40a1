"""The server answers whole walks of sign-ins as a model does that was written from the contract alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, seed
from hypothesis import settings as profile
from hypothesis.stateful import run_state_machine_as_test

from authsvc.config import Settings
from authsvc.domain import Step
from tests.clock import FakeClock
from tests.model.driver import Driver
from tests.model.walk import Walk

# Few and always the same for every run of the tests; CONTRIBUTING.md tells how to take more, and others.
FEW = 30
WALKS = int(os.environ.get("MODEL_WALKS", FEW))
SEED = int(os.environ.get("MODEL_SEED", "0"))
# A shorter walk to the same failure is searched for; it takes minutes.
SHRINK = os.environ.get("MODEL_SHRINK", "1") == "1"
STEPS = 50
CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"
REACHED = {
    *(step for step in Step if step is not Step.CONFIRM_SIGN_IN_WITH_CUSTOM_CHALLENGE),
    "CODE_ALREADY_USED",
    "CODE_EXPIRED",
    "CODE_MISMATCH",
    "INVALID_FIELDS",
    "LIMIT_EXCEEDED",
    "MFA_NOT_ENROLLED",
    "NOT_AUTHORIZED",
    "SESSION_EXPIRED",
    "TOKEN_EXPIRED",
    "TOKEN_REVOKED",
    "USER_DISABLED",
}


# The server, in its own thread, makes mails while values are drawn, and those have random boundaries.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning")
@pytest.mark.timeout(120 + 10 * WALKS)
def test_random_walks(settings: Settings, clock: FakeClock, tmp_path: Path) -> None:
    """Each step of each walk has the step, the choices or the reason that the model says."""
    driver = Driver(settings, clock, tmp_path)
    print(f"MODEL_WALKS={WALKS} MODEL_SEED={SEED}")  # noqa: T201 - shown with a failure, to walk that way again

    class Bound(Walk):
        """Walk with this driver."""

    Bound.driver = driver
    Bound.seen = {}
    try:
        run_state_machine_as_test(
            seed(SEED)(Bound),
            settings=profile(
                max_examples=WALKS,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                phases=[Phase.generate, Phase.shrink] if SHRINK else [Phase.generate],
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        driver.close()
    missed = REACHED - Bound.seen.keys()
    assert not missed or (WALKS, SEED) != (FEW, 0), f"walks go in circles: {missed}"


def test_how_to_take_more_walks_is_told() -> None:
    """CONTRIBUTING.md tells how to run this module with more walks, by the names that it reads."""
    (block,) = (each for each in CONTRIBUTING.read_text().split("```") if "MODEL_WALKS" in each)
    assert block.split() == ["sh", "MODEL_WALKS=300", "MODEL_SEED=1", ".venv/bin/pytest", "tests/model"]
