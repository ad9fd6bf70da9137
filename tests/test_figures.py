"""Figures: drawn from small tables, labeled, told apart without color; means and intervals as elsewhere in the book."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from pdlib import figures, tables

STEPS = range(0, 60, 10)
RISE = [0.5, 0.5, 0.6, 0.9, 1.0, 1.0]


@pytest.fixture
def ax() -> Iterator[Axes]:
    """Axes of the house's style, closed afterwards; a warning is an error."""
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("error")
        figures.house_style()
        figure, axes = plt.subplots()
        yield axes
        figure.canvas.draw()  # what cannot be drawn fails here
        plt.close(figure)


def rows(**columns: Any) -> pd.DataFrame:
    """A row for each combination of the values."""
    return pd.DataFrame(product(*columns.values()), columns=list(columns))


def accuracy(*methods: str, seeds: int = 3) -> pd.DataFrame:
    table = rows(method=methods, seed=range(seeds), step=STEPS)
    return table.assign(accuracy=table.step.map(dict(zip(STEPS, RISE, strict=True))) - 0.01 * table.seed)


def candidates() -> pd.DataFrame:
    names = ["before", "middle", "after"]
    return pd.DataFrame({"seed": 0, "candidate": names, "step": [10, 20, 40], "accuracy": [0.5, 0.6, 1.0]})


def correlations(seeds: int = 3) -> pd.DataFrame:
    table = rows(seed=range(seeds), step=STEPS, degree=[1, 2], group=["in_support", "off_support"])
    size = table.group.map({"in_support": 0.1, "off_support": 0.02})
    extremes = {"minimum": 0.0, "maximum": 2 * size, "noise_floor": 0.01}
    return table.assign(mean=size + 0.001 * table.seed, **extremes)


def widths() -> tuple[pd.DataFrame, pd.DataFrame]:
    reached = [math.inf, math.inf, 300.0, 500.0]
    steps = pd.DataFrame({"width": [10, 10, 100, 100], "steps": reached, "last_step": 1000})
    return steps, tables.reached(steps, ["width"])


def batches() -> pd.DataFrame:
    """Two seeds: labels grow as the square of d, the teacher stays; one search found nothing at d = 40."""
    table = rows(n_bits=(10, 20, 40), seed=(1, 2), target=("labels", "intermediate"))
    labels = table.target == "labels"
    size = (table.seed**2 * table.n_bits**2.0).where(labels, 8.0)
    return table.assign(batch_size=size.mask(labels & (table.n_bits == 40) & (table.seed == 2), math.inf))


LOOKS: figures.Looks = {
    "intermediate": ("a teacher", figures.BLUE, "-"),
    "trained": ("not in the table", figures.BLACK, "-"),
    "labels": ("from labels", figures.PURPLE, (0, (1, 1))),
}


def scaling(ax: Axes, table: pd.DataFrame | None = None, looks: figures.Looks = LOOKS) -> Axes:
    table = batches() if table is None else table
    return figures.plot_scaling(table, ax, "n_bits", "batch_size", "target", looks)


def levels() -> pd.DataFrame:
    """A teacher that answers the root first."""
    return pd.DataFrame({"step": STEPS, "accuracy_level_1": [0.5, 1, 1, 1, 1, 1], "accuracy_level_2": RISE})


def features(scope: str = "class_0") -> pd.DataFrame:
    """Node 1 stands out from step 10 on, node 2 from step 30."""
    table = rows(seed=[0], step=STEPS, degree=[2], scope=[scope], node=[0, 1, 2])
    out = table.step >= table.node.map({0: 99, 1: 10, 2: 30})
    return table.assign(level=table.node, mean=np.where(out, 0.05, 0.01), noise_floor=0.005)


def losses() -> pd.DataFrame:
    """Three teachers whose loss falls from 1 by their steps; the second is always 0.1 above the first."""
    table = rows(seed=range(3), step=STEPS)
    return table.assign(loss_nats=1 - 0.01 * table.step + 0.1 * table.seed)


