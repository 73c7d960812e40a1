"""The documents that are made from the code say what the code says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from authsvc.config import Settings, load, setting_names
from authsvc.errors import Reason
from tools.generate_docs import DOCUMENTS, GENERATED, configuration, errors


@pytest.mark.parametrize(("name", "make"), GENERATED.items(), ids=list(GENERATED))
def test_documents_are_up_to_date(name: str, make: Callable[[], str]) -> None:
    """The committed document is the one that `make docs` writes."""
    assert (DOCUMENTS / name).read_text(encoding="utf-8") == make()


def test_every_setting_is_documented() -> None:
    """docs/configuration.md has a row for each setting."""
    text = configuration()
    assert [name for name in setting_names() if f"| `{name}` |" not in text] == []


def test_defaults_can_be_set_as_they_are_documented() -> None:
    """Each default in the table, put into the environment as it stands there, changes nothing."""
    rows = [row.strip("| ").split(" | ") for row in configuration().splitlines() if row.startswith("| `")]
    defaults = {row[0].strip("`"): row[2].strip("`") for row in rows if row[2] != "-"}
    assert len(defaults) > 60
    assert load(defaults) == Settings()


def test_every_reason_is_documented_with_an_example() -> None:
    """docs/errors.md has a row for each reason, and no row without a meaning or an example."""
    rows = [row.split(" | ") for row in errors().splitlines() if row.startswith("| `")]
    assert [row[0].strip("| `") for row in rows] == list(Reason)
    assert all(len(row) == 4 and row[2].strip() and row[3].strip(" |") for row in rows)
