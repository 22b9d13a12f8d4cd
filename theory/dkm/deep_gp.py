"""Finite deep Gaussian processes, whose limit of wide layers a deep kernel machine is.

Layer l has N_l = N nu_l features, columns F ~ N(0, K_l) iid, K_l = K(G_{l-1}) + jitter I, and Gram
matrix G_l = F F^T / N_l. Every output column is seen N times: without that a wide deep Gaussian
process tends to its NNGP. As N grows the posterior concentrates on the Gram matrices that maximise
`objective`, with an error of order 1/N.

Algorithm. Features are F_l = L_l Z_l, K_l = L_l L_l^T, so that the log posterior is

    -1/2 sum_l |Z_l|² + N sum_c log N(y_c; 0, K(G_L) + (jitter + s²) I)

It is sampled by the Metropolis-adjusted Langevin algorithm (blackjax), chains side by side, each
with its own step, adapted while warming up. Means are taken on the way: no sample is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float

from theory.dkm.objective import KernelLike, Machine, log_likelihood, machine_of
from theory.predict.once import is_traced

ACCEPTANCE = 0.574  # optimal for the algorithm in many dimensions (Roberts and Rosenthal 1998)


class Sampled(NamedTuple):
    """Posterior means of Gram matrices.

    Attributes:
      grams: of each layer (chains, P, P), the mean of each chain. Their spread over chains, divided
        by sqrt(chains), is the Monte Carlo error of their mean; autocorrelation is in it.
      acceptance: (chains,), after warming up.
      step_size: (chains,), of the Langevin algorithm.
      widths: N_l of each layer.
    """

    grams: tuple[Float[Array, "chains p p"], ...]
    acceptance: Float[Array, "chains"]
    step_size: Float[Array, "chains"]
    widths: tuple[int, ...]

    def mean(self) -> tuple[Array, ...]:
        """(P, P) of each layer, over chains."""
        return tuple(G.mean(0) for G in self.grams)

    def error(self) -> tuple[Array, ...]:
        """One standard error of every entry of `mean`, (P, P) of each layer."""
        return tuple(G.std(0, ddof=1) / len(G) ** 0.5 for G in self.grams)


def sample_deep_gp(
    key: Array,
    G0: ArrayLike,
    Y: ArrayLike,
    *,
    width: int,
    depth: int,
    kernel: KernelLike | Sequence[KernelLike],
    nu: float | ArrayLike,
    noise_variance: float | ArrayLike,
    jitter: float | ArrayLike = 1e-6,
    chains: int = 16,
    warmup: int = 2000,
    steps: int = 10000,
    step_size: float | None = None,
    likelihood: float = 1.0,
) -> Sampled:
    """Posterior mean Gram matrices of a deep Gaussian process of finite width.

    Args:
      key: of jax.random.
      G0: (P, P), the inputs' Gram matrix.
      Y: (P,) or (P, C), targets.
      width: N.
      depth: L, at least 1.
      kernel: as in `objective`.
      nu: a number or (L,), known and finite; N nu_l must be whole, and at least 1.
      noise_variance: s².
      jitter: of every K.
      chains: run side by side, at least 2.
      warmup: steps that adapt the step size and are not counted.
      steps: that are.
      step_size: to start from; by default from the number of features.
      likelihood: the log likelihood is multiplied by this as well as by N; 0 samples the prior.

    Returns:
      A Sampled.

    Raises:
      ValueError: as `objective`; a width, depth, nu or count that is not accepted.
      ImportError: blackjax is not installed.

    Reference: Yang et al. 2023, A theory of representation learning gives a deep generalisation of
    kernel methods.
    """
    for name, value, least in (
        ("width", width, 1), ("depth", depth, 1), ("chains", chains, 2), ("warmup", warmup, 1),
        ("steps", steps, 1),
    ):  # fmt: skip
        if not (isinstance(value, int | np.integer) and value >= least):
            raise ValueError(f"{name} must be a whole number, at least {least}, got {value!r}")
    if is_traced(nu):
        raise ValueError("nu must be known: it gives the layers their widths, got a traced value")
    machine = machine_of(
        G0, Y, int(depth), kernel=kernel, nu=nu, noise_variance=noise_variance, jitter=jitter
    )
    exact = width * np.broadcast_to(np.asarray(nu, np.float64), (int(depth),))
    if not np.all(np.isfinite(exact)) or not np.all(exact > 0.5) or np.any(exact % 1):
        raise ValueError(f"width times nu must be whole numbers, at least 1, got {exact.tolist()}")
    widths = tuple(int(n) for n in np.rint(exact))
    dimensions = sum(n * p for n, p in zip(widths, machine.sizes, strict=False))
    first = ACCEPTANCE * dimensions ** (-1 / 3) if step_size is None else step_size
    if not first > 0:
        raise ValueError(f"step_size must be positive, got {step_size}")
    weight = jnp.asarray(width * likelihood, machine.G0.dtype)
    grams, accepted, size = _run(
        key, machine, weight, jnp.asarray(first, machine.G0.dtype), widths,
        (int(chains), int(warmup), int(steps)), _mala(),
    )  # fmt: skip
    return Sampled(grams, accepted, size, widths)


def _mala() -> tuple[Any, Any]:
    try:
        import blackjax  # slow to import
    except ImportError as error:
        raise ImportError(
            "sample_deep_gp needs blackjax: pip install 'farwide[sampling]'"
        ) from error
    return blackjax.mala.init, blackjax.mala.build_kernel


@partial(jax.jit, static_argnums=(4, 5, 6))
def _run(
    key: Array,
    machine: Machine,
    weight: Array,
    first: Array,
    widths: tuple[int, ...],
    counts: tuple[int, int, int],
    mala: tuple[Any, Any],
) -> tuple[tuple[Array, ...], Array, Array]:
    chains, warmup, steps = counts
    sizes = machine.sizes[:-1]

    def log_posterior(features):
        fit = log_likelihood(machine, _grams(machine, features)[-1])
        prior = -sum((Z**2).sum() for Z in features) / 2
        return prior + jnp.where(weight == 0, 0.0, weight * fit)

    init, kernel = mala[0], mala[1]()

    def chain(key):
        start, warm, counted = jax.random.split(key, 3)
        shapes = [(p, n) for p, n in zip(sizes, widths, strict=True)]
        features = tuple(
            jax.random.normal(k, shape, machine.G0.dtype)
            for k, shape in zip(jax.random.split(start, len(shapes)), shapes, strict=True)
        )
        state = init(features, log_posterior)

        def adapt(carry, given):
            state, log_size = carry
            key, step = given
            state, info = kernel(key, state, log_posterior, jnp.exp(log_size))
            rate = jnp.nan_to_num(info.acceptance_rate) - ACCEPTANCE
            return (state, log_size + rate / (1 + step) ** 0.6), None

        keys, order = jax.random.split(warm, warmup), jnp.arange(warmup, dtype=first.dtype)
        (state, log_size), _ = lax.scan(adapt, (state, jnp.log(first)), (keys, order))
        size = jnp.exp(log_size)

        def sample(carry, key):
            state, total, accepted = carry
            state, info = kernel(key, state, log_posterior, size)
            total = jax.tree.map(jnp.add, total, _grams(machine, state.position))
            return (state, total, accepted + info.is_accepted), None

        nothing = tuple(jnp.zeros((p, p), first.dtype) for p in sizes)
        carry = (state, nothing, jnp.zeros((), first.dtype))
        (_, total, accepted), _ = lax.scan(sample, carry, jax.random.split(counted, steps))
        return tuple(G / steps for G in total), accepted / steps, size

    return jax.vmap(chain)(jax.random.split(key, chains))


def _grams(machine: Machine, features: Sequence[Array]) -> tuple[Array, ...]:
    grams, G = [], machine.G0
    for layer, Z in enumerate(features, start=1):
        F = jnp.matmul(jnp.linalg.cholesky(machine.prior(layer, G)), Z, precision="highest")
        G = jnp.matmul(F, F.T, precision="highest") / Z.shape[1]
        grams.append(G)
    return tuple(grams)
