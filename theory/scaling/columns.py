"""Reading the user's columns: by name, checked value by value, nothing dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from theory.scaling.form import RESERVED_COLUMNS, Form


class Table(NamedTuple):
    """The columns of a fit, each (points,), in the order in which they came."""

    columns: dict[str, np.ndarray]  # of the law, positive float64
    target: np.ndarray  # positive float64
    weight: np.ndarray  # nonnegative float64; ones if the data have none
    run: np.ndarray | None  # labels

    def as_given(self, form: Form) -> dict[str, np.ndarray]:
        """The columns by name, with those that the data did not have filled in or left out."""
        out = {**self.columns, form.target: self.target, "weight": self.weight}
        return out if self.run is None else {**out, "run": self.run}


# Columns that follow from N and D where a law reads them and the data have only those.
DERIVED: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "C": lambda N, D: 6.0 * N * D,  # FLOPs
    "M": lambda N, D: D / N,  # tokens per parameter
}


def derive(form: Form, data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The data with C = 6 N D and M = D / N in place of N and D, where the law wants those."""
    if not hasattr(data, "keys") or not {"N", "D"} <= set(data.keys()):
        return data
    missing = [n for n in form.columns if n in DERIVED and n not in data.keys()]  # noqa: SIM118
    if not missing:
        return data
    N, D = _positive("N", data["N"]), _positive("D", data["D"])
    spare = {"N", "D"} - set(form.columns)
    kept = {name: data[name] for name in data.keys() if name not in spare}  # noqa: SIM118
    return {**kept, **{name: DERIVED[name](N, D) for name in missing}}


def read_table(form: Form, data: Mapping[str, Any]) -> Table:
    """The columns that a fit needs.

    Args:
      form: the law; it names the columns.
      data: a mapping of column names to sequences (a dict, a DataFrame): those of the law and its
        target, and optionally "run" (labels) and "weight" (nonnegative). C = 6 N D and M = D / N
        are computed from N and D where a law reads them and they are not given.

    Raises:
      ValueError: a column is missing or unknown, has another length or shape, or holds a value
        that is not finite and positive (the message gives the column and the row); or there are
        fewer points of positive weight than parameters + 1.
    """
    data = derive(form, data)
    needed = (*form.columns, form.target)
    names = _names(form, data, needed, (*needed, *RESERVED_COLUMNS))
    columns = {name: _positive(name, data[name]) for name in form.columns}
    target = _positive(form.target, data[form.target])
    weight = np.ones(target.shape)
    if "weight" in names:
        weight = _numbers("weight", data["weight"])
        _check("weight", weight, np.isfinite(weight) & (weight >= 0), "finite and not negative")
    run = np.asarray(data["run"]) if "run" in names else None
    for name, column in {**columns, "weight": weight, "run": run}.items():
        if column is not None and column.shape != target.shape:
            raise ValueError(
                f"column {name!r} has shape {column.shape}, but {form.target!r} has {target.shape}"
            )
    if target.ndim != 1:
        raise ValueError(f"column {form.target!r} has shape {target.shape}; accepted is (points,)")
    points = int(np.sum(weight > 0))
    if points < len(form.params) + 1:
        raise ValueError(
            f"{points} points of positive weight are too few for form {form.name!r}: it has "
            f"{len(form.params)} parameters and needs at least {len(form.params) + 1} points"
        )
    return Table(columns, target, weight, run)


def read_inputs(form: Form, data: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The columns that a prediction needs, broadcast together; a target column is not read.

    Raises:
      ValueError: as `read_table`.
    """
    data = derive(form, data)
    _names(form, data, form.columns, (*form.columns, form.target, *RESERVED_COLUMNS))
    columns = {name: _positive(name, data[name]) for name in form.columns}
    shapes = {name: column.shape for name, column in columns.items()}
    try:
        arrays = np.broadcast_arrays(*columns.values())
    except ValueError:
        raise ValueError(f"columns do not broadcast together: {shapes}") from None
    return dict(zip(columns, arrays, strict=True))


def _names(
    form: Form, data: Mapping[str, Any], needed: Iterable[str], known: Iterable[str]
) -> list[str]:
    if not hasattr(data, "keys"):
        raise TypeError(f"data must map column names to arrays, not be a {type(data).__name__}")
    names = list(data.keys())
    for name in needed:
        if name not in names:
            raise ValueError(
                f"column {name!r} is missing: form {form.name!r} reads {list(needed)}, "
                f"the data have {names}"
            )
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"column {unknown[0]!r} is unknown; accepted are {list(known)}")
    return names


def _numbers(name: str, values: Any) -> np.ndarray:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"column {name!r} does not hold numbers: {error}") from None


def _positive(name: str, values: Any) -> np.ndarray:
    numbers = _numbers(name, values)
    _check(name, numbers, np.isfinite(numbers) & (numbers > 0), "finite and positive")
    return numbers


def _check(name: str, numbers: np.ndarray, good: np.ndarray | np.bool, accepted: str) -> None:
    bad = np.argwhere(~good)
    if len(bad):
        row = tuple(int(i) for i in bad[0])
        where = f", row {row[0]}" if len(row) == 1 else f", index {row}" if row else ""
        more = f" ({len(bad)} such values)" if len(bad) > 1 else ""
        value = numbers[tuple(bad[0])]
        raise ValueError(f"column {name!r}{where}: {value}{more}; every value must be {accepted}")
