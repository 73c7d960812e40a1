"""Passwords hashed by another system: right at the first sign-in, and made anew by it."""

from __future__ import annotations

import base64
import hashlib

import bcrypt
import pytest

from authsvc.store.db import Database
from tests.rpc.calls import step_of
from tests.service import PASSWORD, Service, fails

DECOMPOSED = "re\u0301sume\u0301-under-9-lakes"


def pbkdf2(password: str) -> str:
    """Hash as Django does, in the form in which it is stored."""
    made = hashlib.pbkdf2_hmac("sha256", password.encode(), b"salt", 10)
    return f"$pbkdf2-sha256$i=10$c2FsdA${base64.b64encode(made).decode().rstrip('=')}"


async def hash_of_ada(database: Database) -> str:
    """Read the only hash that there is."""
    return str(await database.fetchval("select hash from passwords"))


BCRYPT = bcrypt.hashpw(PASSWORD.encode(), b"$2b$04$abcdefghijklmnopqrstuu").decode()


@pytest.mark.parametrize("foreign", [BCRYPT, pbkdf2(PASSWORD)], ids=["bcrypt", "pbkdf2"])
async def test_first_sign_in_makes_the_hash_anew(service: Service, database: Database, foreign: str) -> None:
    """A wrong password leaves the foreign hash alone; the right one signs in and leaves Argon2id."""
    await service.confirmed("ada")
    await database.execute("update passwords set hash = $1", foreign)
    async with fails("NOT_AUTHORIZED"):
        await service.sign_in("ada", password="another one of 20 letters")
    assert await hash_of_ada(database) == foreign
    assert step_of(await service.sign_in("ada")) == "CONTINUE_SIGN_IN_WITH_TOTP_SETUP"
    made = await hash_of_ada(database)
    assert made.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    await service.sign_in("ada")
    assert await hash_of_ada(database) == made


async def test_hash_of_the_password_as_typed_counts_until_it_is_made_anew(service: Service, database: Database) -> None:
    """Who types as before signs in, and afterwards any way of typing the same password is right."""
    await service.confirmed("ada")
    await database.execute("update passwords set hash = $1", pbkdf2(DECOMPOSED))
    composed = DECOMPOSED.replace("e\u0301", "\u00e9")
    async with fails("NOT_AUTHORIZED"):
        await service.sign_in("ada", password=composed)
    await service.sign_in("ada", password=DECOMPOSED)
    await service.sign_in("ada", password=composed)
    await service.sign_in("ada", password=DECOMPOSED)


async def test_hash_beyond_the_bounds_is_not_computed(service: Service, database: Database) -> None:
    """A hash bomb in the table is a fault that says nothing, and no hour of work."""
    await service.confirmed("ada")
    bomb = pbkdf2(PASSWORD).replace("i=10$", "i=4000000000$")
    await database.execute("update passwords set hash = $1", bomb)
    async with fails("INTERNAL"):
        await service.sign_in("ada")
