"""Which column of a file is which of ours: as told, by its own name, by a formula, or guessed.

A name on the right of NAME=... is a column of the file where there is one of exactly that name;
else a formula (`farwide.tables.formula`), in which a name is first one of ours (so that
C=6*N*D follows N=params) and then a column of the file. `@file` is the path of the file, as the
name of the run where each file holds one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from farwide.tables.cells import json_number, text_label, text_number
from farwide.tables.formula import Formula, parse_formula
from farwide.tables.source import ABSENT, Row, Source, missing
from farwide.tables.table import error_at

RUN = "run"
WEIGHT = "weight"
STEP = "step"
FILE = "@file"

_ALIASES: Mapping[str, tuple[str, ...]] = {
    "N": ("params", "parameters", "n_params", "num_params", "nparams", "n_parameters",
          "num_parameters", "param_count", "parameter_count", "model_params", "model_size",
          "total_params", "params_total", "active_params", "params_active",
          "params_active_precise", "params_no_embed", "params_non_embedding",
          "non_embedding_params", "n_params_non_embedding", "N"),
    "D": ("tokens", "n_tokens", "num_tokens", "ntokens", "tokens_seen", "train_tokens",
          "training_tokens", "total_tokens", "consumed_tokens", "tokens_processed",
          "num_training_tokens", "D"),
    "C": ("flops", "compute", "total_flops", "train_flops", "training_flops", "C"),
    "loss": ("val_loss", "validation_loss", "valid_loss", "eval_loss", "test_loss", "final_loss",
             "final_val_loss", "final_validation_loss", "loss"),
    RUN: ("run", "run_name", "run_id", "name", "run.name", "run.id", "experiment", "exp_name"),
}  # fmt: skip
_STEPS = ("step", "Step", "_step", "global_step", "trainer/global_step", "iteration", "iter")
_PREFIXES = ("config", "summary", "history", "hparams", "metrics", "args")
_FORMULAS = {"C": "6*N*D", "M": "D/N"}


class MissingCell(ValueError):
    """A cell that a number is read from is absent, null or blank."""


class Columns:
    """The columns of one file under our names; see the file's docstring for how they are found.

    `required` and the keys of `mapping` must be there; `run` and `weight` are read where the file
    has them. With `guess`, a name that the file does not have is looked for under the names that
    others use: `guessed` says what was found. Raises LogError for a column that is not there.
    """

    def __init__(
        self,
        source: Source,
        mapping: Mapping[str, str],
        required: Sequence[str],
        *,
        guess: bool = False,
    ) -> None:
        self.source = source
        self._ours = {*required, *mapping}
        self.guessed: dict[str, str] = {}
        self._plain: dict[str, str] = {}  # our name -> column of the file
        self._formulas: dict[str, Formula] = {}
        for name in dict.fromkeys((*required, *mapping)):
            if name in mapping:
                self._bind(name, mapping[name])
            elif source.has(name):
                self._plain[name] = name
            elif (found := guess_column(name, source.names)) and guess and len(found) == 1:
                self._plain[name] = self.guessed[name] = found[0]
            elif guess and name in _FORMULAS and not found and self._follows(name):
                self._formulas[name] = parse_formula(_FORMULAS[name])
                self.guessed[name] = _FORMULAS[name]
        for name in (RUN, WEIGHT):
            if name not in self and source.has(name):
                self._plain[name] = name
        if guess and RUN not in self and len(found := guess_column(RUN, source.names)) == 1:
            self._plain[RUN] = self.guessed[RUN] = found[0]
        inner = (part for formula in self._formulas.values() for part in formula.names)
        for name in inner if guess else ():
            found = guess_column(name, source.names)
            if name not in self and not source.has(name) and len(found) == 1:
                self._plain[name] = self.guessed[name] = found[0]
        for name in dict.fromkeys((*required, *mapping)):
            if name not in self:
                raise self.error(missing_column(name, mapping.get(name, name), source.names))
        for name, formula in self._formulas.items():
            self._check_names(name, formula, (name,))

    def __contains__(self, name: str) -> bool:
        return name in self._plain or name in self._formulas

    def text(self, name: str) -> str:
        """What one of our columns reads: a column of the file, or a formula."""
        return self._formulas[name].text if name in self._formulas else self._plain[name]

    def error(self, reason: str) -> Exception:
        """A LogError about the file's columns."""
        return error_at(self.source.path, self.source.first, reason)

    def all_used(self) -> set[str]:
        """The columns of the file that are read, by themselves or in a formula."""
        found = set(self._plain.values())
        for name in self._formulas:
            self._collect(name, found, None)
        return found

    def bind_extra(self, text: str) -> str:
        """Make one of ours, a column of the file or a formula readable; returns its name."""
        if text not in self:
            self._bind(text, text)
            if text in self._formulas:
                self._check_names(text, self._formulas[text], (text,))
        return text

    def order(self) -> str | None:
        """The column of the step, bound as `step`; None where there is none."""
        if STEP not in self:
            found = next((name for name in _STEPS if self.source.has(name)), None)
            if found is None:
                return None
            self._plain[STEP] = found
        return self.text(STEP)

    def raw(self, row: Row, name: str) -> Any:
        """A cell as it is in the file, or the value of a formula."""
        if name in self._formulas:
            return self._evaluate(row, name)
        return self._look(row, self._plain[name])

    def number(self, row: Row, name: str, *, positive: bool = True) -> float:
        """The number in one of our columns; ValueError says why there is none."""
        if name in self._formulas:
            value = self._evaluate(row, name)
            if positive and not (value > 0 or (value == 0 and name == WEIGHT)):
                raise ValueError(f"{name} = {self.text(name)} is {value:g}; it must be positive")
            return value
        return self._cell(row, self._plain[name], self._label(name), positive)

    def label(self, row: Row) -> str:
        """The name of a row's run; ValueError says why there is none."""
        if RUN in self._formulas:
            return f"{self._evaluate(row, RUN):g}"
        value = self._look(row, self._plain[RUN])
        if value is ABSENT:
            raise ValueError(self._missing_here(row, RUN, self._plain[RUN]))
        return text_label(self._label(RUN), value)

    def _bind(self, name: str, text: str) -> None:
        if text == FILE or self.source.has(text):
            self._plain[name] = text
            return
        formula = None
        try:
            formula = parse_formula(text)
        except ValueError as error:
            if re.search(r"[*()+]", text):
                raise self.error(f"{name}={shorten(text)}: {error}") from None
        known = formula is not None and (not formula.names or any(map(self._known, formula.names)))
        if formula is None or not (known or re.search(r"[*()+]", text)):
            raise self.error(missing_column(name, text, self.source.names))
        self._formulas[name] = formula

    def _follows(self, name: str) -> bool:
        """Whether what a formula of ours needs, N and D, is mapped, there, or guessed."""
        return all(
            n in self._ours or self.source.has(n) or len(guess_column(n, self.source.names)) == 1
            for n in parse_formula(_FORMULAS[name]).names
        )

    def _known(self, name: str) -> bool:
        return name in self._ours or name in self or self.source.has(name) or name in _ALIASES

    def _check_names(self, ours: str, formula: Formula, inside: tuple[str, ...]) -> None:
        """Every name of a formula must lead to a column of the file."""
        for name in formula.names:
            own = name == inside[-1]  # within N=N*1e6, N is the column of the file
            if own and self.source.has(name):
                continue
            if name in inside:
                raise self.error(f"{ours}={shorten(self.text(ours))} needs {name} itself")
            if name in self._formulas:
                self._check_names(ours, self._formulas[name], (*inside, name))
            elif name not in self and not self.source.has(name):
                reason = missing_column(name, name, self.source.names)
                raise self.error(f"{ours}={shorten(self.text(ours))}: {reason}")

    def _collect(self, name: str, found: set[str], inside: str | None) -> None:
        if name in self._formulas and name != inside:
            for part in self._formulas[name].names:
                self._collect(part, found, name)
        else:
            found.add(self._plain[name] if name in self._plain and name != inside else name)

    def _evaluate(self, row: Row, ours: str) -> float:
        def column(name: str) -> float:
            if name != ours and name in self._formulas:
                return self._evaluate(row, name)
            plain = self._plain[name] if name != ours and name in self._plain else name
            return self._cell(row, plain, name, False)

        return self._formulas[ours].value(column)

    def _cell(self, row: Row, column: str, label: str, positive: bool) -> float:
        value = self._look(row, column)
        if value is ABSENT:
            raise MissingCell(self._missing_here(row, label, column))
        read = text_number if isinstance(value, str) and self.source.texts else json_number
        try:
            return read(label, value, positive=positive)
        except ValueError as error:
            if missing(value):
                raise MissingCell(str(error)) from None
            raise

    def _look(self, row: Row, column: str) -> Any:
        return str(row.path) if column == FILE else self.source.look(row.cells, column)

    def _missing_here(self, row: Row, name: str, column: str) -> str:
        present = [other for other in self.source.names if self._look(row, other) is not ABSENT]
        return missing_column(name.split(" (")[0], column, present)

    def _label(self, name: str) -> str:
        """How a message calls a column: "loss", or "loss (column 'val_loss')"."""
        column = self._plain[name]
        return name if column == name else f"{name} (column {shorten(repr(column))})"


