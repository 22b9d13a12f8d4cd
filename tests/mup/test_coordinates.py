"""The coordinate check: flat in muP, and not in the other parametrisations."""

from __future__ import annotations

import io

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rich.console import Console

from farwide.data import digits
from farwide.models import LongConvLMConfig, MLPConfig, Model, long_conv_lm, mlp
from farwide.mup import CoordinateCheck, Rule, coordinate_check, slope_table, slopes

FLAT = 0.05  # of the slope in log-log, the bound that docs/mup.md states


def make_mlp(width: int) -> Model:
    return mlp(MLPConfig(width, 3, 64, 10, "tanh"))


def images():
    """64 digits, and the loss of a model's outputs on them."""
    data = digits()
    x, y = jnp.asarray(data.x_train[:64]), jnp.asarray(data.y_train[:64])
    return x, lambda outputs: optax.softmax_cross_entropy_with_integer_labels(outputs, y).mean()


def text():
    """Four phases of a cycle of eight bytes, and the next-byte loss."""
    cycle = (jnp.arange(33) + jnp.arange(4)[:, None]) % 8
    x, y = cycle[:, :-1], cycle[:, 1:]
    return x, lambda outputs: optax.softmax_cross_entropy_with_integer_labels(outputs, y).mean()


def check_mlp(parametrisation, optimizer, widths, seeds, **options):
    rates = {"adam": 0.02, "sgd": 0.1 if parametrisation == "ntk" else 1.0}
    x, loss = images()
    return coordinate_check(
        make_mlp, widths, x, loss, learning_rate=rates[optimizer], optimizer=optimizer,
        seeds=seeds, parametrisation=parametrisation, **options,
    )  # fmt: skip


def check_lm(parametrisation, optimizer, widths, seeds, **options):
    def make(width: int) -> Model:
        # tied logits are divided by the width in muP, by its root in the standard parametrisation
        scale = 4.0 if parametrisation == "mup" else 4.0 * (width / widths[0]) ** 0.5
        return long_conv_lm(LongConvLMConfig(width, 1, sequence_length=32, output_scale=scale))

    rates = {"adam": 0.01, "sgd": 0.1}
    x, loss = text()
    return coordinate_check(
        make, widths, x, loss, learning_rate=rates[optimizer], optimizer=optimizer, seeds=seeds,
        parametrisation=parametrisation, observe=lambda outputs: outputs[..., :8], **options,
    )  # fmt: skip


def values(check, step=-1):
    return {name: slope.value for name, slope in slopes(check, step).items()}


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_perceptron_is_flat_in_mup(optimizer):
    check = check_mlp("mup", optimizer, (64, 512), 6, zero_readout=True)
    assert set(check.change) == {"hidden_0", "hidden_1", "hidden_2", "readout", "outputs"}
    assert max(map(abs, values(check).values())) < 2 * FLAT, slopes(check)
    # what moved is no rounding: the last layer's tanh sees it
    assert check.change["hidden_2"][..., -1].min() > 0.02


def test_a_perceptron_rises_in_the_standard_parametrisation():
    found = values(check_mlp("standard", "adam", (64, 512), 3, steps=2))
    assert found["hidden_1"] > 0.3
    assert found["hidden_2"] > 0.3


def test_hidden_layers_stand_still_in_the_ntk_parametrisation():
    """By width^(-1/2) a step, while the outputs move as much at every width."""
    check = check_mlp("ntk", "sgd", (64, 512), 6, steps=2)
    found = values(check)
    for name in ("hidden_0", "hidden_1", "hidden_2"):
        assert found[name] == pytest.approx(-0.5, abs=0.12)
    assert found["outputs"] == pytest.approx(0, abs=0.12)


def test_a_wrong_role_shows_as_a_slope():
    """Hidden matrices taken for input weights: their learning rate stays, and they blow up."""
    rules = [Rule("hidden_[12]/kernel", ())]
    found = values(check_mlp("mup", "adam", (64, 256), 2, steps=2, zero_readout=True, rules=rules))
    assert found["hidden_2"] > 0.3


def test_a_language_model_of_long_convolutions_is_flat_in_mup():
    check = check_lm("mup", "adam", (64, 256), 4, steps=3)
    assert {"embed", "blocks_0/mixer/filters_0", "blocks_0/up", "outputs"} <= set(check.change)
    assert max(map(abs, values(check).values())) < 3 * FLAT, slopes(check)  # 4 seeds


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("check", [check_mlp, check_lm])
def test_flat_from_64_to_1024_in_mup_and_not_in_the_standard_parametrisation(check, optimizer):
    options = {"zero_readout": True} if check is check_mlp else {}
    heavy = (check, optimizer) == (check_lm, "sgd")
    found = check("mup", optimizer, (64, 128, 256, 512, 1024), 16 if heavy else 8, **options)
    bounds = dict.fromkeys(found.change, FLAT)
    if heavy:
        # Gates make the mixer cubic in its input and the gradients heavy-tailed: 16 seeds tell its
        # slopes to 0.02, and twice that is allowed. The outputs of the narrowest models move more.
        def allowed(of):
            errors = {name: slope.standard_error for name, slope in slopes(of).items()}
            return {name: FLAT + 2 * error for name, error in errors.items()}

        wide = CoordinateCheck(found.widths[2:], {k: v[2:] for k, v in found.change.items()})
        flat = allowed(wide) | {"outputs": FLAT}
        assert all(abs(value) < flat[name] for name, value in values(wide).items()), slopes(wide)
        bounds = allowed(found)
        assert max(bounds.values()) < 3 * FLAT
        bounds["outputs"] += FLAT / 2
    worst = {k: v for k, v in values(found).items() if abs(v) >= bounds[k]}
    assert not worst, slopes(found)
    other = values(check("standard", optimizer, (64, 256, 1024), 2))
    assert max(value if np.isfinite(value) else np.inf for value in other.values()) > 0.5


def test_slopes_are_those_of_a_power_law_and_errors_those_of_its_spread():
    widths = (16, 64, 256)
    law = np.array(widths, float)[:, None, None] ** 0.5 * np.ones((1, 3, 2))
    check = CoordinateCheck(widths, {"layer": law, "still": 0 * law})
    assert slopes(check)["layer"] == pytest.approx((0.5, 0.0))
    assert np.isnan(slopes(check)["still"].value)
    shown = io.StringIO()
    Console(file=shown, width=80).print(slope_table(check, 0))
    assert "+0.500 ± 0.000" in shown.getvalue()
    # many checks of noisy seeds: the stated error is the spread of the slopes
    rng = np.random.default_rng(0)
    found = []
    for _ in range(300):
        noisy = law * np.exp(0.1 * rng.standard_normal(law.shape))
        found.append(slopes(CoordinateCheck(widths, {"layer": noisy}))["layer"])
    spread = np.std([slope.value for slope in found])
    assert np.mean([slope.standard_error for slope in found]) == pytest.approx(spread, rel=0.2)


def test_what_is_refused():
    x, loss = images()
    with pytest.raises(ValueError, match="at least two different"):
        coordinate_check(make_mlp, [64, 64], x, loss, learning_rate=0.1)
    with pytest.raises(ValueError, match="seeds is 0"):
        coordinate_check(make_mlp, [64, 128], x, loss, learning_rate=0.1, seeds=0)