CEILINGS = pd.DataFrame({"predictor": ["posterior", "copy", "unigram"], "loss_nats": [0.05, 1.4, 1.45]})
TURNS = pd.DataFrame(
    {"seed": [0, 1, 0, 1], "candidate": ["loss"] * 2 + ["robust"] * 2, "step": [20, 30, 40, 50]}
)
BEST = pd.DataFrame({"measure": ["robust", "robust", "close"], "n": [3, 5, 3], "median": [0.0, 0.0, 0.3]})


def ngrams() -> pd.DataFrame:
    table = rows(seed=range(3), step=STEPS, measure=("robust", "close"), n=(3, 5))
    median = table.step / 100 + table.n / 100 + 0.01 * table.seed + (table.measure == "close")
    return table.assign(median=median, mean=0.9)


def ended(ends: dict[Any, float], **columns: Any) -> pd.DataFrame:
    """Runs whose accuracy starts at 0.1 and ends where the first column says, seeds 0.02 apart."""
    table = rows(**columns, seed=range(3), step=(10, 20))
    end = table[next(iter(columns))].map(ends) + 0.02 * table.seed
    return table.assign(accuracy=end.where(table.step == 20, 0.1))


def horizons() -> pd.DataFrame:
    ends = {0.25: 0.6, 0.5: 0.7}
    return ended(ends, horizon=ends, method=("progressive", "one_shot"))


def first_checkpoints() -> pd.DataFrame:
    ends = {10: 0.5, 20: 0.6, 40: 0.55, "loss": 0.62}
    return ended(ends, checkpoint=ends)


def tried() -> pd.DataFrame:
    """Tuning runs of two methods at three rates; at the largest one method diverged."""
    ends = {0.1: 0.5, 0.2: 0.6, 0.4: 0.7}
    table = ended(ends, learning_rate=ends, method=("one_shot", "progressive"))
    return table[(table.method != "one_shot") | (table.learning_rate != 0.4)]


def nonterminals() -> pd.DataFrame:
    table = rows(seed=range(3), step=(0, 1200), level=(1, 2))
    read = 0.4 + table.step / 3000 + 0.01 * table.seed
    return table.assign(accuracy=read, majority=0.4 - 0.05 * table.level)


def gained() -> pd.DataFrame:
    """Gains of 2 and 1 points at one setting, none at the other, seeds a point apart."""
    table = rows(setting=("level 4", "level 2"), horizon=(0.25, 0.5), seed=range(3))
    gain = table.horizon.map({0.25: 0.02, 0.5: 0.01}) * (table.setting == "level 4")
    return table.assign(gain=gain + 0.01 * (table.seed - 1))


def texts() -> pd.DataFrame:
    """Texts of a teacher at T0, and of two kinds of students at a quarter and half of it; one never writes well."""
    shares = {("teacher", 1.0): 0.9, ("progressive", 0.25): 0.2, ("progressive", 0.5): 0.6}
    shares |= {("one_shot_hard", 0.25): 0.0, ("one_shot_hard", 0.5): 0.0}
    made = [(*key, seed, share * (1 - 0.01 * seed)) for key, share in shares.items() for seed in range(3)]
    return pd.DataFrame(made, columns=["method", "horizon", "seed", "accepted"])


def read_off(ax: Axes) -> Axes:
    points = pd.DataFrame({"curve": ["teacher", "in_support"], "step": [110, 120], "value": [0.5, 0.1]})
    return figures.mark_read_off(points, figures.plot_accuracy(accuracy("teacher"), ax), origin=100)


def quality(ax: Axes) -> Axes:
    final = pd.Series([0.5, 0.9, 0.6], index=[10, 20, 40])
    return figures.plot_checkpoint_quality(accuracy("teacher", seeds=1), correlations(1), final, ax)


