"""Bad arguments are named, with what was given and what is accepted."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.theory.dkm.sparse import oracle
from theory import dkm, stax

KEY = jax.random.key(0)
NAN, INF = float("nan"), float("inf")
POINTS = dkm.Gram(*(jnp.asarray(part, jnp.float32) for part in oracle.covariances(3, (2,))))
PLACES = dkm.Gram(*(jnp.asarray(part, jnp.float32) for part in oracle.covariances(3, (2, 4, 4))))
VECTORS, IMAGES = np.ones((4, 2), np.float32), np.ones((2, 4, 4, 1), np.float32)
OUT = dkm.Output(jnp.zeros((4, 2)), jnp.ones(4))
MODEL = dkm.Model(dkm.serial(dkm.inputs(3), dkm.output(2)), dkm.gaussian())
WHOLE = "must be a whole number of at least 1, got"

CONSTRUCTORS = [
    (lambda: dkm.inputs(0), f"count {WHOLE} 0"),
    (lambda: dkm.inputs(NAN), f"count {WHOLE} nan"),
    (lambda: dkm.patches(0), f"count {WHOLE} 0"),
    (lambda: dkm.patches(3, 0), f"size {WHOLE} 0"),
    (lambda: dkm.patches(3, 1.5), f"size {WHOLE} 1.5"),
    (lambda: dkm.patches(3, stride=0), "stride must be one or two whole numbers .* got 0"),
    (lambda: dkm.patches(3, stride=1.5), "stride must be one or two whole numbers .* got 1.5"),
    (lambda: dkm.patches(3, stride=(1, 2, 3)), r"stride must be .* got \(1, 2, 3\)"),
    (lambda: dkm.patches(3, padding="CIRCULAR"), "padding must be one of .* got 'CIRCULAR'"),
    (lambda: dkm.mixup(-1), f"count {WHOLE} -1"),
    (lambda: dkm.mixup(2, 0), f"size {WHOLE} 0"),
    (lambda: dkm.mixup(stride=None), "stride must be one or two whole numbers .* got None"),
    (lambda: dkm.mixup(padding="same"), "padding must be one of .* got 'same'"),
    (lambda: dkm.mixup(start="zeros"), "start must be 'patches' or 'random', got 'zeros'"),
    (lambda: dkm.gram(-1.0), r"nu must be a number >= 0 or inf, got -1\.0"),
    (lambda: dkm.gram(NAN), "nu must be a number >= 0 or inf, got nan"),
    (lambda: dkm.gram(kl="Taylor"), "kl must be 'exact' or 'taylor', got 'Taylor'"),
    (lambda: dkm.gram(parametrisation="free"), "parametrisation must be .* got 'free'"),
    (lambda: dkm.gram(skr=dkm.Skr(0.0)), r"skr must be .*gamma > 0.* got Skr\(gamma=0.0"),
    (lambda: dkm.gram(skr=dkm.Skr(INF)), r"skr must be .* got Skr\(gamma=inf"),
    (lambda: dkm.gram(skr=dkm.Skr(4.0, NAN)), "skr must be .* got Skr.*ridge=nan"),
    (lambda: dkm.gram(skr=4.0), r"skr must be None or Skr.* got 4\.0"),
    (lambda: dkm.gram(jitter=-1e-4), "jitter must be .* got -0.0001"),
    (lambda: dkm.gram(jitter=NAN), "jitter must be .* got nan"),
    (lambda: dkm.output(2, jitter=INF), "jitter must be .* got inf"),
    (lambda: dkm.output(2, jitter=(1e-4, -1.0)), r"jitter must be .* got \(0.0001, -1.0\)"),
    (lambda: dkm.global_pool(jitter=(1.0, 1.0, 1.0)), "jitter must be .*pair"),
    (lambda: dkm.output(0), f"outputs {WHOLE} 0"),
    (lambda: dkm.norm("all"), "inducing must be one of .* got 'all'"),
    (lambda: dkm.norm("local", "channel"), "others must be one of .* got 'channel'"),
    (lambda: dkm.kernel("rbf"), "kernel must be one of .* got 'rbf'"),
    (lambda: dkm.kernel(weight=0.0), r"weight must be positive or None, got 0\.0"),
    (lambda: dkm.kernel(bias=INF), "bias must be positive or None, got inf"),
    (lambda: dkm.gram_kernel("rbf"), "kernel must be one of .* got 'rbf'"),
    (lambda: dkm.matrix_kernel("relu", (0, 2)), f"space {WHOLE} 0"),
    (lambda: dkm.gaussian(0.0), r"noise_variance must be positive and finite, got 0\.0"),
    (lambda: dkm.gaussian(NAN), "noise_variance must be positive and finite, got nan"),
    (lambda: dkm.categorical(0), f"samples {WHOLE} 0"),
    (lambda: dkm.categorical(2.5), f"samples {WHOLE} 2.5"),
    (lambda: dkm.residual(dkm.identity()), "residual needs at least 2 layers, got 1"),
    (lambda: dkm.serial(), "serial needs at least 1 layers, got 0"),
    (lambda: dkm.resnet(2, counts=()), "counts must name at least one stage"),
    (lambda: dkm.resnet(2, counts=(4, 4), blocks=(1,)), r"blocks one number .* blocks=\(1,\)"),
    (lambda: dkm.resnet(2, counts=(4,), blocks=-1), r"blocks one number >= 0 .* blocks=\(-1,\)"),
    (lambda: dkm.resnet(2, counts=(0,)), f"count {WHOLE} 0"),
    (lambda: dkm.make_step(MODEL, optax.sgd(0.1), 0), f"examples {WHOLE} 0"),
    (lambda: dkm.train(MODEL, None, None, (), check_every=0), f"check_every {WHOLE} 0"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), CONSTRUCTORS)
def test_arguments_are_checked_when_a_layer_is_made(make, message):
    with pytest.raises(ValueError, match=message):
        make()


TYPES = [
    (lambda: dkm.serial(stax.Relu()), "serial takes layers of theory.dkm, got Layer"),
    (lambda: dkm.residual(dkm.identity(), None), "residual takes layers .* got NoneType"),
    (lambda: dkm.kernel(jnp.exp), "kernel must be a name .* or a layer of theory.stax"),
    (lambda: dkm.matrix_kernel(3), "kernel must be a name .* got int"),
    (lambda: dkm.gram_kernel((1, 2, 3)), "made by theory.stax"),
    (
        lambda: dkm.terms(
            MODEL._replace(network=dkm.inputs(3)),
            {"network": VECTORS[:3], "likelihood": {}},
            VECTORS,
            OUT.mean,
            4,
        ),
        r"must end in dkm.output\(...\), its last layer gave Gram",
    ),
]


@pytest.mark.parametrize(("make", "message"), TYPES)
def test_wrong_types_are_named(make, message):
    with pytest.raises(TypeError, match=message):
        make()


STARTS = [
    (dkm.inputs(3), IMAGES, r"inputs must have shape \(N, D\).* dkm.patches"),
    (dkm.inputs(9), VECTORS, "init needs at least 9 inputs to choose from, got 4"),
    (dkm.inputs(3, inducing=np.ones((3, 5))), VECTORS, r"inducing must have shape \(3, 2\)"),
    (dkm.inputs(3), VECTORS.astype(int), "inputs must be floating-point numbers, got int"),
    (dkm.patches(3), VECTORS, r"images must have shape \(N, H, W, C\), got \(4, 2\)"),
    (dkm.patches(3, 5), IMAGES, "images of 4 x 4 hold no patch of side 5"),
    (dkm.patches(3, inducing=np.ones((3, 3, 3))), IMAGES, r"inducing must .* \(3, 3, 3, 1\)"),
    (dkm.patches(3), IMAGES.astype(np.uint8), "images must be floating-point numbers, got uint8"),
    (dkm.mixup(), POINTS, r"mixup needs images of places \(N, H, W\), got .*\(2,\)"),
    (dkm.output(2), PLACES, r"output needs one point .*\(4, 4\): pool them .*global_pool"),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "value", "message"), STARTS)
def test_what_a_layer_starts_from_is_checked(layer, value, message):
    with pytest.raises(ValueError, match=message):
        layer.init(KEY, value)


def test_pooling_needs_places():
    with pytest.raises(ValueError, match="global_pool needs places, got variances of shape"):
        dkm.global_pool().apply((), POINTS)


def test_branches_of_other_shapes_are_refused():
    layer = dkm.residual(dkm.identity(), dkm.mixup(1, start="random"))
    params = layer.init(KEY, PLACES)
    with pytest.raises(ValueError, match="branches of residual must give the same shapes"):
        layer.apply(params, PLACES)


LABELS = [
    (dkm.gaussian(), np.zeros(4), r"y must have shape \(4, 2\), got \(4, 1\)"),
    (dkm.gaussian(), np.zeros((3, 2)), r"y must have shape \(4, 2\), got \(3, 2\)"),
    (
        dkm.categorical(),
        np.zeros((4, 2), int),
        r"y must be whole numbers of shape \(4,\).*\(4, 2\)",
    ),
    (dkm.categorical(), np.zeros(4), r"y must be whole numbers of shape \(4,\), got float"),
    (dkm.categorical(), np.zeros(3, int), r"y must be whole numbers of shape \(4,\).* \(3,\)"),
]


@pytest.mark.parametrize(("likelihood", "y", "message"), LABELS)
def test_targets_are_checked(likelihood, y, message):
    params = likelihood.init(jnp.float32)
    for f in (likelihood.expected, likelihood.log_density):
        with pytest.raises(ValueError, match=message):
            f(params, OUT, y, KEY)


@pytest.mark.parametrize("wrong", [-1, 2, 100])
def test_a_label_that_is_no_class_is_not_a_number(wrong):
    y = np.array([0, 1, wrong, 1])
    for f in (dkm.categorical(5).expected, dkm.categorical(5).log_density):
        np.testing.assert_array_equal(np.isnan(f({}, OUT, y, KEY)), [False, False, True, False])


def test_sampled_likelihoods_need_a_key():
    for f in (dkm.categorical().expected, dkm.categorical().log_density):
        with pytest.raises(ValueError, match="samples its expectations: give it a key"):
            f({}, OUT, np.zeros(4, int), None)


@pytest.mark.parametrize(
    ("y", "noise", "message"),
    [
        (np.zeros(2), 0.1, r"y must have shape \(2, C\), got \(2,\)"),
        (np.zeros((3, 1)), 0.1, r"y must have shape \(2, C\), got \(3, 1\)"),
        (np.zeros((2, 1)), -0.1, "noise_variance must be positive and finite, got -0.1"),
        (np.zeros((2, 1)), NAN, "noise_variance must be positive and finite, got nan"),
    ],
)
def test_the_best_output_checks_its_targets(y, noise, message):
    with pytest.raises(ValueError, match=message):
        dkm.gaussian_optimum(POINTS, y, noise)


@pytest.mark.parametrize("examples", [0, -3, 2.5, NAN])
def test_the_number_of_examples_is_checked(examples):
    with pytest.raises(ValueError, match=f"examples {WHOLE} {examples}"):
        dkm.terms(MODEL, {}, VECTORS, OUT.mean, examples)


@pytest.mark.parametrize(("shape", "space"), [((3, 4), ()), ((5, 5), (2,)), ((4,), ())])
def test_gram_matrices_are_square_and_whole(shape, space):
    with pytest.raises(ValueError, match="a Gram matrix must be square, its side a multiple of"):
        dkm.matrix_kernel("relu", space)(np.ones(shape))


def test_random_patches_need_images():
    with pytest.raises(ValueError, match=r"images must have shape \(N, H, W, C\), got \(4, 2\)"):
        dkm.random_patches(KEY, VECTORS, 3, 2)
