"""A data set of a user's own, in arrays, as a task."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdlib.contents import ArrayContent
from pdlib.sequences import integer_type
from pdlib.specs import Index, Purpose, Share, Task, checked, require
from pdlib.tasks.bits import epochs, stream_identity, stream_key


@dataclass(frozen=True)
class ArrayTask(Task):
    """Examples of one's own: the content of the arrays decides results, not their name.

    A share of the examples, drawn by the content's hash, is held out: evaluations and probes see only these, training only
    the others. A stream goes through its examples again and again, each time in another order; any block of it can be made
    again from its counter. So with `n_evaluation` a multiple of `n_held_out` each of these counts the same.

    Parameters
    ----------
    inputs : shape (example, ...)
        Finite numbers; float64 stays, all else becomes float32. Further axes are flattened.
    classes : shape (example,)
        Whole numbers from 0.
    held_out
        Share of the examples, in (0, 1).
    n_classes
        C; by default one more than the largest class.

    Raises
    ------
    SpecError
        If the arrays do not fit together, or hold anything else.

    Examples
    --------
    >>> task = ArrayTask([[0.0], [1.0], [2.0], [3.0], [4.0]], [0, 0, 0, 1, 1])
    >>> task.n_inputs, task.n_classes, task.n_held_out
    (1, 2, 1)
    >>> inputs, classes = task.stream(seed=0, purpose="train").examples(0, 8)        # two epochs
    >>> ((inputs[:, 0] > 2.5) == classes).all().item(), len(set(inputs[:4, 0].tolist()))
    (True, 4)
    """

    inputs: ArrayContent
    classes: ArrayContent
    held_out: Share = 0.2
    n_classes: Index = 0  # C

    def __post_init__(self) -> None:
        for name, kind in (("held_out", Share), ("n_classes", Index)):
            object.__setattr__(self, name, checked(name, getattr(self, name), kind))
        if isinstance(self.inputs, ArrayContent) and isinstance(self.classes, ArrayContent):
            return  # out of a record, or a task of other settings
        x, y = np.asarray(self.inputs), np.asarray(self.classes)
        for name, array in (("inputs", x), ("classes", y)):
            given = getattr(self, name)
            require(array.ndim > 0 or isinstance(given, ArrayContent), f"{name} = {given!r}", "an array")
        fits = x.ndim >= 2 and len(x) > 0 and y.shape == (len(x),)
        what = f"inputs of shape {x.shape} with classes of shape {y.shape}"
        require(fits, what, "(example, coordinate) and (example,)")
        numbers = x.dtype.kind in "fiub" and bool(np.isfinite(x).all())
        require(
            numbers, f"inputs of type {x.dtype}", "finite numbers", "Leave out or fill in what is missing."
        )
        require(y.dtype.kind in "iub" and y.min() >= 0, f"classes of type {y.dtype}", "whole numbers from 0")
        n_classes = self.n_classes or int(y.max()) + 1
        require(n_classes >= 2, f"n_classes = {n_classes}", "at least 2")
        require(y.max() < n_classes, f"class {y.max()}", f"below n_classes = {n_classes}")
        precision = np.float64 if x.dtype == np.float64 else np.float32
        object.__setattr__(self, "inputs", ArrayContent.of(x.reshape(len(x), -1), precision))
        object.__setattr__(self, "classes", ArrayContent.of(y, integer_type(n_classes)))
        object.__setattr__(self, "n_classes", n_classes)
        both = 0 < self.n_held_out < len(x)
        require(both, f"held_out = {self.held_out} of {len(x)} examples", "at least one in either part")

    @property
    def n_inputs(self) -> int:
        """d."""
        return self.inputs.shape[1]

    @property
    def n_held_out(self) -> int:
        """Number of examples that evaluations and probes see."""
        return round(self.held_out * self.inputs.shape[0])

    def rows(self, purpose: Purpose) -> NDArray[np.intp]:
        """Return which examples a purpose sees, rising."""
        return _split(self)[purpose == "train"]

    def frequencies(self) -> NDArray[np.float64]:
        """Return how frequent each class is among the training examples."""
        classes = self.classes.array[self.rows("train")]
        return np.bincount(classes, minlength=self.n_classes) / len(classes)

    def stream(self, seed: int, purpose: Purpose) -> ArrayStream:
        """Return the stream of this task, seed and purpose."""
        return ArrayStream(self, seed, purpose)


@cache
def _split(task: ArrayTask) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the examples held out, and the others."""
    n, held = task.inputs.shape[0], task.n_held_out
    order = epochs(stream_key(f"held out of {task.fingerprint}"), 0, n, n)
    return np.sort(order[:held]), np.sort(order[held:])


class ArrayStream:
    """The endless stream of an `ArrayTask`."""

    def __init__(self, task: ArrayTask, seed: int, purpose: Purpose) -> None:
        self.identity = stream_key(stream_identity(task.canonical(), seed, purpose))
        self._inputs, self._classes = task.inputs.array, task.classes.array
        self._rows = task.rows(purpose)

    def examples(
        self, start: int, stop: int, out: NDArray[Any] | None = None
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return inputs (example, coordinate) and classes (example,); with `out` as `BitStream.examples`."""
        rows = self._rows[epochs(self.identity, start, stop, len(self._rows))]
        if out is None:
            return self._inputs[rows], self._classes[rows]
        out[:, : self._inputs.shape[1]] = self._inputs[rows]
        return out, self._classes[rows]
