"""The layer that changes nothing."""

from __future__ import annotations

from theory.stax.layer import IDENTITY, Layer, layer_of


def Identity() -> Layer:
    """y = x, K' = K, Theta' = Theta; masks stay."""
    return layer_of(IDENTITY)
