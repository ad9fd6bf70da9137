# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# (nb-gpt2)=
# # GPT-2 predicts the ends of phrases
#
# Does progressive distillation help a network that predicts the next token, too? And does it help less, the more tokens of a
# sentence the loss asks for?

# %% tags=["parameters"]
profile: str = "smoke"  # smoke, laptop, desk or paper
figures: str = "all"  # core, or all
grammar_name: str = "cfg3f"  # which of the five grammars
roots: list[int] = [10, 11, 12]  # the part below these symbols; paper: 22
levels: list[int] = [3, 2]  # of boundary tokens; paper: 4, 3, 2
main_level: int = 2  # of Figures 29 and 32; paper: 3
counted: str = "from_leaves"  # or from_root, as in the official code
n_layers: int = 2  # L; paper: 4
head_size: int = 8  # D
teacher_heads: int = 4  # H; paper: 32
student_heads: int = 2  # H; paper: 8
teacher_std: float = 0.18  # of the teacher's initial weights; paper: 0.02
student_std: float = 0.02  # of the student's
teacher_rate: float = 1.0e-2  # peak eta of Adam
student_rates: list[float] = [1.0e-2, 2.0e-2]  # peaks tried
grow: int = 0  # rates added beyond an end of the grid, if chosen there
warmup_fraction: float = 0.06  # share of the steps; not stated
batch_size: int = 16  # sentences; paper: 512
n_steps: int = 40  # T_0, of the teacher; paper: 8,000
n_checkpoints: int = 4  # N of progressive; paper: 20
checkpoint_every: int = 5  # also the teacher's evaluations
horizons: list[float] = [0.25, 0.5]  # shares of T_0; paper: 1/4 to 2
n_evaluation: int = 64  # held-out sentences; paper: 4,096
seeds: list[int] = [1, 2]  # ancestries reported
tuning_seeds: list[int] = [101]  # ancestries to choose on
probed_steps: list[int] = [5, 10, 20, 40]  # checkpoints measured
ngram_sizes: list[int] = [3, 4]  # n
n_probe_samples: int = 40  # sentences of the n-gram measures
ablation_seeds: list[int] = [1]  # of what is not core; among seeds
head_counts: list[int] = [1, 2]  # H in Figure 28, besides the teacher's
large_heads: int = 3  # H of the larger student; paper: 16
scaled_std: float = 0.25  # of a student whose scale fits its width
other_grammars: list[str] = ["cfg3h", "cfg3g"]  # of Figure 32
other_roots: list[int] = [10, 11, 12]  # the parts of these taken
n_texts: int = 32  # written by each network

# %% tags=["hide-input"]
from pdlib.pages import check_parameters

check_parameters(globals())  # before the imports that take seconds

from copy import deepcopy
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import display
from pdlib import (
    SGD,
    claims,
    diagrams,
    grammar,
    tables,
    words,
)
from pdlib import figures as plots
from pdlib.comparison import (
    PageRuns,
    compare_lengths,
    text_adam,
    text_student,
    usual_methods,
)
from pdlib.models.transformer import gpt2
from pdlib.probes.generation import Generation
from pdlib.probes.ngrams import NgramDependence
from pdlib.schedules import KappaSplit
from pdlib.specs import Distillation, Measurement, Piece, Training
from pdlib.tasks.next_token import NextToken
from pdlib.theory.best_prediction import BestPrediction
from pdlib.training import untrained
from torch.nn.functional import cross_entropy

runs = PageRuns.of("gpt2", globals())
runs.require_among_seeds("ablation_seeds")


# %% tags=["nbval-ignore-output"]
def headline(found):
    """The effect in a sentence, from published tables alone."""
    levels = found["students"].groupby("level", sort=False)
    said = [
        f"at level {level} {words.gains_by_length(rows)}"
        for level, rows in levels
    ]
    return (
        "Progressive distillation against the better one-shot distillation, by the level of the loss (the higher, the fewer tokens it "
        f"asks for): {'; '.join(said)}."
    )


runs.in_short(headline, "R7", "Figure 30")


