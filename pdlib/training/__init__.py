"""One entry for all training: `train(spec, store)`; the teacher, if any, is part of the spec.

The loop cuts a run at its evaluations, its checkpoints and its changes of teacher, so that the cuts follow
from the spec alone: a run resumed at a cut does the same arithmetic as one that was never interrupted. Where a step's
arithmetic does not depend on the steps it is done with, a run is also saved between cuts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import log_softmax

from pdlib.labels import FEW, LOGITS_AT_ONCE, Targets, in_parts
from pdlib.models.mlp import MLP
from pdlib.optimizers import SGD
from pdlib.sequences import Sequences
from pdlib.specs import EVALUATION_SEED, Distillation, Parameters, TargetRule, Training, require
from pdlib.store import Store
from pdlib.training.online_sgd import WIDE, CompiledLearner, Learner, TorchLearner

EXAMPLES_AT_ONCE = 4096  # a call of the engine; memory does not grow with the number of steps
LOOKED_AT, TAIL = 4096, 0.95  # inputs by which a gate decides, and the quantile of their losses
EVALUATED_AT_ONCE = 2**23  # logits, 64 MiB, of many classes


class DivergedError(RuntimeError):
    """A run whose loss is no longer a number."""


def train(
    spec: Training,
    store: Store,
    *,
    device: str = "cpu",
    save_every_s: float = 10.0,
    on_steps: Callable[[int], None] = lambda n: None,
) -> pd.DataFrame:
    """Train `spec` to its end, resuming an unfinished run, and return its table.

    Checkpoints are written to the store; so is the state, at most every `save_every_s` seconds, from which
    a killed run goes on to the same table, bit for bit, on the same machine. The caller holds the store's lock.

    Parameters
    ----------
    spec
        What to train. A student's teacher must have been trained, or its labels published.
    device
        Where the arithmetic runs: `"cpu"`, or PyTorch's device of that name; of a narrow MLP with batch 1 only what its
        teacher says is computed there, see `place`.
    on_steps
        Called with the number of steps just done.

    Returns
    -------
    pandas.DataFrame
        One row an evaluation: `step`, `samples_seen`, `loss_nats` and `accuracy` on held-out examples.

    Raises
    ------
    DivergedError
        If the loss is not finite.
    SpecError
        If the device cannot give the run's precision.
    MissingError
        If a teacher checkpoint is missing.

    Examples
    --------
    >>> import tempfile
    >>> from pdlib import MLP, SGD, SparseParity
    >>> spec = Training(SparseParity(8, 2), MLP(32), SGD(0.1), n_steps=2000, evaluate_every=1000)
    >>> table = train(spec, Store(tempfile.mkdtemp(), published=None))
    >>> table.step.tolist(), bool(table.accuracy.iloc[-1] > 0.9)
    ([0, 1000, 2000], True)
    """
    rows: list[dict[str, Any]] = []
    spent = clock(store.progress_cost(spec))
    resumed = store.load_progress(spec)
    if resumed is None:
        step, saved_state = 0, untrained(spec)
    else:
        step, saved_state, table = resumed
        rows = [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
        on_steps(step)
    own_device = place(spec, device)
    state = learner(spec, saved_state, own_device)
    pace, gate = _pace(spec, saved_state), _gate(spec, saved_state)
    batch, stream, targets = spec.batch_size, spec.stream, Targets(spec, store, device)
    held_out = spec.task.stream(EVALUATION_SEED, "evaluation").examples(0, spec.n_evaluation)
    evaluations, checkpoints = set(spec.evaluations), set(spec.checkpoints)
    steps_at_once = _steps_at_once(spec)
    array = None if spec.task.vocabulary else _array(spec, state, steps_at_once * batch)
    saved = time.monotonic()

    def look() -> None:
        """Ask for the next piece, if the schedule asks the student."""
        if gate and step == gate.piece.stop < spec.n_steps:
            gate.look(step, partial(_said, spec, state.parameters(), targets, own_device))
            targets.follow(gate.piece)

    def save_if_due() -> None:
        nonlocal saved
        if time.monotonic() - saved >= save_every_s:
            all_of_it = state.state() | (pace.state() if pace else {}) | (gate.state() if gate else {})
            store.save_progress(spec, step, all_of_it, pd.DataFrame(rows), spent())
            saved = time.monotonic()

    look()
    if resumed is None:
        first_row = _evaluation(spec, 0, state.parameters(), *held_out, own_device)
        rows.append(first_row | (gate.row() if gate else {}))
    elif gate:
        targets.follow(gate.piece)
    cuts = evaluations | checkpoints | {p.stop for p in spec.pieces}
    cuts |= {*(pace.edges if pace else ()), *(gate.looks if gate else ())}
    for cut in sorted(cut for cut in cuts if cut > step):
        while step < cut:
            stop = min(step + steps_at_once, cut)
            first, last = step * batch, stop * batch
            out = None if array is None else array[: last - first]
            block, true_classes = stream.examples(first, last, out=out)
            rates = spec.optimizer.rates(step, stop, spec.n_steps).astype(stored_precision(spec))
            weights = pace.weights(step, stop) if pace else None
            losses = state.steps(block, targets.of(first, last, true_classes), rates, weights)
            if pace and losses is not None:
                pace.learned(stop, losses)
            n_steps, step = stop - step, stop
            if state.divisible and step < cut:
                save_if_due()
            on_steps(n_steps)
        look()
        if step not in evaluations | checkpoints:
            continue
        parameters = state.parameters()
        if step in evaluations:
            row = _evaluation(spec, step, parameters, *held_out, own_device)
            rows.append(row | (gate.row() if gate else {}))
        if step in checkpoints:
            store.save_checkpoint(spec, step, parameters)
        if step < spec.n_steps:
            save_if_due()
    return pd.DataFrame(rows)


def clock(before: Mapping[str, float]) -> Callable[[], dict[str, float]]:
    """Return a function that says what has passed since this call, on top of `before`: `wall_s` and `cpu_s`.

    >>> clock({"wall_s": 60.0, "cpu_s": 30.0})()["wall_s"] >= 60.0
    True
    """
    wall, cpu = before["wall_s"] - time.perf_counter(), before["cpu_s"] - time.process_time()
    return lambda: {"wall_s": wall + time.perf_counter(), "cpu_s": cpu + time.process_time()}


def _steps_at_once(spec: Training) -> int:
    """Return the steps in a call of the engine, by the spec alone; fewer where their distributions fill the memory."""
    n, task, how = EXAMPLES_AT_ONCE, spec.task, spec.supervision
    if isinstance(how, Distillation) and how.targets == "soft" and task.n_classes > FEW:
        n = min(n, LOGITS_AT_ONCE // (task.n_inputs * task.n_classes))  # at most a target a position
    return max(1, n // spec.batch_size)


def _pace(spec: Training, saved: Parameters) -> Any:
    """Return how far targets lie from the student's own answers, if the run's rule says so, as it was saved."""
    rule = getattr(spec.supervision, "targets", None)
    pace = rule.pace(spec.n_steps) if isinstance(rule, TargetRule) else None
    if pace:
        pace.restore(saved)
    return pace


def _gate(spec: Training, saved: Parameters) -> Any:
    """Return what decides a run's pieces by what the student says, if its schedule asks, as it was saved."""
    how = spec.supervision
    gate = how.schedule.gate(how.teacher.checkpoints, spec.n_steps) if isinstance(how, Distillation) else None
    if gate:
        gate.restore(saved)
    return gate


