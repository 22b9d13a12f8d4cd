"""The rows of a fit as the interactive figures take them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from farwide.plotting.data import FLOPS_PER_PARAMETER_TOKEN
from farwide.plotting.interactive import style
from farwide.plotting.style import si

UNITS = {"N": "parameters", "D": "tokens", "C": "FLOPs", "D/N": "tokens"}


@dataclass(frozen=True)
class Rows:
    """Results that a law was fitted to, or that were held out of it: one entry a row."""

    label: tuple[str, ...]  # of a row: its run, or where it was read
    columns: Mapping[str, np.ndarray]  # those of the law, and N and D if they are known
    observed: np.ndarray  # (rows,) the target
    residual: np.ndarray  # (rows,) log observed - log predicted
    inputs: tuple[str, ...]  # the columns that the law reads
    target: str = "loss"
    unit: str = "as logged"  # of the target

    def __len__(self) -> int:
        return len(self.label)

    @property
    def sized(self) -> bool:
        """Whether the rows have a size N and tokens D."""
        return "N" in self.columns and "D" in self.columns

    @property
    def N(self) -> np.ndarray:
        """The size of each run, parameters."""
        return self.columns["N"]

    @property
    def D(self) -> np.ndarray:
        """The tokens of each run."""
        return self.columns["D"]

    @property
    def predicted(self) -> np.ndarray:
        """The law at each row."""
        return self.observed * np.exp(-self.residual)

    @property
    def C(self) -> np.ndarray:
        """Training compute, FLOPs: 6 N D."""
        return FLOPS_PER_PARAMETER_TOKEN * self.N * self.D

    @property
    def axes(self) -> dict[str, np.ndarray]:
        """What residuals are shown against: N, D, C, D/N, or the law's columns."""
        if not self.sized:
            return dict(self.columns)
        others = {n: x for n, x in self.columns.items() if n not in ("N", "D", "C", "M")}
        return {"N": self.N, "D": self.D, "C": self.C, "D/N": self.D / self.N, **others}

    @property
    def size(self) -> tuple[str, np.ndarray]:
        """The quantity that stands for how large a run is: C = 6ND, else C, else the first."""
        if self.sized:
            return "C", self.C
        name = "C" if "C" in self.columns else next(iter(self.columns))
        return name, self.columns[name]

    def axis_title(self, name: str, counted: str = "") -> str:
        """The title of an axis along one of `axes`, with its unit."""
        if name == "C" and self.sized:
            return style.COMPUTE
        titles = {
            "N": f"{counted} parameters N".strip(),
            "D": "training tokens D",
            "C": "training compute C (FLOPs)",
            "D/N": "tokens per parameter D/N",
        }
        return titles.get(name, f"{name} (as logged)")

    @property
    def target_title(self) -> str:
        """The title of an axis of the target, with its unit."""
        return f"{self.target} ({self.unit})"

    @property
    def hover(self) -> list[str]:
        """What shows when the pointer is on a row: run, columns, target and residual."""
        shown = {n: x for n, x in self.axes.items() if n not in ("C", "D/N") or not self.sized}
        lines = []
        for i, label in enumerate(self.label):
            cells = [f"{name} = {si(float(x[i]), 3)}" for name, x in shown.items()]
            if self.sized:
                cells.append(f"C = {style.power(float(self.C[i]))} FLOPs")
            cells.append(f"{self.target} = {self.observed[i]:.4g}")
            cells.append(f"residual = {100 * self.residual[i]:+.2f}%")
            lines.append("<br>".join([f"<b>{_escaped(label)}</b>", *cells]))
        return lines


def _escaped(text: str) -> str:
    """A label that cannot be taken for markup, cut where it is long."""
    cut = text if len(text) <= 60 else f"{text[:28]}…{text[-28:]}"
    return cut.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
