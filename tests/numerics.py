"""The tolerances of the whole test suite, as rules. No test passes a looser one of its own.

Operators, element by element, against an exact or reference result:

    max |actual - expected| <= RELATIVE[dtype] * max |expected|

Operators, accuracy of a float result against float64:

    ||actual - expected|| <= L2[dtype] * ||expected||

16-bit results: the error may be at most 1.5 times that of a run in which every stage's operands are
rounded to 16 bits and sums are kept in float32, and stays under a stated ceiling. Where everything
inside is float32 and only the result is rounded, every element is within one unit roundoff, so

    ||actual - expected|| <= (UNIT_ROUNDOFF[dtype] + L2["float32"]) * ||expected||

Sums that may cancel (the gradient of one tap is one sum over the whole batch): rounding is relative
to the terms and not to what is left of them. Such a result is scaled by its terms' size, root of
the sum of their squares, where that is larger than the result: the size that the sum has when the
terms' signs are random, so that a sum which does not cancel meets the rule above unchanged:

    ||actual - expected|| <= L2[dtype] * max(||expected||, ||size||),  size_i^2 = sum_j term_ij^2

and, element by element,

    max |actual - expected| <= RELATIVE[dtype] * max(max |expected|, max size)
"""

from __future__ import annotations

import numpy as np

RELATIVE = {"float32": 1e-5, "float64": 1e-12}
L2 = {"float32": 1e-6, "float64": 1e-12}
CAUSAL = {"float32": 1e-6, "float64": 1e-14}  # leak to the past over max |y|, by FFT
UNIT_ROUNDOFF = {"bfloat16": 2.0**-8, "float16": 2.0**-11}
ROUNDED_RATIO = 1.5
ROUNDED_CEILING = {"bfloat16": 2e-2, "float16": 2.5e-3}  # relative L2


def relative_l2(actual, expected) -> float:
    """||actual - expected|| / ||expected|| in float64; 0 for 0 against 0."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    error, scale = np.linalg.norm(actual - expected), np.linalg.norm(expected)
    return float(error / scale) if scale else float(error)


def relative_max(actual, expected) -> float:
    """max |actual - expected| / max |expected| in float64; 0 for 0 against 0 and for nothing."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    if expected.size == 0:
        return 0.0
    error, scale = np.abs(actual - expected).max(), np.abs(expected).max()
    return float(error / scale) if scale else float(error)


def assert_close(actual, expected, dtype="float32") -> None:
    """The element-by-element rule."""
    error = relative_max(actual, expected)
    assert error <= RELATIVE[str(dtype)], f"max error {error:.2e} of max|expected| ({dtype})"


def assert_accurate(actual, expected, dtype="float32") -> None:
    """The accuracy rule, `expected` being float64."""
    error = relative_l2(actual, expected)
    assert error <= L2[str(dtype)], f"relative L2 error {error:.2e} ({dtype})"


def assert_rounded(actual, expected, rounded, dtype) -> None:
    """The 16-bit rule: `rounded` is the run with rounded operands, `expected` is float64."""
    error, allowed = relative_l2(actual, expected), relative_l2(rounded, expected)
    assert error <= ROUNDED_RATIO * allowed, f"error {error:.2e}, rounded run's {allowed:.2e}"
    assert error <= ROUNDED_CEILING[str(dtype)], f"error {error:.2e} above the ceiling ({dtype})"


def assert_rounded_once(actual, expected, dtype) -> None:
    """The rule for a 16-bit result of a float32 computation; `expected` is float64."""
    error, allowed = relative_l2(actual, expected), UNIT_ROUNDOFF[str(dtype)] + L2["float32"]
    assert error <= allowed, f"relative L2 error {error:.2e}, one rounding gives {allowed:.2e}"


def assert_conditioned(actual, expected, size, dtype) -> None:
    """The accuracy rule for sums that may cancel; 16 bits: a float32 computation rounded once.

    Args:
      actual: the result.
      expected: the same in float64.
      size: its terms' size, the root of the sum of their squares, in the same shape.
      dtype: the dtype of `actual`.
    """
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape == np.shape(size), (actual.shape, expected.shape)
    error, norm = np.linalg.norm(actual - expected), np.linalg.norm(expected)
    scale = max(norm, np.linalg.norm(np.asarray(size, np.float64)))
    if str(dtype) in UNIT_ROUNDOFF:
        allowed = UNIT_ROUNDOFF[str(dtype)] * norm + L2["float32"] * (norm + scale)
    else:
        allowed = L2[str(dtype)] * scale
    assert error <= allowed, f"L2 error {error:.2e}, allowed {allowed:.2e} ({dtype})"


def assert_close_to_terms(actual, expected, size, dtype="float32") -> None:
    """The element-by-element rule for sums that may cancel; `size` as in assert_conditioned."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape == np.shape(size), (actual.shape, expected.shape)
    scale = max(np.abs(expected).max(initial=0.0), np.max(size, initial=0.0))
    error = np.abs(actual - expected).max(initial=0.0)
    allowed = RELATIVE[str(dtype)] * scale
    assert error <= allowed, f"max error {error:.2e}, allowed {allowed:.2e} ({dtype})"
