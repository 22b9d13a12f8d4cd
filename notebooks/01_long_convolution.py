# %% [markdown]
# # The long convolution
#
# A filter as long as its input, a different one for each channel:
#
# $$ y_{b,c,t} \;=\; \mathrm{post}_{b,c,t}\Big(\sum_{s \le t} k_{c,s}\, x_{b,c,t-s}
#    + \mathrm{skip}_c\, x_{b,c,t}\Big), \qquad x = \mathrm{pre} \cdot u . $$
#
# It mixes positions as attention does, at the cost of a Fourier transform. This notebook shows
# what the operator computes, the transform of *half* the usual length that computes it, that it
# does not look into the future, and what its gates do. Everything runs on a CPU in seconds.

# %%
import itertools
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from farwide.models import sgconv_taps
from farwide.plotting.style import ACCENT, HELD_OUT, MUTED, STYLE
from kernels_pallas import long_conv, long_conv_spectrum

plt.rcParams.update(STYLE)
TOY = bool(os.environ.get("FARWIDE_TOY"))  # small sizes, for a quick check that all of it runs
LENGTH = 128 if TOY else 512
CHANNELS = 4

# %% [markdown]
# ## The definition, and the operator
#
# The definition is a double loop. `long_conv` computes the same sums by Fourier transforms.

# %%
rng = np.random.default_rng(0)
u = rng.standard_normal((2, CHANNELS, LENGTH)).astype(np.float32)
decay = np.exp(-np.arange(LENGTH) / (LENGTH / 8))
k = (rng.standard_normal((CHANNELS, LENGTH)) * decay).astype(np.float32)


def direct(u: np.ndarray, k: np.ndarray) -> np.ndarray:
    """The causal sum in float64, one lag at a time."""
    u, k = u.astype(np.float64), k.astype(np.float64)
    y = np.zeros_like(u)
    for s in range(k.shape[-1]):
        y[..., s:] += k[:, s, None] * u[..., : u.shape[-1] - s]
    return y


expected = direct(u, k)
y = long_conv(u, k)
error = np.linalg.norm(y - expected) / np.linalg.norm(expected)
print(f"long_conv against the direct sum in float64: relative error {error:.1e} (float32)")
assert error < 1e-6

# %% [markdown]
# As a matrix that acts on positions, one channel of it is lower triangular (no future) and
# constant along its diagonals (the same filter everywhere). The derivative of the output with
# respect to the input is that matrix; JAX gives it in forward and in reverse mode.

# %%
small = 48
matrix = jax.jacfwd(lambda v: long_conv(v[None, None], k[:1, :small])[0, 0])(jnp.zeros(small))
reverse = jax.jacrev(lambda v: long_conv(v[None, None], k[:1, :small])[0, 0])(jnp.zeros(small))
assert np.allclose(matrix, reverse, atol=1e-5)

fig, ax = plt.subplots(figsize=(3.6, 3.4), layout="constrained")
limit = float(jnp.abs(matrix).max())
image = ax.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit)
ax.set(title="One channel as a matrix", xlabel="input position", ylabel="output position")
ax.grid(False)
fig.colorbar(image, ax=ax, label="weight", shrink=0.8)
plt.show()

# %% [markdown]
# ## Half the length
#
# A Fourier transform of length N computes *circular* convolution: what runs over the end comes
# back at the start. The usual cure is to pad both signals to length 2N. There is a cheaper one.
# Let
#
# $$ d_n = e^{-i\pi n/2N}, \qquad \tilde F x = \mathrm{FFT}_N(x\, d). $$
#
# Multiplying by $d$ turns a wrap around the end into a factor $d_N = e^{-i\pi/2} = -i$: whatever
# wraps becomes *imaginary*. For real u and k, with $w = u * k$ the full convolution of length
# 2N - 1,
#
# $$ \bar d \cdot \mathrm{IFFT}_N(\tilde F u \cdot \tilde F k) = w_{0..N-1} - i\, w_{N..2N-1}. $$
#
# The real part is the causal convolution, and minus the imaginary part is the tail that padding
# to 2N would have computed only to throw away. It holds for every N, odd ones too. Computer
# arithmetic knows it as right-angle convolution.


