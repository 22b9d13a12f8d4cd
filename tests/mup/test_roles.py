"""Roles come from the shapes of two sizes, and factors from roles, as in the published tables."""

from __future__ import annotations

import io

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rich.console import Console

from farwide.models import LongConvLMConfig, MLPConfig, Model, long_conv_lm, mlp
from farwide.mup import (
    Role,
    Rule,
    describe,
    infer_roles,
    initial_factor,
    learning_rate_factor,
    mup_init,
    scale_by_mup,
)
from farwide.mup.roles import path_of
from farwide.training import OptimizerConfig
from farwide.training.optimizer import labels, make_optimizer


def make_mlp(width: int) -> Model:
    return mlp(MLPConfig(width, 2, 12, 3))


def make_lm(width: int) -> Model:
    return long_conv_lm(LongConvLMConfig(width, 1, sequence_length=32))


def tree_model(shapes) -> Model:
    """A model that is its parameters: one array of each shape."""

    def init(key):
        del key
        return jax.tree.map(jnp.ones, shapes, is_leaf=lambda x: isinstance(x, tuple))

    return Model(init, lambda params, inputs, key=None: inputs)


def by_path(tree):
    return {path_of(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def test_roles_of_a_perceptron():
    found = by_path(infer_roles(make_mlp, 64, 16))
    assert {name: (role.kind, role.fan_in, role.fan_out) for name, role in found.items()} == {
        "hidden_0/bias": ("input", 1, 4),
        "hidden_0/kernel": ("input", 1, 4),
        "hidden_1/bias": ("input", 1, 4),
        "hidden_1/kernel": ("hidden", 4, 4),
        "readout/bias": ("scalar", 1, 1),
        "readout/kernel": ("output", 4, 1),
    }


def test_taps_and_a_tied_embedding_are_input_like():
    found = by_path(infer_roles(make_lm, 48, 16))
    hidden = {name for name, role in found.items() if role.kind == "hidden"}
    assert hidden == {
        f"blocks_0/{name}/kernel" for name in ("mixer/in_proj", "mixer/out_proj", "up", "down")
    }
    assert all(found[name].fan_in == found[name].fan_out == 3 for name in hidden)
    others = {role.kind for name, role in found.items() if name not in hidden}
    assert others == {"input"}


def test_heads_convolutions_and_unnamed_layers():
    def make(width):
        heads = width // 8
        return tree_model(
            {
                "query": {"kernel": (width, heads, 8)},
                "out": {"kernel": (heads, 8, width)},
                "conv": {"kernel": (3, 3, width, 2 * width)},
                "depthwise": {"kernel": (3, 1, width)},
                "pooled": {"kernel": (5, width, 10)},
                "layers": [(4, width), (width, width), (width, 2), (width,)],
                "state": (width, 16),
            }
        )

    found = by_path(infer_roles(make, 64, 16))
    kinds = {name: role.kind for name, role in found.items()}
    assert kinds == {
        "query/kernel": "hidden",
        "out/kernel": "hidden",
        "conv/kernel": "hidden",
        "depthwise/kernel": "input",
        "pooled/kernel": "output",
        "layers/0": "input",
        "layers/1": "hidden",
        "layers/2": "output",
        "layers/3": "input",
        "state": "input",
    }
    assert found["out/kernel"].grows == (0, 2)


def test_rules_override_and_must_match():
    def make(width):
        return tree_model({"table": (width, 7), "cube": (width, width, width)})

    with pytest.raises(ValueError, match="cube grows along axes"):
        infer_roles(make, 32, 16)
    rules = [Rule("cube", (0, 1)), Rule("table", (-2,))]
    found = infer_roles(make, 32, 16, rules=rules)
    assert (found["cube"].kind, found["cube"].fan_in, found["cube"].fan_out) == ("hidden", 4, 2)
    assert found["table"].kind == "output"
    with pytest.raises(ValueError, match="match no parameter"):
        infer_roles(make, 32, 16, rules=[*rules, Rule("tabel", (0,))])
    with pytest.raises(ValueError, match="names axes"):
        infer_roles(make, 32, 16, rules=[*rules, Rule("", (3,))][::-1])


def test_families_that_are_none_are_refused():
    with pytest.raises(ValueError, match="same shapes"):
        infer_roles(lambda width: make_mlp(8), 32, 16)
    with pytest.raises(ValueError, match="different names or ranks"):
        infer_roles(lambda w: mlp(MLPConfig(w, 1 if w < 20 else 2, 4, 2)), 32, 8)
    with pytest.raises(ValueError, match="another width"):
        infer_roles(make_mlp, 32, 16, probe_width=16)


ROLES = {
    "input": Role("input", 1.0, 4.0, (3, 64), (1,)),
    "hidden": Role("hidden", 4.0, 4.0, (64, 64), (0, 1)),
    "output": Role("output", 4.0, 1.0, (64, 3), (0,)),
    "scalar": Role("scalar", 1.0, 1.0, (), ()),
}


@pytest.mark.parametrize(
    ("parametrisation", "expected"),
    [  # initial deviation, Adam, SGD at four times the base width
        ("mup", {"input": (1, 1, 4), "hidden": (1, 1 / 4, 1), "output": (1 / 2, 1 / 4, 1 / 4)}),
        ("ntk", {"input": (1, 1, 1), "hidden": (1, 1 / 2, 1 / 4), "output": (1, 1 / 2, 1 / 4)}),
        ("standard", dict.fromkeys(("input", "hidden", "output"), (1, 1, 1))),
    ],
)
def test_factors_are_those_of_the_tables(parametrisation, expected):
    for kind, role in ROLES.items():
        found = (
            initial_factor(role, parametrisation),
            learning_rate_factor(role, "adam", parametrisation),
            learning_rate_factor(role, "sgd", parametrisation),
        )
        assert found == expected.get(kind, (1, 1, 1)), kind


def test_fixed_initial_variance_becomes_one_over_fan_in():
    assert initial_factor(ROLES["hidden"], "standard", "fixed") == 1 / 2
    assert initial_factor(ROLES["output"], "mup", "fixed") == 1 / 4
    assert initial_factor(ROLES["input"], "mup", "fixed") == 1


def test_the_initial_readout_has_variance_one_over_the_square_of_its_fan_in():
    deviations = {}
    for width in (64, 512):
        model = mup_init(make_mlp(width), infer_roles(make_mlp, width, 64))
        params = jax.jit(model.init)(jax.random.key(0))
        deviations[width] = [
            float(np.std(params[name]["kernel"])) for name in ("hidden_0", "hidden_1", "readout")
        ]
    ratios = np.divide(deviations[512], deviations[64])
    np.testing.assert_allclose(ratios, [1, 8**-0.5, 1 / 8], rtol=0.15)


def test_the_base_width_is_left_as_it_is():
    roles = infer_roles(make_mlp, 16, 16)
    model = make_mlp(16)
    jax.tree.map(
        np.testing.assert_array_equal,
        jax.jit(mup_init(model, roles).init)(jax.random.key(3)),
        jax.jit(model.init)(jax.random.key(3)),
    )
    zeroed = jax.jit(mup_init(model, roles, zero_readout=True).init)(jax.random.key(3))
    assert not zeroed["readout"]["kernel"].any()
    assert zeroed["hidden_1"]["kernel"].any()


def test_updates_are_multiplied_and_the_state_is_empty():
    roles = infer_roles(make_mlp, 64, 16)
    rule = scale_by_mup(roles, "sgd")
    ones = jax.tree.map(lambda role: jnp.ones(role.shape), roles)
    assert not jax.tree.leaves(rule.init(ones))
    scaled = by_path(rule.update(ones, rule.init(ones))[0])
    means = {name: float(leaf.mean()) for name, leaf in scaled.items()}
    assert means["hidden_0/kernel"] == means["hidden_1/bias"] == 4
    assert means["hidden_1/kernel"] == means["readout/bias"] == 1
    assert means["readout/kernel"] == 1 / 4
    with pytest.raises(ValueError, match="optimizer is 'adan'"):
        scale_by_mup(roles, "adan")  # pyright: ignore
    with pytest.raises(ValueError, match="parametrisation is 'sp'"):
        scale_by_mup(roles, parametrisation="sp")  # pyright: ignore
    with pytest.raises(ValueError, match="initial is 'he'"):
        mup_init(make_mlp(16), roles, initial="he")  # pyright: ignore


def test_it_agrees_with_the_rule_that_the_language_model_trains_by():
    """farwide.training knows that model's parameters by name; the shapes tell the same."""
    config = OptimizerConfig(base_width=16, weight_decay=0.0, clip_norm=1e9)
    width = 48
    roles = infer_roles(make_lm, width, config.base_width)
    ones = jax.tree.map(lambda role: jnp.ones(role.shape), roles)

    def first(optimizer):
        return jax.jit(lambda tree: optimizer.update(tree, optimizer.init(tree), tree)[0])(ones)

    theirs = first(make_optimizer(config, width))
    ours = first(
        optax.chain(optax.scale_by_adam(config.beta1, config.beta2), scale_by_mup(roles, "adam"))
    )
    # the long filter's ratio is a choice of that trainer, the same at all widths
    ratio = {"filter": config.filter_ratio}
    for kind, a, b in zip(*map(jax.tree.leaves, (labels(ones), theirs, ours)), strict=True):
        np.testing.assert_allclose(a, ratio.get(kind, 1.0) * b, rtol=1e-6)
    assert {role.kind for role in jax.tree.leaves(roles)} == {"input", "hidden"}


def test_the_table_shows_every_parameter():
    shown = io.StringIO()
    Console(file=shown, width=120).print(describe(infer_roles(make_mlp, 64, 16)))
    lines = {line.split()[0]: line for line in shown.getvalue().splitlines() if "/" in line}
    assert len(lines) == 6
    assert "(64*, 3)" in lines["readout/kernel"]
    assert "output" in lines["readout/kernel"]
    factors = [float(text) for text in lines["readout/kernel"].split("×")[1:]]
    assert factors == [4, 1, 0.5, 0.25, 0.25]  # fan-in, fan-out, initial, Adam, SGD


def test_a_model_of_mixed_layers_from_linen_itself():
    class Mixed(nn.Module):
        width: int

        @nn.compact
        def __call__(self, x):
            x = nn.Embed(11, self.width)(x)
            x = nn.LayerNorm()(x)
            x = nn.MultiHeadDotProductAttention(num_heads=self.width // 8)(x)
            return nn.Dense(5)(x.mean(1))

    def make(width):
        module = Mixed(width)
        return Model(
            lambda key: module.init(key, jnp.zeros((1, 4), jnp.int32))["params"],
            lambda params, inputs, key=None: module.apply({"params": params}, inputs),
        )

    found = by_path(infer_roles(make, 32, 16))
    attention = {name.split("/")[1]: role.kind for name, role in found.items() if "kernel" in name
                 and "Dot" in name}  # fmt: skip
    assert attention == dict.fromkeys(("query", "key", "value", "out"), "hidden")
    assert found["Dense_0/kernel"].kind == "output"
    assert found["Embed_0/embedding"].kind == found["LayerNorm_0/scale"].kind == "input"
