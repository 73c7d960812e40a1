"""Page tokens: where a list goes on, sealed, so that it is nobody's business and can't be made up."""

from __future__ import annotations

import base64
import binascii

from authsvc.crypto.sealing import KeyRing, Purpose, UnsealError
from authsvc.errors import InvalidFields, Violation

PAGE_SIZE = 50
LARGEST_PAGE = 100
# More than the longest name or address makes of one.
TOKEN_CHARACTERS = 2048


def page_token(ring: KeyRing, position: str, *, bound_to: str) -> str:
    """Return the token of a position in the list that `bound_to` names: of whom, and which."""
    sealed = ring.seal(Purpose.PAGE, position.encode(), bound_to=bound_to)
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def position_of(ring: KeyRing, token: str, *, bound_to: str) -> str:
    """Return the position that a token stands for; empty for none, the begin of the list.

    Raises:
        InvalidFields: it is not a token of this list.
    """
    if not token:
        return ""
    try:
        sealed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        return ring.open(Purpose.PAGE, sealed, bound_to=bound_to).decode()
    except (UnsealError, binascii.Error, ValueError) as error:
        raise InvalidFields(
            violations=(Violation("page_token", "PAGE_TOKEN", "must be next_page_token of the page before"),)
        ) from error
