"""Figures: drawn from small tables, labeled, told apart without color; the interactive one without a network."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex

from pdlib import plots, tables

STEPS = range(0, 60, 10)
RISE = [0.5, 0.5, 0.6, 0.9, 1.0, 1.0]


@pytest.fixture
def ax() -> Iterator[Axes]:
    """Axes of the house's style, closed afterwards."""
    with mpl.rc_context():
        plots.house_style()
        figure, axes = plt.subplots()
        yield axes
        figure.canvas.draw()  # what cannot be drawn fails here
        plt.close(figure)


def accuracy(*methods: str, seeds: int = 3) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"method": m, "seed": s, "step": step, "accuracy": a - 0.01 * s}
            for m in methods
            for s in range(seeds)
            for step, a in zip(STEPS, RISE, strict=True)
        ]
    )


def candidates() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "seed": 0,
            "candidate": ["before", "middle", "after"],
            "step": [10, 20, 40],
            "accuracy": [0.5, 0.6, 1.0],
        }
    )


def correlations(seeds: int = 3) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"seed": seed, "step": step, "degree": degree, "group": group, "mean": mean + 0.001 * seed}
            | {"maximum": 2 * mean, "noise_floor": 0.01}
            for seed in range(seeds)
            for step in STEPS
            for degree in (1, 2)
            for group, mean in (("in_support", 0.1), ("off_support", 0.02))
        ]
    )


def widths() -> tuple[pd.DataFrame, pd.DataFrame]:
    steps = pd.DataFrame(
        {"width": [10, 10, 100, 100], "steps": [math.inf, math.inf, 300.0, 500.0], "last_step": 1000}
    )
    return steps, tables.reached(steps, ["width"])


def final() -> pd.Series[float]:
    return pd.Series([0.5, 0.9, 0.6], index=[10, 20, 40])


def batches() -> pd.DataFrame:
    """Two seeds: labels grow as the square of d, the teacher stays; one search found nothing at d = 40."""
    rows = [
        {"seed": seed, "n_bits": d, "target": target, "batch_size": batch}
        for d in (10, 20, 40)
        for seed, factor in ((1, 1.0), (2, 4.0))
        for target, batch in (("labels", factor * d**2), ("intermediate", 8.0))
    ]
    table = pd.DataFrame(rows)
    lost = (table.n_bits == 40) & (table.target == "labels") & (table.seed == 2)
    return table.assign(batch_size=table.batch_size.where(~lost, math.inf))


LOOKS: dict[Any, tuple[str, str, Any]] = {
    "intermediate": ("a teacher", plots.BLUE, "-"),
    "trained": ("not in the table", plots.BLACK, "-"),
    "labels": ("from labels", plots.PURPLE, (0, (1, 1))),
}


def scaling(ax: Axes) -> Axes:
    plots.plot_scaling(batches(), ax, "n_bits", "batch_size", "target", LOOKS)
    ax.set_ylabel("batch")
    return plots.axis_of([10, 20, 40], ax, "d")


LEVEL_LABELS = ["the root's question, chance 0.5", "all questions: the class, chance 0.25"]


def levels() -> pd.DataFrame:
    """A teacher that answers the root first."""
    return pd.DataFrame({"step": STEPS, "accuracy_level_1": [0.5, 1, 1, 1, 1, 1], "accuracy_level_2": RISE})


def numbered() -> pd.DataFrame:
    return pd.DataFrame({"candidate": [1, 2, 3], "step": [10, 20, 20], "accuracy": [0.5, 0.6, 0.6]})


def features() -> pd.DataFrame:
    """Node 1 stands out from step 10 on, node 2 from step 30."""
    return pd.DataFrame(
        [
            {
                "seed": 0,
                "step": step,
                "degree": 2,
                "scope": "class_0",
                "node": node,
                "level": node.bit_length(),
            }
            | {"mean": 0.05 if node and step >= first else 0.01, "noise_floor": 0.005}
            for step in STEPS
            for node, first in ((0, 0), (1, 10), (2, 30))
        ]
    )


def tree() -> pd.DataFrame:
    paths = [((1, 1), (2, 1)), ((1, 1), (2, -1)), ((1, -1), (3, 1)), ((1, -1), (3, -1))]
    return tables.tree_rows([(0, 1), (2, 3), (4, 5)], paths)


def paths() -> pd.DataFrame:
    """What a probe of attention leaves: the mass on a coordinate of the support rises, that off it falls."""
    on, off = np.array([0.1, 0.1, 0.3]), np.array([0.05, 0.05, 0.01])
    table = pd.DataFrame({"step": [0, 10, 20], "on_coordinate": on, "off_coordinate": off})
    for name in ("on_coordinate", "off_coordinate"):
        table[f"{name}_low"], table[f"{name}_high"] = table[name] - 0.01, table[name] + 0.01
    return table


def parse() -> pd.DataFrame:
    """The sentence "the cat ran away", its two phrases and its root."""
    rows = [(0, "S", 0, 4), (1, "NP", 0, 2), (1, "VP", 2, 4)]
    rows += [(2, word, i, i + 1) for i, word in enumerate(["the", "cat", "ran", "away"])]
    return pd.DataFrame(rows, columns=["level", "symbol", "start", "stop"])


SELECTED = ["selected, shown as [mask]", "selected, shown as a random token", "selected, shown as it is"]


def masking() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "position": range(4),
            "original": ["1", "2", "3", "1"],
            "shown": ["1", "[mask]", "2", "1"],
            "selected": [False, True, True, True],
        }
    )


def losses() -> pd.DataFrame:
    """Three teachers whose loss falls from 1 by their steps; the second is always 0.1 above the first."""
    return pd.DataFrame(
        [
            {"seed": seed, "step": step, "loss_nats": 1 - 0.01 * step + 0.1 * seed}
            for seed in range(3)
            for step in STEPS
        ]
    )


CEILINGS = pd.DataFrame({"predictor": ["posterior", "copy", "unigram"], "loss_nats": [0.05, 1.4, 1.45]})


def turns() -> pd.DataFrame:
    return pd.DataFrame(
        {"seed": [0, 1, 0, 1], "candidate": ["loss"] * 2 + ["robust"] * 2, "step": [20, 30, 40, 50]}
    )