TEACHER = "teacher, from labels (n = 3)"
CURVE = ("training steps", "held-out accuracy")
SIZES = ("training steps", "mean |correlation|, degree 1")
QUESTIONS = ["the root's question, chance 0.5", "all questions: the class, chance 0.25"]
DRAWN: dict[str, tuple[Callable[[Axes], Axes], list[str], tuple[str, str]]] = {
    "plot_accuracy": (
        lambda ax: figures.plot_accuracy(accuracy("progressive", "one_shot"), ax),
        ["one-shot, τ = 1 (n = 3)", "progressive (n = 3)"],
        CURVE,
    ),
    "plot_family": (
        lambda ax: figures.plot_family(accuracy("one_shot").assign(n_heads=4), ax, "n_heads"),
        ["4 heads (n = 3)"],
        CURVE,
    ),
    "plot_seeds": (lambda ax: figures.plot_seeds(accuracy("teacher"), ax), ["one seed each"], CURVE),
    "mark_read_off": (read_off, [TEACHER, "read off the paper's figure"], CURVE),
    "mark_candidates": (
        lambda ax: figures.mark_candidates(candidates(), figures.plot_accuracy(accuracy("teacher"), ax)),
        [TEACHER, "candidate ①", "candidate ②", "candidate ③"],
        CURVE,
    ),
    "plot_correlations": (
        lambda ax: figures.plot_correlations(correlations(), ax, degree=1),
        ["in the support", "off the support", "largest off the support", "noise floor"],
        SIZES,
    ),
    "plot_checkpoint_quality": (
        quality,
        ["teacher's accuracy", "its (2, T) student's final accuracy", "correlation in the support, scaled"],
        ("teacher checkpoint (training steps)", "held-out accuracy"),
    ),
    "plot_reach": (
        lambda ax: figures.plot_reach(*widths(), ax, "width"),
        ["a run", "not within the budget", "median of all runs"],
        ("width", "steps to 90 % held-out accuracy"),
    ),
    "plot_scaling": (scaling, ["a teacher", "from labels"], ("", "")),
    "plot_levels": (
        lambda ax: figures.plot_levels(levels(), ax),
        QUESTIONS,
        ("training steps", "share answered rightly"),
    ),
    "mark_numbered": (
        lambda ax: figures.mark_numbered(candidates().assign(candidate=[1, 2, 3]), ax),
        ["candidate checkpoints"],
        ("", ""),
    ),
    "plot_features": (
        lambda ax: figures.plot_features(features(), ax, degree=2),
        ["level 1 (node 1)", "level 2 (node 2)", "rest", "noise floor"],
        ("training steps", "mean |correlation|, degree 2"),
    ),
    "plot_onsets": (
        lambda ax: figures.plot_onsets(tables.onsets(features("below")), ax, degree=2),
        ["nodes of level 1", "nodes of level 2"],
        ("step at which degree 2 stands out", "teacher's seed"),
    ),
    "plot_loss": (
        lambda ax: figures.plot_loss(losses(), ax, CEILINGS, TURNS),
        ["one seed each", "mean (n = 3)", "C₁, steepest of the drop", r"peak of $M_\mathrm{robust}$"],
        ("training steps", "held-out loss (nats)"),
    ),
    "plot_dependence": (
        lambda ax: figures.plot_dependence(ngrams(), ax, "robust", BEST),
        ["n = 3 (3 seeds)", "n = 5 (3 seeds)", "exact posterior, in the same color"],
        ("training steps", r"$M_\mathrm{robust}$ (median)"),
    ),
    "plot_horizons": (
        lambda ax: figures.plot_horizons(horizons(), ax, 0.96),
        ["one-shot, τ = 1 (n = 3)", "progressive (n = 3)"],
        ("student's training steps (T₀: the teacher's)", "final held-out accuracy"),
    ),
    "plot_rates": (
        lambda ax: figures.plot_rates(tried(), ax, tried().query("learning_rate == 0.2")),
        ["one-shot, τ = 1", "progressive"],
        ("learning rate", "final held-out accuracy"),
    ),
    "plot_gains": (
        lambda ax: figures.plot_gains(gained(), ax),
        ["student trained for T₀/4 (n = 3)", "student trained for T₀/2 (n = 3)"],
        ("", "gain over one-shot (points)"),
    ),
    "plot_generated": (
        lambda ax: figures.plot_generated(texts(), ax),
        [TEACHER, "one-shot, hard labels (n = 3)", "progressive (n = 3)"],
        ("training steps (T₀: the teacher's)", "share of texts accepted"),
    ),
    "plot_first_checkpoints": (
        lambda ax: figures.plot_first_checkpoints(
            first_checkpoints(), ax, horizons().query("method == 'one_shot'"), TURNS
        ),
        ["one-shot (n = 3)", "first checkpoint of the grid (n = 3)", "C₁, steepest of the drop"],
        ("first checkpoint (teacher's training steps)", "final held-out accuracy"),
    ),
    "plot_nonterminals": (
        lambda ax: figures.plot_nonterminals(nonterminals(), ax, "step"),
        ["always the most frequent symbol", "untrained (n = 3)", "1.2k steps (n = 3)"],
        ("level, from the root", "accuracy of the probe"),
    ),
}