# %% tags=["hide-input", "nbval-ignore-output"] mystnb={"figure": {"name": "fig-gpt2-headline", "caption": "At the largest size published. Left: what students reach after runs of several lengths at the main level (paper: Figure 30). Right: accuracy of the progressive student minus that of the better one-shot student of the same ancestry, by level of the loss and length of the run. Means with 95 % intervals."}, "image": {"alt": "Final accuracy by method and length of the run, and gains in points by level of the loss."}}
def draw_students(students, level, ceiling=None):
    fig, axes = plt.subplots(1, 2, figsize=(9.6, 3.7))
    plots.plot_horizons(students[students.level == level], axes[0], ceiling)
    axes[0].set_title(f"level {level}", fontsize=9)
    gained = tables.gains(students, ["level", "horizon"])
    gained = gained.sort_values("level", ascending=False, kind="stable")
    gained["setting"] = [f"level {n}" for n in gained.level]
    plots.plot_gains(gained, axes[1])
    return fig


def drawn(found):
    main_one = found["ngrams"].level.iloc[0]
    return draw_students(found["students"], main_one)


runs.show_headline(drawn)

# %% [markdown]
# ## The idea in a few lines
#
# A *boundary token* is the last one of a phrase. The network sees the tokens before it and says which one it is; the loss of a level
# asks at the ends of that level's phrases alone. Distillation puts the teacher's distribution in the place of the token, and *progressive*
# distillation asks one checkpoint after the other. In plain PyTorch, a batch a step:


# %% tags=["show"]
def learn(spec, teacher=None):
    net, kept = spec.model.module(untrained(spec)), {}
    batch, n_steps = spec.batch_size, spec.n_steps
    rates = spec.optimizer.rates(0, n_steps, n_steps)
    for piece in spec.pieces or [Piece(0, n_steps, 0)]:
        for t in range(piece.start, piece.stop):
            asked, target = spec.stream.examples(t * batch, (t + 1) * batch)
            before, ends = map(torch.tensor, (asked.tokens, asked.at))
            target = torch.tensor(target).long()
            if teacher:  # of the piece: a distribution for each token
                with torch.no_grad():
                    logits = teacher[piece.checkpoint](before, ends)
                target = logits.softmax(1)
            said = net(before, ends)  # at the ends of phrases
            losses = cross_entropy(said, target, reduction="none")
            sentences = losses.split(asked.n_targets.tolist())
            net.zero_grad()
            torch.stack([s.mean() for s in sentences]).mean().backward()
            for p in net.parameters():
                p.data -= float(rates[t]) * p.grad
            if t + 1 in spec.checkpoints:
                kept[t + 1] = deepcopy(net)
    return kept


# %% [markdown]
# A teacher of four heads learns to tell the last token of a phrase; a student of one head learns from its checkpoints, each for half as
# many steps as lie between two, the final one to the end. The engine of this book gives the same network to the last digits:

# %% tags=["show"]
part = NextToken(grammar("cfg3f", roots=[10, 11, 12]), level=2)
sizes = {"vocabulary": part.vocabulary, "n_positions": part.n_inputs}
wide, narrow = (gpt2(1, n, initial_std=0.25, **sizes) for n in (4, 1))
exact = {"batch_size": 16, "n_evaluation": 64, "precision": "float64"}
small = Training(
    part, wide, SGD(0.3, "cosine"), 40, 20, checkpoint_every=10, **exact
)
how = Distillation(small, KappaSplit(4, kappa=0.5))
taught = replace(
    small, model=narrow, seed=1, checkpoint_every=0, supervision=how
)
by_hand = learn(taught, learn(small))[40].state_dict()
runs.agrees(taught, by_hand)

# %% [markdown]
# ## What the paper says
#
# > "progressive distillation help the student learn faster than one-shot distillation" {cite:p}`panigrahi2025` (appendix E.1, R7)
#
# > "the gap between progressive distillation and distillation decreases as more tokens are involved in the loss function"
#
# It would be contradicted by a progressively distilled student that is no more accurate than one taught by the final teacher for as
# many steps; by a gain that does not shrink with longer training, or that is as large when many tokens are asked for as when few are.
#
# ## The setting
#
# A token is a boundary token of level $\ell$ if a span of that level ends with it. Levels are counted from the leaves, as in appendix
# E: every token ends a span of level 1, the last token of a sentence ends spans of all levels. So the sets $\mathcal{C}^{(\ell)}$ are
# nested, and the higher the level, the fewer tokens, and the more of the sentence one has to understand for each.

# %% tags=["nbval-ignore-output"]
source = grammar(grammar_name, roots=roots)


def asking(level, on=source):
    return NextToken(on, level, counted)


def from_leaves(level):
    return source.depth + 1 - source.level(level, counted)


