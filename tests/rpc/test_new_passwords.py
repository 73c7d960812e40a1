"""What a new password must be, at sign-up and where it is changed."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from authsvc.v1 import auth_service_pb2 as pb
from tests.rpc.calls import confirm_reset, reset_code, step_of, update
from tests.rpc.conftest import Run
from tests.service import PASSWORD, Service, fails


@pytest.mark.parametrize(
    ("password", "rules"),
    [
        ("", ["REQUIRED"]),
        ("x7-gQ!2", ["MIN_LENGTH"]),
        ("password123", ["COMMON"]),
        ("PassWord123", ["COMMON"]),
        ("1-byron-augusta-2", ["OWN_WORDS"]),
        ("xx-LOVELACE-77-yy", ["OWN_WORDS"]),
        ("analytics 4 all of us", ["OWN_WORDS"]),
        ("byron", ["MIN_LENGTH", "OWN_WORDS"]),
        ("a" * 257, ["MAX_LENGTH"]),
        ("a" * 60_000, ["MAX_LENGTH"]),
        ("tab\tin the middle", ["CHARACTERS"]),
    ],
)
async def test_passwords_that_are_refused(service: Service, password: str, rules: list[str]) -> None:
    """A short, common or unfit password, or one of the account's own words, is refused, rule by rule."""
    async with fails("INVALID_PASSWORD") as failures:
        await service.sign_up("byron", password=password, email="ada.lovelace@analytics.example")
    assert failures[0].code is grpc.StatusCode.INVALID_ARGUMENT
    assert failures[0].violations == [("password", rule) for rule in rules]


@pytest.mark.parametrize(
    "password",
    ["x7-gQ!2z", "\U0001f98a\U0001f40c\U0001f996\U0001f422\U0001f99c\U0001f41d\U0001f980\U0001f9a6", "v" * 256],
    ids=["8", "8 emojis", "256"],
)
async def test_passwords_that_are_accepted(service: Service, password: str) -> None:
    """8 to 256 characters are enough where MFA is required, whatever they are made of."""
    await service.sign_up("byron", password=password)
    assert step_of(await service.sign_in("byron", password=password)) == "CONFIRM_SIGN_UP"


async def test_every_character_of_a_password_counts(service: Service) -> None:
    """Of a password of the greatest length nothing is cut off (ASVS 5 V6.2.8, NIST SP 800-63B-4 §3.1.1.2)."""
    longest = "x7-gQ!2z" * 32
    await service.sign_up("ada", password=longest)
    for other in (longest[:-1], f"{longest[:-1]}y", longest[:72]):
        async with fails("NOT_AUTHORIZED"):
            await service.sign_in("ada", password=other)
    assert step_of(await service.sign_in("ada", password=longest)) == "CONFIRM_SIGN_UP"


@pytest.mark.parametrize("mfa", ["OFF", "OPTIONAL"])
async def test_longer_passwords_without_mfa(run: Run, mfa: str) -> None:
    """Where MFA is not required a password has at least 15 characters."""
    async with run(accounts={"mfa": mfa}) as service:
        async with fails("INVALID_PASSWORD") as failures:
            await service.sign_up("ada", password="x7-gQ!2z-9-tre")
        assert failures[0].violations == [("password", "MIN_LENGTH")]
        await service.sign_up("ada", password="x7-gQ!2z-9-tree")


async def test_passwords_are_opaque_strings(service: Service) -> None:
    """One password in other compositions or spaces is the same password; in other letters it is not (RFC 8265)."""
    await service.sign_up("ada", password="Gr\u00fcner\u3000Tee um 5")
    for same in ("Gru\u0308ner Tee um 5", "Gr\u00fcner\u00a0Tee\u2003um\u20025"):
        assert step_of(await service.sign_in("ada", password=same)) == "CONFIRM_SIGN_UP"
    for other in ("gr\u00fcner Tee um 5", "Gr\u00fcner Tee um 5 ", "\uff27r\u00fcner Tee um 5"):
        async with fails("NOT_AUTHORIZED"):
            await service.sign_in("ada", password=other)


async def test_composition_rules_by_setting(run: Run) -> None:
    """Where the settings ask for kinds of characters, each that is missing is named."""
    kinds = ("lowercase", "uppercase", "numbers", "symbols")
    async with run(passwords={f"require_{kind}": True for kind in kinds}) as service:
        async with fails("INVALID_PASSWORD") as failures:
            await service.sign_up("ada", password="\u4f60\u597d" * 5)
        rules = [rule for _, rule in failures[0].violations]
        assert rules == ["LOWERCASE", "UPPERCASE", "NUMBER", "SYMBOL"]
        await service.sign_up("ada", password="wEllies&33")


async def test_blocklist_of_the_operator(run: Run, tmp_path: Path) -> None:
    """Passwords in the operator's own list are refused in any letter case, beside the built-in ones."""
    listed = tmp_path / "blocklist.txt"
    listed.write_text("Quarterly-Kombucha\n", encoding="utf-8")
    async with run(passwords={"blocklist_file": listed}) as service:
        for password in ("quarterly-KOMBUCHA", "password123"):
            async with fails("INVALID_PASSWORD") as failures:
                await service.sign_up("ada", password=password)
            assert failures[0].violations == [("password", "COMMON")]


@pytest.mark.parametrize(
    ("password", "rule"),
    [("short", "MIN_LENGTH"), ("password123", "COMMON"), ("xx-augusta-77-yy", "OWN_WORDS"), ("a" * 257, "MAX_LENGTH")],
)
async def test_same_rules_for_reset_and_update(service: Service, password: str, rule: str) -> None:
    """A password that sign-up would refuse is refused by reset and update too, under their fields' names."""
    account = await service.enrolled("augusta")
    async with fails("INVALID_PASSWORD") as failures:
        await confirm_reset(service, "augusta", await reset_code(service, account), password)
    assert failures[0].violations == [("new_password", rule)]
    async with fails("INVALID_PASSWORD") as failures:
        await update(service, account.tokens, PASSWORD, password)
    assert failures[0].violations == [("proposed_password", rule)]


async def test_weak_password_beside_other_faults(service: Service) -> None:
    """A weak password is listed with the other faults of a sign-up, not after them."""
    async with fails("INVALID_FIELDS") as failures:
        await service.stub.SignUp(pb.SignUpRequest(username="ada", password="1234"))
    assert failures[0].violations == [('attributes["email"]', "REQUIRED"), ("password", "MIN_LENGTH")]
