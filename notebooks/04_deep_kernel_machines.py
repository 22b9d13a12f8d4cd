# %% [markdown]
# # Deep kernel machines
#
# An infinitely wide Bayesian network is a Gaussian process, its NNGP: layer after layer a kernel is
# applied to a Gram matrix, K(K(..K(G_0))), and the labels have no say in it. So nothing is learned
# between the inputs and the last layer. A deep kernel machine is the other limit of the same
# network, in which the number of outputs grows along with the width: the Gram matrix of every layer
# is then free to move towards what explains the labels, at a price nu. The NNGP is nu = inf.
#
# This notebook fits the full machine (a Gram matrix over all training inputs for each layer), looks
# at what it learns, checks it against two things that are known, trains sparse and convolutional
# machines, and ends with what can go wrong.

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from farwide.data import balanced, digits
from farwide.plotting import Panel, Series, nu_sweep
from farwide.plotting.style import ACCENT, MUTED, STYLE
from theory import dkm

plt.rcParams.update(STYLE)
TOY = bool(os.environ.get("FARWIDE_TOY"))  # small sizes, for a quick check that all of it runs

# %% [markdown]
# ## A Gram matrix that labels cannot change
#
# Images of four digits, sorted by class. All that a kernel method sees of them is the Gram matrix
# G_0 = X X^T / features. With nu = inf, other labels give the same Gram matrices, to the last bit.

# %%
CLASSES, EACH = (3, 5, 8, 9), 5 if TOY else 20
data = digits()
chosen = np.concatenate([np.flatnonzero(data.y_train == c)[:EACH] for c in CLASSES])
X = data.x_train[chosen].reshape(len(chosen), -1).astype(np.float64)
X = (X - X.mean()) / X.std()
G0 = X @ X.T / X.shape[1]
Y = np.repeat(np.eye(len(CLASSES)), EACH, axis=0) - 1 / len(CLASSES)
Y = Y / Y.std()
DEPTH = 2 if TOY else 3
SETTINGS = {"depth": DEPTH, "kernel": "relu", "noise_variance": 0.1, "jitter": 1e-4}

with jax.enable_x64(True):
    nngp = dkm.fit_grams(G0, Y, nu=np.inf, **SETTINGS)
    shuffled = dkm.fit_grams(G0, np.random.default_rng(0).permutation(Y), nu=np.inf, **SETTINGS)
for before, after in zip(nngp.grams, shuffled.grams, strict=True):
    np.testing.assert_array_equal(before, after)
print("labels changed, Gram matrices did not")

# %% [markdown]
# ## The objective
#
# With K_l = K(G_{l-1}) the prior covariance of layer l's features, a deep kernel machine maximises
# over G_1 .. G_L
#
# $$ \mathcal L = \sum_c \log \mathcal N\left(y_c;\, 0,\, K(G_L) + s^2 I\right)
#   - \sum_{l=1}^{L} \nu_l \, \mathrm{KL}\left(\mathcal N(0, G_l) \,\|\, \mathcal N(0, K_l)\right).
# $$
#
# The first term wants a last Gram matrix under which the labels are likely. Each KL holds a layer
# near what its input predicts. At a high price every G_l stays at K_l, which is the NNGP; as the
# price falls, blocks appear: images of one class become alike, others unlike, more so with depth.

# %%
PRICES = (np.inf, 10.0, 1.0, 0.1)
with jax.enable_x64(True):
    fits = [dkm.fit_grams(G0, Y, nu=nu, steps=200 if TOY else 500, **SETTINGS) for nu in PRICES]


def correlation(G):
    scale = np.sqrt(np.diag(G))
    return np.asarray(G) / scale / scale[:, None]


fig, axes = plt.subplots(4, DEPTH + 1, figsize=(2 * DEPTH + 2, 8.4), layout="constrained")
for i, (row, nu, fitted) in enumerate(zip(axes, PRICES, fits, strict=True)):
    for layer, (ax, G) in enumerate(zip(row, (G0, *fitted.grams), strict=True)):
        image = ax.imshow(correlation(G), vmin=-1, vmax=1, cmap="RdBu_r", interpolation="nearest")
        middle = EACH * (np.arange(len(CLASSES)) + 0.5) - 0.5
        ax.set_xticks(middle, [str(c) for c in CLASSES])
        ax.set_yticks(middle, [str(c) for c in CLASSES])
        ax.grid(visible=False)
        if i == 0:
            ax.set_title("inputs, G_0" if layer == 0 else f"layer {layer}, G_{layer}")
    row[0].set_ylabel("ν = ∞ (NNGP)" if nu == np.inf else f"ν = {nu:g}")
for ax in axes[-1]:
    ax.set_xlabel("digit")
