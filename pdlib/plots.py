"""Figures: a tidy table and axes in, the axes out.

Colors are Okabe and Ito's, safe for the color-blind, and each series has its own line or marker too. No
torch here: a figure is redrawn from a table.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from pdlib.tables import curve, last_rows, mean_interval

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PURPLE = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)

# method -> (name in legends, color, line); one look a method in the whole book
METHODS: dict[str, tuple[str, str, Any]] = {
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
CANDIDATES = {"before": ("①", SKY), "middle": ("②", GREEN), "after": ("③", RED)}
GROUPS = {"in_support": ("in the support", RED, "-"), "off_support": ("off the support", BLUE, (0, (4, 1)))}


def house_style() -> None:
    """Set fonts, sizes and the light frame that all figures of the book share."""
    mpl.rcParams.update(
        {
            "figure.dpi": 110,
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "legend.frameon": False,
            "legend.fontsize": 8.5,
            "lines.linewidth": 1.8,
            "savefig.dpi": 110,
        }
    )


def finish(figure: Figure, provenance: str, n_columns: int = 3) -> None:
    """Put one legend for all axes below a figure, where it covers no curve, under a line of provenance.

    The line says where the figure's runs come from, and stays with the figure when it is copied.
    """
    entries: dict[str, Any] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if not entries:
        figure.supxlabel(provenance, fontsize=6.5, color="0.35", x=0.99, ha="right")
        return
    legend = figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=n_columns)
    legend.set_title(provenance, prop=FontProperties(size=6.5))
    legend.get_title().set_color("0.35")


def short_number(value: float, _position: object = None) -> str:
    """Write a step count as people say it.

    >>> short_number(1_200_000), short_number(20_000), short_number(0)
    ('1.2M', '20k', '0')
    """
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"


def _step_axis(ax: Axes, label: str) -> None:
    ax.xaxis.set_major_formatter(FuncFormatter(short_number))
    ax.set_xlabel(label)


def plot_accuracy(
    table: pd.DataFrame,
    ax: Axes,
    *,
    chance: float | None = 0.5,
    label: str = "training steps",
    looks: Mapping[str, tuple[str, str, Any]] | None = None,
) -> Axes:
    """Draw held-out accuracy against steps by method: the mean over seeds and its 95 % interval.

    `table` has the columns `method`, `seed`, `step`, `accuracy`. `looks` says which methods are drawn, in which order,
    name, color and line; by default those of `METHODS`.
    """
    drawn = {m: look for m, look in (looks or METHODS).items() if m in set(table.method)}
    return _mean_curves(table, ax, "method", drawn, chance, label)


def _mean_curves(
    table: pd.DataFrame,
    ax: Axes,
    by: str,
    looks: Mapping[Any, tuple[str, Any, Any]],
    chance: float | None,
    label: str,
) -> Axes:
    """Draw held-out accuracy against steps for each value of `by`: the mean over seeds and its 95 % interval."""
    for value, (name, color, line) in looks.items():
        rows = curve(table[table[by] == value], "accuracy")
        n = int(rows.n.max())
        ax.plot(rows.step, rows["mean"], color=color, linestyle=line, label=f"{name} (n = {n})")
        if n > 1:
            ax.fill_between(
                rows.step, rows.low.clip(0, 1), rows.high.clip(0, 1), color=color, alpha=0.15, linewidth=0
            )
    return _accuracy_axes(ax, chance, label)


def _accuracy_axes(ax: Axes, chance: float | None, label: str) -> Axes:
    """Label axes of accuracy against steps, from below chance to 1, with a dotted line at chance."""
    if chance is not None:
        ax.axhline(chance, color="0.5", linewidth=0.8, linestyle=":")
    ax.set_ylim(0.4 if chance == 0.5 else 0, 1.03)
    ax.set_ylabel("held-out accuracy")
    _step_axis(ax, label)
    return ax


def plot_seeds(table: pd.DataFrame, ax: Axes, *, color: str = BLACK, label: str = "one seed each") -> Axes:
    """Draw held-out accuracy of single runs, a thin line a seed: where transitions differ, a mean hides them."""
    for i, (_, run) in enumerate(table.groupby("seed")):
        ax.plot(
            run.step, run.accuracy, color=color, linewidth=0.9, alpha=0.75, label=label if i == 0 else None
        )
    return _accuracy_axes(ax, 0.5, "training steps")


def mark_candidates(candidates: pd.DataFrame, ax: Axes) -> Axes:
    """Mark candidate checkpoints on the teacher's curves: columns `candidate`, `step`, `accuracy`."""
    for candidate, (sign, color) in CANDIDATES.items():
        rows = candidates[candidates.candidate == candidate]
        ax.scatter(
            rows.step,
            rows.accuracy,
            color=color,
            edgecolor="black",
            linewidth=0.6,
            zorder=5,
            label=f"candidate {sign}",
        )
    return ax


def mark_read_off(points: pd.DataFrame, ax: Axes, *, origin: float = 0) -> Axes:
    """Mark numbers read off the paper's figures with crosses: columns `curve`, `step`, `value`.

    `origin` is the step at which the axis has its 0. The axis grows to hold them all.
    """
    ax.set_ylim(top=max(ax.get_ylim()[1], 1.02 * points.value.max()))
    for curve_, rows in points.groupby("curve", sort=False):
        look = METHODS.get(str(curve_)) or GROUPS[str(curve_)]
        ax.scatter(
            rows.step - origin,
            rows.value,
            marker="x",
            color=look[1],
            s=42,
            zorder=6,
            clip_on=False,
        )
    ax.scatter([], [], marker="x", color="0.3", s=42, label="read off the paper's figure")
    return ax


def aligned(table: pd.DataFrame, candidates: pd.DataFrame) -> pd.DataFrame:
    """Shift each seed's steps so that its middle candidate is at 0; transitions then lie above each other.

    >>> table = pd.DataFrame({"seed": [1], "step": [30]})
    >>> middle = pd.DataFrame({"seed": [1], "candidate": ["middle"], "step": [20]})
    >>> aligned(table, middle).step.tolist()
    [10]
    """
    middle = candidates[candidates.candidate == "middle"].set_index("seed").step
    return table.assign(step=table.step - table.seed.map(middle))


def plot_correlations(table: pd.DataFrame, ax: Axes, degree: int, *, label: str = "training steps") -> Axes:
    """Draw mean absolute correlations in and off the support, with intervals over seeds, and the noise floor.

    `table` has the columns `seed`, `step`, `degree`, `group`, `mean`, `maximum`, `noise_floor`.
    """
    rows = table[table.degree == degree]
    for group, (name, color, line) in GROUPS.items():
        mean = curve(rows[rows.group == group], "mean")
        mean = mean[mean.n == mean.n.max()]
        ax.plot(mean.step, mean["mean"], color=color, linestyle=line, label=name)
        if mean.n.max() > 1:
            ax.fill_between(
                mean.step, mean.low.clip(lower=0), mean.high, color=color, alpha=0.15, linewidth=0
            )
    largest = curve(rows[rows.group == "off_support"], "maximum")
    largest = largest[largest.n == largest.n.max()]
    ax.plot(
        largest.step,
        largest["mean"],
        color=BLUE,
        linewidth=0.9,
        linestyle=":",
        label="largest off the support",
    )
    ax.axhline(rows.noise_floor.mean(), color="0.4", linewidth=0.9, linestyle="--", label="noise floor")
    ax.set_ylabel(f"mean |correlation|, degree {degree}")
    ax.set_ylim(bottom=0)
    _step_axis(ax, label)
    return ax


