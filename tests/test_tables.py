"""Tables: intervals against SciPy and by simulation, censored medians, the choice of checkpoints and rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.interpolate import PchipInterpolator

from pdlib import tables
from pdlib.comparison import best_rates
from pdlib.tables import Candidates, candidate_rows, curve, mean_interval, second_spike, transition_candidates

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12)


# Intervals


@given(VALUES)
def test_a_mean_interval_is_scipys_t_interval(values: list[float]) -> None:
    ours = mean_interval(values)
    error = stats.sem(values)
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), error) if error else (ours.mean,) * 2
    assert (ours.low, ours.high) == pytest.approx((low, high), abs=1e-9)
    assert ours.mean == pytest.approx(np.mean(values))
    assert ours.n == len(values)


def test_one_seed_says_nothing_about_the_spread_and_none_nothing_at_all() -> None:
    assert mean_interval([0.7]) == tables.Interval(0.7, -math.inf, math.inf, 1)
    nothing = mean_interval([])
    assert math.isnan(nothing.mean)
    assert (nothing.low, nothing.high, nothing.n) == (-math.inf, math.inf, 0)
    assert str(mean_interval([0.7])) == "0.7 (1 seed)"
    assert str(nothing) == "no seeds"
    assert str(mean_interval([1.0, 2.0, 3.0])) == "2 [-0.484, 4.48]"
    assert tables.prediction_interval([0.7], 5) == (-math.inf, math.inf)


@pytest.mark.parametrize(
    ("values", "finite_end"),
    [([1.0, 2.0, 3.0, math.inf], [1.0, 2.0, 3.0, 3.0]), ([1.0, 2.0, *[math.inf] * 3], [1.0, *[2.0] * 4])],
)
def test_a_censored_value_is_infinite_on_its_side_and_as_small_as_it_can_be_on_the_other(
    values: list[float], finite_end: list[float]
) -> None:
    above, below = mean_interval(values), mean_interval([-v for v in values])
    inner = mean_interval(finite_end)
    assert above == tables.Interval(math.inf, inner.low, math.inf, len(values))
    assert below == tables.Interval(-math.inf, -math.inf, pytest.approx(-inner.low), len(values))  # type: ignore[arg-type]
    assert math.isfinite(inner.low)
    assert inner.low < np.mean(finite_end) or len(set(finite_end)) == 1


def test_values_that_are_all_censored_have_no_finite_end() -> None:
    inf = math.inf
    assert mean_interval([inf, inf, inf]) == tables.Interval(inf, inf, inf, 3)
    assert mean_interval([-inf, -inf]) == tables.Interval(-inf, -inf, -inf, 2)
    assert mean_interval([inf]) == tables.Interval(inf, -inf, inf, 1)  # one seed says nothing still
    assert str(mean_interval([1.0, 1.0, inf])) == "inf [1, inf]"


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_values_censored_on_both_sides_have_no_mean_and_the_whole_line_and_a_missing_one_no_interval() -> (
    None
):
    for values in ([-math.inf, math.inf], [-math.inf, 1.0, 2.0, math.inf]):
        both = mean_interval(values)
        assert math.isnan(both.mean)
        assert (both.low, both.high, both.n) == (-math.inf, math.inf, len(values))
    missing = mean_interval([1.0, math.nan, math.inf])
    assert all(math.isnan(v) for v in (missing.mean, missing.low, missing.high))


@given(VALUES, st.integers(1, 3))
def test_an_interval_with_censored_values_reaches_as_low_as_with_the_largest_in_their_place(
    values: list[float], n_censored: int
) -> None:
    censored = mean_interval(values + [math.inf] * n_censored)
    assert censored.low == pytest.approx(mean_interval(values + [max(values)] * n_censored).low, abs=1e-9)
    assert censored.high == math.inf


@given(st.integers(1, 30).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_share_has_wilsons_interval(case: tuple[int, int]) -> None:
    reached, n = case
    z, p = stats.norm.ppf(0.975), reached / n
    center = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert tables.wilson_interval(reached, n) == pytest.approx(
        (max(0, center - half), min(1, center + half)), abs=1e-9
    )


@pytest.mark.parametrize(("n", "n_new"), [(3, 3), (5, 5), (5, 2)])
def test_a_prediction_interval_holds_the_mean_of_new_seeds_95_times_in_100(n: int, n_new: int) -> None:
    generator = np.random.default_rng(0)
    inside, inside_mean_interval = 0, 0
    for _ in range(4000):
        old, new = generator.normal(size=n), generator.normal(size=n_new).mean()
        low, high = tables.prediction_interval(old.tolist(), n_new)
        inside += low <= new <= high
        interval = mean_interval(old)
        inside_mean_interval += interval.low <= new <= interval.high
    assert inside / 4000 == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 4000))
    assert inside_mean_interval / 4000 < 0.92  # the control: the interval of the mean is too narrow for that


@given(VALUES, st.integers(1, 10))
def test_more_new_seeds_are_predicted_more_closely_and_never_closer_than_the_mean(
    values: list[float], n_new: int
) -> None:
    a, b = tables.prediction_interval(values, n_new), tables.prediction_interval(values, n_new + 1)
    mean = mean_interval(values)
    assert a[0] <= b[0] <= mean.low + 1e-9
    assert a[1] >= b[1] >= mean.high - 1e-9


# Curves and steps


def runs() -> pd.DataFrame:
    """Three seeds of two methods; one seed of the second never gets there."""
    reach = {("a", 0): 20, ("a", 1): 30, ("a", 2): 30, ("b", 0): 40, ("b", 1): math.inf, ("b", 2): 10}
    return pd.DataFrame(
        [
            {"method": m, "seed": s, "step": step, "accuracy": 0.95 if step >= t else 0.5}
            for (m, s), t in reach.items()
            for step in range(0, 50, 10)
        ]
    )


def test_a_curve_is_mean_and_interval_of_each_step() -> None:
    table = curve(runs(), "accuracy", ["method", "step"])
    row = table[(table.method == "a") & (table.step == 20)].iloc[0]
    interval = mean_interval([0.95, 0.5, 0.5])
    assert row[["mean", "low", "high", "n"]].tolist() == [interval.mean, interval.low, interval.high, 3]
    assert len(table) == 10
    one = curve(runs()[lambda t: t.seed == 0], "accuracy", ["method", "step"])
    assert (one.n == 1).all()


def test_runs_that_never_reach_the_threshold_are_censored_never_dropped() -> None:
    steps = tables.steps_to_reach(runs(), 0.9, ["method", "seed"])
    assert steps.steps.tolist() == [20, 30, 30, 40, math.inf, 10]
    assert (steps.last_step == 40).all()
    summary = tables.reached(steps, ["method"]).set_index("method")
    assert summary.n_reached.to_dict() == {"a": 3, "b": 2}
    assert summary.median_steps.to_dict() == {"a": 30, "b": 40}
    assert summary.loc["b", ["low", "high"]].tolist() == pytest.approx(tables.wilson_interval(2, 3))
    shown = tables.reach_table(runs(), 0.9, ["method"])
    assert shown.to_dict("list") == {
        "method": ["a", "b"],
        "n": [3, 3],
        "n_reached": [3, 2],
        "share, low": [0.44, 0.21],
        "share, high": [1.0, 0.94],
        "median steps": ["30", "40"],
    }


@pytest.mark.parametrize(
    ("steps", "median", "words"),
    [
        ([10, 20, 30], 20, "20"),
        ([10, 20], 15, "15"),
        ([10, 20, math.inf], 20, "20"),
        ([10, math.inf, math.inf], math.inf, "≥ 1,000"),
        ([10, math.inf], math.inf, "≥ 1,000"),
        ([math.inf], math.inf, "≥ 1,000"),
        ([1234.0], 1234, "1,234"),
        ([math.inf, 10, 20, math.inf, 30], 30, "30"),
    ],
)
def test_a_median_counts_censored_runs_as_longer_than_the_budget(
    steps: list[float], median: float, words: str
) -> None:
    table = pd.DataFrame({"width": 8, "steps": steps, "last_step": 1000})
    row = tables.reached(table, ["width"]).iloc[0]
    assert (row.median_steps, row["median"], row.n) == (median, words, len(steps))


def test_joined_tables_keep_their_labels_in_front() -> None:
    class Run:
        table = pd.DataFrame({"step": [0, 10], "accuracy": [0.5, 1.0]})

    table = tables.joined([({"seed": 1}, Run()), ({"seed": 2}, Run())])
    assert table.columns.tolist() == ["seed", "step", "accuracy"]
    assert table.seed.tolist() == [1, 1, 2, 2]
    with pytest.raises(ValueError, match="no runs to join: expected at least one"):
        tables.joined([])


def test_costs_add_up() -> None:
    assert tables.cost([]) == {"n_runs": 0, "core_minutes": 0.0}
    assert tables.cost([{"cpu_s": 90.0}, {"other": 1}]) == {"n_runs": 2, "core_minutes": 1.5}


# The choice of checkpoints


def teacher(*accuracy: float) -> pd.DataFrame:
    return pd.DataFrame({"step": range(0, 10 * len(accuracy), 10), "accuracy": accuracy})


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [
        ((0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.6, 0.76, 0.9, 0.97, 1.0, 1.0), Candidates(50, 70, 100)),
        ((0.5, 0.5, 1.0, 1.0), Candidates(10, 20, 20)),  # a jump: the step after it is all there is
        (
            (0.5, 0.51, 0.53, 0.6, 0.8, 1.0),
            Candidates(10, 40, 50),
        ),  # slow: five evaluations earlier is no measure
        (
            (0.5, 0.5, 0.75, 0.5, 0.5, 0.8, 1.0),
            Candidates(40, 50, 60),
        ),  # a rise that fell back is not the one
        ((0.5, 0.5, 0.8, 0.96, 0.9, 1.0, 0.99, 1.0), Candidates(10, 20, 70)),  # after: from where on it stays
    ],
)
def test_candidates_lie_before_in_and_after_the_first_full_rise(
    accuracy: tuple[float, ...], expected: Candidates
) -> None:
    assert transition_candidates(teacher(*accuracy)) == expected


def test_the_order_of_rows_and_step_zero_do_not_matter() -> None:
    table = teacher(1.0, 0.5, 0.5, 0.6, 0.8, 0.97, 1.0)  # whatever step 0 says
    assert transition_candidates(table.sample(frac=1, random_state=0)) == Candidates(20, 40, 60)


@pytest.mark.parametrize(
    ("accuracy", "said"),
    [
        (
            (0.5, 0.5, 0.51),
            r"ends at 0\.510 \(highest 0\.510\) after 20 steps: expected a phase transition to 0\.999",
        ),
        ((0.5, 0.7, 0.94), r"ends at 0\.940"),
        ((0.5, 0.7, 1.0, 0.99), r"ends at 0\.990 \(highest 1\.000\).*Train it longer"),
    ],
)
def test_a_teacher_without_a_transition_is_an_error(accuracy: tuple[float, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        transition_candidates(teacher(*accuracy))


def test_how_settled_a_teacher_must_be_can_be_said() -> None:
    assert transition_candidates(teacher(0.5, 0.5, 0.7, 1.0, 0.99), settled=0.98).after == 30


def test_the_papers_own_teacher_has_its_candidates_at_chance_in_and_after_the_transition() -> None:
    """Figure 2, left: .53 at 10.1M, .75 at 10.2M, .90 at 10.3M, .965 at 10.4M, 1.0 at 10.8M; at chance before."""
    accuracy = [0.5] * 100 + [0.53, 0.75, 0.9, 0.965, 0.98, 0.99, 0.995] + [1.0] * 5
    run = pd.DataFrame({"step": [100_000 * (i + 1) for i in range(len(accuracy))], "accuracy": accuracy})
    assert transition_candidates(run) == Candidates(10_000_000, 10_200_000, 10_800_000)


@pytest.mark.parametrize(
    ("accuracy", "warmup"), [((0.5, 0.7, 1.0), 0), ((0.5, 0.5, 0.5, 0.53, 0.75, 1.0), 20)]
)
def test_a_teacher_that_is_never_at_chance_after_its_warm_up_has_no_candidate_before(
    accuracy: tuple[float, ...], warmup: int
) -> None:
    with pytest.raises(ValueError, match=r"no evaluation at chance .*below 0\.52.*more often"):
        transition_candidates(teacher(*accuracy), warmup=warmup)


def spikes(inside: list[float], accuracy: list[float]) -> int | None:
    rows = pd.DataFrame(
        {"step": range(10, 10 + 10 * len(inside), 10), "degree": 1, "group": "in_support", "mean": inside}
    )
    both = pd.concat([rows, rows.assign(group="off_support", mean=0.05)])
    run = pd.DataFrame({"step": rows.step, "accuracy": accuracy})
    return second_spike(both, Candidates(10, 20, 30), run)


def test_a_second_spike_lies_after_the_last_candidate_and_is_no_relapse() -> None:
    calm = [0.5, 0.75, 1.0, 1.0, 1.0, 1.0]
    assert spikes([0.1, 0.8, 0.1, 0.1, 0.6, 0.1], calm) == 50
    assert spikes([0.8, 0.1, 0.7, 0.1, 0.1, 0.1], calm) is None  # within the transition
    assert spikes([0.1, 0.8, 0.1, 0.1, 0.6, 0.1], [0.5, 0.75, 1.0, 1.0, 0.8, 1.0]) is None  # a relapse
    assert spikes([0.1, 0.8, 0.1, 0.1, 0.3, 0.1], calm) is None  # too low


def test_candidate_rows_carry_the_teachers_accuracy() -> None:
    both = pd.concat([teacher(0.5, 0.7, 1.0).assign(seed=s) for s in (1, 2)])
    rows = candidate_rows(both, {1: Candidates(0, 10, 20), 2: Candidates(10, 10, 20)})
    assert rows.accuracy.tolist() == [0.5, 0.7, 1.0, 0.7, 0.7, 1.0]
    assert rows.candidate.tolist() == ["before", "middle", "after"] * 2


# The checkpoint C1

UNIGRAM = 1.0986  # ln 3: three tokens, about as frequent
FIGURE_4 = [(0, 1.45), (100, 1.03), (600, 1.03), (1000, 0.53), (2000, 0.19), (8000, 0.04)]  # read off
PILOT = {  # two teachers at another size; the first fall, to the plateau at step 180, is not in the table
    360: [1.450, 1.06, 1.02, 1.013, 0.928, 0.762, 0.705, 0.642, 0.550, 0.482, 0.453],
    300: [1.391, 1.06, 1.02, 1.016, 0.790, 0.719, 0.648, 0.575, 0.472, 0.385, 0.356],
}
PILOT_STEPS = [0, 60, 120, 180, 360, 540, 720, 900, 1260, 1800, 2340]


def losses(points: Sequence[tuple[float, float]], every: int) -> pd.DataFrame:
    """The smooth curve without overshoot through points, evaluated every so many steps."""
    at, loss = zip(*points, strict=True)
    steps = np.arange(0, at[-1] + 1, every)
    return pd.DataFrame({"step": steps, "loss_nats": PchipInterpolator(at, loss)(steps)})


def c1(curve: pd.DataFrame, below: float = UNIGRAM, **changes: Any) -> int | None:
    return tables.steepest_drop(curve, below, changes.pop("kept", curve.step), **changes)


def test_c1_of_the_papers_figure_4_is_the_papers_own() -> None:
    assert c1(losses(FIGURE_4, every=200)) == 1000
    flat_start = [(0, 1.12), *FIGURE_4[1:]]  # a first fall that is hardly one
    assert c1(losses(flat_start, every=200)) == 1000
    assert c1(losses(FIGURE_4, every=100)) == 800  # between 600 and 1,000 its slope is that of a line


@pytest.mark.parametrize("step", [300, 360])
def test_c1_of_the_pilots_teachers_is_where_they_were_found_steepest_or_the_next(step: int) -> None:
    curve = losses(list(zip(PILOT_STEPS, PILOT[step], strict=True)), every=60)
    found = c1(curve)
    assert found is not None
    assert abs(found - step) <= 60  # what lies between the table's steps is not known
    first_fall = curve.step[curve.loss_nats.diff(-1).argmax()]
    assert first_fall == 0  # the control: without a plateau a search finds the first fall


@pytest.mark.parametrize("plateau", [2, 5, 40])
def test_a_first_fall_that_is_steeper_than_the_drop_is_not_chosen(plateau: int) -> None:
    fall = 2.0 * 0.5 ** np.arange(6)  # six evaluations from 3 to about 1
    drop = 0.9 / (1 + np.exp(-np.arange(-5, 6.0)))
    loss = np.concatenate([1.0 + fall, np.full(plateau, 1.03), 1.0 - drop, np.linspace(0.1, 0.08, 30)])
    curve = pd.DataFrame({"step": 10 * np.arange(len(loss)), "loss_nats": loss})
    steepest = 10 * (6 + plateau + 5)
    assert c1(curve, below=1.7) == steepest
    assert c1(curve, below=1.1) == steepest
    falls = -curve.loss_nats[curve.loss_nats < 1.7].diff()
    assert falls.idxmax() == 3  # the control: right after coming below
    assert c1(curve, below=1.7, warmup=steepest) is None  # no drop is left after it


def test_evaluations_before_the_end_of_warm_up_do_not_count() -> None:
    early = losses(
        [(0, 1.0), (200, 0.95), (400, 0.5), (600, 0.45), *((s + 600, x - 0.6) for s, x in FIGURE_4[1:])], 100
    )
    assert c1(early) == 300
    later = c1(early, warmup=600)
    assert later is not None
    assert 1300 <= later <= 1600


@pytest.mark.parametrize("every", [100, 200])
def test_noise_of_evaluation_moves_c1_by_one_checkpoint_at_most(every: int) -> None:
    curve, generator = losses(FIGURE_4, every), np.random.default_rng(0)
    for _ in range(100):
        found = c1(curve.assign(loss_nats=curve.loss_nats + generator.normal(0, 0.01, len(curve))))
        assert found is not None
        assert abs(found - (c1(curve) or 0)) <= every


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_a_loss_that_falls_at_once_or_never_leaves_its_plateau_has_no_c1(noise: float) -> None:
    generator, t = np.random.default_rng(1), np.arange(0, 1401, 35)
    at_once = 0.2 + 0.15 * np.exp(-t / 600) + 1.6 * np.exp(-t / 40)  # as GPT-2's at level 3
    for _ in range(50):
        shaken = generator.normal(0, noise, (4, len(t)))
        curves = [at_once, 1.0 + 0.4 * np.exp(-t / 30), np.full(len(t), UNIGRAM), 1.2 + 0.1 * np.exp(-t / 30)]
        for loss in curves + shaken:
            assert c1(pd.DataFrame({"step": t, "loss_nats": loss})) is None
        assert c1(pd.DataFrame({"step": t, "loss_nats": curves[1] - 0.6 * (t > 700) + shaken[1]})) in (
            700,
            735,
        )


def test_c1_is_a_kept_checkpoint_whatever_the_order_of_rows() -> None:
    curve = losses(FIGURE_4, every=200)
    assert c1(curve.sample(frac=1, random_state=0), kept=(400, 1200, 8000)) == 1200
    assert c1(curve, kept=(200,)) is None
    assert c1(curve[:2]) is None


# The choice of rates


def test_the_best_rate_is_that_of_the_highest_mean_over_the_run_with_the_same_tries_for_all() -> None:
    table = pd.DataFrame(
        [
            {"method": m, "learning_rate": rate, "seed": seed, "step": step, "accuracy": a}
            for m, rate, early, late in [
                ("a", 0.1, 0.5, 1.0),
                ("a", 0.2, 0.9, 0.9),  # earlier, and lower at the end
                ("b", 0.1, 0.6, 0.6),
                ("b", 0.2, 0.5, 0.5),
            ]
            for seed in (1, 2)
            for step, a in ((0, early), (10, late))
        ]
    )
    best = best_rates(table, [0.1, 0.2], 2, at_end=False)
    assert best.learning_rate.tolist() == [0.2, 0.1]
    assert best.mean_accuracy.tolist() == pytest.approx([0.9, 0.6])
    assert best.n_tried.tolist() == [2, 2]
    assert best.n_seeds.tolist() == [2, 2]


# Searches for a smallest batch


class Search:
    """A search with these batches and outcomes."""

    def __init__(self, *tried: tuple[int, bool]) -> None:
        self.table = pd.DataFrame(tried, columns=["batch_size", "chosen"]).assign(
            n_read=range(len(tried)), predicted=6.5
        )


def test_the_answer_of_a_search_keeps_its_columns_and_one_that_found_nothing_is_censored() -> None:
    found = Search((4, False), (16, False), (8, True), (6, False))
    lost = Search((4, False), (32, False))
    table = tables.chosen_batches([({"seed": 1, "n_bits": 11}, found), ({"seed": 2, "n_bits": 11}, lost)])
    assert table.columns.tolist() == ["seed", "n_bits", "batch_size", "n_read", "predicted", "last_batch"]
    assert table.to_dict("records") == [
        {"seed": 1, "n_bits": 11, "batch_size": 8.0, "n_read": 2, "predicted": 6.5, "last_batch": 16},
        {"seed": 2, "n_bits": 11, "batch_size": math.inf, "n_read": 1, "predicted": 6.5, "last_batch": 32},
    ]
    assert found.table.columns.tolist() == ["batch_size", "chosen", "n_read", "predicted"]  # left as it was
    assert tables.chosen_batches([]).empty


# Decision trees

STAIRCASE = [0.125, 0.13, 0.12, 0.25, 0.26, 0.5, 0.66, 0.6, 0.82, 0.95, 1.0, 0.998, 1.0, 1.0]


def staircase(accuracy: list[float] | None = None) -> pd.DataFrame:
    values = accuracy or STAIRCASE
    return pd.DataFrame({"step": range(0, 10 * len(values), 10), "accuracy": values})


def test_candidates_of_a_tree_lie_before_in_and_after_the_rise() -> None:
    chosen = tables.tree_candidates(staircase(), [0.5, 0.65, 0.8, 0.9], chance=1 / 8)
    assert chosen == (
        10,
        50,
        60,
        80,
        90,
        120,
    )  # 30 is the first at 1/4; 100 is followed by a drop below 0.999
    early = tables.tree_candidates(staircase([0.1, 0.3, 1.0, 1.0, 1.0]), [0.5, 0.9], chance=1 / 8)
    assert early == (10, 20, 30, 40)  # nothing is earlier than the first evaluation, and all are distinct
    shuffled = staircase().sample(frac=1, random_state=0)
    assert tables.tree_candidates(shuffled, [0.5, 0.65, 0.8, 0.9], chance=1 / 8) == chosen


def test_a_teacher_of_a_tree_that_does_not_settle_has_no_candidates_and_is_left_out() -> None:
    unsettled = staircase([*STAIRCASE, 0.9])
    with pytest.raises(
        ValueError, match=r"ends at 0.900 \(highest 1.000\) after 140 steps: expected distinct checkpoints"
    ):
        tables.tree_candidates(unsettled, [0.5], chance=1 / 8)

    class Run:
        def __init__(self, table: pd.DataFrame) -> None:
            self.table = table

    def rule(table: pd.DataFrame) -> tuple[int, ...]:
        return tables.tree_candidates(table, [0.5], chance=1 / 8)

    assert tables.chosen({1: Run(unsettled), 2: Run(staircase())}, rule) == {2: (10, 50, 120)}
    with pytest.raises(
        ValueError, match=r"none of 1 teachers learned; the last: the teacher's accuracy ends at 0\.9"
    ):
        tables.chosen({1: Run(unsettled)}, rule)


def test_numbered_candidates_keep_their_order_and_the_teachers_accuracy() -> None:
    teacher = staircase().assign(seed=3, method="teacher")
    rows = tables.candidate_rows(teacher, {3: (10, 50, 50)})
    assert rows.to_dict("list") == {
        "seed": [3, 3, 3],
        "candidate": [1, 2, 3],
        "step": [10, 50, 50],
        "accuracy": [0.13, 0.5, 0.5],
    }


def test_a_feature_stands_out_above_twice_the_rest_of_its_own_degree_and_step() -> None:
    values = {(0, 10): 1.0, (0, 20): 2.0, (1, 10): 2.0, (1, 20): 4.5, (2, 10): 1.0, (2, 20): 4.0}
    rows = [
        {"seed": 1, "degree": degree, "scope": scope, "node": node, "level": node.bit_length(), "step": step}
        | {"mean": value * (1 if (degree, scope) == (2, "below") else node + 1)}
        for (node, step), value in values.items()
        for degree, scope in ((1, "below"), (2, "below"), (2, "class_0"))
    ]
    found = tables.onsets(pd.DataFrame(rows).sample(frac=1, random_state=0))
    second = found[found.degree == 2]
    assert second.drop(columns="degree").to_dict("list") == {
        "seed": [1, 1],
        "node": [1, 2],
        "level": [1, 2],
        "step": [20.0, math.inf],
    }
    assert found[found.degree == 1].step.tolist() == [10.0, 10.0]  # the control: other values, other steps


def test_the_rows_of_a_tree_name_every_node_and_class_once_and_keep_the_order_of_classes() -> None:
    paths = [((1, 1), (2, 1)), ((1, 1), (2, -1)), ((1, -1), (3, 1)), ((1, -1), (3, -1))]
    rows = tables.tree_rows([(0, 1), (2, 3), (4, 5)], paths).set_index("child")
    assert sorted(rows.index) == ["1", "2", "3", "class 1", "class 2", "class 3", "class 4"]
    assert rows.loc[["2", "3"], "sign"].tolist() == [1, -1]
    assert rows.place.to_dict() == {
        **{"1": 0.5, "2": 0.25, "3": 0.75},
        **{"class 1": 0.125, "class 2": 0.375, "class 3": 0.625, "class 4": 0.875},
    }
    assert rows.loc["3", "text"] == "x5 x6"
    mirrored = tables.tree_rows([(0, 1), (2, 3), (4, 5)], paths[::-1]).set_index("child")
    assert mirrored.loc["3", "place"] == 0.25  # with -1 on the left
    assert mirrored.loc["class 1", "sign"] == -1


def test_numbers_read_off_a_figure_stand_beside_ours_at_the_same_distance_from_the_middle() -> None:
    rows = [("A", "teacher", 110, "accuracy", 0.8), ("B", "in_support", 100, "correlation", 0.1)]
    rows += [("C", "one_shot", 30, "accuracy", 0.5), ("C", "one_shot", 35, "accuracy", 0.5)]
    read = pd.DataFrame(rows, columns=["figure", "curve", "step", "quantity", "value"])
    teacher = pd.DataFrame(
        {"seed": [1, 1, 2, 1001], "step": [40, 50, 70, 50], "accuracy": [0.6, 0.7, 0.9, 0.1]}
    )
    candidates = pd.DataFrame({"seed": [1, 2], "candidate": "middle", "step": [40, 60]})
    correlations = pd.DataFrame(
        {
            "seed": 1,
            "step": [40, 40, 40],
            "degree": [1, 1, 2],
            "group": ["in_support", "off_support", "in_support"],
        }
    ).assign(mean=[0.2, 0.3, 0.4])
    students = pd.DataFrame({"seed": [1, 1001], "method": "one_shot", "step": 30, "accuracy": [0.5, 0.6]})
    ours = {"teacher": teacher, "candidates": candidates, "correlations": correlations, "students": students}
    found = tables.beside_read_off(read, ours, origin=100)
    means = [text.split()[0] for text in found.ours]
    assert means == ["0.8", "0.2", "0.55", "no"]  # a teacher's rows of a sibling are no further teacher
    assert found.step.tolist() == ["②+1e-05M", "②+0M", "3e-05M", "3.5e-05M"]
