"""Hierarchical parity: labels by the plain definition, its corner cases, and its own part of the engine and the bench."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pdlib.models.mlp import MLP, as_module, logits, softmax
from pdlib.specs import Spec, SpecError
from pdlib.tasks.hierarchical import HierarchicalParity, leaf_class
from pdlib.tasks.parity import SparseParity, parity_class
from pdlib.training.online_sgd import CompiledLearner, TorchLearner

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


def from_leaf(task: HierarchicalParity, bits: NDArray[Any]) -> int:
    """The same by going up from each leaf: the class whose path agrees with every product (the paper's indicator)."""
    agrees = []
    for label in range(task.n_classes):
        node, ok = label + task.n_classes, True
        while node > 1:
            parent, sign = node // 2, 1 if node % 2 == 0 else -1
            feature = task.features[parent - 1]
            ok &= sign * np.prod(bits[list(feature)]) > 0
            node = parent
        agrees.append(ok)
    (label,) = np.flatnonzero(agrees)  # exactly one leaf
    return int(label)


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
    x = every_input(task.n_bits)
    classes = leaf_class(x, task.support_size, task.depth)
    shown = range(len(x)) if len(x) <= 1024 else range(0, len(x), 13)
    assert [int(classes[i]) for i in shown] == [from_root(task, x[i]) for i in shown]
    assert [int(classes[i]) for i in shown] == [from_leaf(task, x[i]) for i in shown]
    assert (
        np.bincount(classes).tolist() == [len(x) // task.n_classes] * task.n_classes
    )  # equiprobable, exactly


def test_a_tree_with_another_feature_at_one_node_is_another_labeling() -> None:
    """The control: the check above sees a single wrong node."""
    x = every_input(7)
    swapped = x[:, [0, 1, 2, 3, 4, 6, 5]]  # nodes 6 and 7 ask each other's features
    assert (leaf_class(swapped, 1, 3) != leaf_class(x, 1, 3)).any()


def test_a_tree_of_depth_1_is_sparse_parity() -> None:
    x, classes = HierarchicalParity(20, 6, 1).stream(0, "train").examples(0, 500)
    np.testing.assert_array_equal(classes, parity_class(x, 6))
    task, parity = HierarchicalParity(20, 6, 1), SparseParity(20, 6)
    assert (task.n_classes, task.support, task.n_inputs) == (2, parity.support, parity.n_inputs)
    assert not np.array_equal(classes, parity_class(x, 5))


def test_the_papers_mirror_image_turns_the_classes_around_and_keeps_the_inputs() -> None:
    mirrored = replace(SMALL, mirrored=True)
    for seed, purpose in ((0, "train"), (3, "evaluation")):
        x, classes = SMALL.stream(seed, purpose).examples(10, 300)
        same, turned = mirrored.stream(seed, purpose).examples(10, 300)
        np.testing.assert_array_equal(x, same)
        np.testing.assert_array_equal(turned, 7 - classes)
    assert SMALL.fingerprint != mirrored.fingerprint


def test_minus_one_goes_left_in_the_mirror_image() -> None:
    all_minus = np.full((1, 7), -1.0)
    assert leaf_class(all_minus, 1, 3).tolist() == [7]
    assert leaf_class(all_minus, 1, 3, mirrored=True).tolist() == [0]


def test_turning_the_branches_alone_is_the_mirror_image_with_its_nodes_features_exchanged() -> None:
    """A third reading (the heap's features stay, -1 goes to child 2n) is the same task to a network: blocks exchanged."""
    x = every_input(7)
    minus_left = leaf_class(-x, 1, 3)  # k = 1: all products change sign
    exchanged = x[:, [0, 2, 1, 6, 5, 4, 3]]  # node n and its mirror image
    np.testing.assert_array_equal(minus_left, leaf_class(exchanged, 1, 3, mirrored=True))
    assert not np.array_equal(minus_left, leaf_class(x, 1, 3, mirrored=True))


@given(st.integers(0, 15), st.integers(0, 3))
def test_a_class_ignores_the_irrelevant_bits_and_every_node_off_its_path(example: int, seed: int) -> None:
    x, classes = SMALL.stream(seed, "train").examples(0, 16)
    bits, label = x[example], classes[example]
    on_path = {i for node, _ in SMALL.paths[label] for i in SMALL.features[node - 1]}
    for j in range(SMALL.n_bits):
        turned = bits.copy()
        turned[j] *= -1
        assert (leaf_class(turned[None], 2, 3)[0] != label) == (j in on_path)


def test_classes_are_equiprobable_within_five_standard_errors() -> None:
    n = 40_000
    _, classes = PAPER.stream(0, "train").examples(0, n)
    share = np.bincount(classes, minlength=8) / n
    assert np.abs(share - 1 / 8).max() < 5 * np.sqrt(1 / 8 * 7 / 8 / n)


# What the task says of itself


def test_the_papers_tree_has_the_features_that_figure_17_lists() -> None:
    assert PAPER.features[0] == (0, 1, 2, 3, 4)
    on_path = [PAPER.features[node - 1] for node, _ in PAPER.paths[0]]
    assert on_path == [tuple(range(5)), tuple(range(5, 10)), tuple(range(15, 20))]  # x1-5, x6-10, x16-20
    assert PAPER.irrelevant == tuple(range(35, 100))
    assert PAPER.support == tuple(range(35))
    assert [sign for _, sign in PAPER.paths[0]] == [1, 1, 1]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_paths_say_which_products_lead_to_a_class(depth: int, mirrored: bool) -> None:
    task = HierarchicalParity(2**depth - 1, 1, depth, mirrored)
    for bits in every_input(task.n_bits):
        label = int(leaf_class(bits[None], 1, depth, mirrored=mirrored)[0])
        agree = [all(bits[n - 1] == sign for n, sign in path) for path in task.paths]
        assert np.flatnonzero(agree).tolist() == [label]


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
    knows_all = np.eye(8)[classes]
    knows_root = np.eye(8)[classes & 4]  # the right half, then always its first leaf
    blind = np.eye(8)[np.zeros_like(classes)]
    assert list(SMALL.scores(knows_all, classes).values()) == [1.0, 1.0, 1.0]
    for values, expected in ((knows_root, [1, 1 / 2, 1 / 4]), (blind, [1 / 2, 1 / 4, 1 / 8])):
        scores = list(SMALL.scores(values, classes).values())
        assert scores == pytest.approx(expected, abs=0.03)
    assert list(SMALL.scores(knows_root, classes)) == [f"accuracy_level_{level}" for level in (1, 2, 3)]
    mirrored = replace(SMALL, mirrored=True)
    assert mirrored.scores(knows_root[:, ::-1], 7 - classes) == SMALL.scores(knows_root, classes)


def test_the_last_level_is_the_accuracy() -> None:
    values = np.random.default_rng(0).normal(size=(500, 8))
    classes = SMALL.stream(0, "evaluation").examples(0, 500)[1]
    assert SMALL.scores(values, classes)["accuracy_level_3"] == (values.argmax(axis=1) == classes).mean()


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


def test_features_may_use_every_coordinate() -> None:
    task = HierarchicalParity(35, 5, 3)
    assert task.irrelevant == ()
    assert Spec.from_canonical(task.canonical()) == task


def test_the_largest_tree_has_its_classes_in_a_byte() -> None:
    task = HierarchicalParity(255, 1, 8)
    _, classes = task.stream(0, "train").examples(0, 20_000)
    assert classes.dtype == np.uint8
    assert set(classes.tolist()) == set(range(256))


# The engine at eight classes


@pytest.mark.parametrize("targets", ["hard", "soft"])
def test_eight_classes_trained_by_the_engine_equal_a_plain_float64_loop(targets: str) -> None:
    task = HierarchicalParity(20, 2, 3)
    n, rate = 3000, 0.02
    x, classes = task.stream(0, "train").examples(0, n, dtype=np.float64)
    teacher = MLP(40).initial(20, 8, seed=9)
    y = np.eye(8)[classes] if targets == "hard" else softmax(logits(teacher, x), 0.1)
    start = MLP(100).initial(20, 8, seed=0)
    module = as_module(start)
    for bits, target in zip(torch.from_numpy(x), torch.from_numpy(y), strict=True):
        module.zero_grad()
        (-(target * torch.log_softmax(module(bits), dim=0)).sum()).backward()
        with torch.no_grad():
            for p in module.parameters():
                p -= rate * p.grad
    expected = {name: value.detach().numpy() for name, value in module.state_dict().items()}
    for state in (CompiledLearner(start), TorchLearner(start, "cpu")):
        inputs = np.zeros((n, state.n_columns))
        inputs[:, :20], inputs[:, 20] = x, 1.0
        state.steps(inputs, y, np.full(n, rate))
        ours = state.parameters()
        assert (
            max(np.abs(ours[name] - start[name]).max() for name in start) > 0.05
        )  # it has learned something
        for name, value in expected.items():
            assert np.abs(ours[name] - value).max() < 1e-10
        wrong = state.parameters()["2.weight"][[1, 0, *range(2, 8)]]  # the control: two classes exchanged
        assert np.abs(wrong - expected["2.weight"]).max() > 1e-3


# The bench


def test_both_sides_of_the_bench_train_the_same_network_on_the_same_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pdlib.bench import hierarchical

    bits = torch.from_numpy(every_input(7))
    task = HierarchicalParity(7, 1, 3)
    assert hierarchical.labels_in_torch(task, bits).tolist() == leaf_class(bits.numpy(), 1, 3).tolist()
    monkeypatch.setattr(hierarchical, "STEPS", (8192, 64))
    (row,) = hierarchical.rows()
    assert row["unit"] == "us/step"
    assert "8 classes" in row["case"]
    assert row["ours"] > 0  # how fast is the bench's business
