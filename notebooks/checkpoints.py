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
# (nb-checkpoints)=
# # Do you need the checkpoints?
#
# What does a checkpoint of the transition teach by, does it have to be *that* teacher's, and would something cheaper than keeping
# checkpoints do? Questions that the paper leaves open, on its smallest task.

# %% tags=["parameters"]
profile: str = "smoke"  # smoke or laptop
figures: str = "all"  # core: what teaches, whose, without checkpoints; all: also what is stored, and order
n_bits: int = 20  # d
support_size: int = 4  # k
teacher_width: int = 256  # m of the teachers
student_width: int = 16  # m of the students
teacher_rate: float = 0.02  # eta of the teachers
student_rates: list[float] = [0.01, 0.02]  # tried for every method
grow: int = 0  # rates added beyond an end of the grid, if chosen there
n_steps: int = 24_000  # of teacher and students
checkpoint_every: int = 1_000  # steps between kept checkpoints
two_checkpoint_steps: int = (
    2_000  # T, for which anything but the final teacher teaches
)
n_in_turn: int = (
    4  # equally spaced checkpoints of a whole run, in three orders
)
n_labels: list[int] = [1, 4]  # m, labels sampled from the teacher
label_weights: list[float] = [0.5, 0.9]  # alpha, of true labels mixed in
seeds: list[int] = [1, 2]  # ancestries reported
tuning_seeds: list[int] = [101]  # ancestries to choose rates on

# %% tags=["hide-input"]
from pdlib.pages import check_parameters

check_parameters(globals())  # before the imports that take seconds

import tempfile
from itertools import combinations

import numpy as np
import pandas as pd
from IPython.display import Markdown
from pdlib import (
    MLP,
    SGD,
    SparseParity,
    Store,
    claims,
    execute,
    tables,
)
from pdlib import figures as plots
from pdlib.comparison import (
    PageRuns,
    chosen_checkpoints,
    compare,
    student_of,
)
from pdlib.labels import Targets
from pdlib.schedules import EqualSplit, Explicit, OneShot
from pdlib.specs import Distillation, Labels, Training
from pdlib.tables import data_seed
from pdlib.target_rules import (
    AnnealedTemperature,
    Imitation,
    LabelMixture,
    OtherSupport,
    RandomProjection,
    Sampled,
    WithoutDegrees,
)

runs = PageRuns.of("checkpoints", globals())

NAMES = {  # of methods, as figures say them
    "checkpoint": "the checkpoint ②",
    "noise": "noise as accurate",
    "noise_degree_1": "noise + degree 1",
    "noise_all": "noise + degrees < k",
    "without_degree_1": "② without degree 1",
    "kept_degree_1": "② as noisy, degree 1 kept",
    "without_all": "② without degrees < k",
    "kept_all": "② as noisy, all kept",
    "other_teacher": "② of another teacher",
    "other_support": "② on another support",
    "labels": "labels",
    "one_shot": "one-shot, τ = 1",
    "one_shot_hard": "one-shot, hard labels",
    "projection": "projection",
    "projection_untrained": "untrained projection",
    "annealed": "falling temperature",
    "soft": "② at τ = 1",
    "forward": "in turn",
    "reversed": "reversed",
    "shuffled": "shuffled",
} | {f"sampled_{m}": f"② by {m} labels" for m in n_labels}
NAMES |= {f"mixed_{a:g}": f"② + {a:.0%} labels" for a in label_weights}


# %% tags=["nbval-ignore-output"]
def reach(tables_, *methods):
    """How many students of each method reach 90 %."""
    rows = tables.reach_table(tables_["students"], 0.9, ["method"])
    found = rows.set_index("method")
    return [f"{found.n_reached[m]} of {found.n[m]}" for m in methods]


def headline(tables_):
    """The effect in a sentence, from published tables alone."""
    teaches, leak, parts, without, projection = reach(
        tables_,
        *[
            "checkpoint",
            "noise_degree_1",
            "noise_all",
            "without_all",
            "projection",
        ],
    )
    return (
        f"Students that reach 90 %: of the checkpoint in transition {teaches}; of noise with its degree-1 signal alone {leak}, with "
        f"all its products of fewer than k coordinates {parts}; of the checkpoint without these {without}; of one bit of the final "
        f"teacher's hidden layer, no checkpoint kept, {projection}."
    )


runs.in_short(
    headline, "partial-products", "hidden-layer-instead", "degree-1-alone"
)