tasks = {from_leaves(level): asking(level) for level in levels}
focus = from_leaves(main_level)
main = tasks[focus]
titles = [f"level {level}" for level in tasks]
sentences = main.stream(0, "probe").originals(0, 512)
share = {
    level: float(task.asked(sentences).sum() / sentences.lengths.sum())
    for level, task in tasks.items()
}
runs.say(
    "Asked for are "
    + words.listed(
        f"{s:.0%} of the tokens at level {n}" for n, s in share.items()
    )
    + f". The main level is {focus}."
)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-gpt2-boundaries", "caption": "A sentence and its boundary tokens. A mark at a level under a token: a span of that level ends with it, and the loss of that level asks for it."}, "image": {"alt": "A row of tokens with rows of marks below it, fewer the higher the level."}}
length = int(sentences.lengths[0])
depths = {
    level: task.asked(sentences)[0, :length]
    for level, task in tasks.items()
}
fig, ax = plt.subplots(figsize=(9.6, 2.2))
diagrams.plot_boundaries(
    pd.DataFrame(
        {
            "position": range(length),
            "token": [
                source.terminals[t] for t in sentences.tokens[0, :length]
            ],
            "level": np.max(
                [level * ends for level, ends in depths.items()], axis=0
            ).clip(min=1),
        }
    ),
    ax,
)
runs.show(fig, "drawn from the grammar", 4)

# %% [markdown]
# The loss of level $\ell$ (Equation 9), $p$ being the network's prediction from the tokens before:
#
# $$
# \ell^{(\ell)}(x) = \frac{1}{|\mathcal{C}^{(\ell)}(x)|} \sum_{i \in \mathcal{C}^{(\ell)}(x)} -\log p(x_i \mid x_1, \dots, x_{i-1}) ,
# $$ (eq-boundary-loss)
#
# averaged over sentences; distillation puts the teacher's prediction in the place of $x_i$ (Equation 10). $\ell^{(1)}$ is the usual
# loss of a language model. A sentence begins with the token [bos], so that its first token can be predicted too.
#
# **The best possible predictor** of $\ell^{(1)}$ is the exact distribution of the next token given those before, a sum over all trees
# by the prefix algorithm. At higher levels a network that is only asked at boundaries may take for granted that a span of the level
# ends here. Its ceiling is
#
# $$
# \max_t P(x_i = t \mid x_{<i}, \text{a span of level } \ell \text{ ends at } i) .
# $$
#
# **The networks.** Teacher and student are GPT-2s of equal depth that differ in the number of heads: causal, normalized before each
# branch, output tied to the token embeddings. Adam with warm-up, a cosine to zero, and clipping. In the smaller profiles the teacher's
# initial weights have a scale that fits its width, which makes its training short; the student's have the usual one of GPT-2. What
# that choice does to a student is measured in {ref}`gpt2-more`.


# %%
best, _ = runs.tabled(
    {level: BestPrediction(t, n_evaluation) for level, t in tasks.items()},
    "level",
)


def ceiling(level):
    rows = best[best.predictor == "posterior"].set_index("level")
    return float(rows.accuracy[level])


def network(n_heads, std, on):
    return gpt2(
        n_layers,
        n_heads,
        head_size,
        vocabulary=on.vocabulary,
        n_positions=on.n_inputs,
        initial_std=std,
    )


def teacher(seed, on):
    return Training(
        on,
        network(teacher_heads, teacher_std, on),
        text_adam(teacher_rate, warmup_fraction),
        n_steps=n_steps,
        evaluate_every=checkpoint_every,
        checkpoint_every=checkpoint_every,
        seed=seed,
        batch_size=batch_size,
        n_evaluation=n_evaluation,
    )


short = round(horizons[0] * n_steps)


def student(on, heads=student_heads, std=student_std):
    model = network(heads, std, on)

    def made(seed, supervision, rate, steps=short):
        return text_student(
            teacher(seed, on), supervision, model, rate, steps
        )

    return made


def methods(on):
    split = KappaSplit(n_checkpoints, kappa=0.5)
    return lambda seed: usual_methods(teacher(seed, on), split)


# %% [markdown]
# ## The teacher
#
# Each level has teachers of its own. The $n$-gram of a token is here the $n - 1$ tokens before it. $M_{\mathrm{close}}$ compares the
# prediction with the one from the $n$-gram alone, $M_{\mathrm{robust}}$ with the one without it, the very last token kept, because a
# causal network predicts from there (Equations 11 and 12). Tokens are removed by hiding them from every query of every layer.

