"""Schedules: every student step has exactly one teacher checkpoint, and it is one that the teacher kept."""

from __future__ import annotations

from itertools import pairwise

import pytest
import tiny
from hypothesis import assume, given
from hypothesis import strategies as st

from pdlib.schedules import EqualSplit, Explicit, KappaSplit, MultiplesSplit, OneShot, Progressive
from pdlib.specs import Piece, Schedule, SpecError

KEPT = tuple(range(10, 130, 10))  # a teacher of 120 steps, a checkpoint every 10
DIVISORS = st.sampled_from([1, 2, 3, 4, 6, 12])
LENGTHS = st.integers(1, 400)


def by_step(schedule: Schedule, n_steps: int) -> list[int]:
    """The checkpoint of every step; fails unless the pieces cover the run without gap or overlap."""
    pieces = schedule.pieces(KEPT, n_steps)
    assert pieces[0].start == 0
    assert pieces[-1].stop == n_steps
    assert all(a.stop == b.start for a, b in pairwise(pieces))
    assert all(p.start < p.stop and p.checkpoint in KEPT for p in pieces)
    return [p.checkpoint for p in pieces for _ in range(p.start, p.stop)]


@given(LENGTHS)
def test_one_shot_uses_the_final_checkpoint_throughout(n_steps: int) -> None:
    assert by_step(OneShot(), n_steps) == [120] * n_steps


