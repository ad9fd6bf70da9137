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
# (nb-own)=
# # Your own distillation
#
# A guide, which judges nothing: your data, your network, your probe and your schedule, in the same engine as the other
# pages. Everything below is a *spec*: what it says decides a result, which is stored under its fingerprint and found again.
# Of classes and functions that are yours, the code is part of that, with all that it uses: edit a line, and what depends
# on it is computed anew.

# %% tags=["parameters"]
profile: str = "smoke"  # this page has no other
figures: str = "core"  # nor more than one figure
n_examples: int = 600
n_steps: int = 600  # of teacher and students
rate: float = 0.003  # eta

# %%
from pdlib.pages import check_parameters

check_parameters(globals())

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pdlib
import torch
from pdlib.models.mlp import softmax
from torch import nn

# %% [markdown]
# ## Data
#
# Two spirals. `ArrayTask` takes arrays and goes by their content: shuffle the labels, and it is another task. A fifth of
# the examples is held out; evaluations and probes see only these. A class that reads a file by itself has a field
# `data: pdlib.FileContent` and reads it by `self.data.read()`.

# %%
draw = np.random.default_rng(0)
radius = draw.uniform(0.2, 1.0, n_examples)
classes = np.arange(n_examples) % 2
angle = 7 * radius + np.pi * classes
points = radius * np.array([np.cos(angle), np.sin(angle)])
task = pdlib.ArrayTask(points.T, classes)
task.n_inputs, task.n_classes, task.n_held_out

# %% [markdown]
# ## Network
#
# A function of the numbers of inputs and classes that makes any PyTorch module.


# %%
def network(width, n_inputs, n_classes):
    return nn.Sequential(
        nn.Linear(n_inputs, width),
        nn.GELU(),
        nn.Linear(width, width),
        nn.GELU(),
        nn.Linear(width, n_classes),
    )


def wide(n_inputs, n_classes):
    return network(64, n_inputs, n_classes)


def narrow(n_inputs, n_classes):
    return network(8, n_inputs, n_classes)


teacher = pdlib.Training(
    task,
    pdlib.TorchModel(wide),
    pdlib.Adam(rate),
    n_steps=n_steps,
    evaluate_every=n_steps // 10,
    checkpoint_every=n_steps // 4,
    batch_size=32,
    n_evaluation=task.n_held_out,
)
teacher.checkpoints

# %% [markdown]
# ## Schedule and probe
#
# A schedule says which checkpoint supervises which steps. This one gives half of the run to the first checkpoint, half of
# what is left to the next, and so on. A probe turns a checkpoint into rows of a table.


# %%
@dataclass(frozen=True)
class Halving(pdlib.Schedule):
    def pieces(self, checkpoints, n_steps):
        left = [n_steps // 2**i for i in range(len(checkpoints))]
        edges = [n_steps - steps for steps in left] + [n_steps]
        spans = zip(edges, edges[1:], checkpoints, strict=False)
        return [pdlib.Piece(*span) for span in spans]


@dataclass(frozen=True)
class Confidence(pdlib.Probe):
    n_samples: int = 100

    def rows(self, training, parameters, device="cpu"):
        stream = training.task.stream(0, "probe")
        inputs, _ = stream.examples(0, self.n_samples)
        values = training.model.logits(parameters, inputs, device)
        largest = softmax(values).max(axis=1)
        return [{"mean_largest": float(largest.mean())}]


Halving().pieces(teacher.checkpoints, n_steps)

# %% [markdown]
# ## One-shot beside progressive
#
# A student names its teacher; `execute` trains what is needed, in order, and returns tables. Code that is written in a
# notebook runs in its own process; in a script, worker processes share the work, and the call stands under
# `if __name__ == "__main__":`.


# %%
def taught(by, schedule):
    return replace(
        teacher,
        model=pdlib.TorchModel(narrow),
        supervision=pdlib.Distillation(by, schedule, targets="soft"),
    )


students = {
    "one-shot": taught(teacher, pdlib.OneShot()),
    "progressive": taught(teacher, Halving()),
}
probe = pdlib.Measurement(teacher, Confidence(), teacher.checkpoints)
runs = {"teacher": teacher, **students}
records = pdlib.execute([*runs.values(), probe], progress=False)
tables = {
    name: r.table for name, r in zip([*runs, "probe"], records, strict=True)
}
tables["probe"].columns.tolist(), tables["probe"].step.tolist()

# %% [markdown]
# ## Checkpoints that you have already
#
# `FolderTeacher` takes state dicts in files, whoever trained them. Here the teacher's own are written and read again, so
# the student learns the same; the files' content is part of its fingerprint.

# %%
store = pdlib.Store()
folder = Path(tempfile.mkdtemp())
for step in teacher.checkpoints:
    module = teacher.model.module(store.load_checkpoint(teacher, step))
    torch.save(module.state_dict(), folder / f"{step}.pt")

files = [folder / f"{step}.pt" for step in teacher.checkpoints]
yours = pdlib.FolderTeacher(task, teacher.model, files, teacher.checkpoints)
(record,) = pdlib.execute([taught(yours, Halving())], progress=False)
bool(record.table.equals(tables["progressive"])), len(yours.checkpoints)

# %% mystnb={"figure": {"caption": "Held-out accuracy on two spirals.", "name": "fig-own-accuracy"}, "image": {"alt": "Held-out accuracy against steps for the teacher and the two students."}} tags=["nbval-ignore-output"]
fig, ax = plt.subplots(figsize=(5, 3))
for name in runs:
    ax.plot(
        tables[name].step, tables[name].accuracy, marker=".", label=name
    )
ax.set(xlabel="steps", ylabel="held-out accuracy")
ax.legend()
plt.show()