def ngrams() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"seed": seed, "method": method, "step": step, "measure": measure, "n": n}
            | {"median": step / 100 + n / 100 + 0.01 * seed + (measure == "close")}
            for seed in range(3)
            for method in ("one_shot",)
            for step in STEPS
            for measure in ("robust", "close")
            for n in (3, 5)
        ]
    )


def best() -> pd.DataFrame:
    return pd.DataFrame({"measure": ["robust", "robust", "close"], "n": [3, 5, 3], "median": [0.0, 0.0, 0.3]})


def horizons() -> pd.DataFrame:
    """Runs of two methods at two horizons; their last accuracies are 0.6 and 0.7, seeds 0.02 apart."""
    return pd.DataFrame(
        [
            {"seed": seed, "horizon": horizon, "method": method, "step": step, "accuracy": accuracy}
            for seed in range(3)
            for horizon, end in ((0.25, 0.6), (0.5, 0.7))
            for method in ("progressive", "one_shot")
            for step, accuracy in ((10, 0.1), (20, end + 0.02 * seed))
        ]
    )


def first_checkpoints() -> pd.DataFrame:
    """(2, T) students of a grid, 10, 20, 40, and of one candidate; their last accuracies, seeds 0.02 apart."""
    return pd.DataFrame(
        [
            {"seed": seed, "checkpoint": checkpoint, "step": step, "accuracy": accuracy}
            for seed in range(3)
            for checkpoint, end in ((10, 0.5), (20, 0.6), (40, 0.55), ("loss", 0.62))
            for step, accuracy in ((10, 0.1), (20, end + 0.02 * seed))
        ]
    )


def nonterminals() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"seed": seed, "step": step, "level": level, "accuracy": 0.4 + step / 3000 + 0.01 * seed}
            | {"majority": 0.4 - 0.05 * level}
            for seed in range(3)
            for step in (0, 1200)
            for level in (1, 2)
        ]
    )


def boundaries() -> pd.DataFrame:
    """Spans of level 2 end at 1, 3 and 5, one of level 3 at 3, and all at the last token."""
    return pd.DataFrame(
        {"position": range(6), "token": ["3", "2", "1", "1", "2", "3"], "level": [1, 2, 1, 3, 1, 4]}
    )


def gained() -> pd.DataFrame:
    """Gains of 2 and 1 points at one setting, none at the other, seeds a point apart."""
    return pd.DataFrame(
        [
            {"setting": setting, "horizon": horizon, "seed": seed, "gain": gain + 0.01 * (seed - 1)}
            for setting, gains in (("level 4", (0.02, 0.01)), ("level 2", (0.0, 0.0)))
            for horizon, gain in zip((0.25, 0.5), gains, strict=True)
            for seed in range(3)
        ]
    )


def texts() -> pd.DataFrame:
    """Texts of a teacher at T0, and of two kinds of students at a quarter and half of it, of which one never writes well."""
    rows = [("teacher", 1.0, 0.9), ("one_shot_hard", 0.25, 0.0), ("one_shot_hard", 0.5, 0.0)]
    rows += [("progressive", 0.25, 0.2), ("progressive", 0.5, 0.6)]
    return pd.DataFrame(
        [
            {"method": method, "horizon": horizon, "seed": seed, "accepted": share * (1 - 0.01 * seed)}
            for method, horizon, share in rows
            for seed in range(3)
        ]
    )


RISING = pd.DataFrame({"step": [0, 10, 20], "accuracy": [0.5, 0.7, 1.0]})


def tried() -> pd.DataFrame:
    """Tuning runs of two methods at three rates; at the largest one method diverged."""
    return pd.DataFrame(
        {
            "seed": s,
            "method": m,
            "learning_rate": r,
            "step": step,
            "accuracy": 0.5 + 0.4 * r * step + 0.01 * s,
        }
        for s in (1, 2)
        for m in ("one_shot", "progressive")
        for r in (0.1, 0.2, 0.4)
        for step in (0, 1)
        if (m, r) != ("one_shot", 0.4)
    )


