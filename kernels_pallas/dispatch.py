"""Choose the implementation of an operator: a pure function of a table, a call and a name.

Each operator owns a table, best implementation first. An entry says why it cannot serve a call
(`unsupported(call)` gives the reason, or None when it can) and where its forward function is; the
module is imported only once the entry is chosen, so that a backend costs nothing until it is used.

`call` is whatever frozen record of static facts (shapes, dtypes, options) the operator hands in.
Nothing here looks at devices: a choice that depends on the platform belongs inside a forward
function, by `jax.lax.platform_dependent`, which follows the platform that a program is lowered for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple


class Implementation(NamedTuple):
    """One way to run an operator."""

    unsupported: Callable[[Any], str | None]  # the reason it cannot serve a call, None if it can
    module: str  # imported when chosen
    function: str = "forward"


Table = Mapping[str, Implementation]


def always(call: Any) -> str | None:
    """An `unsupported` that refuses nothing."""
    del call
    return None


def refused_by(module: str) -> Callable[[Any], str | None]:
    """The `unsupported` of a backend's own module, which is imported only when it is asked.

    A module that cannot be imported here serves no call, and the reason says what is missing.
    """

    def unsupported(call: Any) -> str | None:
        try:
            backend = import_module(module)
        except ImportError as error:
            return f"{module} cannot be imported here: {error}"
        return backend.unsupported(call)

    return unsupported


def reasons(table: Table, call: Any) -> dict[str, str | None]:
    """For each implementation, best first, why it cannot serve `call` (None: it can)."""
    return {name: entry.unsupported(call) for name, entry in table.items()}


def choose(operator: str, table: Table, call: Any, implementation: str | None = None) -> str:
    """The name of the implementation that serves `call`.

    Args:
      operator: the operator's name, for messages.
      table: implementations, best first.
      call: the operator's record of static facts, given to every `unsupported`.
      implementation: a name in `table`, or None for the first that supports the call.

    Raises:
      ValueError: the name is unknown, the named implementation cannot serve the call, or none can;
        the message carries the reasons.
    """
    if implementation is None:
        for name, entry in table.items():  # an entry below the one that serves is not asked
            if entry.unsupported(call) is None:
                return name
        listed = "; ".join(f"{name}: {reason}" for name, reason in reasons(table, call).items())
        raise ValueError(f"{operator}: no implementation supports this call ({listed})")
    if not isinstance(implementation, str) or implementation not in table:
        accepted = ", ".join(repr(name) for name in table)
        raise ValueError(f"implementation is {implementation!r}; accepted: None, {accepted}")
    reason = table[implementation].unsupported(call)
    if reason is not None:
        raise ValueError(f"implementation {implementation!r} cannot run this {operator}: {reason}")
    return implementation


def load(table: Table, name: str) -> Callable[..., Any]:
    """Import the chosen implementation and return its forward function."""
    entry = table[name]
    return getattr(import_module(entry.module), entry.function)
