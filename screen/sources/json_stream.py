"""The items of a JSON list, one by one, as text: the list may be larger than the memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from screen.sources.documents import opened

_BLOCK = 1 << 20
_MOST_CHARACTERS = 1 << 28
"""Longest item."""
_TOKEN = 16
"""More characters than any word or number that a cut may run through, strings aside."""
_SPACE = re.compile(r"[ \t\n\r]*")


def list_items(path: Path) -> Iterator[str] | None:
    """The items of a file that holds a JSON list, or None where it holds something else.

    Raises:
        OSError: The file cannot be read. The iterator raises ValueError where it is no JSON; all
            items before have come by then.
    """
    with opened(path) as file:
        start = file.read(_BLOCK)
    encoding = json.detect_encoding(start)
    if not start.decode(encoding, "replace").lstrip().startswith("["):
        return None
    return _items(path, encoding)


def _items(path: Path, encoding: str) -> Iterator[str]:
    with opened(path) as packed, TextIOWrapper(packed, encoding, newline="") as file:
        text = _Text(file)
        text.skip("[")
        if text.peek() == "]":
            text.skip("]")
        else:
            yield text.value()
            while text.skip(",]") == ",":
                yield text.value()
        if found := text.peek():
            raise ValueError(f"found {found!r} after the list")


class _Text:
    """A JSON text of which only a part is in memory."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._at = 0

    def peek(self) -> str:
        """The next character that is no space, empty at the end."""
        while True:
            match = _SPACE.match(self._text, self._at)
            assert match is not None
            self._at = match.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read_on():
                return ""

    def skip(self, expected: str) -> str:
        """Take the next character, which has to be one of those expected."""
        found = self.peek()
        if not found or found not in expected:
            words = " or ".join(expected)
            raise ValueError(f"found {found!r} in a JSON list where {words} was expected")
        self._at += 1
        return found

    def value(self) -> str:
        """Take the next value."""
        self.peek()
        while True:
            try:
                _, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._may_be_cut(error) and self._read_on():
                    continue
                raise ValueError(f"no JSON: {error.msg}") from None
            if end + _TOKEN > len(self._text) and self._read_on():
                continue  # a number may go on
            value, self._at = self._text[self._at : end], end
            return value

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        is_string = error.msg.startswith("Unterminated string")
        return is_string or error.pos + _TOKEN > len(self._text)

    def _read_on(self) -> bool:
        """Read as much again as is in use, so that a long value costs no more than its length."""
        rest = self._text[self._at :]
        if len(rest) > _MOST_CHARACTERS:
            raise ValueError(f"an item of more than {_MOST_CHARACTERS >> 20} MB")
        more = self._file.read(max(_BLOCK, len(rest)))
        if more:
            self._text, self._at = rest + more, 0
        return bool(more)