def legend(ax: Axes) -> list[str]:
    return list(dict.fromkeys(ax.get_legend_handles_labels()[1]))


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_has_axis_labels_and_names_everything_it_draws_in_its_order(name: str, ax: Axes) -> None:
    draw, entries, labels = DRAWN[name]
    assert draw(ax) is ax
    assert (ax.get_xlabel(), ax.get_ylabel()) == labels
    assert legend(ax) == entries


def test_every_plot_function_is_drawn_in_these_tests() -> None:
    functions = {name for name in dir(figures) if name.startswith(("plot_", "mark_"))}
    assert functions == set(DRAWN) | {"plot_strip", "plot_rows"}


def drawn(ax: Axes) -> dict[str, tuple[list[float], list[float]]]:
    """The points of each line, by its name."""
    lines = ((str(line.get_label()), np.asarray(line.get_xydata()).T.tolist()) for line in ax.get_lines())
    return {label: (points[0], points[1]) for label, points in lines if points}


def bars(ax: Axes) -> list[tuple[float, float]]:
    """The ends of the error bars."""
    segments = [c.lines[2][0].get_segments() for c in ax.containers]  # type: ignore[attr-defined]
    return [(float(s[0, 1]), float(s[1, 1])) for of_series in segments for s in of_series if len(s)]


def dots(ax: Axes) -> list[list[list[float]]]:
    found = [np.asarray(c.get_offsets()).tolist() for c in ax.collections if "Path" in type(c).__name__]
    return [points for points in found if points]


def test_a_curve_is_the_mean_over_seeds_within_its_interval_never_above_1(ax: Axes) -> None:
    figures.plot_accuracy(accuracy("progressive"), ax)
    np.testing.assert_allclose(drawn(ax)["progressive (n = 3)"][1], np.array(RISE) - 0.01)
    (band,) = ax.collections
    low, high = band.get_paths()[0].get_extents().get_points()[:, 1]
    assert low == pytest.approx(tables.mean_interval([0.5, 0.49, 0.48]).low)
    assert high == 1


def test_one_seed_has_neither_band_nor_error_bar(ax: Axes) -> None:
    figures.plot_accuracy(accuracy("progressive", seeds=1), ax)
    figures.plot_horizons(horizons().query("seed == 0"), ax)
    assert not ax.collections
    assert not ax.containers
    figures.plot_horizons(horizons(), ax)
    assert len(bars(ax)) == 4  # the control


def test_a_family_is_drawn_in_the_order_of_its_names_each_in_its_own_color_and_line(ax: Axes) -> None:
    figures.plot_family(
        accuracy("one_shot", "progressive"), ax, "method", {"progressive": "P", "one_shot": "O"}
    )
    first, second = ax.get_lines()[:2]
    assert legend(ax) == ["P (n = 3)", "O (n = 3)"]
    assert first.get_linestyle() != second.get_linestyle()
    assert not np.array_equal(np.asarray(first.get_color()), np.asarray(second.get_color()))


def test_the_median_line_stops_where_it_is_censored(ax: Axes) -> None:
    figures.plot_reach(*widths(), ax, "width")
    assert drawn(ax)["median of all runs"][0] == [100]
    assert {t.get_text() for t in ax.texts} == {"0/2", "2/2"}
    assert dots(ax)[1] == [[10, 1000]] * 2  # the hollow ones, at the budget


