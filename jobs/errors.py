"""What stops a run as a whole; anything that stops one candidate is a ``Failure`` row instead."""

from __future__ import annotations


class EngineError(RuntimeError):
    """The engine cannot start or go on. One line: what was found and what to do next."""
