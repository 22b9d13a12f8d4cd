"""Architectures on places: convolutions, pooling, and what moves or mixes places."""

from __future__ import annotations

import numpy as np

from .architecture import Architecture, residual

# neural_tangents takes the wrong axes of a filter or a shape in ConvLocal and ImageResize where an
# odd number of Convs is before them and pairs of places are held: those start with Dense. Its
# ConvLocal has out_chan channels whatever s[1] is: s stays (1, 1).
SPATIAL = {
    "conv_full": Architecture(
        lambda s: s.serial(s.Conv(4, (2, 3), padding="SAME", W_std=1.3, b_std=0.2), s.Relu()),
        "small_images",
    ),
    "conv_flatten": Architecture(
        lambda s: s.serial(
            s.Conv(4, (3, 3), padding="SAME", W_std=1.3, b_std=0.2),
            s.Relu(),
            s.Conv(3, (3, 2), padding="SAME", W_std=1.4, b_std=0.1),
            s.Relu(),
            s.Flatten(),
            s.Dense(2, 1.2, 0.3),
        ),
        "images",
    ),
    "conv_strided_flatten": Architecture(
        lambda s: s.serial(
            s.Conv(4, (3, 2), (2, 1), "VALID", 1.3, 0.2),
            s.Gelu(),
            s.Conv(3, (2, 3), (1, 2), "SAME", 1.4),
            s.Relu(),
            s.Flatten(),
            s.Dense(2, 1.2, 0.3),
        ),
        "images",
    ),
    "conv_circular_pooled": Architecture(
        lambda s: s.serial(
            s.Conv(4, (3, 3), None, "CIRCULAR", 1.3, 0.2),
            s.Relu(),
            s.Conv(4, (2, 3), (2, 1), "CIRCULAR", 1.1, 0.1),
            s.Relu(),
            s.GlobalAvgPool(),
            s.Dense(2),
        ),
        "images",
    ),
    "myrtle": Architecture(
        lambda s: s.serial(
            s.Conv(4, (3, 3), None, "SAME", 1.4, 0.1),
            s.Relu(),
            s.Conv(4, (3, 3), None, "SAME", 1.4, 0.1),
            s.Relu(),
            s.AvgPool((2, 2), (2, 2)),
            s.Conv(4, (3, 3), None, "SAME", 1.4, 0.1),
            s.Relu(),
            s.AvgPool((2, 2), (2, 2)),
            s.Conv(4, (3, 3), None, "SAME", 1.4, 0.1),
            s.Relu(),
            s.GlobalAvgPool(),
            s.Dense(2, 1.1, 0.2),
        ),
        "even_images",
    ),
    "conv_standard": Architecture(
        lambda s: s.serial(
            s.Conv(4, (3, 3), None, "SAME", 1.3, 0.2, None, "standard", (1, 2)),
            s.Relu(),
            s.Conv(3, (2, 2), (2, 2), "VALID", 1.1, None, None, "standard", (2, 2)),
            s.Relu(),
            s.GlobalSumPool(),
            s.Dense(2, 1.2, 0.3, parameterization="standard", s=(2, 1)),
        ),
        "images",
    ),
    "conv_1d": Architecture(
        lambda s: s.serial(
            s.Conv(4, (3,), (2,), "SAME", 1.3, 0.2),
            s.Erf(),
            s.Conv(4, (2,), None, "VALID"),
            s.Relu(),
            s.GlobalAvgPool(),
            s.Dense(2),
        ),
        "sequences",
    ),
    "conv_3d": Architecture(
        lambda s: s.serial(
            s.Conv(4, (2, 2, 1), None, "SAME", 1.3, 0.2),
            s.Relu(),
            s.AvgPool((2, 1, 2), (1, 1, 2), "SAME"),
            s.Conv(3, (1, 2, 2), None, "VALID", 1.2, 0.1),
            s.Relu(),
            s.GlobalAvgPool(),
        ),
        "volumes",
    ),
    "conv_residual": Architecture(
        lambda s: s.serial(
            s.Conv(4, (3, 3), None, "SAME", 1.2, 0.1),
            residual(
                lambda s: s.serial(
                    s.Relu(),
                    s.Conv(4, (3, 3), None, "SAME", 1.1),
                    s.Relu(),
                    s.Conv(4, (3, 3), None, "SAME", 0.9, 0.2),
                )
            )(s),
            s.Relu(),
            s.GlobalAvgPool(),
            s.Dense(2, 1.1, 0.2),
        ),
        "images",
    ),
    "conv_transpose_same": Architecture(
        lambda s: s.serial(
            s.Conv(4, (2, 2), None, "VALID", 1.3, 0.2),
            s.Relu(),
            s.ConvTranspose(4, (3, 2), (2, 1), "SAME", 1.2, 0.1),
            s.Relu(),
            s.Flatten(),
            s.Dense(2),
        ),
        "small_images",
    ),
    "conv_transpose_valid_pooled": Architecture(
        lambda s: s.serial(
            s.Conv(4, (2, 2), None, "VALID", 1.3, 0.2),
            s.Relu(),
            s.ConvTranspose(4, (2, 3), (1, 2), "VALID", 1.2, 0.1),
            s.Relu(),
            s.GlobalAvgPool(),
            s.Dense(2),
        ),
        "small_images",
    ),
    "conv_transpose_circular": Architecture(
        lambda s: s.serial(
            s.Conv(4, (2, 2), None, "SAME", 1.3, 0.2),
            s.Relu(),
            s.ConvTranspose(4, (3, 2), (1, 2), "CIRCULAR", 1.2, 0.1),
            s.Relu(),
            s.GlobalAvgPool(),
            s.Dense(2),
        ),
        "small_images",
    ),
    "conv_local_flatten": Architecture(
        lambda s: s.serial(
            s.ConvLocal(4, (2, 3), None, "SAME", 1.3, 0.2),
            s.Relu(),
            s.ConvLocal(3, (2, 2), (2, 1), "VALID", 1.2, 0.1),
            s.Relu(),
            s.Flatten(),
            s.Dense(2),
        ),
        "images",
    ),
    "conv_local_pooled": Architecture(
        lambda s: s.serial(
            s.Dense(4, 1.3, 0.2),
            s.Relu(),
            s.ConvLocal(3, (3, 2), (2, 1), "CIRCULAR", 1.2, 0.1),
            s.Relu(),
            s.GlobalAvgPool(),
            s.Dense(2),
        ),
        "small_images",
    ),
    "conv_local_standard": Architecture(
        lambda s: s.serial(
            s.ConvLocal(4, (2, 2), None, "VALID", 1.3, 0.2, None, "standard", (1, 1)),
            s.Relu(),
            s.ConvLocal(3, (2, 2), None, "SAME", 1.3, 0.2, None, "standard", (1, 1)),
            s.Relu(),
            s.GlobalAvgPool(),
            s.Dense(2),
        ),
        "small_images",
    ),
    "avg_pool_normalised_edges": Architecture(
        lambda s: s.serial(
            s.Conv(4, (2, 2), None, "SAME", 1.3, 0.2),
            s.Relu(),
            s.AvgPool((3, 2), (2, 1), "SAME", normalize_edges=True),
            s.Flatten(),
            s.Dense(2),
        ),
        "images",
    ),
    "avg_pool_same_overlapping": Architecture(
        lambda s: s.serial(
            s.Conv(4, (2, 2), None, "SAME", 1.3, 0.2),
            s.Relu(),
            s.AvgPool((3, 2), None, "SAME"),
            s.Conv(3, (2, 2)),
            s.Relu(),
            s.Flatten(),
            s.Dense(2),
        ),
        "images",
    ),
    "avg_pool_circular": Architecture(
        lambda s: s.serial(
            s.Conv(4, (2, 2), None, "SAME", 1.3, 0.2),
            s.Relu(),
            s.AvgPool((3, 2), (2, 3), "CIRCULAR"),
            s.Flatten(),
            s.Dense(2),
        ),
        "images",
    ),
    "sum_pool": Architecture(
        lambda s: s.serial(
            s.Conv(4, (2, 2), None, "SAME", 1.3, 0.2),
            s.Relu(),
            s.SumPool((2, 3), (1, 2), "VALID"),
            s.Conv(3, (2, 1), None, "SAME", 0.7),
            s.Relu(),
            s.GlobalSumPool(),
            s.Dense(2, 0.3),
        ),
        "images",
    ),
    "flatten_inputs": Architecture(
        lambda s: s.serial(s.Flatten(), s.Dense(5, 1.3, 0.2), s.Relu(), s.Dense(2)), "images"
    ),
    "dense_on_places": Architecture(
        lambda s: s.serial(s.Dense(5, 1.3, 0.2), s.Relu(), s.GlobalAvgPool(), s.Dense(2, 1.1)),
        "images",
    ),
    "layer_norm_on_places": Architecture(
        lambda s: s.serial(
            s.Conv(4, (2, 2), None, "SAME", 1.3, 0.2),
            s.LayerNorm((1, 2, 3)),
            s.Relu(),
            s.Conv(4, (2, 2)),
            s.LayerNorm(),
            s.Relu(),
            s.GlobalAvgPool(),
            s.Dense(2),
        ),
        "images",
    ),
    "dropout_pooled": Architecture(
        lambda s: s.serial(
            s.Conv(4, (2, 2), None, "SAME", 1.3, 0.2),
            s.Relu(),
            s.Dropout(0.7),
            s.Conv(4, (2, 2)),
            s.Relu(),
            s.Dropout(0.9),
            s.GlobalAvgPool(),
            s.Dense(2),
        ),
        "small_images",
        finite=False,
    ),
    "image_resize_linear": Architecture(
        lambda s: s.serial(
            s.Dense(4, 1.3, 0.2),
            s.Relu(),
            s.ImageResize((-1, 3, 6, -1), "linear"),
            s.Conv(4, (2, 2)),
            s.Relu(),
            s.GlobalAvgPool(),
            s.Dense(2),
        ),
        "images",
    ),
    "image_resize_nearest": Architecture(
        lambda s: s.serial(
            s.Dense(4, 1.3, 0.2),
            s.Relu(),
            s.ImageResize((-1, 7, 3, -1), "nearest"),
            s.Conv(4, (2, 2)),
            s.Relu(),
            s.Flatten(),
            s.Dense(2),
        ),
        "images",
    ),
    "dot_general_scale": Architecture(
        lambda s: s.serial(
            s.Conv(4, (2, 2), None, "SAME", 1.3, 0.2),
            s.Relu(),
            s.DotGeneral(rhs=1.7),
            s.Flatten(),
            s.Dense(2, 1.1),
        ),
        "images",
    ),
    "dot_general_contract": Architecture(
        lambda s: s.serial(
            s.Conv(4, (2, 2), None, "SAME", 1.3, 0.2),
            s.Relu(),
            s.DotGeneral(
                rhs=np.linspace(-1.0, 1.5, 25).reshape(5, 5),
                dimension_numbers=(((1, 2), (1, 0)), ((), ())),
            ),
            s.Dense(2, 1.1, 0.2),
        ),
        "images",
    ),
    "dot_general_rows": Architecture(
        lambda s: s.serial(
            s.Conv(4, (2, 2), None, "SAME", 1.3, 0.2),
            s.Relu(),
            s.DotGeneral(
                rhs=np.array([1.0, -1.0, 0.5, 0.25, 2.0]),
                dimension_numbers=(((1,), (0,)), ((), ())),
            ),
            s.GlobalAvgPool(),
            s.Dense(2),
        ),
        "images",
    ),
    "index": Architecture(
        lambda s: s.serial(
            s.Conv(4, (2, 2), None, "SAME", 1.3, 0.2),
            s.Relu(),
            s.Index(s.Slice[:, 1:4, ::2]),
            s.Conv(4, (2, 2)),
            s.Relu(),
            s.Index(s.Slice[:, 0]),
            s.Conv(3, (2,)),
            s.GlobalAvgPool(),
            s.Dense(2),
        ),
        "images",
    ),
    "index_reversed": Architecture(
        lambda s: s.serial(
            s.Conv(4, (2, 2), None, "SAME", 1.3, 0.2),
            s.Relu(),
            s.Index(s.Slice[..., ::-1, 1, :]),
            s.Conv(3, (2,), (2,), "VALID", 1.2),
            s.Relu(),
            s.Flatten(),
        ),
        "images",
    ),
    "fan_in_concat_space": Architecture(
        lambda s: s.serial(
            s.FanOut(2),
            s.parallel(
                s.Conv(4, (2, 2), None, "SAME", 1.3, 0.2), s.Conv(4, (1, 2), None, "SAME", 1.1)
            ),
            s.FanInConcat(1),
            s.Relu(),
            s.Conv(3, (2, 2)),
            s.Relu(),
            s.GlobalAvgPool(),
            s.Dense(2),
        ),
        "small_images",
    ),
    "fan_in_concat_channels": Architecture(
        lambda s: s.serial(
            s.FanOut(2),
            s.parallel(
                s.Conv(4, (2, 2), None, "SAME", 1.3, 0.2), s.Conv(2, (1, 2), None, "SAME", 1.1)
            ),
            s.FanInConcat(-1),
            s.Conv(3, (2, 2)),
            s.Relu(),
            s.GlobalAvgPool(),
            s.Dense(2),
        ),
        "images",
    ),
    "fan_in_prod_pooled": Architecture(
        lambda s: s.serial(
            s.Conv(4, (2, 2), None, "SAME", 1.3, 0.2),
            s.FanOut(2),
            s.parallel(
                s.serial(s.Relu(), s.Conv(4, (2, 2), None, "SAME", 1.3, 0.2)),
                s.serial(s.Erf(), s.Conv(4, (1, 2), None, "SAME", 1.1, 0.1)),
            ),
            s.FanInProd(),
            s.GlobalAvgPool(),
            s.Dense(2),
        ),
        "small_images",
    ),
}