def test_a_scaling_is_a_line_of_geometric_means_without_means_over_those_that_succeeded(ax: Axes) -> None:
    scaling(ax)
    lines = drawn(ax)
    assert lines["a teacher"] == (pytest.approx([10, 20, 40]), pytest.approx([8, 8, 8]))
    x, y = lines["from labels"]
    assert x == pytest.approx([10, 20])  # at 40 one search found nothing
    assert y == pytest.approx([2 * d**2 for d in x])  # of 1 and 4 times, not 2.5 times
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    found = batches().replace({math.inf: 6400.0})
    scaling(ax, found, {"labels": ("all found", figures.RED, "-")})
    assert drawn(ax)["all found"][0] == pytest.approx([10, 20, 40])  # the control
    before = len(ax.get_lines())
    scaling(ax, batches().assign(batch_size=math.inf))
    assert len(ax.get_lines()) == before


@pytest.mark.parametrize("value", [math.nan, 0.0, -1.0, -math.inf, math.inf])
def test_a_value_without_a_logarithm_takes_its_whole_point_with_it(ax: Axes, value: float) -> None:
    table = batches().replace({math.inf: 6400.0})
    one = (table.n_bits == 20) & (table.target == "labels") & (table.seed == 2)
    scaling(ax, table.assign(batch_size=table.batch_size.mask(one, value)))
    assert drawn(ax)["from labels"] == (pytest.approx([10, 40]), pytest.approx([200, 3200]))
    assert drawn(ax)["a teacher"][0] == pytest.approx([10, 20, 40])


def test_a_scaling_has_an_interval_of_logarithms_only_where_several_seeds_were_run(ax: Axes) -> None:
    labels = batches().query("target == 'labels'")
    figures.plot_scaling(labels[labels.seed == 1], ax, "n_bits", "batch_size")
    assert not ax.collections
    assert legend(ax) == ["batch size"]  # without looks it is named as its column
    figures.plot_scaling(labels, ax, "n_bits", "batch_size", markers=False)
    assert [line.get_marker() for line in ax.get_lines()] == ["o", "None"]
    (band,) = ax.collections
    ends = band.get_paths()[0].get_extents().get_points()[:, 1]
    low, high = (tables.mean_interval(np.log([d**2, 4 * d**2])) for d in (10.0, 20.0))
    np.testing.assert_allclose(ends, [np.exp(low.low), np.exp(high.high)])


def test_names_that_a_page_gave_the_axes_stay_and_an_axis_shows_exactly_its_values(ax: Axes) -> None:
    ax.set_ylabel("batch")
    values = [16, 1024, 65_536]
    assert figures.axis_of(values, scaling(ax), "d") is ax
    ax.figure.canvas.draw()
    assert ax.get_xticks().tolist() == values
    assert [t.get_text() for t in ax.get_xticklabels()] == ["16", "1.02k", "65.5k"]
    assert ax.xaxis.get_minorticklocs().size == 0
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("d", "batch")


def test_no_two_methods_share_color_and_line_and_no_line_rests_on_color_alone() -> None:
    names, *_ = zip(*figures.METHODS.values(), strict=True)
    assert len(set(names)) == len({look[1:] for look in figures.METHODS.values()}) == len(names)
    students = {k: v for k, v in figures.METHODS.items() if k not in ("teacher", "two_checkpoint_middle")}
    assert len({str(look[2]) for look in students.values()}) == len(students)


def test_one_legend_below_names_each_curve_of_several_panels_once() -> None:
    figure, axes = plt.subplots(1, 2, sharey=True)
    for ax in axes:
        figures.plot_accuracy(accuracy("one_shot", "progressive"), ax)
        assert ax.yaxis.label.get_visible()
    figures.finish(figure, "3 runs, published")
    (below,) = figure.legends
    assert [t.get_text() for t in below.get_texts()] == ["one-shot, τ = 1 (n = 3)", "progressive (n = 3)"]
    plt.close(figure)


