# %% [markdown]
# # The neural tangent kernel against training
#
# A wide network in the NTK parametrisation, trained by gradient descent, moves so little that its
# tangent kernel stays what it was at the start, and what it was at the start does not depend on the
# draw. So an infinitely wide network can be trained by linear algebra. This notebook compares that
# prediction with training: the kernel, the path of the outputs, and the functions in the end.

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import theory
from farwide.plotting.style import ACCENT, BAND, HELD_OUT, MUTED, STYLE
from theory import predict, stax

plt.rcParams.update(STYLE)
TOY = bool(os.environ.get("FARWIDE_TOY"))  # small sizes, for a quick check that all of it runs

# %% [markdown]
# ## One architecture, two descriptions
#
# `init_fn` and `apply_fn` are a network of some width, `kernel_fn` is its limit. Inputs lie on the
# circle, so that a function of one angle can be drawn.


# %%
def network(width: int) -> stax.Layer:
    """Two hidden ReLU layers with small biases."""
    hidden = [stax.serial(stax.Dense(width, 2**0.5, 0.1), stax.Relu())] * 2
    return stax.serial(*hidden, stax.Dense(1, 1.0, 0.1))


def circle(angles) -> jax.Array:
    """(points, 2)."""
    return jnp.stack([jnp.cos(jnp.asarray(angles)), jnp.sin(jnp.asarray(angles))], axis=1)


ANGLES = np.linspace(-np.pi, np.pi, 33 if TOY else 101)
TRAIN = np.array([-2.4, -1.1, 0.3, 1.9])
x, x_train = circle(ANGLES), circle(TRAIN)
y_train = (x_train[:, :1] * x_train[:, 1:]) * 2
limit = network(1).kernel_fn

# %% [markdown]
# ## The kernel at the start
#
# The empirical NTK of finite networks at the point (1, 0), several draws for a narrow and a wide
# one, against the limit. Its spread falls as one over the root of the width.

# %%
WIDTHS = (32, 256) if TOY else (64, 1024)
SEEDS = 3 if TOY else 6
anchor = circle([0.0])


def tangent(width: int, keys: jax.Array) -> jax.Array:
    """(draws, angles): NTK between (1, 0) and the circle, of one network for each key."""
    init_fn, apply_fn, _ = network(width)
    ntk_fn = theory.empirical_ntk_fn(apply_fn)

    def one(key):
        _, params = init_fn(key, (1, 2))
        return ntk_fn(anchor, x, params)[0]

    return jax.jit(lambda keys: jax.lax.map(one, keys))(keys)


exact = np.asarray(limit(anchor, x, "ntk"))[0]
fig, axes = plt.subplots(1, 2, figsize=(8.4, 2.9), layout="constrained", sharey=True)
for ax, width in zip(axes, WIDTHS, strict=True):
    draws = np.asarray(tangent(width, jax.random.split(jax.random.key(0), SEEDS)))
    ax.plot(ANGLES, draws.T, color=MUTED, lw=0.8)
    ax.plot(ANGLES, exact, color=ACCENT, lw=1.8, label="limit")
    ax.set(title=f"width {width}, {SEEDS} draws", xlabel="angle (radians)")
    error = np.linalg.norm(draws - exact) / np.linalg.norm(exact) / SEEDS**0.5
    print(f"width {width:5d}: relative error of one draw {error:.3f}")
axes[0].set_ylabel("NTK with the point (1, 0)")
axes[0].legend()
plt.show()

# %% [markdown]
# ## The path of training
#
# Full-batch gradient descent, several draws of a wide network. A step with learning rate r on the
# mean of (f - y)^2 / 2 is a time r of the limit's dynamics.

# %%
STEPS = 200 if TOY else 1000
RATE = 0.5
init_fn, apply_fn, _ = network(WIDTHS[1])


