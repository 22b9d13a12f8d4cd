"""Neighborhood attention in one, two and three dimensions."""

from __future__ import annotations

from kernels_pallas.neighborhood_attention.api import neighborhood_attention
from kernels_pallas.neighborhood_attention.merge import merge_attentions
from kernels_pallas.neighborhood_attention.sharded import neighborhood_attention_sharded
from kernels_pallas.neighborhood_attention.spatial import neighborhood_attention_spatial

__all__ = [
    "merge_attentions",
    "neighborhood_attention",
    "neighborhood_attention_sharded",
    "neighborhood_attention_spatial",
]
