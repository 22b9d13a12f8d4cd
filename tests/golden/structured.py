"""Architectures with masks, attention and graphs."""

from __future__ import annotations

import jax.numpy as jnp

from .architecture import Architecture


def attention(rank=1, **options):
    """Two places' worth of layers around a self-attention layer."""

    def build(s):
        return s.serial(
            s.Conv(4, (2,) * rank, None, "SAME", 1.3, 0.2),
            s.Relu(),
            s.GlobalSelfAttention(4, 6, 5, 2, **options),
            s.Relu(),
            s.GlobalAvgPool(),
            s.Dense(2, 1.1, 0.1),
        )

    return build


ATTENTION = {
    "attention": Architecture(attention(), "sequences"),
    "attention_options": Architecture(
        attention(W_key_std=1.3, W_value_std=0.8, W_query_std=0.7, W_out_std=1.4, b_std=0.3),
        "sequences",
    ),
    "attention_identity": Architecture(
        attention(attention_mechanism="IDENTITY", W_key_std=0.9, b_std=0.2), "sequences"
    ),
    "attention_relu": Architecture(attention(attention_mechanism="RELU"), "sequences"),
    "attention_abs": Architecture(attention(attention_mechanism="ABS"), "sequences"),
    "attention_sqrt_scaling": Architecture(
        attention(linear_scaling=False, attention_mechanism="IDENTITY", W_value_std=1.2, b_std=0.1),
        "sequences",
    ),
    "attention_embedding_sum": Architecture(
        attention(pos_emb_type="SUM", W_pos_emb_std=0.6, val_pos_emb=True), "sequences"
    ),
    "attention_embedding_concat": Architecture(
        attention(
            pos_emb_type="CONCAT",
            n_chan_pos_emb=3,
            pos_emb_p_norm=1,
            pos_emb_decay_fn=lambda d: jnp.exp(-d / 2),
        ),
        "sequences",
        finite=False,  # the root of a covariance of positions is not unique
    ),
    "attention_2d": Architecture(
        attention(rank=2, pos_emb_type="SUM", pos_emb_decay_fn=lambda d: jnp.exp(-d / 3)),
        "small_images",
        finite=False,
    ),
    "attention_flatten": Architecture(
        lambda s: s.serial(
            s.Dense(5, 1.2, 0.1),
            s.GlobalSelfAttention(4, 6, 5, 2, b_std=0.1),
            s.Erf(),
            s.Flatten(),
            s.Dense(2),
        ),
        "sequences",
    ),
}

