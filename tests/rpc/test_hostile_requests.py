"""Every method, called with what no well-behaved caller sends: a typed error or a success, each time."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authsvc.v1 import auth_service_pb2 as pb
from tests.ids import short
from tests.rpc.conftest import Run
from tests.rpc.every_method import ENDING, Method, bearer_methods, filled, methods
from tests.service import PASSWORD, Account, Service, bearer

TEXTS = [
    "x" * 30_000,
    "🙂" * 15_000,
    "\ufdfa" * 20_000,  # grows eighteenfold when normalised
    "9" * 60_000,
    "ada\0",
    "\0",
    "\x01\x1b[31m\x7f\x85",
    "a\r\nb: c",
    " \u00a0\u2003",
    "\u202eada\u202c",  # right to left
    "aא1ب",  # both directions
    "👩\u200d👩\u200d👧",
    "\u0301",  # a combining character alone
    "a" + "\u0301" * 500,
    "\u200b\u2060\ufeff",  # no width at all
    "\U0010ffff",
    "'; drop table users; --",
    "%s%n{0}${x}$1",
    "١٢٣٤٥٦",  # digits, but not these
    "{00000000-0000-0000-0000-000000000000}",
]
NUMBERS = [-1, -(2**31), 2**31 - 1, 9_999]


@pytest.fixture
async def service(run: Run) -> AsyncIterator[Service]:
    """Run the service so that no request is refused for its size alone."""
    async with run(server={"max_message_bytes": 4_194_304}) as running:
        yield running


async def call_all(
    service: Service, account: Account, requests: Iterable[tuple[Method, Message]]
) -> dict[str, set[str]]:
    """Call methods, those for signed-in users also with a user's token; return the outcomes by method."""
    seen: dict[str, set[str]] = {}
    tokens = await service.sign_in_fully(account)
    for_users = {str(method) for method in bearer_methods()}
    for method, message in requests:
        for metadata in ([], bearer(tokens)) if str(method) in for_users else ([],):
            reason = await method.call(service.channel, message.SerializeToString(), metadata)
            seen.setdefault(str(method), set()).add(reason)
    return seen


async def test_empty_requests_are_answered_with_typed_errors(service: Service) -> None:
    """A request without any field is refused as such, but for the methods that need none."""
    ada = await service.enrolled()
    seen = await call_all(service, ada, [(method, method.request()) for method in methods()])
    assert {method for method, reasons in seen.items() if "OK" in reasons} - set(ENDING) == NEED_NO_FIELD
    taking = {
        method: reasons for method, reasons in seen.items() if method not in NEED_NO_FIELD | {*ENDING, *OWN_REASON}
    }
    assert all("INVALID_FIELDS" in reasons for reasons in taking.values())


NEED_NO_FIELD = {
    "AssociateTotp",
    "FetchAuthSession",
    "FetchMfaPreference",
    "FetchUserAttributes",
    "GenerateRecoveryCodes",
    "GetCurrentUser",
    "GetSigningKeys",
    "ListAuthEvents",
    "ListSessions",
    "ListTotpDevices",
    "UpdateMfaPreference",
}
# It says what is wrong with the password instead.
OWN_REASON = {"UpdatePassword"}


@pytest.mark.parametrize("text", TEXTS, ids=short)
async def test_hostile_text_in_every_field_is_answered_with_typed_errors(service: Service, text: str) -> None:
    """Text that is huge, of the wrong kind or meant to break something does nothing but be refused."""
    ada = await service.enrolled()
    hostile = [(method, message) for method in methods() for message in filled(method.request(), text, 0)]
    # With a name that exists they get further.
    known = [(method, with_name(message)) for method, message in hostile if has_name(message)]
    seen = await call_all(service, ada, hostile + known)
    assert "OK" not in seen["SignUp"] | seen["SignIn"] | seen["ConfirmSignIn"] | seen["RefreshSession"]


def has_name(message: Message) -> bool:
    """Tell whether a request names an account."""
    return "username" in message.DESCRIPTOR.fields_by_name


def with_name(message: Message) -> Message:
    """Return the message with a username that exists."""
    named = type(message)()
    named.CopyFrom(message)
    setattr(named, "username", "ada")  # noqa: B010 - which kind of message it is only the test knows
    return named