fig.colorbar(image, ax=axes, shrink=0.5, label="correlation of two images")
fig.suptitle("The cheaper a representation, the more it knows of the classes")
plt.show()
for nu, fitted in zip(PRICES, fits, strict=True):
    found = fitted.objective
    kls = ", ".join(f"{float(kl):.1f}" for kl in found.kls)
    print(f"nu {nu:5g}: log likelihood {float(found.log_likelihood):8.1f}, KL of layers {kls}")

# %% [markdown]
# ## Check 1: linear kernels have a closed form
#
# With K(G) = G, equal prices and the last Gram matrix given, the best way from G_0 to G_{L+1} is
# the geometric one, G_l = G_0 (G_0^-1 G_{L+1})^(l / (L+1)): every layer moves as far as the others.
# Its log determinants lie on a line. No noise, and as many outputs as nu, give the objective that
# last Gram matrix.

# %%
rng = np.random.default_rng(1)
P, HIDDEN = 5, 2 if TOY else 4
A, B = rng.standard_normal((2, P, 8))
start, end = A @ A.T / 8, 3 * B @ B.T / 8
targets = np.sqrt(P) * np.linalg.cholesky(end)  # targets targets^T / nu = end, with nu = P
with jax.enable_x64(True):
    linear = dkm.fit_grams(
        start, targets, depth=HIDDEN, kernel="linear", nu=float(P), noise_variance=0.0, jitter=0.0
    )
values, vectors = np.linalg.eig(np.linalg.solve(start, end))
back = np.linalg.inv(vectors)
shares = np.arange(HIDDEN + 2) / (HIDDEN + 1)
path = [np.real(start @ vectors @ np.diag(values**share) @ back) for share in shares]
fitted_path = [np.asarray(G) for G in linear.grams]
error = max(np.abs(G - exact).max() for G, exact in zip(fitted_path, path[1:-1], strict=True))
print(f"largest difference from the closed form: {error:.1e}")

fig, ax = plt.subplots(figsize=(5.5, 2.8), layout="constrained")
ax.plot(
    range(HIDDEN + 2), [np.linalg.slogdet(G)[1] for G in path], color=MUTED, label="closed form"
)
ax.plot(
    range(1, HIDDEN + 1), [np.linalg.slogdet(G)[1] for G in fitted_path], "o", color=ACCENT,
    label="fitted",
)  # fmt: skip
ax.set(title="Linear kernels: a geometric path", xlabel="layer", ylabel="log determinant of G")
ax.set_xticks(range(HIDDEN + 2))
ax.legend()
plt.show()

# %% [markdown]
# ## Check 2: wide deep Gaussian processes
#
# A deep Gaussian process with N features a layer, and every output seen N times, has Gram matrices
# F F^T / N. Sampled by a Langevin algorithm, their posterior mean approaches the deep kernel
# machine's as 1 / N. (Without the copies of the outputs it would approach the NNGP's.)

# %%
toy = np.random.default_rng(0).standard_normal((6, 2))
toy_G0, toy_y = toy @ toy.T / 2, np.sin(2 * toy[:, 0]) + 0.3 * toy[:, 1]
problem = {"depth": 1, "kernel": "squared_exponential", "nu": 1.0, "noise_variance": 0.1}
widths = (8,) if TOY else (4, 16, 64)
with jax.enable_x64(True):
    limit = np.asarray(dkm.fit_grams(toy_G0, toy_y, **problem).grams[0])
    errors = []
    for width in widths:
        sampled = dkm.sample_deep_gp(
            jax.random.key(width), toy_G0, toy_y, width=width, chains=8,
            warmup=300 if TOY else 1000, steps=1000 if TOY else 8000, **problem,
        )  # fmt: skip
        gap = np.asarray(sampled.mean()[0]) - limit
        errors.append(np.linalg.norm(gap) / np.linalg.norm(limit))
fig, ax = plt.subplots(figsize=(5.5, 2.8), layout="constrained")
ax.loglog(widths, errors, "o-", color=ACCENT, label="deep Gaussian process")
ax.loglog(widths, errors[0] * widths[0] / np.array(widths), ls="--", color=MUTED, label="1 / N")
ax.set(title="Wide is the deep kernel machine", xlabel="width N", ylabel="relative error of G_1")
ax.set_xticks(widths, [str(n) for n in widths])
ax.minorticks_off()
ax.legend()
plt.show()

# %% [markdown]
# ## A sparse machine on digits, and nu as a knob
#
# The full machine has a Gram matrix over all training inputs for each layer. The sparse one has
# some tens of learned inducing points in their place, trains on minibatches, and takes any
# likelihood. It is a list of layers: a kernel, then a Gram layer that may leave it at a price.
# Everything else alike, the sweep of the price says what the learned representation is worth.

# %%
STEPS, COUNT = (40, 20) if TOY else (250, 60)
TRAIN = 200 if TOY else 300
index = balanced(data.y_train, TRAIN, 0)
x, x_test = (part.reshape(len(part), -1) for part in (data.x_train[index], data.x_test))
x, x_test = (x - x.mean()) / x.std(), (x_test - x.mean()) / x.std()
y, y_test = data.y_train[index], data.y_test
batches = np.stack([np.random.default_rng(i).permutation(TRAIN)[:128] for i in range(STEPS)])


