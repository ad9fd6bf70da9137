"""Data, networks and checkpoints of a user's own: what they hold decides results, and what is wrong is said by name."""

from __future__ import annotations

import io
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from numpy.typing import NDArray
from safetensors.torch import save as safetensors
from torch import nn

from pdlib.contents import ArrayContent, FileContent
from pdlib.engine import execute
from pdlib.models.folder import FolderTeacher
from pdlib.models.mlp import MLP
from pdlib.models.torch_model import TorchModel
from pdlib.optimizers import Adam
from pdlib.schedules import EqualSplit
from pdlib.specs import Distillation, Run, Spec, SpecError, Training
from pdlib.store import Store
from pdlib.tasks.arrays import ArrayTask
from pdlib.tasks.parity import SparseParity
from pdlib.training import untrained

WIDTH = 6


def data(n: int = 40) -> tuple[NDArray[Any], NDArray[Any]]:
    """Points whose class is the half of the line they are on."""
    x = np.linspace(-1, 1, 2 * n).reshape(n, 2)
    return x, (x[:, 0] > 0).astype(int)


def network(n_inputs: int, n_classes: int) -> nn.Module:
    """A network with running averages, and without random numbers of PyTorch's, which golden numbers cannot have."""
    module = nn.Sequential(
        nn.Linear(n_inputs, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU(), nn.Linear(WIDTH, n_classes)
    )
    for p in module.parameters():
        p.data = (torch.arange(p.numel()) * 3 % 7 / 8 - 0.375).view(p.shape)
    return module


def dropping(n_inputs: int, n_classes: int) -> nn.Module:
    return nn.Sequential(nn.Linear(n_inputs, WIDTH), nn.Dropout(0.5), nn.Linear(WIDTH, n_classes))


class Tied(nn.Module):
    def __init__(self, n_inputs: int, n_classes: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(n_inputs, n_inputs), nn.Linear(n_inputs, n_inputs)
        self.second.weight = self.first.weight
        self.out = nn.Linear(n_inputs, n_classes)

    def forward(self, x: Any) -> Any:
        return self.out(self.second(self.first(x).relu()))


def run(task: ArrayTask, model: Any, **changes: Any) -> Training:
    how = {"n_steps": 30, "evaluate_every": 15, "batch_size": 4, "n_evaluation": 16, "precision": "float64"}
    return Training(task, model, Adam(0.05), **{**how, **changes})


def written(folder: Path = Path(), **changed: Any) -> tuple[str, ...]:
    """Files of two checkpoints of an MLP, the last in safetensors."""
    paths = []
    for seed, suffix in ((0, "pt"), (1, "safetensors")):
        state = MLP(WIDTH).module(MLP(WIDTH).initial(2, 2, seed)).state_dict() | changed
        path = folder / f"step-{seed}.{suffix}"
        if suffix == "pt":
            torch.save(state, path)
        else:
            path.write_bytes(safetensors(state))
        paths.append(str(path))
    return tuple(paths)


def examples() -> dict[str, Run]:
    task = ArrayTask(*data())
    teacher = FolderTeacher(task, MLP(WIDTH), written()[1:], (5,))
    taught = Distillation(teacher, EqualSplit(1), targets="hard")
    return {
        "ArrayTask": run(task, MLP(WIDTH)),
        "TorchModel": run(task, TorchModel(network)),
        "FolderTeacher": run(task, MLP(WIDTH), supervision=taught),
    }


# Arrays


def test_the_content_of_arrays_decides_a_result_and_not_the_object() -> None:
    x, y = data()
    task = ArrayTask(x, y)
    assert ArrayTask(x.copy(), y.tolist()).fingerprint == task.fingerprint
    shuffled = ArrayTask(x, np.roll(y, 3))
    assert len({task.fingerprint, shuffled.fingerprint, ArrayTask(x.astype("f4"), y).fingerprint}) == 3
    assert (
        ArrayTask(x, y, n_classes=3).fingerprint
        != task.fingerprint
        == ArrayTask(x, y, n_classes=2).fingerprint
    )
    x[0] = 9.0  # the user's own array, later
    assert task.inputs.array[0, 0] == -1.0
    assert "array" not in str(task.canonical())


def test_training_never_sees_a_held_out_example_and_an_epoch_sees_all_others_once() -> None:
    x, y = data()
    task = ArrayTask(x, y, held_out=0.25)
    assert (task.n_held_out, task.n_inputs, task.n_classes) == (10, 2, 2)
    train, held = (
        {tuple(row) for row in task.stream(0, purpose).examples(0, n)[0].tolist()}
        for purpose, n in (("train", 30), ("evaluation", 10))
    )
    assert (len(train), len(held), train & held) == (30, 10, set())
    assert train | held == {tuple(row) for row in x.tolist()}
    stream = task.stream(0, "train")
    block = stream.examples(0, 90)
    for part in (slice(61, 90), slice(25, 40)):
        for whole, again in zip(block, stream.examples(part.start, part.stop), strict=True):
            np.testing.assert_array_equal(whole[part], again)
    assert (block[0][:30] != block[0][30:60]).any()  # another order
    assert task.frequencies() == pytest.approx(np.bincount(y[task.rows("train")]) / 30)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"inputs": np.zeros(40)},
            r"inputs of shape \(40,\) with classes of shape \(40,\): expected \(example, coord",
        ),
        ({"classes": np.zeros(39, int)}, r"classes of shape \(39,\)"),
        ({"inputs": np.full((40, 2), np.nan)}, "expected finite numbers. Leave out"),
        ({"inputs": np.full((40, 2), "a")}, "inputs of type <U1: expected finite numbers"),
        ({"classes": np.zeros(40)}, "classes of type float64: expected whole numbers from 0"),
        ({"classes": -np.ones(40, int)}, "expected whole numbers from 0"),
        ({"n_classes": 1}, "n_classes = 1: expected at least 2"),
        ({"classes": np.full(40, 7), "n_classes": 5}, "class 7: expected below n_classes = 5"),
        ({"held_out": 0.001}, "held_out = 0.001 of 40 examples: expected at least one in either part"),
        ({"held_out": 1.0}, r"held_out = 1.0: expected a number in \(0, 1\)"),
    ],
)
def test_arrays_that_are_no_data_set_are_refused(change: dict[str, Any], message: str) -> None:
    x, y = data()
    with pytest.raises(SpecError, match=message):
        ArrayTask(**{"inputs": x, "classes": y, **change})


