"""Order 2, up to 4096 points: one signal (or stack of signals) is one tile of 64 rows.

Forward, per tile: x = pre * u into its own buffer, so that the copies of the next u and pre run
under this tile's five products; then real-in stage, twiddle, second stage, spectrum, and back. The
result overwrites x and leaves by the copy engine. A block has one or two warpgroups, each with
buffers of its own, over one set of constants.

Backward, per tile: the transforms G of post * g and X of x, W += X conj(G) in float32 in shared
memory over the whole batch of the block, then one inverse for dx and, with a post gate, one for
the forward result that dpost needs. Gradients overwrite the buffers of the operands.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from kernels_pallas import hopper
from kernels_pallas.long_conv import mosaic_gpu_stages as st
from kernels_pallas.long_conv.mosaic_gpu_plan import TILE_ROWS, Shape, Tables, shape


def constants(made: Shape) -> dict[str, Any]:
    """Shared memory of the matrices, the twiddle and the spectrum, and their barrier."""
    columns = made.plan.columns
    return {
        "f1": hopper.tiled((2,), TILE_ROWS, TILE_ROWS, made.dtype, columns),
        "f2": hopper.tiled((3,), columns, columns, made.dtype, columns),
        "twiddle": hopper.tiled((2,), TILE_ROWS, columns, jnp.float32, columns),
        "spectrum": hopper.tiled((2,), TILE_ROWS, columns, jnp.float32, columns),
        "ready": plgpu.Barrier(num_arrivals=5),
    }


def forward_scratch(made: Shape, warpgroups: int) -> dict[str, Any]:
    """Shared memory and barriers of the forward kernel."""
    arrivals = made.plan.stack * (1 + made.has_pre)
    signals = ["u", "x"] + ["pre"] * made.has_pre + ["post"] * made.has_post
    tile = hopper.tiled((warpgroups,), TILE_ROWS, made.plan.columns, made.dtype, made.plan.columns)
    work = hopper.tiled(
        (warpgroups, 2), TILE_ROWS, made.plan.columns, made.dtype, made.plan.columns
    )
    barriers = {"loaded": plgpu.Barrier(num_arrivals=arrivals, num_barriers=warpgroups)}
    if made.has_post:
        barriers["gated"] = plgpu.Barrier(num_arrivals=made.plan.stack, num_barriers=warpgroups)
    return constants(made) | dict.fromkeys(signals, tile) | {"work": work} | barriers


def forward(made: Shape, tables: Tables, spectrum: Array, u, skip, pre, post) -> Array:
    """y of segmented signals (batch, channels, 1, rows, columns); `spectrum` (2, channels, ...)."""
    names = ["f1", "f2", "twiddle", "spectrum", "u"]
    operands = [tables.f1[:2], tables.f2, tables.twiddle, spectrum, u]
    for name, value in (("skip", skip), ("pre", pre), ("post", post)):
        if value is not None:
            names.append(name)
            operands.append(value)
    warpgroups = st.fitting(made, forward_scratch)
    workers = made.tiles * warpgroups

    def body(*refs, **scratch):
        gmem, y = dict(zip(names, refs[:-1], strict=True)), refs[-1]
        channel, warpgroup = lax.axis_index("channel"), lax.axis_index("warpgroup")
        worker = lax.axis_index("tile") * warpgroups + warpgroup
        mine = {k: v.at[warpgroup] for k, v in scratch.items() if k in ("u", "x", "pre", "post")}
        work, loaded = scratch["work"].at[warpgroup], scratch["loaded"].at[warpgroup]
        loads = ["u"] + ["pre"] * made.has_pre
        count = st.share(worker, workers, made.units)

        def start(step, which, barrier):
            @pl.when(step < count)
            def _():
                for name in which:
                    fetch(made, gmem[name], mine[name], worker + step * workers, channel, barrier)

        fetch_constants(gmem, scratch, channel, warpgroup)
        start(0, loads, loaded)
        if made.has_post:
            start(0, ["post"], scratch["gated"].at[warpgroup])
        plgpu.barrier_wait(scratch["ready"])
        matrices = scratch["f1"], scratch["f2"], scratch["twiddle"]

        def one_tile(step, _):
            plgpu.barrier_wait(loaded)
            x = read(mine["u"])
            if made.has_pre:
                x = x * read(mine["pre"])
            plgpu.wait_smem_to_gmem(0, wait_read_only=True)  # the last result has left x's buffer
            mine["x"][...] = x.astype(made.dtype)
            plgpu.commit_smem()
            start(step + 1, loads, loaded)
            freq = st.transform(matrices, st.real_in(matrices, mine["x"]), work)
            st.back(matrices, st.times(freq, st.pair(scratch["spectrum"])), work)
            y_tile = st.real_out(matrices, work) * (1.0 / made.plan.rows)
            if made.has_skip:
                y_tile = y_tile + gmem["skip"][channel] * read(mine["x"])
            if made.has_post:
                plgpu.barrier_wait(scratch["gated"].at[warpgroup])
                y_tile = y_tile * read(mine["post"])
            mine["x"][...] = y_tile.astype(made.dtype)
            plgpu.commit_smem()
            send(made, mine["x"], y, worker + step * workers, channel)
            if made.has_post:
                start(step + 1, ["post"], scratch["gated"].at[warpgroup])
            return ()

        lax.fori_loop(0, count, one_tile, ())
        plgpu.wait_smem_to_gmem(0)

    return st.launch(
        body,
        out_type=shape(u.shape, made.dtype),
        scratch=forward_scratch(made, warpgroups),
        grid=(made.channels, made.tiles),
        warpgroups=warpgroups,
        interpret=made.interpret,
    )(*operands)


def backward_scratch(made: Shape) -> dict[str, Any]:
    """Shared memory and barriers of the backward kernel."""
    signals = ["u", "g"] + ["pre", "x"] * made.has_pre + ["post", "gc"] * made.has_post
    columns = made.plan.columns
    tile = hopper.tiled((), TILE_ROWS, columns, made.dtype, columns)
    arrivals = made.plan.stack * (2 + made.has_pre + made.has_post)
    return (
        constants(made)
        | dict.fromkeys(signals, tile)
        | {
            "work": hopper.tiled((2,), TILE_ROWS, columns, made.dtype, columns),
            "w": hopper.tiled((2,), TILE_ROWS, columns, jnp.float32, columns),
            "loaded": plgpu.Barrier(num_arrivals=arrivals),
        }
    )


def backward(made: Shape, tables: Tables, spectrum: Array, u, skip, pre, post, g) -> dict[str, Any]:
    """The gradients by name: du, dpre and dpost segmented, w and dskip by block.

    w is (tiles, channels, 1, 2, 64, columns) and dskip (tiles, channels, 64), to be summed over the
    tiles, dskip over its rows too.
    """
    columns = made.plan.columns
    names = ["f1", "f2", "twiddle", "spectrum", "u", "g"]
    operands = [tables.f1[:2], tables.f2, tables.twiddle, spectrum, u, g]
    signal = shape(u.shape, made.dtype)
    results = {
        "du": signal,
        "w": shape((made.tiles, made.channels, 1, 2, TILE_ROWS, columns), jnp.float32),
    }
    for name, value in (("skip", skip), ("pre", pre), ("post", post)):
        if value is not None:
            names.append(name)
            operands.append(value)
            per_row = shape((made.tiles, made.channels, TILE_ROWS), jnp.float32)
            results["d" + name] = per_row if name == "skip" else signal
    loads = [name for name in ("u", "g", "pre", "post") if name in names]

    def body(*refs, **smem):
        gmem = dict(zip([*names, *results], refs, strict=True))
        channel, tile = lax.axis_index("channel"), lax.axis_index("tile")
        count = st.share(tile, made.tiles, made.units)
        matrices = smem["f1"], smem["f2"], smem["twiddle"]
        work, w = smem["work"], smem["w"]
        x_tile = smem["x"] if made.has_pre else smem["u"]
        gc_tile = smem["gc"] if made.has_post else smem["g"]

        def inverse(freq):
            st.back(matrices, freq, work)
            return st.real_out(matrices, work) * (1.0 / made.plan.rows)

        fetch_constants(gmem, smem, channel, 0)
        plgpu.barrier_wait(smem["ready"])
        zero = plgpu.layout_cast(jnp.zeros((TILE_ROWS, columns), jnp.float32), plgpu.Layout.WGMMA)
        w[0] = zero
        w[1] = zero

        def one_tile(step, per_row):
            unit = tile + step * made.tiles
            plgpu.wait_smem_to_gmem(0, wait_read_only=True)
            for name in loads:
                fetch(made, gmem[name], smem[name], unit, channel, smem["loaded"])
            plgpu.barrier_wait(smem["loaded"])
            x, gc = read(smem["u"]), read(smem["g"])
            if made.has_pre:
                x = x * read(smem["pre"])
                x_tile[...] = x.astype(made.dtype)
            if made.has_post:
                gc = gc * read(smem["post"])
                gc_tile[...] = gc.astype(made.dtype)
            plgpu.commit_smem()
            if made.has_skip:
                per_row = per_row + (gc * x).sum(axis=1)
            freq_g = st.transform(matrices, st.real_in(matrices, gc_tile), work)
            freq_x = st.transform(matrices, st.real_in(matrices, x_tile), work)
            product = st.times_conj(freq_x, freq_g)
            w[0] = w[0] + product[0]
            w[1] = w[1] + product[1]
            if made.has_post:
                c = inverse(st.times(freq_x, st.pair(smem["spectrum"])))
                if made.has_skip:
                    c = c + gmem["skip"][channel] * read(x_tile)
                smem["g"][...] = (c * read(smem["g"])).astype(made.dtype)
            dx = inverse(st.times_conj(freq_g, st.pair(smem["spectrum"])))
            if made.has_skip:
                dx = dx + gmem["skip"][channel] * read(gc_tile)
            if made.has_pre:
                dpre = dx * read(smem["u"])
                smem["u"][...] = dpre.astype(made.dtype)
                dx = dx * read(smem["pre"])
            smem["pre" if made.has_pre else "u"][...] = dx.astype(made.dtype)
            plgpu.commit_smem()
            send(made, smem["pre" if made.has_pre else "u"], gmem["du"], unit, channel)
            if made.has_pre:
                send(made, smem["u"], gmem["dpre"], unit, channel)
            if made.has_post:
                send(made, smem["g"], gmem["dpost"], unit, channel)
            return per_row

        rows = plgpu.layout_cast(jnp.zeros((TILE_ROWS,), jnp.float32), plgpu.Layout.WGMMA.reduce(1))
        rows = lax.fori_loop(0, count, one_tile, rows)
        plgpu.commit_smem()
        for plane in range(2):
            plgpu.copy_smem_to_gmem(w.at[plane], gmem["w"].at[tile, channel, 0, plane])
        if made.has_skip:
            hopper.store(gmem["dskip"].at[tile, channel], rows)
        plgpu.wait_smem_to_gmem(0)

    made_kernel = st.launch(
        body,
        out_type=list(results.values()),
        scratch=backward_scratch(made),
        grid=(made.channels, made.tiles),
        warpgroups=1,
        interpret=made.interpret,
    )
    return dict(zip(results, made_kernel(*operands), strict=True))


def read(ref: Any) -> Array:
    """A tile of shared memory in registers, float32, in the layout of a product."""
    return plgpu.layout_cast(ref[...].astype(jnp.float32), plgpu.Layout.WGMMA)


def fetch_constants(gmem, smem, channel, warpgroup) -> None:
    """Start the copies of the constants and the channel's spectrum; the first warpgroup does."""

    @pl.when(warpgroup == 0)
    def _():
        for name in ("f1", "f2", "twiddle"):
            plgpu.copy_gmem_to_smem(gmem[name], smem[name], smem["ready"])
        for plane in range(2):  # one copy of both would have more axes than the copy engine takes
            source = gmem["spectrum"].at[channel, plane]
            plgpu.copy_gmem_to_smem(source, smem["spectrum"].at[plane], smem["ready"])


def fetch(made: Shape, source, target, unit, channel, barrier) -> None:
    """Start the copies of one tile's signals."""
    _, rows, _, stack = made.plan
    for i in range(stack):
        plgpu.copy_gmem_to_smem(
            source.at[unit * stack + i, channel, 0], target.at[pl.ds(i * rows, rows)], barrier
        )


def send(made: Shape, source, target, unit, channel) -> None:
    """Start the copies of one tile's results."""
    _, rows, _, stack = made.plan
    for i in range(stack):
        plgpu.copy_smem_to_gmem(
            source.at[pl.ds(i * rows, rows)], target.at[unit * stack + i, channel, 0]
        )


__all__ = ["backward", "backward_scratch", "forward", "forward_scratch"]
