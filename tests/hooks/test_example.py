"""The example hook, as its README tells to run and to ask it."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pyotp
import pytest

from authsvc.v1 import auth_service_pb2 as auth
from authsvc.v1 import challenge_hook_service_pb2 as pb
from authsvc.v1.auth_service_pb2_grpc import AuthServiceStub
from authsvc.v1.challenge_hook_service_pb2_grpc import ChallengeHookServiceStub
from tests.dev_process import Dev
from tests.hooks.process import ROOT, HookProcess
from tests.hooks.puzzles import ASKED, solution
from tests.rpc.calls import step_of
from tests.service import PASSWORD

README = (ROOT / "examples" / "challenge_hook" / "README.md").read_text(encoding="utf-8")
RUN, CREATE, VERIFY, SERVE = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
GRPCURL = Path(sys.executable).with_name("grpcurl")
PYTHON, HOOK, *ARGUMENTS = RUN.split()


@pytest.fixture(scope="module")
def hook() -> Iterator[HookProcess]:
    """Run the example as its README says, on a free port."""
    assert (PYTHON, ARGUMENTS) == (".venv/bin/python", ["--port", "50061"])
    with HookProcess(HOOK, "--office", "192.0.2.0/24", "--port") as running:
        yield running


def shell(block: str, hook: HookProcess) -> dict[str, Any]:
    """Return the JSON that a block of the README prints."""
    done = subprocess.run(
        ["bash", "-euc", block.replace("grpcurl", str(GRPCURL), 1).replace("localhost:50061", hook.target)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.skipif(not GRPCURL.exists(), reason="grpcurl's wheel has no binary for this platform")
def test_readme_asks_the_example_to_the_letter(hook: HookProcess) -> None:
    """What the README says to paste gets a challenge, and a right answer."""
    created = shell(CREATE, hook)
    assert created["decision"] == "CHALLENGE_DECISION_CHALLENGE"
    assert created["parameters"]["publicParameters"]["question"].startswith("How much is ")
    assert shell(VERIFY, hook) == {"isCorrect": True}


async def test_example_spares_the_office(hook: HookProcess) -> None:
    """A sign-in from the office needs no puzzle; one from elsewhere, or from nobody knows where, does."""
    decisions = {}
    async with grpc.aio.insecure_channel(hook.target) as channel:
        stub = ChallengeHookServiceStub(channel)
        for address in ("192.0.2.7", "198.51.100.7", "2001:db8::7", ""):
            context = pb.ChallengeContext(client_ip=address, round=1)
            created = await stub.CreateChallenge(pb.CreateChallengeRequest(context=context))
            decisions[address] = created.decision
    assert decisions.pop("192.0.2.7") == pb.CHALLENGE_DECISION_NOT_NEEDED
    assert set(decisions.values()) == {pb.CHALLENGE_DECISION_CHALLENGE}


@pytest.mark.parametrize(
    ("answer", "is_correct"), [("retnuoc", True), (" Retnuoc ", True), ("counter", False), ("", False)]
)
async def test_example_forgives_case_and_spaces(hook: HookProcess, answer: str, is_correct: bool) -> None:
    """An answer counts as people write it."""
    parameters = pb.ChallengeParameters(private_parameters={"answer": "retnuoc"})
    async with grpc.aio.insecure_channel(hook.target) as channel:
        request = pb.VerifyChallengeRequest(parameters=parameters, answer=answer)
        assert (await ChallengeHookServiceStub(channel).VerifyChallenge(request)).is_correct is is_correct


async def test_example_finds_no_answer_right_without_one(hook: HookProcess) -> None:
    """A challenge without its private parameter has no right answer."""
    async with grpc.aio.insecure_channel(hook.target) as channel:
        request = pb.VerifyChallengeRequest(answer=" ")
        assert not (await ChallengeHookServiceStub(channel).VerifyChallenge(request)).is_correct


@pytest.mark.e2e
@pytest.mark.timeout(180)
async def test_readme_lets_sign_ins_be_asked(hook: HookProcess, tmp_path: Path) -> None:
    """With the variable of the README, `make run` asks the puzzles after the second factor; solved, they sign in."""
    variable, *command = SERVE.split()
    name, _, target = variable.partition("=")
    assert (target, command) == ("localhost:50061", ["make", "run"])
    with Dev(tmp_path, **{name: hook.target}) as dev:
        async with grpc.aio.insecure_channel(dev.address) as channel:
            stub = AuthServiceStub(channel)
            attributes = {"email": "ada@example.com"}
            await stub.SignUp(auth.SignUpRequest(username="ada", password=PASSWORD, attributes=attributes))
            code = await asyncio.to_thread(dev.code_for, "ada@example.com")
            await stub.ConfirmSignUp(auth.ConfirmSignUpRequest(username="ada", confirmation_code=code))
            started = await stub.SignIn(auth.SignInRequest(username="ada", password=PASSWORD))
            totp = pyotp.TOTP(started.next_step.totp_setup.shared_secret).now()
            asked = await stub.ConfirmSignIn(auth.ConfirmSignInRequest(session=started.session, totp_code=totp))
            for _ in range(2):
                assert step_of(asked) == ASKED
                request = auth.ConfirmSignInRequest(session=asked.session, custom_answer=solution(asked))
                asked = await stub.ConfirmSignIn(request)
            assert asked.is_signed_in
