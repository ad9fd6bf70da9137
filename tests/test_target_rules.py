"""What a student is told in place of what its teacher says: closed forms, by the Fourier coefficients of the targets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tiny
from examples import TEACHER
from numpy.typing import NDArray

from pdlib.labels import Targets
from pdlib.models.mlp import MLP, softmax
from pdlib.models.transformer import Transformer
from pdlib.schedules import Explicit, OneShot
from pdlib.specs import Distillation, Piece, Run, SpecError, Training
from pdlib.store import Store
from pdlib.target_rules import (
    AnnealedTemperature,
    Checkpoint,
    Imitation,
    LabelMixture,
    OtherSupport,
    RandomProjection,
    Sampled,
    TwoTemperatures,
    WithoutDegrees,
)
from pdlib.tasks.grammar import grammar
from pdlib.tasks.hierarchical import HierarchicalParity
from pdlib.tasks.masked import MaskedPrediction
from pdlib.tasks.parity import SparseParity
from pdlib.training import train

N = 200_000  # examples; a mean of signs is then known to .0022, and the tests allow five times that
CLOSE = 5 / N**0.5
TASK = SparseParity(12, 3)
X, CLASSES = TASK.stream(3, "train").examples(0, N)
SIGNS = 1.0 - 2.0 * CLASSES
KINDS = [Sampled(2), LabelMixture(), TwoTemperatures(2.0, 0.5), AnnealedTemperature(200), Imitation((1, 2))]
KINDS += [WithoutDegrees((1, 2)), OtherSupport(3), RandomProjection(150)]
EARLY = Explicit((250, -1), (200,))


def examples() -> dict[str, Run]:
    base = {"model": MLP(8), "n_steps": 400, "precision": "float64", "evaluate_every": 400}
    return {type(rule).__name__: tiny.student(TEACHER, EARLY, rule, **base) for rule in KINDS}


def leaning() -> Checkpoint:
    """A network in transition, made by hand: it says the sign of y + x_0 + x_1 / 2 + x_3 + ... + x_8, less 2.

    Three units draw the parity of three coordinates from their sum, two units each linear part.
    """
    on, part = np.eye(12)[:3].sum(axis=0), np.array([1.0, 0.5, 0.1] + [1.0] * 6 + [0.0] * 3)
    network = {
        "0.weight": np.array([on, on, on, part, -part]),
        "0.bias": np.array([3.0, 1.0, -1.0, 0.0, 0.0]),
        "2.weight": np.array([[1.0, -2.0, 2.0, 1.0, -1.0], [0.0] * 5]),
        "2.bias": np.array([-3.05, 0.0]),
    }
    return Checkpoint(TASK, MLP(5), network, "leaning")


def signs(targets: NDArray[Any]) -> NDArray[np.float64]:
    return 1.0 - 2.0 * targets


def coefficients(s: NDArray[Any]) -> NDArray[np.float64]:
    """E[s x_j] of every coordinate, then E[s y]."""
    return np.append(s @ X.astype(float), s @ SIGNS) / N


def of_checkpoint() -> NDArray[np.float64]:
    return coefficients(signs(leaning().logits(X).argmax(axis=1)))


def test_the_network_of_these_tests_shows_the_support_and_agrees_with_the_parity() -> None:
    found = of_checkpoint()
    assert np.abs(found[[0, 1, -1]]).min() > 8 * CLOSE
    assert np.abs(found[3:9]).min() > 8 * CLOSE, "it leans to coordinates off the support too"
    assert np.abs(found[[0, 1, 2, -1]]).sum() < 1, "so that labels of these means can be drawn"


def test_sampled_labels_have_the_teachers_distribution_as_their_mean_and_a_larger_m_begins_with_a_smaller() -> (
    None
):
    p = softmax(leaning().logits(X) / 2)
    one, four = (Sampled(m, temperature=2.0).of(leaning())(X, CLASSES, 0) for m in (1, 4))
    assert set(np.unique(one)) == {0.0, 1.0}
    assert np.allclose(four.sum(axis=1), 1)
    assert abs((one - p).mean(axis=0)).max() < CLOSE
    assert ((one - p) ** 2).mean() == pytest.approx(4 * ((four - p) ** 2).mean(), rel=0.02)  # 1/m
    assert (four[one == 1] >= 0.25).all(), "the first of four is the one"
    cold = Sampled(3, temperature=1e-6).of(leaning())(X, CLASSES, 0)
    np.testing.assert_array_equal(cold.argmax(axis=1), leaning().logits(X).argmax(axis=1))
    assert set(np.unique(cold)) == {0.0, 1.0}


def test_a_mixture_goes_from_the_teacher_to_the_labels() -> None:
    p = softmax(leaning().logits(X))
    teacher, half, labels = (LabelMixture(a).of(leaning())(X, CLASSES, 0) for a in (0.0, 0.5, 1.0))
    np.testing.assert_array_equal(teacher, p)
    np.testing.assert_array_equal(labels.argmax(axis=1), CLASSES)
    assert labels.max(axis=1).min() == 1
    np.testing.assert_allclose(half, (teacher + labels) / 2)


def test_a_temperature_for_each_kind_of_checkpoint_and_one_that_falls() -> None:
    logits = leaning().logits(X[:30])
    rule = TwoTemperatures(2.0, 0.5)
    np.testing.assert_allclose(rule.of(leaning())(X[:30], CLASSES[:30], 0), softmax(logits, 2.0))
    last = replace(leaning(), final=True)
    np.testing.assert_allclose(rule.of(last)(X[:30], CLASSES[:30], 0), softmax(logits, 0.5))
    falling = AnnealedTemperature(100, first=4.0, last=1.0, n_stages=2).of(leaning())
    found = falling(X[:30], CLASSES[:30], 35)  # examples 35 to 64: the stage changes at 50
    np.testing.assert_allclose(found[:15], softmax(logits[:15], 4.0))
    np.testing.assert_allclose(found[15:], softmax(logits[15:], 1.0))


def pairs(s: NDArray[Any]) -> NDArray[np.float64]:
    """E[s x_i x_j] of the pairs in the support."""
    return np.array([(s * X[:, i] * X[:, j]).mean() for i, j in ((0, 1), (0, 2), (1, 2))])


def test_noise_is_as_accurate_as_the_checkpoint_and_leaks_the_degrees_that_it_is_asked_for() -> None:
    checkpoint, of_pairs = of_checkpoint(), pairs(signs(leaning().logits(X).argmax(axis=1)))
    assert np.abs(of_pairs).max() > 3 * CLOSE
    for degrees in ((), (1,), (1, 2)):
        s = signs(Imitation(degrees).of(leaning())(X, CLASSES, 0))
        found = coefficients(s)
        assert found[-1] == pytest.approx(checkpoint[-1], abs=2 * CLOSE)
        assert np.abs(found[3:12]).max() < CLOSE  # what the network shows off the support is no part of it
        np.testing.assert_allclose(found[:3], checkpoint[:3] * (1 in degrees), atol=2 * CLOSE)
        np.testing.assert_allclose(pairs(s), of_pairs * (2 in degrees), atol=2 * CLOSE)


def test_a_projection_takes_the_signal_of_its_degrees_off_and_leaves_the_rest_in_its_size() -> None:
    checkpoint = of_checkpoint()
    share = 1 / (1 + np.abs(checkpoint[:3]).sum())
    without, kept = (
        coefficients(signs(WithoutDegrees((1,), k).of(leaning())(X, CLASSES, 0))) for k in (False, True)
    )
    np.testing.assert_allclose(kept, share * checkpoint, atol=2 * CLOSE)
    np.testing.assert_allclose(without[3:], kept[3:], atol=2 * CLOSE)
    assert np.abs(without[:3]).max() < 2 * CLOSE


def test_another_support_has_the_same_coefficients_elsewhere() -> None:
    found = coefficients(signs(OtherSupport(3).of(leaning())(X, CLASSES, 0)))
    np.testing.assert_allclose(found[3:6], of_checkpoint()[:3], atol=2 * CLOSE)
    assert np.abs(found[[*range(3), -1]]).max() < CLOSE


def test_a_random_projection_splits_inputs_at_its_mean_and_gives_way_to_the_teacher() -> None:
    told = RandomProjection(150).of(leaning())(X[:300], CLASSES[:300], 0)
    key = RandomProjection(150).of(leaning())(X[:300], CLASSES[:300], 10_000)  # past its examples
    np.testing.assert_array_equal(key, leaning().logits(X[:300]).argmax(axis=1))
    np.testing.assert_array_equal(told[150:], key[150:])
    assert (told[:150] != key[:150]).any()
    hidden = np.maximum(X @ leaning().parameters["0.weight"].T + leaning().parameters["0.bias"], 0)
    seen = RandomProjection(N).of(leaning())(X, CLASSES, 0)
    groups = list(np.unique(hidden, axis=0))
    assert all(len(set(seen[(hidden == h).all(axis=1)])) == 1 for h in groups), "a function of the layer"
    other = RandomProjection(N, untrained=True).of(leaning())(X, CLASSES, 0)
    assert any(len(set(other[(hidden == h).all(axis=1)])) == 2 for h in groups), "the control"


# With the labels


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("rules"), published=None)
    train(TEACHER, store)
    return store


@pytest.mark.parametrize("rule", KINDS, ids=lambda rule: type(rule).__name__)
def test_targets_are_the_same_block_by_block_and_the_final_checkpoint_keeps_its_own(
    taught: Store, rule: Any
) -> None:
    student = tiny.student(TEACHER, EARLY, rule, n_steps=400, precision="float64")
    assert Training.from_canonical(student.canonical()) == student
    targets = Targets(student, taught)
    _, classes = student.stream.examples(0, 400)
    whole = targets.of(0, 400, classes)
    parts = [Targets(student, taught).of(a, a + 100, classes[a : a + 100]) for a in range(0, 400, 100)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert len(whole) == 400
    plain = replace(student, supervision=replace(student.supervision, targets="hard"))
    own = Targets(plain, taught).of(0, 400, classes)
    if rule.final_too:
        return
    np.testing.assert_array_equal(whole[200:], own[200:])
    assert (whole[:200] != own[:200]).any()
    assert targets.key(Piece(200, 400, TEACHER.n_steps))["kind"] == "hard", "shared with other students"


@pytest.mark.parametrize("rule", KINDS, ids=lambda rule: type(rule).__name__)
def test_a_student_in_float32_learns_by_a_rule_of_a_teacher_in_float32(taught: Store, rule: Any) -> None:
    single = replace(TEACHER, precision="float32")
    train(single, taught)
    student = tiny.student(single, EARLY, rule, n_steps=400)
    assert np.isfinite(train(student, taught).loss_nats).all()


def test_a_mixture_of_nothing_is_a_soft_target(taught: Store) -> None:
    rule, plain = (
        tiny.student(TEACHER, OneShot(), t, n_steps=100, precision="float64", evaluate_every=100)
        for t in (LabelMixture(0.0), "soft")
    )
    _, classes = rule.stream.examples(0, 100)
    found, own = (Targets(s, taught).of(0, 100, classes) for s in (rule, plain))
    np.testing.assert_allclose(found, own, atol=1e-12)
    assert rule.fingerprint != plain.fingerprint


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Sampled(0), "n_labels = 0: expected a whole number of at least 1"),
        (lambda: LabelMixture(1.5), r"label_weight = 1.5: expected a number in \[0, 1\]"),
        (lambda: AnnealedTemperature(10, n_stages=1), "n_stages = 1"),
        (lambda: RandomProjection(0), "n_examples = 0"),
        (lambda: Distillation(tiny.TEACHER, OneShot(), 2.0, Sampled(2)), "a rule has its own"),
        (lambda: tiny.student(targets=OtherSupport(1)), r"shift = 1: expected one that takes no coordinate"),
        (
            lambda: tiny.student(targets=Imitation((1, 3))),
            r"degrees = \(1, 3\): expected distinct ones below k = 3",
        ),
        (lambda: tiny.student(targets=WithoutDegrees((1, 1))), r"degrees = \(1, 1\): expected distinct"),
        (lambda: tiny.student(targets="hot"), "targets = 'hot': expected 'soft' or 'hard' or a TargetRule"),
    ],
)
def test_rules_that_mean_nothing_are_refused(make: Any, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        make()


def test_a_rule_on_a_task_or_teacher_without_what_it_needs_is_refused() -> None:
    attentive = replace(TEACHER, model=Transformer(1, 2, 4, n_positions=10))
    with pytest.raises(SpecError, match=r"a projection of Transformer\(.*expected an MLP"):
        tiny.student(attentive, OneShot(), RandomProjection(10))
    tree = replace(TEACHER, task=HierarchicalParity(10, 1, 3))
    with pytest.raises(
        SpecError, match=r"Imitation\(.* on HierarchicalParity.*: expected a task of two classes"
    ):
        tiny.student(tree, OneShot(), Imitation((1, 2)), task=tree.task)
    words = MaskedPrediction(grammar("cfg3b", roots=(14, 15)))
    model = Transformer(1, 2, 4, n_positions=words.n_inputs, vocabulary=words.vocabulary)
    text = replace(TEACHER, task=words, model=model)
    with pytest.raises(SpecError, match=r"Sampled on MaskedPrediction.*one class each"):
        tiny.student(text, OneShot(), Sampled(2), task=words, model=model)
