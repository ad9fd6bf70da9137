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
# (nb-pcfg)=
# # BERT learns a grammar
#
# **Claims judged here**: R4 and R5; Figures 1 (right), 4, 5 and 22. Figures 3, 20 and 21 are drawn.
#
# > "the best intermediate checkpoint is the one at the inflection point" {cite:p}`panigrahi2025` (section 4.1.2, R4)
#
# > "Progressive distillation improves over one-shot or no distillation over all 3 measures" (R5)
#
# **What would contradict them**: a student taught by a checkpoint of the plateau, or by a late one, that is as good as one
# taught from the inflection; a progressively distilled student that is no more accurate than others given the same
# steps, or that leans more on short windows.

# %% tags=["parameters"]
profile: str = "smoke"  # smoke, laptop or paper
figures: str = "all"  # core, or all
grammar_name: str = "cfg3b"  # which of the five grammars
roots: list[int] = [10, 11, 12]  # the part below these symbols; paper: 22
mask_rate: float = 0.3  # p
selected: str = "visible"  # or hidden, as in the official code
n_layers: int = 2  # L; paper: 4
head_size: int = 8  # D
teacher_heads: int = 4  # H; paper: 32
student_heads: int = 2  # H; paper: 8
teacher_rate: float = 1.0e-2  # peak eta of Adam
student_rates: list[float] = [1.0e-2, 2.0e-2]  # peaks tried
grow: int = 0  # rates added beyond an end of the grid, if chosen there
warmup_fraction: float = 0.06  # share of the steps; not stated
batch_size: int = 16  # sentences; paper: 512
n_steps: int = 40  # T_0, of the teacher; paper: 8,000
checkpoint_every: int = 4  # also the teacher's evaluations
n_checkpoints: int = 5  # N of equal splits; paper: 8
horizons: list[float] = [0.25, 0.5]  # shares of T_0; paper: 1/4 to 2
first_checkpoints: list[int] = [4, 8, 20, 32]  # of (2, T)
two_checkpoint_steps: list[int] = [2, 5]  # T, tried
two_checkpoint_horizon: float = 0.25  # of (2, T), share of T_0; paper: 1/2
n_evaluation: int = 64  # held-out sentences; paper: 4,096
seeds: list[int] = [1, 2]  # ancestries reported
tuning_seeds: list[int] = [101]  # ancestries to choose on
probed_steps: list[int] = [4, 8, 20, 40]  # checkpoints measured
ngram_sizes: list[int] = [3, 5]  # n
n_probe_samples: int = 40  # sentences of the n-gram measures
read_steps: list[int] = [8, 40]  # checkpoints whose non-terminals are read
n_probe_train: int = 64  # of the non-terminal probe; paper: 51,200
n_probe_validation: int = 32  # paper: 1,024
n_probe_heads: int = 2  # of the non-terminal probe
n_probe_epochs: int = 4  # of its training; not stated
probe_seeds: list[int] = [1]  # ancestries whose non-terminals are probed
ablation_seeds: list[int] = [1]  # of what is not core; among seeds
head_counts: list[int] = [1, 2]  # H in Figure 23, besides the teacher's
strong_heads: int = 3  # H of the stronger student; paper: 16
long_horizon: float = 1.0  # of Figure 24, share of T_0; paper: 2
mask_rates: list[float] = [0.15, 0.5]  # of Figure 26, besides p
other_grammars: list[str] = ["cfg3i", "cfg3h"]  # of Figure 27
other_roots: list[int] = [10, 11, 12]  # the parts of these taken
dropout: float = 0.1  # in the official code
slow_rate: float = 1.0e-2  # the largest of the paper's grid

# %% tags=["hide-input"]
from pdlib.pages import check_parameters

check_parameters(globals())  # before the imports that take seconds

from dataclasses import replace
from functools import partial
from pprint import pprint

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown, display
from pdlib import claims, diagrams, grammar, tables
from pdlib import figures as plots
from pdlib.comparison import (
    PageRuns,
    chosen_checkpoints,
    compare,
    compare_lengths,
    student_of,
    text_adam,
    usual_methods,
)
from pdlib.models.transformer import bert
from pdlib.probes.ngrams import NgramDependence, Predictions
from pdlib.probes.nonterminals import NonterminalPrediction
from pdlib.schedules import EqualSplit, KappaSplit, MultiplesSplit, OneShot
from pdlib.specs import Distillation, Measurement, Training
from pdlib.tasks.masked import MaskedPrediction
from pdlib.theory.best_prediction import BestDependence, BestPrediction

