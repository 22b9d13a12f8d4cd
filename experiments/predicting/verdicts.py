"""What `experiments.predict_scaling` concludes from its pieces."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.predicting.regression import Errors


def compared(predicted: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Both exponents, and whether the predicted one and levels are inside what was measured."""
    a, b = predicted["exponent"], found["exponent"]
    p, low, high = (np.array(each) for each in (predicted["test"], found["low"], found["high"]))
    half = np.hypot(a["value"] - a["low"], b["value"] - b["low"])
    return {
        "predicted": a,
        "measured": b,
        "exponent_inside": bool(b["low"] <= a["value"] <= b["high"]),
        "exponent_inside_both": bool(abs(a["value"] - b["value"]) <= half),
        "levels_inside": ((low <= p) & (p <= high)).tolist(),
        "ratio": (p / np.array(found["error"])).tolist(),
    }


def network_row(pieces: list[dict[str, Any]], limit: dict[str, Any], n: list[int]) -> dict:
    """Errors, exponent and distance from the limit of one width and parametrisation.

    The distance is the mean of log(error / error of the limit on the same training set), over
    draws, with its standard error; trainings that failed are counted and left out. Unless more
    than half of the draws are left at every n, there is neither error nor exponent.
    """
    lost = sum(each is None for piece in pieces for each in piece["by_draw"])
    good = [
        j for j in range(len(limit["by_draw"][0]))
        if all(piece["by_draw"][j] is not None for piece in pieces)
    ]  # fmt: skip
    row: dict[str, Any] = {"lost": lost, "seeds": len(good)}
    row["steps"] = [float(np.mean(piece["steps"])) for piece in pieces]
    row["loss"] = [
        max((v for v in piece["loss"] if v is not None), default=None) for piece in pieces
    ]
    if len(good) < 2 or 2 * len(good) <= len(pieces[0]["by_draw"]):
        return row
    squared = np.array([[piece["squared"][j] for j in good] for piece in pieces])
    row |= Errors(n, squared).record()
    own = np.array(row["by_draw"])
    logs = np.log(own / np.array(limit["by_draw"])[:, good])
    row["log_distance"] = logs.mean(1).tolist()
    row["log_distance_error"] = (logs.std(1, ddof=1) / len(good) ** 0.5).tolist()
    return row
