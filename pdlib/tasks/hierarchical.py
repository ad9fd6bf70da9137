"""Hierarchical sparse parity (paper, appendix C.3): a binary decision tree whose nodes are sparse parities."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pdlib.specs import Count, Purpose, Task, require
from pdlib.tasks.bits import BitStream, stream_identity

MAX_DEPTH = 8  # classes are bytes


def leaf_class(
    inputs: NDArray[Any], support_size: int, depth: int, *, mirrored: bool = False
) -> NDArray[np.uint8]:
    r"""Class of each input: the leaf that it reaches in a tree of sparse parities.

    Nodes are numbered as a binary heap: the root is 1, the children of node n are 2n and 2n + 1, and leaf n is the
    class n - K of K = 2^D. Node n asks for the product of its feature, the n-th block of k coordinates:

    .. math:: n \leftarrow 2n \ \text{ if } \prod_{i \in F_n} x_i > 0, \quad\text{else } 2n + 1

    where k is `support_size` and D is `depth`. Mirrored, as in the paper's Figure 16 (appendix C.3), a product of -1 goes
    left: class c becomes K - 1 - c. `inputs`, (example, at least (K - 1) k), are -1 or +1.

    A tree of depth 2 with one coordinate a node: the root asks x_1, its children x_2 and x_3.

    >>> bits = np.array([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0], [-1.0, 1.0, -1.0]])
    >>> leaf_class(bits, support_size=1, depth=2).tolist()
    [0, 1, 3]
    >>> leaf_class(bits, support_size=1, depth=2, mirrored=True).tolist()
    [3, 2, 0]
    """
    features = inputs[:, : (2**depth - 1) * support_size].reshape(len(inputs), -1, support_size)
    odd = np.zeros(features.shape[:2], bool)  # (example, node)
    for place in range(support_size):
        odd ^= features[:, :, place] < 0
    everyone, node = np.arange(len(inputs)), np.ones(len(inputs), np.intp)
    for _ in range(depth):
        node = 2 * node + odd[everyone, node - 1]
    leaf = node - 2**depth
    return np.asarray(2**depth - 1 - leaf if mirrored else leaf, np.uint8)


@dataclass(frozen=True)
class HierarchicalParity(Task):
    r"""A tree of depth D whose nodes are k-sparse parities; its :math:`2^D` leaves are the classes.

    Node n (heap numbering, root 1) asks for the product of the n-th block of k coordinates, without loss of generality for
    an MLP. D = 1 is sparse parity. A product of +1 goes to the left child, 2n, as in the official code and as Figure 17
    lists the features of the paper's class 1; mirrored, to the right child, as in Figure 16: inputs are the same, class c
    is K - 1 - c. (Paper, appendix C.3.)

    >>> task = HierarchicalParity(n_bits=60, support_size=5, depth=3)
    >>> task.n_classes, len(task.features), len(task.irrelevant)
    (8, 7, 25)
    >>> task.paths[0], task.paths[5]
    (((1, 1), (2, 1), (4, 1)), ((1, -1), (3, 1), (6, -1)))
    """

    version: ClassVar[int] = 1
    n_bits: Count  # d, at least (2^D - 1) k
    support_size: Count  # k, coordinates of a feature
    depth: Count  # D, from 1 to 8
    mirrored: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.depth <= MAX_DEPTH, f"depth D = {self.depth}", f"at most {MAX_DEPTH}", "Classes are bytes."
        )
        relevant = self.n_nodes * self.support_size
        require(
            relevant <= self.n_bits,
            f"{self.n_nodes} nodes of support_size k = {self.support_size}, {relevant} coordinates",
            f"at most n_bits d = {self.n_bits}",
            "Lower support_size or depth, or raise n_bits.",
        )

    @property
    def n_classes(self) -> int:
        """K = 2^D."""
        return int(2**self.depth)

    @property
    def n_inputs(self) -> int:
        """d."""
        return self.n_bits

    @property
    def n_nodes(self) -> int:
        """K - 1, inner nodes of the tree."""
        return int(2**self.depth - 1)

    @property
    def features(self) -> tuple[tuple[int, ...], ...]:
        """Zero-based positions of each node's feature: that of node n stands at n - 1."""
        k = self.support_size
        return tuple(tuple(range(k * n, k * (n + 1))) for n in range(self.n_nodes))

    @property
    def support(self) -> tuple[int, ...]:
        """The coordinates that decide the class, zero-based, of all features together."""
        return tuple(i for feature in self.features for i in feature)

    @property
    def irrelevant(self) -> tuple[int, ...]:
        """The other coordinates, zero-based."""
        return tuple(range(len(self.support), self.n_bits))

    @property
    def paths(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """For each class its nodes from the root on, each with the product that leads on: +1 or -1."""
        d, turned = self.depth, (self.n_classes - 1 if self.mirrored else 0)
        paths = []
        for label in range(self.n_classes):
            leaf = self.n_classes + (label ^ turned)  # the mirror image of leaf c is leaf K - 1 - c
            nodes = [leaf >> (d - level) for level in range(d + 1)]
            paths.append(tuple((node, 1 - 2 * (child & 1)) for node, child in pairwise(nodes)))
        return tuple(paths)

    def below(self, node: int) -> tuple[int, ...]:
        """Return the classes of the leaves below a node, rising.

        >>> HierarchicalParity(60, 5, 3).below(2), HierarchicalParity(60, 5, 3).below(7)
        ((0, 1, 2, 3), (6, 7))
        """
        return tuple(c for c, path in enumerate(self.paths) if node in [n for n, _ in path])

    def stream(self, seed: int, purpose: Purpose) -> BitStream:
        """Return the stream of this task, seed and purpose; the inputs of a task and its mirror image are the same."""
        label = partial(leaf_class, support_size=self.support_size, depth=self.depth, mirrored=self.mirrored)
        identity = stream_identity(replace(self, mirrored=False).canonical(), seed, purpose)
        return BitStream(identity, self.n_bits, label)

    def scores(self, predicted: NDArray[np.int64], classes: NDArray[Any]) -> dict[str, float]:
        """Return, for each level l, the share of examples whose predicted leaf lies below the right node at depth l.

        Columns `accuracy_level_1` (the root's question answered rightly) to `accuracy_level_D` (the accuracy);
        chance is 2^(-l).

        >>> task = HierarchicalParity(60, 5, 3)
        >>> task.scores(np.array([0, 1, 2, 4]), np.array([0, 0, 0, 0], np.uint8))
        {'accuracy_level_1': 0.75, 'accuracy_level_2': 0.5, 'accuracy_level_3': 0.25}
        """
        return {
            f"accuracy_level_{level}": float(
                (predicted >> (self.depth - level) == classes >> (self.depth - level)).mean()
            )
            for level in range(1, self.depth + 1)
        }
