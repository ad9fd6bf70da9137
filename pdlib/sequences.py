"""Token sequences: blocks of them, where something is asked in them, and the streams that they come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


def integer_type(n: int) -> np.dtype[Any]:
    """Return the smallest type of ours that holds the numbers from 0 to n - 1: one byte, two, or four.

    >>> [integer_type(n).name for n in (256, 257, 65537)]
    ['uint8', 'uint16', 'int32']
    """
    return np.dtype(np.uint8 if n <= 2**8 else np.uint16 if n <= 2**16 else np.int32)


@dataclass(frozen=True)
class Sequences:
    """A block of token sequences, and the positions of each at which a class is asked for.

    Parameters
    ----------
    tokens : shape (example, position)
        Whole numbers; beyond the end of a sequence, any.
    at : shape (example, position)
        Where something is asked; the classes of a block, its targets, are listed in reading order.
    visible : shape (example, position)
        What may be attended to. Beyond the end of a sequence neither `at` nor `visible` is true.

    Examples
    --------
    >>> at = np.array([[False, True, True], [True, False, False]])
    >>> block = Sequences(np.zeros((2, 3), int), at, np.array([[True, True, True], [True, True, False]]))
    >>> len(block), block.n_targets.tolist(), block[1:].tokens.shape
    (2, [2, 1], (1, 2))
    """

    tokens: NDArray[Any]
    at: NDArray[np.bool_]
    visible: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, rows: slice | NDArray[np.intp]) -> Sequences:
        """Return some of the examples, cut after the last position of the longest."""
        at, visible = self.at[rows], self.visible[rows]
        used = np.flatnonzero((at | visible).any(axis=0))
        length = int(used[-1]) + 1 if len(used) else 0
        return Sequences(self.tokens[rows][:, :length], at[:, :length], visible[:, :length])

    @property
    def lengths(self) -> NDArray[np.intp]:
        """Where each example ends, shape (example,): one more than its last position seen or asked for."""
        used = self.at | self.visible
        return np.asarray(np.where(used.any(axis=1), used.shape[1] - used[:, ::-1].argmax(axis=1), 0))

    @property
    def n_targets(self) -> NDArray[np.intp]:
        """How many classes are asked for in each example, shape (example,)."""
        return np.asarray(np.count_nonzero(self.at, axis=1))

    def slices(self, n_targets: int) -> Iterator[slice]:
        """Yield the examples in parts of at most so many targets, or of one example that has more.

        >>> at = np.array([[True, True], [False, True], [False, False], [True, True]])
        >>> [(part.start, part.stop) for part in Sequences(np.zeros((4, 2), int), at, ~at).slices(3)]
        [(0, 3), (3, 4)]
        """
        first = np.concatenate([[0], np.cumsum(self.n_targets)])
        start = 0
        while start < len(self):
            stop = max(start + 1, int(np.searchsorted(first, first[start] + n_targets, side="right")) - 1)
            yield slice(start, stop)
            start = stop

    def weights(self) -> NDArray[np.float64]:
        r"""Return the weight of each target in the block's loss, shape (target,): they sum to 1.

        A mean over the targets of an example, then over the examples that have any (paper, Equations 3 and 4):

        .. math:: w_i = \frac{1}{n} \, \frac{1}{|\mathcal{M}|}
        """
        counts = self.n_targets
        asked = counts[counts > 0]
        return np.asarray(np.repeat(1.0 / asked, asked) / max(1, len(asked)))


class Sentences(Protocol):
    """A block of token sequences as their source draws them, nothing asked yet."""

    @property
    def tokens(self) -> NDArray[Any]: ...  # (sentence, position); beyond the end of a sentence 0

    @property
    def lengths(self) -> NDArray[np.int64]: ...  # (sentence,)


class SentenceStream(Protocol):
    """Endless token sequences, numbered from 0; any block can be made again anywhere."""

    identity: str

    def sentences(self, start: int, stop: int) -> Sentences:
        """Return the sentences start ... stop - 1."""
        ...


class PartedStream(SentenceStream, Protocol):
    """The stream of a source with parts."""

    def parts(self, start: int, stop: int) -> NDArray[np.intp]:
        """Return the place, in the source's `parts`, of each of the sequences start ... stop - 1."""
        ...
