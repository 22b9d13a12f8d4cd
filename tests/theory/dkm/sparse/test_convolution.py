"""Layers over places against loops, and against the covariances of theory.stax."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.numerics import relative_max
from tests.theory.dkm.sparse import oracle
from tests.theory.dkm.sparse.quick import agree, jit
from theory import dkm, stax

KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def images(n=2, height=4, width=4, channels=2, seed=0):
    return np.random.default_rng(seed).normal(size=(n, height, width, channels))


def pairs(stride):
    return (stride, stride) if isinstance(stride, int) else stride


WINDOWS = [  # stride, padding, size of the window, sides of the image
    (1, "SAME", 3, (5, 4)),
    (2, "SAME", 3, (5, 4)),
    (3, "SAME", 3, (5, 7)),
    ((2, 1), "SAME", 2, (4, 5)),
    (1, "SAME", 3, (2, 1)),
    (1, "VALID", 3, (5, 4)),
    (2, "VALID", 3, (5, 6)),
    (3, "VALID", 2, (5, 8)),
    ((2, 1), "VALID", 3, (6, 5)),
    (1, "VALID", 1, (2, 3)),
]


@pytest.mark.parametrize(("stride", "padding", "size", "sides"), WINDOWS)
def test_patches_and_mixup_are_sums_over_windows(stride, padding, size, sides):
    rng = np.random.default_rng(1)
    x, z = images(2, *sides), rng.normal(size=(5, size, size, 2))
    triple = oracle.covariances(4, (2, *sides))
    C = rng.normal(size=(size, size, 4, 3))

    @jit
    def both(x, z, given, C):
        out = []
        for counted in (False, True):
            options = {"stride": stride, "padding": padding, "count_padding": counted}
            out.append(dkm.patches(5, size, **options).apply(z, x)[0])
            out.append(dkm.mixup(3, size, **options).apply(C, given)[0])
        return out

    actual = both(x, z, dkm.Gram(*triple), C)
    for counted in (False, True):
        options = pairs(stride), padding, counted
        agree(actual[2 * counted], oracle.patches(x, z, *options))
        agree(actual[2 * counted + 1], oracle.mixup(triple, C, *options))


@pytest.mark.parametrize("jitter", [0.0, 1e-3, (0.02, 0.01)])
@pytest.mark.parametrize("batch", [(3, 2, 2), (3, 8, 8), (2, 5)])
def test_global_pool(batch, jitter):
    triple = oracle.covariances(5, batch, seed=2)
    out, kl = jit(dkm.global_pool(jitter=jitter).apply)((), dkm.Gram(*triple))
    agree(out, oracle.global_pool(triple, jitter))
    assert float(kl) == 0


def test_inducing_patches_start_at_different_patches_of_the_images():
    x = jnp.asarray(images(3, 5, 4))
    drawn = np.asarray(jit(dkm.patches(12, 2).init)(KEY, x)).reshape(1, 12, -1)
    cuts = oracle.cut(np.asarray(x), 2, (1, 1), "VALID").reshape(-1, 1, 8)
    distances = np.abs(cuts - drawn).max(-1)
    assert (distances.min(0) == 0).all()
    assert len(set(distances.argmin(0))) == 12


def test_random_mixtures_keep_variances_in_expectation():
    given = dkm.Gram(*oracle.covariances(4, (1, 3, 3)))
    assert dkm.mixup(start="random").init(KEY, given).shape == (3, 3, 4, 4)
    layer = dkm.mixup(200, start="random")
    params = layer.init(KEY, given)
    assert params.shape == (3, 3, 4, 200)
    ii = layer.apply(params, given)[0].ii
    mean = np.trace(given.ii) / 4
    assert float(jnp.trace(ii)) / 200 == pytest.approx(mean, rel=0.1)


def test_mixtures_start_at_windows_of_the_images():
    """Where the inducing points span everything, each mixture has the variance of a window."""
    ii, ti, t = oracle.covariances(20, (2, 3, 4), seed=3, features=8)
    given = dkm.Gram(ii[:8, :8], ti[..., :8], t)
    layer = dkm.mixup(6, count_padding=True, jitter=0.0)
    out = jit(lambda given: layer.apply(layer.init(KEY, given), given)[0])(given)
    windows = np.asarray(out.t).reshape(-1, 1)
    assert np.abs(windows - np.diag(out.ii)).min(0).max() < 1e-10


def selection(shape, stride, padding, size):
    """The mixture whose inducing points are all windows of points that are all places."""
    n, height, width = shape
    found, out = oracle.windows(height, width, size, stride, padding)
    C = np.zeros((size**2, n, height, width, n, *out))
    for (r, c), inside in found.items():
        for d, i, j in inside:
            for example in range(n):
                C[d, example, i, j, example, r, c] = 1
    return C.reshape(size, size, n * height * width, -1)


CONSISTENT = [
    (1, "SAME", 1, "SAME", (4, 4)),
    (2, "SAME", 2, "SAME", (5, 6)),
    (1, "VALID", 1, "VALID", (6, 5)),
    ((2, 1), "SAME", 1, "VALID", (6, 4)),
]


@pytest.mark.parametrize(("stride", "padding", "second", "then", "sides"), CONSISTENT)
def test_where_inducing_points_are_all_places_it_is_the_nngp(stride, padding, second, then, sides):
    """Conv, ReLU, Conv, ReLU, GlobalAvgPool of theory.stax, with nothing approximated."""
    first, other = pairs(stride), pairs(second)
    conv = stax.Conv(1, (3, 3), first, padding)
    relu = stax.serial(stax.Relu(), stax.Conv(1, (3, 3), other, then, 2**0.5), stax.Relu())
    x = images(2, *sides, 3)
    inducing = oracle.cut(x, 3, first, padding)
    shape = inducing.shape[:3]
    count = inducing[..., 0, 0, 0].size
    C = selection(shape, other, then, 3)
    rectified = dkm.kernel(stax.Relu(), weight=None)
    # ReLU of stax halves variances and Dense doubles them: here the second convolution does.
    doubled = dkm.kernel(stax.Dense(1, 2**0.5), weight=None)
    options = {"count_padding": True}
    layers = dkm.serial(
        dkm.patches(count, stride=first, padding=padding, **options),
        rectified,
        dkm.mixup(C.shape[-1], stride=other, padding=then, **options),
        doubled,
        rectified,
    )
    params = [jnp.asarray(inducing.reshape(count, 3, 3, 3)), {}, C, {}, {}]
    pool = dkm.global_pool(jitter=0.0)

    @jit
    def run(x):
        places, _ = layers.apply(params, x)
        return places, pool.apply((), places)[0]

    places, pooled = run(x)
    reference = stax.serial(conv, relu)
    K = np.asarray(reference.kernel_fn(x, None, "nngp")).transpose(0, 2, 4, 1, 3, 5)
    K = K.reshape((*places.ti.shape[:3], -1))
    assert relative_max(places.ti, K) < 1e-12
    assert relative_max(places.ii, K.reshape(places.ii.shape)) < 1e-12
    assert relative_max(places.t, np.diag(places.ii).reshape(places.t.shape)) < 1e-12
    # Nystroem's approximation is exact here: variances of the means of all places.
    limit = stax.serial(reference, stax.GlobalAvgPool()).kernel_fn(x, None, "nngp")
    assert relative_max(pooled.t, np.diag(limit)) < 1e-10
    assert relative_max(pooled.ti.reshape(2, 2, -1).mean(-1), limit) < 1e-12


def test_pooling_knows_more_the_more_points_span():
    """With one inducing point places look independent, which makes variances too small."""
    triple = oracle.covariances(30, (1, 2, 3), seed=3, features=8)
    exact, few = (
        dkm.global_pool(jitter=1e-9).apply(
            (), dkm.Gram(triple[0][:n, :n], triple[1][..., :n], triple[2])
        )[0]
        for n in (8, 1)
    )
    assert float(exact.t[0]) != pytest.approx(float(few.t[0]), rel=0.01)
    assert relative_max(exact.ti[:, :1], few.ti) < 1e-12
