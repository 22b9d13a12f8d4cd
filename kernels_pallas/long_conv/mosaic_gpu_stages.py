"""The pieces that the Mosaic GPU kernels are made of: products, twiddles, loads, the launch.

A complex tile in shared memory is a reference (2, 64, columns), the real plane first; a complex
tile in registers is a pair of float32 arrays in wgmma's layout. Constants with three planes hold
re, im and -im, because wgmma only adds. Every wgmma takes both operands from shared memory: the
GPU interpreter has no form with A in registers.

Writes to shared memory are followed by `commit_smem`, which orders them before the tensor cores
and the copy engine and is a barrier of the warpgroup; Pallas puts a barrier before each write, so
a tile is not overwritten while another warp's product still reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from kernels_pallas.hopper import SMEM_LIMIT, api, smem_bytes, turned
from kernels_pallas.long_conv.mosaic_gpu_plan import TILE_ROWS, Shape

Complex = tuple[Array, Array]
Constants = tuple[Any, Any, Any]  # references to F1, F2 and T in shared memory


def products(columns: int, *sums: list[tuple[Any, Any]]) -> tuple[Array, ...]:
    """sum a @ b for each list of pairs of references, all of them issued before the first wait."""

    def issue(*accumulators):
        for accumulator, pairs in zip(accumulators, sums, strict=True):
            for a, b in pairs:
                plgpu.wgmma(accumulator, a, b)
        return tuple(accumulator[...] for accumulator in accumulators)

    accumulator = plgpu.ACC((TILE_ROWS, columns), jnp.float32)
    return pl.run_scoped(issue, *(accumulator for _ in sums))


def put(ref: Any, re: Array, im: Array) -> None:
    """Round a complex tile into shared memory, ready to be an operand."""
    ref[0] = re.astype(ref.dtype)
    ref[1] = im.astype(ref.dtype)
    plgpu.commit_smem()


def times(z: Complex, w: Complex) -> Complex:
    """z w."""
    return z[0] * w[0] - z[1] * w[1], z[0] * w[1] + z[1] * w[0]


def times_conj(z: Complex, w: Complex) -> Complex:
    """z conj(w)."""
    return z[0] * w[0] + z[1] * w[1], z[1] * w[0] - z[0] * w[1]


def pair(ref: Any) -> Complex:
    """A complex tile read from shared memory as float32."""
    return ref[0].astype(jnp.float32), ref[1].astype(jnp.float32)


def pair_of_products(columns: int, re: list[tuple[Any, Any]], im: list[tuple[Any, Any]]) -> Complex:
    """`products` of two lists, as a complex tile."""
    made_re, made_im = products(columns, re, im)
    return made_re, made_im


def transform(constants: Constants, first: Complex, work: Any) -> Complex:
    """From the first stage's result to the spectrum: twiddle, round into `work`, contract columns.

    Y = ((F1 V) . T) F2, with `first` = F1 V.
    """
    _, f2, twiddle = constants
    put(work, *times(first, pair(twiddle)))
    re, im = work.at[0], work.at[1]
    f2_re, f2_im, minus_im = f2.at[0], f2.at[1], f2.at[2]
    return pair_of_products(f2.shape[-1], [(re, f2_re), (im, minus_im)], [(re, f2_im), (im, f2_re)])


def back(constants: Constants, spectrum: Complex, work: Any) -> None:
    """From a spectrum to the last stage's operand in `work`: (Y conj(F2)) . conj(T)."""
    _, f2, twiddle = constants
    put(work, *spectrum)
    re, im = work.at[0], work.at[1]
    f2_re, f2_im, minus_im = f2.at[0], f2.at[1], f2.at[2]
    contracted = pair_of_products(
        f2.shape[-1], [(re, f2_re), (im, f2_im)], [(im, f2_re), (re, minus_im)]
    )
    put(work, *times_conj(contracted, pair(twiddle)))


def real_in(constants: Constants, x: Any) -> Complex:
    """F1 x of a real tile."""
    f1 = constants[0]
    return pair_of_products(x.shape[-1], [(f1.at[0], x)], [(f1.at[1], x)])


def real_out(constants: Constants, work: Any) -> Array:
    """Re(conj(F1)^T work)."""
    f1 = constants[0]
    pairs = [(turned(f1.at[0]), work.at[0]), (turned(f1.at[1]), work.at[1])]
    return products(work.shape[-1], pairs)[0]


def complex_in(constants: Constants, v: Any) -> Complex:
    """F1 v of a complex tile."""
    f1, re, im = constants[0], v.at[0], v.at[1]
    f1_re, f1_im, minus_im = f1.at[0], f1.at[1], f1.at[2]
    return pair_of_products(v.shape[-1], [(f1_re, re), (minus_im, im)], [(f1_im, re), (f1_re, im)])


def complex_out(constants: Constants, work: Any) -> Complex:
    """conj(F1)^T work."""
    f1, re, im = constants[0], work.at[0], work.at[1]
    f1_re, f1_im, minus_im = turned(f1.at[0]), turned(f1.at[1]), turned(f1.at[2])
    return pair_of_products(
        work.shape[-1], [(f1_re, re), (f1_im, im)], [(f1_re, im), (minus_im, re)]
    )


def share(worker: Array, workers: int, units: int) -> Array:
    """How many of `units` tiles fall to `worker`, who takes every `workers`-th."""
    return lax.div(units - 1 - worker + workers, workers)


def launch(
    body: Any,
    *,
    out_type: Any,
    scratch: dict[str, Any],
    grid: tuple[int, int],
    warpgroups: int,
    interpret: bool,
) -> Any:
    """`plgpu.kernel` over (channels, batch tiles), each block of `warpgroups` warpgroups."""
    options: dict[str, Any] = {}
    if interpret:
        options["interpret"] = api.InterpretGPUParams(detect_races=True, on_race="raise")
    return plgpu.kernel(
        body,
        out_type=out_type,
        scratch_types=scratch,
        grid=grid,
        grid_names=("channel", "tile"),
        num_threads=warpgroups,
        thread_name="warpgroup",
        compiler_params=plgpu.CompilerParams(lowering_semantics=plgpu.LoweringSemantics.Warpgroup),
        **options,
    )


def fitting(made: Shape, scratch: Callable[[Shape, int], dict[str, Any]]) -> int:
    """The most warpgroups whose shared memory fits in a block."""
    for warpgroups in range(made.warpgroups, 1, -1):
        if smem_bytes(scratch(made, warpgroups)) <= SMEM_LIMIT:
            return warpgroups
    return 1
