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
# (nb-parity)=
# # Sparse parity with an MLP
#
# Why does a narrow network learn from a wide one's *intermediate* checkpoints what it does not learn from the finished one?
# The smallest case: the product of a few hidden bits.

# %% tags=["parameters"]
profile: str = "smoke"  # smoke, laptop or paper
figures: str = "all"  # core: Figures 1 (left) and 2; all: ablations too
n_bits: int = 20  # d; paper: 100
support_size: int = 3  # k; paper: 6
teacher_width: int = 256  # m; paper: 50,000
student_width: int = 16  # m; paper: 100
teacher_rate: float = 0.02  # eta; paper: 5e-3
student_rates: list[float] = [0.01, 0.02]  # paper: 1e-2, 5e-3, 1e-3
grow: int = 0  # rates added beyond an end of the grid, if chosen there
n_steps: int = 12_000  # of teacher and students; paper: 20M
checkpoint_every: int = 500  # also T of progressive; paper: 0.1M
two_checkpoint_steps: int = 1_000  # T of (2, T); paper: 1M
seeds: list[int] = [1, 2]  # ancestries reported; paper: 3
tuning_seeds: list[int] = [101]  # ancestries to choose rates on
n_probe_samples: int = 10_000  # of the correlations; paper: 100,000
probe_every: int = 1  # one checkpoint in so many, far from the transition
slider_checkpoints: int = 6  # on the interactive figure
ablation_seeds: list[int] = [1, 2]  # Figures 7, 8, 9, 14; paper: 5 in 7
widths: list[int] = [16, 64, 256]  # m, Figure 7; none: left out
width_steps: int = 12_000  # budget of Figure 7; paper: 20M
wide_student_width: int = 64  # m, Figure 8; paper: 1,000; 0: left out
wide_student_soft: bool = True  # one-shot at temperature 1 for it too
fast_rate: float = 0.03  # eta of Figure 9's teacher; paper: 1e-2
fast_steps: int = 24_000  # steps of that teacher; paper: 20M; 0: left out
fast_two_checkpoint_steps: int = 1_000  # T in Figure 9; paper: 0.1M
temperatures: list[float] = [
    1.0e-4,
    1.0e-2,
    1.0,
]  # tau, Figure 14; none: left out
variants: list[str] = [
    "again",
    "float64",
    "cosine",
]  # of some teachers, for comparison; none: left out
variant_seeds: list[int] = [1, 2]  # of these teachers
variant_steps: int = 12_000  # of those that are like the teacher

# %% tags=["hide-input"]
from pdlib.pages import check_parameters

check_parameters(globals())  # before the imports that take seconds

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown, display
from pdlib import (
    MLP,
    SGD,
    MonomialCorrelations,
    SparseParity,
    claims,
    diagrams,
    labels,
    tables,
)
from pdlib import figures as plots
from pdlib.bench.batch_one import StepTimes
from pdlib.comparison import (
    PageRuns,
    candidate_methods,
    chosen_checkpoints,
    compare,
    cost_by_width,
    student_of,
    targets_by_temperature,
    usual_methods,
)
from pdlib.models.mlp import softmax
from pdlib.probes.monomials import monomial_correlations
from pdlib.probes.softness import Softness
from pdlib.schedules import Progressive
from pdlib.specs import Distillation, Labels, Measurement, Training
from pdlib.tables import data_seed, joined
from pdlib.words import by_legend

runs = PageRuns.of("parity", globals())


# %% tags=["nbval-ignore-output"]
def headline(tables_):
    """The effect in a sentence, from published tables alone."""
    got = tables.reach_table(tables_["students"], 0.9, ["method"])
    there = got.set_index("method")
    middle, other = (
        there.loc[f"two_checkpoint_{c}"] for c in ("middle", "after")
    )
    return (
        f"Taught by the checkpoint in the teacher's transition for a while and then by the final one, {middle.n_reached} of "
        f"{middle.n} students reach 90 %, in the median after {middle['median steps']} steps; from the checkpoint after it "
        f"{other.n_reached} of {other.n}, one-shot {there.n_reached['one_shot']} of {there.n['one_shot']}."
    )


_, paper, paper_runs, _ = runs.published("paper")
runs.in_short(headline, "R1", "R2", "Figure 1 (left)")

# %% tags=["hide-input", "nbval-ignore-output"] mystnb={"figure": {"name": "fig-parity-paper-size-two", "caption": "At the paper's size (paper: Figure 2). Above: each teacher's accuracy around its checkpoint ②, and the (2, 1M) students of width 100. Below: degree-1 correlations of the teachers' predictions at temperature 1, and of their hard labels. Crosses: read off the paper's figure, its ② laid on ours. Means with 95 % intervals, above over students, below over teachers."}, "image": {"alt": "Teacher accuracy, accuracy of (2, T) students, and degree-1 correlations at temperature 1 and of hard labels at the paper's size, with crosses for the paper's own numbers."}}
as_read = claims.read_off("parity")
PAPER_MIDDLE = 10_200_000  # its candidate ② (caption of Figure 2)


def of_figure(name):
    return as_read[as_read.figure == name]


if not paper:
    display(Markdown("No results of this size are published in this copy."))
