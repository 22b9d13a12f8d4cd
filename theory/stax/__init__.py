"""Networks as triples (init_fn, apply_fn, kernel_fn): finite, and infinitely wide."""

from theory.stax.combinators import parallel, repeat, serial
from theory.stax.dense import Dense
from theory.stax.elementwise import Relu
from theory.stax.layer import Layer
from theory.stax.masked import MaskedArray, unmask_fn

__all__ = ["Dense", "Layer", "MaskedArray", "Relu", "parallel", "repeat", "serial", "unmask_fn"]
