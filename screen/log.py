"""Logs for programs: one JSON object a line, through the standard ``logging``.

``log_event`` says what happened, by name and fields, to the logger ``screen``; ``logging_to`` adds
a file to which all of it goes, with what the other packages of the program say and the warnings of
the rest. Without such a file nothing is written and events cost next to nothing.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from screen.errors import FAILED, UserError

LOGGER = "screen"
_OWN = ("pathways", "models", "jobs", "screen")
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)[^/@\s\"]+@")
_LEAST_SECRET = 6
"""Characters; what is shorter is in too many words to be looked for."""


def log_event(event: str, level: int = logging.INFO, **values: Any) -> None:
    """Say what happened to whoever listens.

    Args:
        event: its name, such as ``failure``.
        level: of ``logging``.
        values: fields of the line, as JSON types.
    """
    logger = logging.getLogger(LOGGER)
    if logger.hasHandlers():  # else what is a warning would be printed by its bare name
        logger.log(level, event, extra={"values": values})


@contextmanager
def logging_to(path: str | Path | None) -> Iterator[None]:
    """Add events to the end of a file while the block lasts; the error that ends it is one.

    Args:
        path: None logs nowhere.

    Raises:
        UserError: the file cannot be written.
    """
    if path is None:
        yield
        return
    try:
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})", FAILED) from error
    handler.setFormatter(JsonLines())
    handler.addFilter(_is_wanted)
    logger = logging.getLogger(LOGGER)
    level = logger.level
    logger.setLevel(logging.INFO)
    logging.getLogger().addHandler(handler)
    try:
        yield
    except BaseException as error:
        log_event("error", logging.ERROR, kind=type(error).__name__, message=str(error))
        raise
    finally:
        logging.getLogger().removeHandler(handler)
        logger.setLevel(level)
        handler.close()


def _is_wanted(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] in _OWN or record.levelno >= logging.WARNING


class JsonLines(logging.Formatter):
    """A record as one line: ``time`` (UTC, ISO 8601), ``level``, ``event`` and its fields.

    What others log is the event ``log`` with ``logger`` and ``message``. Values of environment
    variables whose names say that they are secret are left out of every line.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        from screen.output import plain

        values = getattr(record, "values", None)
        time = datetime.fromtimestamp(record.created, UTC)
        line = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": record.getMessage() if values is not None else "log",
        }
        if values is None:
            line |= {"logger": record.name, "message": record.getMessage()}
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        return without_secrets(json.dumps(plain({**line, **(values or {})}), ensure_ascii=False))


def without_secrets(text: str) -> str:
    """A text with stars for logins in web addresses, and for the value of every secret environment
    variable, as JSON writes it."""
    text = _LOGIN.sub("***@", text)
    for name, value in os.environ.items():
        if _SECRET.search(name) and len(value) >= _LEAST_SECRET:
            for written in {value, json.dumps(value, ensure_ascii=False)[1:-1]}:
                text = text.replace(written, "***")
    return text
