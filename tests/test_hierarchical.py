"""Hierarchical parity: labels by the plain definition, its corner cases; its probe, and its part of engine and bench."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from pdlib.probes.features import FeatureCorrelations
from pdlib.specs import SpecError
from pdlib.tasks.hierarchical import HierarchicalParity, leaf_class
from pdlib.tasks.parity import SparseParity, parity_class

PAPER = HierarchicalParity(n_bits=100, support_size=5, depth=3)
SMALL = HierarchicalParity(n_bits=15, support_size=2, depth=3)


def every_input(n_bits: int) -> NDArray[Any]:
    return np.array(list(product([1.0, -1.0], repeat=n_bits)))


def from_root(task: HierarchicalParity, bits: NDArray[Any]) -> int:
    """The class of one input, by going down the tree."""
    node = 1
    for _ in range(task.depth):
        feature = [bits[task.support_size * (node - 1) + i] for i in range(task.support_size)]
        node = 2 * node if np.prod(feature) == 1 else 2 * node + 1
    return node - task.n_classes


# The labels


@pytest.mark.parametrize(
    "task",
    [
        HierarchicalParity(7, 1, 3),
        HierarchicalParity(10, 3, 2),
        HierarchicalParity(14, 2, 3),
        HierarchicalParity(5, 4, 1),
    ],
)
def test_every_input_gets_the_class_of_its_one_leaf(task: HierarchicalParity) -> None:
    """By going down the tree, and by the one path whose products all agree (the paper's indicator)."""
    x = every_input(task.n_bits)
    for mirrored in (False, True):
        classes = leaf_class(x, task.support_size, task.depth, mirrored=mirrored)
        assert np.bincount(classes).tolist() == [len(x) // task.n_classes] * task.n_classes
        paths = replace(task, mirrored=mirrored).paths
        for i in range(0, len(x), 1 + len(x) // 1024):
            found = from_root(task, x[i])
            assert classes[i] == (task.n_classes - 1 - found if mirrored else found)
            agree = [
                all(np.prod(x[i, list(task.features[n - 1])]) == sign for n, sign in path) for path in paths
            ]
            assert np.flatnonzero(agree).tolist() == [classes[i]]


def test_a_tree_of_depth_1_is_sparse_parity() -> None:
    task, parity = HierarchicalParity(20, 6, 1), SparseParity(20, 6)
    x, classes = task.stream(0, "train").examples(0, 500)
    np.testing.assert_array_equal(classes, parity_class(x, range(6)))
    assert (task.n_classes, task.support, task.n_inputs) == (2, parity.support, parity.n_inputs)
    assert not np.array_equal(classes, parity_class(x, range(5)))


def test_the_papers_mirror_image_turns_the_classes_around_and_keeps_the_inputs() -> None:
    mirrored = replace(SMALL, mirrored=True)
    for seed, purpose in ((0, "train"), (3, "evaluation")):
        x, classes = SMALL.stream(seed, purpose).examples(10, 300)
        same, turned = mirrored.stream(seed, purpose).examples(10, 300)
        np.testing.assert_array_equal(x, same)
        np.testing.assert_array_equal(turned, 7 - classes)
    assert SMALL.fingerprint != mirrored.fingerprint
    assert leaf_class(np.full((1, 7), -1.0), 1, 3, mirrored=True).tolist() == [0]


def test_turning_the_branches_alone_is_the_mirror_image_with_its_nodes_features_exchanged() -> None:
    """A third reading (the heap's features stay, -1 goes to child 2n) is the same task to a network: blocks exchanged."""
    x = every_input(7)
    minus_left = leaf_class(-x, 1, 3)  # k = 1: all products change sign
    exchanged = x[:, [0, 2, 1, 6, 5, 4, 3]]  # node n and its mirror image
    np.testing.assert_array_equal(minus_left, leaf_class(exchanged, 1, 3, mirrored=True))
    assert not np.array_equal(minus_left, leaf_class(x, 1, 3, mirrored=True))


# What the task says of itself


def test_the_papers_tree_has_the_features_that_figure_17_lists() -> None:
    assert PAPER.features[0] == (0, 1, 2, 3, 4)
    on_path = [PAPER.features[node - 1] for node, _ in PAPER.paths[0]]
    assert on_path == [tuple(range(5)), tuple(range(5, 10)), tuple(range(15, 20))]  # x1-5, x6-10, x16-20
    assert PAPER.irrelevant == tuple(range(35, 100))
    assert PAPER.support == tuple(range(35))
    assert [sign for _, sign in PAPER.paths[0]] == [1, 1, 1]


@pytest.mark.parametrize("mirrored", [False, True])
def test_half_of_the_classes_below_a_node_lie_on_each_of_its_sides(mirrored: bool) -> None:
    task = replace(PAPER, mirrored=mirrored)
    assert task.below(1) == tuple(range(8))
    for node in range(1, 8):
        level = int(np.log2(node))
        assert len(task.below(node)) == 8 // 2**level
        signs = [sign for c in task.below(node) for n, sign in task.paths[c] if n == node]
        assert sum(signs) == 0
    assert task.below(2) == ((0, 1, 2, 3) if not mirrored else (4, 5, 6, 7))


def test_a_prediction_is_scored_level_by_level() -> None:
    _, classes = SMALL.stream(0, "evaluation").examples(0, 4000)
    knows_root = classes & 4  # the right half, then always its first leaf
    blind = np.zeros_like(classes)
    assert list(SMALL.scores(classes, classes).values()) == [1.0, 1.0, 1.0]
    for predicted, expected in ((knows_root, [1, 1 / 2, 1 / 4]), (blind, [1 / 2, 1 / 4, 1 / 8])):
        scores = list(SMALL.scores(predicted, classes).values())
        assert scores == pytest.approx(expected, abs=0.03)
    assert list(SMALL.scores(knows_root, classes)) == [f"accuracy_level_{level}" for level in (1, 2, 3)]
    mirrored = replace(SMALL, mirrored=True)
    assert mirrored.scores(7 - knows_root, 7 - classes) == SMALL.scores(knows_root, classes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((34, 5, 3), "7 nodes of support_size k = 5, 35 coordinates: expected at most n_bits d = 34"),
        ((60, 0, 3), "support_size = 0"),
        ((60, 5, 0), "depth = 0"),
        ((1000, 1, 9), "depth D = 9: expected at most 8"),
        ((60, 5, 3, 1), "mirrored = 1"),
    ],
)
def test_a_tree_that_cannot_be_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        HierarchicalParity(*arguments)


def test_the_largest_tree_has_its_classes_in_a_byte_and_features_may_use_every_coordinate() -> None:
    task = HierarchicalParity(255, 1, 8)
    assert task.irrelevant == ()
    _, classes = task.stream(0, "train").examples(0, 10_000)
    assert classes.dtype == np.uint8
    assert set(classes.tolist()) == set(range(256))


# The probe

N = 10_000


def probed(
    task: Any, predictor: Callable[[NDArray[Any]], NDArray[Any]], degrees: tuple[int, ...] = (1, 2)
) -> pd.DataFrame:
    """The probe's rows for a predictor of probabilities (example, class), by degree, scope and node."""
    model = SimpleNamespace(logits=lambda _, bits, device: np.log(predictor(bits)))
    rows = FeatureCorrelations(degrees, n_samples=N, n_rest=50).rows(
        SimpleNamespace(task=task, model=model), {}
    )  # type: ignore[arg-type]
    return pd.DataFrame(rows).set_index(["degree", "scope", "node"]).sort_index()


def hints(task: HierarchicalParity, node: int, pair: tuple[int, int], size: float) -> Any:
    """A predictor that knows nothing but one pair of coordinates, and that for the classes below one node alone."""

    def predictor(bits: NDArray[Any]) -> NDArray[Any]:
        below = list(task.below(node))
        sign = np.array([sign for c in below for n, sign in task.paths[c] if n == node])
        p = np.full((len(bits), task.n_classes), 1 / task.n_classes)
        p[:, below] *= 1 + size * np.outer(bits[:, pair[0]] * bits[:, pair[1]], sign)
        return p

    return predictor


TREE = HierarchicalParity(30, 3, 3)


@pytest.mark.parametrize(("node", "mirrored"), [(1, False), (2, True), (6, False)])
def test_a_pair_that_a_predictor_follows_shows_at_its_node_and_degree_alone(
    node: int, mirrored: bool
) -> None:
    task = replace(TREE, mirrored=mirrored)
    a, b, _ = task.features[node - 1]
    rows = probed(task, hints(task, node, (a, b), 0.8))
    shown = rows.loc[2, "below", node]
    assert shown.maximum == pytest.approx(0.8 / 8, abs=0.005)
    assert shown["mean"] == pytest.approx(0.8 / 8 / 3, abs=0.005)  # one of three pairs
    others = rows.drop(index=[(2, "below", node), (2, "class_0", node)], errors="ignore")
    assert len(rows) - len(others) == 1 + (node in [n for n, _ in task.paths[0]])
    assert (others["mean"] < 3 * others.noise_floor).all()
    assert (rows.loc[[i for i in rows.index if i[2] == 0], "mean"] > 0.5 * rows.noise_floor.min()).all()


def test_the_class_alone_shows_its_path_and_no_other_node() -> None:
    a, b, _ = TREE.features[1]
    rows = probed(TREE, hints(TREE, 2, (a, b), 0.8))
    assert rows.loc[2].loc["class_0"].index.tolist() == [0, 1, 2, 4]
    assert rows.loc[2, "class_0", 2]["mean"] == pytest.approx(0.8 / 8 / 3, abs=0.005)
    assert (
        rows.loc[2, "class_0", 2].level,
        rows.loc[2, "class_0", 4].level,
        rows.loc[2, "class_0", 0].level,
    ) == (2, 3, 0)
    other = probed(TREE, hints(TREE, 3, TREE.features[2][:2], 0.8))  # type: ignore[arg-type]
    assert (
        other.loc[2].loc["class_0"]["mean"] < 3 * other.loc[2].loc["class_0"].noise_floor
    ).all()  # the control


def test_the_labels_themselves_show_whole_features_and_no_part_of_one() -> None:
    def truth(bits: NDArray[Any]) -> NDArray[Any]:
        return np.eye(8)[leaf_class(bits, 3, 3)] + 1e-9

    rows = probed(TREE, truth, degrees=(1, 2, 3))
    for node in range(1, 8):  # each class below a node lies on one side of it: 1/8 times +-1
        assert rows.loc[3, "below", node]["mean"] == pytest.approx(1 / 8, abs=0.01)
    for degree in (1, 2):
        assert (rows.loc[degree]["mean"] < 2 * rows.loc[degree].noise_floor).all()
    shuffled = np.random.default_rng(0).permutation(N)
    nothing = probed(TREE, lambda bits: truth(bits)[shuffled], degrees=(3,))  # the control
    assert (nothing["mean"] < 5 * nothing.noise_floor).all()


def test_rows_are_two_dozen_a_checkpoint_and_say_over_what_they_average() -> None:
    rows = probed(HierarchicalParity(60, 5, 3), lambda bits: np.full((len(bits), 8), 1 / 8))
    assert len(rows) == 24  # (7 nodes + rest + a path of 3 + rest) for each of two degrees
    assert rows.loc[1, "below"].n_monomials.tolist() == [25, *[5] * 7]  # all irrelevant coordinates
    assert rows.loc[2, "below"].n_monomials.tolist() == [50, *[10] * 7]
    assert rows.loc[1, "below"].n_classes.tolist() == [8, 8, 4, 4, 2, 2, 2, 2]
    assert rows.loc[1, "below"].level.tolist() == [0, 1, 2, 2, 3, 3, 3, 3]
    whole = probed(HierarchicalParity(6, 2, 2), lambda bits: np.full((len(bits), 4), 1 / 4))
    assert 0 not in whole.index.get_level_values("node")  # no rest where every coordinate is used
