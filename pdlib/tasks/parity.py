"""Sparse parity (paper, Definition 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pdlib.specs import Purpose, Task, later, require, whole
from pdlib.tasks.bits import BitStream, stream_identity


@njit(cache=True)
def _class_of(inputs: NDArray[Any], positions: NDArray[np.int64]) -> NDArray[np.uint8]:
    out = np.empty(inputs.shape[0], np.uint8)
    for i in range(inputs.shape[0]):
        odd = False
        for j in positions:
            odd ^= inputs[i, j] < 0
        out[i] = odd
    return out


@njit(cache=True)
def _parity_class(inputs: NDArray[Any], support_size: int) -> NDArray[np.uint8]:
    out = np.empty(inputs.shape[0], np.uint8)
    for i in range(inputs.shape[0]):
        odd = False
        for j in range(support_size):
            odd ^= inputs[i, j] < 0
        out[i] = odd
    return out


def parity_class(inputs: NDArray[Any], support_size: int) -> NDArray[np.uint8]:
    r"""Class of each input: 0 if :math:`\prod_{i \in S} x_i > 0`, else 1.

    The paper calls these classes 1 and 2; the support S is the first `support_size` coordinates.

    >>> parity_class(np.array([[1.0, 1.0, -1.0], [1.0, -1.0, -1.0]]), support_size=2).tolist()
    [0, 1]
    """
    classes: NDArray[np.uint8] = _parity_class(inputs, support_size)
    return classes


@dataclass(frozen=True)
class SparseParity(Task):
    r"""(d, k)-sparse parity: uniform :math:`x \in \{-1, +1\}^d`, class by the sign of k coordinates' product.

    Parameters
    ----------
    n_bits
        d.
    support_size
        k, with k < d.
    positions
        The support S, zero-based and rising; by default the first k coordinates. An MLP cannot tell one support
        from another; a Transformer with a causal mask can.

    References
    ----------
    Paper, Definition 3.1.

    Examples
    --------
    >>> task = SparseParity(n_bits=20, support_size=3)
    >>> inputs, classes = task.stream(seed=0, purpose="train").examples(0, 4)
    >>> bool(((inputs[:, :3].prod(axis=1) < 0) == classes).all())
    True
    """

    version: ClassVar[int] = 1
    n_bits: int  # d
    support_size: int  # k
    positions: tuple[int, ...] = later(())  # S

    def __post_init__(self) -> None:
        whole(n_bits=self.n_bits, support_size=self.support_size)
        require(
            self.support_size < self.n_bits,
            f"support_size k = {self.support_size}",
            f"fewer than n_bits d = {self.n_bits}",
            "Lower support_size or raise n_bits.",
        )
        if self.positions:
            for i, position in enumerate(self.positions):
                require(type(position) is int, f"positions[{i}] = {position!r}", "a whole number")
            distinct = sorted(set(self.positions))
            require(
                list(self.positions) == distinct
                and len(distinct) == self.support_size
                and distinct[0] >= 0
                and distinct[-1] < self.n_bits,
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
        if self.positions:
            label = partial(_class_of, positions=np.array(self.positions, dtype=np.int64))
        else:
            label = partial(parity_class, support_size=self.support_size)
        return BitStream(stream_identity(self.canonical(), seed, purpose), self.n_bits, label)
