"""What a user gets: the wheel outside the checkout, the README's words and example, the command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from pdlib import MLP, SGD, Distillation, Progressive, SparseParity, Training, Transformer, claims, pages
from pdlib import __main__ as commands
from pdlib.__main__ import main
from pdlib.engine import execute
from pdlib.models.huggingface import load_pretrained
from pdlib.models.transformer import tokens_of
from pdlib.schedules import MultiplesSplit
from pdlib.specs import Measurement
from pdlib.store import Store
from pdlib.tasks.masked import MaskedPrediction
from pdlib.text.corpus import Corpus

LEDGER = import_module("pdlib.claims.ledger")  # as an attribute of the package it is the function
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_works_outside_the_checkout_and_carries_published_results(
    wheel: Path, tmp_path: Path
) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import json, pdlib, pdlib.store, pdlib.claims as c; from pathlib import Path;"
        "folder = pdlib.store.published_folder();"
        "known = pdlib.grammar('cfg3b');"
        "print(json.dumps({'home': pdlib.__file__, 'ledger': len(c.ledger()), 'typed': "
        "Path(pdlib.__file__).with_name('py.typed').exists(),"
        "'rules': len(known.rules), 'runs': len(list(folder.glob('runs/*/result.json'))), "
        "'pages': len(list(folder.glob('pages/*.json')))}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    seen = json.loads(done.stdout)
    assert seen["home"].startswith(str(tmp_path)), "the wheel's copy is the one that was imported"
    assert seen["typed"]
    assert seen["rules"] == 32, "the grammars are in the wheel"
    assert seen["ledger"] == len(claims.ledger())
    results = ROOT / "book" / "results"
    assert seen["runs"] == len(list(results.glob("runs/*/result.json")))
    assert seen["pages"] == len(list(results.glob("pages/*.json")))


def test_the_readme_shows_the_published_verdicts() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert claims.with_glance(text) == text, "run `python -m pdlib store publish`, which writes the table"
    changed = text.replace("<!-- glance", "<!-- glance", 1).replace(
        "<!-- end of glance", "typed by hand\n<!-- end of glance"
    )
    assert claims.with_glance(changed) != changed


def run_example(word: str, smaller: dict[str, str], folder: Path) -> str:
    """What the README's example with this word prints, made small, in an empty folder."""
    text = (ROOT / "README.md").read_text("utf-8")
    (example,) = (b for b in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if word in b)
    for there, instead in smaller.items():
        assert there in example
        example = example.replace(there, instead)
    (folder / "example.py").write_text(example)
    environment = {**os.environ, "PDLIB_STORE": str(folder / "store"), "PDLIB_PUBLISHED": "ignore"}
    done = subprocess.run(
        [sys.executable, "example.py"],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        cwd=folder,
    )
    return done.stdout


def test_the_example_of_the_readme_runs(tmp_path: Path) -> None:
    smaller = {"200_000": "2_000", "5_000": "50", "MLP(1000)": "MLP(64)"}
    assert "accuracy" in run_example("Progressive", smaller, tmp_path)


def test_the_transformer_of_the_readme_trains_and_opens_in_transformers(tmp_path: Path) -> None:
    import transformers

    shown = run_example("save_pretrained", {"n_steps=600": "n_steps=60", "_every=100": "_every=10"}, tmp_path)
    assert "accuracy" in shown
    folder = tmp_path / "student"
    module = transformers.GPT2LMHeadModel.from_pretrained(folder, local_files_only=True).eval()
    model, parameters = load_pretrained(folder)
    assert model == Transformer(n_layers=2, n_heads=2, n_positions=16, initial_std=0.2)
    bits, _ = SparseParity(16, 3).stream(0, "probe").examples(0, 50)
    with torch.no_grad():
        theirs = module(input_ids=tokens_of(bits)).logits[:, -1]
    np.testing.assert_allclose(model.logits(parameters, bits), theirs, rtol=0, atol=1e-5)
    untrained = model.logits(model.initial(16, 2, seed=0), bits)
    assert np.abs(untrained - theirs.numpy()).max() > 1e-3  # the control


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    pattern = re.compile(r"(^|[^A-Za-z0-9_.\-/])/(work|home|Users|root)/")
    found = [
        name
        for name in tracked.split("\0")
        if name
        and (ROOT / name).is_file()
        and (ROOT / name).suffix in {".py", ".md", ".yaml", ".yml", ".json", ".ipynb", ".toml"}
        and name != "tests/test_package.py"
        and pattern.search((ROOT / name).read_text("utf-8", errors="replace"))
    ]
    assert not found
    assert pattern.search("see /home/me/data"), "the pattern can find one"


