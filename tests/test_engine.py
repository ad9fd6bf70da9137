"""The engine: what depends on what, what is run at all, what happens when a run or a worker dies."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tiny

from pdlib import engine
from pdlib.engine import RunsFailedError, execute
from pdlib.models.mlp import MLP
from pdlib.models.transformer import Transformer
from pdlib.optimizers import SGD, Adam
from pdlib.probes.attention import AttentionPaths
from pdlib.schedules import OneShot
from pdlib.specs import Calculation, Measurement, Probe, Training
from pdlib.store import MissingError, Record, Store, StoreError
from pdlib.tasks.parity import SparseParity
from pdlib.theory.majority import FourierGap

TEACHER = tiny.training(n_steps=800, evaluate_every=400, checkpoint_every=200)
STUDENT = tiny.student(TEACHER, checkpoint_every=100)
PROBE = tiny.measurement(TEACHER)
CALCULATION = FourierGap(11)
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The fingerprints that were computed, in order."""
    computed: list[str] = []
    original = engine.compute

    def compute(spec: Any, *arguments: Any) -> None:
        computed.append(spec.fingerprint)
        original(spec, *arguments)

    monkeypatch.setattr(engine, "compute", compute)
    return computed


def assert_same_tables(one: list[Record], other: list[Record]) -> None:
    for a, b in zip(one, other, strict=True):
        assert a.spec == b.spec
        pd.testing.assert_frame_equal(a.table, b.table, check_exact=True)


# What is run


def test_a_student_runs_after_its_teacher_and_results_come_in_the_order_asked_for(
    store: Store, ran: list[str]
) -> None:
    grandchild = tiny.student(STUDENT, OneShot())
    records = execute([grandchild, PROBE, STUDENT], store, progress=False)
    assert [r.spec for r in records] == [grandchild, PROBE, STUDENT]
    order = [spec.fingerprint for spec in (TEACHER, STUDENT, grandchild)]
    assert [f for f in ran if f in order] == order
    assert ran.index(PROBE.fingerprint) > ran.index(TEACHER.fingerprint)
    assert len(ran) == 4  # a shared ancestor once


def test_what_is_stored_or_asked_for_twice_is_not_run_again(store: Store, ran: list[str]) -> None:
    *first, _ = execute([STUDENT, PROBE, tiny.measurement(TEACHER)], store, progress=False)
    assert {r.source for r in first} == {"trained now"}
    assert len(ran) == 3
    ran.clear()
    second = execute([STUDENT, PROBE, STUDENT], store, progress=False)
    assert {r.source for r in second} == {"local"}
    assert ran == []
    assert_same_tables([*first, first[0]], second)


def test_a_teacher_is_trained_only_when_its_checkpoints_are_needed(
    store: Store, tmp_path: Path, ran: list[str]
) -> None:
    execute([STUDENT], store, progress=False)
    published = Store(tmp_path / "fresh", tiny.published(store, tmp_path / "published").root)
    for path in store.root.rglob("checkpoints/*"):
        path.unlink()
    ran.clear()
    (record,) = execute([TEACHER], published, progress=False)
    assert (record.source, ran) == ("published", [])
    execute([tiny.student(TEACHER, model=MLP(20))], published, progress=False)
    assert len(ran) == 1  # from the labels
    execute([tiny.student(TEACHER, seed=4)], published, progress=False)
    assert ran[1:] == [TEACHER.fingerprint, tiny.student(TEACHER, seed=4).fingerprint]  # other labels need it
    assert published.has_checkpoints(TEACHER)


def test_with_labels_as_data_nothing_that_needs_the_teacher_is_computed_and_all_else_is(
    store: Store, tmp_path: Path, ran: list[str]
) -> None:
    soft = tiny.student(TEACHER, targets="soft")
    execute([TEACHER, STUDENT, PROBE, soft, CALCULATION], store, progress=False)
    ran.clear()
    fresh = Store(tmp_path / "fresh", tiny.published(store, tmp_path / "published").root)
    fresh.published_tables = False
    records = execute([TEACHER, STUDENT, PROBE, soft, CALCULATION], fresh, progress=False)
    assert [r.source for r in records] == ["published", "trained now", *["published"] * 2, "trained now"]
    assert ran == [STUDENT.fingerprint, CALCULATION.fingerprint]
    other = tiny.training(seed=5)
    execute([other], store, progress=False)
    (again,) = execute([other], fresh, progress=False)  # the control: it has no published labels
    assert again.source == "trained now"


