"""Training by a gradient over a batch, in PyTorch, on any of its devices.

All parameters lie in one flat tensor, of which the network's are views, so that the optimizer's step, the norm of
a clipped gradient and the saved state are each one operation. Dropout draws from a generator whose state is saved too, so a
resumed run repeats the bits of one that was never interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.adamw import adamw

from pdlib.models.transformer import Transformer, sequence_tensors, tokens_of
from pdlib.optimizers import Adam
from pdlib.sequences import Sequences
from pdlib.specs import Parameters, Training, require
from pdlib.training.online_sgd import between

STATE = "state/"  # what a saved run holds beside its parameters


class GradientLearner:
    """A network in training by SGD or Adam over batches.

    Parameters
    ----------
    spec
        The run.
    saved
        Its initial parameters, or what `state` returned.
    device
        `"cpu"`, or a PyTorch device; on CUDA the network is compiled unless `$PDLIB_COMPILE` is 0.

    Examples
    --------
    >>> from pdlib import Adam, MLP, SparseParity, Training
    >>> spec = Training(SparseParity(4, 2), MLP(8), Adam(0.01), n_steps=5, evaluate_every=5, batch_size=2)
    >>> learner = GradientLearner(spec, MLP(8).initial(4, 2, seed=0))
    >>> inputs, classes = spec.task.stream(0, "train").examples(0, 4)
    >>> learner.steps(inputs, classes, rates=np.array([0.01, 0.01]))      # two steps of two examples
    >>> sorted(learner.parameters()) == sorted(MLP(8).initial(4, 2, seed=0))
    True
    """

    divisible = True

    def __init__(self, spec: Training, saved: Parameters, device: str = "cpu") -> None:
        fits = spec.precision != "bfloat16" or device.startswith("cuda")
        require(fits, f"precision 'bfloat16' on {device}", "a CUDA device", "Use 'float32' here.")
        self.n_columns = spec.task.n_inputs
        self._spec, self._device = spec, torch.device(device)
        dtype = torch.float64 if spec.precision == "float64" else torch.float32
        initial = {k: v for k, v in saved.items() if not k.startswith(STATE)}
        self._module: nn.Module = spec.model.module(initial).to(self._device, dtype).train()
        self._names = initial.keys()
        self._parameters = list(self._module.parameters())
        self._flat = torch.cat([p.detach().reshape(-1) for p in self._parameters])
        self._grad = torch.zeros_like(self._flat)
        start = 0
        for p in self._parameters:
            part = slice(start, start + p.numel())
            p.data, p.grad = self._flat[part].view(p.shape), self._grad[part].view(p.shape)
            start += p.numel()
        self._moments: dict[str, Tensor] = {}
        if isinstance(spec.optimizer, Adam):
            self._moments = {name: torch.zeros_like(self._flat) for name in ("exp_avg", "exp_avg_sq")}
            self._moments["step"] = torch.zeros((), dtype=torch.float32, device=self._device)
        self._random_state = torch.Generator(self._device).manual_seed(spec.seed).get_state()
        if f"{STATE}generator" in saved:
            self._restore(saved)
        compiled = self._device.type == "cuda" and os.environ.get("PDLIB_COMPILE", "1") != "0"
        self._forward: Callable[..., Tensor] = torch.compile(self._module) if compiled else self._module

    def steps(
        self, inputs: Any, targets: NDArray[Any], rates: NDArray[Any], weights: NDArray[Any] | None = None
    ) -> NDArray[Any] | None:
        """Take one step a rate.

        Parameters
        ----------
        inputs : shape (step x example, input)
            The batches, one after the other; or `Sequences`, whose loss is weighted as they say, batch by batch.
        targets : shape (step x example,), whole numbers, or (step x example, class)
            Classes or target distributions, one an example or, of `Sequences`, one a target. A class number gives the
            bits of the distribution that is sure of it.
        rates : shape (step,)
            Learning rates.
        weights : shape (step,), or None
            See `Learner.steps`; targets are distributions then.

        Raises
        ------
        SpecError
            If a token lies outside the vocabulary, or the targets have other classes than the network.
        """
        certain = np.issubdtype(targets.dtype, np.integer)
        if certain:
            low, high, n = int(targets.min(initial=0)), int(targets.max(initial=0)), self._spec.task.n_classes
            what = f"a target of class {high if low == 0 else low}"
            require(0 <= low <= high < n, what, f"from 0 to {n - 1}, the network's outputs")
            targets = targets.astype(np.int64)
        kind = torch.int64 if certain else self._flat.dtype
        y_all = torch.from_numpy(np.ascontiguousarray(targets)).to(self._device, kind)
        parts = self._sequences(inputs, y_all) if isinstance(inputs, Sequences) else self._rows(inputs, y_all)
        losses = None if weights is None else np.zeros(len(rates))
        for i, rate in enumerate(rates):
            self._grad.zero_()
            for _ in range(getattr(self._spec.optimizer, "n_micro_batches", 1)):
                loss = self._add_gradient(1.0 if weights is None else float(weights[i]), *next(parts))
                if losses is not None:
                    losses[i] += float(loss)
            self._step(float(rate))
        return losses

    def _rows(self, inputs: NDArray[Any], y_all: Tensor) -> Iterator[tuple[Any, ...]]:
        """Yield parts of batches, one after the other: what the network takes, targets, and their weight."""
        n_micro = getattr(self._spec.optimizer, "n_micro_batches", 1)
        size = self._spec.batch_size // n_micro
        at = {"at": -1} if isinstance(self._spec.model, Transformer) else {}
        for x, y in zip(torch.split(self._inputs(inputs), size), torch.split(y_all, size), strict=True):
            yield x, at, y, 1 / n_micro

    def _sequences(self, inputs: Sequences, y_all: Tensor) -> Iterator[tuple[Any, ...]]:
        """Yield parts of batches of sequences; each is cut to its own longest.

        Several parts of a batch are of similar lengths, so that little is padded; their sum is the same.
        """
        batch, n_micro = self._spec.batch_size, getattr(self._spec.optimizer, "n_micro_batches", 1)
        model, done = self._spec.model, 0
        assert isinstance(model, Transformer)  # others refuse such a task
        for start in range(0, len(inputs), batch):
            whole = inputs[start : start + batch]
            counts = whole.n_targets
            total = int(counts.sum())
            weights = torch.from_numpy(whole.weights()).to(self._device, self._flat.dtype)
            y = y_all[done : done + total]
            done += total
            owner = torch.from_numpy(np.repeat(np.arange(batch), counts))  # the example of each target
            order = np.argsort(whole.lengths, kind="stable") if n_micro > 1 else np.arange(batch)
            for rows in np.split(order, n_micro):
                part = whole[np.sort(rows)]  # in order, as their targets are
                tokens, how = sequence_tensors(part, model.vocabulary, self._device)
                mine = torch.isin(owner, torch.from_numpy(rows)) if n_micro > 1 else slice(None)
                yield tokens, how, y[mine], weights[mine]

    @torch.no_grad()
    def _step(self, rate: float) -> None:
        """Take a step by PyTorch's functional forms: making one of its optimizers takes seconds, of imports."""
        how = self._spec.optimizer
        if not isinstance(how, Adam):
            self._flat.add_(self._grad, alpha=-rate)
            return
        if how.clip_norm:  # as `clip_grad_norm_` does it
            self._grad.mul_((how.clip_norm / (self._grad.norm() + 1e-6)).clamp_(max=1.0))
        step = adamw if how.weight_decay else adam
        step(
            [self._flat],
            [self._grad],
            [self._moments["exp_avg"]],
            [self._moments["exp_avg_sq"]],
            [],
            [self._moments["step"]],
            fused=True,
            amsgrad=False,
            beta1=how.betas[0],
            beta2=how.betas[1],
            lr=rate,
            weight_decay=how.weight_decay,
            eps=how.epsilon,
            maximize=False,
        )

    def _inputs(self, inputs: NDArray[Any]) -> Tensor:
        if isinstance(self._spec.model, Transformer):
            return tokens_of(inputs, self._spec.model.vocabulary).to(self._device)
        return torch.from_numpy(np.ascontiguousarray(inputs)).to(self._device, self._flat.dtype)

    def _add_gradient(
        self, share: float, x: Tensor, how: dict[str, Any], y: Tensor, weight: Tensor | float
    ) -> Tensor:
        """Add the gradient of the targets' weighted sum of losses or, with one weight for all, of their mean.

        `share` is t of `Learner.steps`.
        """
        narrow = self._spec.precision == "bfloat16"
        with self._randomness(), torch.autocast("cuda", torch.bfloat16) if narrow else nullcontext():
            logits = self._forward(x, **how).to(self._flat.dtype)
            if y.ndim == 2:
                what = f"targets of {y.shape[1]} classes"
                require(logits.shape == y.shape, what, f"{logits.shape[1]}, the network's outputs")
            y = y if share == 1 else between(logits, y, share)
            if isinstance(weight, Tensor):
                losses = nn.functional.cross_entropy(logits, y, reduction="none")
                loss = (losses * weight).sum()
            else:
                loss = nn.functional.cross_entropy(logits, y)
                loss = loss if weight == 1 else loss * weight
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    @contextmanager
    def _randomness(self) -> Iterator[None]:
        """Give PyTorch's own generator this run's state for a while, since dropout takes no generator."""
        if not getattr(self._spec.model, "dropout", 0.0):
            yield
            return
        on_gpu = self._device.type == "cuda"
        with torch.random.fork_rng([self._device] if on_gpu else []):
            if on_gpu:
                torch.cuda.set_rng_state(self._random_state, self._device)
                yield
                self._random_state = torch.cuda.get_rng_state(self._device)
            else:
                torch.set_rng_state(self._random_state)
                yield
                self._random_state = torch.get_rng_state()

    def parameters(self) -> Parameters:
        """Return copies of the parameters as they are now."""
        state = self._module.state_dict()  # running averages too, and tied parameters under each name
        return {name: state[name].detach().cpu().numpy().copy() for name in self._names}

    def state(self) -> Parameters:
        """Return what the run needs to go on: parameters, the optimizer's moments, the generator's state."""
        saved = self.parameters() | {f"{STATE}generator": self._random_state.cpu().numpy()}
        for name, value in self._moments.items():
            saved[f"{STATE}{name}"] = np.atleast_1d(value.cpu().numpy()).copy()
        return saved

    def _restore(self, saved: Parameters) -> None:
        self._random_state = torch.from_numpy(saved[f"{STATE}generator"].copy())
        for name, moment in self._moments.items():
            value = torch.from_numpy(saved[f"{STATE}{name}"].copy())
            what = f"saved {name} of {value.numel()} numbers"
            require(value.numel() == moment.numel(), what, f"{moment.numel()}, as this network has")
            moment.copy_(value.reshape(moment.shape))
