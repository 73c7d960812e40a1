"""Answering custom challenges as a user would: those of the example, and of the scripted hook."""

from __future__ import annotations

import re

import jwt

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.tokens_pb2 import Tokens
from tests.service import Service

ASKED = "CONFIRM_SIGN_IN_WITH_CUSTOM_CHALLENGE"
# The example as a program, with the network from which it asks nothing.
EXAMPLE = ("examples/challenge_hook/hook.py", "--office", "192.0.2.0/24", "--port")

Asked = pb.SignInResponse | pb.ConfirmSignInResponse


def solution(response: Asked) -> str:
    """Return the right answer to what the example asks."""
    (question,) = response.next_step.public_parameters.values()
    if numbers := re.findall(r"\d+", question):
        return str(sum(map(int, numbers)))
    return str(question.split()[1][::-1])


async def custom(service: Service, session: str, text: str) -> pb.ConfirmSignInResponse:
    """Answer a custom challenge."""
    return await service.stub.ConfirmSignIn(pb.ConfirmSignInRequest(session=session, custom_answer=text))


async def rightly(service: Service, asked: Asked) -> pb.ConfirmSignInResponse:
    """Answer what the example asks."""
    return await custom(service, asked.session, solution(asked))


def methods(tokens: Tokens) -> list[str]:
    """Return the authentication methods that an access token tells."""
    claims: dict[str, list[str]] = jwt.decode(tokens.access_token, options={"verify_signature": False})
    return claims["amr"]