# %% tags=["hide-input", "nbval-ignore-output"] mystnb={"figure": {"name": "fig-checkpoints-headline", "caption": "Mean held-out accuracy over the run of students taught for T steps by what is named, then by the final teacher; one-shot and labels throughout. A dot is an ancestry, beside them the mean with its 95 % interval. From the tables of the largest published size."}, "image": {"alt": "Strips of mean accuracy: checkpoint, noise with all partial products and projection are high, the others at one half."}}
def strip(table, names):
    """Each ancestry's mean accuracy over the run, by method."""
    fig, (ax,) = plots.panels([""], (7.6, 0.9 + 0.33 * len(names)))
    mean = table.groupby(["method", "seed"], as_index=False).accuracy.mean()
    plots.plot_rows(mean, ax, "accuracy", "method", names, NAMES)
    ax.axvline(0.5, color="0.5", linewidth=0.8, linestyle=":")
    ax.set_xlim(0.4, 1.02)
    ax.set_xlabel("mean accuracy over the run")
    return fig


runs.show_headline(
    lambda found: strip(
        found["students"],
        [
            "checkpoint",
            "noise_degree_1",
            "noise_all",
            "without_all",
            "projection",
            "one_shot_hard",
        ],
    )
)

# %% [markdown]
# ## The idea in a few lines
#
# A checkpoint's labels are a function $h(\mathbf{x}) = \pm 1$. On the support it is a sum of products of coordinates,
#
# $$
# \mathrm{E}[h(\mathbf{x}) \mid \mathbf{x}_\mathbf{S}] = \sum_{A \subseteq \mathbf{S}} c_A \chi_A(\mathbf{x}), \qquad
# \chi_A(\mathbf{x}) = \prod_{j \in A} x_j, \qquad c_A = \mathrm{E}[h(\mathbf{x}) \chi_A(\mathbf{x})],
# $$ (eq-checkpoint-parts)
#
# whose last term, $A = \mathbf{S}$, is the label itself with noise. What a student could learn from besides are the *partial*
# products. So ask for labels that have some of them and not the others. By hand: the energy $\sum_{|A| = \text{degree}} c_A^2$ of a
# small teacher's labels in its transition, and what noise with degree 1, and the labels without degrees below $k$, should have.

# %% tags=["hide-input"]
small = Training(
    SparseParity(16, 4),
    MLP(64),
    SGD(0.05),
    n_steps=6_000,
    evaluate_every=6_000,
    checkpoint_every=500,
    precision="float64",
)
scratch = Store(tempfile.mkdtemp(), published=None)  # of this example alone
execute([small], scratch, n_workers=1, progress=False)
k, transition = small.task.support_size, 3_000
x, _ = small.task.stream(0, "probe").examples(0, 100_000)
kept = small.parameters(transition, scratch)


# %% tags=["show"]
def coefficients(h, x):
    """c_A of the support's products, by A."""
    sets = [A for n in range(1, k + 1) for A in combinations(range(k), n)]
    return {A: (h * x[:, list(A)].prod(axis=1)).mean() for A in sets}


def energies(c):
    """The sum of their squares, by degree."""
    return [
        sum(c[A] ** 2 for A in c if len(A) == n) for n in range(1, k + 1)
    ]


c = coefficients(1 - 2 * small.model.logits(kept, x).argmax(axis=1), x)
scale = 1 / (1 + sum(abs(c[A]) for A in c if len(A) < k))
expected = {
    "noise + degree 1": energies({A: c[A] * (len(A) in (1, k)) for A in c}),
    "without degrees < k": energies(
        {A: c[A] * scale * (len(A) == k) for A in c}
    ),
}
columns = [f"degree {n}" for n in range(1, k + 1)]
pd.DataFrame(
    {"the checkpoint": energies(c)} | expected, index=columns
).T.round(3)

# %% [markdown]
# What a student is told by this book's rules, example by example, has these parts and no others:


# %% tags=["hide-input"]
def told(rule, n=100_000):
    """The signs that a student of the checkpoint is told in its first n steps, and its inputs."""
    taught = student_of(
        small,
        chosen_checkpoints(small, [transition], n, targets=rule),
        n_steps=n + 1,
        evaluate_every=n + 1,
    )
    inputs, classes = taught.stream.examples(0, n)
    return 1 - 2.0 * Targets(taught, scratch).of(0, n, classes), inputs