DRAWN: dict[str, tuple[Callable[[Axes], Axes], list[str], tuple[str, str]]] = {
    "plot_accuracy": (
        lambda ax: plots.plot_accuracy(accuracy("one_shot", "progressive"), ax),
        ["one-shot, τ = 1 (n = 3)", "progressive (n = 3)"],
        ("training steps", "held-out accuracy"),
    ),
    "plot_seeds": (
        lambda ax: plots.plot_seeds(accuracy("teacher"), ax),
        ["one seed each"],
        ("training steps", "held-out accuracy"),
    ),
    "mark_read_off": (
        lambda ax: plots.mark_read_off(
            pd.DataFrame({"curve": ["teacher"], "step": [50], "value": [0.7]}),
            plots.plot_accuracy(accuracy("teacher"), ax),
        ),
        ["teacher, from labels (n = 3)", "read off the paper's figure"],
        ("training steps", "held-out accuracy"),
    ),
    "mark_candidates": (
        lambda ax: plots.mark_candidates(candidates(), plots.plot_accuracy(accuracy("teacher"), ax)),
        ["teacher, from labels (n = 3)", "candidate ①", "candidate ②", "candidate ③"],
        ("training steps", "held-out accuracy"),
    ),
    "plot_correlations": (
        lambda ax: plots.plot_correlations(correlations(), ax, degree=1),
        ["in the support", "off the support", "largest off the support", "noise floor"],
        ("training steps", "mean |correlation|, degree 1"),
    ),
    "plot_reach": (
        lambda ax: plots.plot_reach(*widths(), ax, "width"),
        ["a run", "not within the budget", "median of all runs"],
        ("width", "steps to 90 % held-out accuracy"),
    ),
    "plot_scaling": (scaling, ["a teacher", "from labels"], ("d", "batch")),
    "plot_checkpoint_quality": (
        lambda ax: plots.plot_checkpoint_quality(accuracy("teacher", seeds=1), correlations(1), final(), ax),
        ["teacher's accuracy", "its (2, T) student's final accuracy", "correlation in the support, scaled"],
        ("teacher checkpoint (training steps)", "held-out accuracy"),
    ),
    "plot_family": (
        lambda ax: plots.plot_family(accuracy("one_shot").assign(n_heads=4), ax, "n_heads"),
        ["4 heads (n = 3)"],
        ("training steps", "held-out accuracy"),
    ),
    "plot_attention": (
        lambda ax: plots.plot_attention(paths(), RISING, ax),
        [
            "on a coordinate of the support",
            "on a coordinate of the support, untrained",
            "on another coordinate",
            "on another coordinate, untrained",
            "accuracy, scaled",
            "transition",
        ],
        ("training steps", "attention along length-2 paths"),
    ),
    "plot_correlation_seeds": (
        lambda ax: plots.plot_correlation_seeds(
            correlations(1).assign(minimum=0.0), accuracy("teacher", seeds=1), ax
        ),
        ["in the support", "off the support", "accuracy, scaled", "noise floor"],
        ("training steps", "mean |correlation|, degree 1"),
    ),
    "plot_tree": (lambda ax: plots.plot_tree(tree(), ax, ("1", "2", "class 1")), [], ("", "")),
    "mark_numbered": (
        lambda ax: plots.mark_numbered(numbered(), plots.plot_levels(levels(), ax)),
        [*LEVEL_LABELS, "candidate checkpoints"],
        ("training steps", "share answered rightly"),
    ),
    "plot_levels": (
        lambda ax: plots.plot_levels(levels(), ax),
        LEVEL_LABELS,
        ("training steps", "share answered rightly"),
    ),
    "plot_features": (
        lambda ax: plots.plot_features(features(), ax, degree=2),
        ["level 1 (node 1)", "level 2 (node 2)", "rest", "noise floor"],
        ("training steps", "mean |correlation|, degree 2"),
    ),
    "plot_parse": (
        lambda ax: plots.plot_parse(parse(), ax),
        ["last token of a span of level 0", "last token of a span of level 1"],
        ("", "level, from the root"),
    ),
    "plot_masking": (
        lambda ax: plots.plot_masking(masking(), ax),
        ["not selected", *SELECTED],
        ("", ""),
    ),
    "plot_boundaries": (lambda ax: plots.plot_boundaries(boundaries(), ax), [], ("", "")),
    "plot_gains": (
        lambda ax: plots.plot_gains(gained(), ax),
        ["student trained for T₀/4 (n = 3)", "student trained for T₀/2 (n = 3)"],
        ("", "gain over one-shot (points)"),
    ),
    "plot_generated": (
        lambda ax: plots.plot_generated(texts(), ax),
        ["teacher, from labels (n = 3)", "one-shot, hard labels (n = 3)", "progressive (n = 3)"],
        ("training steps (T₀: the teacher's)", "share of texts accepted"),
    ),
    "plot_loss": (
        lambda ax: plots.plot_loss(losses(), ax, CEILINGS, turns()),
        ["one seed each", "mean (n = 3)", "C₁, halfway down the loss", r"peak of $M_\mathrm{robust}$"],
        ("training steps", "held-out loss (nats)"),
    ),
    "plot_dependence": (
        lambda ax: plots.plot_dependence(ngrams(), ax, "robust", best()),
        ["n = 3 (3 seeds)", "n = 5 (3 seeds)", "exact posterior, in the same color"],
        ("training steps", r"$M_\mathrm{robust}$ (median)"),
    ),
    "plot_horizons": (
        lambda ax: plots.plot_horizons(horizons(), ax, 0.96),
        ["one-shot, τ = 1 (n = 3)", "progressive (n = 3)"],
        ("student's training steps (T₀: the teacher's)", "final held-out accuracy"),
    ),
    "plot_rates": (
        lambda ax: plots.plot_rates(tried(), ax, tried().query("learning_rate == 0.2")),
        ["one-shot, τ = 1", "progressive"],
        ("learning rate", "final held-out accuracy"),
    ),
    "plot_first_checkpoints": (
        lambda ax: plots.plot_first_checkpoints(
            first_checkpoints(), ax, horizons().query("method == 'one_shot'"), losses(), turns()
        ),
        [
            "one-shot (n = 3)",
            "teacher's loss, scaled",
            "first checkpoint of the grid (n = 3)",
            "C₁, halfway down the loss",
        ],
        ("first checkpoint (teacher's training steps)", "final held-out accuracy"),
    ),
    "plot_nonterminals": (
        lambda ax: plots.plot_nonterminals(nonterminals(), ax, "step"),
        ["always the most frequent symbol", "untrained (n = 3)", "1.2k steps (n = 3)"],
        ("level, from the root", "accuracy of the probe"),
    ),
    "plot_onsets": (
        lambda ax: plots.plot_onsets(tables.onsets(features().assign(scope="below")), ax, degree=2),
        ["nodes of level 1", "nodes of level 2"],
        ("step at which degree 2 stands out", "teacher's seed"),
    ),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_has_axis_labels_and_names_everything_it_draws(name: str, ax: Axes) -> None:
    draw, entries, labels = DRAWN[name]
    assert draw(ax) is ax
    assert (ax.get_xlabel(), ax.get_ylabel()) == labels
    assert ax.get_legend_handles_labels()[1] == entries


def test_every_plot_function_is_drawn_in_these_tests() -> None:
    functions = {name for name in dir(plots) if name.startswith(("plot_", "mark_"))}
    assert functions == set(DRAWN) | {"plot_strip"}


def test_a_strip_draws_a_dot_a_seed_and_the_mean_with_its_interval(ax: Axes) -> None:
    values = accuracy("one_shot", "progressive").query("step == 50")
    names = {"one_shot": "one-shot", "progressive": "progressive"}
    assert plots.plot_strip(values, ax, "method", "accuracy", list(names), names) is ax
    assert [label.get_text() for label in ax.get_xticklabels()] == list(names.values())
    assert [len(c.get_offsets()) for c in ax.collections if hasattr(c, "get_offsets")][0] == 3  # noqa: RUF015
    one_seed = values[values.seed == 0]
    plots.plot_strip(one_seed, ax, "method", "accuracy", list(names), names)  # no interval, no failure


def test_a_curve_is_the_mean_over_seeds_within_its_interval(ax: Axes) -> None:
    plots.plot_accuracy(accuracy("progressive"), ax)
    line = ax.get_lines()[0]
    np.testing.assert_allclose(line.get_ydata(), np.array(RISE) - 0.01)
    (band,) = ax.collections
    interval = tables.mean_interval([0.5, 0.49, 0.48])
    low, high = band.get_paths()[0].get_extents().get_points()[:, 1]
    assert low == pytest.approx(interval.low)
    assert high <= 1.0  # an accuracy is never drawn above 1


def test_a_family_is_drawn_in_the_order_of_its_names_each_in_its_own_color_and_line(ax: Axes) -> None:
    table = accuracy("one_shot", "progressive")
    plots.plot_family(table, ax, "method", {"progressive": "P", "one_shot": "O"})
    first, second = ax.get_lines()[:2]
    assert [str(line.get_label()) for line in (first, second)] == ["P (n = 3)", "O (n = 3)"]
    assert first.get_linestyle() != second.get_linestyle()
    assert not np.array_equal(np.asarray(first.get_color()), np.asarray(second.get_color()))


def test_the_shaded_transition_is_where_the_accuracy_is_between_its_ends(ax: Axes) -> None:
    teacher = pd.DataFrame({"step": [0, 5, 10, 20], "accuracy": [0.5, 0.6, 0.9, 1.0]})
    plots.plot_attention(paths(), teacher, ax)
    (span,) = [p for p in ax.patches if p.get_label() == "transition"]
    assert (span.get_x(), span.get_width()) == (5, 5)  # type: ignore[attr-defined]


def test_one_seed_has_no_band(ax: Axes) -> None:
    plots.plot_accuracy(accuracy("progressive", seeds=1), ax)
    assert not ax.collections


def test_the_median_line_stops_where_it_is_censored(ax: Axes) -> None:
    plots.plot_reach(*widths(), ax, "width")
    (line,) = [line for line in ax.get_lines() if line.get_label() == "median of all runs"]
    assert line.get_xdata().tolist() == [100]  # type: ignore[union-attr]
    assert {t.get_text() for t in ax.texts} == {"0/2", "2/2"}


def drawn(ax: Axes) -> dict[str, tuple[list[float], list[float]]]:
    """The points of each line, by its name."""
    return {
        str(line.get_label()): (np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist())
        for line in ax.get_lines()
    }


def test_a_scaling_is_a_line_a_group_of_geometric_means_on_logarithmic_axes(ax: Axes) -> None:
    assert plots.plot_scaling(batches(), ax, "n_bits", "batch_size", "target", LOOKS) is ax
    lines = drawn(ax)
    assert list(lines) == ["a teacher", "from labels"]  # in the order of the looks, and no empty one
    assert lines["a teacher"] == ([10, 20, 40], pytest.approx([8, 8, 8]))
    x, y = lines["from labels"]
    assert y == pytest.approx([2 * d**2 for d in x])  # of 1 and 4 times, not 2.5 times
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert [line.get_color() for line in ax.get_lines()] == [plots.BLUE, plots.PURPLE]


def test_where_one_search_found_nothing_no_mean_over_the_others_is_drawn(ax: Axes) -> None:
    plots.plot_scaling(batches(), ax, "n_bits", "batch_size", "target", LOOKS)
    assert drawn(ax)["from labels"][0] == [10, 20]
    assert drawn(ax)["a teacher"][0] == [10, 20, 40]  # the other group keeps its point there
    found = batches().replace({math.inf: 6400.0})
    plots.plot_scaling(found, ax, "n_bits", "batch_size", "target", {"labels": ("all found", plots.RED, "-")})
    assert drawn(ax)["all found"][0] == [10, 20, 40]  # the control
    nothing = batches().assign(batch_size=math.inf)
    before = len(ax.get_lines())
    plots.plot_scaling(nothing, ax, "n_bits", "batch_size", "target", LOOKS)
    assert len(ax.get_lines()) == before


@pytest.mark.parametrize("value", [math.nan, 0.0, -1.0, -math.inf, math.inf])
def test_a_value_without_a_logarithm_takes_its_whole_point_with_it(ax: Axes, value: float) -> None:
    table = batches().replace({math.inf: 6400.0})
    one = (table.n_bits == 20) & (table.target == "labels") & (table.seed == 2)
    changed = table.assign(batch_size=table.batch_size.mask(one, value))
    plots.plot_scaling(changed, ax, "n_bits", "batch_size", "target", LOOKS)
    x, y = drawn(ax)["from labels"]
    assert x == [10, 40]
    assert y == pytest.approx([200, 3200])
    assert drawn(ax)["a teacher"][0] == [10, 20, 40]


def test_a_scaling_has_an_interval_only_where_several_seeds_were_run(ax: Axes) -> None:
    labels = batches().query("target == 'labels'")
    plots.plot_scaling(labels[labels.seed == 1], ax, "n_bits", "batch_size")
    assert not ax.collections
    (name,) = drawn(ax)
    assert name == "batch size"  # without looks it is named as its column
    plots.plot_scaling(labels, ax, "n_bits", "batch_size")
    (band,) = ax.collections
    interval = tables.mean_interval(np.log([100.0, 400.0]))
    ys = band.get_paths()[0].vertices[:, 1]
    assert np.exp(interval.low) == pytest.approx(
        min(y for x, y in zip(*_points(band), strict=True) if x == 10)
    )
    assert max(ys) == pytest.approx(np.exp(tables.mean_interval(np.log([400.0, 1600.0])).high))


def _points(band: Any) -> tuple[list[float], list[float]]:
    vertices = band.get_paths()[0].vertices
    return vertices[:, 0].tolist(), vertices[:, 1].tolist()


def test_a_scaling_without_markers_is_a_bare_line(ax: Axes) -> None:
    one = {"labels": ("from labels", plots.PURPLE, "-")}
    plots.plot_scaling(batches(), ax, "n_bits", "batch_size", "target", one)
    plots.plot_scaling(batches(), ax, "n_bits", "batch_size", "target", one, markers=False)
    assert [line.get_marker() for line in ax.get_lines()] == ["o", ""]


def test_an_axis_shows_exactly_the_values_it_is_given(ax: Axes) -> None:
    ax.set_xscale("log")
    ax.plot([16, 65_536], [1, 2])
    values = [16, 1024, 65_536]
    assert plots.axis_of(values, ax, "batch size") is ax
    ax.figure.canvas.draw()
    assert ax.get_xticks().tolist() == values
    assert [t.get_text() for t in ax.get_xticklabels()] == ["16", "1.02k", "65.5k"]
    assert ax.xaxis.get_minorticklocs().size == 0
    assert ax.get_xlabel() == "batch size"


def test_no_two_methods_share_color_and_line_and_no_line_rests_on_color_alone() -> None:
    looks = [look[1:] for look in plots.METHODS.values()]
    assert len(set(looks)) == len(looks)
    names = [look[0] for look in plots.METHODS.values()]
    assert len(set(names)) == len(names)
    students = {k: v for k, v in plots.METHODS.items() if k not in ("teacher", "two_checkpoint_middle")}
    dashes = [str(look[2]) for look in students.values()]
    assert len(set(dashes)) == len(dashes)


def test_one_legend_below_names_each_curve_of_several_panels_once() -> None:
    figure, (left, right) = plt.subplots(1, 2)
    for ax in (left, right):
        plots.plot_accuracy(accuracy("one_shot", "progressive"), ax)
    plots.finish(figure, "3 runs, published")
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["one-shot, τ = 1 (n = 3)", "progressive (n = 3)"]
    plt.close(figure)


def test_runs_are_aligned_at_their_middle_candidates() -> None:
    table = pd.DataFrame({"seed": [1, 1, 2], "step": [10, 20, 70]})
    middle = pd.DataFrame({"seed": [1, 2], "candidate": "middle", "step": [20, 40]})
    assert plots.aligned(table, middle).step.tolist() == [-10, 0, 30]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (1000, "1k"), (2500, "2.5k"), (1_200_000, "1.2M"), (-20_000, "-20k")],
)
def test_step_counts_are_written_as_people_say_them(value: float, text: str) -> None:
    assert plots.short_number(value) == text


