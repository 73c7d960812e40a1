"""Mails: what each says, in whose words, and their way to the SMTP server."""