if paper:
    fig, axes = plt.subplots(2, 2, figsize=(9.6, 6.6))
    own = paper["teacher"][
        paper["teacher"].seed.isin(paper["candidates"].seed)
    ]
    around = plots.aligned(paper["candidates"], paper["candidates"])
    ax = axes[0, 0]
    plots.plot_seeds(
        plots.aligned(own, paper["candidates"]), ax, label="a teacher"
    )
    plots.mark_candidates(around, ax)
    plots.mark_read_off(
        of_figure("Figure 2 (left)"), ax, origin=PAPER_MIDDLE
    )
    ax = axes[0, 1]
    of_two = paper["students"].method.str.contains(
        "two_checkpoint|one_shot$"
    )
    plots.plot_accuracy(paper["students"][of_two], ax)
    plots.mark_read_off(of_figure("Figure 2 (right)"), ax)
    ax.set_xlim(0, 2e6)
    for ax, name, title in zip(
        axes[1],
        ("correlations", "label_correlations"),
        ("at temperature 1", "of hard labels"),
        strict=True,
    ):
        plots.plot_correlations(
            plots.aligned(paper[name], paper["candidates"]), ax, 1
        )
        plots.mark_read_off(
            of_figure("Figure 2 (middle)"), ax, origin=PAPER_MIDDLE
        )
        ax.set_title(title, fontsize=10)
    for ax in (axes[0, 0], *axes[1]):
        ax.set_xlim(-1.2e6, 2e6)
        ax.set_xlabel("steps from ②")
    runs.show(fig, paper_runs, 4)

# %% [markdown]
# ## The idea in a few lines
#
# Distillation trains the student on the teacher's output distribution in the place of labels. *Progressive* distillation only
# changes which checkpoint of the teacher answers at which step. In plain NumPy, one sample a step:


# %% tags=["show"]
def output(net, x):
    hidden = np.maximum(net["0.weight"] @ x + net["0.bias"], 0)
    return hidden, net["2.weight"] @ hidden + net["2.bias"]


def learn(spec, teacher=None):
    net = spec.model.initial(spec.task.n_inputs, 2, spec.seed)
    rate, kept = spec.optimizer.learning_rate, {}
    due = {
        t: p.checkpoint for p in spec.pieces for t in range(p.start, p.stop)
    }
    inputs, classes = spec.stream.examples(0, spec.n_steps)
    for t, (x, y) in enumerate(zip(inputs, classes, strict=True)):
        target = np.eye(2)[
            y
        ]  # the label, or the answer of the checkpoint due
        if teacher:
            target = softmax(output(teacher[due[t]], x)[1])
        hidden, logits = output(net, x)
        error = softmax(logits) - target  # gradient of - sum target log p
        back = (net["2.weight"].T @ error) * (hidden > 0)
        net["2.weight"] -= rate * np.outer(error, hidden)
        net["2.bias"] -= rate * error
        net["0.weight"] -= rate * np.outer(back, x)
        net["0.bias"] -= rate * back
        if t + 1 in spec.checkpoints:
            kept[t + 1] = {k: v.copy() for k, v in net.items()}
    return kept


# %% [markdown]
# A teacher of width 64 learns the parity of 3 of 16 bits; a student of width 10 learns from its checkpoints, one after the
# other. The engine of this book, which is compiled, gives the same network to the last digits:

# %% tags=["show"]
small = Training(
    SparseParity(16, 3),
    MLP(64),
    SGD(0.1),
    n_steps=12_000,
    evaluate_every=6_000,
    checkpoint_every=600,
    precision="float64",
)
taught = replace(
    small,
    model=MLP(10),
    seed=1,
    checkpoint_every=0,
    supervision=Distillation(small, Progressive(20, 600)),
)
by_hand = learn(taught, learn(small))[taught.n_steps]
bits, y = taught.task.stream(0, "evaluation").examples(0, 4096)
accuracy = (MLP(10).logits(by_hand, bits).argmax(axis=1) == y).mean()
{"accuracy": round(float(accuracy), 2)} | runs.agrees(taught, by_hand)

# %% [markdown]
# ## What the paper says
#
# > "these strong correlations emerge when the teacher learns the sparse parity task (i.e., during the phase
# > transition) but diminish with continued training." {cite:p}`panigrahi2025` (section 3.1, R1)
#
# > "only the checkpoint during the phase transition is useful in accelerating training" (section 3.1, R2)
#
# It would be contradicted by a teacher whose prediction in its transition follows the coordinates outside the support as much
# as those inside; by a student that learns from a checkpoint before or after the transition as well as from one inside it; or
# by one-shot distillation, or plain labels, that are as fast.
#
# ## The setting
#
# An input is a vector of $d$ random signs; its class says whether the product of $k$ of them, the *support*
# $\mathbf{S}$, is positive (Definition 3.1):
#
# $$
# \mathbf{x} \sim \mathrm{Uniform}(\{-1, +1\}^d), \qquad
# y = \begin{cases} 1 & \prod_{i \in \mathbf{S}} x_i > 0 \\ 2 & \text{otherwise.} \end{cases}
# $$ (eq-parity-task)
#
# Teacher and student are networks with one hidden layer, $f(\mathbf{x}) = A\,\mathrm{relu}(W\mathbf{x} + b) + c$, and
# differ in width only. Both see each input once: batch size 1, plain SGD. The teacher learns from labels
# by {eq}`eq-label-loss`; the student from labels or from the teacher's outputs by {eq}`eq-distillation-loss`. Which
# checkpoint of the teacher supervises which of the student's steps is the method:
#
# - **one-shot**: the final one throughout;
# - **progressive**: checkpoint after checkpoint, each for as many steps as lie between two of them (Definition 2.2);
# - **(2, T)**: one intermediate checkpoint for $T$ steps, then the final one.
#
# Progressive and (2, T) students get *hard* labels here, the argmax; the paper's temperature $10^{-4}$ is all but
# the same, and {ref}`parity-temperature` measures how far it is from that.