rules = {
    "noise + degree 1": Imitation((1,)),
    "without degrees < k": WithoutDegrees((1, 2, 3)),
}
found = {
    name: energies(coefficients(*told(rule)))
    for name, rule in rules.items()
}
differences = np.abs([np.subtract(found[m], expected[m]) for m in rules])
{
    "parameters": differences.size,
    "equal": int((differences < 0.02).sum()),
}

# %% [markdown]
# ## What is known, and what was expected
#
# > "these strong correlations emerge when the teacher learns the sparse parity task (i.e., during the phase
# > transition) but diminish with continued training." {cite:p}`panigrahi2025` (section 3.1)
#
# The paper explains the student's gain by the teacher's correlations with *single* coordinates, degree 1. Written down before the
# runs, in the order of the sections: if that is what teaches, noise with the checkpoint's degree-1 signal does as well as the
# checkpoint, and the checkpoint without it does no better than one-shot distillation. Another teacher's checkpoint does as well
# if it learned the same support. What is a function of the final teacher's *output* alone, such as a temperature that falls
# {cite:p}`jafari2021`, has no part but the label's, and should not help; its *hidden layer* has {cite:p}`gupta2025`. A few sampled
# labels do nearly as well as the argmax, and order matters.
#
# In a first look at two ancestries that are not reported, noise with degree 1 alone taught neither student, and noise with all degrees
# below $k$ both: the second criterion comes from there.
#
# ## The setting
#
# Sparse parity {eq}`eq-parity-task`, teachers and students as on {ref}`the page before <nb-parity>`: batch 1, plain SGD, every input
# once. Whatever a student is taught by, it is so for $T$ steps; then the final teacher's hard labels teach. All methods share
# teacher, initial weights and inputs within an ancestry, and have the same rates to try on the same other ancestries.

# %%
task = SparseParity(n_bits, support_size)


def teacher(seed):
    return Training(
        task,
        MLP(teacher_width),
        SGD(teacher_rate),
        n_steps=n_steps,
        evaluate_every=checkpoint_every,
        checkpoint_every=checkpoint_every,
        seed=data_seed(seed),
    )


teachers = runs.by_seed(
    teacher, [data_seed(s) for s in [*tuning_seeds, *seeds]]
)
candidates = tables.learned(teachers)
used = tables.with_teacher(seeds, candidates)
tuning_used = tables.with_teacher(tuning_seeds, candidates)
teacher_table = tables.teacher_rows(teachers, used)
candidate_table = tables.candidate_rows(teacher_table, candidates)
Markdown(
    f"**{len(used)} of {len(seeds)}** teachers learned within the budget; the others have no transition to choose from."
)

# %%
T, below_k = two_checkpoint_steps, tuple(range(1, support_size))


def other(seed):
    """The next ancestry's teacher, of those that learned."""
    of = used if seed in used else tuning_used
    return of[(of.index(seed) + 1) % len(of)]


def methods(seed):
    t, middle = teacher(seed), candidates[seed].middle

    def by(rule):
        return chosen_checkpoints(t, [middle], T, targets=rule)

    another = teacher(other(seed))
    their = chosen_checkpoints(another, [candidates[other(seed)].middle], T)
    return {
        "checkpoint": by("hard"),
        "noise": by(Imitation(())),
        "noise_degree_1": by(Imitation((1,))),
        "noise_all": by(Imitation(below_k)),
        "without_degree_1": by(WithoutDegrees((1,))),
        "kept_degree_1": by(WithoutDegrees((1,), kept=True)),
        "without_all": by(WithoutDegrees(below_k)),
        "kept_all": by(WithoutDegrees(below_k, kept=True)),
        "other_teacher": their,
        "other_support": by(OtherSupport(support_size)),
        "labels": Labels(),
        "one_shot": Distillation(t, OneShot()),
        "one_shot_hard": Distillation(t, OneShot(), targets="hard"),
        "projection": Distillation(
            t, OneShot(), targets=RandomProjection(T)
        ),
        "projection_untrained": Distillation(
            t, OneShot(), targets=RandomProjection(T, untrained=True)
        ),
        "annealed": Distillation(
            t, OneShot(), targets=AnnealedTemperature(n_steps)
        ),
    }


