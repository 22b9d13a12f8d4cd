"""Every architecture of the golden values, by name."""

from __future__ import annotations

from .flat import COMBINED, NONLINEARITIES
from .spatial import SPATIAL
from .structured import ATTENTION, GRAPHS, MASKED

ARCHITECTURES = {**NONLINEARITIES, **COMBINED, **SPATIAL, **ATTENTION, **MASKED, **GRAPHS}

# Near relatives of others, compared by the slow tests alone: compiling takes all of the time.
RELATIVES = (
    *("relu_stabilised", "leaky_relu", "sigmoid_like", "cos", "gelu_approximate"),
    *("exp_normalized_clipped", "elementwise_d_nngp_fn", "no_bias", "nested", "dropout_test"),
    *("conv_1d", "conv_residual", "conv_transpose_valid_pooled", "conv_transpose_circular"),
    *("conv_local_standard", "avg_pool_same_overlapping", "flatten_inputs", "dropout_pooled"),
    *("image_resize_nearest", "dot_general_scale", "dot_general_contract", "index_reversed"),
    *("fan_in_concat_channels", "fan_in_prod_pooled", "layer_norm_on_places"),
    *("attention_options", "attention_relu", "attention_abs", "attention_embedding_sum"),
    *("attention_flatten", "masked_attention_identity", "masked_index", "masked_sum_pool"),
    *("masked_concat", "masked_conv_flatten", "graph_flatten", "graph_of_rows"),
    "graph_of_pixels",
)
