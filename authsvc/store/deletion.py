"""The end of an account, in a transaction that holds its row. What refers to the row goes with it."""

from __future__ import annotations

from authsvc.domain import UserId
from authsvc.store.db import Executor, affected

DELETE_MAIL = """
delete from outbox
 where user_id = $1
    or supersede_key = any($2::text[])
"""


async def delete_mail(executor: Executor, *, user_id: UserId, supersede_keys: list[str]) -> int:
    """Remove a user's mail, sent or waiting, and return how much there was; a mail on the wire is not stopped."""
    return affected(await executor.execute(DELETE_MAIL, user_id, supersede_keys))


DELETE_USER = """
delete from users
 where user_id = $1
"""


async def delete_user(executor: Executor, *, user_id: UserId) -> bool:
    """Remove an account with its password, factors, sessions, sign-ins and memberships; False if it is gone."""
    return affected(await executor.execute(DELETE_USER, user_id)) == 1
