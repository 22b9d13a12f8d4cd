"""Train long-range models, log every run, and predict the next one from its scaling law."""

from __future__ import annotations


def __getattr__(name: str) -> str:
    """Look `__version__` up when it is asked for: reading metadata costs tens of milliseconds."""
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("farwide")
        except PackageNotFoundError:  # a checkout on PYTHONPATH that was never installed
            return "0+uninstalled"
    raise AttributeError(f"module 'farwide' has no attribute {name!r}")
