"""The code of a sign-up: sent, sent again, and given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from authsvc.config import AccountsSettings
from authsvc.core.access.caller import Caller
from authsvc.core.access.throttle import Action, Throttle
from authsvc.core.accounts.calls import Unauthenticated
from authsvc.core.accounts.login import Logins
from authsvc.core.audit.trail import AuditKind
from authsvc.core.fields import Fields
from authsvc.core.messages.codes import SIGN_UP, CodeDelivery, CodeRef, Codes
from authsvc.core.messages.kinds import Recipient
from authsvc.core.messages.notices import recipient
from authsvc.core.names import parse_code
from authsvc.domain import STRANGERS, EmailKey, UsernameKey, UserStatus
from authsvc.errors import CodeExpired, CodeMismatch, DomainError
from authsvc.store import users
from authsvc.store.db import Database, Executor


@dataclass(frozen=True, kw_only=True, slots=True)
class SignUpCodes:
    """Send codes to new accounts, and confirm those whose codes are given."""

    database: Database
    throttle: Throttle
    codes: Codes
    calls: Unauthenticated
    logins: Logins
    settings: AccountsSettings

    async def confirm(self, username: str, code: str, caller: Caller) -> None:
        """Confirm the account whose code it is, and its e-mail address.

        Where the name is the address of several sign-ups, whoever reads its mail can't tell whose code came, and so
        whose password they would make good: the account needs a new one.

        Raises:
            InvalidFields: every broken rule at once.
            CodeMismatch: the code is wrong.
            CodeExpired: it is used, replaced, burned, expired or was never issued.
            LimitExceeded: too many tries from this source or for this name.
        """
        await self.calls.count(Action.SIGN_UP_CONFIRM, caller)
        fields = Fields()
        login = fields.take(self.logins.parse, username)
        digits = fields.take(parse_code, code, field="confirmation_code")
        fields.check()
        by_email = login.value.email is not None
        username_keys = await self.logins.resolve_sign_ups(login.value)
        async with self.calls.tries(AuditKind.CONFIRM_SIGN_UP, caller, username_keys[0]):
            await self.throttle.spend_try(SIGN_UP.guarded, login.value.username.key, STRANGERS)
            username_key = await self._compare(username_keys, digits.value)
            async with self.calls.undertake(AuditKind.CONFIRM_SIGN_UP, caller) as undertaking:
                executor, now = undertaking.executor, undertaking.now
                # The account's row before the code's, as everywhere: a code resent meanwhile must wait, not deadlock.
                user_id = await users.confirm(executor, username_key=username_key, now=now, by_email=by_email)
                if user_id is None:
                    raise CodeExpired
                undertaking.user_id = user_id
                ref = CodeRef(SIGN_UP, username_key, typed=login.value.username.key)
                await self.codes.consume(executor, ref, digits.value, now=now)
                if by_email:
                    # What was guessed at the address while it was nobody's.
                    await self.throttle.forget_all(executor, login.value.username.key)

    async def resend(self, username: str, caller: Caller) -> CodeDelivery:
        """Send a new code to an unconfirmed account; others are answered alike and sent nothing.

        Raises:
            InvalidFields: what is given can be no name.
            LimitExceeded: too many codes for this name, from this source or in all.
        """
        await self.calls.count(Action.RESEND, caller)
        login = self.logins.parse(username)
        username_key = (await self.logins.resolve_sign_ups(login))[0]
        # By what was typed: else the codes of an address would tell whose it is.
        await self.codes.spend_send_in(STRANGERS, SIGN_UP, login.username.key, caller=caller)
        addressee = await users.find(self.database, username_key=username_key)
        may_mail = await self.throttle.spend_address(addressee.email_key if addressee else None)
        async with self.calls.undertake(AuditKind.SEND_SIGN_UP_CODE, caller) as undertaking:
            executor, now = undertaking.executor, undertaking.now
            # Before the account is read: a sign-up that takes the name over meanwhile must be seen, or its code would
            # be replaced by one that is sent to the former account's address.
            await users.reserve_username(
                executor, username_key=username_key, until=self.expiry(now), at_most=self.settings.unconfirmed_purge
            )
            user = await users.find(executor, username_key=username_key)
            is_waiting = user is not None and user.status is UserStatus.UNCONFIRMED
            to = recipient(user) if may_mail and is_waiting else None
            ref = CodeRef(SIGN_UP, username_key, typed=login.username.key)
            await self.send(executor, ref, to, email_key=user.email_key if user else None, now=now)
            undertaking.user_id = user.user_id if user else None
        return self.codes.delivery(username_key, user.email if user else None)

    async def send(
        self,
        executor: Executor,
        ref: CodeRef,
        to: Recipient | None,
        *,
        email_key: EmailKey | None,
        now: datetime,
    ) -> None:
        """Send a code in place of the former one; `to` None: to nobody, but the same statements run."""
        owner = await users.find_email_owner(executor, email_key=email_key)
        told = recipient(owner)
        # A disabled owner is not told, and keeps the address all the same: its mailbox gets no code.
        to = to if owner is None or told else None
        await self.codes.issue(executor, ref, to, now=now, owner=told, address_key=email_key)

    def expiry(self, now: datetime) -> datetime:
        """Return when a code sent now ends, and with it the reservation of the name."""
        return self.codes.expiry(SIGN_UP, now)

    async def _compare(self, username_keys: Sequence[UsernameKey], code: str) -> UsernameKey:
        """Compare the code of each name, until it is right; return whose it is.

        Raises:
            CodeMismatch, CodeExpired: it is nobody's; what the first name is told.
        """
        refusals: list[DomainError] = []
        for username_key in username_keys:
            try:
                await self.codes.compare(CodeRef(SIGN_UP, username_key), code)
            except (CodeMismatch, CodeExpired) as refusal:
                refusals.append(refusal)
            else:
                return username_key
        raise refusals[0]
