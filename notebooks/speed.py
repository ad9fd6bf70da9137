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
# (nb-speed)=
# # Speed board
#
# How fast is the engine that trained this book's networks, beside the loops that one would write by hand, and what did the
# book cost?

# %% tags=["parameters"]
profile: str = "smoke"  # this page has no other
figures: str = "core"  # nor more than one figure
claimed_ms: float = 60.0  # said in public to be the least that SGD takes for the small parity
n_steps: int = 256  # after which two loops are compared below

# %%
from pdlib.pages import check_parameters

check_parameters(globals())

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown, display
from pdlib import figures as plots
from pdlib.bench import speed
from pdlib.comparison import PageRuns
from pdlib.published import Published

runs = PageRuns.of("speed", globals())
rows, made = speed.board()
versions = ", ".join(f"{name} {v}" for name, v in made["versions"].items())
source = f"{made['machine']}; {versions}; {made['date'][:10]}; code {made['commit'][:10]}"

# %% tags=["nbval-ignore-output"]
display(Markdown(speed.sentence(rows, claimed_ms)))

# %% mystnb={"figure": {"caption": "A step of batch size 1: how many times as long each loop takes as the engine, by the width of the hidden layer, on one thread. Both sides of a ratio were measured in turns, in one run.", "name": "fig-speed-ratios"}, "image": {"alt": "Ratios of times against width on logarithmic axes: eager PyTorch, torch.compile, NumPy and C."}} tags=["nbval-ignore-output"]
looks = {
    "eager": ("eager PyTorch", plots.ORANGE, (0, (5, 1))),
    "torch.compile": ("under torch.compile", plots.RED, (0, (3, 1, 1, 1))),
    "NumPy": ("a NumPy loop", plots.BLUE, (0, (1, 1))),
    "C": ("a C loop", plots.BLACK, "-"),
}
a_step = rows[rows.measure.eq("step")]
fig, ax = plt.subplots(figsize=(5, 3.2))
plots.plot_scaling(a_step, ax, "size", "ratio", "against", looks)
plots.axis_of(sorted(a_step["size"].astype(int).unique()), ax, "width")
ax.axhline(1, color="0.5", linewidth=0.8)
ax.set_ylabel("time / engine's time")
runs.show(fig, source, 2)

# %% [markdown]
# ## What is timed
#
# The small parity: uniform signs, of which the first $k$ decide the class, in one pass without a teacher. Width and rate were
# chosen on other seeds. At which step a seed gets to the accuracy is found in a run that looks after every few steps; then
# the training up to there is timed, as one call, with weights and examples at hand. So the times are of training alone. What
# is done beside it has rows of its own: drawing, looking, compiling.

# %% tags=["nbval-ignore-output"]
shown = rows[rows.measure.isin(["learning", "beside"]) | rows.ours.isna()]
names = {
    "case": "what",
    "ours": "engine",
    "peer": "peer",
    "unit": "unit",
    "ratio": "ratio",
    "note": "note",
}
table = shown[[*names]].rename(columns=names).replace("", None)
for column in ("engine", "peer", "ratio"):
    table[column] = table[column].map(
        lambda v: (
            "–" if pd.isna(v) else f"{v:,.0f}" if v >= 100 else f"{v:.3g}"
        )
    )
pd.set_option("display.max_colwidth", None)
display(table.dropna(axis=1, how="all"))

# %% [markdown]
# Each loop starts from the same weights and takes the same steps, and is a second route to the engine's weights. No time is
# told of a loop that comes to others. Here for NumPy's:

# %%
task = speed.LEARNED
start = speed.initial(task.n_bits, speed.WIDTH)
inputs, classes = task.stream(0, "train").examples(0, n_steps)
apart = speed.difference(
    speed.numpy_loop, start, inputs, classes, speed.RATE
)
print(f"{n_steps} steps to the same weights: {apart < speed.TOLERANCE}")

# %% [markdown]
# ## What the book cost
#
# Processor time of the runs behind each page's figures, from what was kept with them, all of drawing, labelling and measuring
# included. Beside it an estimate: the steps of those trainings times what a step takes the eager loop, alone, on the machine
# of the board. A dash: the board has no loop of that kind. A run that pages share counts in each.

# %% tags=["nbval-ignore-output"]
table = speed.costs(rows, Published())
for column in ("core minutes", "eager loop, minutes"):
    table[column] = table[column].map("{:,.0f}".format).replace("nan", "–")
display(table[[*table.columns.drop("machine"), "machine"]])

# %% [markdown]
# To measure it anew, and show that here:
#
# ```
# python -m pdlib bench speed --save
# python -m pdlib references speed
# ```