def test_an_error_is_a_sentence_and_a_status(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["run", "parity", "-p", "n_bits", "many", "--out", str(tmp_path / "out.ipynb")]) == 1
    message = capsys.readouterr().err
    assert "n_bits = 'many'" in message
    assert "Traceback (most recent call last):\n  File" not in message.split("n_bits")[0]


def test_uncommitted_code_publishes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PDLIB_STORE", str(tmp_path))
    assert main(["store", "publish", "parity"]) == 1
    assert "Run it first" in capsys.readouterr().err
    result = {
        "page": "parity",
        "profile": "laptop",
        "runs": [],
        "commits": ["0" * 40 + "+changes"],
        "criteria": [],
        "began": None,
    }
    path = claims.page_file(tmp_path, "parity", "laptop")
    path.parent.mkdir()
    path.write_text(json.dumps(result))
    before = sorted(str(p) for p in (ROOT / "book" / "results").rglob("*"))
    assert main(["store", "publish", "parity"]) == 1
    assert "clean" in capsys.readouterr().err
    assert sorted(str(p) for p in (ROOT / "book" / "results").rglob("*")) == before


def test_every_subcommand_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("run", "book", "references", "reproduce", "claims", "store", "bench"):
        with pytest.raises(SystemExit) as stopped:
            main([command, "--help"])
        assert stopped.value.code == 0
        assert "usage" in capsys.readouterr().out
    assert pages.page_names(), "there are pages to run"


def test_published_labels_train_a_student_again_without_its_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = SparseParity(12, 2)
    teacher = Training(task, MLP(32), SGD(0.1), n_steps=200, evaluate_every=100, checkpoint_every=100)
    supervision = Distillation(teacher, Progressive(2, 100), targets="hard")
    student = Training(
        task, MLP(8), SGD(0.1), n_steps=200, evaluate_every=100, seed=1, supervision=supervision
    )
    mine, published = Store(tmp_path / "mine", None), tmp_path / "published"
    monkeypatch.setattr("pdlib.engine.commit", lambda: "0" * 40)
    (first,) = execute([student], mine, progress=False)
    result = {"page": "parity", "profile": "laptop", "commits": ["0" * 40], "criteria": [], "began": None}
    result["runs"] = [student.fingerprint]  # the teacher's table is not published
    path = claims.page_file(mine.root, "parity", "laptop")
    path.parent.mkdir()
    path.write_text(json.dumps(result))
    (tmp_path / "README.md").write_text("<!-- glance -->\nold\n<!-- end of glance -->\n")
    monkeypatch.setenv("PDLIB_STORE", str(mine.root))
    monkeypatch.setattr("pdlib.__main__.published_folder", lambda: published)
    monkeypatch.setattr(LEDGER, "published_folder", lambda: published)
    monkeypatch.setattr("pdlib.pages.checkout", lambda *_: tmp_path)
    (published / "runs").mkdir(parents=True)
    assert main(["store", "publish", "parity", "--labels"]) == 0
    assert "1 runs" in capsys.readouterr().out
    assert "old" not in (tmp_path / "README.md").read_text()

    assert len(list((published / "labels" / teacher.fingerprint).iterdir())) == 2

    elsewhere = Store(tmp_path / "elsewhere", published)
    elsewhere.published_tables = False  # as `make reproduce` has it: labels are data, tables are computed
    (again,) = execute([student], elsewhere, progress=False)
    assert again.source == "trained now"
    assert again.table.equals(first.table)
    assert not elsewhere.run_folder(teacher).exists()