MASKED = {
    "masked_dense_pooled": Architecture(
        lambda s: s.serial(s.Dense(5, 1.3, 0.2), s.Relu(), s.GlobalAvgPool(), s.Dense(2, 1.1, 0.1)),
        "masked_sequences",
    ),
    "masked_full": Architecture(
        lambda s: s.serial(s.Conv(4, (2,), None, "SAME", 1.3, 0.2), s.Relu(), s.Conv(3, (2,))),
        "masked_sequences",
    ),
    "masked_conv_flatten": Architecture(
        lambda s: s.serial(
            s.Conv(4, (3, 2), None, "SAME", 1.3, 0.2),
            s.Gelu(),
            s.Conv(3, (2, 2), (2, 1), "VALID", 1.2, 0.1),
            s.Cos(),
            s.Flatten(),
            s.Dense(2, 1.1),
        ),
        "masked_images",
    ),
    "masked_conv_pooled": Architecture(
        lambda s: s.serial(
            s.Conv(4, (3, 2), None, "CIRCULAR", 1.3, 0.2),
            s.Relu(),
            s.AvgPool((2, 2), (2, 1), "SAME", normalize_edges=True),
            s.Conv(4, (2, 2), None, "SAME", 1.3, 0.2),
            s.Relu(),
            s.GlobalAvgPool(),
            s.Dense(2),
        ),
        "masked_images",
    ),
    "masked_sum_pool": Architecture(
        lambda s: s.serial(
            s.Conv(4, (2, 2), (2, 1), "SAME", 1.3, 0.2),
            s.Relu(),
            s.SumPool((2, 2), None, "VALID"),
            s.Dense(4, 1.3, 0.2),
            s.Relu(),
            s.GlobalSumPool(),
            s.Dense(2),
        ),
        "masked_images",
    ),
    "masked_layer_norm": Architecture(
        lambda s: s.serial(
            s.Conv(4, (2,), None, "SAME", 1.3, 0.2),
            s.LayerNorm((1, 2)),
            s.Erf(),
            s.GlobalAvgPool(),
            s.Dense(2),
        ),
        "masked_sequences",
    ),
    "masked_residual": Architecture(
        lambda s: s.serial(
            s.Dense(4, 1.2, 0.1),
            s.FanOut(2),
            s.parallel(s.Identity(), s.serial(s.Relu(), s.Conv(4, (2,), None, "SAME", 1.2))),
            s.FanInSum(),
            s.Relu(),
            s.GlobalAvgPool(),
        ),
        "masked_sequences",
    ),
    "masked_concat": Architecture(
        lambda s: s.serial(
            s.FanOut(2),
            s.parallel(s.Dense(4, 1.2, 0.1), s.Conv(4, (2,), None, "VALID", 1.2)),
            s.FanInConcat(1),
            s.Relu(),
            s.GlobalAvgPool(),
        ),
        "masked_sequences",
    ),
    "masked_attention": Architecture(attention(b_std=0.2), "masked_sequences"),
    "masked_attention_identity": Architecture(
        attention(attention_mechanism="IDENTITY", pos_emb_type="SUM"), "masked_sequences"
    ),
    "masked_index": Architecture(
        lambda s: s.serial(
            s.Conv(4, (2,), None, "SAME", 1.3, 0.2),
            s.Relu(),
            s.Index(s.Slice[:, 1:6:2]),
            s.GlobalAvgPool(),
            s.Dense(2),
        ),
        "masked_sequences",
    ),
}

GRAPHS = {
    "graph": Architecture(
        lambda s: s.serial(
            s.Aggregate(),
            s.Dense(5, 1.3, 0.2),
            s.Relu(),
            s.Aggregate(),
            s.Dense(4, 1.1, 0.1),
            s.Relu(),
            s.GlobalSumPool(),
            s.Dense(2, 0.5),
        ),
        "graphs",
    ),
    "graph_flatten": Architecture(
        lambda s: s.serial(
            s.Dense(5, 1.3, 0.2),
            s.Relu(),
            s.Aggregate(),
            s.Dense(4),
            s.Relu(),
            s.Flatten(),
            s.Dense(2),
        ),
        "graphs",
    ),
    "graph_sparse": Architecture(
        lambda s: s.serial(
            s.Dense(5, 1.3, 0.2),
            s.Relu(),
            s.Aggregate(implementation="SPARSE"),
            s.Dense(4, 1.1, 0.1),
            s.Relu(),
            s.GlobalAvgPool(),
            s.Dense(2),
        ),
        "sparse_graphs",
    ),
    "graph_of_rows": Architecture(
        lambda s: s.serial(
            s.Conv(4, (2, 2), None, "SAME", 1.3, 0.2),
            s.Relu(),
            s.Aggregate(aggregate_axis=1),
            s.Dense(4, 1.2),
            s.Relu(),
            s.GlobalAvgPool(),
        ),
        "row_graphs",
    ),
    "graph_of_pixels": Architecture(
        lambda s: s.serial(
            s.Dense(4, 1.3, 0.2),
            s.Relu(),
            s.Aggregate(aggregate_axis=(1, 2)),
            s.Dense(4, 1.2),
            s.Relu(),
            s.GlobalAvgPool(),
        ),
        "pixel_graphs",
    ),
    "graph_masked": Architecture(
        lambda s: s.serial(
            s.Dense(5, 1.3, 0.2), s.Relu(), s.Aggregate(), s.GlobalAvgPool(), s.Dense(2)
        ),
        "masked_graphs",
    ),
}
