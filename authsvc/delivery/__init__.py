"""Messages on their way from the outbox to their readers: by mail over SMTP, by SMS over the operator's webhook."""
