"""The interval formulas against brute force over the definition's lists of neighbours."""

from __future__ import annotations

from collections import defaultdict
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np

from kernels_pallas.neighborhood_attention import windows
from tests.kernels_pallas.neighborhood_attention.oracle import neighbours

LONGEST = 26
COUNT = 100_000  # cases, at least: queries and keys of every small axis


def axes():
    """Every length, dilation, window, stride and causality to LONGEST."""
    for length in range(2, LONGEST + 1):
        for dilation in range(1, length // 2 + 1):
            for window in range(2, length // dilation + 1):
                for stride, causal in product(range(1, window + 1), (False, True)):
                    yield length, window, dilation, stride, causal


def by_lists(length, window, dilation, stride, causal):
    """start, end, inverse start and end of every place, one row a group, from the lists."""
    found = np.zeros((4, length), int)
    attended_by = defaultdict(list)
    for i in range(length):
        keys = neighbours(i, length, window, dilation, stride, causal)
        assert keys == list(range(keys[0], keys[-1] + 1, dilation))
        found[:2, i] = keys[0] // dilation, keys[-1] // dilation + 1
        for j in keys:
            attended_by[j].append(i)
    for j in range(length):
        queries = attended_by[j]
        assert queries == list(range(queries[0], queries[-1] + 1, dilation)), "no interval"
        found[2:, j] = queries[0] // dilation, queries[-1] // dilation + 1
    return found


def by_formulas(length, window, dilation, stride, causal):
    """The same from windows.py."""
    i = np.arange(length)
    n = windows.group_length(length, dilation, i % dilation)
    rule = window, stride, causal
    functions = windows.start, windows.end, windows.inverse_start, windows.inverse_end
    return np.stack([function(i // dilation, n, *rule) for function in functions])


def test_every_small_axis():
    cases = 0
    for axis in axes():
        np.testing.assert_array_equal(by_formulas(*axis), by_lists(*axis), err_msg=str(axis))
        cases += 2 * axis[0]  # a query's interval and a key's
    assert cases >= COUNT, cases


def test_larger_axes_at_random():
    rng = np.random.default_rng(0)
    for _ in range(150):
        length = int(rng.integers(30, 300))
        dilation = int(rng.choice([1, 1, 2, 3, rng.integers(1, length // 2 + 1)]))
        window = int(rng.integers(2, length // dilation + 1))
        stride, causal = int(rng.integers(1, window + 1)), bool(rng.integers(2))
        axis = length, window, dilation, stride, causal
        np.testing.assert_array_equal(by_formulas(*axis), by_lists(*axis), err_msg=str(axis))


def test_intervals_never_decrease():
    for length, window, _, stride, causal in axes():
        i = np.arange(length)
        for function in (
            windows.start, windows.end, windows.inverse_start, windows.inverse_end
        ):  # fmt: skip
            assert (np.diff(function(i, length, window, stride, causal)) >= 0).all()


def test_a_window_has_w_keys_unless_causal():
    for length, window, _, stride, _ in axes():
        i = np.arange(length)
        start = windows.start(i, length, window, stride, False)
        assert (windows.end(i, length, window, stride, False) - start == window).all()
        assert start.min() == 0
        assert start.max() == length - window
        past = windows.end(i, length, window, stride, True)
        assert (past == i + 1).all()
        assert (windows.start(i, length, window, stride, True) <= i).all()


def test_known_windows():
    """By hand: an even window has one more key to the left; a stride of the window is blocked."""
    i = np.arange(8)
    assert windows.start(i, 8, 4, 1, False).tolist() == [0, 0, 0, 1, 2, 3, 4, 4]
    assert windows.start(i, 8, 3, 3, False).tolist() == [0, 0, 0, 3, 3, 3, 5, 5]
    assert windows.start(i, 8, 3, 1, True).tolist() == [0, 0, 0, 1, 2, 3, 4, 5]
    assert windows.start(i, 8, 4, 2, True).tolist() == [0, 0, 0, 0, 2, 2, 4, 4]
    assert windows.inverse_end(i, 8, 4, 2, True).tolist() == [4, 4, 6, 6, 8, 8, 8, 8]
    assert windows.inverse_start(i, 8, 4, 1, False).tolist() == [0, 0, 0, 0, 3, 4, 5, 6]


def test_python_ints_numpy_and_traced_places_agree():
    for window, stride, causal in ((5, 1, False), (6, 4, False), (4, 3, True)):
        n, i = 17, np.arange(17)
        rule = n, window, stride, causal
        for function in (
            windows.start, windows.end, windows.inverse_start, windows.inverse_end
        ):  # fmt: skip
            expected = function(i, *rule)
            traced = jax.jit(lambda x, f=function, r=rule: f(x, *r))(jnp.asarray(i))
            np.testing.assert_array_equal(traced, expected)
            assert [int(function(int(x), *rule)) for x in i] == expected.tolist()
    for length, dilation in ((13, 3), (12, 4), (7, 1)):
        groups = np.arange(dilation)
        expected = [len(range(g, length, dilation)) for g in groups]
        assert windows.group_length(length, dilation, groups).tolist() == expected
        lengths = jax.jit(lambda g, L=length, d=dilation: windows.group_length(L, d, g))(
            jnp.asarray(groups)
        )
        assert lengths.tolist() == expected
