"""The store: what is written comes back to the last bit; what is damaged, missing or of other code is never used."""

from __future__ import annotations

import copy
import errno
import json
import math
import os
import re
import stat
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import tiny

from pdlib import files as files_module
from pdlib import labels
from pdlib.engine import execute
from pdlib.files import metadata, parse_table, read_json, table_bytes, tensor_bytes, write_bytes, write_json
from pdlib.optimizers import SGD
from pdlib.published import published_folder
from pdlib.schedules import OneShot
from pdlib.store import DamagedError, MissingError, Store, StoreError
from pdlib.tasks.parity import SparseParity

SPEC = tiny.training()
KEY = {"teacher": "a", "checkpoint": "8000", "kind": "hard"}
TABLE = pd.DataFrame({"step": [0, 10], "loss_nats": [math.log(2), 1 / 3], "accuracy": [0.5, 1.0]})


@pytest.fixture
def filled(store: Store) -> Store:
    """A store with a checkpoint, a progress file, labels and a result."""
    for step in SPEC.checkpoints:
        store.save_checkpoint(SPEC, step, {"0.weight": np.arange(6.0).reshape(2, 3), "0.bias": np.ones(2)})
    store.save_labels(KEY, np.arange(40, dtype=np.uint8))
    store.save(SPEC, TABLE, {"commit": "c", "criteria": {"R1: a gap": "0123"}, "machine": "α"})
    store.save_progress(SPEC, 100, {"0.bias": np.ones(2)}, TABLE, {"wall_s": 0.5, "cpu_s": 1 / 3})
    return store


def files(store: Store) -> dict[str, tuple[Path, Callable[[], Any]]]:
    """Each kind of file with what reads it."""
    run = store.run_folder(SPEC)
    return {
        "checkpoint": (run / "checkpoints" / "100.safetensors", lambda: store.load_checkpoint(SPEC, 100)),
        "labels": (store.label_file(KEY), lambda: store.load_labels(KEY)),
        "table.parquet": (run / "table.parquet", lambda: store.find(SPEC.fingerprint)),
        "result.json": (run / "result.json", lambda: store.find(SPEC.fingerprint)),
    }


KINDS = ("checkpoint", "labels", "table.parquet", "result.json")


# Round trips


