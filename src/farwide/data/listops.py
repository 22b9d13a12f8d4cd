"""ListOps: what does a nested list of operators and digits come to?"""

from __future__ import annotations

import numpy as np

from farwide.data.batching import generated
from farwide.data.expressions import TOKENS, random_trees
from farwide.data.task import Batch, Task
from farwide.validate import at_least

BLOCK = 64  # examples made at once
DRAWN = 4096  # trees drawn at once, of which few have the lengths that are asked for
TRIALS = 500  # rounds of so many after which the lengths are taken for impossible


def list_ops(
    *,
    length: int = 2000,
    shortest: int | None = None,
    depth: int = 10,
    arguments: int = 10,
    seed: int = 0,
    test_examples: int = 1000,
) -> Task:
    """ListOps: the value, 0 to 9, of an expression such as [MAX 4 [MIN 2 9] [SM 7 6] 0].

    A node is one of MIN, MAX, MED (median, rounded down) and SM (sum modulo 10) with probability
    1/4 and has 2 to `arguments` arguments, uniformly; else, or at the greatest depth, it is a
    digit. Expressions are drawn until one has `shortest` to `length` tokens, an opening operator
    and a closing bracket counted as one each. There are 16 tokens. Padding (0) stands on the left,
    so that the expression ends at the last position, whatever its length: a readout of the last
    position sees all of it, a mean over positions sees the padding too.

    Args:
      length: tokens of an example, padding included; longer expressions are not used.
      shortest: tokens of an expression at least, length // 4 where None (500 for 2000, as in the
        Long Range Arena).
      depth: greatest depth of the tree, its root counted: operators are at most depth - 1 deep.
      arguments: of an operator, at most.
      seed: of training and test examples.
      test_examples: how many.

    Returns:
      A Task with inputs (batch, length) and targets (batch,), 10 classes.

    Raises:
      ValueError: an argument is out of range; hardly any expression has such a length.

    References:
      Nangia and Bowman 2018, ListOps: a diagnostic dataset for latent tree learning; Tay et al.
      2020, Long Range Arena, section 2.2.1.
    """
    at_least(4, length=length)
    at_least(2, depth=depth, arguments=arguments)
    at_least(1, test_examples=test_examples)
    shortest = max(length // 4, 1) if shortest is None else shortest
    at_least(1, shortest=shortest)
    if shortest > length:
        raise ValueError(f"shortest is {shortest}; accepted is at most length, {length}")

    def make(rng: np.random.Generator, count: int) -> Batch:
        tokens, values, found = [], [], 0
        for _ in range(TRIALS):
            trees = random_trees(
                rng, DRAWN, shortest=shortest, longest=length, depth=depth, arguments=arguments
            )
            tokens.append(trees.tokens)
            values.append(trees.values)
            found += len(trees.values)
            if found >= count:
                break
        else:
            raise ValueError(
                f"{found} of {TRIALS * DRAWN} expressions had shortest={shortest} to "
                f"length={length} tokens with depth={depth} and arguments={arguments}; ask for "
                "other lengths, or more depth"
            )
        targets = np.concatenate(values)[:count]
        return Batch(np.concatenate(tokens)[:count], targets, np.ones(count, np.float32))

    train, test = generated(make, seed, BLOCK)
    facts = {
        "task": "list_ops", "length": length, "shortest": shortest, "depth": depth,
        "arguments": arguments, "seed": seed, "block": BLOCK,
    }  # fmt: skip
    return Task("list_ops", (length,), TOKENS, 10, train, test(test_examples), facts)