async def test_unknown_numbers_are_answered_with_typed_errors(service: Service) -> None:
    """Enum values that nobody knows and numbers out of every range are refused by field."""
    ada = await service.enrolled()
    for number in NUMBERS:
        requests = [(method, message) for method in methods() for message in filled(method.request(), "ada", number)]
        seen = await call_all(service, ada, requests)
        assert "INVALID_FIELDS" in seen["ListSessions"]
        assert seen["ConfirmSignIn"] <= {"INVALID_FIELDS", "SESSION_EXPIRED"}


async def test_hostile_answers_leave_a_sign_in_alive(service: Service) -> None:
    """No answer of a wrong kind or form costs the session a try: the right code still finishes the sign-in."""
    ada = await service.enrolled()
    service.next_totp_step()
    started = await service.sign_in("ada")
    (confirm,) = [method for method in methods() if str(method) == "ConfirmSignIn"]
    for text in (*TEXTS, "", "00"):
        for message in filled(confirm.request(), text, 9_999):
            assert isinstance(message, pb.ConfirmSignInRequest)
            message.session = started.session
            assert await confirm.call(service.channel, message.SerializeToString()) == "INVALID_FIELDS"
    done = await service.stub.ConfirmSignIn(
        pb.ConfirmSignInRequest(session=started.session, totp_code=service.totp(ada.secret))
    )
    assert done.is_signed_in


def values(field: FieldDescriptor, known: list[str]) -> st.SearchStrategy[object]:
    """Return values of a field: any, and often such as the service knows."""
    if field.type == FieldDescriptor.TYPE_STRING:
        return st.one_of(st.sampled_from(known), st.text(max_size=300))
    if field.type == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    return st.one_of(st.integers(-1, 10), st.integers(-(2**31), 2**31 - 1))


@st.composite
def any_request(draw: st.DrawFn, method: Method, known: list[str]) -> Message:
    """Return a request with some of its fields set to anything."""
    message = method.request()
    for field in method.descriptor.input_type.fields:
        if draw(st.booleans()):
            continue
        if field.is_repeated and field.message_type is None:
            getattr(message, field.name).extend(draw(st.lists(values(field, known), max_size=4)))
        elif field.message_type is not None:
            names = st.one_of(st.sampled_from(["email", "name", "locale"]), st.text(max_size=20))
            getattr(message, field.name).update(draw(st.dictionaries(names, st.text(max_size=50), max_size=4)))
        else:
            setattr(message, field.name, draw(values(field, known)))
    return message


@dataclass(frozen=True)
class Known:
    """Hold what a fuzzer knows of the service."""

    service: Service
    texts: list[str]
    bearer: list[tuple[str, str]]


@pytest.fixture
async def known(service: Service) -> Known:
    """Let there be an account and half a sign-in of it, and another user who is signed in."""
    await service.confirmed("ada")
    eve = await service.enrolled("eve", password="another-9-lakes-than-ada")
    started = await service.sign_in("ada")
    setup = await service.stub.AssociateTotp(pb.AssociateTotpRequest(), metadata=eve.bearer)
    handles = [started.session, setup.session, eve.tokens.refresh_token]
    return Known(service, ["ada", "eve", PASSWORD, *handles, "000000", "ada@example.com", ""], eve.bearer)


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    # One service takes all of them: what one call leaves behind is what the next one meets.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
async def test_any_request_is_answered_with_a_typed_error_or_succeeds(known: Known, data: st.DataObject) -> None:
    """Whatever is in the fields of a request, or in its bytes, no call ends in a fault."""
    # Those that end eve's session would end what is found out with it.
    method = data.draw(st.sampled_from([each for each in methods() if str(each) not in ENDING]), label="method")
    message = data.draw(any_request(method, known.texts), label="message")
    wire = data.draw(st.one_of(st.just(message.SerializeToString()), st.binary(max_size=100)), label="wire")
    metadata = data.draw(st.sampled_from([[], known.bearer, [("authorization", "Bearer x")]]), label="metadata")
    await method.call(known.service.channel, wire, metadata)
