"""Training by a gradient over batches: against plain PyTorch loops, killed and resumed, taught and teaching."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from torch import Tensor, nn

from pdlib import (
    MLP,
    SGD,
    Adam,
    Distillation,
    Explicit,
    Store,
    Training,
    Transformer,
    execute,
    labels,
)
from pdlib.labels import Targets
from pdlib.models.mlp import softmax
from pdlib.models.transformer import bert, tokens_of
from pdlib.specs import Optimizer, SpecError, Task
from pdlib.training import train, untrained
from pdlib.training.gradient import GradientLearner

GPT2 = Transformer(2, 2, 4, n_positions=10, initial_std=0.3)
DROPPED = replace(GPT2, dropout=0.2)
N_STEPS, BATCH = 40, 32
MODELS = pytest.mark.parametrize("model", [GPT2, MLP(16)], ids=["transformer", "mlp"])


def batched(**changes: Any) -> Training:
    """A float64 training over batches, with changes."""
    base: dict[str, Any] = {
        "model": GPT2,
        "optimizer": Adam(0.01),
        "n_steps": N_STEPS,
        "evaluate_every": 20,
        "checkpoint_every": 10,
        "batch_size": BATCH,
        "precision": "float64",
    }
    return tiny.training(**(base | changes))


def batches(spec: Training) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Step, inputs as the network wants them, and true classes, drawn one batch at a time."""
    stream = spec.task.stream(spec.seed, "train")
    for step in range(spec.n_steps):
        bits, classes = stream.examples(step * spec.batch_size, (step + 1) * spec.batch_size)
        x = tokens_of(bits) if isinstance(spec.model, Transformer) else torch.from_numpy(bits).double()
        yield step, x, torch.from_numpy(classes.astype(np.int64))


def output(module: nn.Module, x: Tensor) -> Tensor:
    """Logits (example, class): all of a Transformer's, then the last position."""
    logits: Tensor = module(x)
    return logits[:, -1] if logits.ndim == 3 else logits


