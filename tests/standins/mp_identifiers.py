"""Ids of materials: with digits as people write them, with letters as the database stores them."""

from __future__ import annotations

_PADDED = 8
_NEWEST_LEGACY = 3_347_529
"""Ids up to this number have a form with digits; newer ones have letters only."""


def alpha_id(identifier: str | int) -> str:
    """An id as the database stores it: ``mp-149``, ``149`` and ``mp-ft`` are ``mp-aaaaaaft``.

    Raises:
        ValueError: It has other characters than small letters, or digits, after the prefix.
    """
    text = str(identifier).rpartition("-")[2].strip()
    if text.isascii() and text.isdecimal():
        number, text = int(text), ""
        while number or not text:
            number, digit = divmod(number, 26)
            text = chr(ord("a") + digit) + text
    if text and not (text.isascii() and text.isalpha() and text.islower()):
        raise ValueError(f"{identifier!r} is no id of a material")
    return "mp-" + text.rjust(_PADDED, "a")


def number_of(identifier: str | int) -> int:
    """The number that the letters of an id stand for; raises ``ValueError``."""
    number = 0
    for letter in alpha_id(identifier)[3:]:
        number = 26 * number + ord(letter) - ord("a")
    return number


def legacy_id(identifier: str | int) -> str:
    """An id with digits where it is old enough to have them; raises ``ValueError``."""
    number = number_of(identifier)
    return f"mp-{number}" if number <= _NEWEST_LEGACY else alpha_id(identifier)