# %%
every_seed = [*tuning_seeds, *seeds]
everyone, teachers = runs.tabled(
    {
        (level, s): teacher(s, task)
        for level, task in tasks.items()
        for s in every_seed
    },
    "level",
    "seed",
)
teacher_table = everyone[everyone.seed.isin(seeds)].assign(method="teacher")
dependence = NgramDependence(tuple(ngram_sizes), n_probe_samples)
ngrams, measured = runs.tabled(
    {
        (focus, s): Measurement(
            teacher(s, main), dependence, tuple(probed_steps)
        )
        for s in seeds
    },
    "level",
    "seed",
)

# %% mystnb={"figure": {"name": "fig-gpt2-main-teacher", "caption": "The teachers of the main level. Left: held-out loss, one thin line per seed; dotted: the exact posterior and the frequencies of the tokens asked for (paper: Figure 29a). Right: how their predictions change without the n-gram before; means over seeds of medians with 95 % intervals, dotted: of means (paper: Figure 29c)."}, "image": {"alt": "Loss against training steps: a rapid drop, then a slow tail, above the line of the exact posterior; and the measure M_robust against training steps, one line for each n."}}
mine = teacher_table[teacher_table.level == focus]
fig, axes = plt.subplots(1, 2, figsize=(9.6, 3.6))
plots.plot_loss(mine, axes[0], best[best.level == focus])
plots.plot_dependence(ngrams, axes[1], "robust", log=True, means=True)
runs.show(fig, measured.values(), 4)

# %% tags=["nbval-ignore-output"]
mean_loss = mine.groupby("step").loss_nats.mean()
fallen = (mean_loss.iloc[0] - mean_loss) / (
    mean_loss.iloc[0] - mean_loss.iloc[-1]
)
tenth = fallen[fallen.index >= n_steps / 10].iloc[0]
narrowest = min(ngram_sizes)
runs.say(
    f"In the first tenth of its training the teacher makes {tenth:.0%} of the way that its loss falls. "
    f"{words.course(ngrams, 'robust', narrowest)}; {words.course(ngrams, 'close', narrowest)}.",
    "Figure 29",
    "rapid-drop-in-the-first-tenth",
    "dormant-phase-is-short",
    "curriculum-of-3-grams",
)

# %% tags=["hide-input", "nbval-ignore-output"] mystnb={"figure": {"name": "fig-gpt2-slider", "caption": "One teacher of the main level, checkpoint by checkpoint: its loss, its two measures, its accuracy. It opens where the loss falls fastest."}}
diagrams.interactive_curriculum(
    mine.query("seed == @seeds[0]"),
    ngrams.query("seed == @seeds[0]"),
    name="gpt2-curriculum",
)

# %% [markdown]
# ## Students
#
# Each training length is a run of its own with its own cosine. At each level the rate of every method is chosen from the same grid, on
# tuning ancestries that are not reported, at the shortest length. Within an ancestry all methods share the teacher, the initial weights
# and the sentences. **Progressive** is the paper's $T_0/2$-equal split: equally spaced checkpoints, each for half as many steps as lie
# between two, as many of them as fit into the student's run (appendix E.1). A GPT-2 has no plateau whose drop could place $C_1$.


# %% tags=["nbval-ignore-output"]
def trained(make, ways, reported, name, part="core", **columns):
    """Rates chosen at the shortest length, then runs of all lengths."""
    found = compare_lengths(
        runs,
        make,
        ways,
        horizons=horizons,
        n_steps=n_steps,
        learning_rates=student_rates,
        tuning_seeds=tuning_seeds,
        seeds=reported,
        name=name,
        part=part,
        grow=grow,
    )
    table, rates = (t.assign(**columns) for t in (found.table, found.rates))
    return table, rates, found.records


core = {
    level: trained(
        student(task),
        methods(task),
        seeds,
        f"students L({level})",
        level=level,
    )
    for level, task in tasks.items()
}
students = pd.concat(table for table, _, _ in core.values())
chosen = pd.concat(rates for _, rates, _ in core.values())
of_core = [r for _, _, records in core.values() for r in records]
page_tables = {
    "teacher": teacher_table,
    "ngrams": ngrams,
    "students": students,
}

