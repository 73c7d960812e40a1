"""A challenge hook to start from: two puzzles at the end of a sign-in, none for sign-ins from the office.

    python examples/challenge_hook/hook.py --port 50061 --office 192.0.2.0/24

It keeps nothing: what it has to know again, the right answer, travels as a private parameter and is kept by authsvc.
So it can be restarted between two calls, and any number of them can share the work.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import secrets
import signal
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import grpc

from authsvc.v1 import challenge_hook_service_pb2 as pb
from authsvc.v1.challenge_hook_service_pb2_grpc import (
    ChallengeHookServiceServicer,
    add_ChallengeHookServiceServicer_to_server,
)

WORDS = ("lantern", "harbour", "thistle", "compass", "marble", "saffron")


class Puzzles(ChallengeHookServiceServicer):
    """Ask a sum, then a word backwards."""

    def __init__(self, *, office: IPv4Network | IPv6Network | None) -> None:
        self._office = office

    async def CreateChallenge(
        self,
        request: pb.CreateChallengeRequest,
        context: grpc.aio.ServicerContext[pb.CreateChallengeRequest, pb.CreateChallengeResponse],
    ) -> pb.CreateChallengeResponse:
        """Decide what the sign-in needs next, from the round and nothing else that has to be remembered."""
        sign_in = request.context
        if sign_in.round == 1 and self._is_in_office(sign_in.client_ip):
            return pb.CreateChallengeResponse(decision=pb.CHALLENGE_DECISION_NOT_NEEDED)
        if sign_in.round == 1:
            first, second = 10 + secrets.randbelow(90), 10 + secrets.randbelow(90)
            return _ask(f"How much is {first} + {second}?", str(first + second))
        if sign_in.round == 2:
            word = secrets.choice(WORDS)
            return _ask(f"Write {word} backwards.", word[::-1])
        return pb.CreateChallengeResponse(decision=pb.CHALLENGE_DECISION_PASSED)

    async def VerifyChallenge(
        self,
        request: pb.VerifyChallengeRequest,
        context: grpc.aio.ServicerContext[pb.VerifyChallengeRequest, pb.VerifyChallengeResponse],
    ) -> pb.VerifyChallengeResponse:
        """Compare the answer with the private parameter; counting wrong ones is not the hook's business."""
        expected = request.parameters.private_parameters["answer"]
        answered = request.answer.strip().casefold()
        is_correct = expected != "" and hmac.compare_digest(answered.encode(), expected.encode())
        return pb.VerifyChallengeResponse(is_correct=is_correct)

    def _is_in_office(self, client_ip: str) -> bool:
        # Empty unless a trusted caller told it.
        return self._office is not None and client_ip != "" and ip_address(client_ip) in self._office


def _ask(question: str, answer: str) -> pb.CreateChallengeResponse:
    return pb.CreateChallengeResponse(
        decision=pb.CHALLENGE_DECISION_CHALLENGE,
        parameters=pb.ChallengeParameters(
            public_parameters={"question": question}, private_parameters={"answer": answer}
        ),
    )


async def serve(host: str, port: int, office: IPv4Network | IPv6Network | None) -> None:
    """Serve until SIGTERM or Ctrl-C, and finish the calls in flight."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = grpc.aio.server()
    add_ChallengeHookServiceServicer_to_server(Puzzles(office=office), server)
    # For a hook on another machine add_secure_port: what it is told and asked should be read by nobody on the way.
    bound = server.add_insecure_port(f"{host}:{port}")
    await server.start()
    print(f"the hook listens on {host}:{bound}", flush=True)
    await stop.wait()
    await server.stop(grace=5)


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="Ask two puzzles at the end of each sign-in.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, default=50061, help="0 takes a free one")
    parser.add_argument("--office", type=ip_network, help="network from which no puzzle is asked")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.host, arguments.port, arguments.office))


if __name__ == "__main__":
    main()