def test_checkpoints_that_are_asked_for_or_needed_are_made_again_although_the_table_is_stored(
    store: Store, tmp_path: Path, ran: list[str]
) -> None:
    execute([TEACHER], store, progress=False)
    fresh = Store(tmp_path / "fresh", tiny.published(store, tmp_path / "published").root)
    ran.clear()
    execute([TEACHER], fresh, need_checkpoints=True, progress=False)
    execute([TEACHER], fresh, need_checkpoints=True, progress=False)
    assert ran == [TEACHER.fingerprint]
    tiny.assert_same_result(TEACHER, fresh, store)
    (fresh.run_folder(TEACHER) / "checkpoints" / "400.safetensors").unlink()
    execute([STUDENT], fresh, progress=False)
    assert ran == [TEACHER.fingerprint] * 2 + [STUDENT.fingerprint]


ATTENTIVE = tiny.training(
    task=SparseParity(10, 3, (2, 5, 9)),
    model=Transformer(2, 2, 4, n_positions=10, initial_std=0.3),
    optimizer=Adam(0.01),
    n_steps=20,
    evaluate_every=10,
    checkpoint_every=10,
    batch_size=16,
    seed=5,
)


@pytest.mark.parametrize(
    ("training", "probe"),
    [(TEACHER, PROBE.probe), (ATTENTIVE, AttentionPaths(64))],
    ids=["MLP", "Transformer"],
)
def test_a_measurement_is_its_probe_applied_to_checkpoints_and_at_step_0_to_the_untrained_network(
    store: Store, training: Training, probe: Probe
) -> None:
    table = engine.measure(Measurement(training, probe, (0,)), store)
    assert not any(store.root.rglob("*.safetensors"))  # it needs none
    last = training.n_steps
    with pytest.raises(MissingError, match=f"checkpoint {last} of training"):  # the control
        engine.measure(Measurement(training, probe, (0, last)), store)
    (record,) = execute([Measurement(training, probe, (0, last))], store, progress=False)
    initial = training.model.initial(10, 2, training.seed)
    single = {name: value.astype("float32") for name, value in initial.items()}
    expected = [
        {"step": step, **row}
        for step, parameters in ((0, single), (last, store.load_checkpoint(training, last)))
        for row in probe.rows(training, parameters)
    ]
    pd.testing.assert_frame_equal(record.table, pd.DataFrame(expected), check_exact=True)
    first, trained = (record.table[record.table.step == s].reset_index(drop=True) for s in (0, last))
    pd.testing.assert_frame_equal(first, table, check_exact=True)
    assert not first.drop(columns="step").equals(trained.drop(columns="step"))  # the control


def test_a_calculation_is_its_rows_kept_and_found_again(store: Store, ran: list[str]) -> None:
    (record,) = execute([CALCULATION], store, progress=False)
    assert record.source == "trained now"
    pd.testing.assert_frame_equal(record.table, pd.DataFrame(CALCULATION.rows()), check_exact=True)
    assert record.provenance["resumed"] is False
    (again,) = execute([FourierGap(11)], store, need_checkpoints=True, progress=False)  # it has none to need
    assert (again.source, again.spec, ran) == ("local", CALCULATION, [CALCULATION.fingerprint])
    assert_same_tables([record], [again])
    assert not (store.run_folder(CALCULATION) / "checkpoints").exists()
    execute([FourierGap(13)], store, progress=False)
    assert ran == [CALCULATION.fingerprint, FourierGap(13).fingerprint]  # another one is another


def test_a_calculation_that_another_process_has_stored_meanwhile_is_not_done_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute([CALCULATION], store, progress=False)
    monkeypatch.setattr(FourierGap, "rows", lambda self: pytest.fail("calculated again"))
    workplace = engine.Workplace(str(store.root), None, "cpu", "c", engine.CODE)
    engine.compute(CALCULATION, workplace)
    (store.run_folder(CALCULATION) / "result.json").unlink()
    with pytest.raises(pytest.fail.Exception, match="calculated again"):  # the control
        engine.compute(CALCULATION, workplace)


def test_a_result_says_when_where_and_at_what_cost_it_was_made(store: Store) -> None:
    (record,) = execute([TEACHER], store, progress=False)
    p = record.provenance
    assert "criteria" not in p  # nothing of a verdict flows back into a result
    assert p["commit"] == engine.commit()
    assert p["wall_s"] >= 0 <= p["cpu_s"]
    assert p["date"][:2] == "20"
    assert p["date"].endswith("+00:00")
    assert f"{os.cpu_count()} cores" in p["machine"]
    assert set(p["versions"]) == {"numba", "numpy", "torch", "python"}
    assert (p["resumed"], p["device"]) == (False, "cpu")


