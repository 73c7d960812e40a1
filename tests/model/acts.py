"""What people and operators do in more than one call, for the rules of a walk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.mfa_preference_pb2 import MfaPreference
from authsvc.v1.mfa_type_pb2 import MfaType
from tests.model.reference import TOTP, Account, Device, Next, Refused, ResetCode, Token
from tests.model.walker import WRONG_CODE, WRONG_PASSWORD, WRONG_RECOVERY_CODE, Walker
from tests.service import Failure


class Acts(Walker):
    """Act."""

    def finish_sign_in(self, data: st.DataObject, account: Account) -> Token | None:
        """Sign in with right answers, for as long as it goes; return the token, if it comes to one."""
        if account.status == "UNCONFIRMED" and account.username in self.model.accounts:
            self.confirm_sign_up(account)
        taken = self.sign_in_as(account, account.password)
        while isinstance(taken, Next) and taken.challenge is not None:
            taken = self.give(account, taken.challenge, *self.right_answer(data, account, taken.challenge))
        return taken.token if isinstance(taken, Next) else None

    def set_up(self, account: Account, token: Token, kind: str) -> None:
        """Set a kind of factor up."""
        if kind == TOTP:
            self.add_device(account, token, 0)
        else:
            self.prefer(account, token, {kind: "ENABLED"})

    def add_device(self, account: Account, token: Token, steps: int) -> None:
        """Set an authenticator up with the code that it shows, or one of the time steps to come."""
        self.name_devices(account, token)
        expected = self.expect(lambda: self.model.associate_totp(account, token))
        given = self.driver.call("AssociateTotp", pb.AssociateTotpRequest(), bearer=token.access_token)
        self.same(expected, given)
        if isinstance(expected, Refused):
            return
        device = Device(given.shared_secret)
        code = self.totp(device, steps)
        verified = self.expect(lambda: self.model.verify_totp(account, token, device, code))
        request = pb.VerifyTotpRequest(session=given.session, totp_code=code)
        self.same(verified, self.driver.call("VerifyTotp", request, bearer=token.access_token))
        self.name_devices(account, token)

    def name_devices(self, account: Account, token: Token) -> None:
        """Learn the ids of new authenticators: those of one moment have no order that the model could know."""
        listed = self.driver.call("ListTotpDevices", pb.ListTotpDevicesRequest(), bearer=token.access_token)
        if isinstance(listed, Failure):
            return
        known = {device.device_id for device in account.devices}
        new = (device.device_id for device in listed.devices if device.device_id not in known)
        for device in account.devices:
            device.device_id = device.device_id or next(new)

    def prefer(self, account: Account, token: Token, changes: dict[str, str]) -> None:
        """Enable, disable and prefer kinds of factors."""
        expected = self.expect(lambda: self.model.update_preference(account, token, changes))
        request = pb.UpdateMfaPreferenceRequest(
            **{kind.lower(): MfaPreference.Value(f"MFA_PREFERENCE_{change}") for kind, change in changes.items()}
        )
        self.same(expected, self.driver.call("UpdateMfaPreference", request, bearer=token.access_token))

    def proofs(self, account: Account) -> list[tuple[str, str]]:
        """Return what a signed-in user could prove themselves with, and some things that prove nothing."""
        return [
            ("password", account.password),
            ("password", WRONG_PASSWORD),
            *(("totp_code", self.totp(device, steps)) for device in account.devices for steps in (0, 1)),
            ("totp_code", WRONG_CODE),
            *(("recovery_code", code) for code in sorted(account.recovery)[:1]),
            ("recovery_code", WRONG_RECOVERY_CODE),
        ]

    def look(self, account: Account, token: Token) -> None:
        """Compare which kinds are enabled and preferred, and how many recovery codes are left."""
        expected = self.expect(lambda: self.model.bearer(account, token, recent=False))
        given = self.driver.call("FetchMfaPreference", pb.FetchMfaPreferenceRequest(), bearer=token.access_token)
        self.same(expected, given)
        if isinstance(expected, Refused):
            return
        asked = account.enrolled & self.model.kinds
        preferred = MfaType.Name(given.preferred).removeprefix("MFA_TYPE_")
        assert {MfaType.Name(kind).removeprefix("MFA_TYPE_") for kind in given.enabled} == asked
        assert preferred == (account.preferred if account.preferred in asked else "UNSPECIFIED")
        assert given.recovery_codes_left == len(account.recovery)

    def operate_on(self, account: Account, what: str) -> None:
        """Have an operator do something to an account."""
        name, password, model = account.username, self.new_password(), self.model
        calls: dict[str, tuple[str, Any, Callable[[], object]]] = {
            "Disable": ("DisableUser", admin.DisableUserRequest(username=name), lambda: model.disable(account)),
            "Enable": ("EnableUser", admin.EnableUserRequest(username=name), lambda: model.enable(account)),
            "Sign out": ("SignOutUser", admin.SignOutUserRequest(username=name), account.end_all),
            "Reset MFA": ("ResetUserMfa", admin.ResetUserMfaRequest(username=name), lambda: model.reset_mfa(account)),
            "Unlock": ("UnlockUser", admin.UnlockUserRequest(username=name), account.failures.clear),
            "Delete": (
                "DeleteUser",
                admin.AdminServiceDeleteUserRequest(username=name),
                lambda: model.delete(account),
            ),
            "Reset": (
                "ResetUserPassword",
                admin.ResetUserPasswordRequest(username=name),
                lambda: model.require_reset(account),
            ),
            "Verify": (
                "UpdateUserAttributes",
                admin.AdminServiceUpdateUserAttributesRequest(
                    username=name, email_verified=True, phone_number_verified=True if account.phone else None
                ),
                lambda: model.verify_addresses(account),
            ),
            "Set": (
                "SetUserPassword",
                admin.SetUserPasswordRequest(username=name, password=password),
                lambda: model.set_password(account, password, temporary=False),
            ),
            "Set a temporary one": (
                "SetUserPassword",
                admin.SetUserPasswordRequest(username=name, password=password, temporary=True),
                lambda: model.set_password(account, password, temporary=True),
            ),
        }
        method, request, expectation = calls[what]
        before = self.driver.last_message()
        exists = name in self.model.accounts
        expected = self.expect(expectation) if exists else Refused("USER_NOT_FOUND")
        self.same(expected, self.driver.operate(method, request))
        if what == "Reset":
            self.read_reset(account, expected if isinstance(expected, ResetCode | Refused) else None, before)
