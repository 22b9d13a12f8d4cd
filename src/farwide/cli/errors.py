"""An error that the command line reports in one message."""

from __future__ import annotations


class CommandError(ValueError):
    """Arguments, or data, that a command cannot use; the text says why."""
