"""Prometheus metrics: calls by method and outcome, limits that are met, the hash queue, mail."""

from __future__ import annotations

from datetime import timedelta
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from authsvc.domain import Medium

SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Hold the metrics of one process; labels are closed sets, never what a caller sends."""

    def __init__(self, *, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry or CollectorRegistry()
        rpcs = Counter(
            "authsvc_rpcs", "Calls by method and reason; OK if they succeeded.", ["method", "reason"], registry=registry
        )
        seconds = Histogram(
            "authsvc_rpc_seconds", "Time of calls.", ["method"], buckets=SECONDS_BUCKETS, registry=registry
        )
        # Every call looks them up, which takes a lock.
        self._rpcs, self._seconds = cache(rpcs.labels), cache(seconds.labels)
        self._mails = Counter(
            "authsvc_mails", "Messages by medium, kind and outcome.", ["medium", "kind", "outcome"], registry=registry
        )
        self._hashes = Gauge(
            "authsvc_password_hashes",
            "Password hashes that run or wait.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._mail_age = Gauge(
            "authsvc_mail_age_seconds",
            "How long the message that is due longest has waited, by medium.",
            ["medium"],
            registry=registry,
            multiprocess_mode="livemax",
        )

        self._refusals = Counter(
            "authsvc_limits_reached",
            "Calls that met a limit, by action and scope: source, network, or all.",
            ["action", "scope"],
            registry=registry,
        )
        self._unnamed_clients = Counter(
            "authsvc_unnamed_clients", "Calls of trusted callers that told no client address.", registry=registry
        )
        self._cut_connections = Counter(
            "authsvc_cut_connections", "Connections closed because their peer had too many.", registry=registry
        )

    def observe_rpc(self, method: str, reason: str, seconds: float) -> None:
        """Count one finished call."""
        self._rpcs(method, reason).inc()
        self._seconds(method).observe(seconds)

    def count_unnamed_client(self) -> None:
        """Count a call for users, by a trusted caller that did not tell for whom."""
        self._unnamed_clients.inc()

    def count_cut_connections(self, count: int) -> None:
        """Count connections that were closed because their peer had too many."""
        self._cut_connections.inc(count)

    def count_mail(self, medium: Medium, kind: str, outcome: str) -> None:
        """Count one try to send a message."""
        self._mails.labels(medium, kind, outcome).inc()

    def count_limit(self, action: str, scope: str) -> None:
        """Count one call that met a limit."""
        self._refusals.labels(action, scope).inc()

    def set_hashes(self, waiting: int) -> None:
        """Note how many password hashes run or wait."""
        self._hashes.set(waiting)

    def set_mail_age(self, medium: Medium, age: timedelta) -> None:
        """Note how long the message of a medium that is due longest has waited."""
        self._mail_age.labels(medium).set(age.total_seconds())
