"""A share of a split image as a whole problem, for implementations that know no other.

A device's queries o .. o+m-1 of an axis and their keys lie in a frame of E consecutive places of
the whole axis, the same E on every device, that begins at a multiple of stride and dilation. An end
of the frame is either an end of the axis or one that no window of this device's queries is moved
by: attention over the frame alone, as if it were the image, is then right at its own queries. The
other rows hold zeros, are computed too and thrown away. With u = stride * dilation, L the length
and left_j, right_j the halo of device j:

    lo_j = u floor((o_j - left_j) / u),    hi_j = min(L, u ceil((o_j + m + right_j) / u))
    E    = the least E >= max_j (hi_j - lo_j) with L - E a multiple of u
    the frame of device j begins at min(lo_j, L - E)

Keys of the frame that no query of the device attends are zeros and need not travel. The work grows
by E / m on each split axis, so shards should be wide beside the window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from kernels_pallas.neighborhood_attention.api import Call, neighborhood_attention


class Strip(NamedTuple):
    """How one axis of space is split, and what its devices lack: static."""

    mesh_axis: str
    share: int  # places on a device
    left: tuple[int, ...]  # for each device, the places it needs before its own
    right: tuple[int, ...]  # and after


Strips = Sequence[Strip | None]  # for each axis of space; None: not split


class Frame(NamedTuple):
    """The frames of one axis: static."""

    places: int  # E
    begins: tuple[int, ...]  # for each device, on the whole axis


def frame(strip: Strip, length: int, unit: int) -> Frame:
    """The frames of the devices along an axis of `length`; unit is stride * dilation."""
    own = strip.share * np.arange(len(strip.left))
    low = (own - strip.left) // unit * unit
    high = np.minimum(-(-(own + strip.share + strip.right) // unit) * unit, length)
    widest = int((high - low).max())
    places = widest + (length - widest) % unit
    return Frame(places, tuple(int(begin) for begin in np.minimum(low, length - places)))


def attend_as_whole(
    call: Call, strips: Strips, operands: dict[str, Array], implementation: str | None
) -> tuple[Array, Array]:
    """(out, lse) of this device's queries, by `neighborhood_attention` over its frame.

    Args:
      call: the static facts, batch and heads of the share, space of the whole problem.
      strips: one for each axis of space.
      operands: by name; q of the share, k, v and mask extended by the halo.
      implementation: as `neighborhood_attention`.
    """
    operands = dict(operands)
    for i, strip in enumerate(strips):
        if strip is None:
            continue
        chosen = frame(strip, call.space[i], call.stride[i] * call.dilation[i])
        operands["q"] = _put(operands["q"], 1 + i, strip, chosen, 0)
        for name in ("k", "v", "mask"):
            if name in operands:
                operands[name] = _put(operands[name], 1 + i, strip, chosen, max(strip.left))
    results = neighborhood_attention(
        **operands,
        window=call.window,
        dilation=call.dilation,
        stride=call.stride,
        causal=call.causal,
        scale=call.scale,
        return_lse=True,
        implementation=implementation,
    )
    out, lse = cast(tuple[Array, Array], results)
    for i, strip in enumerate(strips):
        if strip is not None:
            chosen = frame(strip, call.space[i], call.stride[i] * call.dilation[i])
            begin = _here(strip, _own(strip) - chosen.begins)
            out, lse = (
                lax.dynamic_slice_in_dim(a, begin, strip.share, axis=1 + i) for a in (out, lse)
            )
    return out, lse


def _put(a: Array, dimension: int, strip: Strip, chosen: Frame, before: int) -> Array:
    """`a`, which begins `before` places before the device's own, cut and padded to its frame."""
    begins = np.asarray(chosen.begins) - (_own(strip) - before)  # of the frame, in a
    pad = max(0, -int(begins.min()))
    pad_after = max(0, int(begins.max()) + chosen.places - a.shape[dimension])
    widths = [(0, 0)] * a.ndim
    widths[dimension] = (pad, pad_after)
    begin = _here(strip, begins + pad)
    return lax.dynamic_slice_in_dim(jnp.pad(a, widths), begin, chosen.places, axis=dimension)


def _own(strip: Strip) -> np.ndarray:
    """The first place of every device's own."""
    return strip.share * np.arange(len(strip.left))


def _here(strip: Strip, of_devices: Any) -> Array:
    """This device's entry of a table."""
    return jnp.asarray(of_devices, jnp.int32)[lax.axis_index(strip.mesh_axis)]


__all__ = ["Frame", "Strip", "Strips", "attend_as_whole", "frame"]
