"""Sparse parity whose first training inputs are biased: a curriculum of inputs instead of teachers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pdlib.specs import Count, Purpose, Share, Task
from pdlib.tasks.bits import BitStream, random_words, stream_identity, uniforms
from pdlib.tasks.parity import SparseParity, parity_class


@dataclass(frozen=True)
class BiasedFirst(Task):
    r"""A sparse parity, true labels throughout, of which the first training examples have mostly positive coordinates.

    .. math:: P(x_i = -1) = p \text{ independently, for the first } T \text{ examples}; \qquad
              \mathrm{Cov}(y, x_i) = \mu^{k-1} (1 - \mu^2) \, [i \in S], \qquad \mu = 1 - 2p

    All later ones, and those of evaluations and probes, are the uniform ones of `task`. The covariance, 0 under uniform
    inputs if k > 1, is what such inputs tell of the support.

    "After Abbe, Cornacchia and Lotfi" (arXiv:2306.16921), whose p = 0.01 is the default: they leave the first phase by its
    loss, go on with a mixture of both kinds and judge on it; the fixed T, uniform inputs from there on and the uniform
    held-out ones are our reading. Who chooses the inputs needs no teacher; only a training on `Labels` has a use for it.

    Parameters
    ----------
    n_biased
        T: an example is biased if its number in the training stream is below.
    p_minus
        p, in (0, 1).

    Examples
    --------
    >>> task = BiasedFirst(SparseParity(n_bits=20, support_size=3), n_biased=1000, p_minus=0.1)
    >>> inputs, _ = task.stream(seed=0, purpose="train").examples(0, 2000)
    >>> [round(float((part < 0).mean()), 1) for part in (inputs[:1000], inputs[1000:])]
    [0.1, 0.5]
    """

    version: ClassVar[int] = 1
    task: SparseParity
    n_biased: Count  # T
    p_minus: Share = 0.01  # p

    @property
    def n_classes(self) -> int:
        """2."""
        return self.task.n_classes

    @property
    def n_inputs(self) -> int:
        """d."""
        return self.task.n_inputs

    @property
    def support(self) -> tuple[int, ...]:
        """S, zero-based, as of `task`."""
        return self.task.support

    def stream(self, seed: int, purpose: Purpose) -> BitStream:
        """Return the stream of this task, seed and purpose: that of `task`, but for the first training examples."""
        uniform = self.task.stream(seed, purpose)
        return _BiasedFirstStream(self, uniform, seed) if purpose == "train" else uniform


class _BiasedFirstStream(BitStream):
    """A training stream whose first examples are drawn anew; a coordinate of these takes a random word of its own."""

    def __init__(self, of: BiasedFirst, uniform: BitStream, seed: int) -> None:
        identity, label = (
            stream_identity(of.canonical(), seed, "train"),
            partial(parity_class, support=of.support),
        )
        super().__init__(identity, of.n_inputs, label)
        self._uniform, self._n_biased, self._p_minus = uniform, of.n_biased, of.p_minus

    def examples(
        self, start: int, stop: int, out: NDArray[Any] | None = None, dtype: DTypeLike = np.float32
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """See `BitStream.examples`."""
        out, classes = self._uniform.examples(start, stop, out, dtype)
        if n := max(0, min(stop, self._n_biased) - start):
            minus = uniforms(random_words(self.identity, start, start + n, self.n_bits)) < self._p_minus
            out[:n, : self.n_bits] = 1 - 2 * minus.view(np.int8)
            classes[:n] = self._label(out[:n])
        return out, classes
