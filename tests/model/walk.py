"""The rules of a random walk: what users, strangers and operators do, in any order, and time."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from tests.clock import TICK
from tests.model.acts import Acts
from tests.model.reference import KINDS, SENT, Account, Challenge, Device, Next, Refused, ResetCode, Token
from tests.model.walker import WRONG_PASSWORD, address_of, attributes_of, some_settings
from tests.service import Failure

MOST_PEOPLE = 3
CHANGES = ("ENABLED", "DISABLED", "PREFERRED", "NOT_PREFERRED")
OPERATIONS = (
    "Disable",
    "Enable",
    "Sign out",
    "Reset MFA",
    "Unlock",
    "Delete",
    "Reset",
    "Set",
    "Set a temporary one",
    "Verify",
)


class Walk(Acts, RuleBasedStateMachine):
    """Walk through sign-ins of a few people, wrong turns included."""

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """Start a server with the settings of this walk, and sign somebody up who has some factors."""
        self.reset(*some_settings(data, self.kinds))
        self.sign_up(is_confirmed=True, has_phone=True)
        self.operate_on(self.people[0], "Verify")
        self.enrol(data, factors=data.draw(st.sets(st.sampled_from(KINDS)), label="factors"))

    @precondition(lambda self: len(self.model.accounts) < MOST_PEOPLE)
    @rule(is_confirmed=st.booleans(), has_phone=st.booleans())
    def sign_up(self, is_confirmed: bool, has_phone: bool) -> None:
        """Sign up, to the end or not."""
        account = Account(self.new_name(), self.new_password(), phone=self.new_phone() if has_phone else None)
        before = self.driver.last_message()
        attributes = attributes_of(account)
        request = pb.SignUpRequest(username=account.username, password=account.password, attributes=attributes)
        self.same(None, self.driver.call("SignUp", request))
        self.sign_up_codes[account.username] = self.driver.code(address_of(account), after=before)
        self.model.accounts[account.username] = account
        self.people.append(account)
        if is_confirmed:
            self.confirm_sign_up(account)

    @precondition(lambda self: len(self.model.accounts) < MOST_PEOPLE)
    @rule(email_verified=st.booleans(), phone_verified=st.booleans())
    def create(self, email_verified: bool, phone_verified: bool) -> None:
        """Have an operator make an account."""
        account = self.model.create(self.new_name(), self.new_password(), email_verified=email_verified)
        account.phone, account.phone_verified = self.new_phone(), phone_verified
        self.people.append(account)
        request = admin.CreateUserRequest(
            username=account.username,
            attributes=attributes_of(account),
            email_verified=email_verified,
            phone_number_verified=phone_verified,
            temporary_password=account.password,
            suppress_invitation=True,
        )
        self.same(None, self.driver.operate("CreateUser", request))

    @rule(data=st.data(), is_right=st.sampled_from([True, True, True, False]))
    def sign_in(self, data: st.DataObject, is_right: bool) -> None:
        """Start a sign-in."""
        account = self._somebody(data)
        self.sign_in_as(account, account.password if is_right else WRONG_PASSWORD)

    @rule(data=st.data())
    def sign_in_to_the_end(self, data: st.DataObject) -> None:
        """Go through a sign-in with right answers, for as long as it goes."""
        self.finish_sign_in(data, self._somebody(data))

    @rule(data=st.data(), most=st.integers(2, 7))
    def sign_in_with_detours(self, data: st.DataObject, most: int) -> None:
        """Go through a sign-in with any answers, each to the latest step."""
        account = self._somebody(data)
        taken = self.sign_in_as(account, account.password)
        challenge = taken.challenge if isinstance(taken, Next) else None
        for _ in range(most):
            if challenge is None:
                return
            taken = self.give(account, challenge, *self.some_answer(data, account, challenge))
            challenge = taken.challenge if isinstance(taken, Next) else challenge

    @rule(data=st.data(), factors=st.sets(st.sampled_from(KINDS), min_size=1))
    def enrol(self, data: st.DataObject, factors: set[str]) -> None:
        """Sign in, and set factors up."""
        account = self._somebody(data)
        token = self.finish_sign_in(data, account)
        for kind in KINDS:
            if token is not None and kind in factors:
                self.set_up(account, token, kind)

    @precondition(lambda self: self.challenges)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        """Answer a step that somebody was asked once, rightly or not, in time or not."""
        account, challenge = self._some_challenge(data)
        self.give(account, challenge, *self.some_answer(data, account, challenge))

    @precondition(lambda self: self.challenges)
    @rule(data=st.data())
    def answer_rightly(self, data: st.DataObject) -> None:
        """Answer a step with what is right, if it still counts."""
        account, challenge = self._some_challenge(data)
        self.give(account, challenge, *self.right_answer(data, account, challenge))

    @precondition(lambda self: self.challenges)
    @rule(data=st.data())
    def resend(self, data: st.DataObject) -> None:
        """Have a code sent again."""
        account, challenge = self._some_challenge(data)
        before = self.driver.last_message()
        expected = self.expect(lambda: self.model.resend(challenge.handle))
        self.same(expected, self.driver.call("ResendSignInCode", pb.ResendSignInCodeRequest(session=challenge.handle)))
        if not isinstance(expected, Refused):
            challenge.codes.append(self.driver.code(address_of(account, SENT[challenge.step]), after=before))

    @rule(data=st.data(), count=st.integers(2, 6), early=st.sampled_from([TICK * 0, TICK * 0, TICK]))
    def guess(self, data: st.DataObject, count: int, early: timedelta) -> None:
        """Guess passwords or codes in a row, waiting for the lock to end before each, or almost."""
        account = self._somebody(data)
        live = [each for each in account.challenges if each.step in SENT or each.step.endswith("TOTP_CODE")]
        for _ in range(count):
            if live:
                self.give(account, live[-1], *self.some_answer(data, account, live[-1]))
            else:
                self.sign_in_as(account, WRONG_PASSWORD)
            locks = [each.locked_until for each in account.failures.values() if each.locked_until > self.model.now]
            if locks:
                self.move(min(locks) - early - self.model.now)

    @rule(data=st.data())
    def reset_password(self, data: st.DataObject) -> None:
        """Ask for a code for a new password."""
        account = self._somebody(data)
        before = self.driver.last_message()
        expected = self.expect(lambda: self.model.reset_password(account))
        given = self.driver.call("ResetPassword", pb.ResetPasswordRequest(username=account.username))
        self.same(expected, given)
        if isinstance(expected, ResetCode):
            expected.handle = given.session
            self.resets.append((account, expected))
            if self.model.is_sent(account):
                self.read_reset(account, expected, before)

    @precondition(lambda self: any(each.latest for each in self.people))
    @rule(data=st.data())
    def confirm_reset(self, data: st.DataObject) -> None:
        """Set a new password with the code that was sent last, or another."""
        account = data.draw(st.sampled_from([each for each in self.people if each.latest]))
        right = [each.code for each in account.latest.values() if each.code]
        former = [code for codes in account.former_resets.values() for code in codes if code]
        self.confirm_reset_of(account, data.draw(st.sampled_from([*right * 4, *former, "00000000"])))

    @precondition(lambda self: self.resets)
    @rule(data=st.data(), is_right=st.sampled_from([True, True, False]))
    def confirm_reset_with_session(self, data: st.DataObject, is_right: bool) -> None:
        """Set a new password with the code and the session of a reset, dead ones among them."""
        account, asked = data.draw(st.sampled_from(self.resets[-4:]))
        others = [each.code for _, each in self.resets if each.code and each is not asked]
        right = [asked.code] if asked.code and is_right else []
        self.confirm_reset_of(account, data.draw(st.sampled_from(right or [*others[-3:], "00000000"])), asked)

    def confirm_reset_of(self, account: Account, code: str, asked: ResetCode | None = None) -> None:
        """Set a new password with a code."""
        password = self.new_password()
        expected = self.expect(lambda: self.model.confirm_reset(account, code, password, asked))
        request = pb.ConfirmResetPasswordRequest(
            username=account.username,
            confirmation_code=code,
            new_password=password,
            session=asked.handle if asked else "",
        )
        self.same(expected, self.driver.call("ConfirmResetPassword", request))

    @precondition(lambda self: self.tokens)
    @rule(data=st.data(), is_right=st.sampled_from([True, True, False]))
    def update_password(self, data: st.DataObject, is_right: bool) -> None:
        """Change a password."""
        account, token = self._some_token(data)
        previous, proposed = account.password if is_right else WRONG_PASSWORD, self.new_password()
        expected = self.expect(lambda: self.model.update_password(account, token, previous, proposed))
        request = pb.UpdatePasswordRequest(previous_password=previous, proposed_password=proposed)
        given = self.driver.call("UpdatePassword", request, bearer=token.access_token)
        self.same(expected, given)
        if isinstance(expected, Token):
            self.keep(account, expected, given.tokens)

    @precondition(lambda self: self.tokens)
    @rule(data=st.data(), steps=st.sampled_from([0, 0, 1, 2]))
    def add_authenticator(self, data: st.DataObject, steps: int) -> None:
        """Set a further authenticator up."""
        self.add_device(*self._some_token(data), steps)

    @precondition(lambda self: self.tokens)
    @rule(data=st.data())
    def remove_authenticator(self, data: st.DataObject) -> None:
        """Remove an authenticator, or one that is not there."""
        account, token = self._some_token(data)
        listed = self.driver.call("ListTotpDevices", pb.ListTotpDevicesRequest(), bearer=token.access_token)
        self.same(self.expect(lambda: self.model.bearer(account, token, recent=False)), listed)
        if isinstance(listed, Failure):
            return
        assert len(listed.devices) == len(account.devices)
        self.name_devices(account, token)
        place = data.draw(st.integers(0, len(account.devices)))
        device = account.devices[place] if place < len(account.devices) else Device("")
        device_id = device.device_id or "00000000-0000-4000-8000-000000000000"
        expected = self.expect(lambda: self.model.remove_device(account, token, device))
        request = pb.RemoveTotpDeviceRequest(device_id=device_id)
        self.same(expected, self.driver.call("RemoveTotpDevice", request, bearer=token.access_token))

    @precondition(lambda self: self.tokens)
    @rule(data=st.data())
    def make_recovery_codes(self, data: st.DataObject) -> None:
        """Make recovery codes; the former ones end."""
        account, token = self._some_token(data)
        former = sorted(account.recovery)
        expected = self.expect(lambda: self.model.generate_recovery_codes(account, token))
        request = pb.GenerateRecoveryCodesRequest()
        given = self.driver.call("GenerateRecoveryCodes", request, bearer=token.access_token)
        self.same(expected, given)
        if not isinstance(expected, Refused):
            self.used_recovery_codes += former[:1]
            account.recovery = set(given.recovery_codes)

    @precondition(lambda self: self.tokens)
    @rule(
        data=st.data(),
        changes=st.dictionaries(st.sampled_from(KINDS), st.sampled_from(CHANGES), min_size=1, max_size=2),
    )
    def update_preference(self, data: st.DataObject, changes: dict[str, str]) -> None:
        """Enable, disable and prefer kinds of factors."""
        account, token = self._some_token(data)
        self.prefer(account, token, changes)
        self.look(account, token)

    @precondition(lambda self: self.tokens)
    @rule(data=st.data(), everywhere=st.booleans())
    def sign_out(self, data: st.DataObject, everywhere: bool) -> None:
        """Sign out, here or everywhere."""
        account, token = self._some_token(data)
        expected = self.expect(lambda: self.model.sign_out(account, token, everywhere=everywhere))
        request = pb.SignOutRequest(**{"global": everywhere})
        self.same(expected, self.driver.call("SignOut", request, bearer=token.access_token))

    @precondition(lambda self: len(self.model.accounts) == MOST_PEOPLE and self.tokens)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """Erase one's own account."""
        account, token = self._some_token(data)
        expected = self.expect(lambda: self.model.delete_own(account, token))
        self.same(expected, self.driver.call("DeleteUser", pb.DeleteUserRequest(), bearer=token.access_token))

    @precondition(lambda self: self.tokens)
    @rule(data=st.data())
    def reauthenticate(self, data: st.DataObject) -> None:
        """Prove oneself again, rightly or not."""
        account, token = self._some_token(data)
        kind, value = data.draw(st.sampled_from(self.proofs(account)), label="proof")
        expected = self.expect(lambda: self.model.reauthenticate(account, token, kind, value))
        given = self.driver.call("Reauthenticate", pb.ReauthenticateRequest(**{kind: value}), bearer=token.access_token)
        self.same(expected, given)
        if isinstance(expected, Token):
            self.keep(account, expected, given.tokens)

    @rule(data=st.data(), what=st.sampled_from(OPERATIONS))
    def operate(self, data: st.DataObject, what: str) -> None:
        """Have an operator do something to an account."""
        self.operate_on(self._somebody(data), what)

    @rule(data=st.data())
    def change_settings(self, data: st.DataObject) -> None:
        """Start the server with other settings, in the middle of everything."""
        self.model.mode, self.model.kinds = some_settings(data, self.kinds)
        self.driver.start(self.model.mode, self.model.kinds)

    @rule(seconds=st.sampled_from([1, 29, 30, 31, 60, 200]))
    def wait(self, seconds: int) -> None:
        """Let time go by."""
        self.move(timedelta(seconds=seconds))

    @precondition(lambda self: self.deadlines())
    @rule(data=st.data(), around=st.sampled_from([-TICK, TICK * 0, TICK]))
    def wait_for_an_end(self, data: st.DataObject, around: timedelta) -> None:
        """Go to where something ends: a tick before, there, or a tick after."""
        end = data.draw(st.sampled_from(self.deadlines()))
        self.move(max(end + around - self.model.now, timedelta()))

    def teardown(self) -> None:
        """Stop the server."""
        self.driver.stop()

    def _somebody(self, data: st.DataObject) -> Account:
        return data.draw(st.sampled_from([*self.people, *self.model.accounts.values(), *self.model.accounts.values()]))

    def _some_challenge(self, data: st.DataObject) -> tuple[Account, Challenge]:
        # Those that can still be answered more often.
        live = [each for each in self.challenges if each[1] in each[0].challenges]
        return data.draw(st.sampled_from([*self.challenges[-8:], *live * 8]))

    def _some_token(self, data: st.DataObject) -> tuple[Account, Token]:
        live = [each for each in self.tokens if each[1].session in each[0].sessions]
        return data.draw(st.sampled_from([*self.tokens[-8:], *live * 8]))