def train(key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Outputs on the training points at every step, and on the circle in the end."""
    _, params = init_fn(key, (1, 2))

    def loss(params):
        return ((apply_fn(params, x_train) - y_train) ** 2).mean() / 2

    def step(params, _):
        now = apply_fn(params, x_train)[:, 0]
        return jax.tree.map(lambda p, g: p - RATE * g, params, jax.grad(loss)(params)), now

    params, path = jax.lax.scan(step, params, length=STEPS)
    return path, apply_fn(params, x)[:, 0]


keys = jax.random.split(jax.random.key(1), 4 if TOY else 16)
paths, functions = (np.asarray(found) for found in jax.jit(lambda k: jax.lax.map(train, k))(keys))

# %% [markdown]
# The loss of the limit, given a network's own outputs at the start, is that of linear dynamics:
# f(t) - y = exp(-Theta t / n) (f(0) - y).

# %%
theta = np.asarray(limit(x_train, None, "ntk"), np.float64)
values, vectors = np.linalg.eigh(theta / len(TRAIN))
times = RATE * np.arange(STEPS)
start = (paths[:, 0] - np.asarray(y_train)[:, 0]) @ vectors  # (draws, modes)
linear = (start[:, None] * np.exp(-np.outer(times, values))) ** 2
fig, ax = plt.subplots(figsize=(6.4, 2.9), layout="constrained")
found = ((paths - np.asarray(y_train)[:, 0]) ** 2).mean(2)
ax.semilogy(found[:4].T, color=HELD_OUT, lw=0.9)
ax.semilogy(linear.mean(2)[:4].T, color=ACCENT, lw=0.9, ls="--")
ax.plot([], [], color=HELD_OUT, label=f"trained, width {WIDTHS[1]}")
ax.plot([], [], color=ACCENT, ls="--", label="limit, from the same start")
ax.set(xlabel="step", ylabel="mean squared training error", ylim=(1e-8, 5), xlim=(0, 100))
ax.legend()
plt.show()
for share in (0.1, 0.01):
    ours, theirs = (
        np.median([np.argmax(error <= share * error[0]) for error in errors])
        for errors in (found, linear.mean(2))
    )
    print(
        f"steps until {100 * share:.0f}% of the first error: trained {ours:.0f}, limit {theirs:.0f}"
    )

# %% [markdown]
# ## The functions in the end
#
# Every draw ends in another function that passes through the four points. The limit says how they
# are distributed after a time t: `predict.gradient_descent_mse_ensemble` gives the mean and the
# covariance over all draws, a Gaussian process close to the posterior of the NNGP, but not it.

# %%
predictor = predict.gradient_descent_mse_ensemble(limit, x_train, y_train)
found = predictor(t=RATE * STEPS, x_test=x, get="ntk", compute_cov=True)
mean = np.asarray(found.mean)[:, 0]
deviation = np.sqrt(np.clip(np.diag(np.asarray(found.covariance)), 0, None))
fig, ax = plt.subplots(figsize=(7.4, 3.2), layout="constrained")
band = 1.2816 * deviation
ax.fill_between(ANGLES, mean - band, mean + band, color=BAND, label="limit, 10% to 90%")
ax.plot(ANGLES, mean, color=ACCENT, label="limit, mean")
ax.plot(ANGLES, functions.T, color=MUTED, lw=0.6)
ax.plot([], [], color=MUTED, lw=0.8, label=f"{len(keys)} trained networks, width {WIDTHS[1]}")
ax.plot(TRAIN, np.asarray(y_train)[:, 0], "o", color=HELD_OUT, ms=5, label="training points")
ax.set(xlabel="angle (radians)", ylabel="output")
ax.legend(ncols=2, fontsize=7.5)
plt.show()

inside = np.abs(functions - mean) <= 1.2816 * deviation
away = deviation > 0.05 * deviation.max()  # at the training points there is nothing to be inside of
print(f"outputs between the limit's 10th and 90th percentile: {100 * inside[:, away].mean():.0f}%")
assert 0.5 < inside[:, away].mean() <= 1.0

# %% [markdown]
# ## Where to go on
#
# - `python -m experiments.width_to_ntk`: the same against width, with the slopes of the errors.
# - `docs/infinite_width.md`: layers, predictions, empirical kernels of any model, Linen included.
# - Notebook 06 turns a kernel's spectrum into a learning curve.