EMPTY = {"step": np.zeros(0, np.int64), "loss_nats": np.zeros(0), "word": pd.Series([], dtype="str")}
TABLES = {
    "words that look like something else": pd.DataFrame({"word": ["null", "NA", "", "nan", "007", "True"]}),
    "a word that is missing": pd.DataFrame({"word": ["null", None, ""]}),
    "columns alone": pd.DataFrame(columns=["step", "accuracy"]),
    "columns with types alone": pd.DataFrame(EMPTY),
    "nothing": pd.DataFrame(),
    "whole numbers": pd.DataFrame({"step": [2**62 + 1, -7]}),
    "whole numbers of a byte": pd.DataFrame({"class": np.array([255, 0], np.uint8)}),
    "all kinds of floats": pd.DataFrame({"loss_nats": [1 / 3, math.inf, -math.inf, math.nan, -0.0, 5e-324]}),
    "floats that are whole": pd.DataFrame({"width": [1.0, 2.0]}),
    "short floats": pd.DataFrame({"loss_nats": np.array([0.1], np.float32)}),
    "truths": pd.DataFrame({"inside": [True, False]}),
    "truths, one unknown": pd.DataFrame({"inside": [True, None]}),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_stored_table_keeps_its_types_and_its_bits(store: Store, name: str) -> None:
    table = TABLES[name]
    store.save_progress(SPEC, 100, {"0.bias": np.ones(2)}, table)
    resumed = store.load_progress(SPEC)
    store.save(SPEC, table, {})
    found = store.find(SPEC.fingerprint)
    assert found is not None
    assert resumed is not None
    for back in (found.table, resumed[2]):
        assert list(back) == list(table)
        assert back.dtypes.equals(table.dtypes)
        pd.testing.assert_frame_equal(back, table, check_exact=True, check_column_type=len(table.columns) > 0)
        for column, values in table.select_dtypes("number").items():
            assert back[column].to_numpy().tobytes() == values.to_numpy().tobytes()
    assert list(resumed[1]) == ["0.bias"]  # the rows are no parameter


def test_equal_tables_have_equal_bytes() -> None:
    for table in TABLES.values():
        assert table_bytes(table.copy()) == table_bytes(table)
        again = parse_table(table_bytes(table))
        assert not len(table.columns) or table_bytes(again) == table_bytes(table)
    assert table_bytes(TABLE) != table_bytes(TABLE.assign(step=[0, 11]))


def test_equal_tensors_have_equal_bytes() -> None:
    arrays = {"b": np.arange(3.0), "a": np.ones((2, 2), np.int8)}
    meta = {"spec": '{"é": "\\u001f\x1f\n"}', **{f"key {i}": str(i) for i in range(9)}}
    written = {tensor_bytes(arrays, dict(reversed(meta.items())) if i % 2 else meta) for i in range(12)}
    assert len(written) == 1  # by chance alone once in 10! ** 11
    (data,) = written
    assert metadata(data) == meta
    for name, value in safetensors.numpy.load(data).items():
        np.testing.assert_array_equal(value, arrays[name], strict=True)


@pytest.mark.parametrize(
    ("values", "kinds"), [([1, "x"], "int, str"), ([True, 2], "bool, int"), ([0.5, "0.5"], "float, str")]
)
def test_a_column_of_several_types_is_refused_by_its_name(
    store: Store, values: list[Any], kinds: str
) -> None:
    table = TABLE.assign(n_units=pd.Series(values, dtype=object))
    said = rf"column 'n_units' holds {kinds}\. Expected columns with names of their own, each of one type"
    with pytest.raises(StoreError, match=said):
        store.save(SPEC, table, {})
    assert store.find(SPEC.fingerprint) is None
    with pytest.raises(StoreError, match=said):
        store.save_progress(SPEC, 100, {}, table)
    with pytest.raises(StoreError, match=r"Duplicate column names found.* names of their own"):
        store.save(SPEC, pd.DataFrame([[1, 2]], columns=["step", "step"]), {})


def test_parameters_come_back_to_the_last_bit(store: Store) -> None:
    values = np.random.default_rng(0).normal(size=(7, 3))[:, ::-1]
    for dtype in ("float32", "float64", "float16", "uint8"):
        store.save_checkpoint(SPEC, 100, {"0.weight": values.astype(dtype), "c": np.ones(1)})
        tiny.assert_same_parameters(
            store.load_checkpoint(SPEC, 100), {"0.weight": values.astype(dtype), "c": np.ones(1)}
        )


def test_a_result_comes_back_with_its_spec_and_provenance(filled: Store) -> None:
    record = filled.find(SPEC.fingerprint)
    assert record is not None
    assert record.spec == SPEC
    assert record.fingerprint == SPEC.fingerprint
    assert record.source == "local"
    assert record.provenance["machine"] == "α"
    pd.testing.assert_frame_equal(record.table, TABLE, check_exact=True)
    assert filled.find("0" * 32) is None


def test_what_is_stored_can_be_read_by_any_program(filled: Store) -> None:
    run = filled.run_folder(SPEC)
    pd.testing.assert_frame_equal(pd.read_parquet(run / "table.parquet"), TABLE, check_exact=True)
    result = json.loads((run / "result.json").read_text("utf-8"))
    assert result["spec"]["optimizer"]["learning_rate"] == 0.05
    checkpoints = {f"checkpoints/{s}.safetensors" for s in SPEC.checkpoints}
    assert set(result["files"]) == {"table.parquet", *checkpoints}
    assert stat.S_IMODE((run / "table.parquet").stat().st_mode) == 0o644
    assert not [p for p in filled.root.rglob("*") if p.suffix in (".pkl", ".pt", ".pickle", ".npy")]


# Damage


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_file_is_named_and_the_remedy_works(filled: Store, kind: str) -> None:
    path, read = files(filled)[kind]
    read()
    data = path.read_bytes()
    for size in {0, 1, 7, 8, 9, len(data) // 2, len(data) - 2}:
        path.write_bytes(data[:size])
        with pytest.raises(DamagedError) as caught:
            read()
        said = str(caught.value)
        assert str(path) in said
        assert "Expected the bytes that were written" in said
        remedy = path.parent if kind in ("table.parquet", "result.json") else path
        assert f"Delete {remedy} and run again" in said
    path.write_bytes(data)
    read()


@pytest.mark.parametrize("kind", KINDS)
def test_no_flipped_bit_goes_unseen(filled: Store, kind: str) -> None:
    path, read = files(filled)[kind]
    data = path.read_bytes()
    positions = range(len(data)) if len(data) <= 1500 else np.linspace(0, len(data) - 1, 1500).astype(int)
    unseen = []
    for i, position in enumerate(positions):
        changed = bytearray(data)
        changed[position] ^= 1 << (5 * i % 8)
        path.write_bytes(changed)
        try:
            read()
            unseen.append((int(position), data[position - 9 : position + 9]))
        except DamagedError as error:
            assert str(path) in str(error)  # noqa: PT017  all that is not a DamagedError fails the test
    assert not unseen


def test_a_damaged_file_of_progress_costs_what_was_done_and_is_gone(filled: Store) -> None:
    path = filled.run_folder(SPEC) / "progress.safetensors"
    data = path.read_bytes()
    flipped = [bytearray(data) for _ in range(40)]
    for i, changed in enumerate(flipped):
        changed[i * (len(data) - 1) // 39] ^= 1 << (5 * i % 8)
    truncated = [data[:size] for size in (0, 1, 8, len(data) // 2, len(data) - 1)]
    checkpoint = (filled.run_folder(SPEC) / "checkpoints" / "100.safetensors").read_bytes()
    for damaged in (*flipped, *truncated, checkpoint, b"{}" * 99):
        for read, nothing in (
            (filled.load_progress, None),
            (filled.progress_cost, {"wall_s": 0.0, "cpu_s": 0.0}),
        ):
            path.write_bytes(damaged)
            said = f"{path} could not be used and was deleted: training {SPEC.fingerprint} starts again"
            with pytest.warns(UserWarning, match=re.escape(said)):
                assert read(SPEC) == nothing
            assert not path.exists()
            assert read(SPEC) == nothing
    path.write_bytes(data)
    assert filled.progress_cost(SPEC) == {"wall_s": 0.5, "cpu_s": 1 / 3}


def test_a_result_or_a_checkpoint_in_anothers_place_is_damage(filled: Store) -> None:
    other = replace(SPEC, seed=1)
    filled.run_folder(SPEC).rename(filled.run_folder(other))
    with pytest.raises(
        DamagedError, match=f"has the fingerprint {SPEC.fingerprint}, not {other.fingerprint}"
    ):
        filled.find(other.fingerprint)
    with pytest.raises(DamagedError, match=f"its run is '{SPEC.fingerprint}', not '{other.fingerprint}'"):
        filled.load_checkpoint(other, 100)
    folder = filled.run_folder(other) / "checkpoints"
    (folder / "100.safetensors").rename(folder / "200.safetensors")
    filled.run_folder(other).rename(filled.run_folder(SPEC))
    with pytest.raises(DamagedError, match="its step is '100', not '200'"):
        filled.load_checkpoint(SPEC, 200)


def test_a_table_that_is_missing_or_edited_by_hand_is_not_believed(filled: Store) -> None:
    path, read = files(filled)["table.parquet"]
    path.write_bytes(table_bytes(TABLE.assign(accuracy=[0.5, 0.9])))
    for _ in range(2):
        with pytest.raises(DamagedError, match=r"table.parquet: its SHA-256 is not the one in result\.json"):
            read()
        path.unlink(missing_ok=True)


def test_a_missing_checkpoint_is_an_error_that_says_how_to_get_it(filled: Store) -> None:
    path, read = files(filled)["checkpoint"]
    assert filled.has_checkpoints(SPEC)
    path.unlink()
    assert not filled.has_checkpoints(SPEC)
    with pytest.raises(
        MissingError, match=r"checkpoint 100 of training .* not in .*Train it first: pdlib\.execute"
    ):
        read()


def test_labels_are_found_by_their_whole_key(filled: Store) -> None:
    assert filled.has_labels(KEY)
    for name in KEY:
        assert filled.load_labels(KEY | {name: "b"}) is None
        assert not filled.has_labels(KEY | {name: "b"})


# Other code


def test_a_result_of_another_code_version_is_not_used_but_listed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SparseParity, "version", 0)
    old = tiny.training()
    execute([old], store, progress=False)
    assert store.outdated("local") == {}
    monkeypatch.undo()
    new = tiny.training()
    assert new.fingerprint != old.fingerprint
    assert store.find(new.fingerprint) is None
    assert list(store.outdated("local")) == [old.fingerprint]
    (why,) = store.outdated("local").values()
    assert why.startswith("Training MLP SparseParity: SparseParity of version 0: expected version 1")
    with pytest.raises(StoreError, match=r"SparseParity of version 0: expected version 1.*Run it again"):
        store.find(old.fingerprint)
    (record,) = execute([new], store, progress=False)
    assert record.source == "trained now"
    assert list(store.outdated("local")) == [old.fingerprint]


def test_a_record_that_was_edited_is_refused_even_with_a_right_hash(filled: Store) -> None:
    path, read = files(filled)["result.json"]
    whole = read_json(path)

    def edited(change: Callable[[dict[str, Any]], Any]) -> None:
        record = copy.deepcopy(whole)
        change(record)
        write_json(path, record)

    edited(lambda record: record["spec"]["model"].update(version=2))
    with pytest.raises(StoreError, match="MLP of version 2: expected version 1"):
        read()
    assert list(filled.outdated("local")) == [SPEC.fingerprint]
    edited(lambda record: record["spec"].update(seed=5))
    with pytest.raises(DamagedError, match="its spec has the fingerprint"):
        read()
    edited(lambda record: record.pop("files"))
    with pytest.raises(DamagedError, match="it has no 'files'"):
        read()


# Pages


def test_the_runs_that_a_page_asked_for_are_remembered_in_order_once_and_by_profile(store: Store) -> None:
    assert store.remembered_runs("pcfg", "desk") == []
    store.remember_runs("pcfg", "desk", ["b", "a"])
    store.remember_runs("pcfg", "desk", iter(["a", "c", "c"]))
    store.remember_runs("pcfg", "laptop", ["d"])
    assert store.remembered_runs("pcfg", "desk") == ["b", "a", "c"]
    path = store.root / "pages" / "pcfg-desk.runs.json"
    before = path.stat().st_mtime_ns, path.stat().st_ino
    store.remember_runs("pcfg", "desk", ["c"])
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before  # nothing new, nothing written


def test_two_processes_that_remember_at_once_lose_nothing(store: Store) -> None:
    names = [[f"{who}{i}" for i in range(25)] for who in "abcd"]
    others = [Store(store.root, published=None) for _ in names]

    def remember(other: Store, mine: list[str]) -> None:
        for name in mine:
            other.remember_runs("pcfg", "desk", [name])

    threads = [threading.Thread(target=remember, args=pair) for pair in zip(others, names, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(store.remembered_runs("pcfg", "desk")) == sorted(name for mine in names for name in mine)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"page": "pcfg"}'])
def test_a_damaged_list_of_remembered_runs_is_named(store: Store, text: str) -> None:
    store.remember_runs("pcfg", "desk", ["a"])
    path = store.root / "pages" / "pcfg-desk.runs.json"
    path.write_text(text)
    with pytest.raises(DamagedError, match=rf"{path}: .*Delete {path} and run again"):
        store.remembered_runs("pcfg", "desk")
    path.write_text('{"page": "pcfg", "profile": "desk", "runs": ["a"]}')  # as it was before it had a hash
    assert store.remembered_runs("pcfg", "desk") == ["a"]
    store.remember_runs("pcfg", "desk", ["b"])
    store.save_page("pcfg", "desk", {"page": "pcfg", "profile": "desk", "runs": []}, {})
    for name in ("pcfg-desk.json", "pcfg-paper.json", "pcfg-paper.runs.json"):  # in another's place
        other = path.with_name(name)
        before = other.read_bytes() if other.exists() else b""
        other.write_bytes(path.read_bytes())
        with pytest.raises(DamagedError, match=rf"{other}: not .*page pcfg"):
            store.remembered_runs("pcfg", "paper") if "runs" in name else store.load_page(
                *name[:-5].split("-")
            )
        other.write_bytes(before)
    assert store.load_page("pcfg", "desk") is not None
    path.write_text(path.read_text().replace('"b"', '"c"'))
    with pytest.raises(DamagedError, match="does not match its hash"):
        store.remembered_runs("pcfg", "desk")


# Layers


def test_a_published_result_is_used_before_the_local_one_and_never_written(tmp_path: Path) -> None:
    made, published, local = Store(tmp_path / "made", None), tmp_path / "published", tmp_path / "local"
    execute([SPEC], made, progress=False)
    tiny.published(made, published)
    before = {p: p.read_bytes() for p in published.rglob("*") if p.is_file()}
    both = Store(local, published)
    (record,) = execute([SPEC], both, progress=False)
    assert record.source == "published"
    assert not local.exists()
    fresh = Store(local, published=None)
    (record,) = execute([SPEC], fresh, progress=False)
    assert record.source == "trained now"
    assert {p: p.read_bytes() for p in published.rglob("*") if p.is_file()} == before
    assert [f for f, _ in both.records("published")] == [f for f, _ in both.records("local")]
    assert list(fresh.records("published")) == []


def test_the_environment_says_where_the_store_is_and_what_of_the_published_results_counts(
    taught: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PDLIB_STORE", str(tmp_path / "here"))
    monkeypatch.delenv("PDLIB_PUBLISHED", raising=False)
    assert Store().root == tmp_path / "here"
    assert Store().published.root == published_folder()  # type: ignore[union-attr]
    execute([tiny.student()], taught, progress=False)
    tiny.published(taught, tmp_path / "published")
    monkeypatch.setattr("pdlib.published.published_folder", lambda: tmp_path / "published")
    for use, table, bits in (("use", True, True), ("labels", False, True), ("ignore", False, False)):
        monkeypatch.setenv("PDLIB_PUBLISHED", use)
        assert (Store().find(tiny.student().fingerprint) is not None) == table
        assert labels.stored(tiny.student(), Store()) == bits
    monkeypatch.setenv("PDLIB_PUBLISHED", "no")
    with pytest.raises(StoreError, match="PDLIB_PUBLISHED = 'no': expected 'use',"):
        Store()


# Writing


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a" / "file"
    write_bytes(path, b"first")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    said = (
        r"cannot write .*file \(6 bytes\): No space left on device\. Nothing that was stored is lost\. Free"
    )
    with pytest.raises(StoreError, match=said):
        write_bytes(path, b"second")
    assert path.read_bytes() == b"first"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_disk_that_is_full_for_real_loses_nothing_and_the_next_run_goes_on(
    store: Store, start: Callable[..., Any]
) -> None:
    """A limit of the system on the size of files makes real writes fail, as a full disk does."""
    small = tiny.training(model=tiny.MLP(4), n_steps=200, checkpoint_every=200)
    large = tiny.student(small, OneShot(), model=tiny.MLP(300), n_steps=600, checkpoint_every=300)
    process = start(tiny.run, [small], store.root)
    process.join()
    earlier = store.find(small.fingerprint)
    process = start(tiny.run, [small, large], store.root, largest_file=4096)
    process.join()
    assert process.exitcode == 1
    said = (store.root / "error.txt").read_text()
    assert said.startswith("RunsFailedError: 1 of 1 runs failed; the others are stored")
    assert "StoreError: cannot write" in said
    assert "File too large. Nothing that was stored is lost. Free some space or set PDLIB_STORE" in said
    assert not list(store.root.rglob(".writing-*"))
    assert store.find(large.fingerprint) is None
    again = store.find(small.fingerprint)
    assert earlier is not None
    assert again is not None
    pd.testing.assert_frame_equal(again.table, earlier.table, check_exact=True)
    process = start(tiny.run, [small, large], store.root)
    process.join()
    assert process.exitcode == 0
    assert store.find(large.fingerprint) is not None
    assert len(list((store.root / "trained-by").glob(f"{small.fingerprint}*"))) == 1


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = Store(tmp_path / "file" / "store", published=None)
    with (
        pytest.raises(StoreError, match=r"cannot write .*set PDLIB_STORE to another folder"),
        store.lock(SPEC),
    ):
        pass


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied"), OSError(37, "No locks available")]
)
def test_a_system_that_refuses_to_lock_or_read_is_an_error_that_says_what_to_do(
    filled: Store, error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise error

    advice = rf"{error.strerror}\. .*[Ss]et PDLIB_STORE to .*\(PDLIB_CACHE for texts\)"
    with monkeypatch.context() as patch:
        patch.setattr("os.open" if error.errno == errno.EACCES else "fcntl.flock", refuse)
        with pytest.raises(StoreError, match=rf"cannot lock .*\.lock: {advice}"), filled.lock(SPEC):
            pass
        if error.errno == errno.ENOLCK:
            filled.save(SPEC, TABLE, {})  # what is written needs no lock
    for call in ("read_bytes", "stat"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, call, refuse)
            with pytest.raises(StoreError, match=rf"cannot read .*result\.json: {advice}"):
                filled.find(SPEC.fingerprint)


def half_written(path: Path) -> None:
    """Die by SIGKILL in the middle of a file."""
    tiny._die_at(1, "half written")
    write_bytes(path, b"whole" * 1000)


def test_what_a_killed_writer_leaves_is_swept_and_what_a_living_one_writes_is_not(
    tmp_path: Path, start: Callable[..., Any]
) -> None:
    process = start(half_written, tmp_path / "file")
    process.join()
    assert process.exitcode == -9
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".writing-")
    with files_module._temporary(tmp_path) as (handle, living):
        write_bytes(tmp_path / "other", b"")
        assert sorted(tmp_path.iterdir()) == sorted([living, tmp_path / "other"])
        os.close(handle)
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_leftovers_of_a_killed_writer_are_never_read(filled: Store) -> None:
    run = filled.run_folder(SPEC)
    for folder in (run, run / "checkpoints", filled.root / "labels", filled.root / "runs"):
        (folder / ".writing-abc").write_bytes(b"half")
    for _, read in files(filled).values():
        read()
    assert filled.outdated("local") == {}
    filled.save(SPEC, TABLE, {})
    record = json.loads((run / "result.json").read_bytes())
    assert not [name for name in record["files"] if "writing" in name]


def test_a_run_that_is_not_finished_is_no_result(store: Store) -> None:
    store.save_progress(SPEC, 100, {"0.bias": np.ones(2)}, TABLE, {"wall_s": 0.5, "cpu_s": 1 / 3})
    write_bytes(store.run_folder(SPEC) / "table.parquet", table_bytes(TABLE))
    assert store.find(SPEC.fingerprint) is None
    assert list(store.records("local")) == []
    assert store.progress_cost(SPEC) == {"wall_s": 0.5, "cpu_s": 1 / 3}
    assert store.progress_cost(tiny.training(seed=9)) == {"wall_s": 0.0, "cpu_s": 0.0}
    resumed = store.load_progress(SPEC)
    assert resumed is not None
    assert resumed[0] == 100
    pd.testing.assert_frame_equal(resumed[2], TABLE, check_exact=True)
    assert store.load_progress(tiny.training(optimizer=SGD(0.2))) is None


def test_progress_that_a_writer_killed_at_the_very_end_left_beside_its_result_is_gone_when_that_is_read(
    filled: Store,
) -> None:
    left = filled.run_folder(SPEC) / "progress.safetensors"
    left.write_bytes(b"of a finished run")
    assert filled.find(SPEC.fingerprint) is not None
    assert not left.exists()


def test_what_is_kept_is_listed_and_what_is_removed_is_gone(filled: Store) -> None:
    filled.save_labels({**KEY, "teacher": SPEC.fingerprint}, np.arange(40, dtype=np.uint8))
    (filled.root / "runs" / "begun").mkdir()
    kept = filled.inventory().set_index(["fingerprint", "what"])
    assert kept.loc[(SPEC.fingerprint, "Training MLP SparseParity"), "megabytes"] > 0
    assert {(SPEC.fingerprint, "labels"), ("a", "labels"), ("begun", "begun")} < set(kept.index)
    with filled.lock(SPEC), pytest.raises(StoreError, match=f"{SPEC.fingerprint} is being computed"):
        Store(filled.root, published=None).remove(SPEC.fingerprint)
    assert filled.find(SPEC.fingerprint) is not None
    assert filled.remove(SPEC.fingerprint) > 0
    assert SPEC.fingerprint not in set(filled.inventory().fingerprint)
    assert filled.find(SPEC.fingerprint) is None