def plot_reach(steps: pd.DataFrame, summary: pd.DataFrame, ax: Axes, by: str) -> Axes:
    """Draw steps to a threshold against `by`: a dot a run, hollow at the budget if it never got there.

    The line is the median over all runs, censored ones included; where it is censored, the line stops.
    `steps` comes from `steps_to_reach`, `summary` from `reached`.
    """
    done = steps[np.isfinite(steps.steps)]
    never = steps[~np.isfinite(steps.steps)]
    ax.scatter(done[by], done.steps, s=22, color=BLUE, alpha=0.7, label="a run")
    if len(never):
        ax.scatter(
            never[by],
            never.last_step,
            s=34,
            facecolor="none",
            edgecolor=RED,
            marker="^",
            label="not within the budget",
        )
    median = summary[np.isfinite(summary.median_steps)]
    ax.plot(
        median[by], median.median_steps, color=BLACK, marker="_", markersize=16, label="median of all runs"
    )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(sorted(steps[by].unique()), [f"{v:g}" for v in sorted(steps[by].unique())])
    ax.minorticks_off()
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for row in summary.itertuples():
        ax.annotate(
            f"{row.n_reached}/{row.n}",
            (getattr(row, by), steps.last_step.max() * 1.12),
            ha="center",
            fontsize=8,
        )
    ax.set_ylim(top=steps.last_step.max() * 1.35)
    ax.yaxis.set_major_formatter(FuncFormatter(short_number))
    ax.set_xlabel(by.replace("_", " "))
    ax.set_ylabel("steps to 90 % held-out accuracy")
    return ax


def plot_strip(
    values: pd.DataFrame, ax: Axes, x: str, y: str, order: Sequence[Any], names: Mapping[Any, str]
) -> Axes:
    """Draw a dot a seed and the mean with its 95 % interval for each value of `x`."""
    summary = curve(values, y, x).set_index(x)
    for i, value in enumerate(order):
        dots = values[values[x] == value][y]
        ax.scatter(
            np.full(len(dots), i) + np.linspace(-0.12, 0.12, len(dots)), dots, s=18, color=BLUE, alpha=0.6
        )
        row = summary.loc[value]
        ax.errorbar(
            i + 0.25,
            row["mean"],
            [[row["mean"] - row.low], [row.high - row["mean"]]] if math.isfinite(row.low) else None,
            fmt="s",
            color=BLACK,
            capsize=3,
            markersize=4,
        )
    ax.set_xticks(range(len(order)), [names.get(v, str(v)) for v in order])
    return ax


def plot_scaling(
    table: pd.DataFrame,
    ax: Axes,
    x: str,
    y: str,
    by: str | None = None,
    looks: Mapping[Any, tuple[str, str, Any]] | None = None,
    *,
    markers: bool = True,
) -> Axes:
    """Draw `y` against `x` on logarithmic axes, a line a value of `by`: geometric mean over rows, 95 % interval.

    Rows with the same `x` are seeds. Where one of them is infinite (nothing found within the budget), missing or not
    above 0, the point is not drawn: a mean over those that succeeded would flatter. `looks` maps
    a value of `by` to its name in the legend, color and line, and gives the order.
    """
    groups = looks or {None: (y.replace("_", " "), BLUE, "-")}
    for value, (name, color, line) in groups.items():
        rows = table if by is None else table[table[by] == value]
        complete = rows.groupby(x)[y].transform(lambda v: (np.isfinite(v) & (v > 0)).all())
        rows = rows[complete.astype(bool)]
        if rows.empty:
            continue
        mean = curve(rows.assign(**{y: np.log(rows[y])}), y, x)
        style = {"color": color, "linestyle": line, "marker": "o" if markers else "", "markersize": 4}
        ax.plot(mean[x], np.exp(mean["mean"]), label=name, **style)
        if mean.n.max() > 1:
            ax.fill_between(
                mean[x], np.exp(mean.low), np.exp(mean.high), color=color, alpha=0.15, linewidth=0
            )
    ax.set_xscale("log")
    ax.set_yscale("log")
    return ax


def axis_of(values: Sequence[Any], ax: Axes, label: str) -> Axes:
    """Write these values, to three digits, and no others on a logarithmic x axis."""
    ax.set_xticks(list(values), [short_number(float(f"{v:.3g}")) for v in values])
    ax.minorticks_off()
    ax.set_xlabel(label)
    return ax


def _shaded(names: Mapping[Any, str]) -> dict[Any, tuple[str, Any, Any]]:
    """Give each value its name, a color from light to dark, and a line."""
    shades = mpl.colormaps["cividis"](np.linspace(0.85, 0.0, len(names)))
    lines = ["-", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1))]
    return {value: (name, shades[i], lines[i % len(lines)]) for i, (value, name) in enumerate(names.items())}


def plot_family(
    table: pd.DataFrame,
    ax: Axes,
    by: str,
    names: Mapping[Any, str] | None = None,
    *,
    chance: float | None = 0.5,
    label: str = "training steps",
) -> Axes:
    """Draw held-out accuracy against steps, a line a value of `by`, light to dark: means over seeds, 95 % intervals.

    `table` has the columns `seed`, `step`, `accuracy` and `by`. `names` gives order and legend; by default the values,
    rising.
    """
    names = names or {v: f"{v:g} {by.removeprefix('n_')}" for v in sorted(table[by].unique())}
    return _mean_curves(table, ax, by, _shaded(names), chance, label)


def temperature_names(targets: Iterable[str]) -> dict[str, str]:
    """Return what a legend calls each kind of a teacher's targets: hard labels, or a temperature.

    >>> temperature_names(["hard", "0.0001"])
    {'hard': 'hard', '0.0001': 'τ = 0.0001'}
    """
    return {name: name if name == "hard" else f"τ = {name}" for name in targets}


def plot_attention(table: pd.DataFrame, teacher: pd.DataFrame, ax: Axes) -> Axes:
    """Draw one teacher's path mass on a coordinate on and off the support beside its accuracy.

    `table` is that of `pdlib.probes.attention.AttentionPaths` for one run, step 0 being the untrained network, whose
    values are drawn on as thin lines; bands reach from the 5th to the 95th percentile over inputs. The shaded steps are the
    teacher's transition, accuracy between 0.55 and 0.99.
    """
    for name, color, line, text in (
        ("on_coordinate", RED, "-", "on a coordinate of the support"),
        ("off_coordinate", BLUE, (0, (4, 1)), "on another coordinate"),
    ):
        ax.plot(table.step, table[name], color=color, linestyle=line, label=text)
        ax.fill_between(
            table.step, table[f"{name}_low"], table[f"{name}_high"], color=color, alpha=0.15, lw=0
        )
        start = float(table.loc[table.step == 0, name].iloc[0])
        ax.axhline(start, color=color, linewidth=0.8, linestyle=":", label=f"{text}, untrained")
    top = float(table[["on_coordinate_high", "off_coordinate_high"]].to_numpy().max())
    ax.plot(
        teacher.step,
        teacher.accuracy * top,
        color="0.4",
        linestyle="--",
        linewidth=1,
        label="accuracy, scaled",
    )
    moving = teacher[(teacher.accuracy >= 0.55) & (teacher.accuracy <= 0.99)]
    if len(moving):
        ax.axvspan(moving.step.min(), moving.step.max(), color="0.5", alpha=0.12, lw=0, label="transition")
    ax.set_ylabel("attention along length-2 paths")
    ax.set_ylim(bottom=0)
    _step_axis(ax, "training steps")
    return ax


def plot_correlation_seeds(table: pd.DataFrame, teacher: pd.DataFrame, ax: Axes) -> Axes:
    """Draw one teacher's degree-1 correlations: the mean in the support, the mean and deviation off it, its accuracy.

    `table` as in `plot_correlations`, for one run; the accuracy is scaled to the axis.
    """
    rows = table[table.degree == 1]
    for group, (name, color, line) in GROUPS.items():
        run = rows[rows.group == group]
        ax.plot(run.step, run["mean"], color=color, linestyle=line, label=name)
        ax.fill_between(run.step, run.minimum, run.maximum, color=color, alpha=0.15, lw=0)
    top = float(rows.maximum.max())
    ax.plot(
        teacher.step,
        teacher.accuracy * top,
        color="0.3",
        linestyle=":",
        linewidth=1,
        label="accuracy, scaled",
    )
    ax.axhline(rows.noise_floor.mean(), color="0.4", linewidth=0.9, linestyle="--", label="noise floor")
    ax.set_ylabel("mean |correlation|, degree 1")
    ax.set_ylim(bottom=0)
    _step_axis(ax, "training steps")
    return ax


