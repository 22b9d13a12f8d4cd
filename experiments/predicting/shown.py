"""Figures and tables of `experiments.predict_scaling`."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from experiments.predicting.sets import TITLES
from farwide.plotting import (
    Banded,
    Estimate,
    PairSummary,
    WidthCurve,
    predicted_scaling,
    scaling_summary,
)

WORDS = {"mlp": "MLP", "cnn": "CNN", "long_conv": "long convolution", "s4d": "S4D"}
WORDS |= {"neighborhood": "neighborhood attention", "attention": "full attention"}
WORDS |= {"sgconv": "SGConv", "hyena": "Hyena"}
PARAMETRISATIONS = {"ntk": "NTK", "mup": "muP"}


def word(operator: str) -> str:
    return WORDS.get(operator, operator)


def estimate(found: dict[str, float]) -> Estimate:
    return Estimate(found["value"], found["low"], found["high"])


def written(found: dict[str, float]) -> str:
    """With half its 95% interval, which is symmetric."""
    return f"{found['value']:.3f} ± {found['high'] - found['value']:.3f}"


def off(equations: dict[str, Any]) -> str:
    """By how much an exponent of the equations is off that of draws, with its 95% interval."""
    drawn = equations["drawn"]["exponent"]
    return f"{equations['exponent'] - drawn['value']:+.3f} ± {1.96 * drawn['standard_error']:.3f}"


def yes(value: bool) -> str:
    return "yes" if value else "no"


def banded(found: dict[str, Any], key: str = "error") -> Banded:
    return Banded(found["n"], found[key], found["low"], found["high"])


def finite(pair: dict[str, Any]) -> list[dict[str, Any]]:
    """Widths whose networks stayed finite."""
    return [row for row in pair["networks"] if "error" in row]


def widest(pair: dict[str, Any], parametrisation: str) -> dict[str, Any] | None:
    rows = [row for row in finite(pair) if row["parametrisation"] == parametrisation]
    return max(rows, key=lambda row: row["width"]) if rows else None


def pair_figure(pair: dict[str, Any]) -> Figure:
    """Prediction, regression, and networks of one pair."""
    ntk = pair["predicted"]["ntk"]
    curves = [
        WidthCurve(row["width"], row["parametrisation"] == "mup", banded(row))
        for row in finite(pair)
    ]
    exponents = [each["exponent"] for each in (ntk, pair["measured"]["ntk"])]
    name = word(pair["operator"])
    title = (
        f"{name[0].upper()}{name[1:]} on {TITLES[pair['data']]}: exponent predicted "
        f"{written(exponents[0])}, measured {written(exponents[1])}"
    )
    return predicted_scaling(
        banded(ntk, "test"), banded(pair["measured"]["ntk"]), banded(pair["limit"]), curves, title
    )


def pair_table(pair: dict[str, Any]) -> Table:
    """Prediction and regression of both kernels, then networks against the limit of training."""
    table = Table(
        title=f"{word(pair['operator'])} on {TITLES[pair['data']]}: squared error, 95% intervals",
        box=None, pad_edge=False,
    )  # fmt: skip
    limit = pair["limit"]
    sizes = [f"n = {n}" for n in pair["measured"]["ntk"]["n"]]
    last = f"over limit at {pair['limit']['n'][-1]}"
    for column in ("", *sizes, "exponent", "inside", last):
        table.add_column(column, justify="right" if column else "left")
    every = pair["measured"]["ntk"]["n"]

    def levels(found: dict[str, Any], key: str) -> list[str]:
        at = {round(n): i for i, n in enumerate(found["n"])}
        half = [(high - low) / 2 for low, high in zip(found["low"], found["high"], strict=True)]
        return [f"{found[key][at[n]]:.3f} ± {half[at[n]]:.3f}" if n in at else "" for n in every]

    for name, verdict in pair["splits"][0].items():
        predicted, measured = pair["predicted"][name], pair["measured"][name]
        table.add_row(
            f"{name.upper()} predicted", *levels(predicted, "test"),
            written(predicted["exponent"]), yes(verdict["exponent_inside"]),
        )  # fmt: skip
        table.add_row(
            f"{name.upper()} measured",
            *levels(measured, "error"),
            written(measured["exponent"]),
            "",
        )
        equations = pair["equations"][name]
        table.add_row(
            f"{name.upper()} equations off by",
            *(f"{100 * (ratio - 1):+.1f}%" for ratio in equations["ratio"]),
            off(equations), "",
        )  # fmt: skip
    table.add_row("limit of training", *levels(limit, "error"), written(limit["exponent"]), "")
    for row in pair["networks"]:
        label = f"{PARAMETRISATIONS[row['parametrisation']]}, width {row['width']}"
        if "error" not in row:
            table.add_row(label, f"{row['lost']} failed")
            continue
        over = f"{100 * np.expm1(row['log_distance'][-1]):+.0f}%"
        table.add_row(label, *levels(row, "error"), written(row["exponent"]), "", over)
    return table


def over_predicted(pair: dict[str, Any], row: dict[str, Any]) -> list[float]:
    """Error of networks over the predicted error of kernel regression, at each of their n."""
    curve = pair["predicted"]["ntk"]
    at = {round(n): test for n, test in zip(curve["n"], curve["test"], strict=True)}
    return [error / at[n] for n, error in zip(row.get("n", ()), row.get("error", ()), strict=True)]


def brief(pair: dict[str, Any]) -> dict[str, Any]:
    """A pair's numbers for the summary."""
    rows = {name: widest(pair, name) for name in PARAMETRISATIONS}
    found = {
        "operator": pair["operator"],
        "data": pair["data"],
        "predicted_at": pair["predicted_at"],
        "measured_at": pair["measured_at"],
        "seconds": pair["seconds"],
        "cpu_seconds": pair["cpu_seconds"],
        "n": pair["measured"]["ntk"]["n"],
    }
    found["splits"] = pair["splits"]
    found["equations"] = pair["equations"]
    found["limit"] = pair["limit"]["exponent"]
    found["networks"] = [
        {
            key: row.get(key)
            for key in (
                "parametrisation", "width", "seeds", "lost", "exponent", "log_distance",
                "log_distance_error", "steps", "loss",
            )
        }
        | {"over_predicted": over_predicted(pair, row)}
        for row in pair["networks"]
    ]  # fmt: skip
    ntk, mup = rows["ntk"], rows["mup"]
    if ntk and mup:
        found["mup_moves_exponent"] = mup["exponent"]["value"] - ntk["exponent"]["value"]
    return found


