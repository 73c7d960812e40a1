"""A challenge hook that does what the name of the user says, in a process of its own: `python -m tests.hooks.scripted`.

A name is `<round>-<act>` for CreateChallenge in that round, `verify-<act>` for VerifyChallenge, or `<number>-rounds`.
Everything else is played by the rules: two rounds, each with its number as the right answer. It ends when standard
input does.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import grpc
from google.protobuf.json_format import MessageToJson

from authsvc.v1 import challenge_hook_service_pb2 as pb

SERVICE = "authsvc.v1.ChallengeHookService"
ROUNDS = 2
# What a hook says when it fails; none of it may get anywhere.
SECRET_TEXT = "hunter2 is the answer of"
STATUS = "status-"

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"


def challenge(public: dict[str, str], private: dict[str, str] | None = None) -> bytes:
    """Return a reply that asks a challenge."""
    parameters = pb.ChallengeParameters(public_parameters=public, private_parameters=private or {})
    return decision("CHALLENGE", parameters)


def decision(name: str, parameters: pb.ChallengeParameters | None = None) -> bytes:
    """Return a reply with a decision."""
    value = pb.ChallengeDecision.Value(f"CHALLENGE_DECISION_{name}")
    return pb.CreateChallengeResponse(decision=value, parameters=parameters).SerializeToString()


# What CreateChallenge answers, as bytes: not all of it is a message.
REPLIES = {
    "passed": decision("PASSED"),
    "not_needed": decision("NOT_NEEDED"),
    "denied": decision("DENIED"),
    "unspecified": decision("UNSPECIFIED"),
    "empty": b"",
    "unknown": b"\x08\x63",
    "garbage": b"\xff\xfe\xfd",
    "not_utf8": challenge({"question": "x"}).replace(b"x", b"\xff"),
    "huge": challenge({"question": "x" * 1_000_000}),
    "most_parameters": challenge({f"p{n}": "" for n in range(10)}, {f"p{n}": "" for n in range(10)}),
    "too_many_parameters": challenge({f"p{n}": "" for n in range(10)}, {f"p{n}": "" for n in range(11)}),
    "most_bytes": challenge({"q": "x" * 2047}, {"a": "ü" * 1023 + "x"}),
    "too_many_bytes": challenge({"q": "x" * 2047}, {"a": "ü" * 1024}),
    "nameless": challenge({"": "x"}),
    "control_public": challenge({"question": "two\nlines"}),
    "control_private": challenge({}, {"answer": "\x00"}),
    "control_name": challenge({"a\x7f": ""}),
}


async def create(message: bytes, context: Context) -> bytes:
    """Answer CreateChallenge."""
    request = pb.CreateChallengeRequest.FromString(message)
    which, _, act = request.context.username.lower().partition("-")
    number = request.context.round
    rounds = int(which) if act == "rounds" else ROUNDS
    if which == str(number) and act != "rounds":
        if act == "echo":
            return challenge({"seen": MessageToJson(request, indent=None)}, {"answer": str(number)})
        await _act(act, context)
        return REPLIES[act]
    if number > rounds:
        return REPLIES["passed"]
    return challenge({"question": f"round {number}?"}, {"answer": str(number)})


async def verify(message: bytes, context: Context) -> bytes:
    """Answer VerifyChallenge."""
    request = pb.VerifyChallengeRequest.FromString(message)
    which, _, act = request.context.username.lower().partition("-")
    if which == "verify":
        await _act(act, context)
        return REPLIES[act]
    is_correct = request.answer == request.parameters.private_parameters["answer"]
    return pb.VerifyChallengeResponse(is_correct=is_correct).SerializeToString()


async def _act(act: str, context: Context) -> None:
    if act == "slow":
        await asyncio.sleep(60)
    if act.startswith(STATUS):
        await context.abort(grpc.StatusCode[act.removeprefix(STATUS).upper()], SECRET_TEXT)


def _handler(answer: Callable[[bytes, Context], Awaitable[bytes]]) -> grpc.RpcMethodHandler[bytes, bytes]:
    return grpc.unary_unary_rpc_method_handler(answer)


async def main(port: str, *files: str) -> None:
    """Serve on a port until standard input ends.

    With three files by mutual TLS: its certificate, the key, the authority of its clients.
    """
    server = grpc.aio.server()
    methods = {"CreateChallenge": _handler(create), "VerifyChallenge": _handler(verify)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, methods)])
    address = f"127.0.0.1:{port}"
    if files:
        certificate, key, authority = (Path(file).read_bytes() for file in files)
        credentials = grpc.ssl_server_credentials([(key, certificate)], authority, require_client_auth=True)
        bound = server.add_secure_port(address, credentials)
    else:
        bound = server.add_insecure_port(address)
    await server.start()
    sys.stdout.write(f"{bound}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
