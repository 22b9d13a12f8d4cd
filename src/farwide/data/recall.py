"""Associative recall: what value followed this key? With many queries, and with one.

Tokens: 0 is filler, 1 to vocabulary // 2 - 1 are keys, vocabulary // 2 to vocabulary - 1 values.
"""

from __future__ import annotations

import numpy as np

from farwide.data.batching import generated
from farwide.data.sampling import distinct, weighted
from farwide.data.task import Batch, Task
from farwide.validate import at_least

BLOCK = 256  # examples made at once


def mqar(
    *,
    length: int = 64,
    pairs: int = 4,
    vocabulary: int = 8192,
    power_a: float = 0.01,
    noise: bool = False,
    seed: int = 0,
    test_examples: int = 1000,
) -> Task:
    """Multi-query associative recall: pairs, then every key once more, at distances of a power law.

    The first 2 D tokens are D keys, each followed by its value; keys differ from each other, and
    so do values. Behind them are (length - 2 D) / 2 places of two tokens. Key j in order takes the
    place i (from 1) with probability proportional to i^(a - 1), among those still free; the target
    at it is the key's value. All else has weight 0.

    Args:
      length: tokens of an example, even, at least 4 D.
      pairs: D.
      vocabulary: of the tokens, more than `length` in the paper; here at least 2 D + 2.
      power_a: a > 0; 1 is uniform, smaller puts queries nearer to the pairs.
      noise: what is neither pair nor query is drawn from the whole vocabulary, instead of 0. A
        pair's key may then stand in the filler too, without a target.
      seed: of training and test examples.
      test_examples: how many.

    Returns:
      A Task with inputs and targets (batch, length).

    Raises:
      ValueError: an argument is out of range.

    References:
      Arora et al. 2023, Zoology, section 3 and appendix C, as its released code samples it.
    """
    at_least(1, pairs=pairs, test_examples=test_examples)
    at_least(4 * pairs, length=length)
    at_least(2 * pairs + 2, vocabulary=vocabulary)
    if length % 2:
        raise ValueError(f"length is {length}; accepted is an even number")
    if not 0 < power_a < np.inf:
        raise ValueError(f"power_a is {power_a}; accepted is a number > 0")
    half = vocabulary // 2
    context = 2 * pairs
    places = (length - context) // 2
    odds = np.arange(1, places + 1) ** (power_a - 1.0)

    def make(rng: np.random.Generator, count: int) -> Batch:
        keys = 1 + distinct(rng, count, half - 1, pairs)
        values = half + distinct(rng, count, vocabulary - half, pairs)
        queries = context + 2 * weighted(rng, count, odds, pairs)
        filler = rng.integers(0, vocabulary, (count, length)) if noise else 0
        inputs = np.zeros((count, length), np.int32) + np.asarray(filler, np.int32)
        inputs[:, 0:context:2] = keys
        inputs[:, 1:context:2] = values
        return _asked(inputs, queries, keys, values)

    train, test = generated(make, seed, BLOCK)
    facts = {
        "task": "mqar", "length": length, "pairs": pairs, "vocabulary": vocabulary,
        "power_a": power_a, "noise": noise, "seed": seed, "block": BLOCK,
    }  # fmt: skip
    return Task("mqar", (length,), vocabulary, vocabulary, train, test(test_examples), facts)


def associative_recall(
    *, length: int = 20, vocabulary: int = 20, seed: int = 0, test_examples: int = 1000
) -> Task:
    """Associative recall with one query: pairs from a dictionary, then a key that was among them.

    Each example has a dictionary of its own that maps every key to a value, drawn with
    replacement; (length - 1) // 2 keys are drawn with replacement and stand with their values, so
    a key that comes twice has the same value twice. The last token is one of those keys, each
    different key equally likely; its value is the only target that counts. Keys are the tokens 1
    to vocabulary // 2 - 1 here, and token 0 stands first where the length is even.

    Args:
      length: tokens of an example, the query included, at least 3.
      vocabulary: of the tokens: 10 to 40 in the papers.
      seed: of training and test examples.
      test_examples: how many.

    Returns:
      A Task with inputs and targets (batch, length).

    Raises:
      ValueError: an argument is out of range.

    References:
      Fu et al. 2022, Hungry Hungry Hippos, section 3.1; Poli et al. 2023, Hyena Hierarchy,
      section 4.1.
    """
    at_least(3, length=length)
    at_least(4, vocabulary=vocabulary)
    at_least(1, test_examples=test_examples)
    half = vocabulary // 2
    pairs = (length - 1) // 2

    def make(rng: np.random.Generator, count: int) -> Batch:
        dictionary = rng.integers(half, vocabulary, (count, half - 1))
        keys = rng.integers(0, half - 1, (count, pairs))
        values = np.take_along_axis(dictionary, keys, axis=1)
        seen = np.zeros((count, half - 1), bool)
        np.put_along_axis(seen, keys, True, axis=1)
        asked = np.where(seen, rng.random((count, half - 1)), -1.0).argmax(axis=1)[:, None]
        inputs = np.zeros((count, length), np.int32)
        inputs[:, length - 1 - 2 * pairs : length - 1 : 2] = 1 + keys
        inputs[:, length - 2 * pairs : length - 1 : 2] = values
        last = np.full((count, 1), length - 1)
        return _asked(inputs, last, 1 + asked, np.take_along_axis(dictionary, asked, axis=1))

    train, test = generated(make, seed, BLOCK)
    facts = {
        "task": "associative_recall", "length": length, "vocabulary": vocabulary, "seed": seed,
        "block": BLOCK,
    }  # fmt: skip
    held_out = test(test_examples)
    return Task("associative_recall", (length,), vocabulary, vocabulary, train, held_out, facts)


def _asked(inputs: np.ndarray, places: np.ndarray, keys: np.ndarray, values: np.ndarray) -> Batch:
    """Queries written into the inputs at places (batch, n), and the targets that they have."""
    np.put_along_axis(inputs, places, keys.astype(np.int32), axis=1)
    targets = np.zeros_like(inputs)
    np.put_along_axis(targets, places, values.astype(np.int32), axis=1)
    weights = np.zeros(inputs.shape, np.float32)
    np.put_along_axis(weights, places, np.float32(1), axis=1)
    return Batch(inputs, targets, weights)
