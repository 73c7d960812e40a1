"""The Postgres that may die."""

from tests.faults.conftest import mortal, postgres_folder

__all__ = ["mortal", "postgres_folder"]
