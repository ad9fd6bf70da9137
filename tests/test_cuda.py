"""What a GPU computes is what the CPU computes; without a GPU these tests say so and are left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from test_online_sgd import TOLERANCE, Data, distance, initial

from pdlib import MLP, SGD, Distillation, Labels, MonomialCorrelations, OneShot, SparseParity, engine, labels
from pdlib.specs import Measurement, Parameters, Training
from pdlib.store import Store
from pdlib.training import learner, train, untrained
from pdlib.training.online_sgd import WIDE, CompiledLearner, Learner, TorchLearner

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that PyTorch can use")

TASK = SparseParity(12, 2)


def on_gpu(parameters: Parameters) -> Learner:
    from pdlib.training.online_sgd_cuda import TritonLearner

    return TritonLearner(parameters, "cuda")


TEACHER = Training(
    TASK, MLP(WIDE), SGD(0.02), n_steps=12_000, evaluate_every=2_000, checkpoint_every=3_000, seed=3
)


def test_a_wide_network_is_trained_by_kernels_of_our_own() -> None:
    assert type(learner(TEACHER, untrained(TEACHER), "cuda")).__name__ == "TritonLearner"


@pytest.mark.parametrize(
    ("width", "n_classes", "n"), [(100, 2, 700), (257, 5, 200), (1000, 8, 200), (20_001, 3, 130)]
)
def test_steps_on_a_gpu_equal_those_of_the_compiled_engine(width: int, n_classes: int, n: int) -> None:
    data = Data(20, n_classes, n, targets="soft", rates=0.05)
    start = initial(width, data)
    compiled = data.through(CompiledLearner(start), 97)
    assert distance(compiled, start) > 1e-3
    for cuts in ((), (97,), (1, 33, 64)):  # whole blocks are replayed from a graph, the rest is not
        assert distance(data.through(on_gpu(start), *cuts), compiled) < TOLERANCE
    assert distance(data.through(TorchLearner(start, "cuda")), compiled) < TOLERANCE
    data.y[n // 2] = data.y[n // 2, ::-1]  # the control: one target more or less is seen
    assert distance(data.through(on_gpu(start)), compiled) > 1e-6


def test_more_examples_than_lie_on_the_device_at_once_are_all_taken() -> None:
    data = Data(20, 2, 9_001)
    start = initial(64, data)
    assert distance(data.through(on_gpu(start)), data.through(CompiledLearner(start))) < 100 * TOLERANCE


def test_a_second_learner_does_not_disturb_the_first() -> None:
    data = Data(20, 2, 320)
    start = initial(300, data)
    alone = data.through(on_gpu(start))
    first, second = on_gpu(start), on_gpu(start)
    x = np.zeros((len(data.x), first.n_columns))
    x[:, :20], x[:, 20] = data.x, 1.0
    for a in range(0, 320, 160):
        for state in (first, second):
            state.steps(x[a : a + 160], data.y[a : a + 160], data.rates[a : a + 160])
    assert distance(first.parameters(), alone) == 0
    assert distance(second.parameters(), alone) == 0


def test_what_is_not_a_number_is_not_hidden_on_a_gpu() -> None:
    data = Data(5, 2, 200)
    data.x[10, 2] = np.nan
    assert np.isnan(data.through(on_gpu(initial(8, data)))["2.bias"]).all()


def test_a_run_killed_on_a_gpu_goes_on_to_the_same_table(tmp_path: Path) -> None:
    whole, parts = Store(tmp_path / "a", published=None), Store(tmp_path / "b", published=None)
    expected = train(TEACHER, whole, device="cuda")
    tiny.interrupted(TEACHER, parts, 7_001, device="cuda")
    pd.testing.assert_frame_equal(train(TEACHER, parts, device="cuda"), expected)
    for step in TEACHER.checkpoints:
        one, other = (s.load_checkpoint(TEACHER, step) for s in (whole, parts))
        assert distance(one, other) == 0


def test_a_table_in_float64_is_that_of_the_cpu(tmp_path: Path) -> None:
    spec = Training(TASK, MLP(WIDE), SGD(0.02), n_steps=600, evaluate_every=300, precision="float64")
    tables = [
        train(spec, Store(tmp_path / device, published=None), device=device) for device in ("cpu", "cuda")
    ]
    pd.testing.assert_frame_equal(*tables, rtol=1e-9)


def test_teacher_labels_and_measurements_are_those_of_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A teacher on the GPU, then labels and a probe of it by both devices, through the engine."""
    student = Training(
        TASK,
        MLP(64),
        SGD(0.05),
        n_steps=12_000,
        evaluate_every=12_000,
        supervision=Distillation(TEACHER, OneShot(), targets="hard"),
        seed=4,
    )
    measured = Measurement(TEACHER, MonomialCorrelations((1, 2), 4096), TEACHER.checkpoints)
    store = Store(tmp_path / "cuda", published=None)
    runs = [student, measured, Training(TASK, MLP(64), SGD(0.05), n_steps=10, evaluate_every=10)]
    monkeypatch.setenv("PDLIB_DEVICE", "cuda")
    taught, on_gpu, _ = engine.execute(runs, store, progress=False, n_workers=1)
    (teacher,) = engine.execute([TEACHER], store, progress=False)
    assert teacher.provenance["device"] == "cuda:0"
    assert taught.provenance["device"] == "cpu"  # a narrow network, taught by the GPU's labels
    assert teacher.table.accuracy.iloc[-1] > 0.95
    pd.testing.assert_frame_equal(engine.measure(measured, store), on_gpu.table, rtol=1e-3, atol=1e-5)
    assert isinstance(student.supervision, Distillation)
    (block,) = labels.blocks_of(student)
    targets = labels.Targets(student, store)
    made = targets.block(block)
    values, true = zip(*targets.logits(block), strict=True)
    margin = np.abs(np.diff(np.concatenate(values), axis=1)[:, 0])
    differs = made != (np.concatenate(values).argmax(axis=1) ^ np.concatenate(true))
    assert (margin[differs] < 1e-4).all()
    assert differs.mean() < 1e-3


def test_a_transformer_learns_on_a_gpu_what_it_learns_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pdlib import Adam, Transformer

    monkeypatch.setenv("PDLIB_COMPILE", "0")  # a minute for six steps
    spec = Training(
        TASK,
        Transformer(n_layers=2, n_heads=2, head_size=8),
        Adam(1e-3),
        n_steps=6,
        evaluate_every=3,
        batch_size=16,
        supervision=Labels(),
        precision="float64",
    )
    tables = [
        train(spec, Store(tmp_path / device, published=None), device=device) for device in ("cpu", "cuda")
    ]
    pd.testing.assert_frame_equal(*tables, rtol=1e-6)
