"""Secrets of authenticators that are too short to be safe, brought by an import."""

from authsvc.v1.user_record_pb2 import TotpRecord
from tests.admin.operator import Operator
from tests.admin.transfers import import_rows, record, told
from tests.rpc.conftest import Run, run

__all__ = ["run"]

SHORT = "JBSWY3DPEHPK3PXP"
LONG_ENOUGH = "JBSWY3DPEHPK3PXPJBSWY3DPEA"


async def test_short_secret_needs_leave(run: Run, key: str) -> None:
    """RFC 4226 section 4 R6, ASVS 5 V6.5.2: a secret has 128 bits at least; 80 of them are taken by setting only."""
    rows = [record("ada", totp_devices=[TotpRecord(secret=SHORT)])]
    async with run() as service:
        refused = await import_rows(Operator(service.channel, key), *rows, import_id="first")
        assert [(field, rule) for field, rule, _ in told(refused.problems)] == [("totp_devices[0].secret", "SHORT")]
        grace = record("grace", totp_devices=[TotpRecord(secret=LONG_ENOUGH)])
        assert (await import_rows(Operator(service.channel, key), grace, import_id="second")).imported == 1
    async with run(accounts={"import_short_totp_secrets": True}) as service:
        assert (await import_rows(Operator(service.channel, key), *rows, import_id="third")).imported == 1
