"""Who calls, what they may spend, and the one gate before every verifier."""
