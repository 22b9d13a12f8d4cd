"""The sparse deep kernel machine in NumPy float64, from its formulas; nothing of theory.

Covariances are triples (ii, ti, t). Inverses are inverses and sums over windows are loops.
"""

from __future__ import annotations

import math

import numpy as np

from tests.theory.dkm.oracle_kernels import KERNELS, of_gram


def covariances(points, batch, seed=0, features=None):
    """A triple that features really have, well conditioned: (points, points), (*batch, points)."""
    rng = np.random.default_rng(seed)
    features = 3 * points if features is None else features
    z = rng.normal(size=(points, features)) * rng.uniform(0.7, 1.4, size=(points, 1))
    x = rng.normal(size=(*batch, features))
    return z @ z.T / features, x @ z.T / features, (x**2).mean(-1)


def triangular(points, seed=0, size=0.4):
    """Free parameters of a triangular factor: rubbish above the diagonal, logs on it."""
    return size * np.random.default_rng(seed).normal(size=(points, points))


def factor(params):
    return np.tril(params, -1) + np.diag(np.exp(np.diag(params)))


def jittered(K, jitter):
    relative, absolute = jitter if isinstance(jitter, tuple) else (0.0, jitter)
    return K + np.diag(relative * np.diag(K) + absolute)


def kernel(name, triple, weight=1.0, bias=0.0):
    ii, ti, t = triple
    f, v = KERNELS[name], np.diag(ii)
    out = of_gram(f, ii), f(ti, t[..., None], v), f(t, t, t)
    return tuple(weight * part + bias for part in out)


# Layers.


def inputs(x, z):
    n = x.shape[1]
    t = np.array([sum(value**2 for value in row) / n for row in x])
    return z @ z.T / n, x @ z.T / n, t


def gram_layer(triple, G, jitter):
    ii, ti, t = triple
    K = jittered(ii, jitter)
    flat, own = ti.reshape(-1, len(K)), t.reshape(-1)
    B = flat @ np.linalg.inv(K)
    out = own - np.diag(B @ flat.T) + np.diag(B @ G @ B.T)
    return G, (B @ G).reshape(ti.shape), out.reshape(t.shape)


def learned(ii, params, parametrisation, jitter):
    """G."""
    if parametrisation == "relative":
        V = np.linalg.cholesky(jittered(ii, jitter)) @ factor(params)
    else:
        V = factor(params) / math.sqrt(len(params))
    return V @ V.T


def kl(G, K):
    """KL(N(0, G) || N(0, K))."""
    M = np.linalg.inv(K) @ G
    return (np.trace(M) - np.linalg.slogdet(G)[1] + np.linalg.slogdet(K)[1] - len(G)) / 2


def taylor_kl(G, K):
    return ((np.linalg.inv(G) @ K - np.eye(len(G))) ** 2).sum() / 4


def norm(triple, inducing, others, log_scale_inducing, log_scale_others):
    ii, ti, t = triple
    p = len(ii)
    a = [ii[i, i] if inducing == "local" else np.trace(ii) / p for i in range(p)]
    left = [math.exp(log_scale_inducing) / math.sqrt(value) for value in a]
    new_ii, new_ti, new_t = np.empty_like(ii), np.empty_like(ti), np.empty_like(t)
    for i in range(p):
        for j in range(p):
            new_ii[i, j] = left[i] * left[j] * ii[i, j]
    for at in np.ndindex(t.shape):
        b = {
            "global": np.trace(ii) / p,
            "batch": t.mean(),
            "image": t[at[0]].mean(),
            "pixel": t[at],
        }[others]
        right = math.exp(log_scale_others) / math.sqrt(b)
        new_t[at] = right**2 * t[at]
        for i in range(p):
            new_ti[(*at, i)] = right * left[i] * ti[(*at, i)]
    return new_ii, new_ti, new_t


def residual(triples, logits):
    w = np.exp(logits) / np.exp(logits).sum()
    return tuple(np.tensordot(w, parts, 1) for parts in zip(*triples, strict=True))


def output(triple, m, root, jitter):
    """(mean, variance, KL) of q(u_c) = N(L m_c, L S S^T L^T)."""
    ii, ti, t = triple
    K = jittered(ii, jitter)
    L = np.linalg.cholesky(K)
    S = factor(root)
    mu, A = L @ m, L @ S @ S.T @ L.T
    K_inv = np.linalg.inv(K)
    B = ti @ K_inv
    variance = t - np.diag(B @ ti.T) + np.diag(B @ A @ B.T)
    price = m.shape[1] * kl(A, K) + sum(column @ K_inv @ column for column in mu.T) / 2
    return B @ mu, variance, price


