"""Sealing and digests: bound to a purpose and a row, readable across a rotation of the master keys."""

import pytest

from authsvc.crypto.sealing import KeyRing, MasterKey, MasterKeyError, Purpose, UnsealError, parse_master_keys

OLD = MasterKey("old", bytes(range(32)))
NEW = MasterKey("new", bytes(range(32, 64)))
SEALED_ROW = "row 1"


@pytest.fixture
def keys() -> KeyRing:
    """Return a ring of one key."""
    return KeyRing(keys=(OLD,))


def test_sealed_bytes_open_for_the_same_purpose_and_row(keys: KeyRing) -> None:
    """What was sealed comes back, an empty plaintext too; sealing twice gives other bytes."""
    for plaintext in (b"secret", b""):
        sealed = [keys.seal(Purpose.TOTP_SECRET, plaintext, bound_to=SEALED_ROW) for _ in range(2)]
        assert sealed[0] != sealed[1]
        assert b"secret" not in sealed[0]
        assert {keys.open(Purpose.TOTP_SECRET, each, bound_to=SEALED_ROW) for each in sealed} == {plaintext}


def test_sealed_bytes_moved_to_another_row_do_not_open(keys: KeyRing) -> None:
    """A value copied from one row into another is refused."""
    sealed = keys.seal(Purpose.TOTP_SECRET, b"secret", bound_to=SEALED_ROW)
    with pytest.raises(UnsealError):
        keys.open(Purpose.TOTP_SECRET, sealed, bound_to="row 2")


@pytest.mark.parametrize("purpose", [purpose for purpose in Purpose if purpose is not Purpose.TOTP_SECRET])
def test_no_other_purpose_opens_sealed_bytes(keys: KeyRing, purpose: Purpose) -> None:
    """Each purpose has a key of its own."""
    sealed = keys.seal(Purpose.TOTP_SECRET, b"secret", bound_to=SEALED_ROW)
    with pytest.raises(UnsealError):
        keys.open(purpose, sealed, bound_to=SEALED_ROW)


def test_any_changed_or_missing_byte_is_noticed(keys: KeyRing) -> None:
    """Sealed bytes with a flipped bit anywhere, cut short anywhere or made longer don't open."""
    sealed = keys.seal(Purpose.MAIL, b"secret", bound_to=SEALED_ROW)
    flipped = [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in range(len(sealed))]
    shortened = [sealed[:end] for end in range(len(sealed))]
    for damaged in (*flipped, *shortened, sealed + b"\0"):
        with pytest.raises(UnsealError):
            keys.open(Purpose.MAIL, damaged, bound_to=SEALED_ROW)


def test_former_master_key_still_opens_and_the_first_one_seals() -> None:
    """After a rotation old values open and new ones are under the new key; without the old key old ones do not open."""
    before, rotated, after = KeyRing(keys=(OLD,)), KeyRing(keys=(NEW, OLD)), KeyRing(keys=(NEW,))
    old = before.seal(Purpose.MAIL, b"old", bound_to=SEALED_ROW)
    new = rotated.seal(Purpose.MAIL, b"new", bound_to=SEALED_ROW)
    assert rotated.open(Purpose.MAIL, old, bound_to=SEALED_ROW) == b"old"
    assert after.open(Purpose.MAIL, new, bound_to=SEALED_ROW) == b"new"
    for ring, sealed in ((after, old), (before, new)):
        with pytest.raises(UnsealError):
            ring.open(Purpose.MAIL, sealed, bound_to=SEALED_ROW)


def test_key_of_the_same_id_and_other_material_opens_nothing() -> None:
    """The id of a key only finds it."""
    sealed = KeyRing(keys=(OLD,)).seal(Purpose.MAIL, b"secret", bound_to=SEALED_ROW)
    with pytest.raises(UnsealError):
        KeyRing(keys=(MasterKey(OLD.key_id, NEW.material),)).open(Purpose.MAIL, sealed, bound_to=SEALED_ROW)


def test_digest_of_a_former_master_key_still_matches() -> None:
    """After a rotation the stored digest is among those looked for, and a new digest is the first of them."""
    before, rotated = KeyRing(keys=(OLD,)), KeyRing(keys=(NEW, OLD))
    stored = before.digest(Purpose.CODE, "ada", "123456")
    looked_for = rotated.digests(Purpose.CODE, "ada", "123456")
    assert stored in looked_for
    assert looked_for[0] == rotated.digest(Purpose.CODE, "ada", "123456") != stored


def test_digests_differ_by_purpose_by_part_and_by_the_borders_between_parts(keys: KeyRing) -> None:
    """No two ways to split or use the same text have one digest; each is 32 bytes."""
    digests = [
        keys.digest(Purpose.CODE, "ab", "c"),
        keys.digest(Purpose.CODE, "a", "bc"),
        keys.digest(Purpose.CODE, "abc"),
        keys.digest(Purpose.CODE, "abc", ""),
        keys.digest(Purpose.CHALLENGE, "abc"),
    ]
    assert len(set(digests)) == len(digests)
    assert {len(digest) for digest in digests} == {32}


def test_generated_key_survives_its_line() -> None:
    """A key written as a line of the setting is read back as it was; two keys are never the same."""
    keys = [MasterKey.generate("dev-") for _ in range(2)]
    assert keys[0] != keys[1]
    assert all(key.key_id.startswith("dev-") for key in keys)
    assert parse_master_keys(f"# first\n\n {keys[0].line()} \n{keys[1].line()}=\n") == tuple(keys)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "no master key"),
        ("# only a comment\n", "no master key"),
        ("no-colon", "line 1 "),
        (f"{OLD.line()}\nshort:AAAA", "line 2 "),
        (f"{OLD.line()}AAAA", "line 1 "),
        (f"Upper{OLD.line()}", "line 1 "),
        (OLD.line().replace("old", ""), "line 1 "),
        (f"{'a' * 33}:{OLD.line().partition(':')[2]}", "line 1 "),
        (f"old:{'!' * 43}", "line 1 "),
        (f"{OLD.line()}\n{OLD.line()}", "line 2 repeats the id 'old'"),
    ],
)
def test_malformed_master_keys_are_refused_without_being_repeated(text: str, fault: str) -> None:
    """The error names the line and never the key."""
    with pytest.raises(MasterKeyError, match=fault) as told:
        parse_master_keys(text)
    assert "AAECAwQ" not in str(told.value)


def test_keys_are_not_in_their_repr() -> None:
    """A key that gets into a log by its repr is its id alone."""
    assert repr(OLD) == "MasterKey('old')"