# %%
task = SparseParity(n_bits, support_size)


def teacher(seed, rate=teacher_rate, steps=n_steps):
    return Training(
        task,
        MLP(teacher_width),
        SGD(rate),
        n_steps=steps,
        evaluate_every=checkpoint_every,
        checkpoint_every=checkpoint_every,
        seed=data_seed(seed),
    )


# Two inputs and their classes; the first label by hand, as the product of its support.
inputs, classes = task.stream(seed=0, purpose="train").examples(0, 2)
by_hand = np.prod(inputs[:, :support_size], axis=1)
pd.DataFrame(inputs[:, : support_size + 2].astype(int)).assign(
    product=by_hand.astype(int), label=classes + 1
)

# %% [markdown]
# (parity-paper-size)=
# ## At the paper's own size
#
# $d = 100$, teachers of width 50,000, students of width 100, 20 million steps, a checkpoint every 100,000, rates from the
# paper's grid; few teachers, two students of each. Intervals are over students and teachers together.

# %% tags=["hide-input", "nbval-ignore-output"] mystnb={"figure": {"name": "fig-parity-paper-size-one", "caption": "At the paper's size: held-out accuracy over 20M steps of the teachers and of students of width 100 (left; paper: Figure 1, left) and 1,000 (right; paper: Figure 8); below (2, 1M) students. From labels and one-shot with hard labels are one line. Means with 95 % intervals over teachers and students. Crosses: read off the paper's Figure 1."}, "image": {"alt": "Accuracy over twenty million steps by method, for teachers and students."}}
if paper:
    narrow = paper["students"]
    wider = paper.get("wide_students", paper.get("wide_students_hard"))
    widths_run = {"100": narrow} | (
        {} if wider is None else {"1,000": wider}
    )
    base = ["cross_entropy", "one_shot", "one_shot_hard", "progressive"]
    n = len(widths_run)
    fig, axes = plt.subplots(
        2, n, figsize=(4.8 * n, 5.6), squeeze=False, sharey=True
    )
    for (above, below), (width, table) in zip(
        axes.T, widths_run.items(), strict=True
    ):
        plots.plot_accuracy(
            pd.concat([own, table[table.method.isin(base)]]), above
        )
        of_two = table.method.str.contains("two_checkpoint|one_shot")
        plots.plot_accuracy(table[of_two], below)
        above.set_title(f"width {width}", fontsize=10)
    plots.mark_read_off(of_figure("Figure 1 (left)"), axes[0, 0])
    runs.show(fig, paper_runs, 4)

# %% tags=["hide-input", "nbval-ignore-output"]
if paper:
    of_paper = tables.reach_table(
        pd.concat([own, narrow]), 0.9, ["method"]
    ).set_index("method")
    middle = paper["candidates"].query("candidate == 'middle'").step / 1e6
    n_labels, n_soft, n_there = (
        f"{of_paper.n_reached[m]} of {of_paper.n[m]}"
        for m in ("cross_entropy", "one_shot", "two_checkpoint_middle")
    )
    display(
        Markdown(
            f"Our teachers' ② lie at {', '.join(f'{s:g}M' for s in middle)} steps, the paper's at {PAPER_MIDDLE / 1e6:g}M: the "
            f"seed decides. The student of ② reaches 90 % in {n_there} runs, in the median after {of_paper['median steps']['two_checkpoint_middle']} steps; from labels "
            f"{n_labels} runs get there, by one-shot distillation at temperature 1 {n_soft}. The paper's student from labels "
            f"begins to learn after 18M steps. The criteria compare speed, by the mean accuracy over the run."
        )
    )

# %% [markdown]
# ### Train it yourself
#
# <details class="pd-try"><summary>In the built book your browser trains these students</summary>
# <p>They learn on the inputs and from the hard labels of one of the teachers: 2 million steps of the engine's arithmetic, in about ten
# seconds, drawn over the published students. Choose who teaches, another rate, other first weights.</p>
# <!-- train a student -->
# </details>
#
# All numbers of this size stand {ref}`on a page of their own <parity-paper-numbers>`. What follows is this page's own size.
#
# ## The teachers and their transitions
#
# One teacher per seed. Its candidate checkpoints are chosen from its own accuracy, before any student is trained: ②
# lies nearest to halfway between chance and perfect during the rise, ① is the last one before it that is still at chance
# (below .52), ③ lies where the accuracy has settled for good.

