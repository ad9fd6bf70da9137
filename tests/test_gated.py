"""A schedule that asks the student: open and shut gates against a clock, a plain twin, and runs that were killed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny
from examples import TEACHER

from pdlib import labels
from pdlib.models.mlp import MLP, softmax
from pdlib.optimizers import Adam
from pdlib.schedules import Explicit, Gate, Gated
from pdlib.specs import Parameters, Piece, Run, SpecError, Training
from pdlib.store import Store
from pdlib.target_rules import Sampled
from pdlib.training import train

CHOSEN = (250, 500, -1)
OPEN = {"min_gain": -2.0, "max_rise": 2.0, "max_loss_rise": 1e6}
SHUT = {"min_gain": 2.0}  # a share cannot rise by more than 1
SOME = Gated(CHOSEN, look_every=20, freeze=100, min_gain=0.06, max_rise=0.03, max_loss_rise=0.1, cap=3)


def taught(schedule: Any, targets: str = "hard", **changes: Any) -> Training:
    base = {"model": MLP(16), "n_steps": 400, "precision": "float64", "evaluate_every": 30}
    return tiny.student(TEACHER, schedule, targets, **(base | changes))


def examples() -> dict[str, Run]:
    return {"Gated": taught(SOME, n_steps=900, evaluate_every=100)}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("gated"), published=None)
    train(TEACHER, store)
    return store


def switches(table: pd.DataFrame) -> list[tuple[int, int, bool]]:
    """Step, checkpoint, and whether the cap fired."""
    found = table.drop_duplicates("teacher_step")
    return [
        (int(s), int(c), bool(b))
        for s, c, b in zip(found.since, found.teacher_step, found.by_cap, strict=True)
    ]


@pytest.mark.parametrize(
    "changes", [{}, {"targets": "soft"}, {"batch_size": 4, "optimizer": Adam(0.01)}], ids=str
)
def test_a_gate_that_is_always_open_is_a_clock_of_the_freezes_length_bit_for_bit(
    kept: Store, changes: Any
) -> None:
    gated = taught(Gated(CHOSEN, look_every=30, freeze=120, **OPEN), **changes)
    assert Training.from_canonical(gated.canonical()) == gated
    clock = taught(Explicit(CHOSEN, (120, 120)), **changes)
    table, expected = train(gated, kept), train(clock, kept)
    soft = "targets" in changes  # a teacher's float64 shares, in blocks of other lengths, differ in rounding
    pd.testing.assert_frame_equal(table[expected.columns], expected, check_exact=not soft, rtol=1e-12)
    if not soft:
        tiny.assert_same_parameters(tiny.final(gated, kept), tiny.final(clock, kept))
    assert switches(table) == [(0, 250, False), (120, 500, False), (240, 1000, False)]
    train(other := taught(Explicit(CHOSEN, (90, 120)), **changes), kept)
    assert (tiny.final(other, kept)["2.bias"] != tiny.final(clock, kept)["2.bias"]).any()  # the control


def test_a_gate_that_never_opens_is_switched_by_the_cap_and_says_so(kept: Store) -> None:
    table = train(taught(Gated(CHOSEN, look_every=15, freeze=60, cap=3, **SHUT)), kept)
    assert switches(table) == [(0, 250, False), (180, 500, True), (360, 1000, True)]
    shorter = train(taught(Gated(CHOSEN, look_every=15, freeze=60, cap=2, **SHUT)), kept)
    assert switches(shorter) == [(0, 250, False), (120, 500, True), (240, 1000, True)]


def says(p: Parameters, x: Any) -> Any:
    return np.maximum(x @ p["0.weight"].T + p["0.bias"], 0) @ p["2.weight"].T + p["2.bias"]


def plain(spec: Training, teachers: list[tuple[int, Parameters]]) -> tuple[Parameters, list[Any]]:
    """A gated student example by example, written from the conditions; returns its weights and its switches."""
    how: Any = spec.supervision.schedule  # type: ignore[attr-defined]
    inputs, _ = spec.stream.examples(0, spec.n_steps, dtype=np.float64)  # type: ignore[call-arg]
    fixed, _ = spec.task.stream(0, "probe").examples(0, 4096)
    student = spec.model.initial(10, 2, spec.seed)
    i, history, found = 0, [], [(0, teachers[0][0], False)]
    for n, x in enumerate(inputs):
        if n % how.look_every == 0:

            def measured(p: Parameters) -> tuple[float, float]:
                told, mine = says(p, fixed).argmax(axis=1), says(student, fixed)  # noqa: B023
                loss = -np.log(softmax(mine)[np.arange(4096), told])
                return float((told == mine.argmax(axis=1)).mean()), float(np.quantile(loss, 0.95))

            history.append(measured(teachers[i][1]))
            waited, (a, loss) = n - found[-1][0], history[-1]
            opened = (
                waited >= how.freeze
                and a >= history[0][0] + how.min_gain
                and len(history) > 3
                and a - history[-4][0] < how.max_rise
                and loss <= history[0][1] + how.max_loss_rise
            )
            if i < len(teachers) - 1 and (opened or waited >= how.cap * how.freeze):
                i += 1
                found.append((n, teachers[i][0], not opened))
                history = [measured(teachers[i][1])]
        target = np.eye(2)[says(teachers[i][1], x).argmax()]
        z = student["0.weight"] @ x + student["0.bias"]
        move = -spec.optimizer.learning_rate * (softmax(says(student, x)[None])[0] - target)
        hidden = (move @ student["2.weight"]) * (z > 0)
        steps = (np.outer(hidden, x), hidden, np.outer(move, np.maximum(z, 0)), move)
        names = ("0.weight", "0.bias", "2.weight", "2.bias")
        student = {name: student[name] + step for name, step in zip(names, steps, strict=True)}
    return student, found


def test_a_plain_twin_decides_the_same_switches(kept: Store) -> None:
    spec = taught(SOME, n_steps=900, evaluate_every=100)
    teachers = [(step, kept.load_checkpoint(TEACHER, step)) for step in (250, 500, 1000)]
    expected, decided = plain(spec, teachers)
    assert switches(train(spec, kept)) == decided
    found = tiny.final(spec, kept)
    assert max(np.abs(found[name] - expected[name]).max() for name in found) < 1e-9
    assert [by_cap for _, _, by_cap in decided[1:]].count(False) > 0, "a gate that opens"
    assert decided[1][0] > SOME.freeze, "later than the clock"
    assert plain(taught(replace(SOME, min_gain=-2.0, max_rise=2.0), n_steps=900), teachers)[1] != decided


@pytest.mark.parametrize("changes", [{}, {"batch_size": 4, "optimizer": Adam(0.01)}], ids=str)
def test_a_killed_run_takes_the_switches_of_one_that_was_not(
    kept: Store, monkeypatch: pytest.MonkeyPatch, changes: Any
) -> None:
    spec = taught(Gated(CHOSEN, look_every=20, freeze=100, **OPEN), **changes)
    table, parameters = train(spec, kept), tiny.final(spec, kept)

    def resumed() -> bool:
        tiny.interrupted(spec, kept, 175)
        again = train(spec, kept)
        (kept.run_folder(spec) / "progress.safetensors").unlink()
        same = all((tiny.final(spec, kept)[name] == parameters[name]).all() for name in parameters)
        return same and bool((again == table).all().all())

    assert resumed()
    whole = Gate.restore

    def forgetful(self: Gate, saved: Parameters) -> None:
        whole(self, saved)
        self._seen = self._seen[-1:]

    monkeypatch.setattr(Gate, "restore", forgetful)
    assert not resumed()  # the control: when the last switch was is forgotten


def test_labels_of_a_gated_run_are_never_taken_to_be_all_there(kept: Store) -> None:
    gated, clock = taught(Gated(CHOSEN, 30, 120)), taught(Explicit((250, -1), (30,)))
    train(gated, kept)
    train(clock, kept)
    assert gated.pieces == [Piece(0, 30, 250)]
    assert labels.stored(clock, kept)  # the control
    assert not labels.stored(gated, kept)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Gated(()), "checkpoints = .*expected a tuple of at least 1"),
        (
            lambda: Gated((1,), look_every=30, freeze=100),
            "freeze = 100: expected a multiple of look_every = 30",
        ),
        (lambda: Gated((1,), cap=0), "cap = 0: expected a whole number of at least 1"),
        (lambda: Gated((1,), look_every=0), "look_every = 0: expected a whole number of at least 1"),
        (
            lambda: taught(Gated((123, -1), 10, 50)),
            r"teacher checkpoints at \[123\]: expected steps that the",
        ),
        (lambda: taught(Gated(CHOSEN, 10, 20)), "evaluate_every = 30: expected at most freeze = 20"),
        (lambda: taught(Gated(CHOSEN, 10, 50), Sampled(2)), "Gated with Sampled.*expected 'hard' or 'soft'"),  # type: ignore[arg-type]
    ],
)
def test_a_gate_that_means_nothing_is_refused(make: Any, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        make()
