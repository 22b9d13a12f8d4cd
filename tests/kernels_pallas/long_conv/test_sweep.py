"""A seeded sweep over shape, dtype, mode, layout, gates and taps."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from kernels_pallas.long_conv.cases import Case
from tests.kernels_pallas.long_conv.problems import cast, direct_sum, operands, run
from tests.numerics import assert_accurate, assert_close, assert_rounded_once

CASES = 520
LENGTHS = (1, 2, 3, 5, 8, 17, 31, 64, 65, 97, 127, 128, 150, 210, 255, 257, 509, 1000)


def random_case(rng: np.random.Generator) -> tuple[Case, str]:
    length = int(rng.choice(LENGTHS))
    mode = str(rng.choice(["causal", "causal", "causal", "circular"]))
    few = min(length, 12)
    taps = int(rng.choice([1, length, rng.integers(1, length + 1), rng.integers(1, few + 1)]))
    future = int(rng.choice([0, 0, length, rng.integers(1, length + 1), rng.integers(1, few + 1)]))
    case = Case(
        batch=int(rng.integers(0, 4)) or 1,
        channels=int(rng.integers(1, 6)),
        length=length,
        taps=taps,
        future_taps=future if mode == "causal" else 0,
        mode=mode,
        layout=str(rng.choice(["BCL", "BLC"])),
        skip=bool(rng.integers(2)),
        pre_gate=bool(rng.integers(2)),
        post_gate=bool(rng.integers(2)),
    )
    return case, str(rng.choice(["float32", "float32", "float64", "bfloat16", "float16"]))


def well_conditioned(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same, with skip of the sign of k[:, 0].

    At length 1 the result is (k + skip) x: where the two nearly cancel, rounding the operands alone
    moves it by more than any tolerance relative to the result.
    """
    if "skip" in arrays:
        arrays["skip"] = np.abs(arrays["skip"]) * np.sign(arrays["k"][:, 0])
    return arrays


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_sweep(block):
    rng = np.random.default_rng([20, block])
    for i in range(CASES // 20):
        case, dtype = random_case(rng)
        with jax.enable_x64(dtype == "float64"):
            arrays = cast(well_conditioned(operands(case, seed=i)), dtype)
            y = run(case, arrays)
            assert str(y.dtype) == dtype
            y, arrays = np.asarray(y), {name: np.asarray(a) for name, a in arrays.items()}
        expected = direct_sum(case, arrays)
        if dtype in ("bfloat16", "float16"):  # float32 inside: one rounding, of the result
            assert_rounded_once(y, expected, dtype)
        else:
            assert_close(y, expected, dtype)
            assert_accurate(y, expected, dtype)
