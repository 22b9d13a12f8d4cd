# %% [markdown]
# # Predicting a scaling law from a kernel
#
# How the test error falls with the number of training examples can be computed before anything is
# trained: from the kernel of the infinitely wide network, its eigenvalues on some examples, and the
# target's coefficients along its eigenvectors. This notebook does it for a network of long
# convolutions on handwritten digits, cut into sequences of 16 patches; measures the same curve by
# kernel regression on other digits; compares the exponents; and puts trained networks of finite
# width beside them.

# %%
import os

import jax
import matplotlib.pyplot as plt
import numpy as np
import optax

from farwide.data import digits
from farwide.models import WideConfig, wide_model
from farwide.plotting.style import ACCENT, HELD_OUT, MUTED, STYLE
from theory import spectra

plt.rcParams.update(STYLE)
TOY = bool(os.environ.get("FARWIDE_TOY"))  # small sizes, for a quick check that all of it runs
M = 200 if TOY else 800  # examples that the spectrum is measured on
POOL = 200 if TOY else 600  # other examples, on which regression is run
DRAWS = 3 if TOY else 20

# %% [markdown]
# ## The kernel and its spectrum
#
# One description gives the network and its limit: two blocks of a depthwise long convolution, which
# sees all patches, a mixing of channels and a ReLU; the mean over positions; a readout. Along the
# diagonals of the covariances between positions the limit is itself a long convolution, with the
# variances of the taps. Targets are one-hot rows minus their mean. The modes with large eigenvalues
# are learned first; the target's power in the late modes is what is missing then.

# %%
data = digits()
images = np.concatenate([data.x_train, data.x_test]).reshape(-1, 4, 2, 4, 2).astype(np.float64)
patches = images.transpose(0, 1, 3, 2, 4).reshape(-1, 16, 4)  # (examples, positions, features)
labels = np.concatenate([data.y_train, data.y_test])
x = (patches - patches.mean()) / patches.std()
y = np.eye(10)[labels] - 0.1
order = np.random.default_rng(0).permutation(len(x))
mine, pool, test = order[:M], order[M : M + POOL], order[M + POOL :][:300]

WIDTH = 32 if TOY else 128
config = WideConfig("long_conv", positions=16, features=4, width=WIDTH, depth=2)
kernel_fn = config.limit()


def ntk(a: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    """Gram matrix in float64."""
    with jax.enable_x64(True):
        return np.array(jax.jit(lambda a, b: kernel_fn(a, b, "ntk"))(a, b))


K = ntk(x[mine])
scale = np.trace(K) / M
spectrum = spectra.empirical_spectrum(K / scale, y[mine])

fig, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.0), layout="constrained")
i = np.arange(1, M + 1)
left.loglog(i, spectrum.eigenvalues, color=ACCENT)
left.set(title="Eigenvalues of the NTK", xlabel="mode", ylabel="eigenvalue (trace = 1)")
rest = np.cumsum(spectrum.coefficients[::-1])[::-1] / spectrum.coefficients.sum()
right.loglog(i, rest, color=ACCENT)
right.set(title="Power of the target not before this mode", xlabel="mode", ylabel="share")
plt.show()

# %% [markdown]
# ## The predicted curve
#
# The eigenlearning equations turn the spectrum into a test error for every n. On M examples all of
# the target lies in M modes, so the plain prediction is too low, by the factor 1 - n/M exactly when
# there is no ridge. The corrected one answers the question that has an unbiased answer: the error
# on the other M - n examples after training on n of the M. Spectra of halves of the examples give
# the band: how well M examples tell the curve. They also show a bias of few examples, which is left
# in here (`bias="kept"`): it is removed well for n below M/5, and this curve goes on to n near M/2.

# %%
RIDGE = 1e-3
n = np.unique(np.round(np.geomspace(8, 0.45 * M, 8)).astype(int))
plain = spectra.learning_curve(spectrum, n, ridge=RIDGE).test
predicted = spectra.predicted_curve(K / scale, y[mine], n, ridge=RIDGE, bias="kept")
print(f"error ~ n^-{predicted.exponent.value:.3f}", end=", ")
print(f"95% from {predicted.exponent.low:.3f} to {predicted.exponent.high:.3f}")

# %% [markdown]
# ## The measured curve
#
# Kernel regression on n examples of the pool, drawn anew each time; none of them was used above.

