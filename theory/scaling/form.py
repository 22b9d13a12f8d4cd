"""A law as a declaration: a sum of power-law terms.

    y = sum_k c_k prod_j x_j^(s_kj e_kj),   c_k >= 0,  e in a box,  s = +1 or -1

In the log domain each term is linear in its parameters, z_k = log c_k + sum_j s_kj e_kj log x_j,
and log y = logsumexp_k z_k. That is all the solver needs to know about a law, so a new one is a
declaration of its terms and of the range of its exponents. Two terms may share an exponent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

# For each term, its factors as (column index, exponent index, sign).
Structure = tuple[tuple[tuple[int, int, int], ...], ...]

RESERVED_COLUMNS = ("run", "weight")


@dataclass(frozen=True)
class Term:
    """One term c * prod_j x_j^(+-e_j).

    Args:
      coefficient: the name of c, which the fit keeps at or above zero.
      powers: column name -> exponent name; a leading "-" negates it, so that
        `Term("A", {"N": "-alpha"})` is A N^-alpha. Empty for a constant.
    """

    coefficient: str
    powers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Form:
    """A named law: its terms, the column it predicts, and the range of its exponents.

    Args:
      name: what prints.
      target: the column that the law predicts; positive.
      terms: the terms of the sum; every coefficient has its own name.
      domain: exponent name -> (lowest, highest) value that a fit may take; both finite. Exponents
        have no unit, so the range means the same in every unit of the columns.

    Raises:
      ValueError: a name is used twice, an exponent has no range, or a range is empty or infinite.
    """

    name: str
    target: str
    terms: tuple[Term, ...]
    domain: Mapping[str, tuple[float, float]]

    def __post_init__(self) -> None:
        repeated = {p for p in self.params if self.params.count(p) > 1}
        if repeated:
            raise ValueError(f"form {self.name!r}: parameter {sorted(repeated)} is named twice")
        if not self.terms:
            raise ValueError(f"form {self.name!r}: terms is empty; a law has at least one Term")
        if not self.columns:
            raise ValueError(f"form {self.name!r}: no term has a power of a column")
        clash = {*self.columns} & {self.target, *RESERVED_COLUMNS}
        if clash or self.target in RESERVED_COLUMNS:
            names = sorted(clash or {self.target})
            raise ValueError(
                f"form {self.name!r}: {names} cannot be a column of the law; the target and "
                f"{RESERVED_COLUMNS} are taken"
            )
        if set(self.domain) != set(self.exponents):
            raise ValueError(
                f"form {self.name!r}: domain gives {sorted(self.domain)}, but the exponents are "
                f"{sorted(self.exponents)}"
            )
        for name, (low, high) in self.domain.items():
            if not (np.isfinite(low) and np.isfinite(high) and low < high):
                raise ValueError(
                    f"form {self.name!r}: domain[{name!r}] = {(low, high)}; both ends must be "
                    "finite, the first below the second"
                )

    @property
    def coefficients(self) -> tuple[str, ...]:
        """Names of the coefficients, one a term."""
        return tuple(term.coefficient for term in self.terms)

    @property
    def exponents(self) -> tuple[str, ...]:
        """Names of the exponents, in order of first use."""
        names = (power.removeprefix("-") for term in self.terms for power in term.powers.values())
        return tuple(dict.fromkeys(names))

    @property
    def params(self) -> tuple[str, ...]:
        """Names of all parameters: coefficients, then exponents."""
        return self.coefficients + self.exponents

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that the law reads, in order of first use."""
        return tuple(dict.fromkeys(column for term in self.terms for column in term.powers))

    @property
    def structure(self) -> Structure:
        """The terms as indices: a hashable key for compiled code."""
        columns, exponents = self.columns, self.exponents
        return tuple(
            tuple(
                (
                    columns.index(column),
                    exponents.index(power.removeprefix("-")),
                    -1 if power.startswith("-") else 1,
                )
                for column, power in term.powers.items()
            )
            for term in self.terms
        )

    @property
    def formula(self) -> str:
        """The law in one line of text, such as 'loss = E + A N^-alpha + B D^-beta'."""
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
          params: every parameter, each a number or an array.
          columns: every column of the law, positive; broadcast against the parameters.

        Returns:
          An array of the shape that parameters and columns broadcast to.
        """
        total = np.zeros(())
        for term in self.terms:
            value = np.asarray(params[term.coefficient], dtype=np.float64)
            for column, power in term.powers.items():
                exponent = np.asarray(params[power.removeprefix("-")], dtype=np.float64)
                sign = -1.0 if power.startswith("-") else 1.0
                x = np.asarray(columns[column], dtype=np.float64)
                value = value * np.exp(sign * exponent * np.log(x))
            total = total + value
        return total


CHINCHILLA = Form(
    name="chinchilla",  # Hoffmann et al. (2022), equation 2; N parameters, D tokens
    target="loss",
    terms=(Term("E"), Term("A", {"N": "-alpha"}), Term("B", {"D": "-beta"})),
    domain={"alpha": (0.0, 3.0), "beta": (0.0, 3.0)},
)

M1 = Form(
    name="m1",  # Alabdulmohsin et al. (2022), M1: y = b x^c
    target="y",
    terms=(Term("b", {"x": "c"}),),
    domain={"c": (-5.0, 5.0)},
)

M2 = Form(
    name="m2",  # Alabdulmohsin et al. (2022), M2: y = b x^c + e_inf, falling in x
    target="y",
    terms=(Term("b", {"x": "c"}), Term("e_inf")),
    domain={"c": (-5.0, 0.0)},
)

forms: Mapping[str, Form] = MappingProxyType({form.name: form for form in (CHINCHILLA, M1, M2)})


def resolve(form: str | Form) -> Form:
    """The declaration that a name stands for; a Form is returned as it is.

    Raises:
      ValueError: the name is not in `forms`.
      TypeError: neither a name nor a Form.
    """
    if isinstance(form, Form):
        return form
    if not isinstance(form, str):
        raise TypeError(f"form must be a name or a Form, not {type(form).__name__}")
    if form not in forms:
        raise ValueError(f"form {form!r} is unknown; accepted are {sorted(forms)} or a Form")
    return forms[form]
