"""Names of parametrized tests."""

from zlib import crc32


def short(value: object) -> str:
    """Return a name for a value that may be text of any length and kind."""
    name = ascii(value)
    return name if len(name) <= 40 else f"{name[:30]}...{crc32(name.encode()):08x}"
