"""Streams of random sign vectors, numbered: example i is a function of (key, i) alone.

The bits come from the counter-based generator Philox (Salmon et al. 2011) as NumPy ships it, so any
block of a stream can be made again anywhere: to resume, to share teacher labels, in another process.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pdlib.compiled import njit

WORDS_PER_COUNT = 4  # Philox yields four 64-bit words a count


def stream_key(text: str) -> str:
    """Return the generator's key that a text names, 32 hexadecimal digits: other texts name unrelated streams."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def random_words(identity: str, start: int, stop: int, n_words: int) -> NDArray[np.uint64]:
    """Return the raw random words of the items start ... stop - 1 of a stream, `n_words` each: (item, word).

    >>> block = random_words("00ff", 0, 5, 3)
    >>> bool((random_words("00ff", 2, 4, 3) == block[2:4]).all())      # any block, made again
    True
    """
    first, last = start * n_words, stop * n_words
    counter = first // WORDS_PER_COUNT
    generator = np.random.Philox(key=int(identity, 16), counter=counter)
    raw = generator.random_raw(last - counter * WORDS_PER_COUNT)
    return np.asarray(raw[first - counter * WORDS_PER_COUNT :]).reshape(stop - start, n_words)


def uniforms(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each random word, of its upper 53 bits.

    >>> uniforms(np.array([0, 2**63], np.uint64)).tolist()
    [0.0, 0.5]
    """
    return np.asarray((words >> np.uint64(11)) * 2.0**-53)


def epochs(identity: str, start: int, stop: int, n: int) -> NDArray[np.int32]:
    """Return the items start ... stop - 1 of an endless stream of 0 ... n - 1, each time in another random order.

    >>> sorted(epochs("00ff", 0, 4, 4).tolist()), sorted(epochs("00ff", 4, 8, 4).tolist())
    ([0, 1, 2, 3], [0, 1, 2, 3])
    """
    found = [
        _order(identity, epoch, n)[max(start - epoch * n, 0) : stop - epoch * n]
        for epoch in range(start // n, -(-stop // n))
    ]
    return np.concatenate([np.empty(0, np.int32), *found])


@lru_cache(maxsize=4)
def _order(identity: str, epoch: int, n: int) -> NDArray[np.int32]:
    """The numbers 0 ... n - 1 in the random order of an epoch."""
    key = hashlib.sha256(f"{identity} epoch {epoch}".encode()).hexdigest()[:32]
    order = np.arange(n, dtype=np.int32)
    _shuffle(order, random_words(key, 0, n, 1)[:, 0])
    order.flags.writeable = False
    return order


@njit()
def _shuffle(order: NDArray[np.int32], words: NDArray[np.uint64]) -> None:
    """Exchange each place with one from there on, by one random word each (Fisher-Yates)."""
    for i in range(len(order)):
        other = i + int((words[i] >> np.uint64(11)) * 2.0**-53 * (len(order) - i))
        order[i], order[other] = order[other], order[i]


class BitStream:
    r"""Endless examples :math:`x \in \{-1, +1\}^d`, uniform and independent, with labels.

    `identity` is a text, see `stream_key`; `n_bits` is d; `label` maps inputs (example, at least d columns) to classes
    (example,).

    >>> stream = BitStream("an example", 3, lambda x: (x[:, 0] < 0).astype(np.uint8))
    >>> block, _ = stream.examples(0, 8)
    >>> bool((stream.examples(5, 8)[0] == block[5:]).all())      # any block, made again
    True
    """

    def __init__(
        self, identity: str, n_bits: int, label: Callable[[NDArray[Any]], NDArray[np.uint8]]
    ) -> None:
        self.identity = stream_key(identity)
        self.n_bits = n_bits
        self._label = label

    def examples(
        self, start: int, stop: int, out: NDArray[Any] | None = None, dtype: DTypeLike = np.float32
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Return inputs (example, bit), entries -1 or +1, and classes (example,).

        With `out`, of at least d columns, the inputs are written to its first d columns and `out` is returned.
        """
        if out is None:
            out = np.empty((stop - start, self.n_bits), dtype)
        words = random_words(self.identity, start, stop, -(-self.n_bits // 64))
        octets = words.astype("<u8", copy=False).view(np.uint8)
        bits = np.unpackbits(octets, axis=1, count=self.n_bits, bitorder="little")
        out[:, : self.n_bits] = 1 - 2 * bits.view(np.int8)
        return out, self._label(out)


def stream_identity(task: dict[str, Any], seed: int, purpose: str) -> str:
    """Return the text that names a stream: task, seed and purpose."""
    return json.dumps([task, seed, purpose], sort_keys=True)