# %%
sources = list(
    dict.fromkeys(
        data_seed(s) for s in [*tuning_seeds, *seeds, *ablation_seeds]
    )
)
teachers = runs.by_seed(teacher, sources)
candidates = tables.learned(teachers)
used = tables.with_teacher(seeds, candidates)
teaching = list(dict.fromkeys(data_seed(s) for s in used))
teacher_table = tables.teacher_rows(teachers, teaching)
candidate_table = tables.candidate_rows(teacher_table, candidates)
tuning_used = tables.with_teacher(tuning_seeds, candidates)
ablation_used = tables.with_teacher(ablation_seeds, candidates)
asked = {data_seed(s) for s in seeds}
Markdown(
    f"**{len(teaching)} of {len(asked)}** teachers learned within the budget. "
    "The others have no transition to choose from; no student was trained "
    "under them, and all that follows is about those that learned."
)

# %% [markdown]
# When a teacher learns depends on its seed ({numref}`fig-parity-teacher`), so step 0 of the next figures is its own ②.
#
# ## What the teacher's prediction follows: the implicit curriculum
#
# The probe is the correlation {eq}`eq-correlation` of the teacher's probability of class 1 with monomials of the
# input. On a predictor whose answer is known, the parity itself, it is one half on its own support and noise elsewhere.

# %%
bits, y = task.stream(seed=0, purpose="probe").examples(0, n_probe_samples)
known = monomial_correlations(
    (y == 0).astype(float), bits, np.array([list(task.support)])
)[0]
control = monomial_correlations(
    (y == 0).astype(float),
    bits,
    np.array([list(range(1, support_size + 1))]),
)[0]
{
    "own support": round(float(known), 1),
    "another monomial": abs(round(float(control), 1)),
}

# %% mystnb={"figure": {"name": "fig-parity-correlations", "caption": "Mean absolute correlation of the teacher's prediction with degree-1 monomials (left: paper, Figure 2, middle) and degree-3 monomials (right), in and off the support, over seeds with 95 % intervals; step 0 is each teacher's checkpoint ②. Dotted: the largest of the off-support ones. Dashed: what a monomial that the teacher ignores would show."}, "image": {"alt": "Correlations against steps around the transition: the in-support line rises sharply near step zero and falls again."}}
probe = MonomialCorrelations(degrees=(1, 2, 3), n_samples=n_probe_samples)


def probed(of, candidates, seeds, part="core"):
    """The correlations of teachers, and the runs that measured them."""
    specs = {}
    for s in seeds:
        middle = candidates[s].middle
        steps = tables.thinned(of(s).checkpoints, middle, probe_every)
        specs[s] = Measurement(of(s), probe, steps)
    return runs.tabled(specs, "seed", part=part)


correlations, measured = probed(teacher, candidates, teaching)
fig, axes = plt.subplots(1, 2, figsize=(9, 3.5))
around = plots.aligned(correlations, candidate_table)
for ax, degree in zip(axes, (1, 3), strict=True):
    plots.plot_correlations(around, ax, degree, label="steps from ②")
    ax.set_xlim(-12 * checkpoint_every, 20 * checkpoint_every)
runs.show(fig, measured.values(), 4)

# %% tags=["nbval-ignore-output"]
claims.beside("R1")

# %% [markdown]
# R1 says that near the transition, and only there, single coordinates of the support stand out ({numref}`fig-parity-correlations`):
# they are what a student could pick up cheaply. Within a transition the peak wanders from checkpoint to checkpoint, and its
# place differs between seeds, so the criterion compares the peaks of both groups within each teacher's transition, and the
# height of the support's peak with what is left of it in the final checkpoint.
#
# ## Students
#
# Every method gets the same rates to try, on the same tuning ancestries, which are not reported; the rate with the
# highest mean accuracy over the run is then used on the reported ones. Within an ancestry all methods share the
# teacher, the student's initial weights and the student's inputs, so they are compared in pairs. A student is trained as
# its teacher was, but for its width, its rate, what it learns from, and its seed: other weights, other inputs.


# %%
def student(seed, supervision, rate, width=student_width, steps=n_steps):
    return student_of(
        teacher(seed),
        supervision,
        seed,
        model=MLP(width),
        optimizer=SGD(rate),
        n_steps=steps,
    )


