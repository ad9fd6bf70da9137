"""Figures by seaborn: a tidy table and the axes to draw on in, the axes out.

Means are over seeds, which are rows with the same values else; their intervals are Student's at 95 %. What a series is
called, its color (Okabe and Ito's, safe for the color-blind), its line or marker and its place in the order stand once,
below. No torch here: a figure is redrawn from a table.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from functools import partial
from typing import Any, TypeAlias

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import FuncFormatter, LogLocator

from pdlib.tables import last_rows, mean_interval

Style: TypeAlias = dict[str, Any]  # what matplotlib calls a mark's size, edge, ...
Looks: TypeAlias = Mapping[Any, tuple[str, Any, Any]]  # value -> (name in legends, color, line or marker)

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, RED, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"

# one look for each method in the whole book, in the order of legends
METHODS: Looks = {
    "teacher": ("teacher, from labels", BLACK, "-"),
    "cross_entropy": ("student, from labels", PURPLE, (0, (1, 1))),
    "one_shot": ("one-shot, τ = 1", ORANGE, (0, (5, 1))),
    "one_shot_hard": ("one-shot, hard labels", YELLOW, (0, (5, 1, 1, 1))),
    "progressive": ("progressive", BLUE, "-"),
    "progressive_late": ("progressive, from ① on", BLUE, (0, (4, 1, 1, 1))),
    "progressive_half": ("progressive, over T₀/2", SKY, (0, (6, 1, 1, 1))),
    "progressive_split": ("progressive, over the student's run", RED, (0, (6, 1))),
    "progressive_soft": ("progressive, τ = 1", GREEN, (0, (2, 1))),
    "two_checkpoint_before": ("(2, T), ① before", SKY, (0, (3, 1, 1, 1))),
    "two_checkpoint_middle": ("(2, T), ② in transition", GREEN, "-"),
    "two_checkpoint_after": ("(2, T), ③ after", RED, (0, (3, 1))),
}
GROUPS: Looks = {
    "in_support": ("in the support", RED, "-"),
    "off_support": ("off the support", BLUE, (0, (4, 1))),
}
CANDIDATES: Looks = {
    "before": ("candidate ①", SKY, "o"),
    "middle": ("candidate ②", GREEN, "o"),
    "after": ("candidate ③", RED, "o"),
}
TURNS: Looks = {  # candidates of a teacher of masked prediction
    "loss": ("C₁, steepest of the drop", GREEN, "^"),
    "robust": (r"peak of $M_\mathrm{robust}$", ORANGE, "v"),
}
REFERENCES = {
    "posterior": "exact posterior",
    "prefix": "exact, ends unknown",  # given the tokens before, not that a span ends
    "copy": "copying",
    "bigram": "bigram",
    "unigram": "unigram",
}
NUMBERS = "①②③④⑤⑥⑦⑧⑨"  # of candidates
LEVELS = (
    (RED, "-"),
    (BLUE, (0, (5, 1))),
    (GREEN, (0, (3, 1, 1, 1))),
    (PURPLE, (0, (1, 1))),
)  # from the root on
MARKERS = "osD^vPX<>"
GAINS = (BLUE, RED, GREEN, PURPLE)  # by length of training


def house_style() -> None:
    """Set fonts, sizes and the light frame that all figures of the book share."""
    mpl.rc("figure", dpi=110, facecolor="white")
    mpl.rc("figure.constrained_layout", use=True)
    mpl.rc("font", size=10)
    mpl.rc("axes.spines", top=False, right=False)
    mpl.rc("axes", grid=True)
    mpl.rc("grid", alpha=0.25)
    mpl.rc("legend", frameon=False, fontsize=8.5)
    mpl.rc("lines", linewidth=1.8)
    mpl.rc("savefig", dpi=110)


def panels(titles: Iterable[str], size: tuple[float, float], n_rows: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a figure with one panel per title, all with the same y axis."""
    titles = list(titles)
    n_columns = -(-len(titles) // n_rows)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=size, sharey=True, squeeze=False)
    for ax in axes.flat[len(titles) :]:
        ax.set_visible(False)
    shown = list(axes.flat[: len(titles)])
    for ax, title in zip(shown, titles, strict=True):
        ax.set_title(title, fontsize=9)
    return figure, shown


WIDE, NARROW = 7.3, 3.7  # inches: the column of a page and that of a phone, at 96 pixels to an inch
PANEL = 3.3  # inches: a panel is at least so wide where several stand side by side
WHOLE = "whole"  # the gid of a figure that says nothing when it is narrow, such as a row of tokens


def arrange(figure: Figure, width: float) -> Figure:
    """Give a figure at most this width, in inches; panels that no longer fit side by side stand below each other."""
    old_width, height = map(float, figure.get_size_inches())
    panels = [ax for ax in figure.axes if ax.get_visible() and ax.get_subplotspec() is not None]
    if not panels or old_width <= width:
        return figure
    old = panels[0].get_subplotspec().get_gridspec()  # type: ignore[union-attr]
    n_columns = min(old.ncols, max(1, int(width // PANEL)))
    n_rows = -(-len(panels) // n_columns)
    figure.set_size_inches(width, height / old.nrows * n_rows)
    if n_columns < old.ncols:
        grid = GridSpec(n_rows, n_columns, figure)
        for i, ax in enumerate(panels):
            ax.set_subplotspec(grid[i])
            ax.tick_params(labelleft=True, labelbottom=True)
            ax.set_ylabel(ax.get_ylabel() or panels[0].get_ylabel(), visible=True)
            ax.set_xlabel(ax.get_xlabel() or panels[-1].get_xlabel(), visible=True)
    return figure


def finish(figure: Figure, provenance: str = "", n_columns: int = 3, width: float = WIDE) -> Figure:
    """Fit a figure to a width, and put one legend for all axes below it, where it covers no curve.

    The line of provenance above the legend says where the figure's runs come from, and stays with it when it is copied.
    """
    arrange(figure, width)
    for legend in list(figure.legends):
        legend.remove()
    entries: Style = {}
    for ax in (ax for ax in figure.axes if ax.get_legend() is None):
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if not entries:
        if provenance:
            figure.supxlabel(provenance, fontsize=6.5, color="0.35", x=0.99, ha="right")
        return figure
    n_columns = max(1, min(n_columns, int(figure.get_size_inches()[0] // (WIDE / 3.2))))
    legend = figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=n_columns)
    if provenance:
        legend.set_title(provenance, prop=FontProperties(size=6.5))
        legend.get_title().set_color("0.35")
    return figure


def vectors(figure: Figure, n_columns: int = 3) -> dict[str, str]:
    """Return a finished figure as SVG for a page's column and, unless it makes sense only whole, for a phone's.

    The same figure gives the same text. Letters stay letters, which can be found and read aloud.
    """
    found = {}
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pdlib"}):
        for kind, width in (("image/svg+xml", WIDE), ("application/x-narrow+svg", NARROW)):
            if width == WIDE or figure.get_gid() != WHOLE:
                finish(figure, "", n_columns, width)
                figure.savefig(file := io.StringIO(), format="svg", metadata={"Date": None, "Creator": None})
                found[kind] = file.getvalue()
    return found


def short_number(value: float, _position: object = None) -> str:
    """Write a step count as people say it.

    >>> short_number(1_200_000), short_number(20_000), short_number(0)
    ('1.2M', '20k', '0')
    """
    unit, letter = (1e6, "M") if abs(value) >= 1e6 else (1e3, "k") if abs(value) >= 1e3 else (1, "")
    return f"{value / unit:g}{letter}"


def share_name(share: float) -> str:
    """Write a share of the teacher's training.

    >>> share_name(0.25), share_name(1.0), share_name(1.5), share_name(2)
    ('T₀/4', 'T₀', '3T₀/2', '2T₀')
    """
    f = Fraction(share).limit_denominator(100)
    return ("" if f.numerator == 1 else str(f.numerator)) + "T₀" + f"/{f.denominator}" * (f.denominator > 1)


def temperature_names(targets: Iterable[str]) -> dict[str, str]:
    """Return what a legend calls each kind of a teacher's targets: hard labels, or a temperature.

    >>> temperature_names(["hard", "0.0001"])
    {'hard': 'hard', '0.0001': 'τ = 0.0001'}
    """
    return {name: name if name == "hard" else f"τ = {name}" for name in targets}


def aligned(table: pd.DataFrame, candidates: pd.DataFrame) -> pd.DataFrame:
    """Shift each seed's steps so that its middle candidate is at 0; transitions then lie above each other."""
    middle = candidates[candidates.candidate == "middle"].set_index("seed").step
    return table.assign(step=table.step - table.seed.map(middle))


COUNTED = "{} (n = {})"  # name and number of seeds


def student_interval(values: Any, low: float = -math.inf, high: float = math.inf) -> tuple[float, float]:
    """Return the ends of Student's 95 % interval of a mean, cut to [`low`, `high`]: seaborn's `errorbar` in all figures.

    >>> [round(end, 3) for end in student_interval([1.0, 2.0, 3.0], low=0)]
    [0, 4.484]
    """
    interval = mean_interval(values)
    return max(low, interval.low), min(high, interval.high)


def _line(rows: pd.DataFrame, ax: Axes, x: str, y: str, **look: Any) -> None:
    """Draw one series by seaborn; the names of the axes stay as they are, because pages give them."""
    names = ax.get_xlabel(), ax.get_ylabel()
    sns.lineplot(rows, x=x, y=y, ax=ax, legend=False, **look)
    ax.set_xlabel(names[0], visible=True)
    ax.set_ylabel(names[1], visible=True)


def _means(
    table: pd.DataFrame,
    ax: Axes,
    x: str,
    y: str,
    by: str,
    looks: Looks,
    *,
    within: tuple[float, float] = (-math.inf, math.inf),
    label: str = "{}",
    bars: bool = False,
    side: float = 0.0,
    **look: Any,
) -> None:
    """Draw means over seeds of `y` against `x` with 95 % intervals, one line per value of `by`, in the order of `looks`.

    On logarithmic axes means are geometric. `within` cuts the intervals, `label` has places for name and number of
    seeds, `bars` draws error bars and markers instead of bands, `side` moves the series apart: by so much on a
    linear x axis, by so many powers of 2 on a logarithmic one.
    """
    shown = [value for value in looks if value in set(table[by])]
    for i, value in enumerate(shown):
        name, color, line = looks[value]
        rows = table[table[by] == value]
        n = int(rows.groupby(x).size().max())
        shift = side * (i - (len(shown) - 1) / 2)
        place = rows[x] * 2.0**shift if ax.get_xscale() == "log" else rows[x] + shift
        style: Style = {"color": color, "linestyle": line, "label": label.format(name, n)}
        if bars:
            style |= {"marker": MARKERS[i % len(MARKERS)], "markersize": 5, "markeredgecolor": color}
            style |= {"err_style": "bars", "err_kws": {"capsize": 2.5, "elinewidth": 1}}
        else:
            style["err_kws"] = {"alpha": 0.15, "linewidth": 0}
        errorbar = partial(student_interval, low=within[0], high=within[1]) if n > 1 else None
        estimator = {"estimator": lambda values: mean_interval(values).mean, "errorbar": errorbar}
        _line(rows.assign(**{x: place}), ax, x, y, **style | estimator | look)


def _shaded(names: Mapping[Any, str]) -> Looks:
    """Give each value its name, a color from light to dark, and a line."""
    shades = mpl.colormaps["cividis"](np.linspace(0.85, 0.0, len(names)))
    lines = ["-", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1))]
    return {value: (name, shades[i], lines[i % len(lines)]) for i, (value, name) in enumerate(names.items())}


def _marks(points: pd.DataFrame, ax: Axes, y: str, looks: Looks, size: float) -> Axes:
    """Mark checkpoints on curves: columns `candidate`, `step` and `y`."""
    for candidate, (name, color, marker) in looks.items():
        at = points[points.candidate == candidate]
        if len(at):
            edge: Style = {"edgecolor": "black", "linewidth": 0.6, "zorder": 5, "label": name}
            ax.scatter(at.step, at[y], s=size, color=color, marker=marker, **edge)
    return ax


def _name_lines(ax: Axes, lines: Mapping[str, float]) -> None:
    """Draw dotted horizontal lines, their names at the right end: above, but below the lower of two close lines."""
    bottom, top = ax.get_ylim()
    top = max(top, bottom + 1.08 * (max(lines.values()) - bottom))  # room for the highest name
    ax.set_ylim(bottom, top)
    for name, y in lines.items():
        crowded = any(0 < other - y < 0.09 * (top - bottom) for other in lines.values())
        ax.axhline(y, color="0.35", linewidth=1, linestyle=":", zorder=1)
        side, place = "top" if crowded else "bottom", ax.get_yaxis_transform()
        ax.text(0.99, y, name, fontsize=8.5, color="0.2", ha="right", va=side, transform=place)


def step_axis(ax: Axes, label: str = "training steps", *, log: bool = False) -> Axes:
    """Write steps on the x axis as people say them, and name it."""
    if log:
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.minorticks_off()
    ax.xaxis.set_major_formatter(FuncFormatter(short_number))
    ax.set_xlabel(label)
    return ax


def axis_of(values: Sequence[Any], ax: Axes, label: str, names: Sequence[str] | None = None) -> Axes:
    """Write these values (by `names`, else to three digits) and no others on a logarithmic x axis."""
    ax.set_xticks(values, names or [short_number(float(f"{v:.3g}")) for v in values])
    ax.minorticks_off()
    ax.set_xlabel(label)
    return ax


def _kinds(ax: Axes, names: Sequence[str]) -> None:
    """Name the places 0, 1, ... of the x axis."""
    ax.set_xticks(range(len(names)), names)
    ax.set_xlim(-0.5, len(names) - 0.5)
    ax.grid(visible=False, axis="x")


def plot_accuracy(
    table: pd.DataFrame, ax: Axes, by: str = "method", looks: Looks = METHODS, *, chance: float | None = 0.5
) -> Axes:
    """Draw held-out accuracy against steps for each value of `by` that has a look, and a line at chance.

    `table` has the columns `seed`, `step`, `accuracy` and `by`.
    """
    _means(table, ax, "step", "accuracy", by, looks, label=COUNTED, within=(0, 1))
    if chance is not None:
        ax.axhline(chance, color="0.5", linewidth=0.8, linestyle=":")
    ax.set(ylim=(0.4 if chance == 0.5 else 0, 1.03), ylabel="held-out accuracy")
    return step_axis(ax)


def plot_family(
    table: pd.DataFrame,
    ax: Axes,
    by: str,
    names: Mapping[Any, str] | None = None,
    *,
    chance: float | None = 0.5,
) -> Axes:
    """Draw `plot_accuracy` from light to dark; `names` gives order and legend, by default the values of `by`, rising."""
    names = names or {v: f"{v:g} {by.removeprefix('n_')}" for v in sorted(table[by].unique())}
    return plot_accuracy(table, ax, by, _shaded(names), chance=chance)


def plot_seeds(table: pd.DataFrame, ax: Axes, *, label: str = "one seed each") -> Axes:
    """Draw held-out accuracy of single runs by thin lines: where transitions differ, a mean hides them."""
    look: Style = {"color": BLACK, "linewidth": 0.9, "alpha": 0.75, "label": label}
    _line(table, ax, "step", "accuracy", units="seed", estimator=None, **look)
    return plot_accuracy(table.assign(method=""), ax)


def mark_candidates(candidates: pd.DataFrame, ax: Axes) -> Axes:
    """Mark candidate checkpoints on the teacher's curves: columns `candidate`, `step`, `accuracy`."""
    return _marks(candidates, ax, "accuracy", CANDIDATES, size=36)


def mark_numbered(candidates: pd.DataFrame, ax: Axes) -> Axes:
    """Mark a teacher's candidate checkpoints by their numbers: columns `candidate`, `step`, `accuracy`."""
    look = {"": ("candidate checkpoints", YELLOW, "o")}
    _marks(candidates.drop_duplicates("step").assign(candidate=""), ax, "accuracy", look, size=34)
    for step, rows in candidates.groupby("step"):
        signs = "".join(NUMBERS[int(number) - 1] for number in rows.candidate)
        at = (step, float(rows.accuracy.iloc[0]))
        ax.annotate(signs, at, xytext=(-3, 5), textcoords="offset points", ha="right", fontsize=10)
    return ax


def mark_read_off(points: pd.DataFrame, ax: Axes, *, origin: float = 0) -> Axes:
    """Mark numbers read off the paper's figures with crosses: columns `curve`, `step`, `value`.

    `origin` is the step at which the axis has its 0. The axis grows to hold them all.
    """
    ax.set_ylim(top=max(ax.get_ylim()[1], 1.02 * points.value.max()))
    colors = points.curve.map({curve: look[1] for curve, look in {**METHODS, **GROUPS}.items()})
    cross: Style = {"marker": "x", "s": 42}
    ax.scatter(points.step - origin, points.value, c=colors.tolist(), zorder=6, clip_on=False, **cross)
    ax.scatter([], [], color="0.3", label="read off the paper's figure", **cross)
    return ax


def plot_correlations(table: pd.DataFrame, ax: Axes, degree: int, *, label: str = "training steps") -> Axes:
    """Draw mean absolute correlations in and off the support, and the noise floor, at the steps that all seeds have.

    `table` is that of `pdlib.probes.monomials.MonomialCorrelations`, with `seed`.
    """
    rows = table[table.degree == degree]
    n = rows.groupby(["group", "step"]).step.transform("size")
    shown = rows[n == n.groupby(rows.group).transform("max")]
    _means(shown, ax, "step", "mean", "group", GROUPS, within=(0, math.inf))
    largest = {"off_support": ("largest off the support", BLUE, ":")}
    _means(shown, ax, "step", "maximum", "group", largest, errorbar=None, linewidth=0.9)
    return correlation_axes(rows, ax, degree, label)


def correlation_axes(rows: pd.DataFrame, ax: Axes, degree: int, label: str = "training steps") -> Axes:
    """Draw the noise floor and label axes of correlations, which end at 0."""
    floor = rows.noise_floor.mean()
    ax.axhline(floor, color="0.4", linewidth=0.9, linestyle="--", label="noise floor")
    ax.set(ylim=(0, None), ylabel=f"mean |correlation|, degree {degree}")
    return step_axis(ax, label)


def plot_checkpoint_quality(
    teacher: pd.DataFrame, correlations: pd.DataFrame, final: pd.Series[float], ax: Axes
) -> Axes:
    """Draw a student's `final` accuracy by the checkpoint that taught it, beside that one's accuracy and correlation."""
    inside = correlations[(correlations.degree == 1) & (correlations.group == "in_support")]
    shown, inside = (t[t.step.between(final.index.min(), final.index.max())] for t in (teacher, inside))
    scaled = 0.5 + 0.5 * inside["mean"] / inside["mean"].max()
    ax.plot(shown.step, shown.accuracy, color=BLACK, label="teacher's accuracy")
    ax.plot(final.index, final, "o", color=GREEN, label="its (2, T) student's final accuracy")
    ax.plot(inside.step, scaled, color=RED, linestyle=":", label="correlation in the support, scaled")
    ax.set(ylim=(0.4, 1.03), ylabel="held-out accuracy")
    return step_axis(ax, "teacher checkpoint (training steps)")


def plot_reach(steps: pd.DataFrame, summary: pd.DataFrame, ax: Axes, by: str) -> Axes:
    """Draw steps to a threshold against `by`: one dot per run, hollow at the budget if it never got there.

    The line is the median over all runs; where it is censored, the line stops. `steps` comes from `steps_to_reach`,
    `summary` from `reached`.
    """
    done, never = steps[np.isfinite(steps.steps)], steps[~np.isfinite(steps.steps)]
    ax.scatter(done[by], done.steps, s=22, color=BLUE, alpha=0.7, label="a run")
    if len(never):
        hollow: Style = {"s": 34, "facecolor": "none", "edgecolor": RED, "marker": "^"}
        ax.scatter(never[by], never.last_step, label="not within the budget", **hollow)
    median = summary[np.isfinite(summary.median_steps)]
    ax.plot(median[by], median.median_steps, "k_-", markersize=16, label="median of all runs")
    ax.set(xscale="log", yscale="log", ylabel="steps to 90 % held-out accuracy")
    values, budget = sorted(steps[by].unique()), steps.last_step.max()
    axis_of(values, ax, by.replace("_", " "), [f"{v:g}" for v in values])
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter(FuncFormatter(short_number))
    for row in summary.to_dict("records"):
        share = f"{row['n_reached']}/{row['n']}"
        ax.annotate(share, (float(row[by]), budget * 1.12), ha="center", fontsize=8.5)
    ax.set_ylim(top=budget * 1.35)
    return ax


def plot_scaling(
    table: pd.DataFrame,
    ax: Axes,
    x: str,
    y: str,
    by: str | None = None,
    looks: Looks | None = None,
    *,
    markers: bool = True,
) -> Axes:
    """Draw `y` against `x` on logarithmic axes for each value of `by`; without it one line, whose look is that of `None`.

    Where a row is infinite (nothing found within the budget), missing or not above 0, the point is not drawn: a mean over
    those that succeeded would flatter.
    """
    looks = looks or {None: (y.replace("_", " "), BLUE, "-")}
    rows = table if by else table.assign(series="all")
    if by is None:
        by, looks = "series", {"all": looks[None]}
    positive = (np.isfinite(rows[y]) & (rows[y] > 0)).groupby([rows[by], rows[x]]).transform("all")
    ax.set(xscale="log", yscale="log")
    dot: Style = {"marker": "o", "markersize": 4, "markeredgewidth": 0} if markers else {}
    _means(rows[positive], ax, x, y, by, looks, **dot)
    return ax


def plot_strip(
    values: pd.DataFrame, ax: Axes, x: str, y: str, order: Sequence[Any], names: Mapping[Any, str]
) -> Axes:
    """Draw one dot per seed and beside them the mean with its 95 % interval, for each value of `x`."""
    shown = values[values[x].isin(order)]
    shown = shown.assign(place=shown[x].map(list(order).index), series="")
    rank, n = (shown.groupby(x)[y].transform(how) for how in ("cumcount", "size"))
    spread = 0.12 * (2 * rank / (n - 1).clip(lower=1) - 1)  # seeds side by side
    ax.scatter(shown.place + spread, shown[y], s=18, color=BLUE, alpha=0.6)
    beside, look = shown.assign(place=shown.place + 0.25), {"": ("", BLACK, "")}
    _means(beside, ax, "place", y, "series", look, label="_mean", bars=True, marker="s", markersize=4)
    ax.set_xticks(range(len(order)), [names.get(v, str(v)) for v in order])
    return ax


def plot_rows(
    values: pd.DataFrame, ax: Axes, x: str, y: str, order: Sequence[Any], names: Mapping[Any, str]
) -> Axes:
    """Draw the same with one row for each value of `y`, whose names may be long."""
    for place, name in enumerate(order):
        row = values[values[y] == name][x]
        found = mean_interval(row)
        ends = [[found.mean - found.low], [found.high - found.mean]]
        ax.scatter(row, place + np.linspace(-0.12, 0.12, len(row)), s=18, color=BLUE, alpha=0.6)
        ax.errorbar(
            found.mean, place + 0.3, xerr=ends, fmt="s", color=BLACK, markersize=4, capsize=3, elinewidth=1.3
        )
    ax.set_yticks(range(len(order)), [names.get(v, str(v)) for v in order])
    ax.invert_yaxis()
    return ax


def plot_levels(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw one run's accuracy by level of its tree against steps, from the columns `accuracy_level_1`, ... ."""
    names = sorted(c for c in table.columns if c.startswith("accuracy_level_"))
    what = {1: "the root's question", len(names): "all questions: the class"}
    looks = {
        name: (f"{what.get(level, f'the first {level} questions')}, chance {2.0**-level:g}", *look)
        for level, (name, look) in enumerate(zip(names, LEVELS, strict=False), start=1)
    }
    _means(table.melt("step", names), ax, "step", "value", "variable", looks)
    ax.set(ylim=(0, 1.06), ylabel="share answered rightly")
    return step_axis(ax)


def plot_features(table: pd.DataFrame, ax: Axes, degree: int, scope: str = "class_0") -> Axes:
    """Draw one teacher's correlations with the features of a class's path, by level, and with the rest.

    `table` is that of `pdlib.probes.features.FeatureCorrelations` for one run.
    """
    rows = table[(table.degree == degree) & (table.scope == scope)]
    nodes = rows[rows.node > 0].groupby("node")["level"].first()
    looks = {n: (f"level {v} (node {n})", *LEVELS[(v - 1) % len(LEVELS)]) for n, v in nodes.items()}
    _means(rows, ax, "step", "mean", "node", looks, linewidth=1.4)
    _means(rows, ax, "step", "mean", "node", {0: ("rest", BLACK, ":")}, linewidth=1)
    floor = {0: ("noise floor", "0.5", "--")}
    _means(rows, ax, "step", "noise_floor", "node", floor, linewidth=0.9)
    ax.set(ylim=(0, None), ylabel=f"mean |correlation|, degree {degree}")
    return step_axis(ax)


def plot_onsets(onsets: pd.DataFrame, ax: Axes, degree: int) -> Axes:
    """Draw when each node's feature first stands out: one row per seed, one mark per node, shaped by its level."""
    rows = onsets[(onsets.degree == degree) & np.isfinite(onsets.step)]
    seeds = sorted(onsets.seed.unique())
    for level, group in rows.groupby("level"):
        heights = group.seed.map(seeds.index) + 0.12 * (level - 2)
        look: Style = {"color": LEVELS[(level - 1) % len(LEVELS)][0], "marker": "os^D"[(level - 1) % 4]}
        ax.scatter(group.step, heights, s=26, alpha=0.8, label=f"nodes of level {level}", **look)
    ax.set_yticks(range(len(seeds)), [str(s) for s in seeds])
    ax.set(ylim=(-0.6, len(seeds) - 0.4), ylabel="teacher's seed")
    return step_axis(ax, f"step at which degree {degree} stands out")


def plot_loss(
    teacher: pd.DataFrame,
    ax: Axes,
    references: pd.DataFrame | None = None,
    candidates: pd.DataFrame | None = None,
) -> Axes:
    """Draw held-out loss against the logarithm of steps: thin lines the seeds, thick their mean.

    `teacher` has `seed`, `step`, `loss_nats`; `references` `predictor`, `loss_nats`: dotted lines, named at the right;
    `candidates` `seed`, `candidate` (see `TURNS`), `step`: triangles on their seed's line.
    """
    rows = teacher[teacher.step > 0].assign(series="all")
    step_axis(ax, log=True)
    thin: Style = {"color": "0.5", "linewidth": 0.7, "alpha": 0.8, "label": "one seed each"}
    _line(rows, ax, "step", "loss_nats", units="seed", estimator=None, **thin)
    mean = {"all": ("mean", BLACK, "-")}
    _means(rows, ax, "step", "loss_nats", "series", mean, label=COUNTED, within=(0, math.inf))
    if candidates is not None:
        found = candidates.merge(rows[["seed", "step", "loss_nats"]], on=["seed", "step"])
        _marks(found, ax, "loss_nats", TURNS, size=48)
    ax.set_ylim(bottom=0)
    if references is not None:
        values = zip(references.predictor, references.loss_nats, strict=True)
        _name_lines(ax, {REFERENCES.get(key, key): float(y) for key, y in values})
    ax.set_ylabel("held-out loss (nats)")
    return ax


def plot_dependence(
    table: pd.DataFrame,
    ax: Axes,
    measure: str,
    best: pd.DataFrame | None = None,
    *,
    log: bool = False,
    means: bool = False,
) -> Axes:
    """Draw the median of a measure of dependence ("robust" or "close") against steps, one line per n.

    `table` is that of `pdlib.probes.ngrams.NgramDependence`, with `seed`; `best` the same of the exact posterior: dashed
    lines. With `log` steps are on a logarithmic axis, and step 0 is not drawn. `means` draws the column `mean` too, thin
    and dotted: where few positions depend much, it is far from the median.
    """
    rows = table[(table.measure == measure) & (table.step > 0 if log else True)]
    sizes = sorted(rows.n.unique())
    looks = {n: (f"n = {n:g}", *LEVELS[i % len(LEVELS)]) for i, n in enumerate(sizes)}
    label = "{} ({} seeds)" if rows.seed.nunique() > 1 else "{} ({} seed)"
    step_axis(ax, log=log)
    _means(rows, ax, "step", "median", "n", looks, within=(0, math.inf), label=label)
    if means:
        dots: Style = {"linewidth": 1.1, "linestyle": (0, (1, 2))}
        _means(rows, ax, "step", "mean", "n", looks, label="_{}", errorbar=None, **dots)
        ax.plot([], [], color="0.35", label="mean over positions, in the same color", **dots)
    if best is not None:
        for i, n in enumerate(sizes):
            # dashes of different values interleave: lines at the same height stay visible
            dashes = (4 * i, (4, 4 * max(1, len(sizes) - 1)))
            for y in best.loc[(best.measure == measure) & (best.n == n), "median"]:
                ax.axhline(y, color=looks[n][1], linewidth=1.6, linestyle=dashes, clip_on=False)
        ax.plot([], [], color="0.35", linestyle="--", label="exact posterior, in the same color")
    ax.set(ylim=(0, None), ylabel=rf"$M_\mathrm{{{measure}}}$" + " (median)" * (not means))
    return ax


def plot_horizons(
    table: pd.DataFrame, ax: Axes, ceiling: float | None = None, *, reference: str = "posterior"
) -> Axes:
    """Draw what students reach by the end against how long they are trained, one line per method.

    `table` has `seed`, `horizon` (share of the teacher's steps), `method`, `step`, `accuracy`. `ceiling` is the accuracy
    of a reference predictor, a key of `REFERENCES`.
    """
    final = last_rows(table, ["seed", "horizon", "method"])
    horizons = sorted(final.horizon.unique())
    ax.set_xscale("log", base=2)
    shape: Style = {"within": (0, 1), "bars": True, "side": 0.07}
    _means(final, ax, "horizon", "accuracy", "method", METHODS, label=COUNTED, **shape)
    if ceiling is not None:
        _name_lines(ax, {REFERENCES[reference]: ceiling})
    ax.set_ylabel("final held-out accuracy")
    names = [share_name(h) for h in horizons]
    return axis_of(horizons, ax, "student's training steps (T₀: the teacher's)", names)


def plot_rates(tuning: pd.DataFrame, ax: Axes, rates: pd.DataFrame | None = None) -> Axes:
    """Draw what methods reach by the end at each learning rate that was tried, one line per method.

    `tuning` has `seed`, `method`, `learning_rate`, `step`, `accuracy`; a run that diverged has no row. `rates` has
    `method`, `learning_rate`: those chosen, marked by a ring. Methods without a look in `METHODS` are named as they are.
    """
    final = last_rows(tuning, ["seed", "method", "learning_rate"])
    known = [method for method in METHODS if method in set(final.method)]
    methods = [*known, *sorted(set(final.method) - set(known))]
    looks = {m: METHODS.get(m, (m, GAINS[i % len(GAINS)], "-")) for i, m in enumerate(methods)}
    ax.set_xscale("log", base=2)
    shape: Style = {"within": (0, 1), "bars": True, "side": 0.06}
    _means(final, ax, "learning_rate", "accuracy", "method", looks, **shape)
    if rates is not None:
        pairs = set(zip(rates.method, rates.learning_rate, strict=True))
        chosen = [pair in pairs for pair in zip(final.method, final.learning_rate, strict=True)]
        rings = final.assign(accuracy=final.accuracy.where(np.array(chosen)))
        shape |= {"marker": "o", "markersize": 11, "markerfacecolor": "none", "linestyle": ""}
        _means(rings, ax, "learning_rate", "accuracy", "method", looks, label="_{}", errorbar=None, **shape)
    ax.set_ylabel("final held-out accuracy")
    tried = sorted(final.learning_rate.unique())
    return axis_of(tried, ax, "learning rate", [f"{rate:g}" for rate in tried])


def plot_gains(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw gains over one-shot distillation in points by setting and length of training: dots of seeds, and means.

    `table` has `setting`, `horizon` (share of the teacher's steps), `seed`, `gain` (a difference of accuracies, 0.01 being
    a point). Settings are drawn in the order in which they first come.
    """
    settings, horizons = list(table.setting.unique()), sorted(table.horizon.unique())
    looks = {h: (f"student trained for {share_name(h)}", GAINS[i % 4], "") for i, h in enumerate(horizons)}
    side = 0.8 / len(horizons)
    points = table.assign(gain=100 * table.gain, place=table.setting.map(settings.index))
    for i, h in enumerate(horizons):
        rows = points[points.horizon == h]
        place = rows.place + side * (i - (len(horizons) - 1) / 2) - 0.1
        dot: Style = {"s": 10, "alpha": 0.55, "linewidth": 0, "marker": MARKERS[i % len(MARKERS)]}
        ax.scatter(place, rows.gain, color=looks[h][1], **dot)
    _means(points, ax, "place", "gain", "horizon", looks, label=COUNTED, bars=True, side=side, markersize=6)
    ax.axhline(0, color="0.35", linewidth=1, zorder=1)
    _kinds(ax, [str(setting) for setting in settings])
    ax.set_ylabel("gain over one-shot (points)")
    return ax


def plot_generated(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw the share of texts that the parser accepts against the length of training, one line per method.

    `table` has `method`, `horizon` (share of the teacher's steps), `seed`, `accepted`, as from
    `pdlib.probes.generation.Generation`.
    """
    order, horizons = list(METHODS), sorted(table.horizon.unique())
    # error bars side by side, those that are there in the middle
    there = table.method.map(order.index).groupby(table.horizon)
    side = 0.11 * (there.rank("dense") - (there.transform("nunique") + 1) / 2)
    place = table.assign(place=table.horizon.map(horizons.index) + side)
    ax.axhline(0, color="0.35", linewidth=1, zorder=1)
    edge: Style = {"markeredgecolor": "0.25", "markeredgewidth": 0.6}
    _means(place, ax, "place", "accepted", "method", METHODS, label=COUNTED, within=(0, 1), bars=True, **edge)
    top = max(0.1, float(ax.get_ylim()[1]))
    ax.set_ylim(-0.05 * top, top)  # a share of 0 stands clear of the axis
    _kinds(ax, [share_name(h) for h in horizons])
    ax.set(xlabel="training steps (T₀: the teacher's)", ylabel="share of texts accepted")
    return ax


def plot_first_checkpoints(
    table: pd.DataFrame,
    ax: Axes,
    one_shot: pd.DataFrame | None = None,
    candidates: pd.DataFrame | None = None,
) -> Axes:
    """Draw what (2, T) students reach by the end against the step of their first checkpoint.

    `table` has `seed`, `checkpoint` (a step, the same for all seeds, or the name of a candidate), `step`, `accuracy`.
    `one_shot` has `seed`, `step`, `accuracy` of one-shot students: a dashed line, its interval a band; `candidates`
    `seed`, `candidate` (see `TURNS`), `step`: a candidate is drawn at the mean of its steps, and not without them.
    """
    final = last_rows(table, ["seed", "checkpoint"])
    grid = pd.to_numeric(final.checkpoint, errors="coerce")
    means = {} if candidates is None else candidates.groupby("candidate").step.mean().to_dict()
    place, kind = grid.fillna(final.checkpoint.map(means)), final.checkpoint.where(grid.isna(), "")
    final = final.assign(place=place, kind=kind)[place.notna()]
    step_axis(ax, "first checkpoint (teacher's training steps)", log=True)
    if one_shot is not None:
        level = mean_interval(last_rows(one_shot, ["seed"]).accuracy)
        ax.axhline(level.mean, color=ORANGE, linestyle=(0, (5, 1)), label=f"one-shot (n = {level.n})")
        if level.n > 1:
            ax.axhspan(level.low, level.high, color=ORANGE, alpha=0.15, linewidth=0)
    shape: Style = {"within": (0, 1), "bars": True}
    looks = {"": ("first checkpoint of the grid", BLACK, "-")}
    _means(final, ax, "place", "accuracy", "kind", looks, label=COUNTED, **shape)
    edge: Style = {"markersize": 9, "zorder": 5, "markeredgecolor": "black", "markeredgewidth": 0.6}
    for candidate, (name, color, marker) in TURNS.items():
        looks = {candidate: (name, color, "")}
        _means(final, ax, "place", "accuracy", "kind", looks, marker=marker, **shape | edge)
    ax.set_ylabel("final held-out accuracy")
    return ax


def plot_nonterminals(table: pd.DataFrame, ax: Axes, by: str, looks: Looks | None = None) -> Axes:
    """Draw how well a linear probe tells the symbols of each level, for each value of `by`, by default steps.

    `table` has `seed`, `level` (from the root), `accuracy`, `majority`, and `by`; step 0 is the untrained network.
    """
    base: Looks = {"": ("always the most frequent symbol", "0.35", ":")}
    mark: Style = {"marker": "_", "markersize": 12, "markeredgecolor": "0.35", "errorbar": None}
    _means(table.assign(series=""), ax, "level", "majority", "series", base, **mark)
    steps = sorted(table[by].unique())
    looks = looks or _shaded({v: f"{short_number(v)} steps" if v else "untrained" for v in steps})
    _means(table, ax, "level", "accuracy", by, looks, label=COUNTED, within=(0, 1), bars=True, side=0.05)
    ax.set_xticks(sorted(table.level.unique()))
    ax.set(xlabel="level, from the root", ylabel="accuracy of the probe")
    return ax
