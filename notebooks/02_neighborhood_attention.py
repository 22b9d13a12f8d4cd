# %% [markdown]
# # Neighborhood attention
#
# Softmax attention in which every position sees a window around itself, and nothing else:
#
# $$ y_i = \sum_{j \in N(i)} \frac{\exp(q_i \cdot k_j / \sqrt{d})}
#    {\sum_{j' \in N(i)} \exp(q_i \cdot k_{j'} / \sqrt{d})}\, v_j . $$
#
# The cost grows with the length times the window, not with the length squared. This notebook shows
# which keys a query attends, that the operator computes that sum, what dilation does to the reach
# of stacked layers, and how two attentions are merged into one. It ends with a classifier of
# images.

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from farwide.data import digits, image_task
from farwide.models import ImageConfig, count_parameters, dense_kernels, image_model
from farwide.plotting.style import STYLE
from farwide.training import AdamW, Schedule, StepOptions, make_trainer
from kernels_pallas import merge_attentions, neighborhood_attention

plt.rcParams.update(STYLE)
TOY = bool(os.environ.get("FARWIDE_TOY"))  # small sizes, for a quick check that all of it runs

# %% [markdown]
# ## Which keys a query attends
#
# With all scores equal and values one-hot, the output *is* the matrix of attention weights. At the
# borders the window does not shrink, it moves inside: every query attends the same number of keys.
# A causal window looks back and does shrink at the start. With dilation 2, even positions attend
# even ones and odd ones odd.


# %%
def weights(length: int, **options) -> np.ndarray:
    """[query, key]: attention weights when all scores are equal."""
    q = jnp.zeros((1, length, 1, 4))
    v = jnp.eye(length)[None, :, None]
    return np.asarray(neighborhood_attention(q, q, v, **options)[0, :, 0])


OPTIONS = {
    "window 5": {"window": 5},
    "window 5, causal": {"window": 5, "causal": True},
    "window 5, dilation 2": {"window": 5, "dilation": 2},
    "window 5, stride 5": {"window": 5, "stride": 5},
}
fig, axes = plt.subplots(1, 4, figsize=(9.6, 2.9), layout="constrained")
for ax, (title, options) in zip(axes, OPTIONS.items(), strict=True):
    ax.imshow(weights(20, **options) > 0, cmap="Blues", vmin=0, vmax=1.6)
    ax.set(title=title, xlabel="key", xticks=range(0, 20, 5), yticks=range(0, 20, 5))
    ax.grid(False)
axes[0].set_ylabel("query")
plt.show()

# %%
for title, options in OPTIONS.items():
    found = weights(20, **options)
    assert np.allclose(found.sum(axis=1), 1, atol=1e-6)
    print(f"{title:22s} keys a query: {(found > 0).sum(1).min()} to {(found > 0).sum(1).max()}")

# %% [markdown]
# ## The definition, and the operator
#
# The sum above in NumPy and float64, one query at a time, on an image: two axes of space, a window
# of 3 x 5.

# %%
rng = np.random.default_rng(0)
height, width, heads, dim = 7, 9, 2, 8
q, k, v = rng.standard_normal((3, 1, height, width, heads, dim))


