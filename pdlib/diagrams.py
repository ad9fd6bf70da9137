"""Diagrams by hand: trees, sentences and what is asked of them, the inside of one network, figures under a slider.

As in `pdlib.figures`, whose colors these are: a tidy table and axes in, the axes out, and no torch.
"""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pdlib import figures
from pdlib.figures import (
    BLUE,
    GREEN,
    GROUPS,
    LEVELS,
    MARKERS,
    ORANGE,
    RED,
    SKY,
    Style,
    short_number,
    step_axis,
)

# kind of position -> (name in legends, color, hatch)
SHOWN = {
    "left": ("not selected", "white", ""),
    "mask": ("selected, shown as [mask]", SKY, "////"),
    "random": ("selected, shown as a random token", ORANGE, "...."),
    "kept": ("selected, shown as it is", GREEN, "\\\\\\\\"),
}
WHITE: Style = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}  # behind a text
CENTERED: Style = {"ha": "center", "va": "center"}


def _bare(ax: Axes) -> Axes:
    """Leave of the axes only the names of the rows; such a figure says nothing when it is narrow."""
    ax.figure.set_gid(figures.WHOLE)
    ax.set_xticks([])
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return ax


def plot_tree(tree: pd.DataFrame, ax: Axes, path: Sequence[str] = ()) -> Axes:
    """Draw a decision tree, its features in boxes and the product that each branch stands for; a path may stand out.

    `tree` comes from `pdlib.tables.tree_rows`; `path` names its nodes from the root on.
    """
    rows: list[dict[Any, Any]] = tree.to_dict("records")
    at = {row["child"]: (float(row["place"]), -float(row["depth"])) for row in rows}
    for row in rows:
        child, leaf = row["child"], row["child"].startswith("class")
        chosen = child in path
        (x1, y1), color = at[child], RED if chosen else "0.3"
        if row["parent"]:
            x0, y0 = at[row["parent"]]
            ax.plot([x0, x1], [y0, y1], zorder=1, color=RED if chosen else "0.6", linewidth=1 + chosen)
            sign = f"{row['sign']:+d}".replace("-", "−")
            ax.text(0.45 * x0 + 0.55 * x1, 0.45 * y0 + 0.55 * y1, sign, fontsize=8, bbox=WHITE, **CENTERED)
        box: Style = {"boxstyle": f"{'round' if leaf else 'square'},pad=0.3", "facecolor": "white"}
        box |= {"edgecolor": color, "linewidth": 1.6 if chosen else 0.8}
        text = row["text"] if leaf else f"node {child}\n{row['text']}"
        ax.text(x1, y1, text, fontsize=7.5, bbox=box, zorder=2, **CENTERED)
    ax.set_xlim(0, 1)
    ax.set_ylim(-tree.depth.max() - 0.4, 0.4)
    ax.axis("off")
    return ax


def plot_parse(spans: pd.DataFrame, ax: Axes) -> Axes:
    """Draw the grammar tree of one sentence over its tokens; dots below mark the last token of each span.

    `spans` has `level` (0 is the root), `symbol`, `start`, `stop`: the symbols of every level, from left to right. The
    last level are the tokens.
    """
    depth = int(spans.level.max())
    placed = spans.assign(x=(spans.start + spans.stop - 1) / 2)
    box: Style = {"boxstyle": "round,pad=0.22", "facecolor": "white", "linewidth": 0.8}
    for x, level, symbol, start, stop in (
        placed[["x", "level", "symbol", "start", "stop"]].to_numpy().tolist()
    ):
        below = (spans.level == level + 1) & (spans.start >= start) & (spans.stop <= stop)
        for child in placed.x[below].tolist():
            ax.plot([x, child], [-level, -level - 1], color="0.6", linewidth=0.8, zorder=1)
        edge = "0.4" if level < depth else "none"
        ax.text(x, -level, str(symbol), fontsize=8.5, bbox=box | {"edgecolor": edge}, zorder=2, **CENTERED)
    for level in range(depth):
        last = spans[spans.level == level].stop - 1
        look: Style = {"color": LEVELS[level % len(LEVELS)][0], "marker": MARKERS[level % len(MARKERS)]}
        heights = np.full(len(last), -depth - 0.6 - 0.3 * level)
        ax.scatter(last, heights, s=16, label=f"last token of a span of level {level}", **look)
    ax.set_yticks(range(-depth, 1), [str(level) for level in range(depth, -1, -1)])
    ax.set_ylim(-depth - 0.6 - 0.3 * depth, 0.5)
    ax.set_ylabel("level, from the root")
    return _bare(ax)


