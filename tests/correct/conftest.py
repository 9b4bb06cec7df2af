"""Fixtures of the tests of corrections."""

from tests.report.conftest import case, tool, validate

__all__ = ["case", "tool", "validate"]
