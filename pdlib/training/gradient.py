"""Training by a gradient over a batch, in PyTorch, on any of its devices.

All parameters lie in one flat tensor, of which the network's are views, so that the optimizer's step, the norm of
a clipped gradient and the saved state are each one operation. Dropout draws from a generator whose state is saved too, so a
resumed run repeats the bits of one that was never interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pdlib.models.transformer import Transformer, tokens_of
from pdlib.specs import Adam, Parameters, SpecError, Training, require

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
    >>> learner.steps(inputs, np.eye(2)[classes], rates=np.array([0.01, 0.01]))      # two steps of two examples
    >>> sorted(learner.parameters()) == sorted(MLP(8).initial(4, 2, seed=0))
    True
    """

    def __init__(self, spec: Training, saved: Parameters, device: str = "cpu") -> None:
        require(
            spec.precision != "bfloat16" or device.startswith("cuda"),
            f"precision 'bfloat16' on {device}",
            "a CUDA device",
            "Use 'float32' here.",
        )
        self.n_columns = spec.task.n_inputs
        self._spec, self._device = spec, torch.device(device)
        dtype = torch.float64 if spec.precision == "float64" else torch.float32
        initial = {k: v for k, v in saved.items() if not k.startswith(STATE)}
        self._module: nn.Module = spec.model.module(initial).to(self._device, dtype).train()
        self._names = [name for name, _ in self._module.named_parameters()]
        self._parameters = list(self._module.parameters())
        self._flat = nn.Parameter(torch.cat([p.detach().reshape(-1) for p in self._parameters]))
        self._flat.grad = torch.zeros_like(self._flat)
        start = 0
        for p in self._parameters:
            p.data = self._flat.data[start : start + p.numel()].view(p.shape)
            start += p.numel()
        self._optimizer = self._made(spec)
        self._generator_seed(spec.seed)
        if f"{STATE}generator" in saved:
            self._restore(saved)
        compiled = self._device.type == "cuda" and os.environ.get("PDLIB_COMPILE", "1") != "0"
        self._forward: Callable[..., Tensor] = torch.compile(self._module) if compiled else self._module

    def _made(self, spec: Training) -> torch.optim.Optimizer:
        how = spec.optimizer
        if isinstance(how, Adam):
            kind = torch.optim.AdamW if how.weight_decay else torch.optim.Adam
            return kind(
                [self._flat],
                lr=how.learning_rate,
                betas=how.betas,
                eps=how.epsilon,
                weight_decay=how.weight_decay,
                fused=True,
            )
        return torch.optim.SGD([self._flat], lr=how.learning_rate)

    def steps(self, inputs: NDArray[Any], targets: NDArray[Any], rates: NDArray[Any]) -> None:
        """Take one step a rate.

        Parameters
        ----------
        inputs : shape (step x example, input)
            The batches, one after the other.
        targets : shape (step x example, class)
            Target distributions.
        rates : shape (step,)
            Learning rates.
        """
        batch = self._spec.batch_size
        x_all = self._inputs(inputs)
        y_all = torch.from_numpy(np.ascontiguousarray(targets)).to(self._device, self._flat.dtype)
        n_micro = getattr(self._spec.optimizer, "n_micro_batches", 1)
        for i, rate in enumerate(rates):
            x, y = x_all[i * batch : (i + 1) * batch], y_all[i * batch : (i + 1) * batch]
            if n_micro == 1:
                self._gradient(x, y, out=self._flat.grad)
            else:
                assert self._flat.grad is not None
                self._flat.grad.zero_()
                part = torch.empty_like(self._flat)
                for xs, ys in zip(x.chunk(n_micro), y.chunk(n_micro), strict=True):
                    self._gradient(xs, ys, out=part)
                    self._flat.grad.add_(part, alpha=1 / n_micro)
            if getattr(self._spec.optimizer, "clip_norm", 0.0):
                nn.utils.clip_grad_norm_([self._flat], self._spec.optimizer.clip_norm)  # type: ignore[attr-defined]
            self._optimizer.param_groups[0]["lr"] = float(rate)
            self._optimizer.step()

    def _inputs(self, inputs: NDArray[Any]) -> Tensor:
        if isinstance(self._spec.model, Transformer):
            return tokens_of(inputs).to(self._device)
        return torch.from_numpy(np.ascontiguousarray(inputs)).to(self._device, self._flat.dtype)

    def _gradient(self, x: Tensor, y: Tensor, out: Tensor | None) -> None:
        with self._randomness(), self._narrow():
            logits = (
                self._forward(x, at=-1) if isinstance(self._spec.model, Transformer) else self._forward(x)
            )
            loss = nn.functional.cross_entropy(logits.to(y.dtype), y)
        found = torch.autograd.grad(loss, self._parameters)
        torch.cat([g.reshape(-1) for g in found], out=out)

    def _narrow(self) -> AbstractContextManager[Any]:
        if self._spec.precision == "bfloat16":
            return torch.autocast("cuda", torch.bfloat16)
        return nullcontext()

    # ------------------------------------------------------------------ randomness

    def _generator_seed(self, seed: int) -> None:
        """Keep a state of the device's generator for this run alone; other users of it are not disturbed."""
        self._drops = bool(getattr(self._spec.model, "dropout", 0.0))
        generator = torch.Generator(self._device).manual_seed(seed)
        self._random_state = generator.get_state()

    def _randomness(self) -> AbstractContextManager[Any]:
        return _Generator(self) if self._drops else nullcontext()

    # ----------------------------------------------------------------------- state

    def parameters(self) -> Parameters:
        """Return copies of the parameters as they are now."""
        return {
            name: p.detach().cpu().numpy().copy()
            for name, p in zip(self._names, self._parameters, strict=True)
        }

    def state(self) -> Parameters:
        """Return what the run needs to go on: parameters, the optimizer's moments, the generator's state."""
        saved = self.parameters() | {f"{STATE}generator": self._random_state.cpu().numpy()}
        for name, value in self._optimizer.state[self._flat].items():
            value = torch.as_tensor(value).detach().cpu().numpy()
            saved[f"{STATE}{name}"] = np.atleast_1d(value).copy()
        return saved

    def _restore(self, saved: Parameters) -> None:
        self._random_state = torch.from_numpy(saved[f"{STATE}generator"].copy())
        moments = {
            k.removeprefix(STATE): torch.from_numpy(v.copy())
            for k, v in saved.items()
            if k.startswith(STATE) and k != f"{STATE}generator"
        }
        if "step" in moments:
            moments["step"] = moments["step"].reshape(())
        for name, value in moments.items():
            if name != "step" and value.shape != self._flat.shape:
                raise SpecError(
                    f"saved {name} of {value.numel()} numbers: expected {self._flat.numel()}, one a parameter."
                )
        self._optimizer.load_state_dict(
            {
                "state": {0: moments} if moments else {},
                "param_groups": self._optimizer.state_dict()["param_groups"],
            }
        )


class _Generator:
    """Gives PyTorch's own generator the learner's state for a while, since dropout takes no generator."""

    def __init__(self, learner: GradientLearner) -> None:
        self._learner = learner

    def __enter__(self) -> None:
        self._before = self._get()
        self._set(self._learner._random_state)

    def __exit__(self, *_: object) -> None:
        self._learner._random_state = self._get()
        self._set(self._before)

    def _get(self) -> Tensor:
        device = self._learner._device
        return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()

    def _set(self, state: Tensor) -> None:
        device = self._learner._device
        if device.type == "cuda":
            torch.cuda.set_rng_state(state, device)
        else:
            torch.set_rng_state(state)
