"""Anyone's PyTorch checkpoints, in files, as a teacher."""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_tensors

from pdlib.contents import FileContent
from pdlib.specs import Model, Parameters, SpecError, Task, Teacher, checked, require


@dataclass(frozen=True)
class FolderTeacher(Teacher):
    """A network at several steps of its training, a state dict in a file for each; what the files hold decides results.

    Parameters
    ----------
    task, model
        What the network was trained on, and the network, such as an `MLP` or a `TorchModel`.
    paths
        Files of `torch.save(module.state_dict(), path)`, or of safetensors if they are called so, with the names and shapes
        that `model.initial` gives. Of pickled ones only weights are loaded.
    steps
        The step of each, rising.

    Raises
    ------
    SpecError
        If a file is missing, was altered, or is no such state dict, or a weight is not finite; names the file.

    Examples
    --------
    >>> import os, tempfile
    >>> from pdlib import MLP, SparseParity
    >>> path = os.path.join(tempfile.mkdtemp(), "final.pt")
    >>> torch.save(MLP(4).module(MLP(4).initial(8, 2, seed=0)).state_dict(), path)
    >>> teacher = FolderTeacher(SparseParity(8, 2), MLP(4), [path], [1000])
    >>> teacher.checkpoints, sorted(teacher.parameters(1000))
    ((1000,), ['0.bias', '0.weight', '2.bias', '2.weight'])
    """

    paths: tuple[FileContent, ...]
    steps: tuple[int, ...]

    def __post_init__(self) -> None:
        checked("task", self.task, Task)
        checked("model", self.model, Model)
        object.__setattr__(self, "model", self.model.for_task(self.task))
        self.model.check(self.task)
        for name in ("paths", "steps"):
            value = getattr(self, name)
            require(isinstance(value, (list, tuple)), f"{name} = {value!r}", "a list")
        given, steps = tuple(self.paths), tuple(self.steps)
        what = f"{len(given)} paths with steps = {steps!r}"
        rising = all(type(b) is int and a < b for a, b in pairwise((0, *steps)))
        require(
            len(given) == len(steps) > 0 and rising, what, "a step for each, whole numbers from 1, rising"
        )
        files = tuple(p if isinstance(p, FileContent) else FileContent(str(p)) for p in given)
        object.__setattr__(self, "paths", files)
        object.__setattr__(self, "steps", steps)
        for path, file in zip(given, files, strict=True):
            if path is not file:
                self._read(file)  # what is wrong with it is said at once

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """The steps."""
        return self.steps

    def parameters(self, step: int, store: Any = None) -> Parameters:
        """Return the parameters at a step, read from its file and checked."""
        require(step in self.steps, f"step {step}", f"one of {', '.join(map(str, self.steps))}")
        return self._read(self.paths[self.steps.index(step)])

    def _read(self, file: FileContent) -> Parameters:
        data = file.read()
        try:
            if file.path.endswith(".safetensors"):
                state = load_tensors(data)
            else:
                state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        except Exception as error:  # of many kinds, by what the bytes happen to be
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise SpecError(
                f"{file.path}: no checkpoint of PyTorch ({first}): expected torch.save(module.state_dict(), path), or "
                "safetensors in a file that is called so."
            ) from error
        expected = self.model.initial(self.task.n_inputs, self.task.n_classes, seed=0)
        remedy = f"Save module.state_dict() of the network that {self.model} describes."
        found = state if isinstance(state, dict) else {}
        for name in sorted({*map(str, found), *expected}):
            value = found.get(name, "nothing")
            got = value if isinstance(value, str) else tuple(getattr(value, "shape", ("no tensor",)))
            wanted = expected[name].shape if name in expected else "no such entry"
            require(got == wanted, f"{file.path}: {name} of shape {got}", f"{wanted}", remedy)
        arrays = {
            name: (v.to(torch.promote_types(v.dtype, torch.float32)) if v.is_floating_point() else v).numpy()
            for name, v in found.items()
        }
        for name, array in arrays.items():
            bad = int((~np.isfinite(array)).sum())
            what = f"{file.path}: {bad} numbers of {name} that are NaN or infinite"
            require(bad == 0, what, "finite weights", "Take a checkpoint from before the run diverged.")
        return arrays