def further_methods(seed):
    t, middle = teacher(seed), candidates[seed].middle

    def in_turn(order):
        parts = [n_steps * i // n_in_turn for i in order]
        each = (n_steps // n_in_turn,) * (n_in_turn - 1)
        return Distillation(t, Explicit((*parts, -1), each), targets="hard")

    backwards = range(n_in_turn - 1, 0, -1)
    shuffled = np.random.default_rng(seed).permutation(backwards).tolist()
    rules = {f"sampled_{m}": Sampled(m) for m in n_labels}
    rules |= {f"mixed_{a:g}": LabelMixture(a) for a in label_weights}
    return {
        name: chosen_checkpoints(t, [middle], T, targets=rule)
        for name, rule in rules.items()
    } | {
        "soft": chosen_checkpoints(t, [middle], T, temperature=1.0),
        "forward": Distillation(t, EqualSplit(n_in_turn), targets="hard"),
        "reversed": in_turn(backwards),
        "shuffled": in_turn(shuffled),
    }


def student(seed, supervision, rate):
    return student_of(
        teacher(seed),
        supervision,
        seed,
        model=MLP(student_width),
        optimizer=SGD(rate),
    )


# %% tags=["nbval-ignore-output"]
grid = {
    "seeds": used,
    "tuning_seeds": tuning_used,
    "learning_rates": student_rates,
    "grow": grow,
}
students = compare(runs, student, methods, name="students", **grid)
page_tables = {
    "teacher": teacher_table,
    "candidates": candidate_table,
    "students": students.table,
}
if figures == "all":
    further = compare(
        runs,
        student,
        further_methods,
        name="further",
        part="ablations",
        **grid,
    )
    page_tables["further"] = pd.concat(
        [
            further.table,
            students.table[
                students.table.method.isin(
                    ["checkpoint", "one_shot", "one_shot_hard"]
                )
            ],
        ]
    )

# %% [markdown]
# ## What a checkpoint teaches by
#
# *Noise* are true labels, as accurate as the checkpoint's; *degree 1* adds the checkpoint's correlations with single coordinates
# of the support, *degrees < k* those with all its partial products. The other way round, the checkpoint's own labels have these
# parts projected out; each control has the same noise and keeps the part.

# %% mystnb={"figure": {"name": "fig-checkpoints-cause", "caption": "Mean held-out accuracy over the run, by what teaches for the first T steps. A dot is an ancestry, beside them the mean with its 95 % interval; dotted: chance."}, "image": {"alt": "Strips of mean accuracy over the run for the checkpoint, noise, noise with parts, and the checkpoint without parts with its controls."}}
cause = [*list(NAMES)[:8], "one_shot_hard"]
runs.show(strip(students.table, cause), students.records)

# %% tags=["nbval-ignore-output"]
everyone = page_tables.get("further", students.table)
everyone = pd.concat([students.table, everyone]).drop_duplicates(
    ["method", "seed", "step"]
)
of = list(everyone.method.unique())
got = dict(zip(of, reach({"students": everyone}, *of), strict=True))
runs.say(
    f"Students that reach 90 %: of the checkpoint {got['checkpoint']}; of noise {got['noise']}, with degree 1 {got['noise_degree_1']}, with all "
    f"degrees below k {got['noise_all']}; of the checkpoint without degree 1 {got['without_degree_1']} (control {got['kept_degree_1']}), "
    f"without degrees below k {got['without_all']} (control {got['kept_all']}).",
    "degree-1-alone",
    "partial-products",
)

# %% [markdown]
# ## Whose checkpoint
#
# The checkpoint ② of another teacher, of other weights and inputs, that learned the same support; and the same network with its
# inputs moved, so that all it says is about coordinates that do not matter.

# %% mystnb={"figure": {"name": "fig-checkpoints-whose", "caption": "As before: the own teacher's checkpoint, another teacher's, and the own network on another support."}, "image": {"alt": "Strips of mean accuracy over the run for three sources of a checkpoint."}}
runs.show(
    strip(
        students.table,
        ["checkpoint", "other_teacher", "other_support", "one_shot_hard"],
    ),
    students.records,
)

# %% tags=["nbval-ignore-output"]
runs.say(
    f"Students that reach 90 %: of the own teacher's checkpoint {got['checkpoint']}, of another's {got['other_teacher']}, of the same on another "
    f"support {got['other_support']}.",
    "any-teacher",
)

# %% [markdown]
# ## Without checkpoints
#
# From the final teacher alone: one bit of a random projection of its hidden layer for $T$ steps, then its labels; the same
# projection of the untrained network; a temperature that falls over the run; and the usual one-shot students.

# %% mystnb={"figure": {"name": "fig-checkpoints-without", "caption": "As before: students that need no intermediate checkpoint, beside that of the checkpoint."}, "image": {"alt": "Strips of mean accuracy over the run for students of the final teacher alone."}}
runs.show(
    strip(
        students.table,
        [
            "checkpoint",
            "projection",
            "projection_untrained",
            "annealed",
            "one_shot",
            "one_shot_hard",
            "labels",
        ],
    ),
    students.records,
)

# %% tags=["nbval-ignore-output"]
runs.say(
    f"Students that reach 90 %: by the projection {got['projection']}, by that of the untrained network {got['projection_untrained']}; by the falling "
    f"temperature {got['annealed']}, one-shot {got['one_shot']}, with hard labels {got['one_shot_hard']}.",
    "hidden-layer-instead",
    "outputs-do-not-help",
)

# %% [markdown]
# ## What is stored, and labels mixed in
#
# The checkpoint's argmax is one bit an example; a sampled label is one bit too, $m$ of them are $m$; its distribution at
# temperature 1 takes sixteen here. True labels mixed in leave less of it.

# %% mystnb={"figure": {"name": "fig-checkpoints-stored", "caption": "As before: the checkpoint's argmax, labels sampled from it, its distribution, and mixtures with true labels."}, "image": {"alt": "Strips of mean accuracy over the run by kind of target."}}
stored = ["checkpoint", *(f"sampled_{m}" for m in n_labels), "soft"]
mixed = [f"mixed_{a:g}" for a in label_weights]
if figures == "all":
    runs.show(strip(everyone, [*stored, *mixed]), further.records)

# %% tags=["nbval-ignore-output"]
if figures == "all":
    said = "; ".join(f"{NAMES[m]} {got[m]}" for m in [*stored, *mixed])
    runs.say(
        f"Students that reach 90 %: {said}.",
        "one-label-is-enough",
        "labels-mixed-in",
    )

# %% [markdown]
# ## In what order
#
# All of a run's checkpoints, equally spaced, each for as long: in the teacher's order, reversed, and shuffled; the final one
# last.

# %% mystnb={"figure": {"name": "fig-checkpoints-order", "caption": "As before: students of equally spaced checkpoints in three orders, beside that of the checkpoint ②."}, "image": {"alt": "Strips of mean accuracy over the run by order of checkpoints."}}
if figures == "all":
    orders = ["checkpoint", "forward", "reversed", "shuffled"]
    runs.show(strip(everyone, orders), further.records)

# %% tags=["nbval-ignore-output"]
if figures == "all":
    runs.say(
        f"Students that reach 90 %: in turn {got['forward']}, reversed {got['reversed']}, shuffled {got['shuffled']}.",
        "order-matters",
    )

# %% [markdown]
# ## What this page does not say
#
# - **Size.** One size, one task, one kind of network; at the paper's own size degree 1 is a larger part of what a checkpoint says
#   ({ref}`parity-paper-size`), and might be enough there.
# - **Readings.** The projection's sign and its single row are our reading of {cite:t}`gupta2025`, the softmax version of a falling
#   temperature that of {cite:t}`jafari2021`.
# - **Oracles.** Noise with chosen parts is made with the support in hand: it says why, and is no method.
# - **Not tried here**: losses on hidden layers, targets that depend on the student, other input distributions, rules that choose a
#   checkpoint without labels.

# %% [markdown] tags=["more"]
# (checkpoints-more)=
# # Do you need the checkpoints: rates, criteria
#
# What stands behind {ref}`the page <nb-checkpoints>`.
#
# ## Speed, and the rates that were tried

# %% tags=["nbval-ignore-output", "hide-input"]
speeds = tables.reach_table(everyone, 0.9, ["method"])
chosen = pd.concat([c.rates for c in runs.choices.values()]).set_index(
    "method"
)
speeds.set_index("method").join(
    chosen[["learning_rate", "at_edge"]]
).rename(index=NAMES).rename_axis("taught by")

# %% [markdown]
# ## Verdicts
#
# Each criterion is a row of `pdlib/claims/register.yaml`, with the side and the threshold that the interval over ancestries must
# clear; one criterion, in bold type, decides the claim. In the smoke profile nothing is judged.

# %%
verdicts = runs.judge(page_tables)
claims.by_claim(verdicts).set_index("claim")

# %% tags=["nbval-ignore-output", "hide-input", "hide-output"]
from IPython.display import display

display(claims.by_criterion(verdicts), runs.cost_table())
