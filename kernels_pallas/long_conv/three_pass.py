"""Long convolutions above one program's memory: three passes, for any block backend.

The transform's outer factor is done on its own. With R lanes, M = size / R, u_j the j-th of R
contiguous chunks of M points (n < M), and e = 1/4 when twisted, else 0,

    pass 1   z_q[n] = t_q[n] sum_j c_qj u_j[n]
    pass 2   p_q    = conj(t_q) IFFT_M( FFT_M(z_q) S_q ),   S_q[m] = S[q + R m]
    pass 3   y_j[n] = Re sum_q conj(c_qj) p_q[n]

    c_qj = exp(-2 pi i j (q + e) / R) / sqrt(R),     t_q[n] = exp(-2 pi i n (q + e) / size)

Lane q holds the frequencies q + R m, so nothing is ever transposed: the spectrum stays permuted.
Passes 1 and 3 are a product of an (R, R) matrix by a tile of columns, with gates and skip fused;
pass 2 is monarch.py's transform, complex in and out, with the batch's sum of X conj(G) in float32.
A frequency-sparse spectrum whose blocks divide R drops whole lanes, from all three passes.

Bytes moved, b a value (2 for 16-bit signals, else 4): 2 b a point written and read between passes,
and u and its gate read again for the skip, so 10 b more than the one-program kernel's 4 b. Complex
values between passes are rounded to the dtype of the signals; they are operands of products, which
would round them anyway: relative L2 error 6e-3 in bfloat16. Twiddles are products of two short
tables, so a program's constants stay small at any size.

Limits: a signal shorter than the transform is padded by a copy. The slope of the skip is summed
outside the kernels. Verified in interpret mode up to 128K points and by lowering up to 4M; it has
not been run or timed on a device.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl

from kernels_pallas.long_conv import body, lane_pass, monarch
from kernels_pallas.long_conv.body import Signals
from kernels_pallas.long_conv.kernel import Static
from kernels_pallas.long_conv.lane_pass import Passes, Split, split
from kernels_pallas.long_conv.monarch import Pair, multiply


def convolve(
    passes: Passes,
    static: Static,
    u: Array,
    s_re: Array,
    s_im: Array,
    skip: Array | None,
    pre_gate: Array | None,
    post_gate: Array | None,
    *,
    outer: int | None = None,
) -> Array:
    """y of kernel.py in three passes."""
    how = split(passes, static, outer)
    signals = _chunked(how, Signals(u, pre_gate, post_gate))
    s = lane_pass.lane_spectra(how, s_re, s_im)
    z = _to_lanes(passes, how, signals.u, signals.pre)
    p = lane_pass.filter(passes, how, s, z)
    y = _from_lanes(passes, how, skip, signals, {"c": p})["y"]
    return _unchunked(how, y)


def adjoint(
    passes: Passes,
    static: Static,
    u: Array,
    s_re: Array,
    s_im: Array,
    skip: Array | None,
    pre_gate: Array | None,
    post_gate: Array | None,
    g: Array,
    *,
    outer: int | None = None,
) -> tuple[Array | None, ...]:
    """(du, ds_re, ds_im, dskip, dpre, dpost) of kernel.py in three passes."""
    how = split(passes, static, outer)
    signals = _chunked(how, Signals(u, pre_gate, post_gate, g))
    s = lane_pass.lane_spectra(how, s_re, s_im)
    z = _to_lanes(passes, how, signals.u, signals.pre)
    z_g = _to_lanes(passes, how, signals.g, signals.post)
    p, w = lane_pass.filter_adjoint(passes, how, s, z, z_g, need_c=post_gate is not None)
    made = _from_lanes(passes, how, skip, signals, p)
    w = lane_pass.natural(how, w)
    dskip = None
    if skip is not None:
        dskip = (body.gated(u, pre_gate) * body.gated(g, post_gate)).sum((0, 2))
    du, dpre, dpost = (_unchunked(how, made.get(name)) for name in ("u", "pre", "post"))
    return du, w.re, -w.im, dskip, dpre, dpost


# Passes 1 and 3: signals as (batch channels, R, M), lanes as (batch channels, lanes, M)


def _chunked(how: Split, signals: Signals) -> Signals:
    static = how.static

    def view(a: Array) -> Array:
        padded = jnp.pad(a, ((0, 0), (0, 0), (0, static.size - static.length)))
        return padded.reshape(static.batch * static.channels, how.outer, how.chunk)

    return jax.tree.map(view, signals)


def _unchunked(how: Split, a: Array | None) -> Any:
    if a is None:
        return None
    static = how.static
    return a.reshape(static.batch, static.channels, static.size)[..., : static.length]


def _tile_spec(how: Split, rows: int) -> pl.BlockSpec:
    return pl.BlockSpec((None, rows, how.columns), lambda bc, i: (bc, 0, i))


def _by_tiles(passes: Passes, how: Split, function, operands, specs, out, out_specs, name) -> Any:
    return pl.pallas_call(
        function,
        out_shape=out,
        grid=(how.static.batch * how.static.channels, how.chunk // how.columns),
        in_specs=specs,
        out_specs=out_specs,
        compiler_params=passes.params(how.outer * how.columns),
        interpret=how.static.interpret,
        name=name,
    )(*operands)


def _to_lanes(passes: Passes, how: Split, a: Array, gate: Array | None) -> Pair:
    """Pass 1: z of the gated signal, (batch channels, lanes, M) in the dtype of the signals."""
    static, lanes, columns = how.static, how.lanes.rows, how.columns
    c = monarch.unitary(how.slope, how.outer, static.dtype)
    low = monarch.phases(how.slope, columns, static.size)
    high = monarch.phases(how.slope, how.chunk // columns, static.size // columns)
    high = Pair(*(part.T[:, :, None] for part in high))  # (tiles, lanes, 1)
    tile_of_high = pl.BlockSpec((None, lanes, 1), lambda bc, i: (i, 0, 0))
    signals = (a, gate)
    struct = jax.ShapeDtypeStruct((a.shape[0], lanes, how.chunk), static.dtype)
    dot = body.dot_in(static.dtype, passes.precision(static))

    def function(c, low, high, signals, out):
        c, low, high, (a, gate) = jax.tree.map(lambda ref: ref[...], (c, low, high, signals))
        x = body.gated(a, gate)
        turned = multiply(Pair(dot(c.re, x), dot(c.im, x)), multiply(low, high))
        out["z"].re[...] = turned.re.astype(static.dtype)
        out["z"].im[...] = turned.im.astype(static.dtype)

    whole = jax.tree.map(lane_pass.whole_spec, (c, low))
    tile, lane_tile = _tile_spec(how, how.outer), _tile_spec(how, lanes)
    specs = (*whole, Pair(tile_of_high, tile_of_high), jax.tree.map(lambda _: tile, signals))
    return _by_tiles(
        passes, how, function, (c, low, high, signals), specs,
        {"z": Pair(struct, struct)}, {"z": Pair(lane_tile, lane_tile)}, "long_conv_to_lanes",
    )["z"]  # fmt: skip


def _from_lanes(
    passes: Passes, how: Split, skip: Array | None, signals: Signals, lanes: Mapping[str, Pair]
) -> dict[str, Array]:
    """Pass 3: {"y"} from the lanes {"c"}; or {"u", "pre", "post"} where `signals` has a g."""
    static = how.static
    back = monarch.adjoint(monarch.unitary(how.slope, how.outer, static.dtype))
    dot = body.dot_in(static.dtype, passes.precision(static))
    if signals.g is None:
        names = ["y"]
    else:
        names = ["u"] + ["pre"] * (signals.pre is not None) + ["post"] * (signals.post is not None)
    struct = jax.ShapeDtypeStruct(signals.u.shape, static.dtype)
    weight = None if skip is None else skip[:, None, None]

    def function(back, skip, signals, lanes, out):
        read = jax.tree.map(lambda ref: ref[...], (back, skip, signals, lanes))
        back, skip, signals, lanes = read
        value = {
            name: dot(back.re, lane.re) - dot(back.im, lane.im) for name, lane in lanes.items()
        }
        made = body.finish(signals, skip, value.get("c"), value.get("dx"))
        for name, ref in out.items():
            ref[...] = made[name].astype(ref.dtype)

    tile, lane_tile = _tile_spec(how, how.outer), _tile_spec(how, how.lanes.rows)
    channels = static.channels
    of_channel = pl.BlockSpec((None, 1, 1), lambda bc, i: (bc % channels, 0, 0))
    specs = (
        jax.tree.map(lane_pass.whole_spec, back),
        None if skip is None else of_channel,
        jax.tree.map(lambda _: tile, signals),
        jax.tree.map(lambda _: lane_tile, dict(lanes)),
    )
    return _by_tiles(
        passes, how, function, (back, weight, signals, dict(lanes)), specs,
        dict.fromkeys(names, struct), dict.fromkeys(names, tile), "long_conv_from_lanes",
    )  # fmt: skip


__all__ = ["Passes", "adjoint", "convolve", "split"]
