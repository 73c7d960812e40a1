"""Accounts: sign-up, names, profile, addresses, passwords, their end."""
