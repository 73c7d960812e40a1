"""What a machine without PostgreSQL and mail server lacks, for `authsvc dev`, the demo and the tests."""
