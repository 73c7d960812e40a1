"""Times on the wire."""

from datetime import UTC, datetime, timedelta, timezone

from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis.strategies import datetimes, integers

from authsvc.rpc.convert import timestamp


@given(told=datetimes(), hours=integers(-14, 14))
def test_timestamp_is_the_same_moment_to_the_microsecond(told: datetime, hours: int) -> None:
    """Any time that a datetime can tell, before 1970 as well as after, is the same on the wire, in any zone."""
    moment = told.replace(tzinfo=timezone(timedelta(hours=hours)))
    proto = Timestamp()
    proto.FromDatetime(moment)
    assert timestamp(moment) == proto
    if 1 < moment.year < 9999:
        assert timestamp(moment).ToDatetime(UTC) == moment
