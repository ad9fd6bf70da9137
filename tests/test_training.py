"""Training from spec to table: two routes, faults, and runs that are killed and go on to the same last bit."""

from __future__ import annotations

import signal
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny
import torch

from pdlib import labels
from pdlib.engine import execute
from pdlib.models.mlp import MLP, as_module
from pdlib.models.transformer import Transformer, bert
from pdlib.optimizers import SGD, Adam
from pdlib.schedules import OneShot, Progressive
from pdlib.specs import Distillation, SpecError, Training
from pdlib.store import MissingError, Store
from pdlib.tasks.grammar import grammar
from pdlib.tasks.masked import MaskedPrediction
from pdlib.training import DivergedError, train
from pdlib.training.online_sgd import TorchLearner

# Two routes


def test_a_training_equals_a_plain_loop_over_its_stream(store: Store) -> None:
    spec = tiny.training(precision="float64", optimizer=SGD(0.1, "cosine", 0.1), n_steps=2000, seed=3)
    table = train(spec, store)
    module = as_module(spec.model.initial(10, 2, seed=3))
    optimizer = torch.optim.SGD(module.parameters())
    inputs, classes = spec.task.stream(3, "train").examples(0, 2000)
    for step in range(2000):
        optimizer.param_groups[0]["lr"] = float(spec.optimizer.rates(step, step + 1, 2000)[0])
        optimizer.zero_grad()
        output = module(torch.from_numpy(inputs[step]).double())
        torch.nn.functional.cross_entropy(output, torch.tensor(int(classes[step]))).backward()
        optimizer.step()
    for name, value in module.state_dict().items():
        np.testing.assert_allclose(tiny.final(spec, store)[name], value, rtol=0, atol=1e-10)
    held_out, truth = spec.task.stream(0, "evaluation").examples(0, spec.n_evaluation)
    with torch.no_grad():
        output = module(torch.from_numpy(held_out).double())
    loss = torch.nn.functional.cross_entropy(output, torch.from_numpy(truth).long())
    assert table.loss_nats.iloc[-1] == pytest.approx(float(loss), abs=1e-10)
    assert table.accuracy.iloc[-1] == (output.argmax(dim=1).numpy() == truth).mean()


def test_the_cuts_of_a_run_do_not_change_its_arithmetic(store: Store) -> None:
    specs = [
        tiny.training(precision="float64", n_steps=3000, evaluate_every=every, checkpoint_every=kept)
        for every, kept in [(3000, 0), (500, 500), (37, 0), (3000, 111)]
    ]
    finals = []
    for spec in specs:
        train(spec, store)
        finals.append(tiny.final(spec, store))
    for other in finals[1:]:
        for name, value in finals[0].items():
            np.testing.assert_allclose(other[name], value, rtol=0, atol=1e-9)


def test_the_torch_device_path_gives_the_same_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = tiny.training(precision="float64")
    compiled = train(spec, Store(tmp_path / "a", published=None))
    monkeypatch.setattr("pdlib.training.CompiledLearner", lambda p: TorchLearner(p, "cpu"))
    pd.testing.assert_frame_equal(train(spec, Store(tmp_path / "b", published=None)), compiled, atol=1e-10)


# The table


def test_a_table_has_a_row_an_evaluation_and_starts_from_the_initial_weights(store: Store) -> None:
    spec = tiny.training(n_steps=450, evaluate_every=200)
    table = train(spec, store)
    assert table.columns.tolist() == ["step", "samples_seen", "loss_nats", "accuracy"]
    assert table.step.tolist() == [0, 200, 400, 450] == table.samples_seen.tolist()
    assert table.loss_nats[0] == pytest.approx(np.log(2), abs=0.1)
    assert sorted(p.name for p in store.run_folder(spec).glob("checkpoints/*")) == sorted(
        f"{step}.safetensors" for step in (100, 200, 300, 400, 450)
    )


def test_a_small_network_learns_a_small_parity_and_not_one_whose_labels_are_chance(taught: Store) -> None:
    record = taught.find(tiny.TEACHER.fingerprint)
    assert record is not None
    assert record.table.accuracy.iloc[-1] == 1.0
    hard = replace(tiny.TEACHER, task=replace(tiny.TASK, support_size=9), n_steps=2000)
    assert abs(train(hard, taught).accuracy.iloc[-1] - 0.5) < 0.1  # k = 9: noise, for so short a run


# Faults


@pytest.mark.parametrize("rate", [1e3, 1e30])
def test_a_run_that_diverges_says_at_which_step_and_rate(store: Store, rate: float) -> None:
    spec = tiny.training(optimizer=SGD(rate), task=tiny.TASK, n_steps=4000, evaluate_every=1000)
    said = r"loss is (nan|inf) at step \d+ with learning_rate .*Lower the"
    with pytest.raises(DivergedError, match=said), np.errstate(all="ignore"):
        train(spec, store)
    assert store.find(spec.fingerprint) is None


