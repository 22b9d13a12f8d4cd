"""Infinite-width limits of the models of this package, as kernel functions.

The NNGP is the covariance of the model's outputs at its initial parameters, as its width grows. The
NTK is that of the NTK parametrisation: each parameter with a random start of mean zero is a
constant deviation times a trained number of N(0, 1). Parameters that start at a constant (offsets
at 0, gains of norms at 1, the poles and steps of filters) are not in it.

A block that ends in a product of two channels (the GLU of `Conv`) leaves activations that are no
Gaussians, with width or without, and the next bends them before channels meet; `approximate=True`
takes them for Gaussians. GELU is the exact one here, its approximation by tanh in the
models: 1e-3 of its values at most.

Attention has heads of width / heads channels. They stay so large, and heads grow with the width: a
few heads of many channels each would leave outputs that are no Gaussians.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from farwide.models.mixers import Attention, Cnn, Conv, Gated, MixerConfig
from farwide.models.rotary import axial_rotary
from theory import stax
from theory.stax.layer import KernelFn

if TYPE_CHECKING:
    from farwide.models.filters import FilterConfig
    from farwide.models.sequence import SequenceConfig


def sequence_limit(config: SequenceConfig, *, approximate: bool, samples: int) -> KernelFn:
    """The limit of a sequence model; `SequenceConfig.limit` describes it."""
    if config.tied_head is not None:
        raise NotImplementedError(
            f"tied_head is {config.tied_head}; accepted is None: a head that shares the weights of "
            "the embedding is not independent of what it reads"
        )
    inputs = config.features or config.vocabulary or 1
    scale = 1.0 if config.vocabulary is None else inputs**0.5  # one-hot: E x . x' is 1 or 0
    start = stax.Dense(1, scale)
    blocks = [
        layer
        for i, mixer in enumerate(config.mixers)
        for layer in _block(config, mixer, approximate, samples, seed=i)
    ]
    norm, head = stax.LayerNorm(), stax.Dense(1)
    if config.readout == "last":
        end = (stax.LastPosition(), norm, head)
    elif config.readout == "mean":
        end = (norm, stax.GlobalAvgPool(), head)
    else:
        end = (norm, head)
    return stax.serial(start, *blocks, *end).kernel_fn


def _block(
    config: SequenceConfig, mixer: MixerConfig, approximate: bool, samples: int, seed: int
) -> list[stax.Layer]:
    """x + mixer(norm(x)), x + mlp(norm(x))."""
    mixed = _mixer(mixer, config.width, config.length, config.causal, approximate, samples, seed)
    layers = [residual(stax.LayerNorm(), mixed)]
    return [*layers, mlp_branch()] if config.mlp_ratio else layers


def mlp_branch() -> stax.Layer:
    """x + mlp(norm(x))."""
    return residual(stax.LayerNorm(), stax.Dense(1), stax.Gelu(), stax.Dense(1))


def residual(*layers: stax.Layer) -> stax.Layer:
    """x + layers(x)."""
    both = stax.parallel(stax.Identity(), stax.serial(*layers))
    return stax.serial(stax.FanOut(2), both, stax.FanInSum())


def _mixer(
    mixer: MixerConfig, width: int, length: int, causal: bool, approximate: bool, samples: int,
    seed: int,
) -> stax.Layer:  # fmt: skip
    if isinstance(mixer, Cnn):
        return stax.serial(_short(mixer, length, causal), stax.Gelu(), stax.Dense(1))
    if isinstance(mixer, Gated):
        return _gated(mixer, width, length, causal)
    if isinstance(mixer, Conv) and not mixer.butterfly:
        if not approximate:
            raise NotImplementedError(
                f"{mixer} bends its convolution before channels meet, and ends in a product: it "
                "has no Gaussian limit; approximate=True takes it for one, and "
                "farwide.models.WideConfig has a model with such filters and an exact limit"
            )
        return _conv(mixer, width, length, causal, samples, seed)
    if isinstance(mixer, Attention):
        window, dilation = (length, 1) if mixer.window is None else (mixer.window, mixer.dilation)
        return attention(
            window, dilation, causal, head_dim=mixer.head_dim(width), samples=samples, seed=seed
        )
    raise NotImplementedError(
        f"{type(mixer).__name__} has no limit here; accepted are Attention, Gated, Cnn and, "
        "approximately, Conv without a learned transform"
    )


def attention(
    window: int | tuple[int, ...], dilation: int, causal: bool, *, head_dim: int, samples: int,
    seed: int,
) -> stax.Layer:  # fmt: skip
    """Attention of heads of `head_dim` channels, turned by their places, and its projection."""
    return stax.NeighborhoodAttention(
        window,
        dilation,
        causal,
        linear_scaling=False,
        head_dim=head_dim,
        rotary=axial_rotary,
        samples=samples,
        seed=seed,
    )


def _short(mixer: Cnn, length: int, causal: bool) -> stax.Layer:
    """A convolution that mixes channels: the mean over its taps, then weights."""
    reach = (mixer.taps - 1) * mixer.dilation
    before = reach if causal else reach // 2
    variance = np.zeros(2 * max(length, reach + 1) - 1)
    middle = len(variance) // 2
    variance[middle + before - mixer.dilation * np.arange(mixer.taps)] = 1 / mixer.taps
    return stax.serial(stax.LongConv(variance, causal=False, tap_ntk=0), stax.Dense(1))


def _gated(mixer: Gated, width: int, length: int, causal: bool) -> stax.Layer:
    """z = g_1 v;  z = g (k * z + skip z), gate by gate;  W z."""
    variance = np.full(mixer.short_taps, 0.25)
    if not causal:
        lags = np.arange(mixer.short_taps) - (mixer.short_taps - 1) // 2
        variance = np.zeros(2 * mixer.short_taps - 1)
        variance[mixer.short_taps - 1 + lags] = 0.25

    def branch(i: int) -> stax.Layer:
        if mixer.short == "all" or i == 1:
            return stax.serial(stax.Dense(1), stax.LongConv(variance, causal=causal))
        return stax.Dense(1)

    z = stax.Gate(branch(0), branch(1))
    for i in range(mixer.order - 1):
        long = filter_layer(mixer.filter, width, length, causal, skip=1.0, skip_trained=False)
        z = stax.Gate(stax.serial(z, long), branch(i + 2))
    return stax.serial(z, stax.Dense(1))


def _conv(
    mixer: Conv, width: int, length: int, causal: bool, samples: int, seed: int
) -> stax.Layer:
    """GLU(W gelu(k * x + skip x)), x and the product taken for Gaussians."""
    moments = moments_of(mixer.filter, width, length, causal, skip=1.0, skip_trained=True)
    bent = stax.LongConvActivation(
        stax.Gelu(), **moments, causal=causal, samples=samples, seed=seed
    )
    gate = stax.Gate(stax.Dense(1), stax.serial(stax.Dense(1), stax.Sigmoid_like()))
    return stax.serial(stax.AssumeGaussian(), bent, gate, stax.AssumeGaussian())


def filter_layer(
    config: FilterConfig, width: int, length: int, causal: bool, *, skip: float, skip_trained: bool
) -> stax.Layer:
    """The long convolution of a model's filter and its skip."""
    moments = moments_of(config, width, length, causal, skip=skip, skip_trained=skip_trained)
    return stax.LongConv(**moments, causal=causal)


def moments_of(
    config: FilterConfig, width: int, length: int, causal: bool, *, skip: float, skip_trained: bool
) -> dict[str, Any]:
    """tap_covariance and tap_ntk of a filter, of a second one that looks ahead, and of a skip.

    Args:
      config: the filter's settings; both have the same.
      width, length: channels and taps.
      causal: whether there is none that looks ahead.
      skip: second moment of the factor of x(t).
      skip_trained: whether that is a trained number of mean zero.
    """
    own = config.moments(width, length)
    out: dict[str, Any] = {}
    for name, values in (("tap_covariance", own.matrix), ("tap_ntk", own.ntk_matrix)):
        lags = np.array(values)
        if not causal:  # lags -(L - 1) .. L - 1; the second filter's first tap is lag -1
            lags = np.zeros((2 * length - 1,) * 2)
            lags[length - 1 :, length - 1 :] = values
            lags[: length - 1, : length - 1] = values[length - 2 :: -1, length - 2 :: -1]
        zero = 0 if causal else length - 1
        if name == "tap_covariance" or skip_trained:
            lags[zero, zero] += skip
        out[name] = lags
    return out