def plot_checkpoint_quality(
    teacher: pd.DataFrame, correlations: pd.DataFrame, final: pd.Series[float], ax: Axes
) -> Axes:
    """Draw what a student of each checkpoint becomes, beside the checkpoint's accuracy and correlation.

    `final` is the student's final accuracy, indexed by checkpoint; `correlations` as in `plot_correlations`.
    """
    shown = teacher[(teacher.step >= final.index.min()) & (teacher.step <= final.index.max())]
    inside = correlations[(correlations.degree == 1) & (correlations.group == "in_support")]
    inside = inside[(inside.step >= final.index.min()) & (inside.step <= final.index.max())]
    ax.plot(shown.step, shown.accuracy, color=BLACK, label="teacher's accuracy")
    ax.plot(
        final.index, final, color=GREEN, marker="o", linestyle="", label="its (2, T) student's final accuracy"
    )
    scaled = 0.5 + 0.5 * inside["mean"] / inside["mean"].max()
    ax.plot(inside.step, scaled, color=RED, linestyle=":", label="correlation in the support, scaled")
    ax.set_ylim(0.4, 1.03)
    ax.set_ylabel("held-out accuracy")
    _step_axis(ax, "teacher checkpoint (training steps)")
    return ax


# ----------------------------------------------------------------- decision trees

NUMBERS = "①②③④⑤⑥⑦⑧⑨"  # of candidates
LEVELS = (
    (RED, "-"),
    (BLUE, (0, (5, 1))),
    (GREEN, (0, (3, 1, 1, 1))),
    (PURPLE, (0, (1, 1))),
)  # looks from the root on


def plot_tree(tree: pd.DataFrame, ax: Axes, path: Sequence[str] = ()) -> Axes:
    """Draw a decision tree, its features in boxes and the product that each branch stands for; a path may stand out.

    `tree` comes from `pdlib.tables.tree_rows`; `path` names its nodes from the root on.
    """
    rows: list[dict[Any, Any]] = tree.to_dict("records")
    at = {row["child"]: (float(row["place"]), -float(row["depth"])) for row in rows}
    on_path = set(path)
    white = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    for row in rows:
        child, chosen = row["child"], row["child"] in on_path
        x1, y1 = at[child]
        if row["parent"]:
            x0, y0 = at[row["parent"]]
            ax.plot([x0, x1], [y0, y1], zorder=1, color=RED if chosen else "0.6", linewidth=1 + chosen)
            sign, middle = (
                f"{row['sign']:+d}".replace("-", "−"),
                (0.45 * x0 + 0.55 * x1, 0.45 * y0 + 0.55 * y1),
            )
            ax.text(*middle, sign, fontsize=8, ha="center", va="center", bbox=white)
        leaf = child.startswith("class")
        box = {
            "boxstyle": "round,pad=0.3" if leaf else "square,pad=0.3",
            "facecolor": "white",
            "edgecolor": RED if chosen else "0.3",
            "linewidth": 1.6 if chosen else 0.8,
        }
        text = row["text"] if leaf else f"node {child}\n{row['text']}"
        ax.text(x1, y1, text, fontsize=7.5, ha="center", va="center", bbox=box, zorder=2)
    ax.set_xlim(0, 1)
    ax.set_ylim(-tree.depth.max() - 0.4, 0.4)
    ax.axis("off")
    return ax


def mark_numbered(candidates: pd.DataFrame, ax: Axes) -> Axes:
    """Mark a teacher's candidate checkpoints by their numbers: columns `candidate`, `step`, `accuracy`."""
    for i, (_, rows) in enumerate(candidates.groupby("step", sort=True)):
        signs = "".join(NUMBERS[int(number) - 1] for number in rows.candidate)
        step, height = float(rows.step.iloc[0]), float(rows.accuracy.iloc[0])
        label = "candidate checkpoints" if i == 0 else None
        ax.scatter(
            [step], [height], color=YELLOW, edgecolor="black", linewidth=0.6, s=34, zorder=5, label=label
        )
        ax.annotate(
            signs, (step, height), xytext=(-3, 5), textcoords="offset points", ha="right", fontsize=10
        )
    return ax


