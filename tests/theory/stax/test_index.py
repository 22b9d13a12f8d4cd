"""Indexing: kernels at the places that are kept."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from theory import stax

RNG = np.random.default_rng(4)
X1, X2 = (RNG.normal(size=(n, 4, 3, 5)).astype(np.float32) for n in (3, 2))
INDICES = {
    "reversed": stax.Slice[:, 1:3, ::-1],
    "row": stax.Slice[:, -1, ...],
    "column": stax.Slice[..., 2, :],
    "place": stax.Slice[:, 0, 1],
    "all": stax.Slice[...],
}


def at_pairs(idx, rank=2):
    """The same index for (N1, N2, h, h', w, w')."""
    full = [slice(None)] * (rank + 2)
    given = list(idx) if isinstance(idx, tuple) else [idx]
    if ... in given:
        at = given.index(...)
        given[at : at + 1] = [slice(None)] * (rank + 3 - len(given))
    full[: len(given)] = given
    return (slice(None), slice(None), *(item for item in full[1:-1] for _ in range(2)))


@pytest.mark.parametrize("name", INDICES)
def test_kernels_and_outputs_are_indexed(name):
    idx = INDICES[name]
    layer = stax.Index(idx)
    kernel = layer.kernel_fn(X1, X2)
    expected = stax.Identity().kernel_fn(X1, X2, "nngp")
    assert np.array_equal(kernel.nngp, np.asarray(expected)[at_pairs(idx)])
    assert kernel.shape1 == X1[idx].shape
    shape, params = layer.init_fn(jax.random.key(0), (-1, 4, 3, 5))
    assert shape == (-1, *X1[idx].shape[1:])
    assert np.array_equal(layer.apply_fn(params, X1), X1[idx])


def test_equal_places_alone_will_do():
    idx = INDICES["reversed"]
    nngp = stax.Index(idx).kernel_fn(X1, X2, "nngp", diagonal_spatial=True)
    expected = stax.Identity().kernel_fn(X1, X2, "nngp", diagonal_spatial=True)
    assert np.array_equal(nngp, np.asarray(expected)[:, :, 1:3, ::-1])


def test_masks_are_indexed():
    x = X1.copy()
    x[1, 2:] = np.inf
    net = stax.serial(stax.Dense(8), stax.Index(stax.Slice[:, ::-2, 1:]))
    kernel = net.kernel_fn(x, None, mask_constant=np.inf)
    hidden = (x == np.inf).all(-1)[:, ::-2, 1:]
    assert np.array_equal(np.asarray(kernel.mask1)[..., 0], hidden)
    y = net.apply_fn(net.init_fn(jax.random.key(0), x.shape)[1], x, mask_constant=np.inf)
    assert np.array_equal(np.asarray(y.mask)[..., 0], hidden)


def test_channels_can_be_indexed_in_finite_networks_alone():
    layer = stax.Index(stax.Slice[..., :2])
    assert np.array_equal(layer.apply_fn((), X1), X1[..., :2])
    assert layer.init_fn(jax.random.key(0), X1.shape)[0] == (3, 4, 3, 2)
    with pytest.raises(NotImplementedError, match="indexes the channels"):
        layer.kernel_fn(X1, X2)


def test_what_cannot_be_used_is_refused():
    for idx in (1.0, [0, 1], (None, 0), True):
        with pytest.raises(ValueError, match="idx must hold ints, slices"):
            stax.Index(idx)
    with pytest.raises(ValueError, match="at most one"):
        stax.Index((..., 0, ...))
    with pytest.raises(ValueError, match="must keep the batch whole"):
        stax.Index(stax.Slice[::2]).kernel_fn(X1, X2)
    with pytest.raises(ValueError, match="4 is out of range for an axis of size 4"):
        stax.Index(stax.Slice[:, 4]).kernel_fn(X1, X2)
    with pytest.raises(ValueError, match="keeps nothing"):
        stax.Index(stax.Slice[:, 2:2]).kernel_fn(X1, X2)
    with pytest.raises(ValueError, match="more items than the inputs have axes"):
        stax.Index(stax.Slice[:, 0, 0, :, 0]).kernel_fn(X1, X2)


def test_it_is_written_as_in_a_program():
    assert stax.Index(stax.Slice[:, 1:3, ::-1, -1, ...]).kernel_fn.rule.name == (
        "Index(:, 1:3, ::-1, -1, ...)"
    )