def _said(
    spec: Training, parameters: Parameters, targets: Targets, device: str, checkpoint: int
) -> tuple[float, float]:
    """Return how a student stands to a checkpoint: the share of agreement, and the tail of its losses, in nats."""
    inputs, _ = spec.task.stream(EVALUATION_SEED, "probe").examples(0, LOOKED_AT)
    told, logits = targets.told(checkpoint, inputs), spec.model.logits(parameters, inputs, device)
    losses = -(told * log_softmax(logits.astype(np.float64), axis=1)).sum(axis=1)
    return float((told.argmax(axis=1) == logits.argmax(axis=1)).mean()), float(np.quantile(losses, TAIL))


def _array(spec: Training, state: Learner, n_examples: int) -> NDArray[Any]:
    """Return an array for inputs, used again and again."""
    array = np.zeros((n_examples, state.n_columns), stored_precision(spec))
    array[:, spec.task.n_inputs :][:, :1] = 1.0  # the bias's input, where the engine wants one
    return array


def untrained(spec: Training) -> Parameters:
    """Return a run's initial parameters, in its precision."""
    task = spec.task
    asked: dict[str, Any] = {}
    if getattr(spec.model, "initial_bias", "zero") == "log_frequency":
        asked["frequencies"] = task.frequencies()
    initial = spec.model.initial(task.n_inputs, task.n_classes, spec.seed, **asked)
    return {k: v.astype(stored_precision(spec)) for k, v in initial.items()}


