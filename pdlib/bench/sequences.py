"""Training steps on token sequences, ours and those of a loop that one would write with Hugging Face's networks.

The loop takes a batch whole, padded to its longest sentence, or in micro-batches of 8, each padded to its own longest,
whose gradients are added up; AdamW with clipping in the faster of PyTorch's two fast settings. Both sides have their inputs
drawn ahead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pdlib.bench import faster, medians
from pdlib.specs import Adam, Model, Parameters, Sequences, Task, Training
from pdlib.training import untrained
from pdlib.training.gradient import GradientLearner

MICRO_BATCH = 8

Batch = tuple[Tensor, Tensor, Tensor]  # tokens, what is no padding, labels
Loss = Callable[[nn.Module, Batch], Tensor]


def spec_of(task: Task, model: Model, batch_size: int) -> tuple[Training, Parameters]:
    """Return a training as long as any, and its initial parameters."""
    optimizer = Adam(5e-3, betas=(0.9, 0.95), clip_norm=1.0)
    spec = Training(task, model, optimizer, n_steps=1000, evaluate_every=1000, batch_size=batch_size)
    return spec, untrained(spec)


def milliseconds(started: float, steps: int) -> float:
    """Return what a step took on average since then."""
    return (time.perf_counter() - started) / steps * 1e3


def against_eager(
    case: str,
    trained: tuple[Training, Parameters],
    peer: tuple[Callable[[], nn.Module], Loss],
    steps: int,
    reach_whole: float,
    reach_micro: float = 0.0,
) -> Iterator[dict[str, Any]]:
    """Yield the case of a training step against the loop with whole batches and, if it is asked for, with micro-batches.

    Parameters
    ----------
    case
        What is trained, and beside what.
    trained
        As `spec_of` returns it.
    peer
        Makes its network, of the same sizes; and its loss on a batch.
    steps
        A measurement.
    reach_whole, reach_micro
        How many times as long the peer should take; 0 leaves micro-batches out.
    """
    spec, initial = trained
    batch = spec.batch_size
    inputs, classes = spec.task.stream(0, "train").examples(0, steps * batch)
    sides = [ours(spec, initial, inputs, classes)]
    for size in (batch, MICRO_BATCH) if reach_micro else (batch,):
        batches = as_peer_takes_them(inputs, classes, size)
        sides += [eager(*peer, batches, batch // size, adam) for adam in ("fused", "foreach")]
    mine, *peers = medians(*sides)
    yield faster(case, mine, min(peers[:2]), "ms/step", reach_whole)
    if reach_micro:
        yield faster(
            f"{case} in micro-batches of {MICRO_BATCH}", mine, min(peers[2:]), "ms/step", reach_micro
        )


def ours(
    spec: Training, initial: Parameters, inputs: Sequences, classes: NDArray[Any]
) -> Callable[[], float]:
    """Return timed steps of ours."""
    learner = GradientLearner(spec, initial)
    rates = np.full(len(inputs) // spec.batch_size, 1e-4)

    def run() -> float:
        started = time.perf_counter()
        learner.steps(inputs, classes, rates)
        return milliseconds(started, len(rates))

    run()
    return run


def as_peer_takes_them(inputs: Sequences, classes: NDArray[Any], size: int) -> list[Batch]:
    """Return batches of this size: tokens, what is no padding, and labels, -100 where nothing is asked."""
    batches, done = [], 0
    for start in range(0, len(inputs), size):
        part = inputs[start : start + size]
        n = int(part.n_targets.sum())
        labels = np.full(part.tokens.shape, -100)
        labels[part.at] = classes[done : done + n]
        done += n
        batches.append((torch.tensor(part.tokens), torch.tensor(part.visible).long(), torch.tensor(labels)))
    return batches


def eager(
    network: Callable[[], nn.Module], loss: Loss, batches: list[Batch], n_micro: int, adam: str
) -> Callable[[], float]:
    """Return timed steps of the eager loop, a step every `n_micro` batches; `adam` is `"fused"` or `"foreach"`."""
    module = network().train()
    parameters = list(module.parameters())
    optimizer = torch.optim.AdamW(
        parameters,
        lr=1e-4,
        betas=(0.9, 0.95),
        weight_decay=0.0,
        fused=adam == "fused",
        foreach=adam == "foreach",
    )

    def run() -> float:
        started = time.perf_counter()
        for start in range(0, len(batches), n_micro):
            optimizer.zero_grad(set_to_none=True)
            for batch in batches[start : start + n_micro]:
                (loss(module, batch) / n_micro).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
        return milliseconds(started, len(batches) // n_micro)

    run()
    return run
