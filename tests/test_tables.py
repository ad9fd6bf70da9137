"""Tables: intervals against SciPy and by simulation, censored medians, the choice of checkpoints and rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
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
from pdlib.tables import Candidates, Interval, mean_interval, prediction_interval, transition_candidates

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12)
INF, NAN = math.inf, math.nan


# Intervals


@given(VALUES)
def test_a_mean_interval_is_scipys_t_interval(values: list[float]) -> None:
    ours = mean_interval(values)
    error = stats.sem(values)
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), error) if error else (ours.mean,) * 2
    assert (ours.low, ours.high) == pytest.approx((low, high), abs=1e-9)
    assert (ours.mean, ours.n) == (pytest.approx(np.mean(values)), len(values))


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize(
    ("values", "expected", "words"),
    [
        ([1, 2, 3], (2, -0.484, 4.484), "2 [-0.484, 4.48]"),
        ([0.7], (0.7, -INF, INF), "0.7 (1 seed)"),  # one seed says nothing about the spread
        ([INF], (INF, -INF, INF), "inf (1 seed)"),
        ([], (NAN, -INF, INF), "no seeds"),
        ([1, 1, INF], (INF, 1, INF), "inf [1, inf]"),
        ([INF, INF, INF], (INF, INF, INF), "inf [inf, inf]"),
        ([-INF, -INF], (-INF, -INF, -INF), "-inf [-inf, -inf]"),
        ([-INF, INF], (NAN, -INF, INF), "nan [-inf, inf]"),
        ([-INF, 1, 2, INF], (NAN, -INF, INF), "nan [-inf, inf]"),
        ([1, NAN, INF], (NAN, NAN, NAN), "nan [nan, nan]"),
    ],
)
def test_few_censored_and_missing_values_have_the_interval_that_they_allow(
    values: list[float], expected: tuple[float, ...], words: str
) -> None:
    found = mean_interval(values)
    assert (found.mean, found.low, found.high) == pytest.approx(expected, abs=1e-3, nan_ok=True)
    assert (found.n, str(found)) == (len(values), words)


@given(VALUES, st.integers(1, 3))
def test_an_interval_with_censored_values_reaches_as_low_as_with_the_largest_in_their_place(
    values: list[float], n: int
) -> None:
    above = mean_interval(values + [INF] * n)
    inner = mean_interval(values + [max(values)] * n)
    assert above == Interval(INF, pytest.approx(inner.low, abs=1e-9), INF, len(values) + n)  # type: ignore[arg-type]
    below = mean_interval([-v for v in values] + [-INF] * n)
    assert (below.low, below.high) == (-INF, pytest.approx(-inner.low, abs=1e-9))


@given(st.integers(1, 30).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_share_has_wilsons_interval(case: tuple[int, int]) -> None:
    reached, n = case
    z, p = stats.norm.ppf(0.975), reached / n
    center = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    expected = (max(0, center - half), min(1, center + half))
    assert tables.wilson_interval(reached, n) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("n", "n_new"), [(3, 3), (5, 5), (5, 2)])
def test_a_prediction_interval_holds_the_mean_of_new_seeds_95_times_in_100(n: int, n_new: int) -> None:
    generator = np.random.default_rng(0)
    inside, inside_mean_interval = 0, 0
    for _ in range(1500):
        old, new = generator.normal(size=n), generator.normal(size=n_new).mean()
        low, high = prediction_interval(old.tolist(), n_new)
        inside += low <= new <= high
        interval = mean_interval(old)
        inside_mean_interval += interval.low <= new <= interval.high
    assert inside / 1500 == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 1500))
    assert inside_mean_interval / 1500 < 0.92  # the control: the interval of the mean is too narrow for that


def test_one_seed_predicts_nothing_and_a_censored_one_gives_no_tolerance() -> None:
    assert prediction_interval([0.7], 5) == (-INF, INF)
    assert all(math.isnan(end) for end in prediction_interval([0.7, INF], 5))


# Curves and steps


def runs() -> pd.DataFrame:
    """Three seeds of two methods; one seed of the second never gets there."""
    reach = {("a", 0): 20, ("a", 1): 30, ("a", 2): 30, ("b", 0): 40, ("b", 1): INF, ("b", 2): 10}
    rows = [(*run, step, 0.95 if step >= t else 0.5) for run, t in reach.items() for step in range(0, 50, 10)]
    return pd.DataFrame(rows, columns=["method", "seed", "step", "accuracy"])


def test_a_curve_is_mean_and_interval_of_each_step() -> None:
    table = tables.curve(runs(), "accuracy", ["method", "step"])
    row = table[(table.method == "a") & (table.step == 20)].iloc[0]
    interval = mean_interval([0.95, 0.5, 0.5])
    assert row[["mean", "low", "high", "n"]].tolist() == [interval.mean, interval.low, interval.high, 3]
    assert len(table) == 10


def test_runs_that_never_reach_the_threshold_are_censored_never_dropped() -> None:
    steps = tables.steps_to_reach(runs(), 0.9, ["method", "seed"])
    assert steps.steps.tolist() == [20, 30, 30, 40, INF, 10]
    assert (steps.last_step == 40).all()
    summary = tables.reached(steps, ["method"]).set_index("method")
    assert summary.median_steps.to_dict() == {"a": 30, "b": 40}
    assert summary.loc["b", ["low", "high"]].tolist() == pytest.approx(tables.wilson_interval(2, 3))
    assert tables.reach_table(runs(), 0.9, ["method"]).to_dict("list") == {
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
        ([10, 20], 15, "15"),
        ([10, 20, INF], 20, "20"),
        ([10, INF], INF, "≥ 1,000"),
        ([1234.0], 1234, "1,234"),
        ([INF, 10, 20, INF, 30], 30, "30"),
    ],
)
def test_a_median_counts_censored_runs_as_longer_than_the_budget(
    steps: list[float], median: float, words: str
) -> None:
    table = pd.DataFrame({"width": 8, "steps": steps, "last_step": 1000})
    row = tables.reached(table, ["width"]).iloc[0]
    assert (row.median_steps, row["median"], row.n) == (median, words, len(steps))


def test_joined_tables_keep_their_labels_in_front() -> None:
    run = SimpleNamespace(table=pd.DataFrame({"step": [0, 10], "accuracy": [0.5, 1.0]}))
    table = tables.joined([({"seed": 1}, run), ({"seed": 2}, run)])
    assert table.columns.tolist() == ["seed", "step", "accuracy"]
    assert table.seed.tolist() == [1, 1, 2, 2]
    with pytest.raises(ValueError, match="no runs to join: expected at least one"):
        tables.joined([])


# The choice of checkpoints


def teacher(*accuracy: float) -> pd.DataFrame:
    return pd.DataFrame({"step": range(0, 10 * len(accuracy), 10), "accuracy": accuracy})


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [
        ((0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.6, 0.76, 0.9, 0.97, 1.0, 1.0), (50, 70, 100)),
        ((0.5, 0.5, 1.0, 1.0), (10, 20, 20)),  # a jump: the step after it is all there is
        ((0.5, 0.51, 0.53, 0.6, 0.8, 1.0), (10, 40, 50)),  # slow: five evaluations earlier is no measure
        ((0.5, 0.5, 0.75, 0.5, 0.5, 0.8, 1.0), (40, 50, 60)),  # a rise that fell back is not the one
        ((0.5, 0.5, 0.8, 0.96, 0.9, 1.0, 0.99, 1.0), (10, 20, 70)),  # after: from where on it stays
        ((1.0, 0.5, 0.5, 0.6, 0.8, 0.97, 1.0), (20, 40, 60)),  # whatever step 0 says
    ],
)
def test_candidates_lie_before_in_and_after_the_first_full_rise(
    accuracy: tuple[float, ...], expected: tuple[int, int, int]
) -> None:
    shuffled = teacher(*accuracy).sample(frac=1, random_state=0)
    assert transition_candidates(shuffled) == Candidates(*expected)


@pytest.mark.parametrize(
    ("accuracy", "warmup", "said"),
    [
        (
            (0.5, 0.5, 0.51),
            0,
            r"0\.510 \(highest 0\.510\) after 20 steps: expected a phase transition to 0\.999",
        ),
        ((0.5, 0.7, 0.94), 0, r"ends at 0\.940"),
        ((0.5, 0.7, 1.0, 0.99), 0, r"ends at 0\.990 \(highest 1\.000\).*Train it longer"),
        ((0.5, 0.7, 1.0), 0, r"no evaluation at chance .*below 0\.52.*more often"),
        ((0.5, 0.5, 0.5, 0.53, 0.75, 1.0), 20, "no evaluation at chance between step 20 and"),
    ],
)
def test_a_teacher_without_a_transition_or_never_at_chance_is_an_error(
    accuracy: tuple[float, ...], warmup: int, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        transition_candidates(teacher(*accuracy), warmup=warmup)
    assert transition_candidates(teacher(0.5, 0.5, 0.7, 1.0, 0.99), settled=0.98).after == 30


def test_the_papers_own_teacher_has_its_candidates_at_chance_in_and_after_the_transition() -> None:
    """Figure 2, left: .53 at 10.1M, .75 at 10.2M, .90 at 10.3M, .965 at 10.4M, 1.0 at 10.8M; at chance before."""
    accuracy = [0.5] * 100 + [0.53, 0.75, 0.9, 0.965, 0.98, 0.99, 0.995] + [1.0] * 5
    run = pd.DataFrame({"step": [100_000 * (i + 1) for i in range(len(accuracy))], "accuracy": accuracy})
    assert transition_candidates(run) == Candidates(10_000_000, 10_200_000, 10_800_000)


@pytest.mark.parametrize(
    ("inside", "accuracy", "expected"),
    [
        ([0.1, 0.8, 0.1, 0.1, 0.6, 0.1], 1.0, 50),
        ([0.8, 0.1, 0.7, 0.1, 0.1, 0.1], 1.0, None),  # within the transition
        ([0.1, 0.8, 0.1, 0.1, 0.6, 0.1], 0.8, None),  # a relapse
        ([0.1, 0.8, 0.1, 0.1, 0.3, 0.1], 1.0, None),  # too low
    ],
)
def test_a_second_spike_lies_after_the_last_candidate_and_is_no_relapse(
    inside: list[float], accuracy: float, expected: int | None
) -> None:
    rows = pd.DataFrame({"step": range(10, 70, 10), "degree": 1, "group": "in_support", "mean": inside})
    both = pd.concat([rows, rows.assign(group="off_support", mean=0.05)])
    run = pd.DataFrame({"step": rows.step, "accuracy": [0.5, 0.75, 1.0, 1.0, accuracy, 1.0]})
    assert tables.second_spike(both, Candidates(10, 20, 30), run) == expected


def test_rows_of_candidates_carry_the_teachers_accuracy_by_name_or_in_their_order() -> None:
    both = pd.concat([teacher(0.5, 0.7, 1.0).assign(seed=s, method="teacher") for s in (1, 2)])
    rows = tables.candidate_rows(both, {1: Candidates(0, 10, 20), 2: Candidates(10, 10, 20)})
    assert rows.accuracy.tolist() == [0.5, 0.7, 1.0, 0.7, 0.7, 1.0]
    assert rows.candidate.tolist() == ["before", "middle", "after"] * 2
    expected = {"seed": [2] * 3, "candidate": [1, 2, 3], "step": [0, 20, 20], "accuracy": [0.5, 1.0, 1.0]}
    assert tables.candidate_rows(both, {2: (0, 20, 20)}).to_dict("list") == expected


# The checkpoint C1

UNIGRAM = 1.0986  # ln 3: three tokens, about as frequent
FIGURE_4 = [(0, 1.45), (100, 1.03), (600, 1.03), (1000, 0.53), (2000, 0.19), (8000, 0.04)]  # read off


def losses(points: Sequence[tuple[float, float]], every: int) -> pd.DataFrame:
    """The smooth curve without overshoot through points, evaluated every so many steps."""
    at, loss = zip(*points, strict=True)
    steps = np.arange(0, at[-1] + 1, every)
    return pd.DataFrame({"step": steps, "loss_nats": PchipInterpolator(at, loss)(steps)})


def c1(curve: pd.DataFrame, below: float = UNIGRAM, **changes: Any) -> int | None:
    return tables.steepest_drop(curve, below, changes.pop("kept", curve.step), **changes)


def test_c1_of_the_papers_figure_4_is_the_papers_own() -> None:
    curve = losses(FIGURE_4, every=200)
    assert c1(curve) == 1000
    assert c1(losses([(0, 1.12), *FIGURE_4[1:]], every=200)) == 1000  # a first fall that is hardly one
    assert c1(losses(FIGURE_4, every=100)) == 800  # between 600 and 1,000 its slope is that of a line
    assert c1(curve.sample(frac=1, random_state=0), kept=(400, 1200, 8000)) == 1200
    assert c1(curve, kept=(200,)) is None
    assert c1(curve[:2]) is None


@pytest.mark.parametrize("plateau", [2, 5, 40])
def test_a_first_fall_that_is_steeper_than_the_drop_is_not_chosen(plateau: int) -> None:
    fall = 2.0 * 0.5 ** np.arange(6)  # six evaluations from 3 to about 1
    drop = 0.9 / (1 + np.exp(-np.arange(-5, 6.0)))
    loss = np.concatenate([1.0 + fall, np.full(plateau, 1.03), 1.0 - drop, np.linspace(0.1, 0.08, 30)])
    curve = pd.DataFrame({"step": 10 * np.arange(len(loss)), "loss_nats": loss})
    steepest = 10 * (6 + plateau + 5)
    assert c1(curve, below=1.7) == c1(curve, below=1.1) == steepest
    falls = -curve.loss_nats[curve.loss_nats < 1.7].diff()
    assert falls.idxmax() == 3  # the control: right after coming below
    assert c1(curve, below=1.7, warmup=steepest) is None  # no drop is left after it


def test_evaluations_before_the_end_of_warm_up_do_not_count() -> None:
    again = [(step + 600, loss - 0.6) for step, loss in FIGURE_4[1:]]
    early = losses([(0, 1.0), (200, 0.95), (400, 0.5), (600, 0.45), *again], 100)
    assert c1(early) == 300
    assert 1300 <= (c1(early, warmup=600) or 0) <= 1600


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
    curves = [at_once, 1.0 + 0.4 * np.exp(-t / 30), np.full(len(t), UNIGRAM), 1.2 + 0.1 * np.exp(-t / 30)]
    for shaken in generator.normal(0, noise, (50, 4, len(t))):
        for loss in curves + shaken:
            assert c1(pd.DataFrame({"step": t, "loss_nats": loss})) is None
        drops = pd.DataFrame({"step": t, "loss_nats": curves[1] - 0.6 * (t > 700) + shaken[1]})
        assert c1(drops) in (700, 735)  # the control


# Rates, batches, trees, and the paper's numbers


def test_the_best_rate_is_that_of_the_highest_mean_over_the_run_with_the_same_tries_for_all() -> None:
    ends = {("a", 0.1): (0.5, 1.0), ("a", 0.2): (0.9, 0.9), ("b", 0.1): (0.6, 0.6), ("b", 0.2): (0.5, 0.5)}
    rows = [(*t, s, step, a) for t, both in ends.items() for s in (1, 2) for step, a in enumerate(both)]
    table = pd.DataFrame(rows, columns=["method", "learning_rate", "seed", "step", "accuracy"])
    best = best_rates(table, [0.1, 0.2], 2, at_end=False)
    assert best.learning_rate.tolist() == [0.2, 0.1]  # the first one is earlier, and lower at the end
    assert best.mean_accuracy.tolist() == pytest.approx([0.9, 0.6])
    assert best[["n_tried", "n_seeds", "at_edge"]].to_numpy().tolist() == [[2, 2, True]] * 2
    assert best_rates(table, [0.1, 0.2], 2, at_end=True).learning_rate.tolist() == [0.1, 0.1]
    diverged = table[(table.learning_rate != 0.2) | (table.seed == 1)]
    assert best_rates(diverged, [0.1, 0.2], 2, at_end=False).learning_rate.tolist() == [0.1, 0.1]


def test_the_answer_of_a_search_keeps_its_columns_and_one_that_found_nothing_is_censored() -> None:
    def search(*tried: tuple[int, bool]) -> Any:
        table = pd.DataFrame(tried, columns=["batch_size", "chosen"])
        return SimpleNamespace(table=table.assign(n_read=range(len(tried)), predicted=6.5))

    found, lost = search((4, False), (16, False), (8, True), (6, False)), search((4, False), (32, False))
    table = tables.chosen_batches([({"seed": 1, "n_bits": 11}, found), ({"seed": 2, "n_bits": 11}, lost)])
    assert table.to_dict("records") == [
        {"seed": 1, "n_bits": 11, "batch_size": 8.0, "n_read": 2, "predicted": 6.5, "last_batch": 16},
        {"seed": 2, "n_bits": 11, "batch_size": INF, "n_read": 1, "predicted": 6.5, "last_batch": 32},
    ]
    assert found.table.columns.tolist() == ["batch_size", "chosen", "n_read", "predicted"]  # left as it was
    assert tables.chosen_batches([]).empty


STAIRCASE = (0.125, 0.13, 0.12, 0.25, 0.26, 0.5, 0.66, 0.6, 0.82, 0.95, 1.0, 0.998, 1.0, 1.0)


def test_candidates_of_a_tree_lie_before_in_and_after_the_rise() -> None:
    def found(run: pd.DataFrame, *accuracies: float) -> tuple[int, ...]:
        return tables.tree_candidates(run.sample(frac=1, random_state=0), accuracies, chance=1 / 8)

    # 30 is the first at 1/4; 100 is followed by a drop below 0.999
    assert found(teacher(*STAIRCASE), 0.5, 0.65, 0.8, 0.9) == (10, 50, 60, 80, 90, 120)
    # nothing is earlier than the first evaluation, and all are distinct
    assert found(teacher(0.1, 0.3, 1.0, 1.0, 1.0), 0.5, 0.9) == (10, 20, 30, 40)


def test_a_teacher_of_a_tree_that_does_not_settle_has_no_candidates_and_is_left_out() -> None:
    settled, unsettled = (SimpleNamespace(table=teacher(*STAIRCASE, *more)) for more in ((), (0.9,)))

    def rule(table: pd.DataFrame) -> tuple[int, ...]:
        return tables.tree_candidates(table, [0.5], chance=1 / 8)

    assert tables.chosen({1: unsettled, 2: settled}, rule) == {2: (10, 50, 120)}
    said = r"none of 1 teachers has checkpoints to choose; .* 0\.900 \(highest 1\.000\) after 140 steps: expected distinct"
    with pytest.raises(ValueError, match=said):
        tables.chosen({1: unsettled}, rule)


def test_a_feature_stands_out_above_twice_the_rest_of_its_own_degree_and_step() -> None:
    values = {(0, 10): 1.0, (0, 20): 2.0, (1, 10): 2.0, (1, 20): 4.5, (2, 10): 1.0, (2, 20): 4.0}
    rows = [
        (
            1,
            degree,
            scope,
            node,
            node.bit_length(),
            step,
            value * (1 if (degree, scope) == (2, "below") else node + 1),
        )
        for (node, step), value in values.items()
        for degree, scope in ((1, "below"), (2, "below"), (2, "class_0"))
    ]
    table = pd.DataFrame(rows, columns=["seed", "degree", "scope", "node", "level", "step", "mean"])
    found = tables.onsets(table.sample(frac=1, random_state=0))
    second = found[found.degree == 2].drop(columns=["degree", "seed"])
    assert second.to_dict("list") == {"node": [1, 2], "level": [1, 2], "step": [20.0, INF]}
    assert found[found.degree == 1].step.tolist() == [10.0, 10.0]  # the control: other values, other steps


def test_the_rows_of_a_tree_name_every_node_and_class_once_and_keep_the_order_of_classes() -> None:
    paths = [((1, 1), (2, 1)), ((1, 1), (2, -1)), ((1, -1), (3, 1)), ((1, -1), (3, -1))]
    rows = tables.tree_rows([(0, 1), (2, 3), (4, 5)], paths).set_index("child")
    assert rows.loc[["2", "3"], "sign"].tolist() == [1, -1]
    classes = {f"class {i + 1}": 0.125 + 0.25 * i for i in range(4)}
    assert rows.place.to_dict() == {"1": 0.5, "2": 0.25, "3": 0.75} | classes
    assert rows.loc["3", "text"] == "x5 x6"
    assert rows.loc["class 4", ["parent", "depth"]].tolist() == ["3", 2]
    mirrored = tables.tree_rows([(0, 1), (2, 3), (4, 5)], paths[::-1]).set_index("child")
    assert mirrored.loc["3", "place"] == 0.25  # with -1 on the left
    assert mirrored.loc["class 1", "sign"] == -1


def test_numbers_read_off_a_figure_stand_beside_ours_at_the_same_distance_from_the_middle() -> None:
    def table(columns: str, *rows: tuple[Any, ...]) -> pd.DataFrame:
        return pd.DataFrame(rows, columns=columns.split())

    read = table(
        "figure curve step quantity value",
        *(("A", "teacher", 110, "accuracy", 0.8), ("B", "in_support", 100, "correlation", 0.1)),
        *(("C", "one_shot", 30, "accuracy", 0.5), ("C", "one_shot", 35, "accuracy", 0.5)),
    )
    accuracies = table("seed step accuracy", (1, 40, 0.6), (1, 50, 0.7), (2, 70, 0.9), (1001, 50, 0.1))
    in_support, off = (
        ((1, 40, degree, "in_support", 0.2 * degree) for degree in (1, 2)),
        (1, 40, 1, "off_support", 0.3),
    )
    ours = {
        "teacher": accuracies,
        "candidates": table("seed candidate step", (1, "middle", 40), (2, "middle", 60)),
        "correlations": table("seed step degree group mean", *in_support, off),
        "students": table("seed method step accuracy", (1, "one_shot", 30, 0.5), (1001, "one_shot", 30, 0.6)),
    }
    found = tables.beside_read_off(read, ours, origin=100)
    means = [text.split()[0] for text in found.ours]
    assert means == ["0.8", "0.2", "0.55", "no"]  # a teacher's rows of a sibling are no further teacher
    assert found.step.tolist() == ["②+1e-05M", "②+0M", "3e-05M", "3.5e-05M"]