def stored_precision(spec: Training) -> str:
    """Return the type of a run's parameters: matrix products alone are done in bfloat16."""
    return "float64" if spec.precision == "float64" else "float32"


def place(spec: Training, device: str) -> str:
    """Return where a run's own arithmetic is done: a narrow MLP's with batch 1 on the CPU, faster than a GPU starts a step.

    >>> from pdlib import MLP, SGD, SparseParity
    >>> [place(Training(SparseParity(9, 2), MLP(m), SGD(0.1), n_steps=1, evaluate_every=1), "cuda:0") for m in (9, 9000)]
    ['cpu', 'cuda:0']
    """
    return "cpu" if _is_online(spec) and spec.model.width < WIDE else device  # type: ignore[attr-defined]


def _is_online(spec: Training) -> bool:
    """Whether a run is plain SGD of an MLP with batch 1."""
    return isinstance(spec.model, MLP) and isinstance(spec.optimizer, SGD) and spec.batch_size == 1


def learner(spec: Training, saved: Parameters, device: str = "cpu") -> Learner:
    """Return the engine for a run: the block form for an MLP, plain SGD and batch 1, else PyTorch's gradient.

    The block form is compiled for the CPU, in Triton for CUDA where PyTorch brings it, and else in PyTorch's operations.
    """
    if not _is_online(spec):
        from pdlib.training.gradient import GradientLearner

        return GradientLearner(spec, saved, device)
    what = "precision 'bfloat16' of the batch-1 engine"
    require(spec.precision != "bfloat16", what, "'float32' or 'float64'")
    if device == "cpu":
        return CompiledLearner(saved)
    if device.startswith("cuda") and find_spec("triton") and not _pace(spec, {}):
        from pdlib.training.online_sgd_cuda import TritonLearner

        return TritonLearner(saved, device)
    return TorchLearner(saved, device)


def _evaluation(
    spec: Training, step: int, parameters: Parameters, inputs: Any, classes: NDArray[Any], device: str
) -> dict[str, Any]:
    """Return the table row of one evaluation; accuracy and mean cross-entropy against the true classes.

    Of sequences the accuracy is a mean over all targets, the loss one over sequences (paper, Equation 3).
    """
    losses, predicted = np.empty(len(classes)), np.empty(len(classes), np.int64)
    done = 0
    for part in in_parts(inputs, spec.task.n_classes, EVALUATED_AT_ONCE):
        values = spec.model.logits(parameters, part, device).astype(np.float64)
        now = slice(done, done + len(values))
        top = values.max(axis=1, keepdims=True)
        log_normalizer = top[:, 0] + np.log(np.exp(values - top).sum(axis=1))
        losses[now] = log_normalizer - values[np.arange(len(values)), classes[now]]
        predicted[now] = values.argmax(axis=1)
        done = now.stop
    loss = float((losses * inputs.weights()).sum() if isinstance(inputs, Sequences) else losses.mean())
    if not np.isfinite(loss):
        raise DivergedError(
            f"training {spec.fingerprint}: the held-out loss is {loss} at step {step} with learning_rate "
            f"{spec.optimizer.learning_rate}. Expected a finite number. Lower the learning rate; the checkpoints "
            "before this step are kept."
        )
    accuracy = float((predicted == classes).mean())
    row = {"step": step, "samples_seen": step * spec.batch_size, "loss_nats": loss, "accuracy": accuracy}
    return row | spec.task.scores(predicted, classes)