# Interactive


class Elements(HTMLParser):
    """The elements of a piece of HTML, each a name with its attributes."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, Any]]:
        return [attributes for name, attributes in self.found if name == tag]


def checkpoints_figure() -> plots.Interactive:
    students = pd.concat(
        pd.DataFrame({"checkpoint": c, "step": STEPS, "accuracy": RISE}) for c in (10, 20, 40)
    )
    teacher = accuracy("teacher", seeds=1)
    return plots.interactive_checkpoints(teacher, correlations(1), students, name="a-test")


TRUTH = [0, 2, 1]


def predictions(position: int = 1) -> pd.DataFrame:
    """What is predicted at one position: the true token 2 becomes likely; token 3 is [mask]."""
    return pd.DataFrame(
        [
            {"step": step, "position": position, "token": token, "probability": p}
            for step, right in ((10, 0.3), (20, 0.5), (40, 0.9))
            for token, p in enumerate([(1 - right) / 2, (1 - right) / 2, right, 0.0])
        ]
    )


def curriculum_figure() -> plots.Interactive:
    teacher, measures = losses().query("seed == 0"), ngrams().query("seed == 0")
    return plots.interactive_curriculum(
        teacher, measures, predictions(), TRUTH, name="a-test", names=["a", "b", "<c>"]
    )


FIGURES = {"checkpoints": checkpoints_figure, "curriculum": curriculum_figure}


@pytest.fixture(params=FIGURES)
def interactive(request: pytest.FixtureRequest) -> plots.Interactive:
    return FIGURES[request.param]()


def states_of(markup: str) -> list[dict[str, Any]]:
    return list(json.loads(re.search(r"= ?(\[\{.*?\}\]);", markup, re.DOTALL)[1]))  # type: ignore[index]


def test_the_interactive_figure_is_a_labeled_slider_over_the_checkpoints(
    interactive: plots.Interactive,
) -> None:
    page = Elements(interactive._repr_html_())
    (slider,) = page.all("input")
    assert (slider["type"], slider["min"], slider["max"]) == ("range", "0", "2")
    (label,) = page.all("label")
    assert label["for"] == slider["id"]
    assert all(a["role"] == "img" and a["aria-label"] for a in page.all("svg"))
    assert len(page.all("svg")) == 3
    assert any(a.get("aria-live") == "polite" for a in page.all("p"))
    assert repr(interactive) == "interactive figure"  # what a text output shows, the same everywhere


def test_the_interactive_figure_asks_nothing_of_the_network(interactive: plots.Interactive) -> None:
    markup = interactive.markup
    assert not re.search(r"https?:|//[a-z]|\bimport\b|\bfetch\b|XMLHttp", markup)
    assert not [a for _, a in Elements(markup).found if a.get("src") or a.get("href")]


def test_the_interactive_figure_carries_a_state_for_each_checkpoint_and_starts_with_the_first() -> None:
    markup = checkpoints_figure().markup
    states = states_of(markup)
    assert len(states) == 3
    for state, said in zip(
        states, ("Checkpoint 10: teacher accuracy 0.50", "Checkpoint 20", "Checkpoint 40"), strict=True
    ):
        assert state["text"].startswith(said)
        assert "0.100" in state["text"]  # in the support
        assert "0.020" in state["text"]  # off it
        assert "1.00" in state["text"]  # where the student ends
    assert f">{states[0]['text']}<" in markup


def test_the_slider_sets_parts_that_are_there_once_and_start_as_in_the_first_state(
    interactive: plots.Interactive,
) -> None:
    states = states_of(interactive.markup)
    moving = [a for _, a in Elements(interactive.markup).found if "data-pd" in a]
    parts = {str(a["data-pd"]): a for a in moving}
    assert len(parts) == len(moving)
    for state in states:
        assert set(state["parts"]) | {"out"} == set(parts)
    for part, moved in states[0]["parts"].items():
        assert {name: parts[part].get(name) for name in moved} == {n: str(v) for n, v in moved.items()}
    assert states[0]["parts"] != states[1]["parts"] != states[2]["parts"]


def test_two_interactive_figures_of_a_page_do_not_share_an_id(interactive: plots.Interactive) -> None:
    ids = [a["id"] for a in (e[1] for e in Elements(interactive.markup).found) if a.get("id")]
    assert len(set(ids)) == len(ids)
    assert all("a-test" in str(i) for i in ids)


def test_the_curriculum_says_loss_measures_and_prediction_and_names_tokens_safely() -> None:
    markup = curriculum_figure().markup
    states = states_of(markup)
    assert states[1]["text"] == (
        "Checkpoint 20: loss 0.80; for n = 3, 5, M_robust 0.23, 0.25 and M_close 1.23, 1.25; "
        "the true token <c> is given probability 0.50."
    )
    assert "<p>Sentence: a <strong>[mask]</strong> b</p>" in markup  # the true token is not given away
    assert "<c>" not in re.sub(r"<script>.*</script>", "", markup, flags=re.DOTALL)
    heights = [state["parts"]["token-2"]["height"] for state in states]
    assert heights == pytest.approx([p * heights[2] / 0.9 for p in (0.3, 0.5, 0.9)], abs=0.2)
    assert "token-3" not in states[0]["parts"]  # [mask] is asked for nowhere


def test_a_curriculum_without_a_common_checkpoint_or_of_several_positions_is_an_error() -> None:
    tables_ = losses().query("seed == 0"), ngrams().query("seed == 0")
    with pytest.raises(ValueError, match="no checkpoints: expected at least one step"):
        plots.interactive_curriculum(*tables_, predictions().head(0), TRUTH, name="x", names="abc")
    two = pd.concat([predictions(0), predictions(1)])
    for wrong, positions in ((two, r"\[0, 1\]"), (predictions(3), r"\[3\]")):
        with pytest.raises(ValueError, match=f"positions {positions}: expected one, from 0 to 2"):
            plots.interactive_curriculum(*tables_, wrong, TRUTH, name="x", names="abc")


def test_a_slider_over_nothing_is_an_error() -> None:
    none = pd.DataFrame({"checkpoint": [], "step": [], "accuracy": []})
    with pytest.raises(ValueError, match="no students: expected at least one checkpoint"):
        plots.interactive_checkpoints(accuracy("teacher"), correlations(1), none)


def test_a_tree_shows_each_feature_each_branch_and_each_class_once(ax: Axes) -> None:
    plots.plot_tree(tree(), ax, ("1", "2", "class 1"))
    texts = [t.get_text() for t in ax.texts]
    assert sorted(texts) == sorted(
        [*("+1", "−1") * 3, "node 1\nx1 x2", "node 2\nx3 x4", "node 3\nx5 x6"]
        + [f"class {c}" for c in range(1, 5)]
    )
    widths = [line.get_linewidth() for line in ax.get_lines()]
    assert sorted(widths) == [1, 1, 1, 1, 2, 2]  # the two branches of the path stand out
    xs = {t.get_text(): t.get_position()[0] for t in ax.texts}
    assert xs["class 1"] < xs["class 2"] < xs["class 3"] < xs["class 4"]


def test_a_node_that_never_stands_out_is_not_drawn_as_if_it_did(ax: Axes) -> None:
    flat = features().assign(scope="below", mean=0.01)
    plots.plot_onsets(tables.onsets(flat), ax, degree=2)
    assert not ax.collections
    plots.plot_onsets(tables.onsets(features().assign(scope="below")), ax, degree=2)
    assert sorted(float(c.get_offsets()[0][0]) for c in ax.collections) == [10, 30]  # type: ignore[index]


# Grammars


def test_a_parse_joins_each_symbol_to_those_below_it_and_marks_where_spans_end(ax: Axes) -> None:
    plots.plot_parse(parse(), ax)
    edges = {tuple(np.asarray(line.get_xdata()).tolist()) for line in ax.get_lines()}
    assert edges == {(1.5, 0.5), (1.5, 2.5), (0.5, 0.0), (0.5, 1.0), (2.5, 2.0), (2.5, 3.0)}
    assert [t.get_text() for t in ax.texts] == ["S", "NP", "VP", "the", "cat", "ran", "away"]
    ends = [np.asarray(c.get_offsets())[:, 0].tolist() for c in ax.collections]
    assert ends == [[3], [1, 3]]


def test_a_parse_without_labels_has_dots_in_their_place(ax: Axes) -> None:
    plots.plot_parse(parse(), ax, labels=False)
    assert not ax.texts
    assert sum(line.get_marker() == "." for line in ax.get_lines()) == 7


def test_masking_tells_the_kinds_of_positions_apart_without_color(ax: Axes) -> None:
    plots.plot_masking(masking(), ax)
    looks = {p.get_label(): p.get_hatch() for p in ax.patches if p.get_label() in SELECTED}
    assert len(set(looks.values())) == 3
    assert all(looks.values())
    rows: dict[float, list[str]] = {0.0: [], 1.0: [], 2.0: []}
    for text in ax.texts:
        rows[-text.get_position()[1]].append(text.get_text())
    assert list(rows.values()) == [["1", "2", "3", "1"], ["1", "[mask]", "2", "1"], ["2", "3", "1"]]


def test_masking_draws_the_probabilities_of_selected_positions_the_originals_dark(ax: Axes) -> None:
    table = masking().assign(p_1=0.2, p_2=0.3, p_3=0.5)
    plots.plot_masking(table, ax)
    bars = [p for p in ax.patches if p.get_width() < 0.5]  # type: ignore[attr-defined]
    assert [b.get_height() / 0.75 for b in bars] == pytest.approx([0.2, 0.3, 0.5] * 3)  # type: ignore[attr-defined]
    dark = [b.get_height() / 0.75 for b in bars if b.get_facecolor() != (1, 1, 1, 1)]  # type: ignore[attr-defined]
    assert dark == pytest.approx([0.3, 0.5, 0.2])  # of the tokens 2, 3 and 1


def test_a_loss_is_the_mean_of_its_seeds_with_names_at_the_references_and_triangles_on_the_seeds(
    ax: Axes,
) -> None:
    plots.plot_loss(losses(), ax, CEILINGS, turns())
    x, y = drawn(ax)["mean (n = 3)"]
    assert x == [10, 20, 30, 40, 50]  # step 0 has no logarithm
    assert y == pytest.approx([1 - 0.01 * step + 0.1 for step in x])
    assert {t.get_text(): t.get_position()[1] for t in ax.texts} == {
        "exact posterior": 0.05,
        "copying": 1.4,
        "unigram": 1.45,
    }
    sides = {t.get_text(): t.get_verticalalignment() for t in ax.texts}
    assert sides == {
        "exact posterior": "bottom",
        "copying": "top",
        "unigram": "bottom",
    }  # the close ones part
    assert ax.get_ylim()[1] > 1.45
    points = {c.get_label(): np.asarray(c.get_offsets()) for c in ax.collections if c.get_offsets().size > 2}  # type: ignore[union-attr]
    np.testing.assert_allclose(points["C₁, halfway down the loss"], [[20, 0.8], [30, 0.8]])
    assert ax.get_xscale() == "log"


def test_a_loss_on_a_linear_axis_keeps_step_0(ax: Axes) -> None:
    plots.plot_loss(losses(), ax, log=False)
    assert drawn(ax)["mean (n = 3)"][0][0] == 0
    assert ax.get_xscale() == "linear"


def test_dependence_draws_one_measure_and_the_best_of_each_n_in_its_color(ax: Axes) -> None:
    plots.plot_dependence(ngrams(), ax, "robust", best())
    lines = drawn(ax)
    assert lines["n = 5 (3 seeds)"][1] == pytest.approx([step / 100 + 0.06 for step in STEPS])
    horizontal = [line for line in ax.get_lines() if np.asarray(line.get_ydata()).tolist() == [0, 0]]
    assert [line.get_color() for line in horizontal] == [plots.RED, plots.BLUE]
    assert len({str(line._unscaled_dash_pattern) for line in horizontal}) == 2  # type: ignore[attr-defined]
    plots.plot_dependence(ngrams(), ax, "close", log=True)
    assert drawn(ax)["n = 5 (3 seeds)"][1][0] == pytest.approx(1.06 + 0.1)  # not that at step 0


def test_dependence_has_the_mean_beside_the_median_in_its_color_where_asked(ax: Axes) -> None:
    table = ngrams().assign(mean=0.9)
    plots.plot_dependence(table, ax, "robust", means=True)
    named = [line for line in ax.get_lines() if not str(line.get_label()).startswith("_")]
    unnamed = [line for line in ax.get_lines() if line not in named]
    assert [line.get_label() for line in named] == [
        "n = 3 (3 seeds)",
        "n = 5 (3 seeds)",
        "mean over positions, in the same color",
    ]
    assert [line.get_color() for line in unnamed] == [line.get_color() for line in named[:2]]
    assert all(np.allclose(line.get_ydata(), 0.9) for line in unnamed)
    assert np.allclose(named[0].get_ydata(), [step / 100 + 0.04 for step in STEPS])
    assert ax.get_ylabel() == r"$M_\mathrm{robust}$"


def test_dependence_of_a_causal_teacher_needs_no_reference(ax: Axes) -> None:
    table = ngrams().drop(columns="method").assign(level=3)
    plots.plot_dependence(table, ax, "close", log=True)
    assert list(drawn(ax)) == ["n = 3 (3 seeds)", "n = 5 (3 seeds)"]


def test_a_loss_of_boundary_tokens_has_its_references_by_name(ax: Axes) -> None:
    known = pd.DataFrame(
        {"predictor": ["posterior", "prefix", "bigram", "unigram"], "loss_nats": [0.1, 0.4, 0.7, 1.0]}
    )
    plots.plot_loss(losses(), ax, known)
    assert {t.get_text(): t.get_position()[1] for t in ax.texts} == {
        "exact posterior": 0.1,
        "exact, ends unknown": 0.4,
        "bigram": 0.7,
        "unigram": 1.0,
    }
    plots.plot_loss(losses(), ax, known.query("predictor in ('posterior', 'unigram')"))
    assert [t.get_text() for t in ax.texts[4:]] == ["exact posterior", "unigram"]


def marks(ax: Axes) -> list[list[float]]:
    """Where the marks of each row of a figure of boundaries stand, from the upper row down."""
    offsets = [np.asarray(c.get_offsets()) for c in ax.collections if not hasattr(c, "get_segments")]
    assert all(len(set(o[:, 1])) == 1 for o in offsets)
    return [o[:, 0].tolist() for o in sorted(offsets, key=lambda o: -float(o[0, 1]))]


def spans_of(ax: Axes) -> list[list[tuple[float, float]]]:
    """From where to where the spans of each row reach."""
    rows = [c.get_segments() for c in ax.collections if hasattr(c, "get_segments")]
    return [[(float(a), float(b)) for (a, _), (b, _) in segments] for segments in rows]


def test_a_token_is_marked_at_each_level_up_to_the_highest_that_ends_with_it(ax: Axes) -> None:
    plots.plot_boundaries(boundaries().sample(frac=1, random_state=0), ax)
    assert marks(ax) == [[1, 3, 5], [3, 5], [5]]
    assert [t.get_text() for t in ax.texts] == ["3", "2", "1", "1", "2", "3"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["level 4", "level 3", "level 2", "sentence"]
    rows = [c for c in ax.collections if not hasattr(c, "get_segments")]
    shapes = {str(np.asarray(c.get_paths()[0].vertices).tolist()) for c in rows}
    assert len(shapes) == 3  # the levels are told apart without color


def test_the_spans_of_a_level_cover_the_sentence_each_up_to_its_mark(ax: Axes) -> None:
    plots.plot_boundaries(boundaries(), ax)
    assert spans_of(ax) == [[(-0.35, 1), (1.65, 3), (3.65, 5)], [(-0.35, 3), (3.65, 5)], [(-0.35, 5)]]


def test_boundaries_of_chosen_levels_or_of_the_beginning_of_a_sentence(ax: Axes) -> None:
    plots.plot_boundaries(boundaries().query("position < 5"), ax, levels=[3])
    assert marks(ax) == [[3]]
    assert spans_of(ax) == [[(-0.35, 3)]]  # the span that goes on is not drawn as one that ends


def test_a_sentence_too_long_to_be_read_is_not_written(ax: Axes) -> None:
    long = pd.concat([boundaries()] * 60, ignore_index=True)
    plots.plot_boundaries(long.assign(position=range(360)), ax)
    assert not ax.texts
    assert ax.get_yticklabels()[-1].get_text() == "360 tokens"


def test_gains_are_points_grouped_in_the_order_of_their_settings(ax: Axes) -> None:
    plots.plot_gains(gained(), ax)
    short, long = (points(c) for c in ax.containers)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["level 4", "level 2"]
    np.testing.assert_allclose(sorted(short[1]), [0, 2], atol=1e-12)
    for container, gain in ((ax.containers[0], 2), (ax.containers[1], 1)):
        x, y = points(container)
        assert y[np.argmin(x)] == pytest.approx(gain)  # level 4 stands left
    assert (np.sort(short[0]) < np.sort(long[0])).all()  # the shorter run stands left
    assert np.abs(np.concatenate([short[0], long[0]]) % 1 - 0.5).min() > 0.05  # groups stay apart
    zero = [line for line in ax.get_lines() if np.asarray(line.get_ydata()).tolist() == [0, 0]]
    assert len(zero) == 1
    dots = sorted(y for c in ax.collections[:1] for _, y in np.asarray(c.get_offsets()))
    np.testing.assert_allclose(dots, [-1, 0, 1, 1, 2, 3], atol=1e-12)


def test_the_interval_of_a_gain_is_that_over_its_seeds_and_one_seed_has_none(ax: Axes) -> None:
    plots.plot_gains(gained(), ax)
    ends = [segment[:, 1].tolist() for segment in ax.containers[0][2][0].get_segments()]
    interval = tables.mean_interval([1.0, 2.0, 3.0])
    assert pytest.approx([interval.low, interval.high]) in ends
    plots.plot_gains(gained().query("seed == 1 and horizon == 0.5"), ax)
    bars: Any = ax.containers[-1][2][0]
    assert not any(np.isfinite(path.vertices).all() for path in bars.get_paths())


def test_a_share_of_0_is_drawn_clear_of_the_axis_and_methods_stand_side_by_side(ax: Axes) -> None:
    plots.plot_generated(texts(), ax)
    found = {str(c.get_label()): points(c) for c in ax.containers}
    never = found["one-shot, hard labels (n = 3)"]
    assert never[1].tolist() == [0, 0]
    assert ax.get_ylim()[0] < -0.02
    assert found["teacher, from labels (n = 3)"][0].tolist() == [2]  # alone above its length
    assert (never[0] < found["progressive (n = 3)"][0]).all()
    np.testing.assert_allclose(found["progressive (n = 3)"][1], [0.198, 0.594])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["T₀/4", "T₀/2", "T₀"]


def test_texts_of_which_none_is_accepted_still_make_a_figure(ax: Axes) -> None:
    plots.plot_generated(texts().assign(accepted=0.0), ax)
    low, high = ax.get_ylim()
    assert low < 0 < 0.09 < high


def test_dependence_of_methods_is_drawn_against_n(ax: Axes) -> None:
    end = ngrams().query("step == 50")
    plots.plot_dependence(end, ax, "robust", best(), by="method", x="n")
    x, y = drawn(ax)["one-shot, τ = 1 (3 seeds)"]
    assert (x, y) == ([3, 5], pytest.approx([0.54, 0.56]))
    assert drawn(ax)["exact posterior"] == ([3, 5], [0, 0])
    assert ax.get_xlabel() == "n"


def points(container: Any) -> tuple[Any, Any]:
    """The points of an errorbar."""
    line = container[0]
    return np.asarray(line.get_xdata(), dtype=float), np.asarray(line.get_ydata(), dtype=float)


def test_the_last_step_of_each_run_counts_and_error_bars_stand_side_by_side(ax: Axes) -> None:
    plots.plot_horizons(horizons(), ax)
    first, second = ax.containers
    for container in (first, second):
        np.testing.assert_allclose(points(container)[1], [0.62, 0.72])
    left, right = (points(c)[0] for c in (first, second))
    assert (left < right).all()
    np.testing.assert_allclose(np.sqrt(left * right), [0.25, 0.5])
    interval = tables.mean_interval([0.6, 0.62, 0.64])
    segment = first[2][0].get_segments()[0]
    assert segment[:, 1] == pytest.approx([interval.low, interval.high])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["T₀/4", "T₀/2"]


def test_the_dotted_line_bears_the_name_of_its_predictor(ax: Axes) -> None:
    plots.plot_horizons(horizons(), ax, 0.9)
    plots.plot_horizons(horizons(), ax, 0.3, reference="copy")
    assert [t.get_text() for t in ax.texts] == ["exact posterior", "copying"]


def test_one_seed_has_no_error_bar(ax: Axes) -> None:
    def finite(table: pd.DataFrame) -> list[bool]:
        plots.plot_horizons(table, ax)
        bars: Any = ax.containers[-1][2][0]
        return [bool(np.isfinite(path.vertices).all()) for path in bars.get_paths()]

    assert finite(horizons().query("seed == 0")) == [False, False]
    assert finite(horizons()) == [True, True]  # the control


def test_candidates_stand_at_the_mean_of_their_steps_beside_the_grid(ax: Axes) -> None:
    plots.plot_first_checkpoints(first_checkpoints(), ax, candidates=turns())
    grid, candidate = ax.containers
    assert points(grid)[0].tolist() == [10, 20, 40]
    np.testing.assert_allclose(points(grid)[1], [0.52, 0.62, 0.57])
    assert points(candidate)[0].tolist() == [25]
    np.testing.assert_allclose(points(candidate)[1], [0.64])
    texts = first_checkpoints().assign(checkpoint=first_checkpoints().checkpoint.astype(str))
    plots.plot_first_checkpoints(texts, ax)  # as a table comes back from a file
    assert len(ax.containers) == 3  # a candidate without a step is not drawn
    assert points(ax.containers[2])[0].tolist() == [10, 20, 40]


def test_a_probe_is_drawn_by_level_beside_the_majority(ax: Axes) -> None:
    plots.plot_nonterminals(nonterminals(), ax, "step")
    assert drawn(ax)["always the most frequent symbol"] == ([1, 2], pytest.approx([0.35, 0.3]))
    untrained, trained = ax.containers
    np.testing.assert_allclose(points(untrained)[1], [0.41, 0.41])
    np.testing.assert_allclose(points(trained)[1], [0.81, 0.81])
    assert ax.get_xticks().tolist() == [1, 2]
    methods = nonterminals().replace({"step": {0: "one_shot", 1200: "progressive"}})
    plots.plot_nonterminals(methods.rename(columns={"step": "method"}), ax, "method")
    assert [c.get_label() for c in ax.containers[2:]] == ["one-shot, τ = 1 (n = 3)", "progressive (n = 3)"]


def test_numbers_read_off_the_paper_are_crosses_in_their_curves_colors(ax: Axes) -> None:
    points = pd.DataFrame({"curve": ["teacher", "in_support"], "step": [110, 120], "value": [0.5, 0.1]})
    plots.mark_read_off(points, ax, origin=100)
    drawn = [c for c in ax.collections if isinstance(c, PathCollection)]
    assert [np.asarray(c.get_offsets()).tolist() for c in drawn] == [[[10.0, 0.5]], [[20.0, 0.1]], []]
    colors = [to_hex(c.get_edgecolor()[0]) for c in drawn[:2]]  # type: ignore[index]
    assert colors == [plots.BLACK, plots.RED.lower()]
