"""What flows through a model: the result of every layer, beside the model's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from farwide.models.model import Model, Params


def activations(
    model: Model, params: Params, inputs: jax.Array
) -> tuple[jax.Array, Mapping[str, jax.Array]]:
    """The outputs of a model, and what each of its Linen modules returned on the way.

    Works on any `Model` with Linen inside, as it is: the calls of modules are listened to. Under
    jit, vmap and grad too, but not through a module that is lifted (nn.scan, nn.remat).

    Args:
      model: whatever it is.
      params: its parameters.
      inputs: a batch.

    Returns:
      (outputs, {path: floating result of that module's call}); a module that is called twice has
      its later results under "path:1", "path:2". Modules that return no floating array (a tuple,
      integers) and dropout are left out, and so is the outermost one, whose result is `outputs`.
    """
    found: dict[str, jax.Array] = {}

    def listen(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        result = call(*args, **kwargs)
        path = "/".join(context.module.path)
        if (
            context.method_name == "__call__"
            and path
            and not isinstance(context.module, nn.Dropout)
            and isinstance(result, jax.Array)
            and jnp.issubdtype(result.dtype, jnp.floating)
        ):
            again = sum(name.split(":")[0] == path for name in found)
            found[f"{path}:{again}" if again else path] = result
        return result

    with nn.intercept_methods(listen):
        outputs = model.apply(params, inputs)
    return outputs, found
