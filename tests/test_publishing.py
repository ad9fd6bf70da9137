"""Published results: few files, each checked when read; what is published replaces a page as a whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny

from pdlib import MLP, Training, pages
from pdlib import __main__ as command_line
from pdlib import published as module
from pdlib.__main__ import main
from pdlib.engine import execute
from pdlib.files import DamagedError, StoreError, table_bytes, write_bytes
from pdlib.published import Published, Record, table_hash
from pdlib.schedules import OneShot
from pdlib.specs import Measurement
from pdlib.store import Store

SPECS = [tiny.training(seed=s) for s in range(4)]
KEY = {"teacher": "a", "checkpoint": "8000", "kind": "hard"}
RESULT = {"page": "parity", "profile": "laptop", "runs": [], "commits": [], "criteria": [], "began": None}


def record(spec: Training, table: pd.DataFrame) -> Record:
    return Record(spec, table, {"commit": "c", "machine": "α", "wall_s": 1 / 3}, "local")


def tables() -> list[pd.DataFrame]:
    """Tables of three forms, one of them without a row, one with words that look like something else."""
    steps = pd.DataFrame({"step": [0, 10], "accuracy": [0.5, 1 / 3]})
    return [
        steps,
        steps.assign(word=["007", "null"], step=[2**62 + 1, -7]),
        steps.assign(accuracy=[np.nan, np.inf]),
        steps.iloc[:0],
    ]


@pytest.fixture
def layer(tmp_path: Path) -> Published:
    """A page that was published with four runs, a table and labels."""
    found = Published(tmp_path / "published")
    kept = {"students": tables()[1]}
    result = RESULT | {"tables": {name: table_hash(table) for name, table in kept.items()}}
    records = [record(spec, table) for spec, table in zip(SPECS, tables(), strict=True)]
    found.write_page("parity", "laptop", records, result, kept)
    found.write_labels("a", [(KEY, np.arange(40, dtype=np.uint8))])
    return found


def test_what_was_published_comes_back_as_it_was(layer: Published) -> None:
    for spec, table in zip(SPECS, tables(), strict=True):
        found = layer.find(spec.fingerprint)
        assert found is not None
        assert (found.spec, found.source) == (spec, "published")
        assert found.provenance == {"commit": "c", "machine": "α", "wall_s": 1 / 3}
        pd.testing.assert_frame_equal(found.table, table, check_exact=True)
        found.table["step"] = 0  # the reader's own
    assert layer.find("0" * 32) is None
    assert [f for f, _ in layer.records()] == [spec.fingerprint for spec in SPECS]
    assert layer.pages() == [("parity", "laptop")]
    assert layer.tables("parity", "laptop")["students"].equals(tables()[1])
    (labels,) = layer.teachers()
    assert (labels, layer.labels(KEY).tolist()) == ("a", list(range(40)))  # type: ignore[union-attr]
    assert layer.labels(KEY | {"kind": "soft"}) is None
    assert sorted(p.name for p in (layer.root / "parity-laptop").iterdir()) == [
        "Training-2.parquet", "Training.parquet", "runs.parquet", "tables", "verdicts.json",
    ]  # fmt: skip


def read_all(layer: Published) -> list[Any]:
    """Everything that is published, read by a process that has not read it before."""
    for read in (module._runs, module._tables, module._keys):
        read.forget()  # type: ignore[attr-defined]
    found: list[Any] = [layer.find(spec.fingerprint) for spec in SPECS]
    return [*found, layer.page("parity", "laptop"), layer.tables("parity", "laptop"), layer.labels(KEY)]


FILES = [
    "parity-laptop/runs.parquet",
    "parity-laptop/Training.parquet",
    "parity-laptop/Training-2.parquet",
    "parity-laptop/verdicts.json",
    "parity-laptop/tables/students.parquet",
    "labels/a.safetensors",
]


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_cut_is_an_error_that_names_it(layer: Published, name: str) -> None:
    path = layer.root / name
    data = path.read_bytes()
    for size in (0, 1, 8, len(data) // 2, len(data) - 2):
        path.write_bytes(data[:size])
        with pytest.raises(DamagedError, match=name.rpartition("/")[2]):
            read_all(layer)
    path.write_bytes(data)
    read_all(layer)


def with_cell(column: str, value: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def changed(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[0, column] = value
        return frame

    return changed


def exchanged(runs: pd.DataFrame) -> pd.DataFrame:
    return runs.assign(fingerprint=[runs.fingerprint[1], runs.fingerprint[0], *runs.fingerprint[2:]])


def of_format_99(runs: pd.DataFrame) -> pd.DataFrame:
    runs.attrs["format"] = 99
    return runs


HASH = "does not match its hash"
ALTERED: dict[str, tuple[str, Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "another value": (FILES[1], with_cell("accuracy", 0.6), HASH),
    "a row less": (FILES[1], lambda t: t.iloc[1:], HASH),
    "another provenance": (FILES[0], with_cell("provenance", "{}"), HASH),
    "another's fingerprint": (FILES[0], exchanged, HASH),
    "another layout": (FILES[0], of_format_99, "of format 99, expected 1: install the pdlib that wrote it"),
    "a column less": (FILES[0], lambda t: t.drop(columns="provenance"), "no column 'provenance'"),
    "no fingerprints": (FILES[1], lambda t: t.drop(columns="fingerprint"), "no column 'fingerprint'"),
    "a measured column less": (FILES[1], lambda t: t.drop(columns="accuracy"), HASH),
    "another table": (FILES[4], with_cell("word", "008"), "not the table that the page was judged"),
}


def test_a_spec_or_a_key_that_was_altered_is_not_called_outdated_or_absent(layer: Published) -> None:
    for column, old, new, said in (
        ("spec", '"seed": 0', '"seed": 9', "has the spec of"),
        ("spec", "{", "[", "not JSON"),
        ("provenance", "}", "", "not JSON"),
    ):
        path = layer.root / FILES[0]
        data = path.read_bytes()
        frame = pd.read_parquet(path)
        frame.loc[0, column] = frame[column][0].replace(old, new, 1)
        path.write_bytes(table_bytes(frame))
        with pytest.raises(DamagedError, match=rf"runs\.parquet: run {SPECS[0].fingerprint}.* {said}"):
            list(layer.records())
        path.write_bytes(data)
    path = layer.root / FILES[5]
    path.write_bytes(path.read_bytes().replace(b"8000", b"8001"))
    with pytest.raises(DamagedError, match=r"a\.safetensors: the key of the block .* is another's"):
        layer.labels(KEY)


@pytest.mark.parametrize("name", ALTERED)
def test_a_table_that_was_altered_is_an_error_that_names_it(layer: Published, name: str) -> None:
    file, change, complaint = ALTERED[name]
    path = layer.root / file
    frame = pd.read_parquet(path)
    attributes = dict(frame.attrs)
    changed = change(frame)
    changed.attrs = attributes | changed.attrs
    path.write_bytes(table_bytes(changed))
    with pytest.raises(StoreError, match=rf"{path.name}.*{complaint}"):
        read_all(layer)


def test_verdicts_and_labels_that_were_altered_are_refused(layer: Published) -> None:
    path = layer.root / FILES[3]
    path.write_text(path.read_text().replace('"began": null', '"began": "2020-01-01"'))
    with pytest.raises(DamagedError, match=r"verdicts\.json: not whole, or its content"):
        layer.page("parity", "laptop")
    path = layer.root / FILES[5]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(DamagedError, match=r"a\.safetensors: the block of .* does not match its hash"):
        layer.labels(KEY)


def test_labels_are_added_to_those_that_are_published(layer: Published) -> None:
    more = KEY | {"checkpoint": "9000"}
    assert layer.write_labels("a", [(more, np.ones(3, np.uint8))]) == 2
    assert layer.labels(KEY).tolist() == list(range(40))  # type: ignore[union-attr]
    assert layer.labels(more).tolist() == [1, 1, 1]  # type: ignore[union-attr]


def killed_writer(root: str, after: int) -> None:
    """Publish the page anew, and die at the step after so many that change a folder."""
    at = 0

    def dying(of: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            nonlocal at
            at += 1
            if at > after:
                os._exit(9)
            return of(*args, **named)

        return call

    for place, name in ((Path, "rename"), (Path, "replace"), (module.shutil, "rmtree")):
        setattr(place, name, dying(getattr(place, name)))
    table = pd.DataFrame({"step": [0], "accuracy": [0.25]})
    new = [Record(tiny.training(seed=s), table, {}, "local") for s in range(4)]
    Published(root).write_page("parity", "laptop", new, {"runs": ["new"]})


def test_a_writer_that_is_killed_at_any_moment_leaves_the_old_page_or_the_new_one(
    layer: Published, start: Callable[..., Any]
) -> None:
    seen = []
    for after in range(20):
        process = start(killed_writer, str(layer.root), after)
        process.join()
        (first, *others) = (layer.find(spec.fingerprint) for spec in SPECS)
        page = layer.page("parity", "laptop")
        assert page is not None
        new = page["runs"] == ["new"]
        assert first is not None
        assert (first.table.accuracy.tolist() == [0.25]) == new
        assert all(other is not None for other in others)
        seen.append(new)
        if process.exitcode == 0:
            break
    assert process.exitcode == 0
    assert seen == sorted(seen)
    assert not seen[0]
    assert sorted(p.name for p in layer.root.iterdir()) == [
        "labels",
        "parity-laptop",
    ]  # what was left is swept


def test_a_full_disk_leaves_what_was_published(layer: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {p: p.read_bytes() for p in layer.root.rglob("*") if p.is_file()}

    def full(path: Path, data: bytes) -> None:
        if path.name == "runs.parquet":
            raise OSError(28, "No space left on device")
        write_bytes(path, data)

    monkeypatch.setattr(module, "write_bytes", full)
    with pytest.raises(StoreError, match=r"cannot write .*parity-laptop.* No space left"):
        layer.write_page("parity", "laptop", [record(SPECS[0], tables()[0])], RESULT)
    assert {p: p.read_bytes() for p in layer.root.rglob("*") if p.is_file()} == before


# Publishing a page


class Project:
    """A project of its own: a store, a published layer, a README, and values of the page parity."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store, self.layer = Store(folder / "mine", None), Published(folder / "published")
        self.readme, self.patch = folder / "README.md", monkeypatch
        self.values: dict[str, object] = {"profile": "laptop", "n_bits": 20}
        self.readme.write_text("<!-- glance -->\nold\n<!-- end of glance -->\n")
        monkeypatch.setenv("PDLIB_STORE", str(self.store.root))
        monkeypatch.setattr("pdlib.published.published_folder", lambda: self.layer.root)
        monkeypatch.setattr("pdlib.pages.checkout", lambda *_: folder)
        monkeypatch.setattr("pdlib.pages.load_parameters", lambda *_, **__: self.values)
        self.commit("0" * 40)

    def commit(self, name: str) -> None:
        self.patch.setattr("pdlib.engine.commit", lambda: name)

    def judged(self, page: str, profile: str, *specs: Training | Measurement, commit: str = "0" * 40) -> None:
        runs = [spec.fingerprint for spec in specs]
        changes = {
            "page": page,
            "profile": profile,
            "runs": runs,
            "commits": [commit],
            "parameters": self.values,
        }
        self.store.save_page(page, profile, RESULT | changes, {})

    def runs(self) -> set[str]:
        return {fingerprint for fingerprint, _ in self.layer.records()}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    return Project(tmp_path, monkeypatch)


