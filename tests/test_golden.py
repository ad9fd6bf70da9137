"""Golden numbers: results of today's code. If one of these fails, results changed and a version has to rise.

A component's version enters the fingerprint of every spec that uses it; results stored by older code are then not
mistaken for today's. Float64 and short runs, so that the numbers are those of every machine to 1e-9.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tiny

from pdlib import labels
from pdlib.engine import execute
from pdlib.models.mlp import MLP
from pdlib.probes.monomials import MonomialCorrelations
from pdlib.schedules import EqualSplit, Explicit, KappaSplit, OneShot, Progressive
from pdlib.specs import SGD, Distillation, Labels, Measurement, Spec, Training
from pdlib.store import Store
from pdlib.tasks.parity import SparseParity

VERSIONS = {
    SparseParity: 1,
    MLP: 1,
    SGD: 1,
    Labels: 1,
    Distillation: 1,
    Training: 1,
    Measurement: 1,
    MonomialCorrelations: 1,
    OneShot: 1,
    Progressive: 1,
    Explicit: 1,
    EqualSplit: 1,
    KappaSplit: 1,
}
TEACHER = replace(
    tiny.training(), precision="float64", n_steps=1000, evaluate_every=500, checkpoint_every=250
)
STUDENTS = {
    "labels": tiny.training(precision="float64", optimizer=SGD(0.1, "cosine", 0.1), seed=1),
    "hard": tiny.student(TEACHER, precision="float64", seed=1),
    "soft": tiny.student(
        TEACHER, Explicit((250, -1), (100,)), "soft", 0.5, precision="float64", model=MLP(24), seed=1
    ),
}
CHANGED = """results of {what} changed: {got!r}, and the golden ones are {golden!r}. If that is meant, raise the
version of the component that gives it its meaning (class attribute `version`, or labels.VERSION), and write the
new numbers and version here, in one commit. Stored results of the old version are then outdated, and pages say so."""

GOLDEN_EXAMPLES = (["-+++--++++", "--+++++---", "--+-+--+++", "+--+---+++"], [1, 0, 0, 0])
GOLDEN_INITIAL = [0.00741861062725, 0.110682060132, -0.0166785594972, 6.49480127327, -1.2913847923]
GOLDEN_TEACHER = [
    0.708325794932,
    0.707740033387,
    0.69972295714,
    0.49609375,
    0.515625,
    0.53515625,
    4.85392986997,
    -0.12623397627,
]  # losses, accuracies, checksum
GOLDEN_STUDENTS = {
    "labels": [0.693448844719, 0.51953125, 5.65274565196, -0.763630468903],
    "hard": [2.07316897882, 0.5390625, 11.8767053239, -0.679479615844],
    "soft": [0.744239512125, 0.5390625, 10.1406368906, 2.57320720877],
}  # loss, accuracy, checksum
GOLDEN_MEASUREMENT = [
    0.0172366301219,
    0.0229309452602,
    0.0171376914978,
    0.0215023984194,
    0.0282357177734,
    0.0518381652832,
    0.0460477333069,
    0.0592997665405,
    0.0215425568289,
    0.0215425568289,
    0.0215425568289,
    0.0215425568289,
]
GOLDEN_FINGERPRINTS = {
    "labels": "9765c16135785e378a972ad7d8d3926b",
    "hard": "b55046fab965f7d9abc893862bd58d20",
    "soft": "6875d8cefe902e80d24cac131927e993",
}


def same(what: str, got: list[float], golden: list[float]) -> None:
    """Fail with what to do unless the numbers agree to 1e-9."""
    if got != pytest.approx(golden, rel=0, abs=1e-9):
        pytest.fail(CHANGED.format(what=what, got=got, golden=golden))


def checksum(parameters: dict[str, Any]) -> list[float]:
    """Two numbers that move with any parameter: the sum of squares, and a sum with alternating weights."""
    flat = np.concatenate([parameters[name].ravel() for name in sorted(parameters)])
    return [float((flat**2).sum()), float((flat * np.cos(np.arange(len(flat)))).sum())]


@pytest.mark.parametrize("cls", VERSIONS, ids=lambda c: c.__name__)
def test_the_golden_numbers_are_those_of_this_version(cls: type[Spec]) -> None:
    assert cls.version == VERSIONS[cls], (
        f"{cls.__name__} has version {cls.version}, the golden numbers are of version {VERSIONS[cls]}: "
        "write the new version and the new numbers into this file."
    )


def test_labels_have_the_version_of_the_golden_numbers() -> None:
    assert labels.VERSION == 1
    assert labels.GRID == 1_000_000  # where blocks end is part of every key


def test_every_kind_of_the_core_has_its_version_here() -> None:
    from pdlib import schedules

    kinds = {
        c for _, c in inspect.getmembers(schedules, inspect.isclass) if c.__module__ == schedules.__name__
    }
    assert kinds <= set(VERSIONS)


def test_the_first_examples_of_a_stream_are_golden() -> None:
    inputs, classes = SparseParity(10, 3).stream(0, "train").examples(0, 4)
    rows = ["".join("+" if x > 0 else "-" for x in row) for row in inputs]
    assert (rows, classes.tolist()) == GOLDEN_EXAMPLES, CHANGED.format(
        what="SparseParity's stream", got=(rows, classes.tolist()), golden=GOLDEN_EXAMPLES
    )


def test_initial_weights_are_golden() -> None:
    parameters = MLP(16).initial(10, 2, seed=0)
    same("MLP.initial", [*parameters["0.weight"][0, :3].tolist(), *checksum(parameters)], GOLDEN_INITIAL)


def test_a_training_from_labels_is_golden(store: Store) -> None:
    (record,) = execute([TEACHER], store, progress=False)
    got = [*record.table.loss_nats, *record.table.accuracy, *checksum(tiny.final(TEACHER, store))]
    same("a float64 training", got, GOLDEN_TEACHER)


@pytest.mark.parametrize("name", STUDENTS)
def test_a_student_is_golden(store: Store, name: str) -> None:
    spec = STUDENTS[name]
    (record,) = execute([spec], store, progress=False)
    last = record.table.iloc[-1]
    got = [last.loss_nats, last.accuracy, *checksum(tiny.final(spec, store))]
    same(f"a float64 training supervised by {name}", got, GOLDEN_STUDENTS[name])


def test_a_measurement_is_golden(store: Store) -> None:
    spec = tiny.measurement(TEACHER)
    (record,) = execute([spec], store, progress=False)
    last = record.table[record.table.step == 1000]
    got = [*last["mean"], *last.maximum, *last.noise_floor]
    if got != pytest.approx(GOLDEN_MEASUREMENT, rel=0, abs=1e-6):  # the probe works in float32
        pytest.fail(CHANGED.format(what="a measurement", got=got, golden=GOLDEN_MEASUREMENT))


def test_fingerprints_are_golden() -> None:
    got = {name: spec.fingerprint for name, spec in STUDENTS.items()}
    assert got == GOLDEN_FINGERPRINTS, (
        "the canonical form of a spec changed, so every stored result is lost to it. Raise a version only if results "
        "changed; otherwise keep the form."
    )


def test_a_change_of_a_millionth_in_the_rate_is_seen(store: Store) -> None:
    """The control."""
    spec = replace(TEACHER, optimizer=SGD(0.05 * (1 + 1e-6)))
    execute([spec], store, progress=False)
    assert checksum(tiny.final(spec, store)) != pytest.approx(GOLDEN_TEACHER[-2:], rel=0, abs=1e-9)
