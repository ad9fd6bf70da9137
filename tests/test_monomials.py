"""Monomial correlations: closed forms, a plain loop, and monomials off the support that stay off it."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from pdlib import labels
from pdlib.models.mlp import MLP, logits, softmax
from pdlib.probes.monomials import MonomialCorrelations, monomial_correlations, monomials_off_support
from pdlib.probes.softness import Softness
from pdlib.specs import Parameters, SpecError
from pdlib.store import Store
from pdlib.tasks.parity import SparseParity

TASK = SparseParity(8, 3)
N = 20_000


def perfect() -> Parameters:
    """A network that is certain of the parity of the first three of eight bits: a tent over their sum."""
    w = np.zeros((4, 8))
    w[:, :3] = 1.0
    b = np.array([4.0, 2.0, 0.0, -2.0])  # the sum is -3, -1, 1 or 3: relu's kinks lie between
    # f(sum) with f(-3), f(-1), f(1), f(3) = -1, 1, -1, 1 in units of certainty
    kinks = np.maximum(np.array([-3.0, -1.0, 1.0, 3.0])[:, None] + b, 0)
    a = np.linalg.solve(kinks, np.array([-1.0, 1.0, -1.0, 1.0])) * 200
    return {"0.weight": w, "0.bias": b, "2.weight": np.stack([a, -a]), "2.bias": np.zeros(2)}


def test_the_whole_cube_gives_closed_forms_exactly() -> None:
    cube = 1.0 - 2.0 * ((np.arange(256)[:, None] >> np.arange(8)) & 1)
    p = 0.5 + 0.2 * cube[:, 1] - 0.1 * cube[:, 0] * cube[:, 3] + 0.05 * cube[:, [2, 4, 6]].prod(axis=1)
    assert monomial_correlations(p, cube, np.array([[1], [0]])) == pytest.approx([0.2, 0.0], abs=1e-15)
    assert monomial_correlations(p, cube, np.array([[0, 3], [0, 1]])) == pytest.approx([-0.1, 0.0], abs=1e-15)
    assert monomial_correlations(p, cube, np.array([[6, 2, 4], [1, 2, 3]])) == pytest.approx(
        [0.05, 0], abs=1e-15
    )


@given(st.integers(1, 4), st.integers(0, 100))
def test_products_of_columns_equal_a_plain_loop(degree: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    bits = generator.choice([-1.0, 1.0], (50, 6))
    p = generator.random(50)
    rows = [generator.choice(6, degree, replace=False).tolist() for _ in range(5)]
    plain = []
    for row in rows:
        total = 0.0
        for n in range(50):
            product = 1.0
            for j in row:
                product *= bits[n, j]
            total += p[n] * product
        plain.append(total / 50)
    found = monomial_correlations(np.stack([p, 1 - 2 * p], axis=1), bits, np.array(rows))  # (class, monomial)
    assert found[0] == pytest.approx(plain, abs=1e-14)
    assert monomial_correlations(p, bits, np.array(rows)).tolist() == pytest.approx(plain, abs=1e-14)
    assert found[1] == pytest.approx(
        np.mean([bits[:, row].prod(axis=1) for row in rows], axis=1) - 2 * found[0]
    )


@pytest.mark.parametrize(
    ("monomial", "said"),
    [
        ([2, 2], r"monomial \[2, 2\]: expected distinct positions"),
        ([0, 8], r"positions 0 to 8: expected positions from 0 to 7"),
        ([-1, 0], r"positions -1 to 0: expected positions from 0 to 7"),
    ],
)
def test_a_monomial_of_another_degree_than_it_seems_is_an_error(monomial: list[int], said: str) -> None:
    bits, _ = TASK.stream(0, "probe").examples(0, 10)
    with pytest.raises(SpecError, match=said):
        monomial_correlations(np.ones(10), bits, np.array([monomial]))


@given(d=st.integers(3, 12), data=st.data(), degree=st.integers(1, 3), at_most=st.integers(1, 60))
def test_monomials_off_the_support_are_distinct_and_never_inside_it(
    d: int, data: st.DataObject, degree: int, at_most: int
) -> None:
    support = tuple(range(data.draw(st.integers(1, d - 1))))
    rows = monomials_off_support(d, support, degree, at_most).tolist()
    n_all = comb(d, degree) - comb(len(support), degree)
    assert len(rows) == (n_all if degree == 1 else min(at_most, n_all))
    assert rows == monomials_off_support(d, support, degree, at_most).tolist()
    assert len({tuple(row) for row in rows}) == len(rows)
    for row in rows:
        assert sorted(set(row)) == row
        assert not set(row) <= set(support)
        assert 0 <= row[0] <= row[-1] < d


# The probe


def test_the_probe_of_a_perfect_network_shows_its_parity_and_nothing_else() -> None:
    probe = MonomialCorrelations((1, 2, 3), n_samples=N, n_off_support=1000)
    bits, classes = TASK.stream(0, "probe").examples(0, N)
    p = softmax(logits(perfect(), bits))[:, 0]
    assert ((p > 0.5) == (classes == 0)).all()
    rows = {(r["degree"], r["group"]): r for r in probe.rows(tiny.training(task=TASK), perfect())}
    assert rows[3, "in_support"]["mean"] == pytest.approx(0.5, abs=0.01)
    for key, row in rows.items():
        if key != (3, "in_support"):
            assert row["mean"] < 2 * row["noise_floor"]
            assert row["maximum"] < 6 * row["noise_floor"]
        assert row["minimum"] <= row["mean"] <= row["maximum"]
    assert rows[1, "off_support"]["n_monomials"] == 5
    assert rows[2, "off_support"]["n_monomials"] == comb(8, 2) - comb(3, 2)
    assert rows[3, "off_support"]["n_monomials"] == comb(8, 3) - 1


def test_the_noise_floor_is_what_a_predictor_shows_that_ignores_the_monomials() -> None:
    """A constant 1/2 follows nothing: all it shows is the draw of the inputs."""
    silent = {k: np.zeros_like(v) for k, v in MLP(1).initial(40, 2, 0).items()}
    task = SparseParity(40, 3)
    rows = MonomialCorrelations((2,), n_samples=2000, n_off_support=700).rows(
        tiny.training(task=task), silent
    )
    off = next(r for r in rows if r["group"] == "off_support")
    assert off["noise_floor"] == pytest.approx(0.5 * np.sqrt(2 / (np.pi * 2000)), rel=1e-6)
    assert off["mean"] == pytest.approx(off["noise_floor"], rel=0.1)


def test_correlations_of_hard_labels_are_those_of_the_teachers_argmax_on_the_students_inputs(
    taught: Store,
) -> None:
    student = tiny.student(seed=5)  # four checkpoints, fifty steps each, then the last one
    probe = MonomialCorrelations((1, 2), n_off_support=20)
    piece = student.pieces[1]
    inputs, said = labels.predictions(student, taught, piece.checkpoint)
    own = probe.of_prediction(student.task, inputs, said == 0)[0]
    bits, _ = student.stream.examples(0, student.n_steps)
    mine = bits[piece.start : piece.stop]
    first = logits(taught.load_checkpoint(tiny.TEACHER, piece.checkpoint), mine).argmax(axis=1) == 0
    assert (own["degree"], own["group"]) == (1, "in_support")
    assert own["mean"] == pytest.approx(np.mean([abs((first * mine[:, j]).mean()) for j in range(3)]))
    _, others = labels.predictions(student, taught, student.pieces[0].checkpoint)
    assert (others != said).any()  # the control: another checkpoint says something else


def test_a_temperature_near_zero_makes_a_distribution_hard_and_a_high_one_soft() -> None:
    rows = Softness((1e-4, 1.0, 1e4), n_samples=2000).rows(tiny.training(task=TASK), perfect())
    assert [r["share_soft"] for r in rows] == [0.0, 0.0, 1.0]
    assert rows[2]["mean_largest"] == pytest.approx(0.505, abs=0.01)
    bits, _ = TASK.stream(0, "probe").examples(0, 2000)
    small = MLP(20).initial(8, 2, seed=3)
    (row,) = Softness((0.05,), n_samples=2000, margin=0.01).rows(tiny.training(task=TASK), small)
    plain = [max(np.exp(f / 0.05) / np.exp(f / 0.05).sum()) < 0.99 for f in logits(small, bits)]
    assert row["share_soft"] == np.mean(plain)