def test_an_array_goes_to_workers_and_is_missed_where_only_its_hash_is_known() -> None:
    task = ArrayTask(*data())
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(task)).inputs.array, task.inputs.array)
    assert Spec.from_canonical(task.canonical()).stream(0, "train").examples(0, 3)[0].shape == (3, 2)
    known = ArrayContent((3, 2), "<f8", "0" * 64)
    with pytest.raises(SpecError, match=r"an array of shape \(3, 2\), known by its hash alone"):
        _ = known.array


# Files


def test_what_a_file_holds_decides_and_a_file_that_changes_or_is_gone_names_itself(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("0 1")
    content = FileContent(str(path))
    assert content.read() == b"0 1"
    path.write_text("1 0")
    assert FileContent(str(path)).fingerprint != content.fingerprint
    with pytest.raises(SpecError, match=r"labels.txt: SHA-256 .* expected .* Restore the file"):
        content.read()
    path.unlink()
    with pytest.raises(SpecError, match=r"labels.txt: No such file or directory: expected a file"):
        FileContent(str(path))


# Networks


def test_any_module_is_trained_and_its_code_decides(store: Store) -> None:
    task = ArrayTask(*data())
    for factory in (network, dropping, Tied):
        spec = run(task, TorchModel(factory), n_steps=60)
        (record,) = execute([spec], store, progress=False)
        assert record.table.loss_nats.iloc[-1] < record.table.loss_nats.iloc[0]
        assert Spec.from_canonical(record.spec.canonical()) == spec
        parameters = store.load_checkpoint(spec, 60)
        assert parameters.keys() == untrained(spec).keys()
    assert run(task, TorchModel(network)).fingerprint != run(task, TorchModel(dropping)).fingerprint


def test_a_model_that_reads_a_global_follows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = TorchModel(network).fingerprint
    monkeypatch.setattr("test_own.WIDTH", 7)
    assert TorchModel(network).fingerprint != before
    widths = {TorchModel(made(width)).fingerprint for width in (3, 4, 4)}
    assert len(widths) == 2


def made(width: int) -> Any:
    def inner(n_inputs: int, n_classes: int) -> nn.Module:
        return nn.Sequential(nn.Linear(n_inputs, width), nn.Linear(width, n_classes))

    return inner


def test_a_torch_model_of_the_mlps_form_learns_what_the_mlp_learns(store: Store) -> None:
    """Two routes: the same start and the same batches."""
    spec = run(ArrayTask(*data()), MLP(WIDTH))

    def start(self: Any, n_inputs: int, n_classes: int, seed: int) -> Any:
        return MLP(WIDTH).initial(n_inputs, n_classes, seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TorchModel, "initial", start)
        other = replace(spec, model=TorchModel(plain))
        one, two = execute([spec, other], store, progress=False)
    np.testing.assert_allclose(one.table.loss_nats, two.table.loss_nats, rtol=1e-9)
    assert other.model.multiply_adds(2, 2) == MLP(WIDTH).multiply_adds(2, 2)


def plain(n_inputs: int, n_classes: int) -> nn.Module:
    return nn.Sequential(nn.Linear(n_inputs, WIDTH), nn.ReLU(), nn.Linear(WIDTH, n_classes))


def test_an_interrupted_run_with_running_averages_and_dropout_ends_as_an_uninterrupted_one(
    store: Store, tmp_path: Path
) -> None:
    def both(n_inputs: int, n_classes: int) -> nn.Module:
        return nn.Sequential(
            nn.Linear(n_inputs, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, n_classes)
        )

    spec = run(ArrayTask(*data()), TorchModel(both), checkpoint_every=10)
    other = Store(tmp_path / "other", published=None)
    execute([spec], store, progress=False)
    tiny.interrupted(spec, other, at_step=12)
    execute([spec], other, progress=False)
    tiny.assert_same_result(spec, store, other)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (3, "factory = 3: expected a function of n_inputs and n_classes"),
        (lambda n, c: 5, r"TorchModel\(<lambda>\) made a int: expected a torch.nn.Module"),
        (lambda n, c: nn.Linear(n, c + 1), r"outputs of shape \(5, 3\): expected \(5, 2\)"),
    ],
)
def test_what_is_no_network_for_the_task_is_refused(factory: Any, message: str) -> None:
    def predict() -> None:
        model = TorchModel(factory, n_inputs=2, n_classes=2)
        model.logits(model.initial(2, 2, seed=0), np.zeros((5, 2)))

    with pytest.raises(SpecError, match=message):
        predict()


