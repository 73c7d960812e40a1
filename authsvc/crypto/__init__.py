"""Primitives behind small names: the only importers of argon2, jwt, pyotp, cryptography and secrets."""
