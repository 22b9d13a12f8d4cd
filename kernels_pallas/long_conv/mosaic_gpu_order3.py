"""Order 3, 8192 to 32768 points: a first stage of radix 2, 4 or 8 in registers around 64 x 64.

The signal is cut into `radix` segments of 4096 points. In float32, on chunks of 16 columns,

    v[k0] = a[k0] b[k0] sum_j c[j, k0] x[j]

is rounded into shared memory, all k0 at once; then every k0 is a complex transform of 4096 points
as in order 2, in place; then, on chunks again, y[j] = Re sum_k0 conj(c[j, k0]) p[k0] with
p[k0] = conj(a b) times the inverse. Two warpgroups share the state: they split the chunks of the
outer stages and the k0 of the inner one, with a barrier in between. Signals and spectrum go between
global memory and registers, a 32-byte sector a row; the spectrum (8 bytes a point) does not fit
beside the state and is read for every signal, from the L2 cache when the batch keeps it there.

Backward is three launches: `forward` with the conjugated spectrum gives du and dpre, `forward`
again dpost, and `correlate` W and dskip. One launch would need the states of x and g at once, 256
KB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from kernels_pallas import hopper
from kernels_pallas.long_conv import mosaic_gpu_stages as st
from kernels_pallas.long_conv.mosaic_gpu_plan import (
    TILE_ROWS,
    Shape,
    Tables,
    shape,
)

COLUMNS = 64  # of the inner transform
CHUNK = 16  # columns that the outer stages hold in registers, for every segment


def constants(made: Shape) -> dict[str, Any]:
    """Shared memory of the matrices and the twiddle, and the barrier of their copies."""
    return {
        "f1": hopper.tiled((3,), TILE_ROWS, TILE_ROWS, made.dtype, CHUNK),
        "f2": hopper.tiled((3,), COLUMNS, COLUMNS, made.dtype, CHUNK),
        "twiddle": hopper.tiled((2,), TILE_ROWS, COLUMNS, jnp.float32, COLUMNS),
        "ready": plgpu.Barrier(num_arrivals=3),
    }


def forward_scratch(made: Shape, warpgroups: int) -> dict[str, Any]:
    """Shared memory and barriers of the forward kernel."""
    return constants(made) | {
        "state": hopper.tiled((made.plan.radix, 2), TILE_ROWS, COLUMNS, made.dtype, CHUNK),
        "phase": plgpu.Barrier(num_arrivals=warpgroups),
    }


def forward(
    made: Shape, tables: Tables, spectrum: Array, u, skip, pre, posts: Sequence[Array | None]
) -> list[Array]:
    """post * (conv(pre u) + skip pre u) for each of `posts`, None for no gate.

    Signals are segmented (batch, channels, radix, 64, 64); `spectrum` is (channels, radix, 2, 64,
    64).
    """
    radix, warpgroups = made.plan.radix, st.fitting(made, forward_scratch)
    weights = tables.weights
    gmem_names = ["f1", "f2", "twiddle", "rows", "columns", "spectrum", "u"]
    operands = [
        *(tables.f1, tables.f2, tables.twiddle, tables.along_rows, tables.along_columns),
        *(spectrum, u),
    ]
    gates = [(f"post{i}", gate) for i, gate in enumerate(posts)]
    for name, value in [("skip", skip), ("pre", pre), *gates]:
        if value is not None:
            gmem_names.append(name)
            operands.append(value)

    def body(*refs, **smem):
        gmem = dict(zip(gmem_names, refs[: len(gmem_names)], strict=True))
        results = refs[len(gmem_names) :]
        channel, warpgroup = lax.axis_index("channel"), lax.axis_index("warpgroup")
        tile, state = lax.axis_index("tile"), smem["state"]
        matrices = smem["f1"], smem["f2"], smem["twiddle"]
        fetch_constants(gmem, smem, warpgroup)

        def next_phase():
            plgpu.commit_smem()
            plgpu.barrier_arrive(smem["phase"])
            plgpu.barrier_wait(smem["phase"])

        def one_signal(step, _):
            signal = tile + step * made.tiles

            def gated(name, gate, j, window):
                x = chunk(gmem[name].at[signal, channel, j, :, window])
                if gate in gmem:
                    x = x * chunk(gmem[gate].at[signal, channel, j, :, window])
                return x

            def outer(i, _):
                window = pl.ds((warpgroup + i * warpgroups) * CHUNK, CHUNK)
                x = [gated("u", "pre", j, window) for j in range(radix)]
                for k0 in range(radix):
                    v = combined(x, weights[:, k0])
                    v = st.times(v, twist(gmem, k0, window))
                    for plane in range(2):
                        state[k0, plane, :, window] = v[plane].astype(made.dtype)
                return ()

            def inner(i, _):
                k0 = warpgroup + i * warpgroups
                v = state.at[k0]
                freq = st.transform(matrices, st.complex_in(matrices, v), v)
                planes = [gmem["spectrum"].at[channel, k0, plane] for plane in range(2)]
                s_re, s_im = (hopper.load(plane, plgpu.Layout.WGMMA) for plane in planes)
                st.back(matrices, st.times(freq, (s_re, s_im)), v)
                p = st.times_conj(st.complex_out(matrices, v), twist(gmem, k0, slice(None)))
                st.put(v, p[0] * (1.0 / made.plan.rows), p[1] * (1.0 / made.plan.rows))
                return ()

            def last(i, _):
                window = pl.ds((warpgroup + i * warpgroups) * CHUNK, CHUNK)
                parts = [[state.at[k0, p, :, window] for p in range(2)] for k0 in range(radix)]
                p = [(read(re), read(im)) for re, im in parts]
                for j in range(radix):
                    y = real_of(p, weights[j] / radix)
                    if made.has_skip:
                        y = y + gmem["skip"][channel] * gated("u", "pre", j, window)
                    for (name, gate), result in zip(gates, results, strict=True):
                        place = (signal, channel, j, slice(None), window)
                        out = y if gate is None else y * chunk(gmem[name].at[place])
                        hopper.store(result.at[place], out.astype(made.dtype))
                return ()

            chunks = COLUMNS // CHUNK // warpgroups
            lax.fori_loop(0, chunks, outer, ())
            next_phase()
            lax.fori_loop(0, radix // warpgroups, inner, ())
            next_phase()
            lax.fori_loop(0, chunks, last, ())
            next_phase()
            return ()

        plgpu.barrier_wait(smem["ready"])
        lax.fori_loop(0, st.share(tile, made.tiles, made.units), one_signal, ())

    return list(
        st.launch(
            body,
            out_type=[shape(u.shape, made.dtype)] * len(posts),
            scratch=forward_scratch(made, warpgroups),
            grid=(made.channels, made.tiles),
            warpgroups=warpgroups,
            interpret=made.interpret,
        )(*operands)
    )


def backward(
    made: Shape, tables: Tables, spectrum: Array, reverse: Array, u, skip, pre, post, g
) -> dict[str, Array]:
    """The gradients by name as order 2's; `reverse` is the conjugated spectrum."""
    outputs = [pre] if pre is None else [pre, u]
    signals = forward(made, tables, reverse, g, skip, post, outputs)
    found = dict(zip(["du", "dpre"], signals, strict=False))
    if post is not None:
        (found["dpost"],) = forward(made, tables, spectrum, u, skip, pre, [g])
    return found | correlate(made, tables, u, pre, post, g)


