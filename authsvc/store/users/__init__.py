"""Accounts, one at a time; what writes their rows is in this package, and nowhere else."""

from authsvc.store.users.reads import (
    find,
    find_by_id,
    find_by_sign_up_request,
    find_claims,
    find_email_owner,
    find_id,
    lock,
    lock_name,
)
from authsvc.store.users.writes import (
    confirm,
    delete,
    finish_forced_change,
    finish_reset,
    insert,
    merge_attributes,
    purge_unconfirmed,
    remove_attributes,
    reserve_username,
    set_disabled,
    set_status,
    touch,
)

__all__ = [
    "confirm",
    "delete",
    "find",
    "find_by_id",
    "find_by_sign_up_request",
    "find_claims",
    "find_email_owner",
    "find_id",
    "finish_forced_change",
    "finish_reset",
    "insert",
    "lock",
    "lock_name",
    "merge_attributes",
    "purge_unconfirmed",
    "remove_attributes",
    "reserve_username",
    "set_disabled",
    "set_status",
    "touch",
]