def train(network, x, x_test):
    """Error and negative log likelihood of the test images after STEPS steps of Adam."""
    model = dkm.Model(network, dkm.categorical(20))
    optimizer = optax.adam(optax.cosine_decay_schedule(0.03, STEPS), 0.8, 0.9)
    step = dkm.make_step(model, optimizer, len(x))

    @jax.jit
    def fit(key, x, x_test):
        state = dkm.start(dkm.init(model, key, x), optimizer, key)
        state, _ = jax.lax.scan(lambda s, b: step(s, x[b], jnp.asarray(y)[b]), state, batches)
        return state, dkm.predict(model, state.params, x_test, key)

    state, log_p = fit(jax.random.key(0), x, x_test)
    log_p = np.asarray(log_p)
    error = float((log_p.argmax(1) != y_test).mean())
    return state, error, float(-log_p[np.arange(len(log_p)), y_test].mean())


def sparse(nu):
    def block():
        return dkm.kernel("relu"), dkm.gram(nu, parametrisation="relative")

    hidden = [layer for _ in range(1 if TOY else 2) for layer in block()]
    return dkm.serial(dkm.inputs(COUNT), *hidden, dkm.kernel("relu"), dkm.output(10))


sweep = (np.inf, 1.0) if TOY else (np.inf, 1000.0, 100.0, 10.0, 1.0, 0.1, 0.0)
scores = [train(sparse(nu), x, x_test)[1:] for nu in sweep]
columns = list(zip(*scores, strict=True))
panels = {
    "test error": Panel(
        [Series(f"sparse, {TRAIN} digits", sweep, columns[0], [np.nan] * len(sweep))],
        "share of images",
        text=lambda v: f"{100 * v:.3g}%",
    ),
    "negative log likelihood": Panel(
        [Series(f"sparse, {TRAIN} digits", sweep, columns[1], [np.nan] * len(sweep))],
        "nats an image",
    ),
}
nu_sweep(panels, "nu: from the NNGP to a representation that is free")

# %% [markdown]
# ## A convolutional machine
#
# For images, every place is a point, and the inducing points are patches. `mixup` is convolution:
# its inducing points are mixtures of inducing points at a window's places. Here the second window
# is as large as what the first leaves, 6 x 6, so that one place remains; larger images are pooled
# (`global_pool`), and `dkm.resnet` puts such layers together at any depth.

# %%
images, images_test = (part[..., None].reshape(-1, 8, 8, 1) for part in (x, x_test))


def convolutional(nu):
    def learned():
        return dkm.gram(nu, parametrisation="relative")

    return dkm.serial(
        dkm.patches(COUNT, padding="VALID"), dkm.kernel("relu"), learned(),
        dkm.mixup(COUNT, 6, padding="VALID"), learned(), dkm.norm(), dkm.kernel("relu"),
        dkm.global_pool(), learned(), dkm.kernel("relu"), dkm.output(10),
    )  # fmt: skip


for nu in (1.0,) if TOY else (np.inf, 1.0):
    state, error, nll = train(convolutional(nu), images, images_test)
    print(f"convolutional, nu = {nu:g}: error {error:.1%}, {nll:.3f} nats an image")

# %% [markdown]
# ## What can go wrong
#
# Deep kernels map many inputs to nearly the same features, so that Gram matrices come near to
# singular, most of all in float32. Nothing is hidden behind a NaN: the error names the layer and
# its condition number, and carries the last good state. More jitter, float64, and for sparse
# machines the Taylor form of the KL and stochastic kernel regularisation (`kl="taylor"`,
# `skr=dkm.Skr()`) are the ways out.

# %%
twice = np.concatenate([X[:20], X[:20]]).astype(np.float32)  # each image twice: singular
try:
    dkm.fit_grams(
        twice @ twice.T / 64, np.ones(40, np.float32), depth=1, kernel="relu", nu=1.0,
        noise_variance=0.1, jitter=0.0,
    )  # fmt: skip
except dkm.Diverged as error:
    print(error)

# %% [markdown]
# `dkm.conditions` looks at a machine before it fails. Below, the convolutional one after training.
# The first line is inf where patches of 9 pixels are fewer dimensions than inducing points: jitter
# is added where a layer solves, and a kernel makes the rank full.

# %%
for found in dkm.conditions(convolutional(1.0), state.params["network"], jnp.asarray(images[:64])):
    print(f"{found.layer:28s} {found.condition_number:8.1e}")

# %% [markdown]
# And one thing that is no numerical failure: with one output and a *learned* noise variance, a low
# price overfits. The representation then explains every target, the noise goes to zero, and
# predictions are far too sure. `experiments/dkm_vs_nngp.py` shows it; a known noise variance or a
# price of 1 and more kept it away there.
