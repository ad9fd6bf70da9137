"""The same graph on a real Dask scheduler with two real workers, one of them killed in the middle."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tiny

import pdlib
from pdlib import engine
from pdlib.engine import RunsFailedError, execute
from pdlib.optimizers import SGD
from pdlib.schedules import OneShot
from pdlib.store import Store

distributed = pytest.importorskip("distributed", reason="needs the extra: pip install 'pdlib[cluster]'")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client of a scheduler with two workers, each a process of its own, on loopback."""
    with tiny.cluster(tmp_path_factory.mktemp("cluster")) as (client, _):
        yield client


def graph() -> list[Any]:
    """A teacher long enough to be killed in the middle, two students and a measurement of it."""
    teacher = tiny.training(n_steps=100_000, evaluate_every=1000, checkpoint_every=1000)
    return [
        tiny.student(teacher, OneShot()),
        tiny.student(teacher, seed=1),
        tiny.measurement(teacher),
    ]


def test_failures_on_a_cluster_are_reported_as_they_are_here(cluster: Any, store: Store) -> None:
    diverging = tiny.training(optimizer=SGD(1e30))
    with pytest.raises(RunsFailedError, match=r"1 of 2 runs failed[\s\S]*DivergedError: training"):
        execute(
            [diverging, tiny.training()],
            store,
            executor=cluster.get_executor(pure=False),
            progress=False,
        )
    assert store.find(tiny.training().fingerprint) is not None


def test_the_guides_call_runs_on_the_cluster_that_it_names(
    cluster: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PDLIB_STORE", str(store.root))
    guide = (Path(__file__).parents[1] / "book" / "use.md").read_text("utf-8")
    (example,) = (b for b in re.findall(r"```python\n(.*?)```", guide, re.DOTALL) if "Client(" in b)
    assert "tcp://scheduler:8786" in example
    names: dict[str, Any] = {"pdlib": pdlib, "specs": [tiny.training(seed=8)]}
    exec(example.replace("tcp://scheduler:8786", cluster.scheduler.address), names)
    assert [record.source for record in names["records"]] == ["trained now"]


def test_an_address_in_the_environment_is_enough(
    cluster: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PDLIB_SCHEDULER", cluster.scheduler.address)
    (record,) = execute([tiny.student(tiny.training())], store, progress=False)
    assert record.source == "trained now"


def test_a_worker_with_other_code_is_refused_by_name(cluster: Any, store: Store, tmp_path: Path) -> None:
    copy = tmp_path / "other" / "pdlib"
    shutil.copytree(Path(engine.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / "schedules.py").open("a") as file:
        file.write("# edited since\n")
    module = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler.address]
    options = (
        "--nthreads",
        "1",
        "--host",
        "127.0.0.1",
        "--name",
        "other",
        "--local-directory",
        str(tmp_path),
    )
    command = [*module, "--no-nanny", "--no-dashboard", *options]
    with (tmp_path / "log.txt").open("w") as log:
        there = os.environ | {"PYTHONPATH": str(copy.parent)}
        worker = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, env=there)
        try:
            cluster.wait_for_workers(3, timeout=120)
            on_it = cluster.get_executor(workers=["other"], pure=False)
            said = rf"WorkerError: the worker .*, process {worker.pid}, has other code: .* in {copy}\. Expected the caller's"
            with pytest.raises(RunsFailedError, match=said):
                execute([tiny.training()], store, executor=on_it, progress=False)
        finally:
            worker.kill()
            worker.wait()
    tiny.wait_until(lambda: len(cluster.scheduler_info()["workers"]) == 2, "the end of that worker")
    assert store.find(tiny.training().fingerprint) is None


def test_a_graph_on_a_cluster_survives_the_death_of_a_worker(
    cluster: Any, store: Store, tmp_path: Path
) -> None:
    asked = graph()
    teacher = asked[2].training
    checkpoints = store.run_folder(teacher) / "checkpoints"
    pids = cluster.run(os.getpid)
    died: list[int] = []

    def kill() -> None:
        tiny.wait_until(lambda: len(list(checkpoints.glob("*.safetensors"))) > 2, "the first checkpoints")
        (address,) = [a for a, keys in cluster.processing().items() if keys]  # all else waits for the teacher
        os.kill(pids[address], signal.SIGKILL)
        died.append(len(list(checkpoints.glob("*.safetensors"))))

    killer = threading.Thread(target=kill)
    killer.start()
    records = execute(asked, store, executor=cluster.get_executor(retries=2, pure=False), progress=False)
    killer.join()
    assert died
    assert died[0] < len(teacher.checkpoints)
    assert len(cluster.scheduler_info()["workers"]) == 1
    here = execute(asked, Store(tmp_path / "here", published=None), n_workers=1, progress=False)
    for ours, theirs in zip(here, records, strict=True):
        pd.testing.assert_frame_equal(ours.table, theirs.table, check_exact=True)
    trained = store.find(teacher.fingerprint)
    assert trained is not None
    for student in asked[:2]:
        record = store.find(student.fingerprint)
        assert record is not None
        assert record.provenance["date"] >= trained.provenance["date"]