def test_weights_that_are_no_number_are_caught_at_the_first_evaluation(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = MLP.initial
    monkeypatch.setattr(MLP, "initial", lambda *a, **k: {n: v * np.nan for n, v in original(*a, **k).items()})
    with pytest.raises(DivergedError, match=r"loss is nan at step 0 with learning_rate 0\.05"):
        train(tiny.training(), store)


def test_a_precision_that_the_device_cannot_give_is_refused(store: Store) -> None:
    with pytest.raises(SpecError, match=r"precision 'bfloat16' on cpu: expected a CUDA device"):
        train(tiny.training(batch_size=32, precision="bfloat16"), store)
    with pytest.raises(SpecError, match=r"precision 'bfloat16' of the batch-1 engine"):
        train(tiny.training(precision="bfloat16"), store)


def test_a_missing_teacher_checkpoint_is_an_error_never_a_skip(taught: Store) -> None:
    (taught.run_folder(tiny.TEACHER) / "checkpoints" / "4000.safetensors").unlink()
    with pytest.raises(
        MissingError, match=r"checkpoint 4000 of training [0-9a-f]{32} is not in .*Train it first"
    ):
        train(tiny.student(schedule=Progressive(4, 100)), taught)
    train(tiny.student(schedule=OneShot()), taught)  # needs the final one alone


# Memory


@pytest.mark.parametrize("supervision", ["labels", "teacher"])
def test_memory_does_not_grow_with_the_number_of_steps(
    taught: Store, supervision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "GRID", 10_000)  # a block of labels is what a student holds at once

    def peak(n_steps: int) -> int:
        changes: dict[str, Any] = {"n_steps": n_steps, "evaluate_every": n_steps, "checkpoint_every": 0}
        if supervision == "labels":
            spec = tiny.training(**changes)
        else:
            spec = tiny.student(schedule=OneShot(), targets="soft", **changes)
        tracemalloc.start()
        train(spec, taught)
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(100)  # compilation and imports
    short, long = peak(20_000), peak(200_000)
    assert long < 1.2 * short + 50_000  # bytes; the inputs alone of 180,000 more steps would be 7.2 MB


TOKENS = MaskedPrediction(grammar("cfg3b", roots=(10, 11)))  # 4 classes


def masked(**changes: Any) -> Training:
    """A training of 20 steps on short sequences, whose checkpoints can teach."""
    model = bert(1, 2, 4, vocabulary=4, n_positions=TOKENS.n_inputs, initial_std=0.3)
    base = Training(
        TOKENS,
        model,
        Adam(0.01),
        n_steps=20,
        evaluate_every=10,
        batch_size=8,
        n_evaluation=60,
        precision="float64",
    )
    return replace(base, **changes)


def test_logits_of_many_classes_are_evaluated_some_at_a_time_to_the_same_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = masked()
    whole = train(spec, Store(tmp_path / "whole", published=None))
    monkeypatch.setattr("pdlib.labels.FEW", 3)
    monkeypatch.setattr("pdlib.training.EVALUATED_AT_ONCE", 4 * 9)
    sizes: list[int] = []
    original = Transformer.logits

    def logits(self: Transformer, *arguments: Any) -> Any:
        found = original(self, *arguments)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(Transformer, "logits", logits)
    parts = train(spec, Store(tmp_path / "parts", published=None))
    assert len(sizes) > 3 * 10  # three evaluations
    assert max(sizes) <= 9
    pd.testing.assert_frame_equal(parts, whole, atol=1e-12, rtol=0)


def test_distributions_over_many_classes_are_made_for_few_steps_at_once_to_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = masked(seed=1)
    soft = Distillation(teacher, OneShot())
    sizes: dict[str, list[int]] = {}
    tables = {}
    for name, few in (("few classes", 256), ("many", 3)):
        monkeypatch.setattr("pdlib.training.FEW", few)
        monkeypatch.setattr("pdlib.training.LOGITS_AT_ONCE", 4 * TOKENS.n_inputs * 8 * 3)  # three steps
        store = Store(tmp_path / name, published=None)
        train(teacher, store)
        sizes[name] = []
        tables[name] = train(masked(supervision=soft), store, on_steps=sizes[name].append)
        train(masked(), Store(tmp_path / f"{name}, truth", published=None), on_steps=sizes[name].append)
    assert sizes["few classes"] == [10, 10, 10, 10]
    evaluated = [3, 3, 3, 1]
    assert sizes["many"] == [*evaluated, *evaluated, 10, 10]  # true classes need no room
    pd.testing.assert_frame_equal(*tables.values(), check_exact=True)


# Killed


def specs() -> list[Any]:
    """A teacher and two students of it, one of them soft: a graph with every kind of file."""
    teacher = tiny.training(n_steps=1200, evaluate_every=300, checkpoint_every=300)
    return [
        tiny.student(teacher, Progressive(4, 50), checkpoint_every=200),
        tiny.student(teacher, Progressive(2, 100), targets="soft", temperature=0.5),
    ]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, start: Callable[..., Any]) -> Store:
    """A store in which the same graph ran through at once."""
    root = tmp_path_factory.mktemp("uninterrupted")
    process = start(tiny.run, specs(), root)
    process.join()
    assert process.exitcode == 0
    return Store(root, published=None)


