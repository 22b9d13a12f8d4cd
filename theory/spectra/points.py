"""Arguments of the learning curves, checked and broadcast."""

from __future__ import annotations

import numpy as np

from theory.spectra.framework import Points
from theory.spectra.spectrum import Spectrum


def broadcast(s: Spectrum, n, features, population, noise, ridge=0.0):
    """(points, ridge (points,), shape of the result).

    Raises:
      ValueError: an argument is out of its range; see `learning_curve` and
        `random_feature_curve`.
    """
    if not isinstance(s, Spectrum):
        raise ValueError(f"spectrum must be a Spectrum, got {type(s).__name__}")
    given = {"n": n, "features": features, "population": population}
    given |= {"noise": noise, "ridge": ridge}
    arrays = {name: np.asarray(value, np.float64) for name, value in given.items()}
    for name, array in arrays.items():
        least = 0.0 if name in ("noise", "ridge") else None
        good = array >= 0 if least is not None else array > 0
        if not good.all():
            what = ">= 0" if least is not None else "> 0"
            raise ValueError(f"{name} must be {what}, the least is {array.min()}")
        if name in ("noise", "ridge") and not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite, got {array.max()}")
    wide = dict(zip(arrays, np.broadcast_arrays(*arrays.values()), strict=True))
    finite = np.isfinite(wide["population"])
    if (finite & (wide["n"] >= wide["population"])).any():
        raise ValueError(
            f"n must be below the population, got n up to {wide['n'].max():g} "
            f"of {wide['population'].min():g}"
        )
    if (finite & (wide["noise"] > 0)).any():
        raise ValueError(
            f"noise must be 0 where the population is finite, got {wide['noise'].max():g}: the "
            "coefficients of M points hold the noise of these points"
        )
    counted = s.multiplicity.sum()
    if (finite & (wide["population"] < s.rank)).any():
        raise ValueError(
            f"population must be at least the rank {s.rank:g} of the spectrum ({counted:g} modes), "
            f"got {wide['population'].min():g}"
        )
    flat = {name: array.ravel().copy() for name, array in wide.items()}
    points = Points(flat["n"], flat["features"], flat["population"], flat["noise"])
    return points, flat["ridge"], wide["n"].shape