def plot_masking(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw a sentence, what the network is shown of it, and what it is asked for.

    `table` has `position`, `original`, `shown`, `selected`; tokens by their names, a removed one "[mask]". With a column
    `p_NAME` per token a fourth row draws these probabilities at the selected positions, the original's dark.
    """
    probabilities = [name for name in table.columns if name.startswith("p_")]
    rows = ["sentence", "what is shown", "what is asked for", *["probabilities"] * bool(probabilities)]
    named: set[str] = set()

    def box(x: float, y: float, width: float, height: float, name: str, **look: Any) -> None:
        label = None if name in named else name
        ax.add_patch(Rectangle((x, y), width, height, label=label, **look))
        named.add(name)

    def cell(x: float, row: int, kind: str, text: str) -> None:
        name, color, hatch = SHOWN[kind]
        look = {"facecolor": color, "hatch": hatch, "edgecolor": "0.35", "linewidth": 0.6}
        box(x - 0.46, -row - 0.4, 0.92, 0.8, name, **look)
        size = 9 if len(text) < 3 else 6.5
        ax.text(x, -row, text, fontsize=size, bbox=WHITE if hatch else None, **CENTERED)

    for row in table.to_dict("records"):
        x, original, shown = float(row["position"]), str(row["original"]), str(row["shown"])
        kind = "mask" if shown == "[mask]" else "kept" if shown == original else "random"
        cell(x, 0, "left", original)
        cell(x, 1, kind if row["selected"] else "left", shown)
        if not row["selected"]:
            continue
        cell(x, 2, "left", original)
        for i, name in enumerate(probabilities):
            what = "the original's probability" if name == f"p_{original}" else "another token's probability"
            width, color = 0.8 / len(probabilities), "0.25" if name == f"p_{original}" else "white"
            left, height = x - 0.4 + i * width, 0.75 * float(row[name])
            box(left, -3.4, 0.85 * width, height, what, facecolor=color, edgecolor="0.25")
            ax.text(left + 0.42 * width, -3.46, name[2:], fontsize=5.5, ha="center", va="top")
    ax.set_yticks([-float(i) for i in range(len(rows))], rows)
    ax.set_xlim(table.position.min() - 0.6, table.position.max() + 0.6)
    ax.set_ylim(-len(rows) + 0.3 if probabilities else -2.5, 0.5)
    return _bare(ax)


def plot_boundaries(table: pd.DataFrame, ax: Axes, levels: Sequence[int] | None = None) -> Axes:
    """Draw a sentence and in rows, by level, its spans: a line over the tokens of each, a mark under the last one.

    `table` has `position`, `token`, `level`: the highest level, counted from the leaves, of which a span ends there; 1
    where only the token itself does. `levels` are drawn from the top down, by default 2 to the highest.
    """
    rows = table.sort_values("position")
    levels = levels or range(2, int(rows.level.max()) + 1)
    place = rows.position.to_numpy(dtype=float)
    first, last = place[0], place[-1]
    each = 72 * float(ax.figure.bbox.width / ax.figure.dpi) * 0.85 / (last - first + 1)  # points for a token
    written = each > 3.5  # shorter ones could not be read
    if written:
        for x, token in zip(place, rows.token, strict=True):
            ax.text(x, 0, str(token), fontsize=min(10, 1.3 * each), **CENTERED)
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
    return _bare(ax)


def _between(
    run: pd.DataFrame, ax: Axes, columns: tuple[str, str, str], label: str, color: str, line: Any
) -> None:
    """Draw one column against steps within a band from another to a third."""
    middle, low, high = (run[column] for column in columns)
    ax.plot(run.step, middle, color=color, linestyle=line, label=label)
    ax.fill_between(run.step, low, high, color=color, alpha=0.15, lw=0)


def plot_correlation_seeds(table: pd.DataFrame, teacher: pd.DataFrame, ax: Axes) -> Axes:
    """Draw one teacher's degree-1 correlations, means within smallest and largest, and its accuracy, scaled.

    `table` as in `plot_correlations`, for one run, with `minimum`.
    """
    rows = table[table.degree == 1]
    for group, look in GROUPS.items():
        _between(rows[rows.group == group], ax, ("mean", "minimum", "maximum"), *look)
    scaled = teacher.accuracy * float(rows.maximum.max())
    ax.plot(teacher.step, scaled, color="0.3", linestyle=":", linewidth=1, label="accuracy, scaled")
    return figures.correlation_axes(rows, ax, 1)


def plot_attention(table: pd.DataFrame, teacher: pd.DataFrame, ax: Axes) -> Axes:
    """Draw one teacher's path mass on a coordinate on and off the support beside its accuracy.

    `table` is that of `pdlib.probes.attention.AttentionPaths` for one run, step 0 being the untrained network, whose
    values are drawn on as thin lines; bands reach from the 5th to the 95th percentile over inputs. The shaded steps are the
    teacher's transition, accuracy between 0.55 and 0.99.
    """
    words = {"on_coordinate": "on a coordinate of the support", "off_coordinate": "on another coordinate"}
    for (name, text), (_, color, line) in zip(words.items(), GROUPS.values(), strict=True):
        _between(table, ax, (name, f"{name}_low", f"{name}_high"), text, color, line)
        start = float(table.loc[table.step == 0, name].iloc[0])
        ax.axhline(start, color=color, linewidth=0.8, linestyle=":", label=f"{text}, untrained")
    scaled = teacher.accuracy * table[["on_coordinate_high", "off_coordinate_high"]].to_numpy().max()
    ax.plot(teacher.step, scaled, color="0.4", linestyle="--", linewidth=1, label="accuracy, scaled")
    moving = teacher[teacher.accuracy.between(0.55, 0.99)]
    if len(moving):
        ax.axvspan(moving.step.min(), moving.step.max(), color="0.5", alpha=0.12, lw=0, label="transition")
    ax.set(ylim=(0, None), ylabel="attention along length-2 paths")
    return step_axis(ax)


TEXT = "#010203"  # stands for the color of the page's text, so that a panel suits light and dark
_RC: Any = {
    **{f"{part}.color": TEXT for part in ("text", "xtick", "ytick", "grid")},
    **{"axes.labelcolor": TEXT, "axes.edgecolor": TEXT, "axes.axisbelow": True, "axes.grid.axis": "y"},
    **{"svg.fonttype": "none", "svg.hashsalt": "pdlib"},
}


@dataclass(frozen=True, repr=False)
class Interactive:
    """A figure that reacts to a slider, as plain HTML: inline SVG and a range input, no library, no network.

    It reads from a file, is worked by keyboard, and follows the page's text color, so it suits light and dark.
    """

    markup: str

    def _repr_html_(self) -> str:
        """IPython's hook."""
        return self.markup

    def __repr__(self) -> str:
        return "interactive figure"


class Panel:
    """Axes of which some parts are shown in one state of the slider only; `described` goes on where the title ends."""

    def __init__(self, title: str, described: str, top: float, bottom: float = 0) -> None:
        self.words = html.escape(f"{title}, {described}")
        self.figure = Figure(figsize=(3.0, 2.4), layout="constrained")
        self.ax = self.figure.add_subplot(ylim=(bottom, top))
        self.ax.set_title(title, loc="left", fontsize=10.5)
        self.ax.locator_params(nbins=3)

    def only(self, state: int, *artists: Artist) -> None:
        """Show these artists in this state only."""
        for artist in artists:
            artist.set_gid(f"state-{state}")

    def against_steps(self, run: pd.DataFrame, y: str, steps: Sequence[int | Sequence[int]]) -> None:
        """Draw a teacher's curve; dots mark the step, or the steps, of each state."""
        self.ax.plot(run.step, run[y], color=TEXT)
        for i, of_state in enumerate(steps):
            marked = run[run.step.isin(np.atleast_1d(of_state))]
            self.only(i, *self.ax.plot(marked.step, marked[y], "o", color=GREEN, markeredgecolor=TEXT))
        step_axis(self.ax)

    def svg(self, start: int = 0) -> str:
        """Return the panel as an SVG within a page, in which the state `start` is shown."""
        self.figure.savefig(file := io.StringIO(), format="svg", transparent=True)
        text = file.getvalue().replace(TEXT, "currentColor").partition("<svg")[2]
        text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
        text = re.sub(r' (xmlns(:\w+)?|width|height)="(http|[\d.]+pt)[^"]*"', "", text)
        text = re.sub(r'id="state-(\d+)"', r'data-state="\1" style="display:none"', text)
        text = text.replace(f'data-state="{start}" style="display:none"', f'data-state="{start}"')
        text = re.sub(r'<g id="[^"]*"', "<g", text)  # the same in each panel
        return f'<svg role="img" aria-label="{self.words}" style="flex:1 1 210px;min-width:0"{text}'


def slider(
    name: str,
    texts: Sequence[str],
    panels: Sequence[Panel],
    above: str = "",
    start: int = 0,
    what: str = "Teacher checkpoint",
) -> Interactive:
    """Return panels under a slider with a state for each text, which is said too; it opens at the state `start`.

    `name` is the figure's in its page, `what` says what the slider chooses.
    """
    ident = f"pd-{name}"
    return Interactive(
        f'<div class="pd-interactive" id="{ident}">'
        f'<label for="{ident}-slider">{what} (the arrow keys move the slider)</label><br>'
        f'<input id="{ident}-slider" type="range" min="0" max="{len(texts) - 1}" step="1" value="{start}"'
        f' style="width:min(100%,520px)">{above}'
        f'<div style="display:flex;flex-wrap:wrap">{"".join(panel.svg(start) for panel in panels)}</div>'
        f'<p aria-live="polite">{html.escape(texts[start])}</p>'
        f"<script>{_SCRIPT.replace('IDENT', ident).replace('TEXTS', json.dumps(texts))}</script></div>"
    )


_SCRIPT = """
(() => {
  const root = document.getElementById("IDENT"), texts = TEXTS, slider = root.querySelector("input");
  const show = () => {
    for (const part of root.querySelectorAll("[data-state]"))
      part.style.display = part.dataset.state === slider.value ? "" : "none";
    root.querySelector("[aria-live]").textContent = texts[slider.value];
    slider.setAttribute("aria-valuetext", texts[slider.value]);
  };
  slider.addEventListener("input", show);
  show();
})();
"""


@mpl.rc_context(_RC)
def interactive_checkpoints(
    teacher: pd.DataFrame,
    correlations: pd.DataFrame,
    students: pd.DataFrame,
    *,
    name: str = "checkpoints",
) -> Interactive:
    """Return a slider over teacher checkpoints: their correlations, and what a student of each becomes.

    `teacher` has `step`, `accuracy` of one teacher; `correlations` `step`, `degree`, `group`, `mean`, `noise_floor`, for at
    least the checkpoints on the slider; `students` `checkpoint`, `step`, `accuracy`, the (2, T) student of each
    checkpoint. No student is a ValueError. `name` is that of the figure in its page. It opens at the checkpoint whose
    student is the most accurate in the mean over its run.
    """
    checkpoints = sorted(int(c) for c in students.checkpoint.unique())
    if not checkpoints:
        raise ValueError("no students: expected at least one checkpoint on the slider.")
    degree_1 = correlations[correlations.degree == 1]
    size = degree_1[degree_1.step.isin(checkpoints)].set_index(["step", "group"])["mean"]
    accuracy = teacher.set_index("step").accuracy
    own = Panel("teacher's accuracy", "against training steps; a dot marks the chosen checkpoint", 1.03, 0.4)
    bars = Panel(
        "mean |correlation|, degree 1", "of the checkpoint; dashed: the noise floor", 1.15 * size.max()
    )
    student = Panel("accuracy of its (2, T) student", "against the student's training steps", 1.03, 0.4)
    own.against_steps(teacher, "accuracy", checkpoints)
    bars.ax.axhline(degree_1.noise_floor.mean(), color=TEXT, linestyle="--", linewidth=1)
    names, colors, _ = zip(*GROUPS.values(), strict=True)
    texts = []
    for i, c in enumerate(checkpoints):
        run = students[students.checkpoint == c].sort_values("step")
        inside, off = (float(size[c, group]) for group in GROUPS)
        bars.only(i, *bars.ax.bar(names, [inside, off], 0.5, color=colors))
        student.only(i, *student.ax.plot(run.step, run.accuracy, color=GREEN))
        texts.append(
            f"Checkpoint {short_number(c)}: teacher accuracy {accuracy[c]:.2f}; mean correlation in the support "
            f"{inside:.3f}, off it {off:.3f}; the student ends at {run.accuracy.iloc[-1]:.2f}."
        )
    step_axis(student.ax)
    start = int(np.argmax(students.groupby("checkpoint").accuracy.mean()))  # groups rise as checkpoints do
    return slider(name, texts, (student, own, bars), start=start)


@mpl.rc_context(_RC)
def interactive_choices(
    teacher: pd.DataFrame,
    features: pd.DataFrame,
    students: pd.DataFrame,
    choices: Mapping[str, Mapping[str, int]],
    *,
    name: str,
) -> Interactive:
    """Return a slider over choices of one or more checkpoints of a decision tree's teacher: what their student becomes.

    `teacher` has `step`, `accuracy` of one teacher; `features` `step`, `node`, `mean` of its correlations with pairs of each
    node's feature, node 0 being the rest; `students` `method`, `step`, `accuracy`, one run a choice; `choices` gives each
    method, in the order of the slider, its checkpoints: what each is called, and its step. No student is a ValueError. It
    opens at the choice whose student is the most accurate in the mean over its run.
    """
    shown = [method for method in choices if method in set(students.method)]
    if not shown:
        raise ValueError("no students: expected at least one choice on the slider.")
    steps = [list(choices[method].values()) for method in shown]
    hints = features.pivot(index="step", columns="node", values="mean")
    rest, hints = hints[0], hints.drop(columns=0)
    nodes = [str(node) for node in hints.columns]
    student = Panel("accuracy of the student", "against the student's training steps", 1.03)
    seen = Panel(
        "hints at the nodes",
        "mean |correlation|, degree 2, where largest; dashed: the rest",
        1.1 * hints.max().max(),
    )
    own = Panel("teacher's accuracy", "against training steps; dots mark the chosen checkpoints", 1.03)
    own.against_steps(teacher, "accuracy", steps)
    texts = []
    for i, (method, of_choice) in enumerate(zip(shown, steps, strict=True)):
        run = students[students.method == method].sort_values("step")
        kept = hints.reindex(of_choice)
        seen.only(i, *seen.ax.bar(nodes, kept.max().fillna(0), 0.6, color=RED))
        seen.only(i, seen.ax.axhline(rest.reindex(of_choice).max(), color=TEXT, linestyle="--", linewidth=1))
        student.only(i, *student.ax.plot(run.step, run.accuracy, color=GREEN))
        called = " and ".join(f"{sign} ({short_number(step)})" for sign, step in choices[method].items())
        stands = hints.columns[(kept.gt(2 * rest.reindex(of_choice), axis=0)).any()]
        hinted = f"node{'s' * (len(stands) > 1)} {', '.join(map(str, stands))}" if len(stands) else "no node"
        texts.append(
            f"Taught by {called}: pairs stand out at {hinted}; the student ends at {run.accuracy.iloc[-1]:.2f}."
        )
    seen.ax.set_xlabel("node of the tree")
    step_axis(student.ax)
    means = students.groupby("method").accuracy.mean()
    start = int(np.argmax([means[method] for method in shown]))
    return slider(name, texts, (student, seen, own), start=start, what="Checkpoints that teach first")


@mpl.rc_context(_RC)
def interactive_curriculum(
    teacher: pd.DataFrame,
    ngrams: pd.DataFrame,
    predictions: pd.DataFrame | None = None,
    truth: Sequence[int] = (),
    *,
    name: str,
    names: Sequence[Any] = (),
) -> Interactive:
    """Return a slider over checkpoints of a teacher of sequences: loss, dependence on n-grams, and what it predicts.

    `teacher` has `step`, `loss_nats`, `accuracy`; `ngrams` `step`, `measure`, `n`, `median`; `predictions` `step`,
    `position`, `token`, `probability`: what each checkpoint predicts at one position of the sentence `truth`, that token
    alone removed, as from `pdlib.probes.ngrams.Predictions`; all of one teacher. `names` are the tokens'; a class beyond
    them, as [mask] is, is not drawn. Without predictions the accuracy is drawn in their place. No step that all tables
    share, or another than one position, is a ValueError. It opens where the loss falls fastest.
    """
    every = [t for t in (teacher, ngrams, predictions) if t is not None]
    steps = sorted(set.intersection(*(set(t.step) for t in every)))
    if not steps:
        raise ValueError("no checkpoints: expected at least one step that all tables share.")
    loss = teacher.set_index("step").loss_nats
    median = ngrams.pivot(index="step", columns=["measure", "n"], values="median").sort_index(axis=1)
    sizes, top = median["robust"].columns, 1.1 * float(ngrams["median"].max()) or 1.0
    own = Panel(
        "held-out loss (nats)", "against training steps; a dot marks the checkpoint", 1.05 * loss.max()
    )
    measures = Panel("M_robust (filled), M_close (open)", "medians, as bars for each n", top)
    own.against_steps(teacher, "loss_nats", steps)
    place = np.arange(len(sizes))
    outline: Style = {"facecolor": "none", "edgecolor": ORANGE, "linewidth": 2.5}
    third, said_last, above = _third(teacher, predictions, truth, [str(token) for token in names], steps)
    texts = []
    for i, c in enumerate(steps):
        robust, close = (median[measure].loc[c] for measure in ("robust", "close"))
        measures.only(i, *measures.ax.bar(place - 0.2, robust, 0.34, color=BLUE))
        measures.only(i, *measures.ax.bar(place + 0.2, close, 0.34, **outline))
        said = [", ".join(f"{value:.2f}" for value in measure) for measure in (robust, close)]
        texts.append(
            f"Checkpoint {short_number(c)}: loss {loss[c]:.2f}; for n = {', '.join(map(str, sizes))}, "
            f"M_robust {said[0]} and M_close {said[1]}; {said_last[i]}."
        )
    measures.ax.set_xticks(place, [f"n = {n}" for n in sizes])
    slope = np.diff(loss.loc[steps]) / np.diff(steps)
    start = 1 + int(slope.argmin()) if len(steps) > 1 else 0
    return slider(name, texts, (own, measures, third), above, start)


def _third(
    teacher: pd.DataFrame,
    predictions: pd.DataFrame | None,
    truth: Sequence[int],
    called: Sequence[str],
    steps: Sequence[int],
) -> tuple[Panel, list[str], str]:
    """Return the last panel of `interactive_curriculum`, what it says of each step, and what stands above all panels."""
    if predictions is None:
        panel = Panel("held-out accuracy", "against training steps; a dot marks the checkpoint", 1.03)
        panel.against_steps(teacher, "accuracy", steps)
        accuracy = teacher.set_index("step").accuracy
        return panel, [f"accuracy {accuracy[c]:.2f}" for c in steps], ""
    positions = predictions.position.unique().tolist()
    if len(positions) != 1 or not 0 <= positions[0] < len(truth):
        raise ValueError(f"positions {positions}: expected one, from 0 to {len(truth) - 1}.")
    position, right = positions[0], truth[positions[0]]
    chance = predictions.pivot(index="step", columns="token", values="probability")[[*range(len(called))]]
    said = f"at the removed position; the true one is {called[right]}"
    panel = Panel("probability of each token", said, 1)
    colors = [GREEN if t == right else "0.6" for t in range(len(called))]
    for i, c in enumerate(steps):
        panel.only(i, *panel.ax.bar(called, chance.loc[c], 0.6, color=colors, edgecolor=TEXT))
    panel.ax.set_xlabel(f"the true token: {called[right]}")
    sentence = [html.escape(called[t]) for t in truth]
    sentence[position] = "<strong>[mask]</strong>"
    texts = [f"the true token {called[right]} is given probability {chance.loc[c, right]:.2f}" for c in steps]
    return panel, texts, f"<p>Sentence: {' '.join(sentence)}</p>"