def correlate_scratch(made: Shape, warpgroups: int) -> dict[str, Any]:
    """Shared memory and barriers of the correlation kernel."""
    signal = hopper.tiled((made.plan.radix,), TILE_ROWS, COLUMNS, made.dtype, CHUNK)
    return constants(made) | {
        "x": signal,
        "gc": signal,
        "work": hopper.tiled((warpgroups, 2), TILE_ROWS, COLUMNS, made.dtype, CHUNK),
        "phase": plgpu.Barrier(num_arrivals=warpgroups),
    }


def correlate(made: Shape, tables: Tables, u, pre, post, g) -> dict[str, Array]:
    """w (tiles, channels, radix, 2, 64, 64) and dskip (tiles, channels, 64 for each warpgroup)."""
    radix = made.plan.radix
    warpgroups = st.fitting(made, correlate_scratch)
    planar = np.stack([np.real(tables.weights), np.imag(tables.weights)]).astype(np.float32)
    gmem_names = ["f1", "f2", "twiddle", "rows", "columns", "weights", "u", "g"]
    operands = [
        *(tables.f1, tables.f2, tables.twiddle, tables.along_rows, tables.along_columns),
        *(planar, u, g),
    ]
    for name, value in (("pre", pre), ("post", post)):
        if value is not None:
            gmem_names.append(name)
            operands.append(value)
    results = {
        "w": shape((made.tiles, made.channels, radix, 2, TILE_ROWS, COLUMNS), jnp.float32),
        "dskip": shape((made.tiles, made.channels, warpgroups, TILE_ROWS), jnp.float32),
    }

    def body(*refs, **smem):
        gmem = dict(zip([*gmem_names, *results], refs, strict=True))
        channel, warpgroup = lax.axis_index("channel"), lax.axis_index("warpgroup")
        tile, work = lax.axis_index("tile"), smem["work"].at[warpgroup]
        matrices = smem["f1"], smem["f2"], smem["twiddle"]
        fetch_constants(gmem, smem, warpgroup)

        def next_phase():
            plgpu.commit_smem()
            plgpu.barrier_arrive(smem["phase"])
            plgpu.barrier_wait(smem["phase"])

        def totals(k0):
            return [gmem["w"].at[tile, channel, k0, plane] for plane in range(2)]

        def clear(i, _):
            zero = plgpu.layout_cast(
                jnp.zeros((TILE_ROWS, COLUMNS), jnp.float32), plgpu.Layout.WGMMA
            )
            for total in totals(warpgroup + i * warpgroups):
                hopper.store(total, zero)
            return ()

        def one_signal(step, per_row):
            signal = tile + step * made.tiles

            def fill(i, per_row):
                j = warpgroup + i * warpgroups
                filled = []
                for name, value, gate in (("x", "u", "pre"), ("gc", "g", "post")):
                    x = chunk(gmem[value].at[signal, channel, j])
                    if gate in gmem:
                        x = x * chunk(gmem[gate].at[signal, channel, j])
                    smem[name][j] = x.astype(made.dtype)
                    filled.append(x)
                return per_row + (filled[0] * filled[1]).sum(axis=1)

            def spectrum_of(segments, k0):
                c = [tuple(gmem["weights"][p, j, k0] for p in range(2)) for j in range(radix)]

                def outer(i, _):
                    window = pl.ds(i * CHUNK, CHUNK)
                    x = [read(segments.at[j, :, window]) for j in range(radix)]
                    v = _sum([w[0] for w in c], x), _sum([w[1] for w in c], x)
                    v = st.times(v, twist(gmem, k0, window))
                    for plane in range(2):
                        work[plane, :, window] = v[plane].astype(made.dtype)
                    return ()

                lax.fori_loop(0, COLUMNS // CHUNK, outer, ())
                plgpu.commit_smem()
                return st.transform(matrices, st.complex_in(matrices, work), work)

            def inner(i, _):
                k0 = warpgroup + i * warpgroups
                freq_x = spectrum_of(smem["x"], k0)
                freq_g = spectrum_of(smem["gc"], k0)
                for total, term in zip(totals(k0), st.times_conj(freq_x, freq_g), strict=True):
                    hopper.store(total, hopper.load(total, plgpu.Layout.WGMMA) + term)
                return ()

            per_row = lax.fori_loop(0, radix // warpgroups, fill, per_row)
            next_phase()
            lax.fori_loop(0, radix // warpgroups, inner, ())
            next_phase()
            return per_row

        lax.fori_loop(0, radix // warpgroups, clear, ())
        rows = plgpu.layout_cast(jnp.zeros((TILE_ROWS,), jnp.float32), plgpu.Layout.WGMMA.reduce(1))
        plgpu.barrier_wait(smem["ready"])
        rows = lax.fori_loop(0, st.share(tile, made.tiles, made.units), one_signal, rows)
        hopper.store(gmem["dskip"].at[tile, channel, warpgroup], rows)

    kernel = st.launch(
        body,
        out_type=list(results.values()),
        scratch=correlate_scratch(made, warpgroups),
        grid=(made.channels, made.tiles),
        warpgroups=warpgroups,
        interpret=made.interpret,
    )
    found = dict(zip(results, kernel(*operands), strict=True))
    return found | {"dskip": found["dskip"].reshape(made.tiles, made.channels, -1)}


def chunk(ref: Any) -> Array:
    """Part of a segment in global memory, as float32 in the layout of a product."""
    return hopper.load(ref, plgpu.Layout.WGMMA).astype(jnp.float32)


def read(ref: Any) -> Array:
    """Part of a segment in shared memory, likewise."""
    return plgpu.layout_cast(ref[...].astype(jnp.float32), plgpu.Layout.WGMMA)


def twist(gmem: dict[str, Any], k0, window) -> st.Complex:
    """a[k0] b[k0] on a window of columns."""
    rows, columns = gmem["rows"], gmem["columns"]
    a = tuple(hopper.load(rows.at[p, k0], plgpu.Layout.WGMMA.reduce(1)) for p in range(2))
    b = tuple(
        hopper.load(columns.at[p, k0, window], plgpu.Layout.WGMMA.reduce(0)) for p in range(2)
    )
    tile = (TILE_ROWS, b[0].shape[0])
    return st.times(
        (lax.broadcast_in_dim(a[0], tile, (0,)), lax.broadcast_in_dim(a[1], tile, (0,))),
        (lax.broadcast_in_dim(b[0], tile, (1,)), lax.broadcast_in_dim(b[1], tile, (1,))),
    )


def combined(x: list[Array], weights: np.ndarray) -> st.Complex:
    """sum_j weights[j] x[j] of real x, weights known."""
    return _sum(np.real(weights).tolist(), x), _sum(np.imag(weights).tolist(), x)


def real_of(p: list[st.Complex], weights: np.ndarray) -> Array:
    """Re sum_k conj(weights[k]) p[k], weights known."""
    re, im = np.real(weights).tolist(), np.imag(weights).tolist()
    return _sum(re, [z[0] for z in p]) + _sum(im, [z[1] for z in p])


def _sum(weights: list, terms: list[Array]) -> Array:
    """sum weights[i] terms[i]."""
    total = weights[0] * terms[0]
    for weight, term in zip(weights[1:], terms[1:], strict=True):
        total = total + weight * term
    return total


def fetch_constants(gmem, smem, warpgroup) -> None:
    """Start the copies of the constants; the first warpgroup does."""

    @pl.when(warpgroup == 0)
    def _():
        for name in ("f1", "f2", "twiddle"):
            plgpu.copy_gmem_to_smem(gmem[name], smem[name], smem["ready"])


__all__ = ["correlate", "correlate_scratch", "forward", "forward_scratch"]
