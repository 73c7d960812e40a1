"""The calls by which a signed-in user keeps the account, one line each."""

from __future__ import annotations

from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.mfa_preference_pb2 import MfaPreference
from authsvc.v1.mfa_type_pb2 import MFA_TYPE_UNSPECIFIED, MfaType
from authsvc.v1.tokens_pb2 import Tokens
from authsvc.v1.totp_device_pb2 import TotpDevice
from tests.rpc.calls import associate, verify
from tests.service import Service, bearer


async def prefer(service: Service, tokens: Tokens, **changes: str) -> None:
    """Change second factors: `prefer(service, tokens, totp="DISABLED")`."""
    values = {kind: MfaPreference.Value(f"MFA_PREFERENCE_{change}") for kind, change in changes.items()}
    await service.stub.UpdateMfaPreference(pb.UpdateMfaPreferenceRequest(**values), metadata=bearer(tokens))


async def mfa(service: Service, tokens: Tokens) -> tuple[list[str], str]:
    """Return the enabled second factors and the preferred one, empty if none is."""
    state = await service.stub.FetchMfaPreference(pb.FetchMfaPreferenceRequest(), metadata=bearer(tokens))
    preferred = "" if state.preferred == MFA_TYPE_UNSPECIFIED else MfaType.Name(state.preferred)
    return [_kind(MfaType.Name(kind)) for kind in state.enabled], _kind(preferred)


async def recovery_codes_left(service: Service, tokens: Tokens) -> int:
    """Return how many recovery codes are left."""
    state = await service.stub.FetchMfaPreference(pb.FetchMfaPreferenceRequest(), metadata=bearer(tokens))
    return state.recovery_codes_left


async def devices(service: Service, tokens: Tokens) -> list[TotpDevice]:
    """List the user's authenticators."""
    return list((await service.stub.ListTotpDevices(pb.ListTotpDevicesRequest(), metadata=bearer(tokens))).devices)


async def remove_device(service: Service, tokens: Tokens, device_id: str) -> None:
    """Remove an authenticator."""
    await service.stub.RemoveTotpDevice(pb.RemoveTotpDeviceRequest(device_id=device_id), metadata=bearer(tokens))


async def add_authenticator(service: Service, tokens: Tokens, friendly_name: str = "") -> str:
    """Set a further authenticator up; return its secret."""
    added = await associate(service, tokens, friendly_name)
    await verify(service, tokens, added.session, service.totp(added.shared_secret))
    return added.shared_secret


async def reauthenticate(service: Service, tokens: Tokens, **proof: str) -> Tokens:
    """Prove the user again: `reauthenticate(service, tokens, password=…)`."""
    proved = await service.stub.Reauthenticate(pb.ReauthenticateRequest(**proof), metadata=bearer(tokens))
    return proved.tokens


async def delete_user(service: Service, tokens: Tokens) -> None:
    """Erase the user."""
    await service.stub.DeleteUser(pb.DeleteUserRequest(), metadata=bearer(tokens))


async def recorded(database: Database, *kinds: str) -> list[tuple[str, str, dict[str, str]]]:
    """Return kind, result or reason, and details of the audit events of some kinds, oldest first."""
    rows = await database.fetch(
        "select kind, coalesce(nullif(reason, ''), result) as outcome, details from audit_events"
        " where kind = any($1::text[]) order by chain, sequence",
        list(kinds),
    )
    return [(row["kind"], row["outcome"], row["details"]) for row in rows]


def _kind(name: str) -> str:
    return name.removeprefix("MFA_TYPE_")
