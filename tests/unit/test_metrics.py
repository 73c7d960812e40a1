"""Metrics: what a scrape reads."""

from datetime import timedelta

from prometheus_client import CollectorRegistry, generate_latest

from authsvc.domain import Medium
from authsvc.telemetry.metrics import Metrics


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Return the value of one sample."""
    found: float | None = metrics.registry.get_sample_value(name, labels)
    return found


def test_calls_are_counted_by_method_and_reason_and_timed_by_method() -> None:
    """Each finished call adds one to its counter and its time to its histogram."""
    metrics = Metrics()
    for reason, seconds in (("OK", 0.002), ("OK", 0.2), ("NOT_AUTHORIZED", 3.0)):
        metrics.observe_rpc("SignIn", reason, seconds)
    metrics.observe_rpc("SignUp", "OK", 0.1)
    assert value(metrics, "authsvc_rpcs_total", method="SignIn", reason="OK") == 2
    assert value(metrics, "authsvc_rpcs_total", method="SignIn", reason="NOT_AUTHORIZED") == 1
    assert value(metrics, "authsvc_rpc_seconds_count", method="SignIn") == 3
    assert value(metrics, "authsvc_rpc_seconds_sum", method="SignIn") == 3.202
    assert value(metrics, "authsvc_rpc_seconds_bucket", method="SignIn", le="0.0025") == 1
    assert value(metrics, "authsvc_rpc_seconds_bucket", method="SignIn", le="0.25") == 2
    assert value(metrics, "authsvc_rpc_seconds_count", method="SignUp") == 1


def test_mails_are_counted_by_kind_and_outcome() -> None:
    """Each try to send a mail adds one to the counter of its outcome."""
    metrics = Metrics()
    for outcome in ("sent", "sent", "retry"):
        metrics.count_mail(Medium.EMAIL, "SIGN_UP_CODE", outcome)
    assert value(metrics, "authsvc_mails_total", medium="EMAIL", kind="SIGN_UP_CODE", outcome="sent") == 2
    assert value(metrics, "authsvc_mails_total", medium="EMAIL", kind="SIGN_UP_CODE", outcome="retry") == 1


def test_gauges_show_the_last_value() -> None:
    """The hash queue and the age of the mail are what was noted last."""
    metrics = Metrics()
    for hashes in (3, 1):
        metrics.set_hashes(hashes)
    metrics.set_mail_age(Medium.SMS, timedelta(seconds=90))
    assert value(metrics, "authsvc_password_hashes") == 1
    assert value(metrics, "authsvc_mail_age_seconds", medium="SMS") == 90


def test_two_sets_of_metrics_are_apart() -> None:
    """Each has a registry of its own, unless it is given one; all its metrics bear the service's name."""
    registry = CollectorRegistry()
    one, other = Metrics(registry=registry), Metrics()
    one.set_hashes(1)
    other.set_hashes(2)
    assert one.registry is registry
    assert value(one, "authsvc_password_hashes") == 1
    names = {line.split()[2] for line in generate_latest(registry).decode().splitlines() if line.startswith("# TYPE")}
    assert names
    assert all(name.startswith("authsvc_") for name in names)
