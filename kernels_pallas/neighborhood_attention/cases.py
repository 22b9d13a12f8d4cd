"""One named table of problems, which feeds the benchmarks and their tests."""

from __future__ import annotations

from typing import Any

from kernels_pallas.neighborhood_attention.call import Call


def case(space: tuple[int, ...], window: tuple[int, ...], **facts: Any) -> Call:
    """A call with what is not given neutral: batch 1, bfloat16, equal heads of 128, no option."""
    neutral = {"dilation": 1, "stride": 1, "causal": False}
    filled = {name: (value,) * len(space) for name, value in neutral.items()}
    made: dict[str, Any] = {"batch": 1, "dtype": "bfloat16", "heads": 1, "head_dim": 128}
    made |= filled | facts
    made = {"kv_heads": made["heads"], "value_dim": made["head_dim"], **made}
    return Call(space=space, window=window, **{"scale": made["head_dim"] ** -0.5, **made})


def _small(space: tuple[int, ...], window: tuple[int, ...], **facts: Any) -> Call:
    return case(space, window, heads=4, head_dim=32, dtype="float32", **facts)


# Beside PyTorch on a CPU: seconds a case.
CPU = {
    "2d 56 w7": _small((56, 56), (7, 7)),
    "2d 56 w13": _small((56, 56), (13, 13)),
    "2d 56 w7 d2": _small((56, 56), (7, 7), dilation=(2, 2)),
    "1d 4096 w129": _small((4096,), (129,)),
    "3d 8x28x28 w3,7,7": _small((8, 28, 28), (3, 7, 7)),
}

# Beside dense flash attention on a GPU; the strides make the second and fourth block-sparse.
GPU = {
    "2d 256 w80": case((256, 256), (80, 80), heads=24),
    "2d 256 w80 s16": case((256, 256), (80, 80), stride=(16, 16), heads=24),
    "3d 30x48x80 w18,24,24": case((30, 48, 80), (18, 24, 24), heads=24),
    "3d 30x48x80 w18,24,24 s16,8,8": case((30, 48, 80), (18, 24, 24), stride=(16, 8, 8), heads=24),
    "1d 32768 w2048": case((32768,), (2048,), heads=24),
}

__all__ = ["CPU", "GPU", "case"]
