"""The error of an average over finite networks, against how many and how wide they are.

    error(S) = |mean over S networks - limit| / |limit|,  Frobenius norm

Networks of a width are in `BLOCKS` blocks of equal size. Up to the size of a block, error(S) is the
root mean square over all groups of S; the standard errors are by leaving out one block after
another (the jackknife).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.limits.networks import KERNELS, READOUTS

BLOCKS = 8
KEPT = ("width", "samples", "error", "noise")
FEW = 16  # slopes are fitted where samples <= width / FEW: noise is above the bias of the width


def condense(draws: np.ndarray, limit: np.ndarray | None = None) -> dict[str, Any]:
    """What is kept of (networks, N, N): means of blocks, and squared errors by group size.

    Args:
      draws: the networks' kernels, a multiple of BLOCKS of them.
      limit: (N, N); None: means alone.
    """
    blocks = draws.reshape(BLOCKS, -1, *draws.shape[1:]).astype(np.float64)
    kept = {"means": blocks.mean(1).tolist()}
    if limit is None:
        return kept
    scale, size, squares = np.square(limit).sum(), 1, {}
    while blocks.shape[1] % size == 0:
        means = blocks.reshape(BLOCKS, -1, size, *limit.shape).mean(2)
        off = np.square(means - limit).sum((-1, -2)) / scale
        squares[str(size)] = off.mean(1).tolist()
        size *= 2
    return kept | {"squares": squares}


def jackknifed(values: np.ndarray) -> float:
    """The standard error, from estimates that each leave out one block."""
    return float(np.sqrt((len(values) - 1) * np.mean((values - values.mean(0)) ** 2)))


def without_one(values: np.ndarray) -> np.ndarray:
    """(blocks, ...) -> the mean over all blocks but one, for each."""
    return (values.sum(0) - values) / (len(values) - 1)


def at_width(width: int, samples: int, piece: Mapping[str, Any], limit: np.ndarray) -> dict:
    """Errors of one width: by number of samples, of all of them, and what of it is noise."""
    means, scale = np.array(piece["means"]), np.linalg.norm(limit)
    noise = float(np.sqrt((means.var(0, ddof=1) / len(means)).sum()) / scale)
    error = float(np.linalg.norm(means.mean(0) - limit) / scale)
    curve = []
    for size, squares in piece["squares"].items():
        left_out = np.sqrt(without_one(np.array(squares)))
        value = float(np.sqrt(np.mean(squares)))
        curve.append({"samples": int(size), "value": value, "error": jackknifed(left_out)})
    return {"width": width, "samples": samples, "error": error, "noise": noise, "curve": curve}


def extrapolated(
    pieces: Mapping[int, Mapping[str, Any]], limit: np.ndarray
) -> dict[str, float] | None:
    """Error and noise of the two widest widths' kernels continued to infinite width.

    K_n = K + B / n, so that K = (m K_m - n K_n) / (m - n); None with one width.
    """
    if len(pieces) < 2:
        return None
    n, m = sorted(pieces)[-2:]
    narrow, wide = (np.array(pieces[width]["means"]) for width in (n, m))
    mean = (m * wide.mean(0) - n * narrow.mean(0)) / (m - n)
    spread = m**2 * wide.var(0, ddof=1) / len(wide) + n**2 * narrow.var(0, ddof=1) / len(narrow)
    scale = np.linalg.norm(limit)
    return {
        "error": float(np.linalg.norm(mean - limit) / scale),
        "noise": float(np.sqrt(spread.sum()) / (m - n) / scale),
    }


def slope(pieces: Mapping[int, Mapping[str, Any]]) -> dict[str, float] | None:
    """Of log error against log(samples x width); None where fewer than three points are fitted."""
    x, y = [], []
    for width, piece in pieces.items():
        for size, squares in piece["squares"].items():
            if int(size) <= max(width // FEW, 1):
                x.append(np.log(int(size) * width))
                values = np.array(squares)
                y.append([np.log(values.mean()) / 2, *(np.log(without_one(values)) / 2)])
    if len(x) < 3 or len(set(x)) < 2:
        return None
    centred = np.array(x) - np.mean(x)
    fitted = centred @ np.array(y) / (centred @ centred)
    return {"value": float(fitted[0]), "error": jackknifed(fitted[1:]), "points": len(x)}


def summarise(
    limit: Mapping[str, Any], pieces: Mapping[int, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """kernel, readout -> errors of every width, slope, the smallest error and the widest's.

    Args:
      limit: of `limits.networks.limit`.
      pieces: width -> samples, and kernel -> what `condense` kept for each readout.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in KERNELS:
        for i, readout in enumerate(READOUTS):
            value, drawn = (np.array(limit[name][key][i]) for key in ("value", "error"))
            own = {width: piece[name][i] for width, piece in pieces.items()}
            rows = [at_width(w, pieces[w]["samples"], piece, value) for w, piece in own.items()]
            chosen = {"smallest": min(rows, key=lambda row: row["error"]), "widest": rows[-1]}
            found.setdefault(name, {})[readout] = {
                "rows": rows,
                "slope": slope(own),
                "extrapolated": extrapolated(own, value),
                **{key: {name: row[name] for name in KEPT} for key, row in chosen.items()},
                "limit_error": float(np.linalg.norm(drawn) / np.linalg.norm(value)),
            }
    return found


def between(
    approximate: Mapping[str, Any], exact: Mapping[str, Any], piece: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """kernel, readout -> relative errors of the approximation, and of finite networks of each.

    `gap` is |approximate - exact| / |exact|, with the error that draws of the exact limit leave;
    `approximate` and `exact` are |limit - finite| / |finite|, with the noise of the finite mean.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in KERNELS:
        for i, readout in enumerate(READOUTS):
            rough, fine, drawn = (
                np.array(part[i])
                for part in (
                    approximate[name]["value"],
                    exact[name]["value"],
                    exact[name]["error"],
                )
            )
            means = np.array(piece[name][i]["means"])
            finite, spread = means.mean(0), means.var(0, ddof=1) / len(means)
            size = np.linalg.norm(finite)
            found.setdefault(name, {})[readout] = {
                "gap": float(np.linalg.norm(rough - fine) / np.linalg.norm(fine)),
                "gap_error": float(np.linalg.norm(drawn) / np.linalg.norm(fine)),
                "approximate": float(np.linalg.norm(rough - finite) / size),
                "exact": float(np.linalg.norm(fine - finite) / size),
                "noise": float(np.sqrt(spread.sum()) / size),
            }
    return found


def worst(found: Mapping[str, Any], *keys: str) -> float:
    """The larger of both readouts' numbers."""

    def get(value: Any) -> float:
        for key in keys:
            value = value[key]
        return value

    return max(get(found[readout]) for readout in READOUTS)


def misses(results: Sequence[Mapping[str, Any]], which: str, bar: float) -> list[dict[str, Any]]:
    """Every kernel and readout with an error that is not below the bar.

    Args:
      results: of operators.
      which: the error: "widest", "smallest" or "extrapolated".
      bar: of the error.
    """
    return [
        {"case": row["case"], "depth": row["depth"], "kernel": name, "readout": readout}
        | dict(row["errors"][name][readout][which])
        for row in results
        for name in KERNELS
        for readout in READOUTS
        if row["errors"][name][readout][which]["error"] >= bar
    ]
