"""What a user can be told: one line, with the exit code of the design."""

from __future__ import annotations

FAILED = 1
"""Data or system failed: a corrupt file, a locked database, a server error."""
WRONG_USE = 2
"""Arguments that can never work."""
NOTHING_TO_SHOW = 3
"""Done, and nothing came of it."""


class UserError(Exception):
    """A message for the user: what was found, what was expected, what to do next.

    Args:
        message: One line; line breaks are folded into spaces.
        exit_code: ``WRONG_USE`` unless said otherwise.
    """

    def __init__(self, message: str, exit_code: int = WRONG_USE) -> None:
        super().__init__(" ".join(message.split()))
        self.exit_code = exit_code


class NothingToShow(UserError):  # noqa: N818 - nothing went wrong
    """The work is done and there is nothing to show: no candidate, or every one refused."""

    def __init__(self, message: str) -> None:
        super().__init__(message, NOTHING_TO_SHOW)
