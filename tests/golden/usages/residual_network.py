"""A wide residual network built from blocks, its kernel run in two parts."""

import numpy as np

import theory as nt

rng = np.random.RandomState(7)
x1, x2 = rng.standard_normal((3, 6, 6, 3)), rng.standard_normal((2, 6, 6, 3))


def block(channels, strides=(1, 1), channel_mismatch=False):
    main = nt.stax.serial(
        nt.stax.Relu(),
        nt.stax.Conv(channels, (3, 3), strides, padding="SAME"),
        nt.stax.Relu(),
        nt.stax.Conv(channels, (3, 3), padding="SAME"),
    )
    shortcut = (
        nt.stax.Conv(channels, (3, 3), strides, padding="SAME")
        if channel_mismatch
        else nt.stax.Identity()
    )
    return nt.stax.serial(nt.stax.FanOut(2), nt.stax.parallel(main, shortcut), nt.stax.FanInSum())


body = nt.stax.serial(
    nt.stax.Conv(8, (3, 3), padding="SAME"),
    block(8),
    block(16, (2, 2), channel_mismatch=True),
)
head = nt.stax.serial(nt.stax.AvgPool((3, 3)), nt.stax.Flatten(), nt.stax.Dense(10, 1.0, 0.0))
_, _, whole_fn = nt.stax.serial(body, head)
_, _, body_fn = body
_, _, head_fn = head

result = {
    "whole": np.stack([*whole_fn(x1, x2, ("nngp", "ntk"))]),
    "in_two_parts": np.stack([*head_fn(body_fn(x1, x2), get=("nngp", "ntk"))]),
}