def test_panels_stand_below_each_other_where_they_would_be_too_narrow() -> None:
    figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.5), sharey=True)
    for ax in axes:
        figures.plot_accuracy(accuracy("one_shot"), ax)
    axes[0].set_ylabel("accuracy")
    figures.arrange(figure, figures.WIDE)
    assert figure.get_size_inches().tolist() == [figures.WIDE, 7.0]  # two and one
    figures.arrange(figure, figures.NARROW)
    assert figure.get_size_inches().tolist() == [figures.NARROW, 10.5]
    figure.draw_without_rendering()
    left, bottom = zip(*(ax.get_position().p0 for ax in axes), strict=True)
    assert max(left) - min(left) < 0.02
    assert list(bottom) == sorted(bottom, reverse=True)
    assert [ax.get_ylabel() for ax in axes] == ["accuracy", "held-out accuracy", "held-out accuracy"]
    plt.close(figure)


def test_vectors_are_the_same_text_each_time_with_letters_that_can_be_read_at_the_size_shown() -> None:
    def drawn() -> dict[str, str]:
        figure, axes = plt.subplots(1, 2, figsize=(9, 3.5))
        for ax in axes:
            figures.plot_accuracy(accuracy("one_shot", "progressive"), ax)
        found = figures.vectors(figure)
        plt.close(figure)
        return found

    figures.house_style()
    found = drawn()
    assert found == drawn()
    for text, pixels in zip(found.values(), (701, 355), strict=True):
        assert ">held-out accuracy</text>" in text
        width = float(re.search(r'viewBox="0 0 ([\d.]+)', text)[1])  # type: ignore[index]
        assert round(width * 4 / 3) == pixels
        sizes = [float(size) for size in re.findall(r"font(?:-size)?: ([\d.]+)px", text)]
        assert len(sizes) > 10
        assert min(sizes) * 4 / 3 >= 11


def test_control_a_figure_of_tokens_has_no_narrow_form(ax: Axes) -> None:
    ax.figure.set_gid(figures.WHOLE)
    assert list(figures.vectors(ax.figure)) == ["image/svg+xml"]  # type: ignore[arg-type]


def test_numbers_read_off_the_paper_are_crosses_in_their_curves_colors(ax: Axes) -> None:
    read_off(ax)
    crosses = ax.collections[1]
    assert np.asarray(crosses.get_offsets()).tolist() == [[10.0, 0.5], [20.0, 0.1]]
    assert [to_hex(c) for c in crosses.get_edgecolor()] == [figures.BLACK, figures.RED.lower()]  # type: ignore[union-attr]


def test_a_strip_draws_a_dot_for_each_seed_and_beside_them_the_mean_with_its_interval(ax: Axes) -> None:
    values = accuracy("one_shot", "progressive").query("step == 50")
    names = {"progressive": "P", "one_shot": "O"}
    figures.plot_strip(values, ax, "method", "accuracy", list(names), names)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["P", "O"]
    assert sorted(x for x, _ in dots(ax)[0]) == pytest.approx([-0.12, 0, 0.12, 0.88, 1, 1.12])
    assert drawn(ax)["_mean"] == ([0.25, 1.25], pytest.approx([0.99, 0.99]))
    assert bars(ax)[0] == pytest.approx(_ends([1.0, 0.99, 0.98]))
    one_seed = values[values.seed == 0]
    figures.plot_strip(one_seed, ax, "method", "accuracy", list(names), names)  # no interval, no failure


def test_rows_are_a_strip_lying_down(ax: Axes) -> None:
    values = accuracy("one_shot", "progressive").query("step == 50")
    names = {"progressive": "P", "one_shot": "O"}
    figures.plot_rows(values, ax, "accuracy", "method", list(names), names)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["P", "O"]
    assert ax.yaxis_inverted(), "the first on top"
    assert sorted(y for _, y in dots(ax)[0]) == pytest.approx([-0.12, 0, 0.12])
    marks = [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines if line.get_marker() == "s"]
    np.testing.assert_allclose(marks, [(0.99, 0.3), (0.99, 1.3)])
    figures.plot_rows(values[values.seed == 0], ax, "accuracy", "method", list(names), names)


