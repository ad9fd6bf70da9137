"""Specs small enough for a test, and what tests ask of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from pdlib.models.mlp import MLP
from pdlib.probes.monomials import MonomialCorrelations
from pdlib.schedules import Progressive
from pdlib.specs import SGD, Distillation, Measurement, Schedule, Training
from pdlib.store import Store
from pdlib.tasks.parity import SparseParity

TASK = SparseParity(n_bits=10, support_size=3)

# Learns without an error in well under a second.
TEACHER = Training(
    TASK, MLP(64), SGD(0.05), n_steps=8_000, evaluate_every=1_000, checkpoint_every=1_000, n_evaluation=1024
)


def training(**changes: Any) -> Training:
    """A training of 400 steps, with changes."""
    base = Training(
        TASK, MLP(16), SGD(0.05), n_steps=400, evaluate_every=200, checkpoint_every=100, n_evaluation=256
    )
    return replace(base, **changes)


def student(
    teacher: Training = TEACHER,
    schedule: Schedule = Progressive(n_checkpoints=4, steps_per_checkpoint=50),  # noqa: B008  frozen
    targets: Any = "hard",
    temperature: float = 1.0,
    **changes: Any,
) -> Training:
    """The same training, taught."""
    changes.setdefault("checkpoint_every", 0)
    return training(supervision=Distillation(teacher, schedule, temperature, targets), **changes)


def measurement(of: Training | None = None) -> Measurement:
    """A small probe of all checkpoints of a training."""
    of = of or training()
    return Measurement(of, MonomialCorrelations((1, 2), n_samples=500, n_off_support=20), of.checkpoints)


def final(spec: Training, store: Store) -> dict[str, np.ndarray]:
    """The final parameters of a training."""
    return store.load_checkpoint(spec, spec.n_steps)


def assert_same_result(spec: Training, one: Store, other: Store) -> None:
    """Table and every checkpoint agree to the last bit."""
    a, b = one.find(spec.fingerprint), other.find(spec.fingerprint)
    assert a is not None
    assert b is not None
    pd.testing.assert_frame_equal(a.table, b.table, check_exact=True)
    for step in spec.checkpoints:
        assert_same_parameters(one.load_checkpoint(spec, step), other.load_checkpoint(spec, step))


def assert_same_parameters(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    """Equal to the last bit."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value.dtype == other[name].dtype
        assert value.tobytes() == other[name].tobytes(), name
