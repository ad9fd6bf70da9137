"""Sparse parity (paper, Definition 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pdlib.specs import Count, Purpose, Task, later, require
from pdlib.tasks.bits import BitStream, stream_identity


def parity_class(inputs: NDArray[Any], support: Sequence[int]) -> NDArray[np.uint8]:
    r"""Class of each input (example, bit): 0 if :math:`\prod_{i \in S} x_i > 0`, else 1; the paper calls them 1 and 2.

    >>> parity_class(np.array([[1.0, 1.0, -1.0], [1.0, -1.0, -1.0]]), support=(0, 1)).tolist()
    [0, 1]
    """
    minus = sum((inputs[:, i] < 0 for i in support), np.zeros(len(inputs), np.uint8))
    return np.asarray(minus & 1, np.uint8)


@dataclass(frozen=True)
class SparseParity(Task):
    r"""(d, k)-sparse parity: uniform :math:`x \in \{-1, +1\}^d`, class by the sign of k coordinates' product.

    The support S (paper, Definition 3.1) are the first k coordinates, unless positions are given: an MLP cannot tell one
    support from another, a Transformer with a causal mask can.

    >>> task = SparseParity(n_bits=20, support_size=3)
    >>> inputs, classes = task.stream(seed=0, purpose="train").examples(0, 4)
    >>> bool(((inputs[:, :3].prod(axis=1) < 0) == classes).all())
    True
    """

    version: ClassVar[int] = 1
    n_bits: Count  # d
    support_size: Count  # k < d
    positions: tuple[int, ...] = later(())  # S, zero-based and rising

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.support_size < self.n_bits,
            f"support_size k = {self.support_size}",
            f"fewer than n_bits d = {self.n_bits}",
            "Lower support_size or raise n_bits.",
        )
        require(
            self.support == tuple(sorted(set(self.support) & set(range(self.n_bits))))
            and len(self.support) == self.support_size,
            f"positions = {self.positions}",
            f"{self.support_size} distinct rising positions from 0 to {self.n_bits - 1}",
        )
        if self.positions == tuple(range(self.support_size)):
            object.__setattr__(self, "positions", ())  # one spec for one task

    @property
    def n_classes(self) -> int:
        """2."""
        return 2

    @property
    def n_inputs(self) -> int:
        """d."""
        return self.n_bits

    @property
    def support(self) -> tuple[int, ...]:
        """S, zero-based: the coordinates whose product decides the class."""
        return self.positions or tuple(range(self.support_size))

    def stream(self, seed: int, purpose: Purpose) -> BitStream:
        """Return the stream of this task, seed and purpose."""
        label = partial(parity_class, support=self.support)
        return BitStream(stream_identity(self.canonical(), seed, purpose), self.n_bits, label)