def plain_loop(
    spec: Training,
    make: Callable[[Any], torch.optim.Optimizer],
    targets: Callable[[int, Tensor, Tensor], Tensor] = lambda step, x, y: y,
    clip: float = 0.0,
) -> dict[str, np.ndarray]:
    """Final parameters of the loop one would write, every parameter a tensor of its own."""
    module = spec.model.module(spec.model.initial(spec.task.n_inputs, spec.task.n_classes, spec.seed)).train()
    optimizer = make(module.parameters())
    for step, x, y in batches(spec):
        optimizer.param_groups[0]["lr"] = rate_of(spec, step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(output(module, x), targets(step, x, y)).backward()
        if clip:
            norm = nn.utils.clip_grad_norm_(module.parameters(), clip)
            assert norm > clip or step > 5  # it does something
        optimizer.step()
    return {name: p.detach().numpy() for name, p in module.named_parameters()}


def rate_of(spec: Training, step: int) -> float:
    """The rate of a step, from the formula."""
    how = spec.optimizer
    warm = max(1.0, round(how.warmup_fraction * spec.n_steps))
    if step < warm:
        return how.learning_rate * (step + 1) / warm
    if how.schedule == "constant":
        return how.learning_rate
    return how.learning_rate * (1 + np.cos(np.pi * (step - warm) / (spec.n_steps - warm))) / 2


def assert_close(one: dict[str, np.ndarray], other: dict[str, np.ndarray], atol: float = 1e-10) -> None:
    """Agree to 1e-10; the bias of a key has the gradient 0 but for rounding, which Adam enlarges: to 1e-7."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        far = np.abs(value - other[name])
        if name.endswith("qkv.bias") and atol:
            query, key, rest = np.split(far, 3)
            assert key.max() < 1e-7, name
            far = np.concatenate((query, rest))
        assert far.max() <= atol, name


def largest_move(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


# Against the loop one would write


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters)


LOOPS: dict[str, tuple[Optimizer, Callable[[Any], torch.optim.Optimizer]]] = {
    "sgd": (SGD(0.1), torch.optim.SGD),
    "sgd, cosine": (SGD(0.1, "cosine", 0.25), torch.optim.SGD),
    "adam": (Adam(0.01), adam),
    "adam, warm-up": (Adam(0.01, warmup_fraction=0.5), adam),
    "adam, cosine": (Adam(0.01, "cosine", 0.1), adam),
    "adam, other moments": (
        Adam(0.01, betas=(0.8, 0.9), epsilon=1e-3),
        lambda p: torch.optim.Adam(p, betas=(0.8, 0.9), eps=1e-3),
    ),
    "adamw": (Adam(0.01, weight_decay=0.1), lambda p: torch.optim.AdamW(p, weight_decay=0.1)),
}


@MODELS
@pytest.mark.parametrize("name", LOOPS)
def test_a_training_equals_a_plain_loop(store: Store, name: str, model: Any) -> None:
    optimizer, make = LOOPS[name]
    spec = batched(model=model, optimizer=optimizer, seed=2)
    table = train(spec, store)
    expected = plain_loop(spec, make)
    final = tiny.final(spec, store)
    assert_close(final, expected)
    assert largest_move(final, untrained(spec)) > 1e-2
    held_out, truth = spec.task.stream(0, "evaluation").examples(0, spec.n_evaluation)
    module = model.module(expected).eval()
    x = tokens_of(held_out) if isinstance(model, Transformer) else torch.from_numpy(held_out).double()
    loss = nn.functional.cross_entropy(output(module, x), torch.from_numpy(truth).long())
    assert table.loss_nats.iloc[-1] == pytest.approx(float(loss.detach()), abs=1e-10)
    assert table.samples_seen.tolist() == [0, 20 * BATCH, 40 * BATCH]


def test_another_rate_decay_or_moment_is_another_training(store: Store) -> None:
    """The control: each setting of the loops above is seen in the parameters."""
    finals = []
    for optimizer, _ in LOOPS.values():
        spec = batched(model=MLP(16), optimizer=optimizer, n_steps=10, evaluate_every=10)
        train(spec, store)
        finals.append(tiny.final(spec, store))
    assert all(largest_move(*pair) > 1e-4 for pair in combinations(finals, 2))


@MODELS
def test_clipping_is_that_of_separate_parameters(store: Store, model: Any) -> None:
    spec = batched(model=model, optimizer=Adam(0.01, clip_norm=0.05))
    train(spec, store)
    assert_close(tiny.final(spec, store), plain_loop(spec, adam, clip=0.05))
    free = batched(model=model)
    train(free, store)
    assert largest_move(tiny.final(spec, store), tiny.final(free, store)) > 1e-4  # the control


@pytest.mark.parametrize("n_micro", [2, 32])
@MODELS
def test_gradients_added_up_over_parts_are_those_of_the_whole_batch(
    store: Store, model: Any, n_micro: int
) -> None:
    finals = []
    for parts in (1, n_micro):
        spec = batched(model=model, optimizer=Adam(0.01, clip_norm=0.1, n_micro_batches=parts))
        train(spec, store)
        finals.append(tiny.final(spec, store))
    assert_close(*finals)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": bert(2, 2, 4, n_positions=10, vocabulary=2, initial_std=0.3)},
        {"model": MLP(16), "batch_size": 1},
    ],
    ids=["bidirectional and tied", "a batch of one by Adam"],
)
def test_other_networks_and_batches_train_as_in_a_plain_loop(store: Store, changes: dict[str, Any]) -> None:
    spec = batched(**changes)
    train(spec, store)
    assert_close(tiny.final(spec, store), plain_loop(spec, adam))


def test_a_transformer_learns_a_small_parity(store: Store) -> None:
    spec = batched(
        n_steps=400, evaluate_every=400, precision="float32", task=replace(tiny.TASK, support_size=2)
    )
    assert train(spec, store).accuracy.iloc[-1] == 1.0
    hard = replace(spec, task=replace(tiny.TASK, support_size=9), n_steps=200, evaluate_every=200)
    assert abs(train(hard, store).accuracy.iloc[-1] - 0.5) < 0.15  # the control: noise, for so short a run


# The same bits


@pytest.mark.parametrize("model", [DROPPED, MLP(16)], ids=["transformer", "mlp"])
def test_a_run_repeats_to_the_last_bit_and_cuts_change_neither_its_arithmetic_nor_what_dropout_drops(
    tmp_path: Path, model: Any
) -> None:
    finals = []
    for i, (every, kept) in enumerate(((40, 0), (40, 0), (7, 0), (40, 3))):
        store = Store(tmp_path / str(i), published=None)
        spec = batched(model=model, evaluate_every=every, checkpoint_every=kept)
        train(spec, store)
        finals.append(tiny.final(spec, store))
    for other in finals[1:]:
        tiny.assert_same_parameters(finals[0], other)


def test_a_run_is_saved_between_its_cuts_and_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = batched(model=DROPPED, precision="float32", n_steps=20, evaluate_every=20, checkpoint_every=20)
    whole, broken = Store(tmp_path / "whole", published=None), Store(tmp_path / "broken", published=None)
    table = train(spec, whole)
    monkeypatch.setattr("pdlib.training.EXAMPLES_AT_ONCE", 3 * spec.batch_size)
    tiny.interrupted(spec, broken, 9)
    progress = broken.load_progress(spec)
    assert progress is not None
    assert progress[0] == 9  # no evaluation, no checkpoint
    pd.testing.assert_frame_equal(train(spec, broken), table, check_exact=True)
    tiny.assert_same_parameters(tiny.final(spec, whole), tiny.final(spec, broken))
    broken.save_progress(
        spec, *progress[:1], progress[1] | {"state/exp_avg": progress[1]["state/exp_avg"] * 0}, progress[2]
    )
    assert train(spec, broken).loss_nats.iloc[-1] != table.loss_nats.iloc[-1]  # the control


def step_data(spec: Training, n_steps: int = 6) -> tuple[Any, Any, Any]:
    bits, classes = spec.task.stream(0, "train").examples(0, n_steps * spec.batch_size)
    return bits, np.eye(2)[classes], np.full(n_steps, 0.01)


@pytest.mark.parametrize(("precision", "n_micro"), [("float32", 1), ("float64", 4)])
@MODELS
def test_class_numbers_give_the_bits_of_distributions_that_are_sure_of_them(
    model: Any, precision: Any, n_micro: int
) -> None:
    spec = batched(model=model, precision=precision, optimizer=Adam(0.01, n_micro_batches=n_micro))
    bits, one_hot, rates = step_data(spec)
    classes = one_hot.argmax(axis=1)
    found = []
    for targets in (one_hot, classes, classes.astype(np.uint8), 1 - classes):
        learner = GradientLearner(spec, untrained(spec))
        learner.steps(bits, targets, rates)
        found.append(learner.parameters())
    tiny.assert_same_parameters(found[0], found[1])
    tiny.assert_same_parameters(found[0], found[2])
    assert largest_move(found[0], found[3]) > 1e-3  # the control: the other class


def learned(spec: Training, *, saved: Any = None) -> GradientLearner:
    initial = {k: v.astype(spec.precision) for k, v in GPT2.initial(10, 2, seed=0).items()}
    learner = GradientLearner(spec, saved or initial)
    learner.steps(*step_data(spec))
    return learner


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(
    "optimizer", [SGD(0.1), Adam(0.01), Adam(0.01, weight_decay=0.1)], ids=["sgd", "adam", "adamw"]
)
def test_a_learner_goes_on_from_its_state_to_the_same_bits(optimizer: Any, precision: str) -> None:
    spec = batched(model=DROPPED, optimizer=optimizer, precision=precision)
    through = learned(spec)
    state = through.state()
    assert all(isinstance(value, np.ndarray) for value in state.values())
    resumed = learned(spec, saved=state)
    through.steps(*step_data(spec))
    tiny.assert_same_parameters(resumed.parameters(), through.parameters())
    tiny.assert_same_parameters(resumed.state(), through.state())
    others = {"state/generator": learned(replace(spec, seed=9)).state()["state/generator"]}
    if "state/step" in state:
        others |= {"state/exp_avg": state["state/exp_avg"] * 0, "state/step": np.ones(1, "float32")}
    for name, value in others.items():  # the controls: each part of the state is needed
        other = learned(spec, saved=state | {name: value})
        assert largest_move(other.parameters(), through.parameters()) > 1e-6


def test_dropout_follows_the_seed_of_the_run_and_drops_other_numbers_at_each_step() -> None:
    one, again, other = (learned(batched(model=DROPPED, seed=s)).parameters() for s in (0, 0, 1))
    tiny.assert_same_parameters(one, again)
    assert largest_move(one, other) > 1e-6
    without = [learned(batched(model=GPT2, seed=s)).parameters() for s in (0, 1)]
    tiny.assert_same_parameters(*without)  # the seed reaches the steps by dropout alone
    learner, states = learned(spec := batched(model=DROPPED)), set()
    for _ in range(3):
        states.add(learner.state()["state/generator"].tobytes())
        learner.steps(*step_data(spec, 1))
    assert len(states) == 3


def test_a_run_leaves_pytorchs_own_generator_alone_and_does_not_hear_from_it() -> None:
    before = torch.get_rng_state()
    found = []
    for seed in (123, 321):
        torch.manual_seed(seed)
        mine = torch.get_rng_state()
        found.append(learned(batched(model=DROPPED)).parameters())
        assert torch.equal(torch.get_rng_state(), mine)
    tiny.assert_same_parameters(*found)
    torch.set_rng_state(before)


# Taught

# of a scale at which its checkpoints differ from each other, and from the truth
TEACHER = batched(
    model=replace(GPT2, initial_std=1.0), n_steps=60, evaluate_every=30, checkpoint_every=20, seed=7
)


@pytest.fixture(scope="module")
def _teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("teacher")
    execute([TEACHER], Store(root, published=None), n_workers=1, progress=False)
    return root


@pytest.fixture
def taught(tmp_path: Path, _teacher: Path) -> Store:
    import shutil

    shutil.copytree(_teacher, tmp_path / "taught")
    return Store(tmp_path / "taught", published=None)


def asked(spec: Training, store: Store) -> Callable[[int, Tensor, Tensor], Tensor]:
    """Targets of a step, from the teacher's checkpoint of that step, asked about this batch alone."""
    how = spec.supervision
    assert isinstance(how, Distillation)
    modules = {
        p.checkpoint: TEACHER.model.module(store.load_checkpoint(TEACHER, p.checkpoint)) for p in spec.pieces
    }

    def targets(step: int, x: Tensor, y: Tensor) -> Tensor:
        piece = next(p for p in spec.pieces if p.start <= step < p.stop)
        with torch.no_grad():
            values = output(modules[piece.checkpoint], x if x.dtype == torch.int64 else (x < 0).long())
        if how.targets == "hard":
            return values.argmax(dim=1)
        return torch.from_numpy(softmax(values.double().numpy(), how.temperature))

    return targets


@pytest.mark.parametrize("targets", ["hard", "soft"])
@pytest.mark.parametrize(
    "model", [replace(GPT2, n_heads=1, head_size=4), MLP(16)], ids=["transformer", "mlp"]
)
def test_a_student_of_stored_labels_is_that_of_a_teacher_asked_at_every_step(
    taught: Store, model: Any, targets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "GRID", 300)  # blocks end within batches
    how = Distillation(TEACHER, Explicit((20, 40, -1), (5, 9)), 0.5 if targets == "soft" else 1.0, targets)
    spec = batched(model=model, supervision=how, n_steps=30, evaluate_every=30, seed=3)
    blocks = [(b.start, b.stop, b.checkpoint) for b in labels.blocks_of(spec)]
    assert blocks == [
        (0, 160, 20),
        (160, 300, 40),
        (300, 448, 40),
        (448, 600, 60),
        (600, 900, 60),
        (900, 960, 60),
    ]
    train(spec, taught)
    final = tiny.final(spec, taught)
    assert_close(final, plain_loop(spec, adam, asked(spec, taught)))
    shifted = asked(spec, taught)
    other = plain_loop(spec, adam, lambda step, x, y: shifted((step + 5) % 30, x, y))
    assert largest_move(final, other) > 1e-4  # the control: checkpoints in another order


# Refused


@dataclass(frozen=True)
class Miscounted(Task):
    """Says two classes and gives three."""

    n_inputs = 10
    n_classes = 2

    def stream(self, seed: int, purpose: Any) -> Any:
        inner = tiny.TASK.stream(seed, purpose)

        class Stream:
            identity = "three classes"

            def examples(self, start: int, stop: int, out: Any = None) -> Any:
                bits, classes = inner.examples(start, stop, out=out)
                return bits, classes + 1

        return Stream()


def test_classes_and_targets_outside_the_output_are_refused(store: Store) -> None:
    spec = batched()
    learner = GradientLearner(spec, untrained(spec))
    bits, _, rates = step_data(spec)
    with pytest.raises(SpecError, match=r"targets of 3 classes: expected 2, the network's outputs"):
        learner.steps(bits, np.full((len(bits), 3), 1 / 3), rates)
    for wrong in (2, -1):
        classes = np.zeros(len(bits), np.int64)
        classes[5] = wrong
        with pytest.raises(SpecError, match=rf"class {wrong}: expected from 0 to 1, the network's outputs"):
            learner.steps(bits, classes, rates)
    tiny.assert_same_parameters(learner.parameters(), untrained(spec))  # nothing was done
    found = Targets(replace(spec, task=Miscounted()), store)
    with pytest.raises(SpecError, match=r"class 2: expected below n_classes = 2"):
        found.of(0, 3, np.array([0, 1, 2], np.uint8))


def test_a_token_outside_the_vocabulary_is_refused_before_a_step_is_taken() -> None:
    spec = batched()
    learner = GradientLearner(spec, untrained(spec))
    bits, targets, rates = step_data(spec)
    tokens = (bits < 0).astype(np.int64)
    tokens[-1, 4] = 2
    with pytest.raises(SpecError, match=r"token 2: expected from 0 to 1, the vocabulary"):
        learner.steps(tokens, targets, rates)
    tiny.assert_same_parameters(learner.parameters(), untrained(spec))


def test_a_saved_state_of_another_network_is_refused() -> None:
    spec = batched()
    state = learned(spec).state()
    state["state/exp_avg"] = state["state/exp_avg"][:-1]
    with pytest.raises(SpecError, match=r"saved exp_avg of \d+ numbers: expected \d+, as this network has"):
        GradientLearner(spec, state)
