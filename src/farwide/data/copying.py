"""Copying: tokens to remember come first, or among blanks, and are asked for at the end.

Tokens: 0 is a blank, 1 to alphabet - 2 are data, alphabet - 1 says "now".
"""

from __future__ import annotations

import numpy as np

from farwide.data.batching import generated
from farwide.data.sampling import distinct
from farwide.data.task import Batch, Task
from farwide.validate import at_least

BLOCK = 256  # examples made at once


def selective_copy(
    *,
    length: int = 256,
    tokens: int = 16,
    alphabet: int = 16,
    seed: int = 0,
    test_examples: int = 1000,
) -> Task:
    """Selective copying: the data stand at random places among blanks, to be said in their order.

    The first length - tokens positions hold the data at places drawn without replacement and
    blanks elsewhere; the last `tokens` positions hold the marker, and there the targets are the
    data in order. Only those targets count.

    Args:
      length: tokens of an example, at least twice `tokens`; the papers' 4096 blanks and data with
        16 tokens is `length=4112`.
      tokens: to remember.
      alphabet: blank and marker included.
      seed: of training and test examples.
      test_examples: how many.

    Returns:
      A Task with inputs and targets (batch, length).

    Raises:
      ValueError: an argument is out of range.

    References:
      Jing et al. 2019, Gated orthogonal recurrent units, section 4.2 (denoise task); Gu and Dao
      2023, Mamba, section 3.1.
    """
    return _copying("selective_copy", length, tokens, alphabet, seed, test_examples)


def delayed_copy(
    *,
    length: int = 256,
    tokens: int = 10,
    alphabet: int = 10,
    seed: int = 0,
    test_examples: int = 1000,
) -> Task:
    """Delayed copying: data, then blanks, then as many markers: say the data.

    The lag between a token and its target is length - tokens. Only the targets at the markers
    count.

    Args:
      length: tokens of an example, at least twice `tokens`.
      tokens: to remember.
      alphabet: blank and marker included.
      seed: of training and test examples.
      test_examples: how many.

    Returns:
      A Task with inputs and targets (batch, length).

    Raises:
      ValueError: an argument is out of range.

    References:
      Hochreiter and Schmidhuber 1997, Long short-term memory; Arjovsky, Shah and Bengio 2016,
      Unitary evolution recurrent neural networks, section 4.1.
    """
    return _copying("delayed_copy", length, tokens, alphabet, seed, test_examples)


def _copying(
    name: str, length: int, tokens: int, alphabet: int, seed: int, test_examples: int
) -> Task:
    at_least(1, tokens=tokens, test_examples=test_examples)
    at_least(4, alphabet=alphabet)
    at_least(2 * tokens, length=length)
    body = length - tokens

    def make(rng: np.random.Generator, count: int) -> Batch:
        data = rng.integers(1, alphabet - 1, (count, tokens)).astype(np.int32)
        if name == "selective_copy":
            places = np.sort(distinct(rng, count, body, tokens), axis=1)
        else:
            places = np.tile(np.arange(tokens), (count, 1))
        inputs = np.zeros((count, length), np.int32)
        np.put_along_axis(inputs, places, data, axis=1)
        inputs[:, body:] = alphabet - 1
        targets = np.zeros_like(inputs)
        targets[:, body:] = data
        weights = np.zeros(inputs.shape, np.float32)
        weights[:, body:] = 1
        return Batch(inputs, targets, weights)

    train, test = generated(make, seed, BLOCK)
    facts = {
        "task": name, "length": length, "tokens": tokens, "alphabet": alphabet, "seed": seed,
        "block": BLOCK,
    }  # fmt: skip
    return Task(name, (length,), alphabet, alphabet, train, test(test_examples), facts)
