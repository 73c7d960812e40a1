"""The audit trail: recording, reading, verifying, removing by age."""
