"""What a machine without PostgreSQL and without a mail server lacks: for `authsvc dev`, `authsvc demo` and the tests."""