# %%
def half_length(u: np.ndarray, k: np.ndarray) -> np.ndarray:
    """The complex signal above: causal part in the real part, minus the tail in the imaginary."""
    n = u.shape[-1]
    d = np.exp(-0.5j * np.pi * np.arange(n) / n)
    return d.conj() * np.fft.ifft(np.fft.fft(u * d) * np.fft.fft(k * d))


for n in (1, 2, 7, 255, 256):
    a, b = rng.standard_normal((2, n))
    full = np.append(np.convolve(a, b), 0.0)
    z = half_length(a, b)
    worst = max(np.abs(z.real - full[:n]).max(), np.abs(-z.imag - full[n:]).max())
    print(f"N = {n:3d}: largest difference from the direct sum {worst:.1e} (float64)")
    assert worst < 1e-12

# %%
a, b = u[0, 0].astype(np.float64), k[0].astype(np.float64)
z = half_length(a, b)
fig, ax = plt.subplots(figsize=(7.4, 2.6), layout="constrained")
ax.plot(np.convolve(a, b), color=MUTED, lw=3.5, alpha=0.35, label="direct sum, 2N - 1 points")
ax.plot(np.arange(LENGTH), z.real, color=ACCENT, lw=1, label="real part: the causal result")
ax.plot(
    LENGTH + np.arange(LENGTH), -z.imag, color=HELD_OUT, lw=1, label="-imaginary part: the tail"
)
ax.set(
    title="One transform of length N holds both halves", xlabel="position t", ylabel="(u * k)(t)"
)
ax.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.22))
plt.show()

# %% [markdown]
# ## It does not look into the future
#
# Change the input from position t₀ on: the outputs before t₀ must not change. Computed by
# transforms they change by rounding, about 1e-7 of the largest output in float32. The direct sum
# (`implementation="reference"`) leaves them exactly alone. One caveat follows from the transform:
# a NaN or an infinity anywhere in a signal spreads to all of its outputs, earlier ones too.

# %%
t0 = LENGTH // 2
changed = u.copy()
changed[..., t0:] += rng.standard_normal(changed[..., t0:].shape).astype(np.float32)

fig, ax = plt.subplots(figsize=(7.4, 2.6), layout="constrained")
for implementation, colour in (("xla", ACCENT), ("reference", HELD_OUT)):
    before = np.asarray(long_conv(u, k, implementation=implementation))
    after = np.asarray(long_conv(changed, k, implementation=implementation))
    change = np.abs(after - before)[0, 0] / np.abs(before).max()
    ax.semilogy(np.maximum(change, 1e-10), color=colour, label=implementation)
    print(f"{implementation:9s}: largest change before t0 is {change[:t0].max():.1e} of max|y|")
    assert change[:t0].max() <= 1e-6
ax.axvline(t0, color=MUTED, lw=0.8, ls="--")
ax.set(
    title="The input changes from t₀ on; so does the output (zero is drawn at 1e-10)",
    xlabel="position t",
    ylabel="|change of y| / max|y|",
)
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# ## Past, future, and around the end
#
# `k_future[c, s-1]` weighs the input s steps *ahead*, which makes the operator bidirectional;
# `mode="circular"` lets the filter run around the end. The answer to a single
# spike, at the orange line, shows each.

