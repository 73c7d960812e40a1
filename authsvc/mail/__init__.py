"""Mail: from the outbox to the SMTP server. The only importer of aiosmtplib is `smtp`."""