def plot_levels(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw one run's accuracy by level of its tree against steps, from the columns `accuracy_level_1`, ... ."""
    names = sorted(c for c in table.columns if c.startswith("accuracy_level_"))
    for level, (name, (color, line)) in enumerate(zip(names, LEVELS, strict=False), start=1):
        what = {1: "the root's question", len(names): "all questions: the class"}
        label = what.get(level, f"the first {level} questions")
        ax.plot(
            table.step, table[name], color=color, linestyle=line, label=f"{label}, chance {2.0**-level:g}"
        )
    ax.set_ylim(0, 1.06)
    ax.set_ylabel("share answered rightly")
    _step_axis(ax, "training steps")
    return ax


def plot_features(table: pd.DataFrame, ax: Axes, degree: int, scope: str = "class_0") -> Axes:
    """Draw one teacher's correlations with the features of a class's path, a line a level, and with the rest.

    `table` is that of `pdlib.probes.features.FeatureCorrelations` for one run.
    """
    rows = table[(table.degree == degree) & (table.scope == scope)]
    for node, run in rows[rows.node > 0].groupby("node", sort=True):
        color, line = LEVELS[(int(run.level.iloc[0]) - 1) % len(LEVELS)]
        label = f"level {int(run.level.iloc[0])} (node {node})"
        ax.plot(run.step, run["mean"], color=color, linestyle=line, linewidth=1.4, label=label)
    rest = rows[rows.node == 0]
    ax.plot(rest.step, rest["mean"], color=BLACK, linewidth=1, linestyle=":", label="rest")
    ax.plot(rest.step, rest.noise_floor, color="0.5", linewidth=0.9, linestyle="--", label="noise floor")
    ax.set_ylabel(f"mean |correlation|, degree {degree}")
    ax.set_ylim(bottom=0)
    _step_axis(ax, "training steps")
    return ax


def plot_onsets(onsets: pd.DataFrame, ax: Axes, degree: int) -> Axes:
    """Draw when each node's feature first stands out: a row a seed, a mark a node, its look that of the level."""
    rows = onsets[(onsets.degree == degree) & np.isfinite(onsets.step)]
    seeds = sorted(onsets.seed.unique())
    for level, group in rows.groupby("level", sort=True):
        heights = [seeds.index(s) + 0.12 * (int(level) - 2) for s in group.seed]
        color, marker = LEVELS[(int(level) - 1) % len(LEVELS)][0], "os^D"[(int(level) - 1) % 4]
        ax.scatter(
            group.step, heights, color=color, marker=marker, s=26, alpha=0.8, label=f"nodes of level {level}"
        )
    ax.set_yticks(range(len(seeds)), [str(s) for s in seeds])
    ax.set_ylim(-0.6, len(seeds) - 0.4)
    ax.set_ylabel("teacher's seed")
    _step_axis(ax, f"step at which degree {degree} stands out")
    return ax


# ------------------------------------------------------------------- grammars

# candidate -> (name in legends, color, marker): checkpoints of a teacher of masked prediction
TURNS = {
    "loss": ("C₁, halfway down the loss", GREEN, "^"),
    "robust": (r"peak of $M_\mathrm{robust}$", ORANGE, "v"),
}
REFERENCES = {
    "posterior": "exact posterior",
    "prefix": "exact, ends unknown",  # given the tokens before, not that a span ends
    "copy": "copying",
    "bigram": "bigram",
    "unigram": "unigram",
}
# kind of position -> (name in legends, color, hatch)
SHOWN = {
    "left": ("not selected", "white", ""),
    "mask": ("selected, shown as [mask]", SKY, "////"),
    "random": ("selected, shown as a random token", ORANGE, "...."),
    "kept": ("selected, shown as it is", GREEN, "\\\\\\\\"),
}
MARKERS = "osD^vPX<>"
GAINS = (BLUE, RED, GREEN, PURPLE)  # by length of training


def plot_parse(spans: pd.DataFrame, ax: Axes, labels: bool = True) -> Axes:
    """Draw the grammar tree of one sentence over its tokens; dots below mark the last token of each span.

    Parameters
    ----------
    spans
        `level` (0 is the root), `symbol`, `start`, `stop`: the symbols of every level, from left to right. The last
        level are the tokens.
    ax
        Where to draw.
    labels
        Whether symbols are written; without, they are dots, which suits long sentences.
    """
    depth = int(spans.level.max())
    box: dict[str, Any] = {
        "boxstyle": "round,pad=0.22",
        "facecolor": "white",
        "edgecolor": "0.4",
        "linewidth": 0.8,
    }
    for row in spans.to_dict("records"):
        level, x = int(row["level"]), (row["start"] + row["stop"] - 1) / 2
        inside = (spans.start >= row["start"]) & (spans.stop <= row["stop"])
        below = spans[(spans.level == level + 1) & inside]
        for child in (below.start + below.stop - 1) / 2:
            ax.plot([x, child], [-level, -level - 1], color="0.6", linewidth=0.8, zorder=1)
        if labels:
            around = box if level < depth else box | {"edgecolor": "none"}
            ax.text(
                x, -level, str(row["symbol"]), ha="center", va="center", fontsize=8.5, bbox=around, zorder=2
            )
        else:
            ax.plot(x, -level, color="0.3", marker=".", markersize=4, zorder=2)
    for level in range(depth):
        last = spans[spans.level == level].stop - 1
        heights = np.full(len(last), -depth - 0.6 - 0.3 * level)
        color, marker = LEVELS[level % len(LEVELS)][0], MARKERS[level % len(MARKERS)]
        label = f"last token of a span of level {level}"
        ax.scatter(last, heights, s=16, color=color, marker=marker, label=label)
    ax.set_yticks(range(-depth, 1), [*map(str, range(depth, 0, -1)), "0"])
    ax.set_ylim(-depth - 0.6 - 0.3 * depth, 0.5)
    ax.set_xticks([])
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set_ylabel("level, from the root")
    return ax


def plot_masking(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw a sentence, what the network is shown of it, and what it is asked for, a column a position.

    Parameters
    ----------
    table
        `position`, `original`, `shown`, `selected`, a row a position; tokens by their names, a removed one "[mask]". With
        columns `p_NAME`, one a token, a fourth row draws these probabilities at the selected positions, the original's
        dark.
    ax
        Where to draw.
    """
    probabilities = [name for name in table.columns if name.startswith("p_")]
    rows = ["sentence", "what is shown", "what is asked for", *["probabilities"] * bool(probabilities)]
    named: set[str] = set()

    def cell(x: float, row: int, kind: str, text: str) -> None:
        name, color, hatch = SHOWN[kind]
        style: dict[str, Any] = {"facecolor": color, "hatch": hatch, "edgecolor": "0.35", "linewidth": 0.6}
        label = None if kind in named else name
        ax.add_patch(Rectangle((x - 0.46, -row - 0.4), 0.92, 0.8, label=label, **style))
        named.add(kind)
        white = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
        size = 9 if len(text) < 3 else 6.5
        ax.text(x, -row, text, ha="center", va="center", fontsize=size, bbox=white if hatch else None)

    for row in table.to_dict("records"):
        x, original, shown = float(row["position"]), str(row["original"]), str(row["shown"])
        kind = "mask" if shown == "[mask]" else "kept" if shown == original else "random"
        cell(x, 0, "left", original)
        cell(x, 1, kind if row["selected"] else "left", shown)
        if not row["selected"]:
            continue
        cell(x, 2, "left", original)
        width = 0.8 / max(1, len(probabilities))
        for i, name in enumerate(probabilities):
            dark = name == f"p_{original}"
            what, color = (
                ("the original's probability", "0.25") if dark else ("another token's probability", "white")
            )
            label = None if what in named else what
            left, height = x - 0.4 + i * width, 0.75 * float(row[name])
            bar = Rectangle(
                (left, -3.4), 0.85 * width, height, facecolor=color, edgecolor="0.25", label=label
            )
            ax.add_patch(bar)
            ax.text(left + 0.42 * width, -3.46, name[2:], fontsize=5.5, ha="center", va="top")
            named.add(what)
    ax.set_yticks([-float(i) for i in range(len(rows))], rows)
    ax.set_xlim(table.position.min() - 0.6, table.position.max() + 0.6)
    ax.set_ylim(-len(rows) + 0.3 if probabilities else -2.5, 0.5)
    ax.set_xticks([])
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return ax


def plot_boundaries(table: pd.DataFrame, ax: Axes, levels: Sequence[int] | None = None) -> Axes:
    """Draw a sentence and, a row a level, its spans: a line over the tokens of each, a mark under the token that ends it.

    Parameters
    ----------
    table
        `position`, `token`, `level`, a row a position: the highest level, counted from the leaves, of which a span ends
        there; 1 where only the token itself does.
    ax
        Where to draw.
    levels
        Which levels, from the top down; by default 2 to the highest of the table.
    """
    rows = table.sort_values("position")
    levels = levels or range(2, int(rows.level.max()) + 1)
    place = rows.position.to_numpy(dtype=float)
    first, last = float(place.min()), float(place.max())
    each = 72 * float(ax.figure.bbox.width / ax.figure.dpi) * 0.85 / (last - first + 1)  # points a token
    written = each > 3.5  # shorter ones could not be read
    if written:
        for x, token in zip(place, rows.token, strict=True):
            ax.text(x, 0, str(token), ha="center", va="center", fontsize=min(10, 1.3 * each))
    for row, level in enumerate(levels, start=1):
        color, marker = LEVELS[(row - 1) % len(LEVELS)][0], MARKERS[(row - 1) % len(MARKERS)]
        ends = place[(rows.level >= level).to_numpy()]
        starts = np.concatenate([[first], ends[:-1] + 1])
        ax.hlines([-row] * len(ends), starts - 0.35, ends, color=color, linewidth=1.2)
        size = min(7.0, 0.9 * each) ** 2
        ax.scatter(ends, np.full(len(ends), -row), s=size, color=color, marker=marker, zorder=3)
    what = "sentence" if written else f"{len(place)} tokens"
    ax.set_yticks(range(-len(levels), 1), [*(f"level {n}" for n in reversed(levels)), what])
    ax.set_xlim(first - 0.6, last + 0.6)
    ax.set_ylim(-len(levels) - 0.5, 0.5)
    ax.set_xticks([])
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return ax


def _log_steps(ax: Axes) -> None:
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(short_number))
    ax.minorticks_off()


def _error_bars(ax: Axes, x: pd.Series[float], mean: pd.DataFrame, label: str, **look: Any) -> None:
    """Draw mean accuracies with their intervals; one seed has none."""
    ends = np.stack([mean["mean"] - mean.low.clip(lower=0), mean.high.clip(upper=1) - mean["mean"]])
    bars = np.where(mean.n > 1, ends, np.nan)
    ax.errorbar(
        x, mean["mean"], bars, label=label, **{"capsize": 2.5, "elinewidth": 1, "markersize": 5} | look
    )


def _name_lines(ax: Axes, lines: Mapping[str, float]) -> None:
    """Draw dotted horizontal lines, their names at the right end: above, but below the lower of two close lines."""
    bottom, top = ax.get_ylim()
    top = max(top, bottom + 1.08 * (max(lines.values()) - bottom))  # room for the highest name
    ax.set_ylim(bottom, top)
    for name, y in lines.items():
        crowded = any(0 < other - y < 0.09 * (top - bottom) for other in lines.values())
        ax.axhline(y, color="0.35", linewidth=1, linestyle=":", zorder=1)
        side, place = "top" if crowded else "bottom", ax.get_yaxis_transform()
        ax.text(0.99, y, name, fontsize=8, color="0.2", ha="right", va=side, transform=place)


def plot_loss(
    teacher: pd.DataFrame,
    ax: Axes,
    references: pd.DataFrame | None = None,
    candidates: pd.DataFrame | None = None,
    *,
    log: bool = True,
) -> Axes:
    """Draw held-out loss against steps: thin lines the seeds, thick their mean with its 95 % interval.

    Parameters
    ----------
    teacher
        `seed`, `step`, `loss_nats`.
    ax
        Where to draw.
    references
        `predictor`, `loss_nats`: dotted lines, named at the right.
    candidates
        `seed`, `candidate` (see `TURNS`), `step`: triangles on their seed's line.
    log
        Whether steps are on a logarithmic axis; step 0 is then not drawn.
    """
    rows = teacher[teacher.step > 0] if log else teacher
    for i, (_, run) in enumerate(rows.groupby("seed")):
        label = "one seed each" if i == 0 else None
        ax.plot(run.step, run.loss_nats, color="0.5", linewidth=0.7, alpha=0.8, label=label)
    mean = curve(rows, "loss_nats")
    n = int(mean.n.max())
    ax.plot(mean.step, mean["mean"], color=BLACK, label=f"mean (n = {n})")
    if n > 1:
        ax.fill_between(mean.step, mean.low.clip(lower=0), mean.high, color=BLACK, alpha=0.15, linewidth=0)
    if candidates is not None:
        found = candidates.merge(rows[["seed", "step", "loss_nats"]], on=["seed", "step"])
        for candidate, (name, color, marker) in TURNS.items():
            at = found[found.candidate == candidate]
            if at.empty:
                continue
            edge: dict[str, Any] = {"edgecolor": "black", "linewidth": 0.6, "zorder": 5}
            ax.scatter(at.step, at.loss_nats, s=48, color=color, marker=marker, label=name, **edge)
    ax.set_ylim(bottom=0)
    if references is not None:
        values = zip(references.predictor, references.loss_nats, strict=True)
        _name_lines(ax, {REFERENCES.get(key, key): float(y) for key, y in values})
    ax.set_ylabel("held-out loss (nats)")
    _step_axis(ax, "training steps")
    if log:
        _log_steps(ax)
    return ax


def plot_dependence(
    table: pd.DataFrame,
    ax: Axes,
    measure: str,
    best: pd.DataFrame | None = None,
    by: str = "n",
    x: str = "step",
    *,
    log: bool = False,
    means: bool = False,
) -> Axes:
    """Draw the median of a measure of dependence, a line a value of `by`: means over seeds, 95 % intervals.

    Parameters
    ----------
    table
        `seed`, `measure`, `n`, `median`, and the columns `by` and `x`, as from `pdlib.probes.ngrams.Dependence`.
    ax
        Where to draw.
    measure
        `"robust"` or `"close"`.
    best
        `measure`, `n`, `median` of the exact posterior: a dashed line at each n, or, against n, one line.
    by
        `"n"`, or `"method"` with the looks of `METHODS`.
    x
        `"step"`, or `"n"`.
    log
        Whether steps are on a logarithmic axis; step 0 is then not drawn.
    means
        Whether the column `mean` is drawn too, thin and dotted: where few positions depend much, it is far from the median.
    """
    rows = table[(table.measure == measure) & (table[x] > 0 if log else True)]
    exact = None if best is None else best[best.measure == measure].sort_values("n")
    looks = METHODS
    if by != "method":
        values = sorted(rows[by].unique())
        looks = {v: (f"{by} = {v:g}", *LEVELS[i % len(LEVELS)]) for i, v in enumerate(values)}
    shown = [value for value in looks if value in set(rows[by])]
    for i, value in enumerate(shown):
        name, color, line = looks[value]
        runs = rows[rows[by] == value]
        mean = curve(runs.assign(place=runs[x]), "median", "place")  # a column of the curve is called n too
        n = int(mean.n.max())
        marker = MARKERS[i % len(MARKERS)] if x == "n" else ""
        label = f"{name} ({n} seed{'s' * (n > 1)})"
        ax.plot(
            mean.place, mean["mean"], color=color, linestyle=line, marker=marker, markersize=4, label=label
        )
        if n > 1:
            ax.fill_between(
                mean.place, mean.low.clip(lower=0), mean.high, color=color, alpha=0.15, linewidth=0
            )
        if means:
            other = curve(runs.assign(place=runs[x]), "mean", "place")
            ax.plot(other.place, other["mean"], color=color, linewidth=1.1, linestyle=(0, (1, 2)))
        if exact is not None and by == "n":
            # dashes of different values interleave: lines at the same height stay visible
            dashes = (4 * i, (4, 4 * max(1, len(shown) - 1)))
            for y in exact.loc[exact.n == value, "median"]:
                ax.axhline(y, color=color, linewidth=1.6, linestyle=dashes, clip_on=False)
    if means:
        label = "mean over positions, in the same color"
        ax.plot([], [], color="0.35", linewidth=1.1, linestyle=(0, (1, 2)), label=label)
    if exact is not None and by == "n":
        ax.plot([], [], color="0.35", linestyle="--", label="exact posterior, in the same color")
    if exact is not None and x == "n":
        ax.plot(exact.n, exact["median"], color="0.35", linestyle=":", marker="_", label="exact posterior")
    ax.set_ylim(bottom=0)
    ax.set_ylabel(rf"$M_\mathrm{{{measure}}}$ (median)" if not means else rf"$M_\mathrm{{{measure}}}$")
    if x == "n":
        ax.set_xticks(sorted(rows.n.unique()))
        ax.set_xlabel("n")
    else:
        _step_axis(ax, "training steps")
        if log:
            _log_steps(ax)
    return ax


def share_name(share: float) -> str:
    """Write a share of the teacher's training.

    >>> share_name(0.25), share_name(1.0), share_name(1.5), share_name(2)
    ('T₀/4', 'T₀', '3T₀/2', '2T₀')
    """
    f = Fraction(share).limit_denominator(100)
    return ("" if f.numerator == 1 else str(f.numerator)) + "T₀" + f"/{f.denominator}" * (f.denominator > 1)


def plot_horizons(
    table: pd.DataFrame,
    ax: Axes,
    ceiling: float | None = None,
    looks: Mapping[str, tuple[str, str, Any]] | None = None,
    *,
    reference: str = "posterior",
) -> Axes:
    """Draw what students reach by the end against how long they are trained, a line a method.

    Parameters
    ----------
    table
        `seed`, `horizon` (share of the teacher's steps), `method`, `step`, `accuracy`; the last step of each run counts.
        Error bars are 95 % intervals over seeds.
    ax
        Where to draw.
    ceiling
        Accuracy of a reference predictor, a dotted line.
    looks
        Which methods, in which order, with name, color and line; by default those of `METHODS`.
    reference
        Which predictor that is, a key of `REFERENCES`; by default the exact posterior.
    """
    looks = looks or METHODS
    final = last_rows(table, ["seed", "horizon", "method"])
    order = [method for method in looks if method in set(final.method)]
    for i, method in enumerate(order):
        name, color, line = looks[method]
        mean = curve(final[final.method == method], "accuracy", "horizon")
        x = mean.horizon * 2.0 ** (0.07 * (i - (len(order) - 1) / 2))  # error bars side by side
        label, marker = f"{name} (n = {int(mean.n.max())})", MARKERS[i % len(MARKERS)]
        _error_bars(ax, x, mean, label, color=color, linestyle=line, marker=marker)
    if ceiling is not None:
        _name_lines(ax, {REFERENCES[reference]: ceiling})
    horizons = sorted(final.horizon.unique())
    ax.set_xscale("log", base=2)
    ax.set_xticks(horizons, [share_name(h) for h in horizons])
    ax.minorticks_off()
    ax.set_xlabel("student's training steps (T₀: the teacher's)")
    ax.set_ylabel("final held-out accuracy")
    return ax


def plot_rates(
    tuning: pd.DataFrame,
    ax: Axes,
    rates: pd.DataFrame | None = None,
    looks: Mapping[str, tuple[str, str, Any]] | None = None,
) -> Axes:
    """Draw what methods reach by the end at each learning rate that was tried, a line a method.

    Parameters
    ----------
    tuning
        `seed`, `method`, `learning_rate`, `step`, `accuracy`; the last step of each run counts. A run that diverged has no
        row. Error bars are 95 % intervals over the tuning ancestries.
    ax
        Where to draw.
    rates
        `method`, `learning_rate`: those chosen, marked by a ring.
    looks
        As in `plot_horizons`; methods without a look are named as they are.
    """
    looks = looks or METHODS
    final = last_rows(tuning, ["seed", "method", "learning_rate"])
    names = sorted(set(final.method), key=lambda m: list(looks).index(m) if m in looks else len(looks))
    for i, method in enumerate(names):
        name, color, line = looks.get(method, (method, GAINS[i % len(GAINS)], "-"))
        mean = curve(final[final.method == method], "accuracy", "learning_rate")
        x = mean.learning_rate * 2.0 ** (0.06 * (i - (len(names) - 1) / 2))  # error bars side by side
        _error_bars(ax, x, mean, name, color=color, linestyle=line, marker=MARKERS[i % len(MARKERS)])
        if rates is not None:
            chosen = mean.learning_rate.isin(rates.learning_rate[rates.method == method]).to_numpy()
            ax.plot(x[chosen], mean["mean"][chosen], "o", markersize=11, markerfacecolor="none", color=color)
    tried = sorted(final.learning_rate.unique())
    ax.set_xscale("log", base=2)
    ax.set_xticks(tried, [f"{rate:g}" for rate in tried])
    ax.minorticks_off()
    ax.set_xlabel("learning rate")
    ax.set_ylabel("final held-out accuracy")
    return ax


def plot_gains(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw gains over one-shot distillation in points by setting and length of training: dots, means, 95 % intervals.

    Parameters
    ----------
    table
        `setting`, `horizon` (share of the teacher's steps), `seed`, `gain` (a difference of accuracies, 0.01 being a point):
        a row a seed. Settings are drawn in the order in which they first come, a small dot a seed.
    ax
        Where to draw.
    """
    settings, horizons = list(table.setting.unique()), sorted(table.horizon.unique())
    points = table.assign(gain=100 * table.gain)
    for i, horizon in enumerate(horizons):
        rows = points[points.horizon == horizon]
        mean = curve(rows, "gain", "setting")
        look: dict[str, Any] = {"color": GAINS[i % len(GAINS)], "marker": MARKERS[i % len(MARKERS)]}
        side = 0.8 / len(horizons) * (i - (len(horizons) - 1) / 2)
        x = np.array([settings.index(setting) + side for setting in mean.setting])
        dots = [settings.index(setting) + side - 0.1 for setting in rows.setting]
        ax.scatter(dots, rows.gain, s=10, alpha=0.55, linewidth=0, **look)
        ends = np.where(mean.n > 1, np.stack([mean["mean"] - mean.low, mean.high - mean["mean"]]), np.nan)
        label = f"student trained for {share_name(horizon)} (n = {int(mean.n.max())})"
        ax.errorbar(
            x, mean["mean"], ends, label=label, linestyle="", capsize=3, elinewidth=1.2, markersize=6, **look
        )
    ax.axhline(0, color="0.35", linewidth=1, zorder=1)
    ax.set_xticks(range(len(settings)), [str(setting) for setting in settings])
    ax.set_xlim(-0.5, len(settings) - 0.5)
    ax.grid(visible=False, axis="x")
    ax.set_ylabel("gain over one-shot (points)")
    return ax


def plot_generated(
    table: pd.DataFrame, ax: Axes, looks: Mapping[str, tuple[str, str, Any]] | None = None
) -> Axes:
    """Draw the share of texts that the parser accepts against the length of training, a line a method.

    Parameters
    ----------
    table
        `method`, `horizon` (share of the teacher's steps), `seed`, `accepted`, a row a network, as from
        `pdlib.probes.generation.Generation`. Error bars are 95 % intervals over seeds.
    ax
        Where to draw.
    looks
        Which methods, in which order, with name, color and line; by default those of `METHODS`.
    """
    looks = looks or METHODS
    order = [method for method in looks if method in set(table.method)]
    horizons = sorted(table.horizon.unique())
    ax.axhline(0, color="0.35", linewidth=1, zorder=1)
    for i, method in enumerate(order):
        name, color, line = looks[method]
        mean = curve(table[table.method == method], "accepted", "horizon")
        x = []
        for h in mean.horizon:  # error bars side by side, those that are there in the middle
            there = [m for m in order if ((table.method == m) & (table.horizon == h)).any()]
            x.append(horizons.index(h) + 0.11 * (there.index(method) - (len(there) - 1) / 2))
        look = {"color": color, "linestyle": line, "marker": MARKERS[i % len(MARKERS)]}
        edge: dict[str, Any] = {"markeredgecolor": "0.25", "markeredgewidth": 0.6}
        _error_bars(ax, pd.Series(x), mean, f"{name} (n = {int(mean.n.max())})", **look, **edge)
    top = max(0.1, float(ax.get_ylim()[1]))
    ax.set_ylim(-0.05 * top, top)  # a share of 0 stands clear of the axis
    ax.set_xticks(range(len(horizons)), [share_name(h) for h in horizons])
    ax.set_xlim(-0.5, len(horizons) - 0.5)
    ax.grid(visible=False, axis="x")
    ax.set_xlabel("training steps (T₀: the teacher's)")
    ax.set_ylabel("share of texts accepted")
    return ax


def plot_first_checkpoints(
    table: pd.DataFrame,
    ax: Axes,
    one_shot: pd.DataFrame | None = None,
    teacher: pd.DataFrame | None = None,
    candidates: pd.DataFrame | None = None,
) -> Axes:
    """Draw what (2, T) students reach by the end against the step of their first checkpoint: means, 95 % intervals.

    Parameters
    ----------
    table
        `seed`, `checkpoint` (a step, the same for all seeds, or the name of a candidate), `step`, `accuracy`; the last
        step of each run counts.
    ax
        Where to draw.
    one_shot
        `seed`, `step`, `accuracy` of one-shot students: a dashed line, its interval a band.
    teacher
        `step`, `loss_nats`: its mean loss, scaled to the height of the figure.
    candidates
        `seed`, `candidate` (see `TURNS`), `step`: a candidate is drawn at the mean of its steps, and not without them.
    """
    final = last_rows(table, ["seed", "checkpoint"])
    step = pd.to_numeric(final.checkpoint, errors="coerce")
    grid = curve(final.assign(checkpoint=step)[step.notna()], "accuracy", "checkpoint")
    label = f"first checkpoint of the grid (n = {int(grid.n.max())})"
    _error_bars(ax, grid.checkpoint, grid, label, color=BLACK, marker="o")
    if candidates is not None:
        steps = candidates.groupby("candidate").step.mean()
        for candidate, (name, color, marker) in TURNS.items():
            runs = final[final.checkpoint == candidate]
            if len(runs) and candidate in steps.index:
                mean = curve(runs.assign(place=steps[candidate]), "accuracy", "place")
                edge = {"markeredgecolor": "black", "markeredgewidth": 0.6, "zorder": 5}
                look = {"color": color, "marker": marker, "markersize": 9, "linestyle": ""}
                _error_bars(ax, mean.place, mean, name, **look, **edge)
    if one_shot is not None:
        level = mean_interval(last_rows(one_shot, ["seed"]).accuracy)
        ax.axhline(level.mean, color=ORANGE, linestyle=(0, (5, 1)), label=f"one-shot (n = {level.n})")
        if level.n > 1:
            ax.axhspan(level.low, level.high, color=ORANGE, alpha=0.15, linewidth=0)
    if teacher is not None:
        low, high = ax.get_ylim()
        loss = curve(teacher[teacher.step >= grid.checkpoint.min() / 2], "loss_nats")
        scaled = low + (high - low) * loss["mean"] / loss["mean"].max()
        ax.plot(loss.step, scaled, color="0.5", linewidth=1, linestyle=":", label="teacher's loss, scaled")
        ax.set_ylim(low, high)
    _log_steps(ax)
    ax.set_xlabel("first checkpoint (teacher's training steps)")
    ax.set_ylabel("final held-out accuracy")
    return ax


def plot_nonterminals(
    table: pd.DataFrame,
    ax: Axes,
    by: str,
    looks: Mapping[Any, tuple[str, str, Any]] | None = None,
) -> Axes:
    """Draw how well a linear probe tells the symbols of each level, a line a value of `by`: means, 95 % intervals.

    Parameters
    ----------
    table
        `seed`, `level` (from the root), `accuracy`, `majority`, and `by`.
    ax
        Where to draw.
    by
        Such as `"method"`, or `"step"`, where step 0 is the untrained network.
    looks
        Name, color and line of each value, in order; by default `METHODS`, or shades, light to dark.
    """
    if looks is None and by == "method":
        looks = METHODS
    if looks is None:
        values = sorted(table[by].unique())
        unit = "steps" if by == "step" else by.replace("_", " ")
        names = {v: "untrained" if (by, v) == ("step", 0) else f"{short_number(v)} {unit}" for v in values}
        looks = _shaded(names)
    order = [value for value in looks if value in set(table[by])]
    for i, value in enumerate(order):
        name, color, line = looks[value]
        mean = curve(table[table[by] == value], "accuracy", "level")
        x = mean.level + 0.05 * (i - (len(order) - 1) / 2)
        label, marker = f"{name} (n = {int(mean.n.max())})", MARKERS[i % len(MARKERS)]
        _error_bars(ax, x, mean, label, color=color, linestyle=line, marker=marker)
    base = curve(table, "majority", "level")
    label = "always the most frequent symbol"
    ax.plot(base.level, base["mean"], color="0.35", linestyle=":", marker="_", markersize=12, label=label)
    ax.set_xticks(sorted(table.level.unique()))
    ax.set_xlabel("level, from the root")
    ax.set_ylabel("accuracy of the probe")
    return ax


# ------------------------------------------------------------------ interactive


class Interactive:
    """A figure that reacts to a slider, as plain HTML: inline SVG and a range input, no library, no network.

    IPython shows it by `_repr_html_`. It reads from a file, is worked by keyboard, and follows the page's
    text color, so it suits light and dark.
    """

    def __init__(self, markup: str) -> None:
        self.markup = markup

    def _repr_html_(self) -> str:
        return self.markup

    def __repr__(self) -> str:
        return "interactive figure"


_W, _H, _L, _R, _T, _B = 340, 260, 58, 16, 34, 56  # a panel's size and margins, pixels
_BASE = _H - _B


def _scaled(value: float, low: float, high: float, a: float, b: float) -> float:
    return round(a + (value - low) / (high - low) * (b - a), 1)


def _height(value: float, y: tuple[float, float]) -> float:
    return _scaled(min(max(value, y[0]), y[1]), *y, _BASE, _T)


def _path(run: pd.DataFrame, x_max: float, y: tuple[float, float], value: str = "accuracy") -> str:
    points = zip(run.step.tolist(), run[value].tolist(), strict=True)
    return "M" + "L".join(f"{_scaled(px, 0, x_max, _L, _W - _R)} {_height(py, y)}" for px, py in points)


def _text(x: float, y: float, text: str, anchor: str = "middle", size: int = 15) -> str:
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}" fill="currentColor">'
        f"{html.escape(text)}</text>"
    )


def _panel(title: str, described: str, y: tuple[float, float], ticks: Sequence[float], content: str) -> str:
    """Return an SVG with a title, horizontal grid lines and the content."""
    parts = [
        f'<svg viewBox="0 0 {_W} {_H}" style="flex:1 1 210px;min-width:0" role="img" aria-label="{html.escape(described)}">',
        _text(_L, 20, title, "start", 17),
    ]
    for tick in ticks:
        py = _height(tick, y)
        parts.append(f'<path d="M{_L} {py}H{_W - _R}" stroke="currentColor" stroke-opacity=".2"/>')
        parts.append(_text(_L - 6, py + 5, f"{tick:g}", "end"))
    return "".join(parts) + content + "</svg>"


def _step_ticks(x_max: float) -> str:
    ends = ((0.0, "start"), (0.5, "middle"), (1.0, "end"))
    ticks = [
        _text(_L + share * (_W - _R - _L), _BASE + 20, short_number(share * x_max), anchor)
        for share, anchor in ends
    ]
    return "".join(ticks) + _text((_L + _W - _R) / 2, _H - 8, "training steps")


def _moving(tag: str, part: str, state: Mapping[str, Any], look: str) -> str:
    """Return an element of which the slider sets some attributes, as they are in this state."""
    moved = "".join(f' {name}="{value}"' for name, value in state["parts"][part].items())
    return f'<{tag} data-pd="{part}"{moved} {look}/>'


def _dot(x: float, y: float) -> dict[str, float]:
    return {"cx": x, "cy": y}


def _bar(y: float) -> dict[str, float]:
    return {"y": y, "height": round(_BASE - y, 1)}


def _slider(
    name: str, states: Sequence[Mapping[str, Any]], panels: Sequence[str], above: str = ""
) -> Interactive:
    """Return panels under a slider, which sets the attributes of their moving parts and says the state's text."""
    ident = f"pd-{name}"
    script = _SCRIPT.replace("IDENT", ident).replace("STATES", json.dumps(states))
    return Interactive(
        f'<div class="pd-interactive" id="{ident}">'
        f'<label for="{ident}-slider">Teacher checkpoint (the arrow keys move the slider)</label><br>'
        f'<input id="{ident}-slider" type="range" min="0" max="{len(states) - 1}" step="1" value="0"'
        f' style="width:min(100%,520px)">{above}'
        f'<div style="display:flex;flex-wrap:wrap">{"".join(panels)}</div>'
        f'<p data-pd="out" aria-live="polite">{html.escape(states[0]["text"])}</p>'
        f"<script>{script}</script></div>"
    )


def interactive_checkpoints(
    teacher: pd.DataFrame, correlations: pd.DataFrame, students: pd.DataFrame, *, name: str = "checkpoints"
) -> Interactive:
    """Return a slider over teacher checkpoints: their correlations, and what a student of each becomes.

    Parameters
    ----------
    teacher
        `step`, `accuracy` of one teacher.
    correlations
        `step`, `degree`, `group`, `mean`, `noise_floor`, for at least the checkpoints on the slider.
    students
        `checkpoint`, `step`, `accuracy`: the (2, T) student of each checkpoint.
    name
        Identifier of the figure within its page.

    Raises
    ------
    ValueError
        If there is no checkpoint with a student.
    """
    checkpoints = sorted(int(c) for c in students.checkpoint.unique())
    if not checkpoints:
        raise ValueError("no students: expected at least one checkpoint on the slider.")
    unit = (0.4, 1.0)  # range of the accuracy axes
    t_max, s_max = float(teacher.step.max()), float(students.step.max())
    accuracy = dict(zip(teacher.step.tolist(), teacher.accuracy.tolist(), strict=True))
    degree_1 = correlations[correlations.degree == 1]
    floor = float(degree_1.noise_floor.mean())
    size = {group: rows.set_index("step")["mean"].to_dict() for group, rows in degree_1.groupby("group")}
    top = (0.0, 1.15 * max(size[group][c] for group in GROUPS for c in checkpoints))
    states: list[dict[str, Any]] = []
    for c in checkpoints:
        run = students[students.checkpoint == c].sort_values("step")
        inside, off = size["in_support"][c], size["off_support"][c]
        states.append(
            {
                "parts": {
                    "dot": _dot(_scaled(c, 0, t_max, _L, _W - _R), _height(accuracy[c], unit)),
                    "in": _bar(_height(inside, top)),
                    "off": _bar(_height(off, top)),
                    "path": {"d": _path(run, s_max, unit)},
                },
                "text": f"Checkpoint {short_number(c)}: teacher accuracy {accuracy[c]:.2f}; mean correlation in the "
                f"support {inside:.3f}, off it {off:.3f}; the student ends at {run.accuracy.iloc[-1]:.2f}.",
            }
        )
    first = states[0]
    line = f'<path d="{_path(teacher, t_max, unit)}" fill="none" stroke="currentColor" stroke-width="1.8"/>'
    dot = _moving("circle", "dot", first, f'r="6" fill="{GREEN}" stroke="currentColor"')
    bars = f'<path d="M{_L} {_height(floor, top)}H{_W - _R}" stroke="currentColor" stroke-dasharray="4 3"/>'
    for key, x, color, text in (("in", 95, RED, "in the support"), ("off", 215, BLUE, "off the support")):
        bars += _moving("rect", key, first, f'x="{x}" width="60" fill="{color}"')
        bars += _text(x + 30, _BASE + 20, text)
    student = _moving("path", "path", first, f'fill="none" stroke="{GREEN}" stroke-width="2"')
    panels = (
        _panel(
            "teacher's accuracy",
            "Accuracy of the teacher against training steps; a dot marks the chosen checkpoint.",
            unit,
            (0.5, 0.75, 1.0),
            line + dot + _step_ticks(t_max),
        ),
        _panel(
            "mean |correlation|, degree 1",
            "Mean absolute degree-1 correlation of the chosen checkpoint, in and off the support; dashed: noise floor.",
            top,
            [round(top[1] * share, 3) for share in (0, 0.5, 1)],
            bars,
        ),
        _panel(
            "accuracy of its (2, T) student",
            "Accuracy of the student taught by the chosen checkpoint against training steps.",
            unit,
            (0.5, 0.75, 1.0),
            student + _step_ticks(s_max),
        ),
    )
    return _slider(name, states, panels)


def _ticks(y: tuple[float, float]) -> list[float]:
    return [float(tick) for tick in MaxNLocator(3).tick_values(*y) if y[0] <= tick <= y[1]]


def interactive_curriculum(
    teacher: pd.DataFrame,
    ngrams: pd.DataFrame,
    predictions: pd.DataFrame,
    truth: Sequence[int],
    *,
    name: str,
    names: Sequence[Any],
) -> Interactive:
    """Return a slider over checkpoints of a teacher of masked prediction: loss, dependence on n-grams, one prediction.

    Parameters
    ----------
    teacher
        `step`, `loss_nats` of one teacher.
    ngrams
        `step`, `measure` (`robust`, `close`), `n`, `median`, of its checkpoints.
    predictions
        `step`, `position`, `token`, `probability`: what its checkpoints predict at one position of one sentence, that
        token alone removed, as from `pdlib.probes.ngrams.Predictions`.
    truth
        The sentence's tokens.
    name
        Identifier of the figure within its page.
    names
        What each token is called; a class beyond them, as [mask] is, is not drawn.

    Raises
    ------
    ValueError
        If no step has its loss, measures and a prediction, or the predictions are not of one position of the sentence.
    """
    steps = sorted(set(teacher.step) & set(ngrams.step) & set(predictions.step))
    if not steps:
        raise ValueError("no checkpoints: expected at least one step that all three tables share.")
    positions = predictions.position.unique().tolist()
    if len(positions) != 1 or not 0 <= positions[0] < len(truth):
        raise ValueError(f"positions {positions}: expected one, from 0 to {len(truth) - 1}.")
    position, right = positions[0], truth[positions[0]]
    t_max, sizes = float(teacher.step.max()), sorted(ngrams.n.unique().tolist())
    loss_top, top = (
        (0.0, 1.05 * float(teacher.loss_nats.max())),
        (0.0, 1.1 * float(ngrams["median"].max()) or 1.0),
    )
    loss = teacher.set_index("step").loss_nats.to_dict()
    median = ngrams.set_index(["step", "measure", "n"])["median"].to_dict()
    chance = predictions.set_index(["step", "token"]).probability.to_dict()
    states: list[dict[str, Any]] = []
    for c in steps:
        parts = {"dot": _dot(_scaled(c, 0, t_max, _L, _W - _R), _height(loss[c], loss_top))}
        parts |= {f"{m}-{n}": _bar(_height(median[c, m, n], top)) for m in ("robust", "close") for n in sizes}
        parts |= {f"token-{t}": _bar(_height(chance[c, t], (0.0, 1.0))) for t in range(len(names))}
        robust, close = (", ".join(f"{median[c, m, n]:.2f}" for n in sizes) for m in ("robust", "close"))
        text = (
            f"Checkpoint {short_number(c)}: loss {loss[c]:.2f}; for n = {', '.join(map(str, sizes))}, M_robust {robust} "
            f"and M_close {close}; the true token {names[right]} is given probability {chance[c, right]:.2f}."
        )
        states.append({"parts": parts, "text": text})
    first = states[0]
    line = f'<path d="{_path(teacher, t_max, loss_top, "loss_nats")}" fill="none" stroke="currentColor" stroke-width="1.8"/>'
    dot = _moving("circle", "dot", first, f'r="6" fill="{GREEN}" stroke="currentColor"')
    filled, open_ = f'fill="{BLUE}"', f'fill="none" stroke="{ORANGE}" stroke-width="3"'
    measures, tokens = "", ""
    for i, n in enumerate(sizes):
        each = (_W - _R - _L) / len(sizes)
        x, width = _L + i * each, round(0.34 * each, 1)
        measures += _moving(
            "rect", f"robust-{n}", first, f'x="{x + 0.12 * each:.1f}" width="{width}" {filled}'
        )
        measures += _moving("rect", f"close-{n}", first, f'x="{x + 0.54 * each:.1f}" width="{width}" {open_}')
        measures += _text(round(x + each / 2, 1), _BASE + 20, f"n = {n}")
    for t, called in enumerate(names):
        each = (_W - _R - _L) / len(names)
        x = _L + t * each
        look = (
            f'fill="{GREEN}" stroke="currentColor"'
            if t == right
            else 'fill="currentColor" fill-opacity=".35"'
        )
        tokens += _moving(
            "rect", f"token-{t}", first, f'x="{x + 0.2 * each:.1f}" width="{0.6 * each:.1f}" {look}'
        )
        tokens += _text(round(x + each / 2, 1), _BASE + 20, str(called))
        if t == right:
            tokens += _text(round(x + each / 2, 1), _BASE + 38, "▲ true")
    panels = (
        _panel(
            "held-out loss (nats)",
            "Loss of the teacher against training steps; a dot marks the chosen checkpoint.",
            loss_top,
            _ticks(loss_top),
            line + dot + _step_ticks(t_max),
        ),
        _panel(
            "M_robust (filled), M_close (open)",
            "Medians of M_robust, filled bars, and M_close, open bars, of the chosen checkpoint, for each n.",
            top,
            _ticks(top),
            measures,
        ),
        _panel(
            "probability of each token",
            f"What the chosen checkpoint predicts at the removed position; the true token is {names[right]}.",
            (0.0, 1.0),
            (0, 0.5, 1),
            tokens,
        ),
    )
    shown = [html.escape(str(names[t])) for t in truth]
    shown[position] = "<strong>[mask]</strong>"
    return _slider(name, states, panels, f"<p>Sentence: {' '.join(shown)}</p>")


_SCRIPT = """
(() => {
  const root = document.getElementById("IDENT"), states = STATES;
  const part = (name) => root.querySelector(`[data-pd="${name}"]`);
  const slider = root.querySelector("input");
  const show = (i) => {
    const state = states[i];
    for (const [name, moved] of Object.entries(state.parts)) {
      for (const [attribute, value] of Object.entries(moved)) part(name).setAttribute(attribute, value);
    }
    part("out").textContent = state.text;
    slider.setAttribute("aria-valuetext", state.text);
  };
  slider.addEventListener("input", () => show(+slider.value));
  show(0);
})();
"""
