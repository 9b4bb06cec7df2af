"""The log: useful to an administrator, empty of patient data."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import warnings

import pytest

from dicomnode.logs import JsonFormatter, TextFormatter, configure_logging, where_it_happened
from dicomnode.measure.distribution import lung_histogram


def record(**extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {"name": "dicomnode.node", "levelname": "INFO", "msg": "analyzed %d", **extra}
    )
    made.args = (3,)
    return made


def test_extras_stand_behind_the_message() -> None:
    assert (
        TextFormatter().format(record(series="3f2a")).endswith("INFO dicomnode.node: analyzed 3 series=3f2a")
    )


def test_a_value_cannot_look_like_another_pair_or_line() -> None:
    line = TextFormatter().format(record(calling_ae_title="CT1 peer=10.0.0.1\nERROR"))
    assert line.endswith(r'analyzed 3 calling_ae_title="CT1 peer=10.0.0.1\nERROR"')


def test_json_is_one_object_a_line() -> None:
    line = JsonFormatter().format(record(series="3f2a", seconds=1.5))
    assert "\n" not in line
    content = json.loads(line)
    assert (content["message"], content["series"], content["seconds"]) == ("analyzed 3", "3f2a", 1.5)


def test_an_unexpected_error_tells_its_place_not_its_message() -> None:
    try:
        lung_histogram("Doe^Jane")  # type: ignore[arg-type]
    except Exception as error:
        told = where_it_happened(error)
    assert told.startswith("AttributeError at dicomnode/measure/distribution.py:")
    assert "Doe" not in told


def test_warnings_of_libraries_that_quote_values_are_silent(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level, hook = root.handlers[:], root.level, threading.excepthook
    try:
        configure_logging("DEBUG", "text")
        logging.getLogger("pydicom").warning("Invalid value for VR PN: 'Doe^Jane'")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("The value 'Doe^Jane' is too long", stacklevel=1)
        logging.getLogger("dicomnode").debug("a line of ours")
        logging.getLogger("some_library").info("chatter")
    finally:
        logging.captureWarnings(False)
        root.handlers[:], root.level, threading.excepthook = before, level, hook
    told = capsys.readouterr().err
    assert "a line of ours" in told
    assert "Doe" not in told
    assert "chatter" not in told


def test_a_thread_that_ends_by_an_error_tells_its_place_not_its_message() -> None:
    """Python's own last words would quote the patient."""
    program = (
        "import threading; from dicomnode.logs import configure_logging; configure_logging('INFO', 'text');"
        "thread = threading.Thread(target=lambda: int('Doe^Jane')); thread.start(); thread.join()"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stderr
    assert "a thread ended by an error: ValueError" in told
    assert "Doe" not in told
