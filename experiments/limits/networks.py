"""Networks of our own operators: finite ones, drawn with their kernels, and their limits.

    h = embed(x);   h = block(h), depth times;   y = head(readout(h))

An operator's block is relu, the operator, and weights that mix channels; another relu is before the
readout. A gap block is `LongConvActivation` and weights. Both readouts, the mean over positions and
the last one, are taken from the same draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import theory
from kernels_pallas import long_conv, neighborhood_attention
from theory import stax

READOUTS = ("mean", "last")
KERNELS = ("nngp", "ntk")
LENGTH, SIDE, FEATURES = 8, 4, 5
SMALL = 128  # widths up to here are drawn several at once
W_STD, B_STD = 2**0.5, 0.1
LAGS = np.arange(LENGTH)
# three damped waves: taps k = sum_r a_r z_r have the covariance sum_r a_r a_r^T, of rank 3
WAVES = np.exp(-LAGS / 4.0) * np.cos(0.8 * np.arange(3)[:, None] * LAGS)
COVARIANCE = WAVES.T @ WAVES / (WAVES**2).sum()
FILTERS = {"2 taps": np.ones(2) / 2, "8 taps": np.ones(LENGTH) / LENGTH}
ACTIVATIONS = {"relu": stax.Relu, "gelu": stax.Gelu, "erf": stax.Erf}


@dataclass(frozen=True)
class Draws:
    """How draws inside of a limit are made.

    Attributes:
      samples: of each layer that draws.
      seeds: repetitions, whose spread is the error.
    """

    samples: int
    seeds: int


@dataclass(frozen=True)
class Case:
    """A family of networks.

    Attributes:
      label: for people.
      layers: (width, finite, seed, samples) -> the layers of one block; finite ones run the
        operators of kernels_pallas where these have them; seed and samples are of layers that draw.
      grid: spatial shape of an input.
      draws: whether the limit is itself an average over draws.
      relu: whether one begins each block and one is before the readout.
      norm: whether a LayerNorm is before each of these.
    """

    label: str
    layers: Callable[[int, bool, int, int], list[stax.Layer]]
    grid: tuple[int, ...] = (LENGTH,)
    draws: bool = False
    relu: bool = True
    norm: bool = False


def profile(lags: np.ndarray, decay: float = 3.0) -> np.ndarray:
    """Variances exp(-|lag| / decay) of power 1."""
    v = np.exp(-np.abs(lags) / decay)
    return v / v.sum()


def dense(width: int) -> stax.Layer:
    return stax.Dense(width, W_STD, B_STD)


def _long_conv(width: int, finite: bool, seed: int, samples: int, **options: Any) -> list:
    return [stax.LongConv(**options, operator=long_conv if finite else None), dense(width)]


def _planes(width: int, finite: bool, seed: int, samples: int) -> list[stax.Layer]:
    v = profile(np.arange(1 - SIDE, SIDE), 2.0)
    return [stax.LongConv(np.outer(v, v), causal=False), dense(width)]  # no operator is 2-D


def _hyena(width: int, finite: bool, seed: int, samples: int) -> list[stax.Layer]:
    gate = stax.Gate(dense(width), dense(width))
    conv = stax.LongConv(profile(LAGS), operator=long_conv if finite else None)
    return [gate, conv, stax.Dense(width, 1.0, B_STD)]


def _attention(
    width: int, finite: bool, seed: int, samples: int, *,
    root: bool = False, identity: bool = False,
) -> list[stax.Layer]:  # fmt: skip
    """Linear scaling: 2 heads, as many key channels as the width and a quarter of value channels.

    Root scaling: width / 16 heads, width / 4 key channels and 4 value channels.
    """
    quarter = max(width // 4, 1)
    sizes: dict[str, Any] = {"n_heads": 2, "n_chan_key": width, "n_chan_val": quarter}
    if root:
        sizes = {"n_heads": max(width // 16, 1), "n_chan_key": quarter, "n_chan_val": 4}
    return [
        stax.NeighborhoodAttention(
            3,
            **sizes,
            W_out_std=W_STD,
            W_query_std=2 / 3 if identity else 1.0,
            b_std=B_STD,
            linear_scaling=not root,
            attention_mechanism="IDENTITY" if identity else "SOFTMAX",
            samples=samples,
            seed=seed,
            operator=neighborhood_attention if finite and not identity else None,
        )
    ]


OPERATORS = {
    "taps": Case("long convolution", partial(_long_conv, tap_variance=profile(LAGS))),
    "correlated": Case(
        "long convolution, correlated taps", partial(_long_conv, tap_covariance=COVARIANCE)
    ),
    "bidirectional": Case(
        "long convolution, both directions",
        partial(_long_conv, tap_variance=profile(np.arange(1 - LENGTH, LENGTH)), causal=False),
    ),
    "planes": Case("long convolution, 2-D", _planes, (SIDE, SIDE)),
    "gated": Case("gate, then long convolution", _hyena, norm=True),
    "attention": Case("neighborhood attention", _attention),
    "attention-2d": Case("neighborhood attention, 2-D", _attention, (SIDE, SIDE)),
    "root-identity": Case(
        "attention, root scaling, identity",
        partial(_attention, root=True, identity=True),
        norm=True,
    ),
    "root-softmax": Case(
        "attention, root scaling, softmax", partial(_attention, root=True), draws=True
    ),
}


def gap_case(activation: str, filter_name: str) -> Case:
    """A nonlinearity straight after the convolution. Samples 0: channels are taken for mixed."""

    def layers(width: int, finite: bool, seed: int, samples: int) -> list[stax.Layer]:
        v, operator = FILTERS[filter_name], long_conv if finite else None
        act = ACTIVATIONS[activation]()
        both = stax.LongConvActivation(act, v, operator=operator, samples=samples, seed=seed)
        return [both, dense(width)]

    return Case(f"{activation}, {filter_name}", layers, draws=True, relu=False)


GAPS = {
    f"gap-{activation}-{name.replace(' ', '-')}": gap_case(activation, name)
    for activation, name in product(ACTIVATIONS, FILTERS)
}
CASES = OPERATORS | GAPS


def inputs(case: Case, examples: int) -> np.ndarray:
    """(examples, *grid, features): smooth along positions, of variance 1 about each example."""
    rng = np.random.default_rng([len(case.grid), examples])
    x = rng.standard_normal((examples, *case.grid, FEATURES))
    for axis in range(1, 1 + len(case.grid)):
        x = x + 0.7 * np.roll(x, 1, axis)
    x = x + 0.5 * rng.standard_normal((1, *(1 for _ in case.grid), FEATURES))
    return x / np.sqrt((x**2).mean(axis=tuple(range(1, x.ndim)), keepdims=True))


def body(
    case: Case, depth: int, width: int, *, finite: bool, seed: int = 0, samples: int = 1
) -> list[stax.Layer]:
    """All layers before the readout."""
    relu = [*([stax.LayerNorm()] if case.norm else []), *([stax.Relu()] if case.relu else [])]
    blocks = [
        stax.serial(*relu, *case.layers(width, finite, seed * depth + i, samples))
        for i in range(depth)
    ]
    return [dense(width), *blocks, *relu]


def limit(case: Case, depth: int, examples: int, draws: Draws, *, mixed: bool = False) -> dict:
    """Kernels of both readouts in float64: kernel -> (readouts, N, N) and its error by draws.

    Args:
      case, depth, examples: the network and its inputs.
      draws: where the limit is an average.
      mixed: take channels for mixed before a nonlinearity.
    """
    last = stax.Index(stax.Slice[(slice(None), *(-1 for _ in case.grid))])
    ends = stax.parallel(*(stax.serial(end, stax.Dense(1)) for end in (stax.GlobalAvgPool(), last)))
    samples = 0 if mixed else draws.samples

    def network(seed: int) -> stax.Layer:
        start = body(case, depth, 1, finite=False, seed=seed, samples=samples)
        return stax.serial(*start, stax.FanOut(2), ends)

    with jax.enable_x64(True):
        x = jnp.asarray(inputs(case, examples))
        seeds = draws.seeds if case.draws and not mixed else 1
        drawn = [network(seed).kernel_fn(x, None, KERNELS) for seed in range(seeds)]
        found: dict[str, Any] = {"seeds": seeds, "samples": samples if seeds > 1 else 0}
        for name in KERNELS:
            values = np.array([[getattr(end, name) for end in each] for each in drawn], np.float64)
            error = values.std(0, ddof=1) / seeds**0.5 if seeds > 1 else np.zeros(values.shape[1:])
            found[name] = {"value": values.mean(0).tolist(), "error": error.tolist()}
        return found


def drawer(
    case: Case, depth: int, width: int, examples: int
) -> Callable[[Array], tuple[Array, Array]]:
    """keys (networks,) -> NNGP and NTK at the start, (networks, readouts, N, N) each, compiled.

    Wider than SMALL, it takes one key at a time.

    The NNGP is the covariance over the channels that the head sees, which its weights pass on.
    """
    x = jnp.asarray(inputs(case, examples), jnp.float32)
    start = stax.serial(*body(case, depth, width, finite=True))
    network = stax.serial(start, stax.Dense(1))
    middle = tuple(range(1, 1 + len(case.grid)))

    def readouts(y: Array) -> Array:
        last = y[(slice(None), *(-1 for _ in middle))]
        return jnp.stack([y.mean(middle), last], 1)

    def outputs(params: Any, x: Array) -> Array:
        return readouts(network.apply_fn(params, x))[..., 0]

    ntk_fn = theory.empirical_ntk_fn(
        outputs, trace_axes=(), diagonal_axes=(-1,), vmap_axes=0,
        implementation=theory.NtkImplementation.STRUCTURED_DERIVATIVES,
    )  # fmt: skip

    def one(key: Array) -> tuple[Array, Array]:
        params = network.init_fn(key, x.shape)[1]
        seen = readouts(start.apply_fn(params[0], x))
        nngp = jnp.einsum("nrc,mrc->rnm", seen, seen, precision="highest") / width
        return nngp, jnp.moveaxis(ntk_fn(x, None, params), -1, 0)

    # Products of many small matrices are slow on CPUs: wide networks are drawn one by one. The
    # passes that are left out cost more, in compiling, than they gain.
    many = jax.vmap(one) if width <= SMALL else lambda keys: jax.tree.map(_one_row, one(keys[0]))
    return jax.jit(many, compiler_options={"xla_llvm_disable_expensive_passes": True})


def _one_row(value: Array) -> Array:
    return value[None]


def draw(
    case: Case, depth: int, width: int, examples: int, networks: int, key: Array
) -> tuple[np.ndarray, ...]:
    """NNGPs and NTKs of `networks` networks, (networks, readouts, N, N) each."""
    drawn = drawer(case, depth, width, examples)
    each = min(16, networks) if width <= SMALL else 1
    keys = jax.random.split(key, networks)
    parts = [jax.device_get(drawn(keys[i : i + each])) for i in range(0, networks, each)]
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))
