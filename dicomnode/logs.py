"""Logging to standard error, for people or as JSON; patient data gets in only where it is configured to."""

from __future__ import annotations

import json
import logging
import threading
import time
import traceback
from pathlib import Path

LOGGER = logging.getLogger(__name__)

PACKAGE = Path(__file__).parent
STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName"}

# These quote values of data elements in what they log or warn of.
TALKATIVE_LIBRARIES = ("pydicom", "pynetdicom", "highdicom", "py.warnings")


def configure_logging(level: str, format_name: str) -> None:
    """Send the log to standard error.

    Parameters
    ----------
    level:
        ``DEBUG``, ``INFO``, ``WARNING`` or ``ERROR``.
    format_name:
        ``text`` for people, ``json`` for collectors: one object a line.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if format_name == "json" else TextFormatter())
    # What other libraries have to say below a warning is noise, and nobody knows whom it quotes.
    logging.basicConfig(level=max(logging.WARNING, getattr(logging, level)), handlers=[handler], force=True)
    logging.getLogger(PACKAGE.name).setLevel(level)
    logging.captureWarnings(True)
    threading.excepthook = _log_the_end_of_a_thread
    for name in TALKATIVE_LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _log_the_end_of_a_thread(end: threading.ExceptHookArgs) -> None:
    """Python would print the message of the error, which may quote patient data."""
    name = end.thread.name if end.thread else "unknown"
    where = where_it_happened(end.exc_value) if end.exc_value else end.exc_type.__name__
    LOGGER.error("a thread ended by an error: %s", where, extra={"thread_name": name})


def extras(record: logging.LogRecord) -> dict[str, object]:
    """What was passed as ``extra``: series and association ids, counts, seconds."""
    return {key: value for key, value in vars(record).items() if key not in STANDARD_ATTRIBUTES}


class TextFormatter(logging.Formatter):
    """``2026-01-31 12:00:00 INFO dicomnode.node: series analyzed series=3f2a seconds=12.1``."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback's places where there is one."""
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        pairs = "".join(f" {key}={_plain(value)}" for key, value in extras(record).items())
        text = f"{when} {record.levelname} {record.name}: {record.getMessage()}{pairs}"
        if record.exc_info and record.exc_info[1]:
            text += f" error={where_it_happened(record.exc_info[1])}"
        return text


class JsonFormatter(logging.Formatter):
    """One JSON object a line with the same content."""

    def format(self, record: logging.LogRecord) -> str:
        """Time in seconds since 1970 UTC."""
        content: dict[str, object] = {
            "time": round(record.created, 3),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **extras(record),
        }
        if record.exc_info and record.exc_info[1]:
            content["error"] = where_it_happened(record.exc_info[1])
        return json.dumps(content, default=str)


def _plain(value: object) -> str:
    """In quotes where it isn't one word: what a sender chose must not look like another pair or line."""
    text = str(value)
    if text and text.isprintable() and not any(character in text for character in ' ="'):
        return text
    return json.dumps(text)


def where_it_happened(error: BaseException) -> str:
    """Kind and place of an unexpected error, without its message, which may quote patient data."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(PACKAGE)] or frames
    if not ours:
        return type(error).__name__
    place = Path(ours[-1].filename)
    name = place.relative_to(PACKAGE.parent) if place.is_relative_to(PACKAGE) else place.name
    return f"{type(error).__name__} at {name}:{ours[-1].lineno}"
