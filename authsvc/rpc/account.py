"""The methods of AuthService by which a signed-in user keeps the account: validate, call the flow, convert."""

from __future__ import annotations

from authsvc.rpc.call import Context
from authsvc.rpc.flows import Flows
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.auth_service_pb2_grpc import AuthServiceServicer


class AccountServicer(AuthServiceServicer):
    """Serve factors, attributes and the account as a whole; what each RPC does stands in its proto."""

    _flows: Flows

    async def GenerateRecoveryCodes(
        self, request: pb.GenerateRecoveryCodesRequest, context: Context
    ) -> pb.GenerateRecoveryCodesResponse:
        codes = await self._flows.recovery.generate(await self._flows.bearer())
        return pb.GenerateRecoveryCodesResponse(recovery_codes=codes)