# %% mystnb={"figure": {"name": "fig-gpt2-students", "caption": "Left: final held-out accuracy at the main level against the length of the run, by method; dotted: the best possible (paper: Figure 30). Right: accuracy of the progressive student minus that of the better one-shot student of the same ancestry, by level and length of the run. Means over seeds with 95 % intervals."}, "image": {"alt": "Accuracy at the end of runs of several lengths, one line per method, and gains in points, grouped by level of the loss."}}
runs.show(draw_students(students, focus, ceiling(focus)), of_core)

# %% tags=["nbval-ignore-output"]
of_main = words.ends_by_method(students[students.level == focus])
runs.say(
    f"{of_main} (level {focus}). {headline(page_tables)}",
    "R7",
    "Figure 30",
    "gap-shrinks-with-tokens-in-the-loss",
)

# %% [markdown]
# ## How this differs from the paper
#
# - **Size.** The laptop profile takes the part of cfg3f below its symbols 13, 14 and 15: sentences of about 18 tokens instead of 250, a
#   teacher of 8 heads and a student of 2 instead of 32 and 8, batches of 64 instead of 512.
# - **Levels** are counted from the leaves, as in appendix E. Definition 4.3 and the official code count from the root; `counted =
#   "from_root"` reads them so.
# - **Initial scale.** The teacher's fits its width; the paper is silent, the official code has 0.02 for both networks.
# - **Data.** No sentence is seen twice, and evaluation is on held-out sentences; the official code evaluates on its training data.
#   No dropout; the official code has 0.1.
# - **The loss** is averaged over the asked tokens of a sentence, then over sentences, as Equation 9 writes it; the official code averages
#   over all asked tokens of eight sentences.
# - **The teacher** has as many layers as the student; the one that the official code builds has 12.

# %% [markdown] tags=["more"]
# (gpt2-more)=
# # GPT-2 predicts the ends of phrases: ablations, rates, criteria
#
# What stands behind {ref}`the page <nb-gpt2>`: every level, the rates that were tried, other students, initial scales and grammars,
# the sentences that students write, and every criterion with what was measured.
#
# ## Every level (Figures 29 and 30)

# %%
few = [s for s in ablation_seeds if s in seeds]
at_level = best.assign(predictor=best.predictor.map(plots.REFERENCES))
at_level.pivot(index="predictor", columns="level", values="accuracy").round(
    3
)

# %% mystnb={"figure": {"name": "fig-gpt2-teacher", "caption": "The teachers' held-out loss at each level; one thin line per seed; dotted: the exact posterior and the frequencies of the tokens asked for (paper: Figure 29a)."}, "image": {"alt": "Panels of loss against training steps: a rapid drop, then a slow tail, above the line of the exact posterior."}}
titles = [f"level {level}" for level in tasks]
fig, axes = plots.panels(titles, (9.6, 3.6))
for ax, level in zip(axes, tasks, strict=True):
    plots.plot_loss(
        teacher_table[teacher_table.level == level],
        ax,
        best[best.level == level],
    )
runs.show(fig, (r for (_, s), r in teachers.items() if s in seeds))

# %% mystnb={"figure": {"name": "fig-gpt2-ngrams", "caption": "How the prediction of the teacher of the main level depends on the tokens before: with the n-gram alone (paper: Figure 29b). Means over seeds of medians, 95 % intervals; dotted: of means."}, "image": {"alt": "The measure M_close against training steps, one line for each n."}}
fig, ax = plt.subplots(figsize=(7, 3.7))
plots.plot_dependence(ngrams, ax, "close", log=True, means=True)
runs.show(fig, measured.values(), 4)


# %% mystnb={"figure": {"name": "fig-gpt2-horizons", "caption": "Final held-out accuracy of the small student against the length of its run, by level of the loss and by method; means over seeds with 95 % intervals; dotted: the exact posterior (paper: Figure 30)."}, "image": {"alt": "One panel per level: accuracy at the end of runs of several lengths, one line per method."}}
def panels(table, records):
    fig, axes = plots.panels(titles, (9.6, 3.7))
    for ax, level in zip(axes, tasks, strict=True):
        rows = table[table.level == level]
        plots.plot_horizons(rows, ax, ceiling(level))
    runs.show(fig, records)


panels(students, of_core)

