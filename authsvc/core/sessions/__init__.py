"""Sessions of signed-in users, their tokens, and the keys that sign those."""