def _ends(values: list[float]) -> tuple[float, float]:
    interval = tables.mean_interval(values)
    return interval.low, interval.high


def test_candidates_are_numbered_together_where_they_share_a_step(ax: Axes) -> None:
    table = pd.DataFrame({"candidate": [1, 2, 3], "step": [10, 20, 20], "accuracy": [0.5, 0.6, 0.6]})
    figures.mark_numbered(table, ax)
    assert [t.get_text() for t in ax.texts] == ["①", "②③"]
    assert dots(ax) == [[[10, 0.5], [20, 0.6]]]


def test_a_node_that_never_stands_out_is_not_drawn_as_if_it_did(ax: Axes) -> None:
    figures.plot_onsets(tables.onsets(features("below").assign(mean=0.01)), ax, degree=2)
    assert not ax.collections
    figures.plot_onsets(tables.onsets(features("below")), ax, degree=2)
    assert sorted(points[0][0] for points in dots(ax)) == [10, 30]


def test_correlations_of_steps_that_some_seeds_lack_are_left_out(ax: Axes) -> None:
    table = correlations()
    figures.plot_correlations(table[(table.seed > 0) | (table.step > 0)], ax, degree=1)
    x, y = drawn(ax)["in the support"]
    assert x == list(STEPS[1:])
    np.testing.assert_allclose(y, 0.101)


def test_a_loss_is_the_mean_of_its_seeds_with_names_at_the_references_and_triangles_on_the_seeds(
    ax: Axes,
) -> None:
    figures.plot_loss(losses(), ax, CEILINGS, TURNS)
    x, y = drawn(ax)["mean (n = 3)"]
    assert x == pytest.approx([10, 20, 30, 40, 50])  # step 0 has no logarithm
    assert y == pytest.approx([1 - 0.01 * step + 0.1 for step in x])
    named = {t.get_text(): (t.get_position()[1], t.get_verticalalignment()) for t in ax.texts}
    assert named == {
        "exact posterior": (0.05, "bottom"),
        "copying": (1.4, "top"),  # the close ones part
        "unigram": (1.45, "bottom"),
    }
    assert ax.get_ylim()[1] > 1.45
    np.testing.assert_allclose(dots(ax)[0], [[20, 0.8], [30, 0.8]])
    assert ax.get_xscale() == "log"


def test_dependence_draws_one_measure_and_the_best_of_each_n_in_its_color(ax: Axes) -> None:
    figures.plot_dependence(ngrams(), ax, "robust", BEST)
    assert drawn(ax)["n = 5 (3 seeds)"][1] == pytest.approx([step / 100 + 0.06 for step in STEPS])
    best = [line for line in ax.get_lines() if np.asarray(line.get_ydata()).tolist() == [0, 0]]
    assert [line.get_color() for line in best] == [figures.RED, figures.BLUE]
    assert len({str(line._unscaled_dash_pattern) for line in best}) == 2  # type: ignore[attr-defined]
    figures.plot_dependence(ngrams(), ax, "close", log=True)
    assert drawn(ax)["n = 5 (3 seeds)"][1][0] == pytest.approx(1.06 + 0.1)  # not that at step 0


def test_dependence_has_the_mean_beside_the_median_in_its_color_where_asked(ax: Axes) -> None:
    figures.plot_dependence(ngrams(), ax, "robust", means=True)
    assert legend(ax)[2:] == ["mean over positions, in the same color"]
    medians, means = ax.get_lines()[:2], ax.get_lines()[2:4]
    assert [line.get_color() for line in means] == [line.get_color() for line in medians]
    assert all(np.allclose(line.get_ydata(), 0.9) for line in means)
    assert np.allclose(medians[0].get_ydata(), [step / 100 + 0.04 for step in STEPS])
    assert ax.get_ylabel() == r"$M_\mathrm{robust}$"