runs = PageRuns.of("pcfg", globals())

# %% [markdown]
# ## A grammar
#
# A sentence is drawn from the top down. A root becomes the right side of one of its rules, each symbol of that one of its
# own rules, and so on until only terminals are left {cite:p}`allenzhu2023`. Every rule leads one layer down, so all leaves
# are equally far from the root. The smaller profiles take the part of the paper's grammar below some of its symbols:
# shorter sentences, the same rules.

# %%
source = grammar(grammar_name, roots=roots)
rules = pd.DataFrame(
    {
        "layer": layer,
        "symbol": symbol,
        "becomes": " or ".join(
            " ".join(map(str, r.right)) for r in source.rules_of(symbol)
        ),
    }
    for layer, symbols in enumerate(source.layers[:-1])
    for symbol in symbols
)
rules.set_index(["layer", "symbol"])

# %% [markdown]
# The distribution of a sentence's length is exact, by convolution from the terminals up, and counts the sentences that the
# grammar has, one for each tree:

# %%
lengths = source.length_distribution()
{
    "shortest, longest": (source.min_length, source.max_length),
    "mean": round(float(np.arange(len(lengths)) @ lengths), 2),
    "quartiles": np.searchsorted(
        lengths.cumsum(), [0.25, 0.5, 0.75]
    ).tolist(),
    "trees": source.n_derivations(),
}

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-pcfg-tree", "caption": "The tree of one sentence. Each symbol stands over its span; marks below the sentence show where spans end (the paper's Figure 3 shows an English example)."}, "image": {"alt": "A tree with a root at the top, one layer of symbols under another, and the sentence at the bottom."}}
task = MaskedPrediction(source, mask_rate=mask_rate, selected=selected)
sentences = task.stream(0, "probe").originals(0, 8)
spans = pd.DataFrame(
    [
        (level, str(symbol), start, stop)
        for level in range(source.depth + 1)
        for symbol, start, stop in sentences.spans(0, level)
    ],
    columns=["level", "symbol", "start", "stop"],
)
fig, ax = plt.subplots(figsize=(9.6, 3.2))
diagrams.plot_parse(spans, ax)
runs.show(fig, "drawn from the grammar", 4)

# %% [markdown]
# ## Masked prediction
#
# Each position is selected with probability $p$ (Definition 4.1). Four fifths of the selected ones show [mask], a tenth a
# random token, a tenth their own. The network is to tell what stood there. With $\mathcal{M}$ the selected positions of
# a sentence $x$, the loss is
#
# $$
# \ell(x) = \frac{1}{|\mathcal{M}|} \sum_{i \in \mathcal{M}} -\log p_i(x_i) ,
# $$ (eq-masked-loss)
#
# averaged over sentences. Masks are drawn afresh for every sentence, and no sentence is used twice.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-pcfg-masking", "caption": "One sentence, what the network is shown of it, and what it is asked (paper: Figure 21)."}, "image": {"alt": "Three rows of tokens: the sentence, the sentence with some tokens replaced, and the tokens asked for."}}
shown, _ = task.stream(0, "probe").examples(0, 8)
which = int(np.argmax(shown.n_targets))
length = int(sentences.lengths[which])
names = [*map(str, source.terminals), "[mask]"]
fig, ax = plt.subplots(figsize=(9.6, 2.2))
diagrams.plot_masking(
    pd.DataFrame(
        {
            "position": range(length),
            "original": [
                names[t] for t in sentences.tokens[which, :length]
            ],
            "shown": [names[t] for t in shown.tokens[which, :length]],
            "selected": shown.at[which, :length],
        }
    ),
    ax,
)
runs.show(fig, "drawn from the task", 4)

# %% [markdown]
# ### The best possible predictor
#
# For a grammar one can say what the best answer is. Given the whole input, the probability of each token at a selected
# position is a sum over all trees, which the inside-outside algorithm does exactly. It takes into account that a token shown at
# the position itself is the original with probability $2/3$, and that any other token may have been replaced. Nothing
# exceeds it but by chance, so it is the ceiling of every figure below. Two weaker predictors stand beside it: the
# frequencies of tokens, and these together with what the position itself shows.

# %%
(best_record,) = runs([BestPrediction(task, n_evaluation)])
ceilings = best_record.table
ceilings.round(3)

# %% [markdown]
# ## Training
#
# Teacher and student are BERTs of equal depth, with heads of dimension 8: bidirectional, normalized after each branch, the output
# tied to the token embeddings, logits computed at the selected positions alone. Adam with warm-up, a cosine to 0, and clipping.


# %%
def network(n_heads, on=task, **changes):
    return bert(
        n_layers,
        n_heads,
        head_size,
        vocabulary=on.vocabulary,
        n_positions=on.n_inputs,
        **changes,
    )


def run(model, rate, seed, steps, every, keep=0, on=task, **changes):
    return Training(
        on,
        model,
        text_adam(rate, warmup_fraction),
        n_steps=steps,
        evaluate_every=every,
        checkpoint_every=keep,
        seed=seed,
        batch_size=batch_size,
        n_evaluation=n_evaluation,
        **changes,
    )


def teacher(seed, on=task, **changes):
    return run(
        network(teacher_heads, on, **changes),
        teacher_rate,
        seed,
        n_steps,
        checkpoint_every,
        keep=checkpoint_every,
        on=on,
    )


pprint(teacher(seeds[0]).model, width=76)

# %% [markdown]
# A small one learns here and now that a selected position often shows its own token, and which token is the most frequent:

# %%
small = MaskedPrediction(grammar("cfg3b", roots=[10, 11, 12]))
runs.falls(small, bert(1, 2, 8, vocabulary=4, n_positions=small.n_inputs))

# %% [markdown]
# ## The teacher's three phases (Figure 4, left)
#
# The candidate $C_1$ is chosen from the loss curve alone: the steepest point of the drop that follows the plateau. (On the curve of
# the paper's Figure 4 this rule gives the paper's own choice, step 1,000. The very first fall, to the frequencies of tokens, is
# steeper and does not count.) A second candidate is the checkpoint at which $M_{\mathrm{robust}}$, measured below, is largest.

# %%
every_seed = [*tuning_seeds, *seeds]
teachers = runs.by_seed(teacher, every_seed)
teacher_table = tables.teacher_rows(teachers, seeds)
unigram = float(ceilings.set_index("predictor").loss_nats["unigram"])
kept = teacher(seeds[0]).checkpoints
warmup = round(warmup_fraction * n_steps)


def steepest(record, level):
    """C1 of a teacher, given what token frequencies reach."""
    return tables.steepest_drop(record.table, level, kept, warmup)


first = {s: steepest(teachers[s], unigram) for s in every_seed}
used = [s for s in seeds if first[s]]
tuning_used = [s for s in tuning_seeds if first[s]]
Markdown(
    f"**{len(used)} of {len(seeds)}** teachers left the plateau; no student "
    "was trained under the others."
)

# %% [markdown]
# ## How far a prediction reaches (Figure 4, middle; Figure 22, left)
#
# Two measures say what a prediction at position $i$ depends on, with TV the total variation distance and $n(i)$
# the $n$-gram around $i$ (Definition 4.2):
#
# $$
# M_{\mathrm{robust}} = \mathrm{TV}\bigl(p_i(x_{\setminus \{i\}}),\, p_i(x_{\setminus n(i)})\bigr) , \qquad
# M_{\mathrm{close}} = \mathrm{TV}\bigl(p_i(x_{\setminus \{i\}}),\, p_i(x_{n(i) \setminus \{i\}})\bigr) .
# $$ (eq-dependence)
#
# The first is large for a network that leans on the tokens next to $i$, the second for one that uses tokens far away. Medians are taken over
# sentences and positions. The same two numbers of the exact posterior are the reference: a perfect network would have them too.

# %%
dependence = NgramDependence(tuple(ngram_sizes), n_probe_samples)
ngrams, measured = runs.tabled(
    {
        s: Measurement(teacher(s), dependence, tuple(probed_steps))
        for s in used
    },
    "seed",
)
(best_dependence,) = runs([BestDependence(task, dependence)])
best = best_dependence.table
robust = ngrams.query("measure == 'robust' and n == @ngram_sizes[0]")
peaks = {s: tables.peak(robust[robust.seed == s], "median") for s in used}
candidates = pd.DataFrame(
    [
        (s, name, steps[s])
        for s in used
        for name, steps in (("loss", first), ("robust", peaks))
    ],
    columns=["seed", "candidate", "step"],
)
candidates.pivot_table(index="candidate", columns="seed", values="step")

# %% mystnb={"figure": {"name": "fig-pcfg-teacher", "caption": "The teachers' held-out loss, one thin line per seed; dotted: reference predictors; marks: the two candidates (paper: Figure 4, left)."}, "image": {"alt": "Loss against training steps: a plateau, a drop, a slow tail, above the line of the exact posterior."}}
fig, ax = plt.subplots(figsize=(7, 3.7))
plots.plot_loss(teacher_table, ax, ceilings, candidates)
runs.show(fig, (teachers[s] for s in used))

# %% mystnb={"figure": {"name": "fig-pcfg-ngrams", "caption": "How the teacher's prediction depends on the n-gram around a position: without it (left; paper: Figure 4, middle) and with it alone (right; Figure 22, left). Means over seeds of medians, 95 % intervals; dashed: the exact posterior."}, "image": {"alt": "Two panels of the measures against training steps, one line for each n."}}
fig, axes = plt.subplots(1, 2, figsize=(9.6, 3.7), sharey=True)
for ax, measure in zip(axes, ("robust", "close"), strict=True):
    plots.plot_dependence(ngrams, ax, measure, best)
runs.show(fig, measured.values(), 4)

# %% [markdown]
# **What to see** (laptop values). The loss stands still just below that of copying, drops, and then falls slowly, still above the exact
# posterior at the end ({numref}`fig-pcfg-teacher`). $M_{\mathrm{robust}}$ at $n = 3$ rises with the drop and falls late
# ({numref}`fig-pcfg-ngrams`); at larger $n$ it hardly falls, because the teacher is not done. $M_{\mathrm{close}}$ falls for the
# longest window. For the shortest it rises, towards the value of the exact posterior: a perfect predictor too needs more than
# its neighbors.
#
# ## Do the embeddings know the tree? (Figure 22, right)
#
# A linear probe with attention by position alone reads, at the last token of each span, which symbol the span belongs to (appendix
# D.3). The network is frozen. The untrained network, at step 0, is the control: what the probe reads from it is not
# the network's doing.

# %%
reader = NonterminalPrediction(
    n_train=n_probe_train,
    n_validation=n_probe_validation,
    n_heads=n_probe_heads,
    n_epochs=n_probe_epochs,
)
probed = [s for s in used if s in probe_seeds]
nonterminals, read = runs.tabled(
    {
        s: Measurement(
            teacher(s), reader, tuple(sorted({0, first[s], *read_steps}))
        )
        for s in probed
    },
    "seed",
)

# %% mystnb={"figure": {"name": "fig-pcfg-nonterminals", "caption": "Accuracy of the probe for the non-terminals of each level, by the teacher's step; 0 is the untrained network, dotted the most frequent symbol (paper: Figure 22, right)."}, "image": {"alt": "Probe accuracy by level, one line for each checkpoint."}}
fig, ax = plt.subplots(figsize=(7, 3.7))
plots.plot_nonterminals(nonterminals, ax, "step")
runs.show(fig, read.values(), 4)

# %% [markdown]
# ### One sentence, step by step
#
# The slider moves through the checkpoints of one teacher: its loss, its two measures, and what it predicts for one masked token
# of one sentence.

# %% tags=["hide-input", "nbval-ignore-output"]
probe = Predictions(sentence=0, position=int(sentences.lengths[0]) // 2)
(guesses,) = runs(
    [Measurement(teacher(used[0]), probe, tuple(probed_steps))]
)
diagrams.interactive_curriculum(
    teacher_table.query("seed == @used[0]"),
    ngrams.query("seed == @used[0]"),
    guesses.table,
    sentences.tokens[0, : int(sentences.lengths[0])].tolist(),
    name="curriculum",
    names=source.terminals,
)

# %% [markdown]
# ## Students
#
# Each training length is a run of its own with its own cosine. Rates are chosen for every method from the same grid, on the tuning
# ancestries, at the shortest length. Within an ancestry all methods share the teacher, the initial weights and the sentences.
# **Progressive** takes the multiples of $C_1$, as the paper does (section 4.1.2): each for $C_1$ steps, as many of them as fit into the
# student's run. Equal splits that ignore $C_1$ are an ablation.

# %% tags=["nbval-ignore-output"]
short = round(horizons[0] * n_steps)


def student(
    seed,
    supervision,
    rate,
    steps=short,
    heads=student_heads,
    on=task,
    **changes,
):
    return student_of(
        teacher(seed, on),
        supervision,
        model=network(heads, on, **changes),
        optimizer=text_adam(rate, warmup_fraction),
        n_steps=steps,
        evaluate_every=max(1, steps // 8),
    )


def methods(seed):
    return usual_methods(teacher(seed), MultiplesSplit(first[seed]))


by_length = {
    "horizons": horizons,
    "n_steps": n_steps,
    "learning_rates": student_rates,
    "tuning_seeds": tuning_used,
    "grow": grow,
}
compared = compare_lengths(
    runs, student, methods, seeds=used, name="students", **by_length
)
students = compared.table
compared.rates.round(4)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-pcfg-rates", "caption": "Final held-out accuracy of the shortest run against the learning rate, on the tuning ancestries, by method; rings: the rates chosen. Means with 95 % intervals."}, "image": {"alt": "Final accuracy against learning rate, one line per method."}}
runs.show_rates(compared)

# %% mystnb={"figure": {"name": "fig-pcfg-horizons", "caption": "Final held-out accuracy of the small student against the length of its run, by method; means over seeds with 95 % intervals; dotted: the exact posterior (paper: Figure 1, right)."}, "image": {"alt": "Accuracy at the end of runs of several lengths, one line per method."}}
ceiling = float(ceilings.set_index("predictor").accuracy["posterior"])
fig, ax = plt.subplots(figsize=(6.6, 3.7))
plots.plot_horizons(students, ax, ceiling)
runs.show(fig, compared.records)

# %% [markdown]
# **What to see** (laptop values). At the shorter length progressive distillation is ahead of one-shot distillation with the same hard labels, and
# of labels, in the mean. One-shot distillation at temperature 1 is about as good, and at the longer length ahead in the mean. The
# figure of the rates says more than a comparison at each method's best one: some methods learn at every rate tried, others at one only.
#
# ## Which checkpoint first? (Figure 4, right; R4)
#
# A (2, T) student learns from one intermediate checkpoint for $T$ steps and then from the final one. $T$ and the rate are chosen on the tuning
# ancestries with $C_1$, and then used for every first checkpoint; that makes as many tries as one-shot distillation has.


# %% tags=["nbval-ignore-output"]
def two_shot(seed, supervision, rate):
    steps = round(two_checkpoint_horizon * n_steps)
    return student(seed, supervision, rate, steps)


searched = compare(
    runs,
    two_shot,
    lambda seed: {
        str(t): chosen_checkpoints(teacher(seed), [first[seed]], t)
        for t in two_checkpoint_steps
    },
    learning_rates=student_rates,
    tuning_seeds=tuning_used,
    seeds=[],
    name="first checkpoint",
    at_end=True,
    grow=grow,
)
winner = searched.rates.loc[searched.rates.mean_accuracy.idxmax()]
chosen_t, chosen_rate = int(winner.method), float(winner.learning_rate)
swept = {
    (s, name): two_shot(
        s, chosen_checkpoints(teacher(s), [step], chosen_t), chosen_rate
    )
    for s in used
    for name, step in (
        *((c, c) for c in first_checkpoints),
        ("loss", first[s]),
        ("robust", peaks[s]),
    )
    if step < n_steps
}
checkpoints, sweep = runs.tabled(swept, "seed", "checkpoint")
{
    "T": chosen_t,
    "rate": chosen_rate,
    "tries": int(searched.rates.n_tried.sum()),
}

# %% mystnb={"figure": {"name": "fig-pcfg-first", "caption": "Final accuracy of the (2, T) student by its first checkpoint: those of the grid, C1, and the one at the peak of M_robust. Band: one-shot distillation, the kind that was better on the tuning ancestries (paper: Figure 4, right). Means over seeds with 95 % intervals."}, "image": {"alt": "Accuracy of the student against the step of its first teacher checkpoint."}}
better = compared.better("one_shot")
one_shot = students[
    (students.method == better)
    & (students.horizon == two_checkpoint_horizon)
]
fig, ax = plt.subplots(figsize=(6.6, 3.7))
plots.plot_first_checkpoints(
    checkpoints, ax, one_shot=one_shot, candidates=candidates
)
runs.show(fig, sweep.values())

# %% [markdown]
# **What to see** (laptop values). A checkpoint of the plateau teaches nothing and a late one little; those of the drop are the best, as R4 says.
# The criterion compares $C_1$ with each other checkpoint by itself: the best of several noisy students would be ahead of any one by luck.
#
# ## What the students have learned (Figure 5; R5)
#
# The teacher's three measures, taken at the end of the shortest and of the longest runs.

# %% tags=["nbval-ignore-output"]
last = {
    (h, m, s): student(
        s, methods(s)[m], compared.rate(m), round(h * n_steps)
    )
    for h in dict.fromkeys([horizons[0], horizons[-1]])
    for m in methods(used[0])
    for s in used
}


def at_ends(probe):
    specs = {
        k: Measurement(s, probe, (s.n_steps,)) for k, s in last.items()
    }
    return runs.tabled(specs, "horizon", "method", "seed")


student_ngrams, _ = at_ends(dependence)
student_nonterminals, student_read = at_ends(reader)
student_ngrams.pivot_table(
    index=["horizon", "method"], columns=["measure", "n"], values="median"
).round(3)

# %% mystnb={"figure": {"name": "fig-pcfg-student-nonterminals", "caption": "Accuracy of the probe for the non-terminals of each level in students of each method, at the end of the longest run; means over seeds with 95 % intervals; dotted: the most frequent symbol (paper: Figure 5, right)."}, "image": {"alt": "Probe accuracy by level, one line for each method."}}
fig, ax = plt.subplots(figsize=(7, 3.7))
longest = student_nonterminals.query("horizon == @horizons[-1]")
plots.plot_nonterminals(longest, ax, "method", plots.METHODS)
runs.show(fig, student_read.values())

# %% [markdown]
# **What to see** (laptop values). The progressive students lean on short windows more than the others, not less. That need not mean that they
# have learned less: the teacher's $M_{\mathrm{robust}}$ rises before it falls, and they are further along on its way. Their
# $M_{\mathrm{close}}$ on the longest window is lower, as the paper says, and in the mean the probe reads a little more from them, most
# at the high levels.

# %%
page_tables = {
    "teacher": teacher_table[teacher_table.seed.isin(used)],
    "candidates": candidates,
    "ngrams": ngrams,
    "nonterminals": nonterminals,
    "students": students,
    "checkpoints": checkpoints,
    "student_ngrams": student_ngrams,
    "student_nonterminals": student_nonterminals,
}
few = [s for s in ablation_seeds if s in used]

# %% [markdown]
# ## Ablations
#
# What follows needs `figures = "all"`. Rates are those chosen above for the method, or chosen anew where the network is another one.
#
# ### More heads (Figure 23)
#
# Networks with fewer heads than the teacher, and so narrower, are trained from the data for as many steps, each with the best of the
# students' rates.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-pcfg-heads", "caption": "Held-out accuracy by number of heads, from the data alone; means over seeds with 95 % intervals (paper: Figure 23)."}, "image": {"alt": "Accuracy against training steps, one line for each number of heads."}}
if figures == "all":
    by_heads = compare(
        runs,
        lambda seed, heads, rate: run(
            network(heads), rate, seed, n_steps, checkpoint_every
        ),
        lambda seed: {str(h): h for h in head_counts},
        learning_rates=student_rates,
        tuning_seeds=tuning_used,
        seeds=few,
        name="heads",
        part="ablations",
        at_end=True,
        grow=grow,
    )
    mine = teacher_table[teacher_table.seed.isin(few)]
    heads = pd.concat(
        [
            by_heads.table.assign(
                n_heads=by_heads.table.method.astype(int)
            ),
            mine.assign(n_heads=teacher_heads),
        ]
    )
    page_tables["heads"] = heads
    fig, ax = plt.subplots(figsize=(6.6, 3.7))
    plots.plot_family(heads, ax, "n_heads", chance=None)
    ax.set_ylim(0, 1)
    runs.show(fig, by_heads.records, 4)

# %% [markdown]
# ### Two schedules, two students, two temperatures (Figures 24 and 25)
#
# The multiples of $C_1$ are set beside themselves at twice the pace ($\kappa = 1/2$), with hard labels and at temperature 1, and beside equally spaced
# checkpoints that ignore $C_1$: over $T_0$, and over the student's own run, which leaves out no checkpoint however short the run is. The
# stronger student has more heads.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-pcfg-variants", "caption": "Final held-out accuracy against the length of the run for two students: one-shot distillation, the multiples of C1, at twice the pace and at temperature 1, and equal splits that ignore C1 (paper: Figures 24 and 25). Means over seeds with 95 % intervals."}, "image": {"alt": "Two panels of final accuracy against run length, one line per method."}}
if figures == "all":

    def variants(seed):
        t = teacher(seed)
        half = MultiplesSplit(first[seed], kappa=0.5)
        equal = KappaSplit(n_checkpoints, kappa=1.0)
        split = EqualSplit(n_checkpoints)
        return methods(seed) | {
            "progressive_half": Distillation(t, half, targets="hard"),
            "progressive_equal": Distillation(t, equal, targets="hard"),
            "progressive_split": Distillation(t, split, targets="hard"),
            "progressive_soft": Distillation(t, half),
        }

    settings = {"small": student_heads, "strong": strong_heads}
    varied, kept_records = [], []
    for size, n in settings.items():
        found = compare_lengths(
            runs,
            partial(student, heads=n),
            variants,
            seeds=few,
            name=f"variants, {size} student",
            part="ablations",
            **by_length | {"horizons": [*horizons, long_horizon]},
        )
        varied.append(found.table.assign(size=size))
        kept_records += found.records
    page_tables["variants"] = pd.concat(varied)
    titles = [f"{n} heads" for n in settings.values()]
    fig, axes = plots.panels(titles, (9.6, 3.9))
    for ax, size in zip(axes, settings, strict=True):
        rows = page_tables["variants"]
        rows = rows[rows["size"] == size]
        plots.plot_horizons(rows, ax, ceiling)
    runs.show(fig, kept_records)

# %% [markdown]
# ### Other rates, mask rates, grammars, hidden positions, dropout (Figures 26 and 27)
#
# Each variant but the first has teachers of its own, with a $C_1$ of their own, and students of the shortest run by one-shot and progressive
# distillation with hard labels, at the rates chosen above; in the first both have a rate of the paper's grid. The ceiling is that of the
# variant. One whose teachers do not all leave a plateau has no $C_1$ and is named and left out.

# %%
if figures == "all":
    other = {
        name: MaskedPrediction(
            grammar(name, roots=other_roots), mask_rate, selected
        )
        for name in other_grammars
    }
    swapped = "hidden" if selected == "visible" else "visible"
    elsewhere = {
        "as above": (task, {}),
        f"rate {slow_rate:g}": (task, {}),
        **{
            f"p = {p:g}": (replace(task, mask_rate=p), {})
            for p in mask_rates
        },
        **{name: (on, {}) for name, on in other.items()},
        f"{swapped} positions": (replace(task, selected=swapped), {}),
        f"dropout {dropout:g}": (task, {"dropout": dropout}),
    }
    rates = {f"rate {slow_rate:g}": slow_rate}  # of both methods

    best_known, _ = runs.tabled(
        {
            name: BestPrediction(on, n_evaluation)
            for name, (on, _) in elsewhere.items()
        },
        "setting",
        part="ablations",
    )
    best_known = best_known.set_index(["setting", "predictor"])
    asked = [(name, s) for name in elsewhere for s in few]
    _, theirs = runs.tabled(
        {
            (name, s): teacher(s, elsewhere[name][0], **elsewhere[name][1])
            for name, s in asked
        },
        "setting",
        "seed",
        part="ablations",
    )
    firsts = {
        (name, s): steepest(
            theirs[name, s], best_known.loss_nats[name, "unigram"]
        )
        for name, s in asked
    }
    left_out = [n for n in elsewhere if not all(firsts[n, s] for s in few)]
    elsewhere = {n: v for n, v in elsewhere.items() if n not in left_out}
    if left_out:
        print("without a plateau to leave, left out:", ", ".join(left_out))

    def pair(seed, on, changes, c1):
        t = teacher(seed, on, **changes)
        return {
            "one_shot_hard": Distillation(t, OneShot(), targets="hard"),
            "progressive": Distillation(
                t, MultiplesSplit(c1), targets="hard"
            ),
        }

    tried = {
        (name, m, s): student(
            s,
            pair(s, on, changes, firsts[name, s])[m],
            rates.get(name, compared.rate(m)),
            on=on,
            **changes,
        )
        for name, (on, changes) in elsewhere.items()
        for s in few
        for m in ("one_shot_hard", "progressive")
    }
    page_tables["elsewhere"], _ = runs.tabled(
        tried, "setting", "method", "seed", part="ablations"
    )

# %% tags=["nbval-ignore-output"]
if figures == "all":
    final = tables.last_rows(
        page_tables["elsewhere"], ["setting", "method", "seed"]
    ).pivot_table(
        index=["setting", "seed"], columns="method", values="accuracy"
    )
    gains = (final.progressive - final.one_shot_hard).groupby("setting")
    summary = pd.DataFrame(
        {
            "one-shot": final.one_shot_hard.groupby("setting").mean(),
            "progressive": final.progressive.groupby("setting").mean(),
            "gain": gains.apply(lambda g: str(tables.mean_interval(g))),
        }
    ).reindex(list(elsewhere))
    summary["teacher"] = [
        np.mean([theirs[name, s].table.accuracy.iloc[-1] for s in few])
        for name in elsewhere
    ]
    summary["best possible"] = [
        best_known.accuracy[name, "posterior"] for name in elsewhere
    ]
    display(summary.round(3))

# %% [markdown]
# **What to see** (laptop values). More heads end higher, but no size gets to most of its own end sooner. Which split, which student, which temperature,
# which mask rate, grammar or visibility: no difference is larger than its interval, and a rate of the paper's own grid brings no lead
# either. Against the rule of thumb of appendix D.2, no student is ahead
# of its teacher at the same step.
#
# ## Verdicts
#
# Each criterion is a row of `pdlib/claims/register.yaml`; one, in bold type, decides the claim. In the smoke profile nothing is
# judged.

# %%
verdicts = runs.judge(page_tables)
claims.by_claim(verdicts)

# %% tags=["nbval-ignore-output", "hide-input"]
display(claims.by_criterion(verdicts), runs.cost_table())

# %% [markdown]
# ## How this differs from the paper
#
# - **Size.** The laptop profile takes the part of cfg3b below its symbols 14 and 15: sentences of 18 to 27 tokens instead of 138 to 432,
#   a teacher of 12 heads and a student of 2 instead of 32 and 8, batches of 64 instead of 512, a fifth of the steps.
# - **Rates** are chosen at the shortest length and used at all; the paper searches "in each setting". A grid grows while a choice is at
#   its end. In a first laptop run, on other seeds,
#   every method chose the largest rate tried; the grid was then moved up and all was run again under the same criteria. Two tuning ancestries
#   chose well once, and once, on another processor, the largest rate for progressive distillation, at which students of two reported
#   ancestries collapsed. Since then four choose; the reported ancestries and the criteria are the same.
# - **Data.** No [bos] token; no sentence is seen twice; no dropout. Selected positions are visible to attention; the official code hides
#   them, which the paper does not say.
# - **The measures** are total variation distances; the official code reports twice that. Its probe for non-terminals is
#   normalized over targets and trained on padding; this one is as appendix D.3 writes it.
# - **$C_1$** is found by a rule, not by eye.
# - **More than once.** The same specs were trained from scratch on three machines, which add up in other orders: other last bits. Run by run
#   accuracies moved both ways, on average not at all. With equal rates these parts came out otherwise elsewhere: R4's "better than late" was
#   inconclusive once, the probe at mid drop not reproduced once, the high levels of Figure 5 inconclusive once, the fall of
#   $M_{\mathrm{close}}$ in Figure 22 reproduced once, a quarter of the teacher's steps (the rule of thumb) not reproduced once. What stands near its
#   threshold here is worth no more than that.
