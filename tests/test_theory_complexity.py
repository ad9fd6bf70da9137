"""The sample complexities of appendix B: closed forms, crossings, measured runs."""

import math

import pytest

from pdlib.specs import SpecError
from pdlib.theory.complexity import FORMS, Totals, WidthTradeOff, crossing, theorem
from pdlib.theory.two_stage import second_stage_rate, second_stage_steps


def test_second_stage_equals_theorem_b1s_at_the_lemmas_width():
    d, k, epsilon, delta = 101, 6, 0.1, 0.05
    width = 2**k * k * math.log(k / delta)
    per_neuron = second_stage_steps(d, k, 1, epsilon)
    assert per_neuron * width == pytest.approx(theorem(d, k, epsilon, delta, 2, "B.1").progressive_second)
    steps = second_stage_steps(d, k, 64, epsilon)
    assert steps == pytest.approx(64 * 101**2 * 216 / 0.01)
    assert second_stage_rate(d, k, 64, epsilon) == pytest.approx(4 * 6**1.5 / (d * (64 * (steps - 1)) ** 0.5))


def test_the_forms_of_the_theorem_are_related_as_printed():
    informal, larger, formal, proof = (theorem(101, 4, 0.1, 0.1, 1.2, form) for form in FORMS)
    assert informal == pytest.approx((64, 16 * 101**2 * 100, 100))
    assert larger == pytest.approx((64, 16 * 101**2 * 100, 101**3))
    assert formal.distillation == pytest.approx(101**2.4)
    assert formal.progressive_first == pytest.approx(16 * math.log(101 * 64 / 0.1))
    assert formal.progressive_second == pytest.approx(16 * 101**2 * 256 * 100 * math.log(40))
    assert proof == pytest.approx((*formal[:2], formal.distillation / 64))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("support_size", [4, 6, 8])
@pytest.mark.parametrize("epsilon", [0.1, 0.01])
@pytest.mark.parametrize("first_stage", [False, True])
def test_crossings_are_the_first_odd_numbers_at_which_the_sides_change_places(
    form, support_size, epsilon, first_stage
):
    settings = (support_size, epsilon, 0.1, (support_size - 1) / 2, form)

    def exceeds(d):
        first, second, bound = theorem(d, *settings)
        return bound > first + (0 if first_stage else second)

    at = crossing(*settings, first_stage=first_stage)
    if at is None:
        assert form == "3.2"
        assert not exceeds(10**9 + 1)
    else:
        assert at % 2 == 1
        assert exceeds(at)
        assert at == support_size + 1 or not exceeds(at - 2)


@pytest.mark.parametrize("form", FORMS)
def test_the_totals_never_cross_for_two_bits_or_for_a_teacher_of_loss_one_over_d(form):
    assert crossing(2, 0.1, 0.1, 2, form) is None
    if form in ("B.1", "proof"):
        assert crossing(6, 0.1, 0.1, 1, form) is None


def test_the_papers_own_size_lies_before_the_crossing_of_the_totals_in_the_formal_theorem():
    assert crossing(6, 0.1, 0.1, 2.5, "B.1") > 101
    assert crossing(6, 0.1, 0.1, 2.5, "3.2 larger") < 101  # nor is this so in the informal one


def test_totals_is_the_theorem_row_by_row():
    rows = Totals(4, 0.1, 0.1, 2, (11, 101)).rows()
    assert [(row["n_bits"], row["form"]) for row in rows] == [(d, form) for d in (11, 101) for form in FORMS]
    for row in rows:
        numbers = theorem(row["n_bits"], 4, 0.1, 0.1, 2, row["form"])
        assert (row["progressive_first"], row["progressive_second"], row["distillation"]) == tuple(numbers)


@pytest.mark.parametrize(
    "run", [WidthTradeOff(31, 4, 16, 16), WidthTradeOff(43, 4, 16, 16), WidthTradeOff(21, 6, 16, 16)]
)
def test_a_measured_run_leaves_the_plateau_after_the_bound_where_the_bound_says_something(run):
    (row,) = run.rows()
    bound = math.comb(run.n_bits, run.support_size) * 0.1 * 0.25**2 / 16 / 2
    assert row["bound"] == pytest.approx(bound)
    assert bound > 1
    assert row["reached"]
    assert row["loss"] <= 1 - row["noise"]
    assert row["step"] > row["bound"]
    assert row["samples"] == row["step"] * run.batch_size


def test_a_run_that_stops_early_or_diverges_does_not_count_as_reached():
    (short,) = WidthTradeOff(31, 4, 16, 16, max_steps=20).rows()
    assert not short["reached"]
    assert short["step"] == 20
    assert short["loss"] == pytest.approx(1, abs=0.1)
    (wild,) = WidthTradeOff(31, 4, 256, 16, learning_rate=100.0, max_steps=2000).rows()
    assert not wild["reached"]


def test_a_random_label_stays_on_the_plateau():
    """A parity of more bits than a few thousand steps can find: the threshold is not passed by chance."""
    (row,) = WidthTradeOff(31, 14, 16, 16, max_steps=2000).rows()
    assert not row["reached"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theorem(100, 6, 0.1, 0.1, 2, "B.1"), "n_bits d = 100"),
        (lambda: theorem(11, 12, 0.1, 0.1, 2, "B.1"), "support_size k = 12"),
        (lambda: theorem(11, 4, 0.1, 0.1, 0.5, "B.1"), "c = 0.5"),
        (lambda: theorem(11, 4, 0.1, 0.1, 2, "B.2"), "form = 'B.2'"),
        (lambda: crossing(4, 1.0, 0.1, 2, "B.1"), "epsilon = 1.0"),
        (lambda: crossing(4, 0.1, 0.0, 2, "B.1", first_stage=True), "delta = 0.0"),
        (lambda: crossing(3, 0.1, 0.1, 2, "B.1"), "support_size k = 3"),
        (lambda: Totals(4, 0.1, 0.1, 2, ()), r"n_bits = \(\)"),
        (lambda: Totals(4, 0.1, 0.1, 2, (10,)), "n_bits d = 10"),
        (lambda: WidthTradeOff(11, 4, 7, 16), "width m = 7"),
        (lambda: WidthTradeOff(11, 4, 8, 16, learning_rate=0.0), "learning_rate = 0.0"),
        (lambda: WidthTradeOff(11, 4, 8, 16, delta=0.0), "delta = 0.0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(SpecError, match=message):
        call()