def test_the_last_step_of_each_run_counts_and_error_bars_stand_side_by_side(ax: Axes) -> None:
    figures.plot_horizons(horizons(), ax, 0.9)
    figures.plot_horizons(horizons(), ax, 0.3, reference="copy")
    (left, first), (right, second) = (drawn(ax)[name] for name in DRAWN["plot_horizons"][1])
    np.testing.assert_allclose([first, second], [[0.62, 0.72]] * 2)
    assert (np.array(left) < right).all()
    np.testing.assert_allclose(np.sqrt(np.multiply(left, right)), [0.25, 0.5])
    assert bars(ax)[0] == pytest.approx(_ends([0.6, 0.62, 0.64]))
    assert [t.get_text() for t in ax.get_xticklabels()] == ["T₀/4", "T₀/2"]
    assert [t.get_text() for t in ax.texts] == ["exact posterior", "copying"]  # the dotted lines


def test_rings_stand_around_the_rates_chosen_and_a_method_without_a_look_is_named_as_it_is(ax: Axes) -> None:
    table = tried().replace({"method": {"one_shot": "mine"}})
    figures.plot_rates(table, ax, pd.DataFrame({"method": ["mine"], "learning_rate": [0.2]}))
    assert legend(ax) == ["progressive", "mine"]
    rings = [np.asarray(line.get_xydata()) for line in ax.get_lines() if line.get_markersize() == 11]
    np.testing.assert_allclose(np.concatenate(rings), [[x[1] for x in drawn(ax)["mine"]]])


def test_gains_are_points_grouped_in_the_order_of_their_settings_with_intervals(ax: Axes) -> None:
    figures.plot_gains(gained(), ax)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["level 4", "level 2"]
    short, long = (drawn(ax)[name] for name in DRAWN["plot_gains"][1])
    np.testing.assert_allclose([short, long], [([-0.2, 0.8], [2, 0]), ([0.2, 1.2], [1, 0])], atol=1e-12)
    assert bars(ax)[0] == pytest.approx(_ends([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(sorted(y for _, y in dots(ax)[0]), [-1, 0, 1, 1, 2, 3], atol=1e-12)


def test_a_share_of_0_is_drawn_clear_of_the_axis_and_methods_stand_side_by_side(ax: Axes) -> None:
    figures.plot_generated(texts(), ax)
    teacher, never, well = (drawn(ax)[name] for name in DRAWN["plot_generated"][1])
    assert teacher[0] == [2]  # alone above its length
    assert never == (pytest.approx([-0.055, 0.945]), [0, 0])
    assert well == (pytest.approx([0.055, 1.055]), pytest.approx([0.198, 0.594]))
    assert ax.get_ylim()[0] < -0.02
    assert [t.get_text() for t in ax.get_xticklabels()] == ["T₀/4", "T₀/2", "T₀"]
    ax.clear()
    figures.plot_generated(texts().assign(accepted=0.0), ax)
    low, high = ax.get_ylim()
    assert low < 0 < 0.09 < high  # a figure all the same


def test_candidates_stand_at_the_mean_of_their_steps_beside_the_grid(ax: Axes) -> None:
    figures.plot_first_checkpoints(first_checkpoints(), ax, candidates=TURNS)
    grid, candidate = (
        drawn(ax)["first checkpoint of the grid (n = 3)"],
        drawn(ax)["C₁, steepest of the drop"],
    )
    np.testing.assert_allclose(grid, [[10, 20, 40], [0.52, 0.62, 0.57]])
    np.testing.assert_allclose(candidate, [[25], [0.64]])
    n, texts_ = len(ax.containers), first_checkpoints().astype({"checkpoint": str})
    figures.plot_first_checkpoints(texts_, ax)  # as a table comes back from a file
    assert len(ax.containers) == n + 1  # a candidate without a step is not drawn


def test_a_probe_is_drawn_by_level_beside_the_majority(ax: Axes) -> None:
    figures.plot_nonterminals(nonterminals(), ax, "step")
    assert drawn(ax)["always the most frequent symbol"] == ([1, 2], pytest.approx([0.35, 0.3]))
    assert drawn(ax)["untrained (n = 3)"] == (pytest.approx([0.975, 1.975]), pytest.approx([0.41, 0.41]))
    assert drawn(ax)["1.2k steps (n = 3)"][1] == pytest.approx([0.81, 0.81])
    assert ax.get_xticks().tolist() == [1, 2]
