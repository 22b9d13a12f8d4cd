"""The command line: `farwide fit`, `farwide runs`, `farwide report`."""

from farwide.cli.main import main

__all__ = ["main"]