def test_a_published_run_of_other_code_is_not_taken_for_that_of_a_page_run_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, published = tiny.training(), tmp_path / "published"
    monkeypatch.setattr("pdlib.engine.commit", lambda: "0" * 40)
    execute([spec], Store(published, None), progress=False)
    monkeypatch.setattr("pdlib.engine.commit", lambda: "1" * 40)
    mine = Store(tmp_path / "mine", None)
    (found_here,) = execute([spec], mine, progress=False)
    (published / "runs" / spec.fingerprint / "table.csv").write_text("step\n")  # as results of before have
    path = claims.page_file(mine.root, "parity", "laptop")
    path.parent.mkdir()
    path.write_text(
        json.dumps({"runs": [spec.fingerprint], "commits": ["1" * 40], "criteria": [], "began": None})
    )
    (tmp_path / "README.md").write_text("<!-- glance -->\nold\n<!-- end of glance -->\n")
    monkeypatch.setenv("PDLIB_STORE", str(mine.root))
    for module in (import_module("pdlib.__main__"), import_module("pdlib.store"), LEDGER):
        monkeypatch.setattr(module, "published_folder", lambda: published)
    monkeypatch.setattr("pdlib.pages.checkout", lambda *_: tmp_path)
    copy = published / "runs" / spec.fingerprint / "result.json"
    before = copy.read_bytes()
    assert main(["store", "publish", "parity"]) == 1
    assert f"published: computed by {'0' * 40}" in capsys.readouterr().err
    assert copy.read_bytes() == before
    monkeypatch.setenv("PDLIB_PUBLISHED", "ignore")
    assert main(["store", "publish", "parity"]) == 0
    assert json.loads(copy.read_text())["provenance"]["commit"] == "1" * 40
    found = Store(tmp_path / "none", published).find(spec.fingerprint)
    assert found is not None
    assert found.table.equals(found_here.table)
    assert sorted(p.name for p in copy.parent.glob("*.*")) == ["result.json", "table.parquet"]


def test_a_teachers_labels_are_published_with_all_that_cannot_be_made_from_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = tiny.training(seed=3)
    hard, soft = tiny.student(teacher), tiny.student(teacher, targets="soft")
    probe, other = tiny.measurement(teacher), tiny.training(seed=4)
    mine, published = Store(tmp_path / "mine", None), tmp_path / "published"
    monkeypatch.setenv("PDLIB_STORE", str(mine.root))
    monkeypatch.setattr("pdlib.__main__.published_folder", lambda: published)
    assert main(["store", "publish-labels", teacher.fingerprint]) == 1
    assert "expected that of a trained teacher" in capsys.readouterr().err
    monkeypatch.setattr("pdlib.engine.commit", lambda: "0" * 40)
    execute([teacher, other], mine, progress=False)
    assert main(["store", "publish-labels", teacher.fingerprint]) == 1
    assert "train a student of it first" in capsys.readouterr().err
    execute([hard, soft, probe], mine, progress=False)
    assert main(["store", "publish-labels", teacher.fingerprint]) == 0
    assert "and 3 results that need it" in capsys.readouterr().out
    runs = {path.name for path in (published / "runs").iterdir()}
    assert runs == {spec.fingerprint for spec in (teacher, soft, probe)}

    # A page that uses none of them is published: they stay, what can be made again goes
    (published / "runs" / ("f" * 32)).mkdir()
    path = claims.page_file(mine.root, "parity", "laptop")
    path.parent.mkdir()
    path.write_text(
        json.dumps({"runs": [other.fingerprint], "commits": ["0" * 40], "criteria": [], "began": None})
    )
    (tmp_path / "README.md").write_text("<!-- glance -->\nold\n<!-- end of glance -->\n")
    monkeypatch.setattr(LEDGER, "published_folder", lambda: published)
    monkeypatch.setattr("pdlib.pages.checkout", lambda *_: tmp_path)
    assert main(["store", "publish", "parity"]) == 0
    left = {path.name for path in (published / "runs").iterdir()}
    assert left == runs | {other.fingerprint}


