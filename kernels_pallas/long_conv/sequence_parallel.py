"""The causal or bidirectional long convolution for lengths that are split over devices.

Called inside `jax.shard_map`: device j of P holds points j n .. (j+1) n - 1 of every signal, and
gets the same points of the result. Two methods, both all-to-all and neither gathers a signal:

channels    one all-to-all trades length for channels: each device then has C/P channels of the full
            length, convolves them by `long_conv`, and one all-to-all goes back. 2 real numbers a
            point are sent. The channels must divide by P.
transform   the outer factor of the half-length transform (docs/long_conv.md) over the devices. With
            size = P n and u_j[m] = u[j n + m], lane q holding the frequencies q + P k, k < n:

                c_jq = exp(-i pi j / 2P - 2 pi i j q / P)
                t_q[m] = exp(-i pi m (1 + 4q) / 2 size)
                z_q[m] = t_q[m] sum_j c_jq u_j[m],    F~u[q + P k] = FFT_n(z_q)[k]
                p_q = conj(t_q) IFFT_n(lane q),       y_j[m] = (1/P) sum_q Re(conj(c_jq) p_q[m])

            A first all-to-all (real) gives each device 1/P of the m for all j, where the sums over
            j are local; a second (complex) gives device q its lane, whose FFT, product with the
            lane of the spectrum and inverse are local; and two lead back. 6 real numbers a point
            are sent, in four exchanges. For any number of channels and any n and P (n is padded
            to a multiple of P, for the sums alone).

Both are plain JAX code and differentiable in every mode. Numerics: float32 (float64 for float64
input) between the exchanges; twiddles are float64 cosines rounded once, or one product of two.

Reference: Bailey 1990, "FFTs in external or hierarchical memory" (the outer factor); Fu et al.
2023, "FlashFFTConv".
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from kernels_pallas import validate
from kernels_pallas.long_conv.api import LAYOUTS, long_conv

METHODS = (None, "channels", "transform")


def long_conv_sequence_parallel(
    u: Float[Array, "batch channels chunk"] | Float[Array, "batch chunk channels"],
    k: Float[Array, "channels taps"],
    *,
    axis_name: Any,
    k_future: Float[Array, "channels future"] | None = None,
    skip: Float[Array, "channels"] | None = None,
    pre_gate: Float[Array, "batch _ _"] | None = None,
    post_gate: Float[Array, "batch _ _"] | None = None,
    layout: str = "BCL",
    method: str | None = None,
    split_taps: bool = False,
    implementation: str = "xla",
) -> Float[Array, "batch _ _"]:
    """This device's chunk of a causal `long_conv(u, k, ...)` whose length is split over devices.

    Call it inside `jax.shard_map`, with u and the gates sharded over the length along `axis_name`:

        spec = PartitionSpec(None, None, "sequence")
        jax.shard_map(partial(long_conv_sequence_parallel, axis_name="sequence"), mesh=mesh,
                      in_specs=(spec, PartitionSpec()), out_specs=spec)(u, k)

    The gradient of a shard_map with respect to replicated taps is the full gradient. A gradient
    taken inside one is what this device's lane or channels contribute: with check_vma=False the sum
    over the axis is the caller's (`lax.psum`), as for every replicated parameter.

    Args:
      u: this device's chunk, (batch, channels, n), or (batch, n, channels) with layout "BLC". The
        whole length is P n, P the size of the axis. float16, bfloat16, float32 or float64.
      k: all taps, (channels, taps), 1 <= taps <= P n, the same on every device. With `split_taps`
        this device's chunk of them, (channels, n): taps j n .. (j+1) n - 1 on device j.
      axis_name: the mesh axis, or a tuple of axes, over which the length is split.
      k_future: taps on the future, likewise; column s-1 weighs the input s steps ahead.
      skip: (channels,), the weight of the input itself, the same on every device.
      pre_gate: shape of u, multiplies u.
      post_gate: shape of u, multiplies the result.
      layout: "BCL" or "BLC", the axes of u, the gates and the result.
      method: "channels", "transform", or None: "channels" where P divides the channels.
      split_taps: k and k_future are split over the devices as u is, instead of replicated.
      implementation: which `long_conv` the method "channels" runs; "transform" needs "xla". A
        Pallas backend inside shard_map needs `check_vma=False`.

    Returns:
      This device's chunk of the result, in the shape, layout and dtype of u.

    Raises:
      TypeError: an operand is no floating array, or is wider than u is computed in.
      ValueError: a shape or an option; channels that P does not divide, with method "channels";
        an axis that no enclosing shard_map has.
    """
    validate.one_of("layout", layout, LAYOUTS)
    validate.one_of("method", method, METHODS)
    validate.boolean("split_taps", split_taps)
    devices = _axis_size(axis_name)
    axis = 2 if layout == "BCL" else 1  # of the length
    names = ("batch", "channels", "chunk") if axis == 2 else ("batch", "chunk", "channels")
    u = validate.float_array("u", u, names)
    channels, chunk = u.shape[3 - axis], u.shape[axis]
    if chunk < 1:
        raise ValueError(f"u has chunk 0 (shape {u.shape}, layout {layout!r}); it must be >= 1")
    k = _taps("k", k, u, channels, chunk, devices, split_taps)
    if k_future is not None:
        k_future = _taps("k_future", k_future, u, channels, chunk, devices, split_taps)
    if skip is not None:
        skip = validate.float_array("skip", skip, ("channels",))
        validate.shape_is("skip", skip, (channels,), "one weight a channel of u")
    for name, operand in (("skip", skip), ("pre_gate", pre_gate), ("post_gate", post_gate)):
        if operand is None:
            continue
        if name != "skip":
            operand = validate.float_array(name, operand, ("batch", "_", "_"))
            validate.shape_is(name, operand, u.shape, "the shape of u")
        validate.not_wider(name, operand.dtype, u.dtype)
    if method is None:
        method = "channels" if channels % devices == 0 else "transform"
    if method == "channels" and channels % devices:
        raise ValueError(
            f"method is 'channels', but u has {channels} channels on an axis of {devices} devices; "
            "accepted: channels that the devices divide, or method 'transform'"
        )
    if method == "transform" and implementation != "xla":
        raise ValueError(
            f"implementation is {implementation!r}; accepted with method 'transform': 'xla'"
        )

    dtype = validate.compute_dtype(u.dtype)
    x = u.astype(dtype) if pre_gate is None else u.astype(dtype) * pre_gate.astype(dtype)
    # 16-bit signals travel as they are where that rounds nothing, forward or backward.
    sent = u if pre_gate is None and skip is None else x
    rounded = u.dtype if post_gate is None and skip is None else dtype
    k = k.astype(dtype)
    k_future = None if k_future is None else k_future.astype(dtype)
    if method == "channels":
        convolve = partial(_by_channels, axis=axis, implementation=implementation)
    else:
        convolve = partial(_by_transform, axis=axis)
    y = convolve(
        sent, k, k_future, dtype, rounded, axis_name=axis_name, devices=devices, split=split_taps
    )
    if skip is not None:
        weight = skip.astype(dtype)
        y = y + (weight[:, None] if axis == 2 else weight) * x
    return (y if post_gate is None else y * post_gate.astype(dtype)).astype(u.dtype)


def _by_channels(
    x: Array,
    k: Array,
    k_future: Array | None,
    dtype: jnp.dtype,
    rounded: jnp.dtype,
    *,
    axis: int,
    axis_name: Any,
    devices: int,
    split: bool,
    implementation: str,
) -> Array:
    """All of the length for 1/P of the channels, `long_conv`, and back."""
    channel = 3 - axis

    def own(taps: Array) -> Array:
        if split:
            return lax.all_to_all(taps, axis_name, 0, 1, tiled=True)
        rows = taps.shape[0] // devices
        return lax.dynamic_slice_in_dim(taps, lax.axis_index(axis_name) * rows, rows, axis=0)

    whole = lax.all_to_all(x, axis_name, channel, axis, tiled=True)
    y = long_conv(
        whole.astype(dtype),
        own(k),
        k_future=None if k_future is None else own(k_future),
        layout="BCL" if axis == 2 else "BLC",
        implementation=implementation,
    )
    return lax.all_to_all(y.astype(rounded), axis_name, axis, channel, tiled=True)


def _by_transform(
    x: Array,
    k: Array,
    k_future: Array | None,
    dtype: jnp.dtype,
    rounded: jnp.dtype,
    *,
    axis: int,
    axis_name: Any,
    devices: int,
    split: bool,
) -> Array:
    """The half-length transform whose outer factor is the axis of devices."""
    x = x if axis == 2 else x.swapaxes(1, 2)
    chunk = x.shape[2]
    exchange = partial(_exchange, axis_name=axis_name, devices=devices)
    cos, sin = _butterfly(devices, dtype)
    lane = lax.axis_index(axis_name)
    twiddle = _lane_twiddle(lane, devices, chunk, dtype)

    def to_lane(a: Array) -> Array:
        """F~a at this device's frequencies, from the chunk a (..., chunk)."""
        a_j = exchange(a, chunk).astype(dtype)  # (..., j, slice of m)
        z_q = lax.complex(_sum(cos, a_j), -_sum(sin, a_j))
        return jnp.fft.fft(_join(exchange(z_q), chunk) * twiddle)

    def whole_to_lane(a: Array) -> Array:
        """The same from all of the points (..., at most P chunk), present on every device."""
        missing = devices * chunk - a.shape[-1]
        a_j = jnp.pad(a, ((0, 0), (0, missing))).reshape(a.shape[0], devices, chunk)
        one = partial(lax.dynamic_index_in_dim, index=lane, axis=0)
        z = lax.complex(_sum(one(cos), a_j), -_sum(one(sin), a_j))
        return jnp.fft.fft(z[:, 0] * twiddle)

    taps_to_lane = to_lane if split else whole_to_lane
    spectrum = taps_to_lane(k)
    if k_future is not None:
        # k'[s] = k_future[s-1]; the last column, a whole length ahead, meets no input.
        if split:
            following = [(j, j + 1) for j in range(devices - 1)]
            first = lax.ppermute(k_future[:, -1:], axis_name, following)  # zero on device 0
            shifted = jnp.concatenate([first, k_future[:, :-1]], axis=1)
        else:
            shifted = jnp.pad(k_future[:, : devices * chunk - 1], ((0, 0), (1, 0)))
        spectrum = spectrum + taps_to_lane(shifted).conj()
    p = jnp.fft.ifft(to_lane(x) * spectrum) * twiddle.conj()
    p_q = exchange(p, chunk)  # (batch, channels, q, slice of m)
    y_j = (_sum(cos.T, p_q.real) - _sum(sin.T, p_q.imag)) / devices
    y = _join(exchange(y_j.astype(rounded)), chunk)
    return y if axis == 2 else y.swapaxes(1, 2)