# %%
Kp, Kt = ntk(x[pool]) / scale, ntk(x[test], x[pool]) / scale
rng = np.random.default_rng(1)
measured, spread, every = [], [], []
for size in n:
    errors = []
    for _ in range(DRAWS):
        some = rng.permutation(POOL)[:size]
        weights = np.linalg.solve(Kp[np.ix_(some, some)] + RIDGE * np.eye(size), y[pool][some])
        errors.append(((Kt[:, some] @ weights - y[test]) ** 2).sum(1).mean())
    every.append(errors)
    measured.append(np.mean(errors))
    spread.append(np.std(errors) / DRAWS**0.5)
measured, spread = np.array(measured), np.array(spread)
for size, guess, found, error in zip(n, predicted.test, measured, spread, strict=True):
    print(f"n = {size:4d}: predicted {guess:.4f}, measured {found:.4f} ± {error:.4f}")
worst = np.abs(predicted.test / measured - 1).max()
print(f"largest difference {100 * worst:.0f}%, of the plain prediction", end=" ")
print(f"{100 * np.abs(plain / measured - 1).max():.0f}%")
assert worst < (0.4 if TOY else 0.2)

# %% [markdown]
# ## Two exponents
#
# The slope of the least-squares line in log-log over the same n, of the prediction and of each
# measured draw. Draws of one pool share examples, so their scatter is an estimate from below;
# `python -m experiments.predict_scaling` has disjoint training sets.

# %%
slopes = spectra.log_log_exponent(n, np.array(every).T)
error = 2 * slopes.std(ddof=1) / DRAWS**0.5
print(f"predicted {predicted.exponent.value:.3f}, measured {slopes.mean():.3f} ± {error:.3f}")

# %% [markdown]
# ## Networks of finite width
#
# `wide_model` of the same description, in the NTK parametrisation and with the long convolution of
# `kernels_pallas` inside, trained by gradient descent with momentum, at a rate below what the
# kernel's largest eigenvalue allows. Its random
# function at the start is subtracted: the kernel's prediction is a mean over all networks, in which
# these cancel. What still differs is the finite width and the finite time.

# %%
model = wide_model(config)
# The loss is a mean over examples of squared errors: its curvature is 2 K / n.
optimizer = optax.sgd(0.2 * M / np.linalg.eigvalsh(K)[-1], momentum=0.9, nesterov=True)


@jax.jit
def train(key, inputs, targets):
    """Parameters at the start and after the last step, each on all of the examples."""
    start = model.init(key)
    first = model.apply(start, inputs)

    def loss(params):
        return ((model.apply(params, inputs) - first - targets) ** 2).sum(1).mean()

    def step(state, _):
        params, opt = state
        updates, opt = optimizer.update(jax.grad(loss)(params), opt)
        return (optax.apply_updates(params, updates), opt), None

    (end, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), length=100 if TOY else 600)
    return start, end


chosen = n[:: len(n) // 3] if TOY else n[::2]
networks = []
for size in chosen:
    some = rng.permutation(POOL)[:size]
    inputs, targets = x[pool][some].astype(np.float32), y[pool][some].astype(np.float32)
    start, end = train(jax.random.key(int(size)), inputs, targets)
    fresh = x[test].astype(np.float32)
    guess = np.asarray(model.apply(end, fresh) - model.apply(start, fresh))
    networks.append(((guess - y[test]) ** 2).sum(1).mean())
    print(f"n = {size:4d}: a network of width {WIDTH}: {networks[-1]:.4f}")

# %%
fig, ax = plt.subplots(figsize=(6.6, 3.8), layout="constrained")
ax.loglog(n, plain, color=MUTED, ls="--", label="predicted, plain")
ax.loglog(n, predicted.test, color=ACCENT, label="predicted, n of M examples")
ax.fill_between(n, predicted.low, predicted.high, color=ACCENT, alpha=0.2, lw=0, label="95% band")
ax.errorbar(n, measured, yerr=2 * spread, fmt="o", ms=4, color=HELD_OUT, label="kernel regression")
ax.loglog(chosen, networks, "s", mfc="white", color="#3f7d4e", label=f"networks of width {WIDTH}")
ax.set(xlabel="training examples n", ylabel="mean squared test error")
ax.set_title("A learning curve known before training")
ax.legend()
plt.show()

# %% [markdown]
# ## Where to go on
#
# - `python -m experiments.predict_scaling`: six operators on three sets of data, predicted before
#   anything is measured, with trained networks in NTK parametrisation and in muP.
# - `python -m experiments.ntk_learning_curves`: the same on Fashion-MNIST, 8000 examples, to 3%.
# - `docs/spectra.md`: the equations, tails beyond M, random features, regimes.
# - `farwide fit`: laws fitted to logs of runs.