def partly_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *options: str
) -> tuple[Store, Path, dict[str, Training | Measurement]]:
    """A page that was stopped: a teacher and one of its students are done, and published."""
    teacher = tiny.training(seed=3)
    specs: dict[str, Training | Measurement] = {
        "teacher": teacher,
        "done": tiny.student(teacher),
        "same labels": tiny.student(teacher, model=MLP(9)),
        "soft": tiny.student(teacher, targets="soft"),
        "measurement": tiny.measurement(teacher),
    }
    mine, published = Store(tmp_path / "mine", None), tmp_path / "published"
    monkeypatch.setattr("pdlib.engine.commit", lambda: "0" * 40)
    monkeypatch.setenv("PDLIB_STORE", str(mine.root))
    monkeypatch.setattr("pdlib.__main__.published_folder", lambda: published)
    monkeypatch.setattr(LEDGER, "published_folder", lambda: published)
    monkeypatch.setattr("pdlib.pages.checkout", lambda *_: tmp_path)
    mine.remember_runs("pcfg", "desk", [spec.fingerprint for spec in specs.values()])
    execute([specs["teacher"], specs["done"]], mine, progress=False)
    assert main(["store", "publish", "pcfg", "--profile", "desk", "--partial", *options]) == 0
    return mine, published, specs


def test_what_is_finished_of_an_unfinished_page_is_published_without_a_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("<!-- glance -->\nold\n<!-- end of glance -->\n")
    _, published, specs = partly_published(tmp_path, monkeypatch)
    assert "2 of 5 runs that pcfg has asked for are in" in capsys.readouterr().out
    finished = [specs[name].fingerprint for name in ("teacher", "done")]
    assert {path.name for path in (published / "runs").iterdir()} == set(finished)
    assert json.loads((published / "pages" / "pcfg-desk.partial.json").read_text()) == {
        "page": "pcfg",
        "profile": "desk",
        "runs": finished,
        "commits": ["0" * 40],
        "unfinished": True,
    }
    assert [path.name for path in (published / "pages").iterdir()] == ["pcfg-desk.partial.json"]
    assert not (published / "labels").exists()
    assert "old" in readme.read_text()
    assert claims.load_page(published, "pcfg", "desk") is None  # nothing that a ledger would read


def test_a_run_that_goes_on_elsewhere_computes_nothing_that_is_published_but_a_teacher_that_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, published, specs = partly_published(tmp_path, monkeypatch)
    elsewhere = Store(tmp_path / "elsewhere", published)
    found = execute([specs["teacher"], specs["done"]], elsewhere, progress=False)
    assert [record.source for record in found] == ["published"] * 2
    assert not elsewhere.root.exists()
    found = execute(list(specs.values()), elsewhere, progress=False)
    assert [record.source for record in found] == ["trained now", "published", *["trained now"] * 3]
    assert elsewhere.has_checkpoints(specs["teacher"])  # trained again, since checkpoints do not travel


def test_a_student_of_published_labels_goes_on_elsewhere_without_its_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, published, specs = partly_published(tmp_path, monkeypatch, "--labels")
    assert len(list((published / "labels").glob("*/*"))) == 4
    elsewhere = Store(tmp_path / "elsewhere", published)
    found = execute([specs[name] for name in ("teacher", "done", "same labels")], elsewhere, progress=False)
    assert [record.source for record in found] == ["published", "published", "trained now"]
    assert not elsewhere.run_folder(specs["teacher"]).exists()


