"""theory.stax against neural_tangents: the golden values of tests/golden.

The rules are those that this project was asked to keep. In float64, every entry relative to itself:

    EXACT        1e-10   where x2 is given, and off the diagonal of k(x, x)
    DIAGONAL     1e-7    the pairs (x, x) of k(x, x), where the oracle is off by up to 4e-8
    CLOSED_FORM  1e-12   their variances, where the oracle has them in closed form (its cov1, where
                         no pairs of places are held)
    NUMERICAL    3e-4    where the expectations are integrals by quadrature

In float32, relative to the largest entry: SINGLE, 1e-4.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests.golden.architectures import ARCHITECTURES, RELATIVES
from tests.golden.draws import Problem, fill, read
from theory import stax

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "kernels.npz"
EXACT, DIAGONAL, CLOSED_FORM, NUMERICAL, SINGLE = 1e-10, 1e-7, 1e-12, 3e-4, 1e-4
PARTS = ("nngp", "ntk")
WITHOUT_PLACES = ("flat", "pair")
# The same program compiled in half of the time; the slow tests compile it as usual.
QUICK_COMPILATION = {"xla_backend_optimization_level": 0}
# What the oracle has no value for: its formula divides 0 by 0 at correlation 1.
ORACLE_IS_NAN = {"rectified_monomial": "the diagonal of k(x, x)"}


@cache
def golden() -> dict[str, np.ndarray]:
    """Every stored array by name."""
    with np.load(GOLDEN) as stored:
        return dict(stored)


def every(*names: str) -> list:
    """Architectures as test parameters: the named ones, or all but RELATIVES; the rest is slow."""
    quick = names or [name for name in ARCHITECTURES if name not in RELATIVES]
    return [
        pytest.param(name, marks=() if name in quick else pytest.mark.slow)
        for name in ARCHITECTURES
    ]


def problem_of(name: str) -> Problem:
    return read(golden(), ARCHITECTURES[name].inputs)


def cast(tree: Any, dtype: type) -> Any:
    """Every floating array of a tree in another precision."""

    def of(x: Any) -> Any:
        return x.astype(dtype) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x

    return jax.tree.map(of, tree)


def kernels(name: str, dtype: type = np.float64, options: dict | None = None) -> dict[str, Any]:
    """Our Kernels, as NumPy arrays: x2 given ("cross") and x1 alone ("same"), by one program."""
    problem = cast(problem_of(name), dtype)
    kernel_fn = ARCHITECTURES[name].build(stax)[2]

    def both(x1: Any, x2: Any) -> dict[str, Any]:
        return {
            "cross": kernel_fn(x1, x2, **problem.options(False)),
            "same": kernel_fn(x1, None, **problem.options(True)),
        }

    return jax.tree.map(np.asarray, jax.jit(both, compiler_options=options)(problem.x1, problem.x2))


def errors(actual: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """|actual - expected| / |expected| of every entry; where the oracle gives 0, so must we."""
    assert actual.shape == expected.shape
    assert np.isfinite(actual).all()
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.abs(actual - expected) / np.abs(expected)
    return np.where(actual == expected, 0.0, relative)


def check(name: str, found: dict[str, Any]) -> None:
    """Hold the kernels of an architecture against the rules."""
    architecture, stored = ARCHITECTURES[name], golden()
    exact = NUMERICAL if architecture.numerical else EXACT
    on_diagonal = NUMERICAL if architecture.numerical else DIAGONAL
    diagonal = np.eye(len(found["same"].cov1), dtype=bool)
    for part in PARTS:
        error = errors(getattr(found["cross"], part), stored[f"{name}/cross/{part}"])
        assert error.max() <= exact, f"{part}, x2 given: {error.max():.1e}"
        error = errors(getattr(found["same"], part), stored[f"{name}/same/{part}"])
        assert error[~diagonal].max() <= exact, f"{part}, x1 is x2: {error[~diagonal].max():.1e}"
        if name not in ORACLE_IS_NAN:
            assert error[diagonal].max() <= on_diagonal, (
                f"{part}, (x, x): {error[diagonal].max():.1e}"
            )
    flat = architecture.inputs in WITHOUT_PLACES
    for mode, kernel in found.items():
        np.testing.assert_array_equal(kernel.is_gaussian, stored[f"{name}/gaussian"])
        if architecture.finite:  # the oracle's shapes are those of the finite network
            assert kernel.shape1 == tuple(stored[f"{name}/shape"])
        if name not in ORACLE_IS_NAN:
            error = errors(kernel.cov1, stored[f"{name}/{mode}/cov1"])
            assert error.max() <= (CLOSED_FORM if flat else DIAGONAL), f"cov1: {error.max():.1e}"


@pytest.mark.filterwarnings("ignore:Hermite")
@pytest.mark.parametrize("name", every())
def test_kernels_agree_in_float64(name):
    with jax.enable_x64(True):
        check(name, kernels(name, options=QUICK_COMPILATION))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Hermite")
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_kernels_agree_in_float64_compiled_as_usual(name):
    with jax.enable_x64(True):
        check(name, kernels(name))


@pytest.mark.filterwarnings("ignore:Hermite")
@pytest.mark.parametrize(
    "name", every("gelu", "conv_strided_flatten", "conv_3d", "masked_attention")
)
def test_kernels_agree_in_float32(name):
    found = kernels(name, np.float32, QUICK_COMPILATION)
    for mode, kernel in found.items():
        for part in PARTS:
            value, expected = getattr(kernel, part), golden()[f"{name}/{mode}/{part}"]
            assert value.dtype == np.float32
            assert np.isfinite(value).all()
            error = np.abs(value - expected)[np.isfinite(expected)].max()
            error /= np.nanmax(np.abs(expected))
            assert error <= SINGLE, f"{part}, {mode}: {error:.1e}"


FINITE = ("gelu", "residual", "conv_strided_flatten", "conv_local_standard", "attention_options")


@pytest.mark.filterwarnings("ignore:Hermite")
@pytest.mark.parametrize("name", every(*FINITE, "masked_conv_pooled", "graph_sparse"))
def test_finite_networks_agree(name):
    """With parameters of the same shapes, in the same order, and of the same values."""
    if not ARCHITECTURES[name].finite:
        pytest.skip("no finite network to compare: random, or parameters differ")
    if name == "masked_layer_norm":
        pytest.skip("the oracle's variance counts masked places: test_layer_norm has ours")
    problem, stored = problem_of(name), golden()
    shapes = jax.tree.map(lambda x: x.shape, problem.x1)
    init_fn, apply_fn, _ = ARCHITECTURES[name].build(stax)
    with jax.enable_x64(True):
        params = jax.eval_shape(lambda key: init_fn(key, shapes)[1], jax.random.key(0))
        ours = [leaf.shape for leaf in jax.tree.leaves(params)]
        peers = [k for k in stored if k.startswith(f"{name}/finite/parameter")]
        assert ours == [tuple(stored[f"{name}/finite/parameter {i}"]) for i in range(len(peers))]
        options = problem.finite_options()
        run = jax.jit(
            lambda params, x: stax.unmask_fn(apply_fn)(params, x, **options),
            compiler_options=QUICK_COMPILATION,
        )
        outputs = np.asarray(run(fill(params), problem.x1))
    expected = stored[f"{name}/finite/outputs"]
    assert outputs.shape == expected.shape
    assert np.abs(outputs - expected).max() <= EXACT * np.abs(expected).max()


def decaying(a: float, b: float, c: float) -> Any:
    """E[f(u)²] and E[f'(u)²] of a sin(b u + c), u ~ N(0, k)."""
    return (
        lambda k: a**2 / 2 * (1 - np.exp(-2 * b**2 * k) * np.cos(2 * c)),
        lambda k: (a * b) ** 2 / 2 * (1 + np.exp(-2 * b**2 * k) * np.cos(2 * c)),
    )


# name: (W_std of the first layer, E[f(u)²], E[f'(u)²]) for u ~ N(0, k)
OF_A_PAIR = {
    "relu": (1.4, lambda k: k / 2, lambda k: 0.5),
    "ab_relu": (1.1, lambda k: 1.25 * k, lambda k: 1.25),
    "erf": (
        1.1,
        lambda k: 1.3**2 * 2 / np.pi * np.arcsin(1.28 * k / (1 + 1.28 * k)) + 0.4**2,
        lambda k: (1.3 * 0.8) ** 2 * 4 / np.pi / np.sqrt(1 + 4 * 0.64 * k),
    ),
    "sin": (1.1, *decaying(1.3, 0.7, 0.4)),
    "cos": (1.1, *decaying(1.2, 0.6, -0.3 + np.pi / 2)),
    "rbf": (1.1, lambda k: 1.0, lambda k: 0.6),
    "sign": (1.1, lambda k: 1.0, lambda k: 0.0),
    "exp": (
        0.8,
        lambda k: 0.49 * np.exp(0.32 * k),
        lambda k: 0.16 * 0.49 * np.exp(0.32 * k),
    ),
    "gaussian": (
        1.1,
        lambda k: 1.21 / np.sqrt(1 + 2.4 * k),
        lambda k: 4 * 1.21 * 0.36 * k / (1 + 2.4 * k) ** 1.5,
    ),
    "monomial": (0.7, lambda k: 15 * k**3, lambda k: 27 * k**2),
}


@pytest.mark.parametrize("name", OF_A_PAIR)
def test_pairs_of_x_and_x_are_closed_forms(name):
    """NNGP and NTK, worked out here from the moments of one Gaussian."""
    scale, square, slope = OF_A_PAIR[name]
    k = scale**2 * (problem_of(name).x1 ** 2).mean(-1) + 0.3**2
    theta = k
    for weight, bias in ((1.2, 0.2), (0.9, 0.1)):
        k, theta = weight**2 * (square(k) + 0 * k) + bias**2, weight**2 * slope(k) * theta
        theta = theta + k
    with jax.enable_x64(True):
        kernel_fn = ARCHITECTURES[name].build(stax)[2]
        found = jax.tree.map(np.asarray, kernel_fn(problem_of(name).x1, None, PARTS))
    assert errors(np.diag(found.nngp), k).max() <= CLOSED_FORM
    assert errors(np.diag(found.ntk), theta).max() <= CLOSED_FORM


def test_there_are_enough_architectures():
    assert len(ARCHITECTURES) >= 45
    names = {key.split("/")[0] for key in golden()} - {"inputs", "provenance"}
    assert names == set(ARCHITECTURES)
