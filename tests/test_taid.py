"""Targets between what a student says itself and its teacher: exact ends, a plain twin, and runs that were killed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tiny
from examples import TEACHER
from numpy.typing import NDArray

from pdlib.labels import Targets
from pdlib.models.mlp import MLP, softmax
from pdlib.optimizers import SGD, Adam
from pdlib.schedules import Explicit, OneShot
from pdlib.specs import Parameters, Piece, Run, SpecError, Training
from pdlib.store import Store
from pdlib.target_rules import TAID, Pace
from pdlib.training import train
from pdlib.training.gradient import GradientLearner
from pdlib.training.online_sgd import WIDE, CompiledLearner, Learner, TorchLearner

EARLY = Explicit((250, -1), (200,))
IN_BLOCKS = TAID(
    n_blocks=30, t_start=0.2, alpha=0.1, beta=0.5
)  # blocks of 13 or 14 of 400 steps, and a t that jumps


def taught(rule: Any, **changes: Any) -> Training:
    base = {"model": MLP(8), "n_steps": 400, "precision": "float64", "evaluate_every": 150}
    return tiny.student(TEACHER, EARLY, rule, **(base | changes))


def examples() -> dict[str, Run]:
    return {"TAID": taught(IN_BLOCKS), "TAID linear": taught(TAID(adaptive=False))}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("taid"), published=None)
    train(TEACHER, store)
    return store


def torch_form(parameters: Parameters) -> Learner:
    return TorchLearner(parameters, "cpu")


def gradient_form(parameters: Parameters) -> Learner:
    return GradientLearner(taught("soft", model=MLP(len(parameters["0.bias"]))), parameters)


FORMS = pytest.mark.parametrize("make", [CompiledLearner, torch_form, gradient_form])


def stepped(
    make: Any, width: int, weights: Any, n: int = 333, dtype: Any = np.float64
) -> tuple[Parameters, Any, Parameters]:
    """Parameters and losses after steps with these weights, targets of which some are 0, and the initial parameters."""
    generator = np.random.default_rng(7)
    initial = {name: v.astype(dtype) for name, v in MLP(width).initial(10, 2, seed=3).items()}
    state = make(initial)
    x = np.zeros((n, state.n_columns), dtype)
    x[:, :10] = generator.choice([-1.0, 1.0], (n, 10))
    x[:, 10:][:, :1] = 1.0
    q = softmax(generator.normal(0, 3, (n, 2)))
    q[::7] = [0.0, 1.0]
    weights = weights if weights is None else np.broadcast_to(weights, n).astype(dtype)
    losses = state.steps(x, q.astype(dtype), np.full(n, 0.02, dtype), weights)
    return state.parameters(), losses, initial


@FORMS
def test_the_whole_way_to_the_teacher_is_a_soft_target_and_no_way_moves_nothing_both_to_the_last_bit(
    make: Any,
) -> None:
    for dtype in (np.float64, np.float32) if make is not gradient_form else (np.float64,):
        soft, none, start = stepped(make, 16, None, dtype=dtype)
        assert none is None
        tiny.assert_same_parameters(stepped(make, 16, 1.0, dtype=dtype)[0], soft)
        unmoved = stepped(make, 16, 0.0, dtype=dtype)[0]
        rounding = 1e-15 if make is gradient_form else 0.0  # its shares add up to 1 to rounding
        assert max(np.abs(unmoved[name] - start[name]).max() for name in start) <= rounding
        assert (stepped(make, 16, 0.1, dtype=dtype)[0]["2.bias"] != start["2.bias"]).all()  # the control


def test_all_forms_take_the_same_steps_and_tell_the_same_losses() -> None:
    for width, n in ((16, 333), (WIDE + 5, 70)):
        t = np.linspace(0, 1, n)
        found, losses, _ = stepped(CompiledLearner, width, t, n)
        for make in (torch_form, gradient_form):
            other, their, _ = stepped(make, width, t, n)
            np.testing.assert_allclose(their, losses, atol=1e-10)
            assert max(np.abs(other[name] - found[name]).max() for name in found) < 1e-10


def plain(spec: Training, teachers: dict[int, Parameters]) -> tuple[Parameters, NDArray[np.float64]]:
    """TAID example by example, written from its formulas; returns the weights and each step's t."""
    rule: Any = spec.supervision.targets  # type: ignore[attr-defined]
    inputs, _ = spec.stream.examples(0, spec.n_steps, dtype=np.float64)  # type: ignore[call-arg]
    w, b, a, c = spec.model.initial(10, 2, spec.seed).values()
    t, m, before, block, ts = rule.t_start, 0.0, None, [], []
    for n, x in enumerate(inputs):
        step = next(p.checkpoint for p in spec.pieces if p.start <= n < p.stop)
        told = spec.model.logits(teachers[step], x[None])[0]
        if not rule.adaptive:
            t = rule.t_start + (rule.t_end - rule.t_start) * n / spec.n_steps
        z = w @ x + b
        said = a @ np.maximum(z, 0) + c
        p, target = softmax(said[None])[0], softmax(((1 - t) * said + t * told)[None])[0]
        block.append(-(target * np.log(p)).sum())
        ts.append(t)
        move = -spec.optimizer.learning_rate * (p - target)
        hidden = (move @ a) * (z > 0)
        a, c = a + np.outer(move, np.maximum(z, 0)), c + move
        w, b = w + np.outer(hidden, x), b + hidden
        ended, rest = divmod(n + 1, spec.n_steps // rule.n_blocks)
        if rule.adaptive and rest == 0:
            loss = np.mean(block)
            if before is not None:
                m = rule.beta * m + (1 - rule.beta) * (before - loss) / (before + 1e-15)
                floor = rule.t_start + (rule.t_end - rule.t_start) * ended / rule.n_blocks
                t = min(rule.t_end, max(floor, t + rule.alpha * (1 - t) / (1 + np.exp(-m))))
            before, block = loss, []
    return dict(zip(("0.weight", "0.bias", "2.weight", "2.bias"), (w, b, a, c), strict=True)), np.array(ts)


@pytest.mark.parametrize("adaptive", [True, False])
def test_two_thousand_steps_equal_the_formulas_in_plain_numpy(kept: Store, adaptive: bool) -> None:
    rule = TAID(adaptive, n_blocks=100, t_start=0.1, t_end=0.9, alpha=0.05, beta=0.8)
    spec = taught(rule, n_steps=2000, evaluate_every=700)
    train(spec, kept)
    teachers = {step: kept.load_checkpoint(TEACHER, step) for step in (250, 1000)}
    expected, t = plain(spec, teachers)
    found = tiny.final(spec, kept)
    assert max(np.abs(found[name] - expected[name]).max() for name in found) < 1e-9
    linear = 0.1 + 0.8 * np.arange(2000) / 2000
    assert (np.abs(t - linear).max() > 0.2) == adaptive, "the losses decide"
    assert (np.diff(t) >= 0).all()
    other, _ = plain(
        taught(TAID(adaptive, n_blocks=100, t_start=0.1, t_end=0.9, alpha=0.04), n_steps=2000), teachers
    )
    assert (np.abs(found["0.weight"] - other["0.weight"]).max() > 1e-6) == adaptive  # the control


def test_a_student_told_all_the_teacher_says_is_a_soft_one_and_shares_its_labels(kept: Store) -> None:
    soft = taught("soft")
    for rule in (TAID(t_start=1.0, n_blocks=30), TAID(adaptive=False, t_start=1.0)):
        spec = taught(rule)
        assert Training.from_canonical(spec.canonical()) == spec
        assert Targets(spec, kept).key(Piece(0, 200, 250)) == Targets(soft, kept).key(Piece(0, 200, 250))
        assert (train(spec, kept) == train(soft, kept)).all().all()
        tiny.assert_same_parameters(tiny.final(spec, kept), tiny.final(soft, kept))
    still = train(taught(TAID(adaptive=False, t_start=0.0, t_end=0.0)), kept)
    assert still.loss_nats.nunique() == 1


@pytest.mark.parametrize(
    "changes", [{}, {"batch_size": 4, "optimizer": Adam(0.01, n_micro_batches=2)}], ids=str
)
def test_a_killed_run_goes_on_with_the_t_that_it_had(
    kept: Store, monkeypatch: pytest.MonkeyPatch, changes: Any
) -> None:
    spec = taught(IN_BLOCKS, **changes)
    table, parameters = train(spec, kept), tiny.final(spec, kept)

    def resumed() -> bool:
        tiny.interrupted(spec, kept, 310)
        again = train(spec, kept)
        (kept.run_folder(spec) / "progress.safetensors").unlink()
        same = all((tiny.final(spec, kept)[name] == parameters[name]).all() for name in parameters)
        return same and bool((again == table).all().all())

    assert resumed()
    monkeypatch.setattr(Pace, "restore", lambda self, saved: None)
    assert not resumed()  # the control: t begins anew


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: TAID(t_start=0.9, t_end=0.5), "t_start = 0.9: expected at most t_end = 0.5"),
        (lambda: TAID(t_start=-0.1), r"t_start = -0.1: expected a number in \[0, 1\]"),
        (lambda: TAID(t_end=1.1), r"t_end = 1.1: expected a number in \[0, 1\]"),
        (lambda: TAID(alpha=2.0), r"alpha = 2.0: expected a number in \[0, 1\]"),
        (lambda: TAID(beta=1.0), r"beta = 1.0: expected a number in \[0, 1\)"),
        (lambda: TAID(n_blocks=0), "n_blocks = 0: expected a whole number of at least 1"),
        (lambda: taught(TAID()), "n_blocks = 8000: expected at most n_steps = 400. Lower it."),
        (lambda: tiny.student(TEACHER, OneShot(), TAID(n_blocks=9), 2.0), "a rule has its own"),
    ],
)
def test_a_t_that_means_nothing_is_refused(make: Any, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        make()
    assert isinstance(taught(TAID(adaptive=False)).optimizer, SGD), "blocks matter to the adaptive rule alone"