def methods(seed):
    t = teacher(seed)
    every = Progressive(n_steps // checkpoint_every, checkpoint_every)
    return usual_methods(t, every) | candidate_methods(
        t, candidates[data_seed(seed)], two_checkpoint_steps
    )


# %% tags=["nbval-ignore-output"]
grid = {
    "learning_rates": student_rates,
    "tuning_seeds": tuning_used,
    "grow": grow,
}
students = compare(
    runs, student, methods, seeds=used, name="students", **grid
)

# %% mystnb={"figure": {"name": "fig-parity-accuracy", "caption": "Held-out accuracy of narrow students. Left: by method, beside that of their wide teachers (paper: Figure 1, left). Right: of (2, T) students, taught by one intermediate checkpoint for T steps and then by the final one, beside one-shot distillation (paper: Figure 2, right). Means over seeds with 95 % intervals."}, "image": {"alt": "Accuracy against training steps: left for the teacher, a student from labels, one-shot and progressive distillation; right for students of the checkpoints before, in and after the transition, and of one-shot distillation."}}
fig, axes = plt.subplots(1, 2, figsize=(9, 3.7), sharey=True)
of_method = students.table.method
plots.plot_accuracy(
    pd.concat(
        [
            teacher_table,
            students.table[
                of_method.isin(["cross_entropy", "one_shot", "progressive"])
            ],
        ]
    ),
    axes[0],
)
plots.plot_accuracy(
    students.table[of_method.str.contains("two_checkpoint|one_shot$")],
    axes[1],
)
runs.show(fig, students.records, 3)

# %% tags=["nbval-ignore-output"]
everyone = pd.concat([teacher_table, students.table])
got_there = tables.reach_table(everyone, 0.9, ["method"])
there = got_there.set_index("method")


def reached_by(method):
    row = there.loc[method]
    return f"{row.n_reached} of {row.n} ({row['median steps']} steps)"


runs.say(
    f"How many runs reached 90 %, and after how many steps in the median, runs that never did included: teachers "
    f"{reached_by('teacher')}; progressive students {reached_by('progressive')}; students of ① "
    f"{reached_by('two_checkpoint_before')}, of ② {reached_by('two_checkpoint_middle')}, of ③ "
    f"{reached_by('two_checkpoint_after')}; one-shot {reached_by('one_shot')}; from labels {reached_by('cross_entropy')}.",
    "R2",
    "Figure 2",
    "Figure 1 (left)",
)

# %% [markdown]
# ### Choose a checkpoint
#
# One teacher, its checkpoints from before to after its transition, and the (2, T) student of each (one run each). Move the
# slider: R2 says that the useful checkpoints are those of the transition, whether or not they are accurate.

# %%
source = teaching[0]
on_slider = tables.around_transition(
    teacher(source).checkpoints, candidates[source], slider_checkpoints
)
rate = students.rate("two_checkpoint_middle")
slid = {
    c: student(
        source,
        chosen_checkpoints(teacher(source), [c], two_checkpoint_steps),
        rate,
    )
    for c in on_slider
}
slider_table, slid = runs.tabled(slid, "checkpoint")

# %% tags=["nbval-ignore-output"]
diagrams.interactive_checkpoints(
    teachers[source].table,
    correlations[correlations.seed == source],
    slider_table,
    name="parity-checkpoints",
)

# %% [markdown]
# ## How this differs from the paper
#
# - **Size.** The laptop profile has $d = 50$, a teacher of width 2,000, students of width 50 (300 in Figure 8) and 0.9M steps;
#   the paper $d = 100$, 50,000, 100 (1,000) and 20M: in both about twice the time of a transition. With longer budgets and
#   wider students, tried first on other seeds, more methods arrive, and the end of the run tells them apart badly.
# - **Hard labels** stand for temperature $10^{-4}$ in progressive and (2, T) distillation; one-shot distillation is
#   run at temperature 1 and with hard labels, and a gain is over each of the two.
# - **Rates** are constant and chosen for every method from the same grid on ancestries of their own. The teacher's rate
#   is not searched.
# - **Candidates** are chosen by a rule from each teacher's accuracy, not by eye, and never by the students' results.
# - **Figure 9** uses, in the laptop profile, five times the other teacher's rate, where the paper uses twice: at that size a
#   factor of two still left single degree-1 gaps in first trials.
#
# Not tried: other positions of the support (an MLP cannot tell them apart), schedules of a student's rate, momentum, batches.
# What differs between paper, official code and this book in general stands in {doc}`../book/errata`.

# %% [markdown] tags=["more"]
# (parity-more)=
# # Sparse parity with an MLP: the paper's size in numbers, and ablations
#
# What stands behind {ref}`the page <nb-parity>`: the largest size in numbers, other widths, and a faster teacher.

# %% [markdown]
# (parity-paper-numbers)=
# ## The paper's size in numbers
#
# How many runs got to 90 %, and when; the paper's numbers beside ours; and what it cost, beside the time that the eager loop
# in PyTorch would take for the same steps on the machine that judged, one run after
# another. A teacher is compared at the same distance from ②, as the step of its transition depends on the seed, and by the
# correlations of its hard labels: at temperature 1 a prediction near one half correlates with anything only weakly.
#
# A teacher of this size is a long run, so there are few of them; each has two students that share its labels and their inputs
# and differ in their initial weights. `make reproduce PROFILE=paper PAGE=parity` trains students from the teachers' published
# hard labels, without a teacher; `TEACHER=retrain` trains the teachers too. One-shot distillation at temperature 1 needs 20
# million distributions per teacher, which are not published: its tables are taken as they are.

# %% tags=["hide-input", "nbval-ignore-output"]
if paper:
    display(
        by_legend(of_paper),
        claims.folded(
            "The paper's numbers beside ours",
            tables.beside_read_off(
                as_read,
                paper | {"correlations": paper["label_correlations"]},
                PAPER_MIDDLE,
            ),
        ),
        claims.folded(
            "What it cost", cost_by_width(paper_runs, paper["step_times"])
        ),
    )
if "wide_students_hard" in paper:
    figure_8 = next(
        c for c in claims.of_page("parity") if c.id == "Figure 8"
    )
    gains = [
        replace(
            c,
            arguments=dict(c.arguments)
            | {
                "table": "wide_students_hard",
                "over": [m for m in c.arguments["over"] if m != "one_shot"],
            },
        ).judge(paper)
        for c in figure_8.criteria
    ]
    display(
        Markdown(
            "**Width 1,000** (Figure 8): how many runs got to 90 %, and the gain in mean accuracy over the run against one-shot "
            "distillation with hard labels and other candidates. Its criteria ask for one-shot distillation at temperature 1 "
            "too, which needs the teachers' last checkpoints, so it is not judged at this size; its thresholds stand beside."
        ),
        by_legend(
            tables.reach_table(wider, 0.9, ["method"]).set_index("method")
        ),
        pd.DataFrame(
            {
                "criterion": g.criterion.name,
                "gain": str(g),
                "threshold": f"{g.criterion.side} {g.criterion.threshold:g}",
            }
            for g in gains
        ),
    )

# %% [markdown]
# ## Width and speed (Figure 7, left)
#
# Why is there something to distil at all? Because a wide network finds the support sooner: more hidden units are more
# parallel guesses. Here networks of several widths learn from labels alone.

# %%
page_tables = {
    "teacher": tables.teacher_rows(teachers, used),
    "candidates": candidate_table,
    "correlations": correlations,
    "students": students.table,
}
ablate = {"seeds": ablation_used, "part": "ablations", **grid}
if figures == "all" and widths:
    by_width = compare(
        runs,
        lambda seed, width, rate: student(
            seed, Labels(), rate, width=width, steps=width_steps
        ),
        lambda seed: {f"{width}": width for width in widths},
        name="widths",
        **ablate,
    )
    page_tables["widths"] = by_width.table.assign(
        width=by_width.table.method.astype(int)
    )

# %% mystnb={"figure": {"name": "fig-parity-width", "caption": "Steps from labels alone to 90 % held-out accuracy against width: one dot per run, a triangle at the budget for a run that never got there; the line is the median of all runs, and ends where half of them did not. Above: how many reached it (paper: Figure 7, left)."}, "image": {"alt": "Steps to ninety percent accuracy against width, on logarithmic axes."}}
if "widths" in page_tables:
    fig, ax = plt.subplots(figsize=(6.2, 3.7))
    steps = tables.steps_to_reach(
        page_tables["widths"], 0.9, ["width", "seed"]
    )
    plots.plot_reach(
        steps, tables.reached(steps, ["width"]), ax, by="width"
    )
    runs.show(fig, by_width.records)

# %% tags=["nbval-ignore-output"]
claims.beside("Figure 7 (left)", "speed-of-the-large-model")

# %% [markdown]
# ## A wider student (Figure 8)
#
# A wider student needs its teacher less. The question is whether ② still speeds it up, and ① and ③ still do not. One-shot
# distillation at both temperatures is a rival; without temperature 1, which labels cannot give, the students are drawn but no
# verdict is given.

# %%
if figures == "all" and wide_student_width:
    wide = compare(
        runs,
        lambda seed, supervision, rate: student(
            seed, supervision, rate, width=wide_student_width
        ),
        lambda seed: {
            name: method
            for name, method in methods(seed).items()
            if wide_student_soft or name != "one_shot"
        },
        name="wider students",
        **ablate,
    )
    wide_name = (
        "wide_students" if wide_student_soft else "wide_students_hard"
    )
    page_tables[wide_name] = wide.table

# %% mystnb={"figure": {"name": "fig-parity-wide", "caption": "As Figures 1 (left) and 2 (right), for the wider student; means over seeds with 95 % intervals (paper: Figure 8)."}, "image": {"alt": "Accuracy against training steps of wider students, by method."}}
if figures == "all" and wide_student_width:
    fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
    one_shot = "one_shot" if wide_student_soft else "one_shot_hard"
    base = wide.table.method.isin(
        ["cross_entropy", one_shot, "progressive"]
    )
    plots.plot_accuracy(wide.table[base], axes[0])
    plots.plot_accuracy(
        wide.table[wide.table.method.str.contains("two")], axes[1]
    )
    runs.show(fig, wide.records)

# %% tags=["nbval-ignore-output"]
claims.beside("Figure 8")

# %% [markdown]
# ## A teacher trained at a higher rate (Figure 9)
#
# Such a teacher jumps from checkpoint to checkpoint. It takes longer to settle, so its candidate ③ is the first
# checkpoint from which on its accuracy stays above 0.95. The question is whether a student needs degree 1: if ② helps
# where degree 1 shows no clean gap, higher degrees must carry the hint.

# %%
if figures == "all" and fast_steps:
    fast_specs = {
        data_seed(s): teacher(s, rate=fast_rate, steps=fast_steps)
        for s in [*tuning_seeds, *ablation_seeds]
    }
    fast = runs.by_seed(fast_specs.get, fast_specs, "ablations")
    fast_candidates = tables.learned(fast, settled=0.95)
    fast_used = tables.with_teacher(ablation_seeds, fast_candidates)
    fast_teaching = list(dict.fromkeys(data_seed(s) for s in fast_used))
    page_tables["fast_candidates"] = tables.candidate_rows(
        tables.teacher_rows(fast, fast_teaching), fast_candidates
    )
    page_tables["fast_correlations"], _ = probed(
        fast_specs.get, fast_candidates, fast_teaching, "ablations"
    )
    fast_students = compare(
        runs,
        student,
        lambda seed: candidate_methods(
            fast_specs[data_seed(seed)],
            fast_candidates[data_seed(seed)],
            fast_two_checkpoint_steps,
        ),
        learning_rates=student_rates,
        tuning_seeds=tables.with_teacher(tuning_seeds, fast_candidates),
        seeds=fast_used,
        name="students of the fast teacher",
        part="ablations",
        grow=grow,
    )
    page_tables["fast_students"] = fast_students.table

# %% mystnb={"figure": {"name": "fig-parity-fast", "caption": "A teacher with a higher rate. Left and middle: its correlations at degrees 1 and 3 around checkpoint ②. Right: its (2, T) students. Means over seeds with 95 % intervals (paper: Figure 9)."}, "image": {"alt": "Correlations at degree one and three of the fast teacher, and the accuracy of its students."}}
if "fast_students" in page_tables:
    fig, axes = plt.subplots(1, 3, figsize=(10.5, 3.5))
    around = plots.aligned(
        page_tables["fast_correlations"], page_tables["fast_candidates"]
    )
    for ax, degree in zip(axes[:2], (1, 3), strict=True):
        plots.plot_correlations(around, ax, degree, label="steps from ②")
        ax.set_xlim(-10 * checkpoint_every, 15 * checkpoint_every)
    plots.plot_accuracy(fast_students.table, axes[2])
    runs.show(
        fig, [*(fast[s] for s in fast_teaching), *fast_students.records], 4
    )

# %% tags=["nbval-ignore-output"]
claims.beside("Figure 9")

# %% [markdown] tags=["more"]
# # Sparse parity with an MLP: temperature, rates, criteria
#
# (parity-temperature)=
# ## Temperature (Figure 14's question)
#
# The paper asks of Transformers whether (2, T) distillation needs soft labels. Here the MLP answers, with the
# checkpoint ② and then the final one at each temperature, and with hard labels. If softness were what helps, hard
# labels and low temperatures would fall behind.

# %% tags=["nbval-ignore-output"]
if figures == "all" and temperatures:
    settings = targets_by_temperature(temperatures)
    by_temperature = compare(
        runs,
        lambda seed, targets, rate: student(
            seed,
            chosen_checkpoints(
                teacher(seed),
                [candidates[data_seed(seed)].middle],
                two_checkpoint_steps,
                **targets,
            ),
            rate,
        ),
        lambda seed: settings,
        name="temperatures",
        **ablate,
    )
    page_tables["temperatures"] = by_temperature.table.rename(
        columns={"method": "targets"}
    )
    softness = Softness((1e-4,), n_probe_samples)
    soft = runs.by_seed(
        lambda s: Measurement(
            teacher(s), softness, (candidates[s].middle,)
        ),
        teaching,
    )
    share = np.mean([r.table.share_soft.iloc[0] for r in soft.values()])
    display(
        Markdown(
            f"At temperature 10⁻⁴ the largest probability of checkpoint ② lies below 0.999 on a share of {share:.1e} of the "
            f"inputs; on all others the targets are the hard labels. "
        )
    )

# %% mystnb={"figure": {"name": "fig-parity-temperature", "caption": "Mean accuracy over the run of the (2, T) student of checkpoint ②, by the teacher's temperature; one dot per seed, mean with 95 % interval beside it (the question of the paper's Figure 14, put to the MLP)."}, "image": {"alt": "Mean accuracy over the run for hard labels and for each temperature."}}
if "temperatures" in page_tables:
    fig, ax = plt.subplots(figsize=(6.4, 3.4))
    speed = (
        page_tables["temperatures"]
        .groupby(["targets", "seed"])
        .accuracy.mean()
        .reset_index()
    )
    names = plots.temperature_names(settings)
    plots.plot_strip(speed, ax, "targets", "accuracy", list(names), names)
    ax.set_ylabel("mean accuracy over the run")
    ax.set_ylim(0.4, 1.03)
    runs.show(fig, by_temperature.records)

# %% tags=["nbval-ignore-output"]
claims.beside("Figure 14 (MLP)", "low-temperature-suffices")

# %% [markdown]
# ## When the transition comes
#
# A teacher of one seed does not make its transition at the same step everywhere: in float32 the order of its sums decides
# which of many small differences grow, and another processor adds up in another order. Here some teachers are trained once
# more: *again*, nothing changed, on the machine that made this table; in *float64*, where such differences are a billion
# times smaller; and with a rate that falls on a *cosine* to 0 by the end of the run. The first table has the step of 75 %
# held-out accuracy, the second how many got there, and the median. Two processors can bear one name and add up differently;
# on one and the same, *again* is the teacher to the last bit.

# %% tags=["nbval-ignore-output"]
if figures == "all" and variants:
    changes = {
        "again": {"n_steps": variant_steps},
        "float64": {"n_steps": variant_steps, "precision": "float64"},
        "cosine": {"optimizer": SGD(teacher_rate, "cosine")},
    }
    varied = {
        (name, s): replace(teacher(s), checkpoint_every=0, **changes[name])
        for name in variants
        for s in variant_seeds
    }
    _, found = runs.tabled(varied, "method", "seed", part="ablations")
    unchanged = runs.by_seed(teacher, variant_seeds, "ablations")
    found = {("teacher", s): unchanged[s] for s in variant_seeds} | found
    page_tables["variants"] = joined(
        ({"method": m, "seed": s, "machine": r.provenance["machine"]}, r)
        for (m, s), r in found.items()
    )
    varied = page_tables["variants"]
    steps = tables.steps_to_reach(varied, 0.75, ["method", "seed"])
    steps["steps"] = [
        "never" if np.isinf(s) else f"{s:,.0f}" for s in steps.steps
    ]
    by_seed = steps.pivot(index="seed", columns="method", values="steps")
    moved = (by_seed.teacher != by_seed.get("again", by_seed.teacher)).sum()
    display(
        Markdown(
            f"Trained again with nothing changed, {moved} of {len(by_seed)} teachers make their transition at another step. "
            + "So the step of a transition is no property of a seed; its distribution over seeds is what can be compared."
            * bool(moved)
        ),
        by_seed,
        tables.reach_table(varied, 0.75, ["method", "machine"]),
    )

# %% [markdown]
# ## The rates that were tried

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-parity-rates", "caption": "Final held-out accuracy against the learning rate, on the tuning ancestries, by method; rings: the rates chosen. Means with 95 % intervals."}, "image": {"alt": "Final accuracy against learning rate, one line per method."}}
runs.show_rates(students)

# %% tags=["nbval-ignore-output"]
claims.folded(
    "The rates chosen", by_legend(students.rates.set_index("method"))
)

# %% [markdown]
# ## The teachers, and the slider, still

# %% mystnb={"figure": {"name": "fig-parity-teacher", "caption": "The teachers' held-out accuracy, one thin line per seed, with the candidate checkpoints ① before, ② in and ③ after each one's phase transition (paper: Figure 2, left). Dotted: chance."}, "image": {"alt": "Accuracy of each teacher against training steps: flat at chance, then a sharp rise to one; three marked checkpoints on each curve."}}
fig, ax = plt.subplots(figsize=(6.4, 3.4))
plots.plot_seeds(teacher_table, ax, label="a teacher")
plots.mark_candidates(candidate_table, ax)
runs.show(fig, (teachers[s] for s in teaching), 4)

# %% [markdown]
# The students of the slider, one for each checkpoint of one teacher:

# %% mystnb={"figure": {"name": "fig-parity-slider", "caption": "Final accuracy of the (2, T) student against the teacher checkpoint that taught it, one teacher, one run each, beside that checkpoint's own accuracy and its mean degree-1 correlation in the support (scaled to its largest value)."}, "image": {"alt": "Student accuracy, teacher accuracy and scaled correlation against the teacher's checkpoint."}}
fig, ax = plt.subplots(figsize=(6.4, 3.4))
final = slider_table.groupby("checkpoint").accuracy.last()
plots.plot_checkpoint_quality(
    teachers[source].table,
    correlations[correlations.seed == source],
    final,
    ax,
)
runs.show(fig, slid.values(), 2)

# %% tags=["nbval-ignore-output"]
claims.beside("worse-teacher-better-student")

# %% [markdown]
# ## Hard labels of a perfect teacher are labels
#
# One-shot distillation at a temperature near 0, from a teacher that makes no error, has the same targets as
# cross-entropy: with the same weights and inputs it is the same run. Here both are run; where their rates agree, the
# difference of their accuracies shows the teacher's errors on the student's inputs.

# %% tags=["nbval-ignore-output"]
pair = students.table[
    students.table.method.isin(["cross_entropy", "one_shot_hard"])
]
curves = pair.pivot_table(
    index=["seed", "step"], columns="method", values="accuracy"
)
twins = (
    (curves.cross_entropy - curves.one_shot_hard)
    .abs()
    .groupby("seed")
    .max()
)
same_rate = students.rate("cross_entropy") == students.rate("one_shot_hard")
pd.DataFrame(
    {"largest difference of accuracy": twins, "same rate": same_rate}
)

# %% [markdown]
# ## Verdicts
#
# Each criterion is a row of `pdlib/claims/register.yaml`, with the side and the threshold that the interval over ancestries
# must clear; one criterion, marked ✓, decides the claim. In the smoke profile nothing is judged. *log2* effects of 1 mean
# twice.

# %%
if profile == "paper":
    sizes = {student_width, wide_student_width, teacher_width} - {0}
    (times,) = runs([StepTimes(n_bits, support_size, tuple(sorted(sizes)))])
    page_tables["step_times"] = times.table
    progressive = {
        s: student(
            s, methods(s)["progressive"], students.rate("progressive")
        )
        for s in teaching
    }
    at_0 = MonomialCorrelations(degrees=(1,))
    said = (
        (s, step, *labels.predictions(progressive[s], runs.store, step))
        for s in teaching
        for step in measured[s].spec.steps
    )
    page_tables["label_correlations"] = pd.DataFrame(
        {"seed": s, "step": step, **row}
        for s, step, x, y in said
        for row in at_0.of_prediction(task, x, y == 0)
    )
verdicts = runs.judge(page_tables)
claims.by_claim(verdicts)

# %% tags=["nbval-ignore-output", "hide-input"]
display(
    claims.by_criterion(verdicts),
    claims.folded("What it cost", runs.cost_table().rename_axis("part")),
)