def guess_column(name: str, present: Sequence[str]) -> list[str]:
    """The columns that may be meant by one of our names: "N" by "params", say."""
    aliases = _ALIASES.get(name, ())
    return [other for other in present if _bare(other, aliases)]


def _bare(column: str, aliases: Sequence[str]) -> bool:
    head, dot, rest = column.partition(".")
    inner = rest if dot and head in _PREFIXES else column
    return inner in aliases or re.sub(r"[^0-9a-z]+", "_", inner.lower()).strip("_") in aliases


def missing_column(name: str, column: str, present: Sequence[str]) -> str:
    """The message for a column that a file lacks: what is there, the nearest, how to map it."""
    listed = ", ".join(map(shorten, present[:30]))
    listed += f" and {len(present) - 30} more" if present[30:] else ""
    lower = {other.lower(): other for other in reversed(present)}
    parts = {part: other for other in reversed(present) for part in _parts(other)}
    near = difflib.get_close_matches(column.lower(), [*lower], 1, 0.6) if len(column) < 200 else []
    guess = lower[near[0]] if near else parts.get(column.lower())
    for alias in _ALIASES.get(name, ()):
        guess = guess or lower.get(alias) or parts.get(alias)
    if name in _FORMULAS and not guess:
        guess = f"'{_FORMULAS[name]}'"
    nearest = f" (nearest: {shorten(guess)})" if guess and guess in present else ""
    if len(possible := guess_column(name, present)) > 1:
        guess = possible[0]
        nearest = f" ({len(possible)} columns may be it: {', '.join(map(shorten, possible))})"
    target = shorten(guess) if guess else "COLUMN"
    hint = f"; map it with --columns {name}={target if _plain_word(target) else repr(target)}"
    if present and all(_looks_like_number(other) for other in present):
        hint = "; is the line with the names of the columns missing?"
    return f"no column {shorten(repr(column))}{nearest}; present: {listed or 'none'}{hint}"


def shorten(text: str, length: int = 60) -> str:
    """A column's name as a message shows it, on one line."""
    text = " ".join(text.split()) if not text.isprintable() else text
    return text if len(text) <= length else f"{text[: length - 3]}..."


def _plain_word(text: str) -> bool:
    return " " not in text or text.startswith("'")


def _looks_like_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parts(name: str) -> list[str]:
    """The words of a column's name, in lower case."""
    return "".join(c.lower() if c.isalnum() else " " for c in name).split()
