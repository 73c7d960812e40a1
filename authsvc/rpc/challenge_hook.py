"""The client of the operator's ChallengeHookService."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar, cast

import grpc
import structlog

from authsvc.config import HooksSettings
from authsvc.core.factors.custom_hook import RETRY_HOOK, HookContext, HookDecision, HookReply, Parameters
from authsvc.errors import HookUnavailable
from authsvc.v1 import challenge_hook_service_pb2 as pb
from authsvc.v1.challenge_hook_service_pb2_grpc import ChallengeHookServiceStub

# The bounds of a challenge leave no need for more.
MOST_BYTES = 64 * 1024
_OPTIONS = [
    ("grpc.max_receive_message_length", MOST_BYTES),
    # Where calls go is said by one setting: by no proxy of the environment, by no record of a name server.
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
    # A hook that is back is called again within a second; by default the wait grows to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # No ping is sent, as no call takes so long; but a connection whose peer vanished is given up after this timeout.
    ("grpc.keepalive_time_ms", 300_000),
    ("grpc.keepalive_timeout_ms", 5000),
]
_DECISIONS = {pb.ChallengeDecision.Value(f"CHALLENGE_DECISION_{decision}"): decision for decision in HookDecision}

_log = structlog.get_logger()
_Response = TypeVar("_Response")


class ChallengeHookClient:
    """Call the hook over one channel, which connects by itself; made within a running event loop."""

    def __init__(self, *, settings: HooksSettings) -> None:
        self._timeout_seconds = settings.challenge_timeout.total_seconds()
        credentials = _credentials(settings)
        self._channel = (
            grpc.aio.insecure_channel(settings.challenge_target, options=_OPTIONS)
            if credentials is None
            else grpc.aio.secure_channel(settings.challenge_target, credentials, options=_OPTIONS)
        )
        self._stub = ChallengeHookServiceStub(self._channel)

    async def close(self) -> None:
        """Close the channel; calls in flight are cancelled."""
        await self._channel.close()

    async def create(self, context: HookContext) -> HookReply:
        """Ask what the sign-in needs next.

        Raises:
            HookUnavailable: any error, no answer in time, or one that is no valid message.
        """
        request = pb.CreateChallengeRequest(context=_context(context))
        call = self._stub.CreateChallenge(request, timeout=self._timeout_seconds)
        response = await self._answer_of("CreateChallenge", call)
        asked = response.parameters
        parameters = Parameters(dict(asked.public_parameters), dict(asked.private_parameters))
        return HookReply(_DECISIONS.get(response.decision), parameters)

    async def verify(self, context: HookContext, asked: Parameters, answer: str) -> bool:
        """Ask whether the answer to a challenge is right.

        Raises:
            HookUnavailable: any error, no answer in time, or one that is no valid message.
        """
        request = pb.VerifyChallengeRequest(context=_context(context), parameters=_parameters(asked), answer=answer)
        call = self._stub.VerifyChallenge(request, timeout=self._timeout_seconds)
        return (await self._answer_of("VerifyChallenge", call)).is_correct

    async def _answer_of(self, method: str, call: Awaitable[_Response]) -> _Response:
        try:
            # The stubs don't know it, but of bytes that are no such message gRPC makes None.
            response = cast("_Response | None", await call)
        except grpc.aio.AioRpcError as error:
            # The text is the hook's, and may tell of the user.
            raise _unavailable(method, error.code().name) from error
        if response is None:
            raise _unavailable(method, "no valid message")
        return response


def _unavailable(method: str, fault: str) -> HookUnavailable:
    _log.error("challenge_hook_failed", method=method, fault=fault)
    return HookUnavailable(retry_after=RETRY_HOOK)


def _context(context: HookContext) -> pb.ChallengeContext:
    return pb.ChallengeContext(
        user_id=str(context.user_id),
        username=context.username,
        attributes=context.attributes,
        client_ip=context.caller.ip,
        client_user_agent=context.caller.user_agent,
        request_id=context.caller.request_id,
        round=context.round,
        answered=[_parameters(parameters) for parameters in context.answered],
    )


def _parameters(parameters: Parameters) -> pb.ChallengeParameters:
    return pb.ChallengeParameters(public_parameters=parameters.public, private_parameters=parameters.private)


def _credentials(settings: HooksSettings) -> grpc.ChannelCredentials | None:
    if settings.challenge_tls_ca_file is None:
        return None
    certificate, key = settings.challenge_tls_certificate_file, settings.challenge_tls_key_file
    return grpc.ssl_channel_credentials(
        settings.challenge_tls_ca_file.read_bytes(),
        key.read_bytes() if key else None,
        certificate.read_bytes() if certificate else None,
    )