def prints(specs: Sequence[Training | Measurement]) -> set[str]:
    return {spec.fingerprint for spec in specs}


def test_published_labels_train_a_student_again_without_its_teacher(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    student = tiny.student()
    (first,) = execute([student], project.store, progress=False)
    project.judged("parity", "laptop", student)  # the teacher's table is not published
    assert main(["store", "publish", "parity", "--labels"]) == 0
    assert "1 runs" in capsys.readouterr().out
    assert "old" not in project.readme.read_text()
    assert project.layer.teachers() == {tiny.TEACHER.fingerprint}
    elsewhere = Store(tmp_path / "elsewhere", project.layer.root)
    elsewhere.published_tables = False  # as `make reproduce` has it: labels are data, tables are computed
    (again,) = execute([student], elsewhere, progress=False)
    assert again.source == "trained now"
    assert again.table.equals(first.table)
    assert not elsewhere.run_folder(tiny.TEACHER).exists()


def test_a_published_run_of_other_code_is_not_taken_for_that_of_a_page_run_anew(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tiny.training()
    execute([spec], project.store, progress=False)
    project.judged("parity", "laptop", spec)
    assert main(["store", "publish", "parity"]) == 0
    before = project.layer.find(spec.fingerprint)
    assert before is not None
    project.store.run_folder(spec).rename(project.store.root / "gone")
    project.commit("1" * 40)
    execute([spec], project.store, progress=False)
    project.judged("parity", "laptop", spec, commit="1" * 40)
    assert main(["store", "publish", "parity"]) == 1
    assert f"published: computed by {'0' * 40}" in capsys.readouterr().err
    assert project.layer.find(spec.fingerprint) is not None
    monkeypatch.setenv("PDLIB_PUBLISHED", "ignore")
    assert main(["store", "publish", "parity"]) == 0
    found = project.layer.find(spec.fingerprint)
    assert found is not None
    assert (before.provenance["commit"], found.provenance["commit"]) == ("0" * 40, "1" * 40)
    assert found.table.equals(before.table)


def test_a_page_that_did_not_run_ran_uncommitted_code_or_other_values_is_not_published(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused() -> str:
        assert main(["store", "publish", "parity"]) == 1
        assert not project.layer.root.exists()
        return capsys.readouterr().err

    assert "Run it first" in refused()
    project.judged("parity", "laptop", commit="0" * 40 + "+changes")
    assert "uncommitted code" in refused()
    project.judged("parity", "laptop")
    project.values = {"profile": "laptop", "n_bits": 30}
    said = "page parity ran at other values than profile laptop has: n_bits = 20, expected 30. Run it again"
    assert said in refused()
    project.values = {"profile": "laptop", "n_bits": 20}
    assert main(["store", "publish", "parity"]) == 0
    assert project.layer.pages() == [("parity", "laptop")]


def test_a_page_is_replaced_as_a_whole_and_no_other_changes(project: Project) -> None:
    one, two, other = (tiny.training(seed=s) for s in range(3))
    execute([one, two, other], project.store, progress=False)
    project.judged("parity", "laptop", one)
    project.judged("parity", "desk", one, other)
    assert (
        main(["store", "publish", "parity"]) == main(["store", "publish", "parity", "--profile", "desk"]) == 0
    )
    desk = {p: p.read_bytes() for p in (project.layer.root / "parity-desk").iterdir()}
    project.judged("parity", "laptop", two)
    assert main(["store", "publish", "parity"]) == 0
    assert project.runs() == prints([one, two, other])
    assert {p: p.read_bytes() for p in (project.layer.root / "parity-desk").iterdir()} == desk
    laptop = pd.read_parquet(project.layer.root / "parity-laptop" / "runs.parquet")
    assert set(laptop.fingerprint) == {two.fingerprint}


def partly_published(project: Project) -> dict[str, Training | Measurement]:
    """A page that was stopped: a teacher and one of its students are done, and published."""
    teacher = tiny.training(seed=3)
    specs: dict[str, Training | Measurement] = {
        "teacher": teacher,
        "done": tiny.student(teacher),
        "same labels": tiny.student(teacher, model=MLP(9)),
        "soft": tiny.student(teacher, targets="soft"),
        "measurement": tiny.measurement(teacher),
    }
    project.store.remember_runs("pcfg", "desk", [spec.fingerprint for spec in specs.values()])
    execute([specs["teacher"], specs["done"]], project.store, progress=False)
    assert main(PARTIAL) == 0
    return specs


PARTIAL = ["store", "publish", "pcfg", "--profile", "desk", "--partial"]


def test_what_is_finished_of_an_unfinished_page_is_published_without_a_verdict(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = partly_published(project)
    assert "2 of 5 runs that pcfg has asked for are in" in capsys.readouterr().out
    assert project.runs() == prints([specs["teacher"], specs["done"]])
    assert [path.name for path in project.layer.root.iterdir()] == ["pcfg-desk.partial"]
    assert "old" in project.readme.read_text()
    assert project.layer.pages() == []  # nothing that a ledger would read
    assert project.layer.page("pcfg", "desk") is None


def test_a_run_that_goes_on_elsewhere_computes_what_is_not_published_and_a_teacher_only_if_it_is_needed(
    project: Project, tmp_path: Path
) -> None:
    specs = partly_published(project)
    elsewhere = Store(tmp_path / "elsewhere", project.layer.root)
    found = execute([specs["teacher"], specs["done"]], elsewhere, progress=False)
    assert [record.source for record in found] == ["published"] * 2
    assert not elsewhere.root.exists()
    found = execute(list(specs.values()), elsewhere, progress=False)
    assert [record.source for record in found] == ["trained now", "published", *["trained now"] * 3]
    assert isinstance(teacher := specs["teacher"], Training)
    assert elsewhere.has_checkpoints(teacher)  # trained again, since checkpoints do not travel
    assert main([*PARTIAL, "--labels"]) == 0
    third = Store(tmp_path / "third", project.layer.root)
    found = execute([specs[name] for name in ("teacher", "done", "same labels")], third, progress=False)
    assert [record.source for record in found] == ["published", "published", "trained now"]
    assert not third.run_folder(teacher).exists()


def test_a_partial_publication_grows_is_kept_by_other_pages_and_ends_with_the_whole(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = partly_published(project)
    first = prints([specs["teacher"], specs["done"]])

    # Elsewhere the page has asked for less so far, and did more of it
    monkeypatch.setenv("PDLIB_STORE", str(tmp_path / "elsewhere"))
    elsewhere = Store(tmp_path / "elsewhere", project.layer.root)
    project.commit("1" * 40)
    elsewhere.remember_runs("pcfg", "desk", [specs["soft"].fingerprint])
    execute([specs["soft"]], elsewhere, progress=False)
    assert main(PARTIAL) == 0
    assert set(project.layer.unfinished("pcfg", "desk")) == first | {specs["soft"].fingerprint}

    # Another page is published, then this one, at last with two of its runs
    monkeypatch.setenv("PDLIB_STORE", str(project.store.root))
    project.judged("parity", "laptop")
    assert main(["store", "publish", "parity"]) == 0
    assert project.runs() == first | {specs["soft"].fingerprint}
    project.judged("pcfg", "desk", specs["teacher"], specs["done"])
    assert main(["store", "publish", "pcfg", "--profile", "desk"]) == 0
    assert project.layer.unfinished("pcfg", "desk") == []
    assert project.runs() == first


def test_a_partial_publication_of_nothing_is_refused(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, mine = tiny.training(seed=3), project.store

    def refused() -> str:
        assert main(PARTIAL) == 1
        assert not project.layer.root.exists()
        return capsys.readouterr().err

    said = refused()
    assert f"{mine.root} knows of no run of page pcfg at profile desk" in said
    assert "started with this store: python -m pdlib run pcfg --profile desk" in said
    mine.remember_runs("pcfg", "desk", [spec.fingerprint])
    assert "none of the 1 runs that page pcfg has asked for at profile desk is finished in" in refused()
    project.commit("0" * 40 + "+changes")
    execute([spec], mine, progress=False)
    assert f"computed by uncommitted code ({'0' * 40}+changes): expected clean commits" in refused()
    table = mine.run_folder(spec) / "table.parquet"
    table.write_bytes(table.read_bytes()[:-1])
    assert f"DamagedError: {table}" in refused()


def test_a_run_of_other_code_is_left_out_of_a_partial_publication_and_counted(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tiny.training()
    with monkeypatch.context() as before:
        before.setattr(MLP, "version", 0)
        old = tiny.training(seed=4)
        execute([old], project.store, progress=False)
    execute([kept], project.store, progress=False)
    project.store.remember_runs("pcfg", "desk", [old.fingerprint, kept.fingerprint])
    assert main(PARTIAL) == 0
    assert "1 of 2 runs that pcfg has asked for (1 of other code left out)" in capsys.readouterr().out
    assert project.runs() == {kept.fingerprint}


def test_a_run_that_is_verified_says_when_its_tolerance_is_too_wide_to_tell_anything(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    for base, vague in ((tiny.training(), True), (tiny.TEACHER, False)):
        specs = [replace(base, seed=seed) for seed in range(3)]
        execute(specs, project.store, progress=False, n_workers=1)
        project.judged("parity", "laptop", *specs)
        assert main(["store", "publish", "parity"]) == 0
        assert main(["store", "verify"]) == 0
        said = capsys.readouterr().out
        assert "from 3 seeds: inside" in said
        assert ("inside, but too wide to tell anything: an untrained network's 0.5" in said) == vague


def test_labels_that_cannot_be_published_leave_what_is_published_as_it_was(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = tiny.student(), tiny.student(tiny.training(), OneShot())
    execute([one, two], project.store, progress=False)
    project.judged("parity", "laptop", one, two)
    (path,) = (project.store.root / "labels" / two.supervision.teacher.fingerprint).glob("*")  # type: ignore[attr-defined]
    path.write_bytes(path.read_bytes()[:-1])
    assert main(["store", "publish", "parity", "--labels"]) == 1
    assert f"{path}: " in capsys.readouterr().err
    assert not project.layer.root.exists()


def test_a_result_is_shown_to_a_person(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    spec = tiny.training()
    execute([spec], project.store, progress=False)
    assert main(["store", "show", spec.fingerprint[:8]]) == 0
    shown = capsys.readouterr().out
    assert f"{spec.fingerprint} (local)" in shown
    assert "kind: SparseParity" in shown
    assert "accuracy" in shown
    assert main(["store", "show", "f" * 33]) == 1
    assert "no result with a fingerprint that begins with 'fff" in capsys.readouterr().err


def test_a_parameter_is_given_as_two_words_or_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    parse = command_line._parser().parse_args
    for words in (["-p", "n_bits", "30"], ["-p", "n_bits=30"]):
        assert command_line._values(parse(["run", "parity", *words]), "parity")["n_bits"] == 30
    for words in (["-p", "n_bits"], ["-p", "n_bits", "30", "40"]):
        with pytest.raises(pages.ParameterError, match="expected a name and a value, such as -p n_bits 30"):
            command_line._values(parse(["run", "parity", *words]), "parity")


def test_help_lists_every_page_with_its_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command_line.main(["run", "--help"])
    shown = capsys.readouterr().out
    assert all(f"\n{page}\n" in shown for page in pages.page_names())
    assert "  n_bits = 20  # d; paper: 100" in shown
    with pytest.raises(SystemExit):
        command_line.main(["--version"])
    assert capsys.readouterr().out.startswith("pdlib ")


def test_kept_results_are_removed_by_the_first_digits_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PDLIB_STORE", str(tmp_path))
    run = tmp_path / "runs" / "0123abcd"
    run.mkdir(parents=True)
    (run / "progress.safetensors").write_bytes(bytes(2_000_000))
    assert command_line.main(["store", "list"]) == 0
    assert "0123abcd begun" in " ".join(capsys.readouterr().out.split())
    assert command_line.main(["store", "size"]) == 0
    assert f"results: 2.0 MB in {tmp_path}" in capsys.readouterr().out
    assert command_line.main(["store", "remove", "9"]) == 1
    assert "no result with a fingerprint that begins with '9'" in capsys.readouterr().err
    assert command_line.main(["store", "remove", "0123"]) == 0
    assert not run.exists()
