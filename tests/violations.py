"""What a parser refuses."""

from collections.abc import Callable
from typing import ParamSpec

from authsvc.errors import InvalidFields, InvalidPassword, Violation

P = ParamSpec("P")


def violations_of(parse: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> tuple[Violation, ...]:
    """Return the rules that are broken; none if the parser takes what it is given."""
    try:
        parse(*args, **kwargs)
    except (InvalidFields, InvalidPassword) as refusal:
        assert refusal.violations  # noqa: PT017  # a refusal that says nothing is none
        return refusal.violations
    return ()