def _exchange(a: Array, chunk: int | None = None, *, axis_name: Any, devices: int) -> Array:
    """Entry i of axis -2 goes to device i; with `chunk`, axis -1 is cut into that axis first."""
    if chunk is not None:
        piece = -(-chunk // devices)
        widths = [(0, 0)] * (a.ndim - 1) + [(0, devices * piece - chunk)]
        a = jnp.pad(a, widths).reshape(*a.shape[:-1], devices, piece)
    return lax.all_to_all(a, axis_name, a.ndim - 2, a.ndim - 2)


def _join(a: Array, chunk: int) -> Array:
    """The two last axes as one, without the padding."""
    return a.reshape(*a.shape[:-2], a.shape[-2] * a.shape[-1])[..., :chunk]


def _sum(matrix: Array, a: Array) -> Array:
    """A product with a small matrix over axis -2 of a."""
    return jnp.einsum("qj,...jm->...qm", matrix, a, precision=lax.Precision.HIGHEST)


def _butterfly(devices: int, dtype: jnp.dtype) -> tuple[Array, Array]:
    """cos and sin of the angles of conj(c_jq), row q and column j."""
    j, q = np.arange(devices), np.arange(devices)[:, None]
    # pi (j / 2P + 2 j q / P), the multiple of pi/2P taken modulo 4P, a whole turn
    angle = np.pi / (2 * devices) * (j * (1 + 4 * q) % (4 * devices))
    return jnp.asarray(np.cos(angle), dtype), jnp.asarray(np.sin(angle), dtype)


def _lane_twiddle(lane: Array, devices: int, chunk: int, dtype: jnp.dtype) -> Array:
    """t_q[m] for q = `lane`, m < chunk, from two short tables a lane, m = inner a + b."""
    inner = 1 << ((chunk - 1).bit_length() // 2)
    size, odd = devices * chunk, 1 + 4 * np.arange(devices)[:, None]

    def row(m: np.ndarray) -> Array:
        angle = np.pi / (2 * size) * (m * odd % (4 * size))
        cos, sin = (
            lax.dynamic_index_in_dim(jnp.asarray(f(angle), dtype), lane, keepdims=False)
            for f in (np.cos, np.sin)
        )
        return lax.complex(cos, -sin)

    coarse, fine = row(inner * np.arange(-(-chunk // inner))), row(np.arange(inner))
    return (coarse[:, None] * fine).reshape(-1)[:chunk]


def _axis_size(axis_name: Any) -> int:
    """The number of devices along the axis."""
    try:
        return lax.axis_size(axis_name)
    except NameError:
        raise ValueError(
            f"axis_name is {axis_name!r}, which is no axis of an enclosing jax.shard_map"
        ) from None


def _taps(
    name: str, taps: Any, u: Array, channels: int, chunk: int, devices: int, split: bool
) -> Array:
    """The taps as an array of an accepted shape."""
    taps = validate.float_array(name, taps, ("channels", "taps"))
    if split:
        why = f"split_taps is True and u has {channels} channels of {chunk} points a device"
        validate.shape_is(name, taps, (channels, chunk), why)
    else:
        validate.shape_is(name, taps, (channels, taps.shape[1]), f"u has {channels} channels")
        if not 1 <= taps.shape[1] <= devices * chunk:
            raise ValueError(
                f"{name} has {taps.shape[1]} taps; accepted: 1 to the whole length, "
                f"{devices} devices x {chunk}"
            )
    validate.not_wider(name, taps.dtype, u.dtype)
    return taps


__all__ = ["long_conv_sequence_parallel"]
