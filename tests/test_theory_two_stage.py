"""Algorithm 1 and its lemmas: closed forms against enumeration, kernels against plain loops."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pdlib.specs import SpecError
from pdlib.theory.first_stage import (
    BatchSizes,
    FirstStageTeacher,
    FirstStep,
    PopulationGradient,
    SeparationShare,
    sampled_gradient,
    steps_from_labels,
)
from pdlib.theory.majority import coefficient, walsh_hadamard
from pdlib.theory.network import (
    Network,
    batch_gradient,
    degree_1,
    first_rate,
    first_stage,
    first_step,
    hinge,
    initial,
    outputs,
    outputs_on_cube,
    population_gradient,
)
from pdlib.theory.second_stage import (
    BestSecondStage,
    FinalTeachers,
    SecondStage,
    SharedDirection,
    best_outputs,
)
from pdlib.theory.setting import cube, parity, signs
from pdlib.theory.two_stage import (
    Stage,
    bits_of_words,
    sample_words,
    teacher_progress,
    train,
    train_outputs,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def some_network(n_bits, width, seed=0):
    r = rng(seed)
    return Network(r.standard_normal((width, n_bits)), r.standard_normal(width), r.standard_normal(width))


# The network and its gradients


def test_the_initialisation_is_mirrored_on_the_grid_and_gives_nothing():
    network = initial(11, 4, 200, rng())
    w, b, a = network
    assert (w[:100] == w[100:]).all()
    assert (b[:100] == b[100:]).all()
    assert (a[:100] == -a[100:]).all()
    assert set(np.abs(w).ravel()) == {1.0}
    assert set(np.abs(a)) == {1 / 200}
    assert sorted(set(np.rint(4 * b).astype(int))) == [-3, -2, -1, 0, 1, 2, 3]
    assert np.abs(outputs_on_cube(network)).max() < 1e-15  # what summing twins apart leaves
    for k in (2, 4):  # zeta_1 > 0 > zeta_3; aligned, each upper neuron has the same weights in the support
        weights = first_stage(11, k, 20, rng(), aligned=True).weights[:, :k]
        np.testing.assert_allclose(weights * ([[1]] * 10 + [[-1]] * 10), 1 / (2 * k), rtol=1e-14)


@pytest.mark.parametrize(("n_bits", "support_size"), [(5, 2), (9, 4), (11, 2), (11, 6), (13, 12)])
def test_the_population_gradient_is_the_average_over_the_cube(n_bits, support_size):
    rows = PopulationGradient(n_bits, support_size, 12).rows()
    assert max(row["error"] for row in rows) < 1e-12
    assert [row["printed_error"] for row in rows] == pytest.approx([2, 2], rel=1e-12)  # the printed sign


def test_the_batch_gradient_is_the_slope_of_the_mean_loss_over_blocks_of_inputs():
    network, x = some_network(5, 3), signs(rng(1), 20_000, 5)
    targets = rng(2).standard_normal(20_000)
    gradient = batch_gradient(network, x, targets)
    for i, j in ((0, 0), (1, 3), (2, 4)):
        ahead, behind = network.weights.copy(), network.weights.copy()
        ahead[i, j] += 1e-6
        behind[i, j] -= 1e-6
        slope = [hinge(outputs(network._replace(weights=w), x), targets).mean() for w in (ahead, behind)]
        assert gradient[i, j] == pytest.approx((slope[0] - slope[1]) / 2e-6, rel=1e-4, abs=1e-8)


def test_against_an_intermediate_teacher_the_gradient_is_half_its_degree_1_coefficients():
    teacher = first_stage(9, 4, 16, rng(1))
    student = initial(9, 4, 8, rng(2))
    found = batch_gradient(student, cube(9), outputs_on_cube(teacher))
    expected = -0.5 * student.outputs[:, None] * degree_1(teacher, 4)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_the_closed_form_is_refused_away_from_the_initialisation():
    network = initial(5, 2, 4, rng())
    for other in (
        network._replace(weights=network.weights / 2),
        network._replace(biases=network.biases + 1),
        network._replace(outputs=np.abs(network.outputs)),
    ):
        with pytest.raises(SpecError, match="no symmetric initialisation"):
            population_gradient(other, 2)


def test_the_first_step_leaves_what_the_lemma_says_only_with_the_cancelling_decay():
    network = initial(11, 4, 20, rng())
    gradient = population_gradient(network, 4)
    chi = parity(network.weights, 4)[:, None] * network.weights
    sign = np.sign(network.outputs)[:, None] * chi * np.sign(coefficient(11, 3))
    ratio = coefficient(11, 5) / coefficient(11, 3)  # negative, as their signs alternate
    right = sign / 8 * np.where(np.arange(11) < 4, 1, ratio)
    cancelling = first_step(network, gradient, support_size=4).weights
    np.testing.assert_allclose(cancelling, right, rtol=1e-12)
    printed = first_step(network, gradient, support_size=4, decay="printed").weights
    np.testing.assert_allclose(printed, right + (1 - 2 * first_rate(11, 4, 20)) * network.weights, rtol=1e-12)
    assert np.abs(printed - right).min() > 100


# Fourier coefficients after the first stage


@pytest.mark.parametrize(
    ("n_bits", "support_size", "aligned"), [(5, 2, False), (9, 4, False), (11, 10, False), (11, 4, True)]
)
def test_coefficients_by_binomial_sums_are_those_of_the_transform(n_bits, support_size, aligned):
    network = first_stage(n_bits, support_size, 30, rng(), aligned=aligned)
    network = network._replace(outputs=rng(1).standard_normal(30))  # any output weights
    all_sets = walsh_hadamard(outputs_on_cube(network))
    found, expected = degree_1(network, support_size), all_sets[2 ** np.arange(n_bits)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(all_sets).max())


def test_the_intermediate_teacher_is_odd_so_that_majority_sees_nothing_of_it():
    rows = {row["group"]: row for row in FirstStageTeacher(11, 4, 64).rows()}
    scale = rows["in_support"]["maximum"]
    for group in ("in_support", "off_support"):
        assert rows[group]["binomial_error"] < 1e-12
        assert rows[group]["majority"] < 1e-12 * scale  # Corollary B.6 prints half of c_j
    assert rows["even"]["maximum"] < 1e-12 * scale
    assert rows["odd_higher"]["maximum"] > 1e-3 * scale
    assert [row["n_monomials"] for row in rows.values()] == [4, 7, 1024, 1024 - 11, 0]


@pytest.mark.parametrize("batch_size", [1, 7, 20_000])
def test_after_one_step_on_any_batch_the_network_is_odd_so_that_majority_sees_nothing(batch_size):
    """Mirrored neurons see the same batch: their weights are opposite once the initial ones are gone."""
    x, rate = cube(9), first_rate(9, 4, 32)
    start, vote = initial(9, 4, 32, rng()), np.sign(x.sum(axis=1))

    def sums(decay):  # f(x) + f(-x), and E f Maj x_i, over the size of f
        stage = Stage(1, batch_size, rate, decay)
        f = outputs_on_cube(train(start, 4, stage, Stage(0, 1, 1.0), rng(batch_size)))
        size = np.abs(f).max()  # the cube backwards holds the opposite inputs
        return np.abs(f + f[::-1]).max() / size, np.abs((f * vote) @ x / len(x)).max() / size

    assert max(sums(0.5 / rate)) < 1e-13  # 2 eta lambda = 1
    for other in (1.0, 0.0, 0.4 / rate):  # the control: the printed decay, none, and one that is close
        assert min(sums(other)) > 1e-5


def test_a_factor_of_d_in_the_batch_keeps_the_coefficients_that_corollary_b6_asks_for():
    """|c_j - c_j of an infinite batch| <= max_i |v_i| <= sqrt(d) tau_g / (k |zeta|), v the error of the weights."""
    d, k, m = 11, 2, 64
    zeta = abs(coefficient(d, k - 1))
    batch = round(2 * np.log(2 * m * d / 0.1) * 256 * d / zeta**2)  # tau_g = |zeta| / (16 sqrt(d))
    assert batch < 2 * np.log(2 * m * d / 0.1) * k**2 * d ** (10 / 3) / zeta**2
    start = initial(d, k, m, rng(), aligned=True)
    whole = first_step(start, population_gradient(start, k), support_size=k)
    for size in (64, batch):
        step = first_step(start, sampled_gradient(start, k, size, rng(1)), support_size=k)
        off = np.linalg.norm(step.weights - whole.weights, axis=1).max()
        found, expected = (walsh_hadamard(outputs_on_cube(net))[2 ** np.arange(d)] for net in (step, whole))
        assert np.abs(found - expected).max() <= off
    assert off <= 1 / (16 * k)
    assert np.abs(found[:k]).min() >= 1 / (16 * k)
    assert np.abs(found[k:]).max() < np.abs(found[:k]).min()


def test_only_the_aligned_teacher_has_the_coefficients_that_the_lemma_asserts():
    assert FirstStageTeacher(11, 4, 240, aligned=True).rows()[0]["minimum"] >= 1 / (8 * 4)
    random = [FirstStageTeacher(11, 4, 240, seed=seed).rows()[0] for seed in range(5)]
    assert max(row["maximum"] for row in random) < 1 / (8 * 4)


def test_random_signs_make_the_coefficients_fall_as_one_over_the_root_of_the_width():
    narrow, wide = (SeparationShare(31, 4, m, 100).rows()[0] for m in (64, 1024))
    assert narrow["mean_in"] / wide["mean_in"] == pytest.approx(4, rel=0.15)
    for row in (narrow, wide):
        assert row["mean_in"] == pytest.approx(row["normal_in"], rel=0.1)
        assert row["mean_off"] == pytest.approx(row["normal_off"], rel=0.1)
        assert row["n_separated"] / 100 == pytest.approx(row["normal_share"], abs=0.15)


# The first step by batches


def test_gradient_errors_fall_as_one_over_the_root_of_the_batch_and_only_the_lemmas_step_arrives():
    sizes = (2**8, 2**12, 2**18)
    table = pd.DataFrame(FirstStep(11, 4, 32, sizes).rows())
    rows = table[table.decay == "cancelling"]
    rms = rows.groupby("batch_size").gradient_rms.mean()
    assert np.polyfit(np.log(sizes), np.log(rms), 1)[0] == pytest.approx(-0.5, abs=0.06)
    assert (rows.gradient_error <= rows.tau_g).all()
    assert (rows.error <= rows.bound).all()
    last = rows[(rows.batch_size == 2**18) & (rows.group == "in_support")].iloc[0]
    assert last.separated == 1
    centre_error = (1 - abs(coefficient(11, 3))) / 8  # the printed centre and the printed decay miss
    assert last.printed_centre_error == pytest.approx(centre_error, abs=last.error)
    assert last.bound < last.printed_centre_error
    assert (table[(table.decay == "printed") & (table.batch_size == 2**18)].error > 100).all()


# The second stage


def plain_outputs_stage(network, support_size, stage, words, targets, alpha):
    """Each step in three lines; the control of the kernel."""
    x, a = bits_of_words(words, network.weights.shape[1]), network.outputs.copy()
    y = parity(x, support_size)
    for start in range(0, len(x), stage.batch_size):
        at = slice(start, start + stage.batch_size)
        unit = np.maximum(x[at] @ network.weights.T + network.biases, 0)
        f = unit @ a
        slope = alpha * y[at] * (f * y[at] < 1) + (1 - alpha) * targets[at] * (f * targets[at] < 1)
        a = a - stage.learning_rate * (-(slope @ unit) / stage.batch_size + 2 * stage.decay * a)
    return a


@pytest.mark.parametrize(
    ("n_bits", "batch_size", "decay", "alpha", "taught"),
    [(11, 1, 0.0, 1.0, True), (11, 3, 0.01, 0.3, True), (67, 2, 0.0, 0.0, True), (11, 1, 0.0, 0.0, False)],
)
def test_the_second_stage_is_plain_gradient_descent(n_bits, batch_size, decay, alpha, taught):
    """Without a teacher alpha is ignored and labels teach; inputs of more than 64 bits take two words."""
    network, teacher = initial(n_bits, 2, 12, rng()), some_network(n_bits, 4)
    stage = Stage(50, batch_size, 0.02, decay)
    teachers = (None, teacher if taught else None)
    trained = train(network, 2, Stage(0, 1, 1.0), stage, rng(5), teachers=teachers, alpha=alpha)
    assert (trained.weights == network.weights).all()
    words = sample_words(50 * batch_size, n_bits, rng(5))
    targets = outputs(teacher, bits_of_words(words, n_bits))
    plain = plain_outputs_stage(network, 2, stage, words, targets, alpha if taught else 1.0)
    np.testing.assert_allclose(trained.outputs, plain, rtol=1e-10, atol=1e-12)
    assert np.abs(plain - network.outputs).max() > 1e-3


@pytest.mark.parametrize(("taught", "batch_size"), [(True, 300), (False, 10_000)])
def test_a_student_learns_its_first_stage_from_labels_and_the_first_teacher_and_moves_nothing_else(
    taught, batch_size
):
    teacher, network = first_stage(5, 2, 8, rng(1)), initial(5, 2, 6, rng(2))
    stage, teachers = Stage(1, batch_size, 0.5, 0.01), (teacher if taught else None, None)
    student = train(network, 2, stage, Stage(0, 1, 1.0), rng(3), teachers=teachers, alpha=0.25)
    r = rng(3)
    words = [sample_words(n, 5, r) for n in ([300] if taught else [8192, 10_000 - 8192])]
    x = bits_of_words(np.concatenate(words), 5)
    gradient = batch_gradient(network, x, parity(x, 2))
    if taught:
        gradient = 0.25 * gradient + 0.75 * batch_gradient(network, x, outputs(teacher, x))
    plain = network.weights - 0.5 * (gradient + 0.02 * network.weights)
    np.testing.assert_allclose(student.weights, plain, rtol=1e-12, atol=1e-14)
    assert (student.outputs == network.outputs).all()
    assert (student.biases == network.biases).all()


def test_a_teacher_of_two_bits_is_trained_within_the_lemmas_steps_and_ends_uncorrelated():
    rows = SecondStage(11, 2, 32, epsilon=0.1, max_steps=10**6, n_evaluation=4096).rows()
    assert rows[0]["step"] == 0
    assert rows[0]["loss"] > 0.9
    assert rows[-1]["reached"]
    assert rows[-1]["step"] < rows[-1]["bound_steps"]
    assert rows[-1]["max_degree_1"] <= 0.1
    assert all(row["max_degree_1"] < row["loss"] for row in rows)  # Corollary B.8, at every step
    *_, last = teacher_progress(11, 2, 32, 0.1, 10**6, seed=0, n_evaluation=4096)
    assert last.step == rows[-1]["step"]
    exact_loss = hinge(outputs_on_cube(last.network), parity(cube(11), 2)).mean()
    assert exact_loss == pytest.approx(rows[-1]["loss"], abs=0.02)


def test_a_small_loss_bounds_the_correlations_of_bounded_predictors_alone():
    rows = pd.DataFrame(FinalTeachers(9, 4, seed=1).rows())
    bounded = rows[rows.largest <= 1 + 1e-12]
    assert len(bounded) > 20
    assert (bounded.correlation <= bounded.loss + 1e-12).all()
    astray = rows[rows.predictor == "wrong on a share"]  # the bound is nearly met
    assert (astray.correlation / astray.loss).max() > 0.4
    assert (rows.loss[0], rows.correlation[0]) == (0.0, 1.0)  # 2y + x_1
    loose = rows[rows.predictor == "unclipped noise"]
    assert (loose.correlation > loose.loss).any()


@pytest.mark.parametrize(("d", "k", "inside"), [(127, 2, True), (101, 2, False), (201, 4, False)])
def test_the_regime_of_the_lemma_leaves_out_four_bits_at_any_feasible_size(d, k, inside):
    (row,) = SecondStage(d, k, 24 if k == 2 else 1000, 0.1, max_steps=1, n_evaluation=1).rows()[:1]
    assert row["in_regime"] == inside


def test_best_outputs_beat_trained_ones_and_need_a_first_stage():
    x, y, loss = cube(9), parity(cube(9), 4), {}
    for name, network in {"start": initial(9, 4, 64, rng()), "first": first_stage(9, 4, 64, rng())}.items():
        units = np.maximum(x @ network.weights.T + network.biases, 0)
        a, loss[name] = best_outputs(units, y)
        assert loss[name] == pytest.approx(hinge(units @ a, y).mean(), abs=1e-9)
    trained = train_outputs(network, 4, Stage(50_000, 1, 0.003), rng(1))
    assert loss["first"] <= hinge(outputs_on_cube(trained), y).mean()
    assert loss["start"] > 0.6


def test_an_intermediate_teacher_leaves_its_student_one_direction():
    (labels,) = BestSecondStage(11, 4, 256, "labels").rows()
    assert labels["n_directions"] > 100
    assert labels["best_loss"] < 0.01
    for aligned in (False, True):
        (row,) = BestSecondStage(11, 4, 256, "intermediate", 240, aligned).rows()
        assert row["n_directions"] == 1
        assert row["n_neurons"] <= 14
        assert (row["best_loss"] < 0.01) == aligned
        assert (row["ratio_off"] < 1) == aligned  # with random signs this support is not separated


def test_one_shared_direction_is_enough_for_two_bits_and_not_for_six():
    assert max(row["best_loss"] for row in SharedDirection(2, n_draws=10).rows()) < 1e-9
    six = SharedDirection(6, n_draws=10).rows()
    assert min(row["lemma_loss"] for row in six) > 0.1
    assert all(row["best_loss"] <= row["lemma_loss"] for row in six)
    assert np.mean([row["sign_changes"] for row in six]) > 11  # more than there are kinks


# Batch sizes


@pytest.mark.parametrize("batch_size", [1, 5, 30])
def test_steps_from_labels_are_plain_gradient_descent(batch_size):
    network = initial(7, 2, 6, rng())
    network = network._replace(
        outputs=40 * rng(1).standard_normal(6)
    )  # margins beyond 1, so that they matter
    words = sample_words(30, 7, rng(2))
    weights, n_inactive = steps_from_labels(*network, words, 2, batch_size, 0.003)
    plain, x = network, bits_of_words(words, 7)
    for part in np.split(x, 30 // batch_size):
        gradient = batch_gradient(plain, part, parity(part, 2))
        plain = plain._replace(weights=plain.weights - 0.003 * gradient)
    np.testing.assert_allclose(weights, plain.weights, rtol=1e-10, atol=1e-12)
    assert 0 < n_inactive < 30


def test_single_inputs_separate_the_support_as_one_batch_of_them_all_does():
    rows = BatchSizes(11, 2, 16, 2**14, (1, 128, 2**14)).rows()
    assert [row["n_steps"] for row in rows] == [2**14, 128, 1]
    separation = [row["separation"] for row in rows]
    assert max(separation) - min(separation) < 0.2
    assert min(separation) > 1
    assert all(row["share"] == 1 for row in rows)
    few = BatchSizes(11, 2, 16, 16, (1, 16)).rows()  # a control: too few inputs show nothing
    assert max(row["share"] for row in few) < 1