# Checkpoints


def test_checkpoints_in_files_teach_and_their_content_decides(store: Store, tmp_path: Path) -> None:
    task = ArrayTask(*data())
    teacher = FolderTeacher(task, MLP(WIDTH), written(tmp_path), (100, 200))
    for seed, step in enumerate(teacher.checkpoints):
        for name, value in MLP(WIDTH).initial(2, 2, seed).items():
            np.testing.assert_array_equal(teacher.parameters(step)[name], value)
    student = run(task, MLP(3), supervision=Distillation(teacher, EqualSplit(2), targets="hard"))
    (record,) = execute([student], store, progress=False)
    assert record.source == "trained now"
    written(tmp_path, **{"2.bias": torch.tensor([3.0, -3.0])})
    again = FolderTeacher(task, MLP(WIDTH), [file.path for file in teacher.paths], (100, 200))
    assert again.fingerprint != teacher.fingerprint
    with pytest.raises(SpecError, match=r"step-0.pt: SHA-256 .* Restore the file"):
        teacher.parameters(100)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            {"2.bias": torch.tensor([np.nan, 0.0])},
            "1 numbers of 2.bias that are NaN or infinite: expected finite weights",
        ),
        ({"2.bias": torch.zeros(3)}, r"2.bias of shape \(3,\): expected \(2,\). Save module.state_dict\(\)"),
        ({"module.0.bias": torch.zeros(6)}, r"module.0.bias of shape \(6,\): expected no such entry"),
    ],
)
def test_a_checkpoint_that_does_not_fit_names_its_file(
    state: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=r"step-0.pt: " + message):
        FolderTeacher(ArrayTask(*data()), MLP(WIDTH), written(tmp_path, **state), (1, 2))


def test_a_file_that_is_no_checkpoint_or_would_run_code_names_itself(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return print, ("run",)

    whole = io.BytesIO()
    torch.save({"0.bias": Evil()}, whole)
    task = SparseParity(8, 2)
    for content in (b"", b"text", whole.getvalue()):
        path = tmp_path / "some.pth"
        path.write_bytes(content)
        with pytest.raises(SpecError, match=r"some.pth: no checkpoint of PyTorch .*: expected torch.save"):
            FolderTeacher(task, MLP(4), [path], [1])
    with pytest.raises(SpecError, match=r"absent.pt: No such file"):
        FolderTeacher(task, MLP(4), [tmp_path / "absent.pt"], [1])
    with pytest.raises(SpecError, match="1 paths with steps = "):
        FolderTeacher(task, MLP(4), [path], [1, 2])