# %% [markdown]
# ## The rates that were tried

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-gpt2-rates", "caption": "Final held-out accuracy of the shortest run against the learning rate, on the tuning ancestries, by level and method; rings: the rates chosen. Means with 95 % intervals."}, "image": {"alt": "One panel per level: final accuracy against learning rate, one line per method."}}
runs.show_rates(
    {
        f"level {level}": runs.choices[f"students L({level})"]
        for level in tasks
    },
    (9.6, 3.9),
)

# %% [markdown]
# ## More heads (Figure 28)
#
# Networks with fewer heads than the teacher, trained from the data in the same way, their initial scale fitted to their width as the
# teacher's is. This and what follows needs `figures = "all"`.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-gpt2-heads", "caption": "Held-out accuracy by number of heads, from the data alone, at each level; means over seeds with 95 % intervals (paper: Figure 28)."}, "image": {"alt": "One panel per level: accuracy against training steps, one line for each number of heads."}}
if figures == "all":
    counts = [n for n in head_counts if n != teacher_heads]
    fewer = {
        (level, n, s): replace(
            teacher(s, task),
            model=network(
                n, teacher_std * (teacher_heads / n) ** 0.5, task
            ),
            checkpoint_every=0,
        )
        for level, task in tasks.items()
        for n in counts
        for s in few
    }
    by_heads, fewer = runs.tabled(
        fewer, "level", "n_heads", "seed", part="ablations"
    )
    mine = teacher_table[teacher_table.seed.isin(few)]
    heads = pd.concat([by_heads, mine.assign(n_heads=teacher_heads)])
    page_tables["heads"] = heads
    fig, axes = plots.panels(titles, (9.6, 3.6))
    for ax, level in zip(axes, tasks, strict=True):
        rows = heads[heads.level == level]
        plots.plot_family(rows, ax, "n_heads", chance=None)
    runs.show(fig, fewer.values(), 4)

# %% tags=["nbval-ignore-output"]
claims.beside("Figure 28", "larger-models-sooner-in-the-rapid-phase")

# %% [markdown]
# ## A larger student (Figure 31)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-gpt2-large", "caption": "The same as the small student's figure for a student with more heads (paper: Figure 31)."}, "image": {"alt": "One panel per level: accuracy at the end of runs of several lengths, one line per method."}}
if figures == "all":
    larger = {
        level: trained(
            student(task, large_heads),
            methods(task),
            few,
            f"larger students L({level})",
            "ablations",
            level=level,
        )
        for level, task in tasks.items()
    }
    page_tables["large_students"] = pd.concat(
        table for table, _, _ in larger.values()
    )
    panels(
        page_tables["large_students"],
        [r for _, _, records in larger.values() for r in records],
    )

# %% tags=["nbval-ignore-output"]
claims.beside("Figure 31")

# %% [markdown]
# ## Two initializations
#
# The students above start with weights of GPT-2's usual scale at any width. A network this narrow is slow to leave its plateau from
# there. Here the same student starts with a scale that fits its width, as its teacher does; its rates are chosen anew. The question is
# how much of what a teacher shortens is a start that was chosen badly.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-gpt2-initial", "caption": "The small student with the usual initial scale (left) and with one that fits its width (right), at the main level; means over seeds with 95 % intervals; dotted: the exact posterior."}, "image": {"alt": "Two panels of final accuracy against run length, one line per method."}}
if figures == "all":
    fitted, _, fitted_records = trained(
        student(main, std=scaled_std),
        methods(main),
        few,
        "fitted initial scale",
        "ablations",
        initial_std=f"{scaled_std:g}",
    )
    usual = students.query("level == @focus and seed in @few")
    page_tables["initial"] = pd.concat(
        [usual.assign(initial_std=f"{student_std:g}"), fitted]
    )
    fig, axes = plt.subplots(1, 2, figsize=(9.6, 3.7), sharey=True)
    for ax, (name, rows) in zip(
        axes, page_tables["initial"].groupby("initial_std"), strict=True
    ):
        plots.plot_horizons(rows, ax, ceiling(focus))
        ax.set_title(f"initial scale {name}", fontsize=9)
    runs.show(fig, [*core[focus][2], *fitted_records])

