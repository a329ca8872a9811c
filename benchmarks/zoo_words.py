"""Texts made by a rule: two of five key words stand among others, and their order is the class.

No real text comes with the benchmarks. Which two words there are does not tell the class, so a
network that ignores order gets at most half of the texts right.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: The first ids after that of padding, 0; each pair of them in each order is a class.
KEY_WORDS = 5
CLASSES = KEY_WORDS * (KEY_WORDS - 1)
_SHORTEST = 6


def texts(
    count: int, length: int, words: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Texts and their classes.

    Args:
        count: How many.
        length: Ids in a text, with padding at its end; texts have 6 to ``length`` words.
        words: Ids are below this.
        seed: Of the generator.

    Returns:
        Ids [count, length]; classes [count], below ``CLASSES``.
    """
    generator = np.random.default_rng(seed)
    ids = generator.integers(KEY_WORDS + 1, words, (count, length))
    lengths = generator.integers(_SHORTEST, length + 1, count)
    classes = np.zeros(count, np.int64)
    for text, size, index in zip(ids, lengths, range(count), strict=True):
        first, second = generator.choice(KEY_WORDS, 2, replace=False)
        places = np.sort(generator.choice(size, 2, replace=False))
        text[places] = first + 1, second + 1
        text[size:] = 0
        classes[index] = first * (KEY_WORDS - 1) + second - (second > first)
    return ids, classes