def everything() -> list[Any]:
    students = specs()
    return [students[0].supervision.teacher, *students]


@pytest.mark.parametrize("moment", ["half written", "before the move", "after the move"])
def test_a_run_killed_again_and_again_while_it_writes_ends_with_the_same_bits(
    store: Store, start: Callable[..., Any], uninterrupted: Store, moment: str
) -> None:
    kills, resumed = 0, 0
    while True:
        resumed += any(store.root.glob("runs/*/progress.safetensors"))
        process = start(tiny.run, specs(), store.root, kill_at_write=2 + kills, moment=moment)
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        kills += 1
    assert kills >= 5
    assert resumed >= 2
    assert list(store.root.rglob(".writing-*")) == []  # what a killed process left behind is swept
    assert not any(store.root.rglob("progress.safetensors"))
    for spec in everything():
        tiny.assert_same_result(spec, store, uninterrupted)


def test_a_run_killed_from_outside_at_any_moment_ends_with_the_same_bits(
    tmp_path: Path, start: Callable[..., Any]
) -> None:
    spec = tiny.training(n_steps=60_000, evaluate_every=500, checkpoint_every=1000)
    killed, whole = (Store(tmp_path / name, published=None) for name in ("killed", "whole"))
    start(tiny.run, [spec], whole.root).join()
    checkpoints = killed.run_folder(spec) / "checkpoints"

    def n_kept() -> int:
        return len(list(checkpoints.glob("*.safetensors")))

    spent = 0.0
    for more in (1, 2, 7, 3, 11):
        before = n_kept()
        process = start(tiny.run, [spec], killed.root)
        tiny.wait_until(lambda: n_kept() >= before + more or not process.is_alive(), "checkpoints")  # noqa: B023
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert killed.find(spec.fingerprint) is None  # half a run is no result
        progress = killed.load_progress(spec)
        assert progress is not None
        assert 0 < progress[0] < spec.n_steps
        assert killed.progress_cost(spec)["wall_s"] > spent
        spent = killed.progress_cost(spec)["wall_s"]
    start(tiny.run, [spec], killed.root).join()
    tiny.assert_same_result(spec, killed, whole)
    record = killed.find(spec.fingerprint)
    assert record is not None
    assert record.provenance["resumed"] is True
    assert record.provenance["wall_s"] > spent  # of all its parts


def test_a_resumed_run_does_not_repeat_what_was_done(store: Store, tmp_path: Path) -> None:
    spec = tiny.training(n_steps=2000, evaluate_every=200)
    tiny.interrupted(spec, store, 1001)
    steps: list[int] = []
    resumed = train(spec, store, on_steps=steps.append)
    assert steps[0] == 1000  # said at once, not trained again
    assert sum(steps) == 2000
    other = Store(tmp_path / "other", published=None)
    pd.testing.assert_frame_equal(resumed, train(spec, other), check_exact=True)
    tiny.assert_same_parameters(tiny.final(spec, store), tiny.final(spec, other))


def truncated(path: Path, other: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def altered(path: Path, other: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def of_another(path: Path, other: Path) -> None:
    path.write_bytes(other.read_bytes())


@pytest.mark.parametrize("damage", [truncated, altered, of_another], ids=lambda f: f.__name__)
def test_damaged_progress_costs_the_progress_and_not_the_run(
    store: Store, tmp_path: Path, damage: Callable[[Path, Path], None]
) -> None:
    spec, other = (tiny.training(n_steps=2000, evaluate_every=200, seed=seed) for seed in (0, 1))
    whole = Store(tmp_path / "whole", published=None)
    execute([spec], whole, progress=False)
    tiny.interrupted(spec, store, 1001)
    tiny.interrupted(other, store, 1001)
    path, of_other = (store.run_folder(s) / "progress.safetensors" for s in (spec, other))
    damage(path, of_other)
    with pytest.warns(UserWarning, match=rf"{path} could not be used .* starts again from the beginning"):
        (record,) = execute([spec], store, progress=False)
    tiny.assert_same_result(spec, store, whole)
    assert record.provenance["resumed"] is False
    assert not path.exists()
    (record,) = execute([other], store, progress=False)
    assert record.provenance["resumed"] is True  # the control: the other one's was whole


def test_of_two_processes_on_one_spec_one_trains_and_both_return(
    store: Store, start: Callable[..., Any]
) -> None:
    import multiprocessing

    spec = tiny.training(n_steps=30_000, evaluate_every=1000)
    store.root.mkdir()
    gate = multiprocessing.get_context("forkserver").Barrier(2)
    processes = [start(tiny.run, [spec], store.root, gate=gate) for _ in range(2)]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    (trained,) = (store.root / "trained-by").iterdir()
    assert trained.name in {f"{spec.fingerprint}-{process.pid}" for process in processes}
    assert store.find(spec.fingerprint) is not None