def test_a_package_in_somebody_elses_repository_does_not_bear_its_commit(tmp_path: Path) -> None:
    copy = tmp_path / ".venv" / "site" / "pdlib"
    shutil.copytree(Path(engine.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    commands = ["init -q", "-c user.name=u -c user.email=u@example.org commit -q --allow-empty -m mine"]
    for command in commands:
        subprocess.run(["git", "-C", str(tmp_path), *command.split()], check=True)
    ask = [sys.executable, "-c", "from pdlib import engine; print(engine.__file__, engine.commit())"]
    here = os.environ | {"PYTHONPATH": str(copy.parent)}
    said = subprocess.run(ask, env=here, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert said.strip() == f"{copy / 'engine.py'} pdlib {version('pdlib')}"


def test_a_worker_whose_code_is_not_the_callers_computes_nothing(store: Store) -> None:
    spec = tiny.training()
    mine = engine.Workplace(str(store.root), None, "cpu", "0" * 40, engine.CODE)
    refused = (
        rf"has other code: pdlib of {re.escape(engine.commit())} .*Expected the caller's, of {'0' * 40}\."
    )
    with pytest.raises(engine.WorkerError, match=refused):
        engine.compute(spec, replace(mine, code="another"))
    assert not store.run_folder(spec).exists()
    engine.compute(spec, mine)  # the control
    record = store.find(spec.fingerprint)
    assert record is not None
    assert record.provenance["commit"] == engine.commit()  # of the process that computed


# Failures


@dataclass(frozen=True)
class Broken(Probe):
    """A probe that fails."""

    def rows(self, training: Any, parameters: Any, device: str = "cpu") -> Any:
        """Fail."""
        raise RuntimeError("the probe is broken")


def diverging() -> Training:
    return tiny.training(optimizer=SGD(1e30), n_steps=4000, evaluate_every=2000, checkpoint_every=1000)


@dataclass(frozen=True)
class Impossible(Calculation):
    """A calculation that fails."""

    reason: str
    cost: float = 1.0

    @property
    def work(self) -> float:
        """As much as it says."""
        return self.cost

    def rows(self) -> Any:
        """Fail."""
        raise RuntimeError(self.reason)


@pytest.mark.parametrize("workers", ["here", "threads", "processes"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_failure_is_reported_what_waits_for_it_is_not_run_and_the_rest_is_kept(
    store: Store, workers: str
) -> None:
    student = tiny.student(diverging(), OneShot())
    broken = Measurement(TEACHER, Broken(), (200,))
    impossible = Impossible("the sum diverges")
    asked = [student, STUDENT, broken, PROBE, impossible, CALCULATION]
    n_workers = 2 if workers == "processes" else 1
    with ThreadPoolExecutor(2) as pool, pytest.raises(RunsFailedError) as caught:
        execute(
            asked, store, executor=pool if workers == "threads" else None, n_workers=n_workers, progress=False
        )
    lines = str(caught.value).splitlines()
    assert lines[0] == "4 of 8 runs failed; the others are stored and will not be run again."
    name = f"calculation Impossible(reason='the sum diverges', cost=1.0) {impossible.fingerprint}"
    assert f"- {name}: RuntimeError: the sum diverges" in lines
    said = "\n".join(lines)
    assert f"seed 0 {diverging().fingerprint}: DivergedError: training {diverging().fingerprint}" in said
    assert f"{student.fingerprint}: RuntimeError: not run, because {diverging().fingerprint} failed" in said
    assert f"{broken.fingerprint}: RuntimeError: the probe is broken" in said
    assert caught.value.__cause__ is not None
    for kept in (TEACHER, STUDENT, PROBE, CALCULATION):
        assert store.find(kept.fingerprint) is not None
    for lost in (diverging(), student, broken, impossible):
        assert store.find(lost.fingerprint) is None


def test_damage_is_reported_before_anything_is_trained(store: Store, ran: list[str]) -> None:
    execute([TEACHER], store, progress=False)
    path = store.run_folder(TEACHER) / "table.parquet"
    path.write_bytes(path.read_bytes()[:-5])
    ran.clear()
    with pytest.raises(StoreError, match=r"table\.parquet: its SHA-256 is not"):
        execute([TEACHER], store, progress=False)
    assert ran == []


def test_a_damaged_teacher_checkpoint_fails_the_student_that_reads_it(store: Store) -> None:
    execute([TEACHER], store, progress=False)
    path = store.run_folder(TEACHER) / "checkpoints" / "400.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        RunsFailedError, match=r"DamagedError: .*400\.safetensors: not a whole safetensors file"
    ):
        execute([STUDENT], store, progress=False)
    path.unlink()  # the remedy that the message names
    (record,) = execute([STUDENT], store, progress=False)
    assert record.source == "trained now"


def test_a_worker_that_does_not_share_the_store_is_noticed(store: Store) -> None:
    class Elsewhere(Executor):
        def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_result(None)
            return future

    with pytest.raises(StoreError, match="after its run; is the folder shared"):
        execute([TEACHER], store, executor=Elsewhere(), progress=False)


# Executors


def test_any_executor_with_submit_gives_the_same_results_in_order_of_dependence(
    store: Store, tmp_path: Path, ran: list[str]
) -> None:
    asked = [STUDENT, PROBE, tiny.student(TEACHER, seed=1), tiny.training(seed=2)]
    with ThreadPoolExecutor(3) as pool:
        records = execute(asked, store, executor=pool, progress=False)
        assert pool.submit(int).result() == 0  # it is the caller's to close
    assert ran.index(STUDENT.fingerprint) > ran.index(TEACHER.fingerprint)
    here = execute(asked, Store(tmp_path / "here", published=None), n_workers=1, progress=False)
    assert_same_tables(records, here)


def test_a_pool_of_processes_finishes_although_a_worker_is_killed_in_the_middle(
    store: Store, tmp_path: Path
) -> None:
    long = tiny.training(n_steps=150_000, evaluate_every=1000, checkpoint_every=1000)
    asked = [long, tiny.student(long, OneShot()), tiny.training(seed=1)]
    killed: list[int] = []

    def kill() -> None:
        checkpoints = store.run_folder(long) / "checkpoints"
        tiny.wait_until(lambda: len(list(checkpoints.glob("*"))) > 3, "the first checkpoints")
        worker = next(p for p in multiprocessing.active_children() if "Spawn" in type(p).__name__)
        os.kill(int(worker.pid or 0), signal.SIGKILL)
        killed.append(len(list(checkpoints.glob("*.safetensors"))))

    killer = threading.Thread(target=kill)
    killer.start()
    records = execute(asked, store, n_workers=2, progress=False)
    killer.join()
    assert killed
    assert killed[0] < len(long.checkpoints)
    here = execute(asked, Store(tmp_path / "here", published=None), n_workers=1, progress=False)
    assert_same_tables(records, here)


@dataclass(frozen=True)
class Worker(Calculation):
    """Names the process that computes it."""

    name: str
    cost: float = engine.LIGHT

    @property
    def work(self) -> float:
        return self.cost

    def rows(self) -> list[dict[str, Any]]:
        return [{"process": os.getpid()}]


def computed_by(records: list[Record]) -> set[int]:
    return {int(r.table.process.iloc[0]) for r in records}


def test_a_pool_that_is_kept_has_the_same_workers_in_the_next_call(store: Store) -> None:
    with engine.Pool() as pool:
        calls = [execute([Worker(f"{i}")], store, pool=pool, n_workers=2, progress=False) for i in range(3)]
    (first,) = computed_by([record for (record,) in calls])
    assert first != os.getpid()
    tiny.wait_until(lambda: first not in [p.pid for p in multiprocessing.active_children()], "its end")
    alone = [execute([Worker(f"alone {i}")], store, n_workers=2, progress=False) for i in range(2)]
    assert len(computed_by([record for (record,) in alone])) == 2


def test_a_pool_survives_a_run_that_fails_and_replaces_an_idle_worker_that_was_killed(store: Store) -> None:
    with engine.Pool() as pool:

        def worker(spec: Calculation) -> int:
            (process,) = computed_by(execute([spec], store, pool=pool, n_workers=2, progress=False))
            return process

        before = worker(Worker("a"))
        with pytest.raises(RunsFailedError, match="no such number"):
            worker(Impossible("no such number", engine.LIGHT))
        assert worker(Worker("b")) == before
        os.kill(before, signal.SIGKILL)
        assert worker(Worker("c")) != before


def test_workers_end_with_a_process_that_is_killed(tmp_path: Path) -> None:
    """Otherwise a notebook's kernel that is killed would leave them waiting for ever."""
    code = (
        "import sys, time\n"
        "if __name__ == '__main__':\n"
        "    from pdlib import engine; from pdlib.store import Store; from test_engine import Worker\n"
        "    pool, store = engine.Pool(), Store(sys.argv[1], published=None)\n"
        "    (r,) = engine.execute([Worker('a')], store, pool=pool, n_workers=2, progress=False)\n"
        "    print(r.table.process.iloc[0], flush=True); time.sleep(600)\n"
    )
    script = tmp_path / "page.py"
    script.write_text(code)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    command = [sys.executable, str(script), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as page:
        assert page.stdout is not None
        worker = int(page.stdout.readline())
        assert tiny.alive(worker)
        page.kill()
    tiny.wait_until(lambda: not tiny.alive(worker), "the end of its worker")


# Where


def test_a_light_graph_runs_here_and_a_heavy_one_on_as_many_workers_as_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    asked: list[int] = []

    def pool(_: Any, n: int, graph: Any, workplace: Any, tracker: Any) -> None:
        asked.append(n)
        engine._run_here(graph, workplace, tracker, light=True)

    monkeypatch.setattr(engine.Pool, "run", pool)
    monkeypatch.setenv("PDLIB_WORKERS", "3")
    light, heavy = (Worker(name, factor * engine.LIGHT) for name, factor in (("a", 0.9), ("b", 1.0)))
    execute([light], store, progress=False)
    assert asked == []
    execute([heavy, *(tiny.training(seed=s) for s in range(4))], store, progress=False)
    assert asked == [3]
    monkeypatch.setenv("PDLIB_WORKERS", "many")
    with pytest.raises(RuntimeError, match="PDLIB_WORKERS=many: expected a whole number of at least 1"):
        execute([Worker("c")], store, progress=False)


def test_cuda_stands_for_every_gpu_and_is_refused_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert engine.devices("cuda") == ["cuda:0", "cuda:1"]
    assert engine.devices("cuda:1") == ["cuda:1"]
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(RuntimeError, match="PyTorch finds no GPU here"):
        engine.devices("cuda")


def test_each_worker_of_a_pool_has_a_device_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: list[str] = []

    class Pool:
        def __init__(self, n: int, context: Any, initializer: Any, initargs: Any) -> None:
            for _ in range(n):
                initializer(*initargs)
                given.append(engine._own_device)

        def submit(self, *_: Any) -> None:
            pass

        def shutdown(self, **_: Any) -> None:
            pass

    monkeypatch.setattr(engine, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(engine, "_run_on", lambda *_: None)
    monkeypatch.setattr(engine, "set_threads", lambda n: None)
    monkeypatch.setattr(engine, "_end_with_parent", lambda: None)
    monkeypatch.setattr(engine, "_own_device", None)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    workplace = engine.Workplace(str(tmp_path), None, "cuda", "c", engine.CODE)
    engine.Pool().run(3, {}, workplace, engine.Tracker(0, 0, lambda state: None))
    assert given == ["cuda:0", "cuda:1", "cuda:0"]


def test_the_device_comes_from_the_environment_and_stands_in_the_provenance(
    monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    spec = tiny.training(n_steps=10, evaluate_every=10, checkpoint_every=10)
    (record,) = engine.execute([spec], store, progress=False)
    assert record.provenance["device"] == "cpu"
    monkeypatch.setenv("PDLIB_DEVICE", "cuda:7")
    with pytest.raises(engine.RunsFailedError):
        engine.execute([tiny.training(seed=5, batch_size=2)], store, n_workers=1, progress=False)
    (record,) = engine.execute([tiny.training(seed=5)], store, n_workers=1, progress=False)
    assert record.provenance["device"] == "cpu"  # where a narrow network's batch-1 training is faster


def test_the_longest_runs_are_submitted_first(store: Store) -> None:
    """Otherwise one of them may be left over, and all workers but one wait for it."""

    class Here(Executor):
        def __init__(self) -> None:
            self.steps: list[int] = []

        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            self.steps.append(args[0].n_steps)
            future: Future[Any] = Future()
            future.set_result(fn(*args, **kwargs))
            return future

    here = Here()
    specs = [tiny.training(n_steps=n, checkpoint_every=0) for n in (200, 800, 400)]
    records = engine.execute(specs, store, executor=here, progress=False)
    assert here.steps == [800, 400, 200]
    assert [r.table.step.max() for r in records] == [200, 800, 400]  # results come as they were asked for
