"""Logs and metrics. Neither ever holds a password, a code, a secret, a token or an address."""