def summary_figure(pairs: list[dict[str, Any]]) -> Figure:
    """Exponents of all pairs."""
    panels: dict[str, dict[str, PairSummary]] = {}
    for pair in pairs:
        rows = [widest(pair, name) for name in PARAMETRISATIONS]
        found = [None if row is None else estimate(row["exponent"]) for row in rows]
        panels.setdefault(TITLES[pair["data"]], {})[word(pair["operator"])] = PairSummary(
            estimate(pair["predicted"]["ntk"]["exponent"]),
            estimate(pair["measured"]["ntk"]["exponent"]),
            *found,
        )
    return scaling_summary(panels, "Exponents of learning curves, with 95% intervals")


def summary_table(pairs: list[dict[str, Any]]) -> Table:
    """A line for each pair; numbers are those of the first choice of examples."""
    every = [split["ntk"] for pair in pairs for split in pair["splits"]]
    inside = sum(each["exponent_inside"] for each in every)
    both = sum(each["exponent_inside_both"] for each in every)
    first = sum(pair["splits"][0]["ntk"]["exponent_inside"] for pair in pairs)
    table = Table(
        title=f"Predicted NTK exponent inside the measured 95% interval: {first} of {len(pairs)} "
        f"pairs, {inside} of {len(every)} with every choice of examples; the two agree within both "
        f"intervals: {both} of {len(every)}",
        box=None, pad_edge=False,
    )  # fmt: skip
    columns = (
        "predicted", "measured", "inside", "equations off by", "worst level", "limit", "NTK",
        "muP", "CPU s",
    )  # fmt: skip

    for column in ("data", "operator", *columns):
        table.add_column(column, justify="left" if column in ("data", "operator") else "right")
    for pair in pairs:
        verdict = pair["splits"][0]["ntk"]
        rows = [widest(pair, name) for name in PARAMETRISATIONS]
        worst = max(verdict["ratio"], key=lambda r: abs(r - 1))
        table.add_row(
            pair["data"], pair["operator"],
            *(written(pair[key]["ntk"]["exponent"]) for key in ("predicted", "measured")),
            f"{sum(split['ntk']['exponent_inside'] for split in pair['splits'])} of "
            f"{len(pair['splits'])}", off(pair["equations"]["ntk"]), f"{100 * (worst - 1):+.1f}%",
            f"{pair['limit']['exponent']['value']:.3f}",
            *(f"{row['exponent']['value']:.3f}" if row else "lost" for row in rows),
            f"{pair['cpu_seconds']:.0f}",
        )  # fmt: skip
    return table
