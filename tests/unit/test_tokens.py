"""Random values: of the right form, and never the same twice."""

import re

import pytest

from authsvc.crypto.tokens import jitter, new_code, new_handle, new_id, new_recovery_code


def test_handle_has_256_bits_in_base64url() -> None:
    """A handle is 43 characters that travel anywhere unchanged."""
    handles = {new_handle() for _ in range(1000)}
    assert len(handles) == 1000
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", handle) for handle in handles)


@pytest.mark.parametrize("digits", [6, 8, 10])
def test_code_has_all_its_digits(digits: int) -> None:
    """A code is so many digits, each place taking each value, leading zeros included."""
    codes = [new_code(digits) for _ in range(1000)]
    assert all(re.fullmatch(rf"[0-9]{{{digits}}}", code) for code in codes)
    for place in range(digits):
        assert {code[place] for code in codes} == set("0123456789")


def test_recovery_code_has_eighty_bits() -> None:
    """A recovery code is 16 letters and digits, each of 32 at each place, and none is made twice."""
    codes = {new_recovery_code() for _ in range(1000)}
    assert len(codes) == 1000
    for place in range(16):
        assert {code[place] for code in codes} == set("abcdefghijklmnopqrstuvwxyz234567")
    assert {len(code) for code in codes} == {16}


def test_id_is_a_random_uuid() -> None:
    """Ids are UUIDs of version 4."""
    assert {new_id().version for _ in range(10)} == {4}
    assert new_id() != new_id()


def test_jitter_is_spread_over_the_unit_interval() -> None:
    """Jitter is at least 0, below 1, and in every tenth between."""
    values = [jitter() for _ in range(1000)]
    assert all(0 <= value < 1 for value in values)
    assert {int(value * 10) for value in values} == set(range(10))
