"""Tests of authsvc: a real Postgres, a real SMTP server, the real gRPC server; only time is fake."""