def expected_log_gaussian(y, mean, variance, s2):
    """E[log N(y; f, s²)] under f ~ N(mean, variance), by Gauss-Hermite quadrature; columns sum."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    f = mean[..., None] + np.sqrt(variance)[:, None, None] * nodes
    values = -((y[..., None] - f) ** 2) / (2 * s2) - math.log(2 * math.pi * s2) / 2
    return (values @ weights / weights.sum()).sum(-1)


# Windows of images.


def padded(height, width, size, strides, padding):
    """(rows above, columns left, output height, output width)."""
    out, before = [], []
    for side, stride in zip((height, width), strides, strict=True):
        if padding == "VALID":
            out.append((side - size) // stride + 1)
            before.append(0)
        else:
            out.append(-(-side // stride))
            before.append(max((out[-1] - 1) * stride + size - side, 0) // 2)
    return *before, *out


def windows(height, width, size, strides, padding):
    """{(row, column) of the output: [(offset, row, column) inside the image]}, and its shape."""
    top, left, rows, columns = padded(height, width, size, strides, padding)
    found = {}
    for r in range(rows):
        for c in range(columns):
            found[r, c] = []
            for d in range(size**2):
                i = r * strides[0] - top + d // size
                j = c * strides[1] - left + d % size
                if 0 <= i < height and 0 <= j < width:
                    found[r, c].append((d, i, j))
    return found, (rows, columns)


def mixup(triple, C, strides, padding, count_padding):
    """C is (F, F, P, count)."""
    ii, ti, t = triple
    size, count = C.shape[0], C.shape[3]
    C = C.reshape(size**2, *C.shape[2:])
    n, height, width = t.shape
    found, shape = windows(height, width, size, strides, padding)
    new_ii = np.zeros((count, count))
    for d in range(size**2):
        new_ii += C[d].T @ ii @ C[d] / size**2
    new_ti, new_t = np.zeros((n, *shape, count)), np.zeros((n, *shape))
    for (r, c), inside in found.items():
        for d, i, j in inside:
            new_ti[:, r, c] += ti[:, i, j] @ C[d] / size**2
            new_t[:, r, c] += t[:, i, j] / (size**2 if count_padding else len(inside))
    return new_ii, new_ti, new_t


def cut(x, size, strides, padding):
    """Every patch of every image, zeros outside: (N, H', W', size, size, C)."""
    n, height, width, channels = x.shape
    found, shape = windows(height, width, size, strides, padding)
    out = np.zeros((n, *shape, size**2, channels))
    for (r, c), inside in found.items():
        for d, i, j in inside:
            out[:, r, c, d] = x[:, i, j]
    return out.reshape(n, *shape, size, size, channels)


def patches(x, z, strides, padding, count_padding):
    size, features = z.shape[1], z[0].size
    flat = z.reshape(len(z), -1)
    cuts = cut(x, size, strides, padding)
    cuts = cuts.reshape(*cuts.shape[:3], -1)
    t = (cuts**2).sum(-1)
    found, _ = windows(x.shape[1], x.shape[2], size, strides, padding)
    for (r, c), inside in found.items():
        t[:, r, c] /= features if count_padding else len(inside) * x.shape[-1]
    return flat @ flat.T / features, cuts @ flat.T / features, t


def global_pool(triple, jitter):
    ii, ti, t = triple
    K_inv = np.linalg.inv(jittered(ii, jitter))
    new_ti, new_t = [], []
    for rows, own in zip(ti.reshape(len(ti), -1, len(ii)), t.reshape(len(t), -1), strict=True):
        S, k = len(own), rows.mean(0)
        left_over = sum(own[s] - rows[s] @ K_inv @ rows[s] for s in range(S))
        new_ti.append(k)
        new_t.append(k @ K_inv @ k + left_over / S**2)
    return ii, np.array(new_ti), np.array(new_t)


# The full machine, without jitter.


def marginal(K, y, s2):
    """sum_c log N(y_c; 0, K + s² I)."""
    A = K + s2 * np.eye(len(K))
    fit = -np.trace(y.T @ np.linalg.inv(A) @ y) / 2
    return fit - y.shape[1] / 2 * (np.linalg.slogdet(A)[1] + len(y) * math.log(2 * math.pi))


def full(G0, grams, y, name, nu, s2):
    """The objective of the spec."""
    value, G = 0.0, G0
    for after in grams:
        value -= nu * kl(after, square(name, G))
        G = after
    return value + marginal(square(name, G), y, s2)


def square(name, G):
    return kernel(name, (G, G, np.diag(G)))[0]
