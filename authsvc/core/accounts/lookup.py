"""Which account is meant: by the key of its name, or by its id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from authsvc.core.fields import parse_uuid, refused
from authsvc.core.names import parse_username
from authsvc.domain import User, UserId, UsernameKey
from authsvc.errors import UserNotFound
from authsvc.store import users
from authsvc.store.db import Executor

# By the key of its username, or by its id.
UserRef: TypeAlias = UsernameKey | UserId


@dataclass(frozen=True, slots=True)
class NamedUser:
    """Hold whom a request names, as sent: by a username or by an id."""

    username: str | None = None
    user_id: str | None = None


def parse_user(named: NamedUser) -> UserRef:
    """Return which account is named.

    Raises:
        InvalidFields: none is, or what names it can be no name, or no id.
    """
    if named.username is not None:
        return parse_username(named.username).key
    if named.user_id is not None:
        return UserId(parse_uuid(named.user_id, field="user_id"))
    raise refused("user", "REQUIRED", "must be given: a username or a user_id")


async def find(executor: Executor, ref: UserRef) -> User:
    """Return an account.

    Raises:
        UserNotFound: there is none.
    """
    if isinstance(ref, UUID):
        user = await users.find_by_id(executor, user_id=ref)
    else:
        user = await users.find(executor, username_key=ref)
    if user is None:
        raise UserNotFound
    return user


async def lock(executor: Executor, ref: UserRef) -> User:
    """Hold the row of an account until the transaction ends, and return the account as it is then.

    Raises:
        UserNotFound: there is none.
    """
    user_id = ref if isinstance(ref, UUID) else (await find(executor, ref)).user_id
    user = await users.lock(executor, user_id=user_id)
    if user is None:
        raise UserNotFound
    return user
