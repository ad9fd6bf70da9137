"""How strongly a predictor follows the features of a decision tree's nodes (paper, C.3 and Figure 17)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from pdlib.models.mlp import softmax
from pdlib.probes.monomials import monomial_correlations, monomials_off_support, noise_floor
from pdlib.specs import Count, Parameters, Probe, Several, SpecError, Training, require
from pdlib.tasks.hierarchical import HierarchicalParity

REST = 0  # the node number of rows about monomials with an irrelevant coordinate


def feature_correlations(
    probabilities: NDArray[Any], bits: NDArray[Any], monomials: NDArray[np.intp]
) -> NDArray[np.float64]:
    r"""Absolute correlation of each class's probability with each monomial, shape (class, monomial).

    .. math:: \left| \tfrac{1}{N} \sum_n p(x_n)_c \prod_{i \in M} x_{n,i} \right|

    Parameters as of `monomial_correlations`, with `probabilities` (example, class). For a class that one of K leaves gives
    it is at most 1 / K.

    Two classes, the first exactly where x_1 x_2 is positive:

    >>> bits = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    >>> p = np.stack([1 + bits.prod(axis=1), 1 - bits.prod(axis=1)], axis=1) / 2
    >>> feature_correlations(p, bits, np.array([[0, 1]])).tolist()
    [[0.5], [0.5]]
    """
    return np.abs(monomial_correlations(probabilities, bits, monomials))


@dataclass(frozen=True)
class FeatureCorrelations(Probe):
    r"""Correlations :math:`|E[p_T(x)_c \prod_{j \in M} x_j]|` of class probabilities with parts of the nodes' features.

    For a node n, monomials M are all sets of a degree within its feature, and classes c those of the leaves below it;
    the correlations are averaged over both. For "rest" M has at least one irrelevant coordinate: at degree 1 all of
    these, else a fixed random sample.

    Table rows, one a degree, scope and node:

    - `degree`;
    - `scope`: `below` for the average over the classes below the node, `class_0` for the class of index 0 alone (the
      paper's class 1) along its path from the root;
    - `node`: heap number, 0 for the rest; `level`: its depth counted from 1 at the root, 0 for the rest;
    - `n_monomials`, `n_classes`;
    - `mean` of the absolute correlations and `maximum`, the largest of the monomials' means over classes;
    - `noise_floor`, as of `MonomialCorrelations`, averaged over the classes.

    (Paper, Figure 17.)

    >>> from pdlib import MLP, SGD, HierarchicalParity, Training
    >>> spec = Training(HierarchicalParity(20, 2, 2), MLP(4), SGD(0.1), n_steps=1, evaluate_every=1)
    >>> rows = FeatureCorrelations((1,), n_samples=64).rows(spec, spec.model.initial(20, 4, seed=0))
    >>> [(row["node"], row["scope"]) for row in rows]
    [(1, 'below'), (2, 'below'), (3, 'below'), (0, 'below'), (1, 'class_0'), (2, 'class_0'), (0, 'class_0')]
    """

    version: ClassVar[int] = 1
    degrees: Several[Count] = (1, 2)  # of the monomials, at most the size of a feature
    n_samples: Count = 50_000  # N, inputs drawn
    n_rest: Count = 200  # monomials of the rest for each degree, at most (degree 1: all)

    def check(self, training: Training) -> None:
        """See `Probe.check`."""
        task = training.task
        if not isinstance(task, HierarchicalParity):
            raise SpecError(f"task {task}: expected a HierarchicalParity, whose nodes have features.")
        k = len(task.features[0])
        require(
            max(self.degrees) <= k,
            f"degrees = {self.degrees}",
            f"at most k = {k}",
            "A feature has no larger part.",
        )

    def rows(self, training: Training, parameters: Parameters, device: str = "cpu") -> list[dict[str, Any]]:
        """Return the rows of one checkpoint."""
        task = cast(HierarchicalParity, training.task)
        bits, _ = task.stream(0, "probe").examples(0, self.n_samples)
        p = softmax(training.model.logits(parameters, bits, device).astype(np.float64)).astype(np.float32)
        floors = noise_floor(p)  # (class,)
        everyone = tuple(range(task.n_classes))
        rows = []
        for degree in self.degrees:
            monomials = {
                n + 1: np.array(list(combinations(feature, degree)), dtype=np.intp)
                for n, feature in enumerate(task.features)
            }
            rest = monomials_off_support(task.n_inputs, task.support, degree, self.n_rest)
            if len(rest):
                monomials[REST] = rest
            sizes = {node: feature_correlations(p, bits, m) for node, m in monomials.items()}
            path = [node for node, _ in task.paths[0]]
            shown = [("below", node, task.below(node) if node != REST else everyone) for node in monomials]
            shown += [("class_0", node, (0,)) for node in (*path, REST) if node in monomials]
            for scope, node, classes in shown:
                of_monomial = sizes[node][list(classes)].mean(axis=0)  # (monomial,)
                rows.append(
                    {
                        "degree": degree,
                        "scope": scope,
                        "node": node,
                        "level": node.bit_length(),
                        "n_monomials": len(of_monomial),
                        "n_classes": len(classes),
                        "mean": float(of_monomial.mean()),
                        "maximum": float(of_monomial.max()),
                        "noise_floor": float(floors[list(classes)].mean()),
                    }
                )
        return rows