# %% [markdown]
# ## Other grammars (Figure 32)
#
# Each has teachers of its own, and a ceiling of its own. Rates are those chosen above for the main level. The intervals say whether
# the grammars can be told apart.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-gpt2-grammars", "caption": "Gain of progressive over the better one-shot distillation, in points, by grammar, at the main level and the shortest run (paper: Figure 32). Means over seeds with 95 % intervals."}, "image": {"alt": "Gains in points with intervals, one for each grammar."}}
if figures == "all":
    at_main = chosen.query("level == @focus").set_index("method")
    others = {
        name: asking(main_level, grammar(name, roots=other_roots))
        for name in other_grammars
    }
    foreign = {
        (name, m, s): student(on)(
            s, methods(on)(s)[m], float(at_main.learning_rate[m])
        )
        for name, on in others.items()
        for s in few
        for m in methods(on)(s)
    }
    there, foreign = runs.tabled(
        foreign, "grammar", "method", "seed", part="ablations"
    )
    here = usual.query("horizon == @horizons[0]")
    page_tables["grammars"] = pd.concat(
        [there, here.assign(grammar=grammar_name)]
    ).assign(horizon=horizons[0])
    fig, ax = plt.subplots(figsize=(6.6, 3.4))
    shown = tables.gains(page_tables["grammars"], ["grammar", "horizon"])
    shown = shown.sort_values("grammar", ascending=False, kind="stable")
    plots.plot_gains(shown.rename(columns={"grammar": "setting"}), ax)
    runs.show(fig, foreign.values())

# %% tags=["nbval-ignore-output"]
if figures == "all":
    known, _ = runs.tabled(
        {
            name: BestPrediction(on, n_evaluation)
            for name, on in others.items()
        },
        "grammar",
        part="ablations",
    )
    best_known = known[known.predictor == "posterior"].set_index("grammar")
    ends = tables.last_rows(
        page_tables["grammars"], ["grammar", "method", "seed"]
    ).pivot_table(index="grammar", columns="method", values="accuracy")
    ends = words.by_legend(ends)
    ends["best possible"] = best_known.accuracy.round(3)
    ends.loc[grammar_name, "best possible"] = round(ceiling(focus), 3)
    display(ends, claims.beside("Figure 32"))

# %% [markdown]
# ## One step beyond: do students write grammatical sentences?
#
# A network trained with the loss of level 1 and an end token can write. Texts are drawn from it token by token and given to the parser:
# is the whole a sentence of the grammar, and how long is its longest beginning that some sentence has? The paper does not ask this.
# Distillation at temperature 1 is added for progressive distillation, because a student of hard labels is taught to write what is most
# likely only: its texts can be correct and all alike, so different ones are counted too.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-gpt2-generated", "caption": "Share of texts that the parser accepts, by method and length of the student's run; means over seeds with 95 % intervals."}, "image": {"alt": "Share of accepted texts by method, for each length of the run."}}
if figures == "all":
    writing = NextToken(source, ends=True)

    def writers(seed):
        t = teacher(seed, writing)
        split = KappaSplit(n_checkpoints, kappa=0.5)
        return methods(writing)(seed) | {
            "progressive_soft": Distillation(t, split)
        }

    make = student(writing)
    written, write_rates, _ = trained(
        make, writers, few, "writers", "ablations"
    )
    rate_of = write_rates.set_index("method").learning_rate
    probe = Generation(n_texts)
    texts = {
        ("teacher", 1.0, s): Measurement(
            teacher(s, writing), probe, (n_steps,)
        )
        for s in few
    } | {
        (m, h, s): Measurement(
            make(s, way, float(rate_of[m]), round(h * n_steps)),
            probe,
            (round(h * n_steps),),
        )
        for s in few
        for h in horizons
        for m, way in writers(s).items()
    }
    generated, texts = runs.tabled(
        texts, "method", "horizon", "seed", part="ablations"
    )
    page_tables["generated"] = generated
    fig, ax = plt.subplots(figsize=(7, 3.7))
    plots.plot_generated(generated, ax)
    runs.show(fig, texts.values())

# %% tags=["nbval-ignore-output"]
if figures == "all":
    written_by = words.by_legend(
        generated.pivot_table(
            index=["method", "horizon"],
            values=[
                "accepted",
                "distinct",
                "longest_prefix",
                "mean_length",
            ],
        )
    )
    display(written_by)

# %% [markdown]
# ## Verdicts
#
# Each criterion is a row of `pdlib/claims/register.yaml`; one, marked ✓, decides the claim. In the smoke profile nothing is
# judged.

# %%
verdicts = runs.judge(page_tables)
claims.by_claim(verdicts)

# %% tags=["nbval-ignore-output", "hide-input"]
display(
    claims.by_criterion(verdicts),
    claims.folded("What it cost", runs.cost_table().rename_axis("part")),
)