@given(LENGTHS, DIVISORS, st.integers(1, 60))
def test_progressive_is_definition_2_2_step_by_step(n_steps: int, n: int, duration: int) -> None:
    assume(n * duration <= n_steps)
    plain = [120 * (min(t // duration, n - 1) + 1) // n for t in range(n_steps)]
    assert by_step(Progressive(n, duration), n_steps) == plain


@given(LENGTHS, DIVISORS)
def test_equal_split_gives_each_checkpoint_the_same_share_of_the_run(n_steps: int, n: int) -> None:
    assume(n <= n_steps)
    steps = by_step(EqualSplit(n), n_steps)
    shares = [steps.count(120 * i // n) for i in range(1, n + 1)]
    assert steps == sorted(steps)
    assert max(shares) - min(shares) <= 1


@given(LENGTHS, DIVISORS, st.integers(1, 120))
def test_kappa_split_is_truncated_by_the_run_and_says_which_checkpoints_it_used(
    n_steps: int, n: int, duration: int
) -> None:
    assume(duration <= 120 // n)
    kappa = duration * n / 120
    plain = [120 * (min(t // duration, n - 1) + 1) // n for t in range(n_steps)]
    assert by_step(KappaSplit(n, kappa), n_steps) == plain
    used = [p.checkpoint for p in KappaSplit(n, kappa).pieces(KEPT, n_steps)]
    assert used == sorted(set(plain))


@given(LENGTHS, DIVISORS, st.integers(1, 120))
def test_multiples_of_a_divisor_of_the_teachers_steps_are_the_kappa_split(
    n_steps: int, n: int, duration: int
) -> None:
    assume(duration <= 120 // n)
    kappa = duration * n / 120
    assert MultiplesSplit(120 // n, kappa).pieces(KEPT, n_steps) == KappaSplit(n, kappa).pieces(KEPT, n_steps)


def test_a_share_that_is_no_whole_number_of_steps_is_refused_and_the_kappas_named_that_would_do() -> None:
    every_step = tuple(range(1, 101))
    said = r"kappa T0 / N = 0.51 x 100 / 100 = 0.51 steps for each checkpoint: expected a whole number of steps, "
    with pytest.raises(SpecError, match=said + r"at least one\. Use kappa = 1\.0, or other checkpoints\."):
        KappaSplit(100, 0.51).pieces(every_step, 100)
    with pytest.raises(SpecError, match=r"= 5\.5 steps .* Use kappa = 0\.5 or 0\.6,"):
        KappaSplit(10, 0.55).pieces(every_step, 100)
    with pytest.raises(SpecError, match=r"kappa C1 = 0\.55 x 10 = 5\.5 steps .* Use kappa = 0\.5 or 0\.6,"):
        MultiplesSplit(10, 0.55).pieces(every_step, 100)
    for kappa in (0.5, 0.6):
        assert KappaSplit(10, kappa).pieces(every_step, 100)[0].stop == round(10 * kappa)
    with pytest.raises(
        SpecError, match=r"= 5 steps for each"
    ):  # a thousandth of a step is not rounding noise
        KappaSplit(10, 0.5 + 1e-8).pieces(every_step, 100)


def test_a_share_is_not_refused_for_the_rounding_of_its_kappa() -> None:
    kept = tuple(range(200, 1401, 200))
    assert 0.35 * 1400 / 7 != 70
    assert [p.stop for p in KappaSplit(7, 0.35).pieces(kept, 200)] == [70, 140, 200]
    assert MultiplesSplit(200, 0.35).pieces(kept, 200) == KappaSplit(7, 0.35).pieces(kept, 200)
    for duration in range(1, 201):
        assert KappaSplit(7, duration / 200).pieces(kept, 9999)[0].stop == duration


def test_where_the_first_checkpoint_divides_nothing_the_final_one_follows_the_last_multiple() -> None:
    pieces = MultiplesSplit(50).pieces(KEPT, 140)
    assert [(p.stop, p.checkpoint) for p in pieces] == [(50, 50), (100, 100), (140, 120)]
    assert [p.checkpoint for p in MultiplesSplit(50).pieces(KEPT, 100)] == [50, 100]


@given(st.lists(st.tuples(st.sampled_from(KEPT), st.integers(1, 50)), min_size=1, max_size=6), st.booleans())
def test_explicit_is_definition_2_1_step_by_step(plan: list[tuple[int, int]], open_end: bool) -> None:
    checkpoints, durations = (tuple(values) for values in zip(*plan, strict=True))
    schedule = Explicit(checkpoints, durations[:-1] if open_end else durations)
    assert by_step(schedule, sum(durations)) == [c for c, d in plan for _ in range(d)]


def test_two_checkpoints_are_the_chosen_one_for_a_while_and_then_the_final_one() -> None:
    assert Explicit((70, -1), (30,)).pieces(KEPT, 100) == [Piece(0, 30, 70), Piece(30, 100, 120)]


def test_a_schedule_as_long_as_the_run_is_allowed_and_one_step_more_is_not() -> None:
    assert Progressive(4, 25).pieces(KEPT, 100)[-1] == Piece(75, 100, 120)
    with pytest.raises(
        SpecError, match=r"N T = 4 x 26 = 104 steps: expected at most the run's n_steps = 100\. Lower"
    ):
        Progressive(4, 26).pieces(KEPT, 100)


def test_a_kappa_split_as_long_as_that_is_cut_instead() -> None:
    used = [p.checkpoint for p in KappaSplit(4, kappa=1.0).pieces(KEPT, 70)]
    assert used == [30, 60, 90]
    assert [p.checkpoint for p in KappaSplit(4, kappa=1.0).pieces(KEPT, 91)] == [30, 60, 90, 120]


@pytest.mark.parametrize(
    ("schedule", "named"),
    [
        (Explicit((10, 120), (60, 60)), r"120 steps in all: expected the run's n_steps = 100"),
        (Explicit((10, 120), (30, 60)), r"90 steps in all: expected the run's n_steps = 100"),
        (Explicit((10, 120), (100,)), r"100 steps before the last checkpoint: expected fewer"),
        (Explicit((15, -1), (5,)), r"teacher checkpoints at \[15\]: expected steps that the teacher keeps"),
        (Progressive(24, 1), r"teacher checkpoints at \[5, 15,"),
        (Progressive(7, 1), r"7 equally spaced checkpoints of a teacher of 120 steps"),
        (EqualSplit(24), r"teacher checkpoints at \[5, "),
        (KappaSplit(24, 1.0), r"teacher checkpoints at \[5, "),
        (EqualSplit(120), r"n_checkpoints = 120: expected at most n_steps = 100"),
        (
            MultiplesSplit(15),
            r"teacher checkpoints at \[15, 45, 75, 105\]: expected steps that the teacher keeps",
        ),
        (MultiplesSplit(130), r"first = 130: expected at most the teacher's 120 steps"),
        (MultiplesSplit(10, 0.01), r"kappa C1 = 0.01 x 10 = 0.1 steps .* Use kappa = 0.1,"),
        (KappaSplit(12, 0.01), r"kappa T0 / N = 0.01 x 120 / 12 = 0.1 steps .* Use kappa = 0.1,"),
    ],
)
def test_a_schedule_that_does_not_fit_its_run_or_its_teacher_is_an_error_never_a_skip(
    schedule: Schedule, named: str
) -> None:
    with pytest.raises(SpecError, match=named):
        schedule.pieces(KEPT, 100)


def test_a_student_is_checked_against_its_teacher_before_anything_runs() -> None:
    with pytest.raises(SpecError, match=r"teacher checkpoints at \[1500\]"):
        tiny.student(schedule=Explicit((1500, -1), (50,)))
    assert tiny.student(schedule=Explicit((2000, -1), (50,))).pieces == [
        Piece(0, 50, 2000),
        Piece(50, 400, 8000),
    ]