# %%
spike = jnp.zeros((1, 1, LENGTH)).at[0, 0, 3 * LENGTH // 4].set(1.0)
taps = jnp.exp(-jnp.arange(LENGTH // 2) / (LENGTH / 12))[None]
answers = {
    "causal": long_conv(spike, taps),
    "with k_future": long_conv(spike, taps, k_future=0.5 * taps),
    "circular": long_conv(spike, taps, mode="circular"),
}
fig, axes = plt.subplots(1, 3, figsize=(7.4, 2.2), sharey=True, layout="constrained")
for ax, (title, answer) in zip(axes, answers.items(), strict=True):
    ax.fill_between(np.arange(LENGTH), answer[0, 0], color=ACCENT, alpha=0.25, lw=0)
    ax.plot(answer[0, 0], color=ACCENT)
    ax.axvline(3 * LENGTH // 4, color=HELD_OUT, lw=0.8)
    ax.set(title=title, xlabel="position t")
axes[0].set_ylabel("answer to a spike")
plt.show()
assert float(jnp.abs(answers["causal"][0, 0, : 3 * LENGTH // 4]).max()) < 1e-6

# %% [markdown]
# ## Gates and skip
#
# A convolution is linear in its input and treats every position alike. The two gates give it what
# attention has: `pre_gate` decides what is *written* into the long memory, `post_gate` decides
# where it is *read* (Hyena and H3 compute both from the input). Below, a marker is written at
# three positions, kept by a filter that does not decay, and read at a fourth: a lookup from far
# away.

# %%
value = jnp.asarray(rng.standard_normal((1, 1, LENGTH)), jnp.float32)
written = (LENGTH // 8, LENGTH // 4, LENGTH // 2)
read = 7 * LENGTH // 8
write = jnp.zeros((1, 1, LENGTH)).at[0, 0, jnp.array(written)].set(1.0)
look = jnp.zeros((1, 1, LENGTH)).at[0, 0, read].set(1.0)
memory = jnp.ones((1, LENGTH))
out = long_conv(value, memory, pre_gate=write, post_gate=look)
print(f"read at {read}: {out[0, 0, read]:+.4f}; the sum of what was written:", end=" ")
print(f"{sum(value[0, 0, t] for t in written):+.4f}")
assert abs(float(out[0, 0, read]) - float(sum(value[0, 0, t] for t in written))) < 1e-4
assert float(jnp.abs(out.at[0, 0, read].set(0)).max()) == 0

# %% [markdown]
# `skip` weighs the input itself, beside the filter; it is the direct path of a state-space model.
# With `layout="BLC"` the input, the gates and the result have channels last; the filter keeps its
# shape.

# %%
skip = jnp.arange(1.0, CHANNELS + 1)
with_skip = long_conv(u, k, skip=skip)
assert np.allclose(with_skip, y + skip[:, None] * u, atol=1e-4)
last = long_conv(u.swapaxes(1, 2), k, skip=skip, layout="BLC")
assert np.allclose(last.swapaxes(1, 2), with_skip, atol=1e-5)

# %% [markdown]
# ## A filter worth learning
#
# One free parameter a tap is a lot, and most of what it learns is noise. SGConv (Li et al. 2022)
# makes the filter from a few coarse pieces: each is twice as long as the one before, and weaker.
# The number of parameters grows with the logarithm of the length.

# %%
scale_dim = 16
scales = 1 + int(np.ceil(np.log2(LENGTH / scale_dim)))
weights = jax.random.normal(jax.random.key(1), (scales, 1, scale_dim))
filter_taps = sgconv_taps(weights, LENGTH)

fig, ax = plt.subplots(figsize=(7.4, 2.4), layout="constrained")
edges = [0, *(scale_dim * 2**i for i in range(scales))]
for i, (low, high) in enumerate(itertools.pairwise(edges)):
    if i % 2:
        ax.axvspan(low, min(high, LENGTH), color=MUTED, alpha=0.08, lw=0)
ax.plot(filter_taps[0], color=ACCENT)
ax.set(
    title=f"SGConv: {LENGTH} taps from {scales} x {scale_dim} = {scales * scale_dim} parameters",
    xlabel="lag s",
    ylabel="k(s)",
    xlim=(0, LENGTH - 1),
)
plt.show()

# %% [markdown]
# When one filter serves many inputs, transform it once. The result is a `Spectrum`, which
# `long_conv` takes in place of the taps.

# %%
spectrum = long_conv_spectrum(jnp.repeat(filter_taps, CHANNELS, axis=0), LENGTH)
once = long_conv(u, spectrum)
assert np.allclose(once, long_conv(u, jnp.repeat(filter_taps, CHANNELS, axis=0)), atol=1e-4)
print(f"spectrum of {spectrum.values.shape[0]} channels, mode {spectrum.mode}")

# %% [markdown]
# The derivation, the numerics and the timings are in `docs/long_conv.md`; the paper behind each
# formula and the test that checks it are in `docs/papers.md`.