def test_a_partial_publication_grows_is_kept_by_other_pages_and_ends_with_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "README.md").write_text("<!-- glance -->\nold\n<!-- end of glance -->\n")
    mine, published, specs = partly_published(tmp_path, monkeypatch)
    path = published / "pages" / "pcfg-desk.partial.json"
    first = json.loads(path.read_text())["runs"]

    # Elsewhere the page has asked for less so far, and did more of it
    monkeypatch.setenv("PDLIB_STORE", str(tmp_path / "elsewhere"))
    elsewhere = Store(tmp_path / "elsewhere", published)
    monkeypatch.setattr("pdlib.store.published_folder", lambda: published)
    monkeypatch.setattr("pdlib.engine.commit", lambda: "1" * 40)
    elsewhere.remember_runs("pcfg", "desk", [specs["soft"].fingerprint])
    execute([specs["soft"]], elsewhere, progress=False)
    assert main(["store", "publish", "pcfg", "--profile", "desk", "--partial"]) == 0
    listed = json.loads(path.read_text())
    assert listed["runs"] == [*first, specs["soft"].fingerprint]
    assert listed["commits"] == ["0" * 40, "1" * 40]

    # Another page is published: what the unfinished one uses stays, what nobody uses goes
    (published / "runs" / ("f" * 32)).mkdir()
    other = claims.page_file(elsewhere.root, "parity", "laptop")
    other.parent.mkdir(exist_ok=True)
    other.write_text(json.dumps({"runs": [], "commits": [], "criteria": [], "began": None}))
    assert main(["store", "publish", "parity"]) == 0
    assert {p.name for p in (published / "runs").iterdir()} == set(listed["runs"])

    # The page is finished, at last with two of its runs
    monkeypatch.setenv("PDLIB_STORE", str(mine.root))
    whole = {"runs": first, "commits": ["0" * 40], "criteria": [], "began": None}
    claims.page_file(mine.root, "pcfg", "desk").write_text(json.dumps(whole))
    assert main(["store", "publish", "pcfg", "--profile", "desk"]) == 0
    assert not path.exists()
    assert {p.name for p in (published / "runs").iterdir()} == set(first)
    capsys.readouterr()


def test_a_partial_publication_of_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, published, spec = Store(tmp_path / "mine", None), tmp_path / "published", tiny.training(seed=3)
    monkeypatch.setenv("PDLIB_STORE", str(mine.root))
    monkeypatch.setattr("pdlib.__main__.published_folder", lambda: published)
    command = ["store", "publish", "pcfg", "--profile", "desk", "--partial"]

    def refused() -> str:
        assert main(command) == 1
        assert not published.exists()
        return capsys.readouterr().err

    said = refused()
    assert f"{mine.root} knows of no run of page pcfg at profile desk" in said
    assert "started with this store: python -m pdlib run pcfg --profile desk" in said
    mine.remember_runs("pcfg", "desk", [spec.fingerprint])
    assert "none of the 1 runs that page pcfg has asked for at profile desk is finished in" in refused()
    monkeypatch.setattr("pdlib.engine.commit", lambda: "0" * 40 + "+changes")
    execute([spec], mine, progress=False)
    assert f"computed by uncommitted code ({'0' * 40}+changes): expected clean commits" in refused()
    table = mine.run_folder(spec) / "table.parquet"
    table.write_bytes(table.read_bytes()[:-1])
    assert f"DamagedError: {table}" in refused()


def test_a_run_of_other_code_is_left_out_of_a_partial_publication_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, published, kept = Store(tmp_path / "mine", None), tmp_path / "published", tiny.training()
    monkeypatch.setenv("PDLIB_STORE", str(mine.root))
    monkeypatch.setattr("pdlib.__main__.published_folder", lambda: published)
    monkeypatch.setattr("pdlib.engine.commit", lambda: "0" * 40)
    with monkeypatch.context() as before:
        before.setattr(MLP, "version", 0)
        old = tiny.training(seed=4)
        execute([old], mine, progress=False)
    execute([kept], mine, progress=False)
    mine.remember_runs("pcfg", "desk", [old.fingerprint, kept.fingerprint])
    assert main(["store", "publish", "pcfg", "--profile", "desk", "--partial"]) == 0
    assert "1 of 2 runs that pcfg has asked for (1 of other code left out)" in capsys.readouterr().out
    assert [path.name for path in (published / "runs").iterdir()] == [kept.fingerprint]


def test_runs_that_need_text_are_told_apart_and_peers_differ_in_what_follows_from_the_seed_alone() -> None:
    corpus = Corpus(("sample:english:60",), "trained:300", 16, 20, digest="0" * 32, vocabulary=300)
    text, none = MaskedPrediction(corpus).canonical(), tiny.student().canonical()
    assert commands._has_kind({"supervision": [{"task": text}]}, "Corpus")
    assert not commands._has_kind(none, "Corpus")
    split = [MultiplesSplit(first).canonical() for first in (10, 20)]
    assert commands._but_seeds(split[0]) == commands._but_seeds(split[1])
    halved = MultiplesSplit(10, kappa=0.5).canonical()
    assert commands._but_seeds(split[0]) != commands._but_seeds(halved)  # the control