def inside(i: int, length: int, window: int) -> range:
    """The window around i, moved inside 0..length-1."""
    first = min(max(i - window // 2, 0), length - window)
    return range(first, first + window)


expected = np.zeros_like(q)
for h in range(heads):
    for r in range(height):
        for c in range(width):
            keys = [(a, b) for a in inside(r, height, 3) for b in inside(c, width, 5)]
            scores = np.array([q[0, r, c, h] @ k[0, a, b, h] for a, b in keys]) / dim**0.5
            p = np.exp(scores - scores.max())
            values = np.array([v[0, a, b, h] for a, b in keys])
            expected[0, r, c, h] = p @ values / p.sum()

q32, k32, v32 = (x.astype(np.float32) for x in (q, k, v))
y = neighborhood_attention(q32, k32, v32, window=(3, 5))
error = np.linalg.norm(y - expected) / np.linalg.norm(expected)
print(f"neighborhood_attention against the sum in float64: relative error {error:.1e} (float32)")
assert error < 1e-6

# %% [markdown]
# ## How far stacked layers see
#
# A layer of window w moves information by about w / 2 positions. Layers whose dilations double move
# it exponentially far at the same cost. The derivative of the last layer's output in the middle
# with respect to every input shows the receptive field.


# %%
def reach(dilations: tuple[int, ...], length: int = 128) -> np.ndarray:
    """|d output in the middle / d input|, after a layer for each dilation."""

    def stack(x):
        for dilation in dilations:
            h = x[None, :, None, None]
            x = neighborhood_attention(h, h, h, window=5, dilation=dilation)[0, :, 0, 0]
        return x[length // 2]

    x = jax.random.normal(jax.random.key(0), (length,))
    return np.abs(np.asarray(jax.jit(jax.grad(stack))(x)))


fig, ax = plt.subplots(figsize=(7.4, 2.4), layout="constrained")
STACKS = {"dilations 1, 1, 1": (1, 1, 1), "dilations 1, 4, 16": (1, 4, 16)}
for row, (title, dilations) in enumerate(STACKS.items()):
    seen = np.flatnonzero(reach(dilations) > 0)
    print(f"{title}: inputs {seen.min()} to {seen.max()}, {len(seen)} of them")
    ax.scatter(seen, np.full(len(seen), row), s=9, label=title)
ax.set(yticks=[0, 1], yticklabels=list(STACKS), xlabel="input position", xlim=(0, 127))
ax.set_ylim(-0.6, 1.6)
ax.set_title("What the middle position sees after three layers of window 5")
plt.show()

# %% [markdown]
# ## Merging attentions
#
# `return_lse=True` also returns the logarithm of each softmax's denominator. With it, attentions
# over disjoint sets of keys merge into the attention over their union: here a window and four
# additional keys that every query sees, against one call that has both.

# %%
extra_k, extra_v = rng.standard_normal((2, 1, 4, heads, dim)).astype(np.float32)
near, near_lse = neighborhood_attention(q32, k32, v32, window=3, return_lse=True)
scores = jnp.einsum("brchd,bnhd->brchn", q32, extra_k) / dim**0.5
far = jnp.einsum("brchn,bnhd->brchd", jax.nn.softmax(scores), extra_v)
merged, _ = merge_attentions([near, far], [near_lse, jax.nn.logsumexp(scores, -1)])
once = neighborhood_attention(
    q32, k32, v32, window=3, additional_keys=extra_k, additional_values=extra_v
)
print(f"merged against one call: largest difference {float(jnp.abs(merged - once).max()):.1e}")
assert np.allclose(merged, once, atol=1e-5)

# %% [markdown]
# ## A classifier of images
#
# `image_model` stacks such layers on patches. Rotations of queries and keys tell it how far apart
# things are, `positions=True` where they are: without it the same training ends at 65%. The same
# block with attention to every position, or with a convolution, is one word away.

# %%
task = image_task(digits())
STEPS = 20 if TOY else 300
rows = {}
for kind in ("neighborhood", "attention", "cnn"):
    config = ImageConfig(
        (8, 8), mixer=kind, width=32, depth=2, heads=2, window=3, patch=1, positions=True
    )
    model = image_model(config)
    trainer = make_trainer(model, AdamW().transformation(dense_kernels), StepOptions(clip_norm=1.0))
    rates = Schedule(peak=1e-2, warmup_fraction=0.1).rates(STEPS)
    state = trainer.init(0)
    for step in range(STEPS):
        state = trainer.step(state, task.train(32 * step, 32), rates[step])
    found = trainer.evaluate(state.params, task.test)
    rows[kind] = found.accuracy
    size = count_parameters(state.params).total
    spread = (found.accuracy * (1 - found.accuracy) / len(task.test.targets)) ** 0.5
    print(f"{kind:13s} {size:6,d} parameters, {100 * found.accuracy:.1f} ± {100 * spread:.1f}%")
assert TOY or min(rows.values()) > 0.9

# %% [markdown]
# ## Where to go on
#
# - `docs/neighborhood_attention.md`: options, kernels, costs.
# - `kernels_pallas.neighborhood_attention_spatial`: an image whose axes are split over devices.
# - `python -m experiments.neighborhood_images`: the comparison above on Fashion-MNIST.
