"""A law as a declaration: a sum of terms, each a coefficient times a function of the columns.

    y = sum_k c_k phi_k(x; eta),   c_k >= 0,  eta in a box

Most laws are sums of power laws, phi_k = prod_j x_j^(s_kj e_kj), and a `Term` then names the
exponents. Any other phi is a function that returns log phi_k. The solver works in the log domain,
log y = logsumexp_k(log c_k + log phi_k), and a law is all that it needs to know: its terms and the
range of its nonlinear parameters. Two terms may share a parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from theory.scaling.basis import POSITIVE, REAL, SCALE, Basis, Factor, Structure, log_law

RESERVED_COLUMNS = ("run", "weight")

Values = Mapping[str, Any]
LogBasis = Callable[[Values, Values], Any]


class Positive(NamedTuple):
    """The range of a positive parameter without a unit, searched evenly in its logarithm."""

    low: float
    high: float


class Scale(NamedTuple):
    """A positive parameter in the unit of a column.

    It is searched over the range of the data in log, and may end up `margin` times the width of
    that range outside it. A `log_basis` sees its logarithm, as it sees those of the columns.
    """

    column: str
    margin: float = 1.0


class Centre(NamedTuple):
    """Not fitted: a place in the unit of a column that the solver puts at its geometric mean.

    It takes up a scale that a law would otherwise have once too often. Seen as its logarithm.
    """

    column: str


Range = tuple[float, float] | Positive | Scale | Centre
_KINDS = {Positive: POSITIVE, Scale: SCALE}


@dataclass(frozen=True)
class Term:
    """One term c * phi of a law.

    Args:
      coefficient: the name of c, which the fit keeps at or above zero.
      powers: column name -> exponent name, or a number; a leading "-" negates a name, so that
        `Term("A", {"N": "-alpha"})` is A N^-alpha. Empty for a constant.
      log_basis: in place of powers, a function (p, x) -> log phi, written with jax.numpy; p holds
        the nonlinear parameters by name (those of `Scale` and `Centre` as logarithms) and x the
        logarithms of the columns. A change of the unit of a column, with the same change of the
        scales that have its unit, may change log phi by a constant and no more.
      reads: names of the parameters that log_basis reads; empty for all.
    """

    coefficient: str
    powers: Mapping[str, str | float] = field(default_factory=dict)
    log_basis: LogBasis | None = None
    reads: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """Parameters in which a law is published, where they are not those that the solver uses.

    Args:
      params: name -> whether it is positive (and its interval then sought in log).
      of: the solver's parameters -> those of `params`; written with jax.numpy.
      back: those of `params` -> the solver's, `Centre`s included.
      words: a solver's parameter -> the published one to name in its place in a sentence.
    """

    params: Mapping[str, bool]
    of: Callable[[Values], dict[str, Any]]
    back: Callable[[Values], dict[str, Any]]
    words: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Form:
    """A named law: its terms, the column it predicts, and the range of its other parameters.

    Args:
      name: what prints.
      target: the column that the law predicts; positive.
      terms: the terms of the sum; every coefficient has its own name.
      domain: parameter name -> its range: (lowest, highest), both finite, for an exponent, or a
        `Positive`, `Scale` or `Centre`. Exponents have no unit, so the range means the same in
        every unit of the columns.
      inputs: the columns, where a `log_basis` reads some that no power names.
      report: the published parameters; None if they are those above.
      text: the right-hand side as a line of text; None to write it from the powers.
      same_unit: groups of columns that share a unit, such as tokens and unique tokens.
      starts: further starts for the search, a function of (columns in the solver's units, log
        targets, weights, how many) -> the solver's parameters by name; see `laws.broken`.

    Raises:
      ValueError: a name is used twice, a parameter has no range, or a range is empty or infinite.
    """

    name: str
    target: str
    terms: tuple[Term, ...]
    domain: Mapping[str, Range]
    inputs: tuple[str, ...] = ()
    report: Report | None = None
    text: str | None = None
    same_unit: tuple[tuple[str, ...], ...] = ()
    starts: Callable[[Values, np.ndarray, np.ndarray, int], dict[str, np.ndarray]] | None = None

    def __post_init__(self) -> None:
        names = self.coefficients + self.exponents
        repeated = {p for p in names if names.count(p) > 1}
        if repeated:
            raise ValueError(f"form {self.name!r}: parameter {sorted(repeated)} is named twice")
        if not self.terms:
            raise ValueError(f"form {self.name!r}: terms is empty; a law has at least one Term")
        if not self.columns:
            raise ValueError(f"form {self.name!r}: no term has a power of a column")
        clash = {*self.columns} & {self.target, *RESERVED_COLUMNS}
        if clash or self.target in RESERVED_COLUMNS:
            found = sorted(clash or {self.target})
            raise ValueError(
                f"form {self.name!r}: {found} cannot be a column of the law; the target and "
                f"{RESERVED_COLUMNS} are taken"
            )
        used = _used(self.terms)
        if used - set(self.domain) or (not self._curved and set(self.domain) != used):
            raise ValueError(
                f"form {self.name!r}: domain gives {sorted(self.domain)}, but the exponents are "
                f"{sorted(used)}"
            )
        for name, span in self.domain.items():
            _check_range(self, name, span)

    @property
    def _curved(self) -> bool:
        return any(term.log_basis is not None for term in self.terms)

    @property
    def coefficients(self) -> tuple[str, ...]:
        """Names of the coefficients, one a term."""
        return tuple(term.coefficient for term in self.terms)

    @property
    def exponents(self) -> tuple[str, ...]:
        """Names of the nonlinear parameters that are fitted: by first use in powers, then domain.

        Mostly exponents; also scales and shapes of a `log_basis`.
        """
        powers = (p for term in self.terms for p in term.powers.values() if isinstance(p, str))
        names = (*(p.removeprefix("-") for p in powers), *self.domain)
        fitted = (n for n in names if not isinstance(self.domain.get(n), Centre))
        return tuple(dict.fromkeys(fitted))

    @property
    def solved(self) -> tuple[str, ...]:
        """Names of the parameters that the solver uses: coefficients, then exponents."""
        return self.coefficients + self.exponents

    @property
    def params(self) -> tuple[str, ...]:
        """Names of the published parameters."""
        return self.solved if self.report is None else tuple(self.report.params)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that the law reads, in order of first use."""
        powers = (column for term in self.terms for column in term.powers)
        return tuple(dict.fromkeys((*self.inputs, *powers)))

    def word(self, name: str) -> str:
        """What to call a parameter of the solver in a sentence."""
        return name if self.report is None else self.report.words.get(name, name)

    def positive(self, name: str) -> bool:
        """Whether a published parameter is kept positive (or at zero) by the fit."""
        if self.report is not None:
            return self.report.params[name]
        return name in self.coefficients or isinstance(self.domain[name], Positive | Scale)

    @cached_property
    def structure(self) -> Structure:
        """The terms as a hashable key for compiled code: indices, or a `Basis`."""
        plain = [
            t for t in self._indexed() if isinstance(t, tuple) and all(f.exponent >= 0 for f in t)
        ]
        return tuple(plain) if len(plain) == len(self.terms) else self.basis

    @cached_property
    def basis(self) -> Basis:
        """The terms of any law as a `Basis`."""
        exponents, terms = self.exponents, self._indexed()
        every = frozenset(range(len(exponents)))
        named = [frozenset(exponents.index(n) for n in term.reads) for term in self.terms]
        return Basis(
            terms=tuple(terms),
            columns=self.columns,
            nonlinear=tuple((n, _KINDS.get(type(self.domain[n]), REAL)) for n in exponents),
            centres=tuple(n for n, span in self.domain.items() if isinstance(span, Centre)),
            reads=tuple(
                (named[k] or every) if callable(t) else frozenset(f.exponent for f in t) - {-1}
                for k, t in enumerate(terms)
            ),
        )

    def _indexed(self) -> list[tuple[Factor, ...] | LogBasis]:
        columns, exponents = self.columns, self.exponents
        terms = []
        for term in self.terms:
            factors = []
            for column, power in term.powers.items():
                if isinstance(power, str):
                    sign = -1 if power.startswith("-") else 1
                    place = exponents.index(power.removeprefix("-"))
                    factors.append(Factor(columns.index(column), place, sign))
                else:
                    factors.append(Factor(columns.index(column), -1, float(power)))
            terms.append(term.log_basis or tuple(factors))
        return terms

    @property
    def formula(self) -> str:
        """The law in one line of text, such as 'loss = E + A N^-alpha + B D^-beta'."""
        if self.text is not None:
            return f"{self.target} = {self.text}"
        terms = (
            " ".join([term.coefficient, *(f"{x}^{power}" for x, power in term.powers.items())])
            for term in self.terms
        )
        return f"{self.target} = {' + '.join(terms)}"

    def predict(
        self, params: Mapping[str, np.ndarray | float], columns: Mapping[str, np.ndarray | float]
    ) -> np.ndarray:
        """Values of the law.

        Args:
          params: every published parameter, each a number or an array.
          columns: every column of the law, positive; broadcast against the parameters.

        Returns:
          An array of the shape that parameters and columns broadcast to.
        """
        solved = params if self.report is None else self.report.back(params)
        if isinstance(self.structure, Basis):
            return log_law(self, solved, columns)
        total = np.zeros(())
        for term in self.terms:
            value = np.asarray(solved[term.coefficient], dtype=np.float64)
            for column, power in term.powers.items():
                assert isinstance(power, str)
                exponent = np.asarray(solved[power.removeprefix("-")], dtype=np.float64)
                sign = -1.0 if power.startswith("-") else 1.0
                x = np.asarray(columns[column], dtype=np.float64)
                value = value * np.exp(sign * exponent * np.log(x))
            total = total + value
        return total


def _used(terms: tuple[Term, ...]) -> set[str]:
    powers = {p for t in terms for p in t.powers.values() if isinstance(p, str)}
    return {p.removeprefix("-") for p in powers} | {n for t in terms for n in t.reads}


def _check_range(form: Form, name: str, span: Range) -> None:
    if isinstance(span, Scale | Centre):
        if span.column not in form.columns:
            raise ValueError(
                f"form {form.name!r}: domain[{name!r}] is in the unit of {span.column!r}, which "
                f"is no column; the columns are {list(form.columns)}"
            )
        return
    low, high = span
    least = 0.0 if isinstance(span, Positive) else -np.inf
    if not (np.isfinite(low) and np.isfinite(high) and least < high and low < high):
        raise ValueError(
            f"form {form.name!r}: domain[{name!r}] = {(low, high)}; both ends must be "
            "finite, the first below the second"
        )
    if isinstance(span, Positive) and low <= 0:
        raise ValueError(f"form {form.name!r}: domain[{name!r}] = {span}; both must be positive")
