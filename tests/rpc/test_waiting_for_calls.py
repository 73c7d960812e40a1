"""What a server keeps waiting for the next call."""

import asyncio

from authsvc.v1 import auth_service_pb2 as pb
from tests.service import Service


async def test_idle_server_has_no_task_for_each_method(service: Service) -> None:
    """The time that a call takes does not grow with the number of methods: nothing waits for one method alone."""
    methods = len(pb.DESCRIPTOR.services_by_name["AuthService"].methods)
    assert len(asyncio.all_tasks()) < methods
