"""Messages that flows owe: codes and notices, on their way into the outbox."""
