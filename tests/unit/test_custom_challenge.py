"""What a custom challenge keeps between its rounds."""

from __future__ import annotations

import pytest

from authsvc.core.factors.custom_hook import ChallengeState, Parameters
from authsvc.crypto.sealing import KeyRing, MasterKey, Purpose, UnsealError

STATE = ChallengeState(
    (Parameters({"question": "Farbe? 🎨"}, {"answer": "grün"}), Parameters({}, {})),
    Parameters({"question": 'a "quoted" \\ one'}, {}),
)


def test_state_is_read_as_it_was_written() -> None:
    """A state comes back from bytes with each challenge, in order, whatever is in it."""
    assert ChallengeState.from_bytes(STATE.to_bytes()) == STATE


def test_state_opens_for_its_own_session_alone() -> None:
    """A sealed state that is moved to another challenge session does not open there."""
    ring = KeyRing(keys=(MasterKey.generate(),))
    sealed = ring.seal(Purpose.CHALLENGE_STATE, STATE.to_bytes(), bound_to=b"mine".hex())
    assert ring.open(Purpose.CHALLENGE_STATE, sealed, bound_to=b"mine".hex()) == STATE.to_bytes()
    with pytest.raises(UnsealError):
        ring.open(Purpose.CHALLENGE_STATE, sealed, bound_to=b"theirs".hex())


def test_parameters_are_not_shown() -> None:
    """What a challenge holds, which may be its answer, is in no repr."""
    assert "grün" not in repr(STATE)
    assert "Farbe" not in repr(STATE)
