"""The covariances of long convolutions and of neighborhood attention as loops, NumPy float64."""

from __future__ import annotations

from itertools import product

import numpy as np


def convolved(value, moments, paired):
    """sum R(s, s') value[.., t - s, t' - s'] over signed lags; lag 0 in the middle of `moments`.

    Args:
      value: (N1, N2, p_1, q_1, ..).
      moments: dict from a tuple of lags s (paired: (s, s')) to R.
      paired: whether keys are pairs of lags.
    """
    rank = (value.ndim - 2) // 2
    space = value.shape[2::2]
    out = np.zeros_like(value)
    for places in product(*(range(n) for n in value.shape[2:])):
        t, u = places[0::2], places[1::2]
        for lags, r in moments.items():
            s, z = lags if paired else (lags, lags)
            a = [t[i] - s[i] for i in range(rank)]
            b = [u[i] - z[i] for i in range(rank)]
            if all(0 <= a[i] < space[i] and 0 <= b[i] < space[i] for i in range(rank)):
                at = tuple(x for pair in zip(a, b, strict=True) for x in pair)
                out[(slice(None), slice(None), *places)] += (
                    r * value[(slice(None), slice(None), *at)]
                )
    return out


def window(size, width, dilation, causal):
    """Places that each place of an axis sees, as a list of lists."""
    rows = []
    for i in range(size):
        group = list(range(i % dilation, size, dilation))
        at = group.index(i)
        if causal:
            rows.append(group[max(at - width + 1, 0) : at + 1])
        else:
            start = min(max(at - width // 2, 0), len(group) - width)
            rows.append(group[start : start + width])
    return rows


def windows(space, width, dilation, causal):
    """Flat places that each flat place sees."""
    axes = [window(*each) for each in zip(space, width, dilation, causal, strict=True)]
    rows = []
    for place in product(*(range(n) for n in space)):
        near = product(*(axes[i][place[i]] for i in range(len(space))))
        rows.append([int(np.ravel_multi_index(p, space)) for p in near])
    return rows


def attention_weights(own, rows, logit_std):
    """softmax of logit_std own[t, a] over a in the window of t, dense (places, places)."""
    out = np.zeros_like(own)
    for t, near in enumerate(rows):
        e = np.exp(logit_std * own[t, near])
        out[t, near] = e / e.sum()
    return out
