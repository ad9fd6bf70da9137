"""Published checkpoints as a teacher: the labels of the same networks trained here, from folders and from a local hub."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

os.environ["HF_HUB_OFFLINE"] = "1"  # as other tests have it; those of this file allow their own hub

import huggingface_hub.constants
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models

from pdlib import Adam, Distillation, Store, Training, execute, labels
from pdlib.models import published
from pdlib.models.huggingface import save_pretrained
from pdlib.models.published import PublishedCheckpoints
from pdlib.models.transformer import bert, gpt2
from pdlib.schedules import EqualSplit, Explicit, OneShot, Progressive
from pdlib.specs import Schedule, SpecError, Teacher
from pdlib.store import DamagedError, MissingError
from pdlib.tasks.masked import MaskedPrediction
from pdlib.tasks.next_token import NextToken
from pdlib.tasks.parity import SparseParity
from pdlib.text.corpus import Corpus
from pdlib.text.hub import HubError
from pdlib.text.wordpiece import MARKS, load

STEPS, LENGTH, REPO = (3, 6), 8, "someone/tiny-bert"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
PIECES = (*MARKS, *LETTERS, ".", ",", *(f"##{c}" for c in LETTERS))


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a trained teacher, what each of its checkpoints would be as a published one, and the cache."""
    root = tmp_path_factory.mktemp("published")
    (root / "vocab.txt").write_text("".join(f"{piece}\n" for piece in PIECES))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)  # URIs are relative, since they decide random numbers
        patch.setenv("PDLIB_CACHE", str(root / "cache"))
        teacher = trained()
        store = Store(root / "store", published=None)
        execute([teacher], store, n_workers=1, progress=False)
        for step in STEPS:
            save_pretrained(f"step-{step}", teacher.model, store.load_checkpoint(teacher, step))
            shutil.copy("vocab.txt", f"step-{step}")
    return root


@pytest.fixture(autouse=True)
def here(_made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of all that, to work in and to damage; nothing is in memory yet."""
    shutil.copytree(_made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PDLIB_CACHE", str(tmp_path / "here" / "cache"))
    published._read_last.clear()
    return tmp_path / "here"


def task(**changes: Any) -> MaskedPrediction:
    corpus = Corpus.prepare("sample:english:40", changes.pop("tokenizer", "file:vocab.txt"), LENGTH, 20)
    return MaskedPrediction(corpus, **changes)


def run(**changes: Any) -> Training:
    asked = changes.pop("task", None) or task()
    model = bert(1, 2, head_size=4, n_positions=LENGTH, vocabulary=asked.vocabulary)
    how: dict[str, Any] = {"batch_size": 4, "n_evaluation": 16, "n_steps": 6, "evaluate_every": 3}
    return Training(asked, model, Adam(0.01), **(how | changes))


def trained() -> Training:
    return run(checkpoint_every=3)


def student(teacher: Teacher, schedule: Schedule | None = None, **targets: Any) -> Training:
    supervision = Distillation(teacher, schedule or EqualSplit(2), **(targets or {"targets": "hard"}))
    return run(seed=1, supervision=supervision)


def folders() -> list[str]:
    return [f"folder:step-{step}" for step in STEPS]


def revisions() -> list[str]:
    return [f"hub:{REPO}@step-{step}" for step in STEPS]


def prepared(repositories: list[str] | None = None, asked: Any = None) -> PublishedCheckpoints:
    return PublishedCheckpoints.prepare(asked or task(), repositories or folders(), STEPS)


def empty(name: str = "one") -> Store:
    return Store(Path(name), published=None)


# ------------------------------------------------------------------ a hub of one's own


def commit_of(folder: Path) -> str:
    found = hashlib.sha1()
    for path in sorted(folder.iterdir()):
        found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


class Hub(ThreadingHTTPServer):
    """Repositories as the Hugging Face hub serves them, by the same addresses, answers and errors."""

    daemon_threads = True

    def __init__(self, revisions: dict[str, Path]) -> None:
        self.revisions = revisions
        self.sent: list[tuple[str, str]] = []  # folder and file
        self.cut, self.damaged, self.gone, self.status = "", "", "", 0
        super().__init__(("127.0.0.1", 0), _Answers)

    def folder(self, revision: str) -> Path | None:
        by_commit = {commit_of(folder): folder for folder in self.revisions.values()}
        return self.revisions.get(revision) or by_commit.get(revision)

    def weights(self) -> list[str]:
        return [name for _, name in self.sent if name.startswith(("model", "pytorch"))]


class _Answers(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if self.server.status:
            self.answer(self.server.status)
        elif path.startswith((f"/api/models/{REPO}/revision/", f"/api/models/{REPO}/tree/")):
            self.listing(path.rpartition("/")[2], tree="/tree/" in path)
        elif path.startswith(f"/{REPO}/resolve/"):
            self.file(*path.split("/")[-2:])
        else:
            self.answer(404, error="RepoNotFound")

    do_HEAD = do_GET  # noqa: N815  as the base class asks for it

    def listing(self, revision: str, tree: bool = False) -> None:
        folder = self.server.folder(revision)
        if folder is None:
            return self.answer(404, error="RevisionNotFound")
        files = []
        for path in folder.iterdir():
            data = path.read_bytes()
            entry: dict[str, Any] = {
                "type": "file",
                "rfilename": path.name,
                "path": path.name,
                "size": len(data),
            }
            entry["oid"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            if path.suffix in (".bin", ".safetensors"):
                digest = hashlib.sha256(data).hexdigest()
                entry["lfs"] = {"oid": digest, "sha256": digest, "size": len(data), "pointerSize": 130}
                entry["oid"] = "0" * 40  # of the pointer
            files.append(entry)
        answer = {"id": REPO, "sha": commit_of(folder), "siblings": files, "tags": [], "private": False}
        return self.answer(200, json.dumps(files if tree else answer).encode())

    def file(self, revision: str, name: str) -> None:
        folder = self.server.folder(revision)
        assert folder is not None, "a revision that was listed"
        if name == self.server.gone:
            return self.answer(404, error="EntryNotFound")
        data = (folder / name).read_bytes()
        if name == self.server.damaged:
            data = data[:-1] + bytes([data[-1] ^ 1])
        if self.command == "GET":
            self.server.sent.append((folder.name, name))
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": commit_of(folder)}
        return self.answer(200, data, headers=headers, cut=name == self.server.cut)

    def answer(
        self, status: int, data: bytes = b"", error: str = "", headers: Any = None, cut: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in ((headers or {}) | ({"X-Error-Code": error} if error else {})).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[: len(data) // 2] if cut else data)


@contextmanager
def serving(revisions: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Folders as branches of a repository, which the real client reads from this machine."""
    server = Hub(revisions)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    monkeypatch.setattr(
        huggingface_hub.constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        address + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda s: None)  # before it tries again
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def served(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving({f"step-{step}": here / f"step-{step}" for step in STEPS}, monkeypatch) as hub:
        yield hub


# ------------------------------------------------------------------ one number by two routes


def table(spec: Training, store: Store) -> pd.DataFrame:
    (record,) = execute([spec], store, n_workers=1, progress=False)
    return record.table


@pytest.mark.parametrize(
    ("schedule", "targets"),
    [
        (OneShot(), {"targets": "hard"}),
        (Progressive(2, 2), {"temperature": 0.5}),
        (Explicit((3, -1), (4,)), {"targets": "hard"}),
        (EqualSplit(2), {"targets": "soft"}),
    ],
    ids=str,
)
def test_a_student_of_published_checkpoints_is_that_of_the_same_networks_trained_here(
    here: Path, schedule: Schedule, targets: dict[str, Any]
) -> None:
    ours, theirs = student(trained(), schedule, **targets), student(prepared(), schedule, **targets)
    assert ours.pieces == theirs.pieces
    stores = empty("store"), empty("other")
    tables = [table(spec, store) for spec, store in zip((ours, theirs), stores, strict=True)]
    pd.testing.assert_frame_equal(tables[0], tables[1], check_exact=True)
    for block in labels.blocks_of(ours):
        found = [
            store.load_labels(labels.Targets(spec, store).key(block))
            for spec, store in zip((ours, theirs), stores, strict=True)
        ]
        np.testing.assert_array_equal(found[0], found[1])
    others = [p.name for p in (here / "other" / "runs").iterdir()]
    assert others == [theirs.fingerprint]  # nobody was trained but the student
    if schedule == EqualSplit(2):  # the control: checkpoints in another order
        wrong = table(student(prepared(folders()[::-1]), schedule, **targets), empty("wrong"))
        assert wrong.iloc[-1].loss_nats != tables[0].iloc[-1].loss_nats


def test_a_published_gpt2_teaches_to_predict_the_next_token(here: Path) -> None:
    asked = NextToken(task().source)
    model = gpt2(1, 2, head_size=4, n_positions=LENGTH, vocabulary=asked.vocabulary)
    teacher = Training(
        asked, model, Adam(0.01), n_steps=6, evaluate_every=6, checkpoint_every=3, n_evaluation=16
    )
    store = empty("store")
    execute([teacher], store, n_workers=1, progress=False)
    for step in STEPS:
        save_pretrained(f"gpt2-{step}", model, store.load_checkpoint(teacher, step))
        (here / f"gpt2-{step}" / "vocab.txt").write_text((here / "vocab.txt").read_text() + "[BOS]\n")
    theirs = prepared([f"folder:gpt2-{step}" for step in STEPS], asked)
    tables = [
        table(replace(teacher, seed=1, checkpoint_every=0, supervision=Distillation(t, EqualSplit(2))), store)
        for t in (teacher, theirs)
    ]
    pd.testing.assert_frame_equal(tables[0], tables[1], check_exact=True)


# ------------------------------------------------------------------ the hub


def test_checkpoints_of_the_hub_give_the_labels_of_the_same_folders_and_are_fetched_once(
    here: Path, served: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = prepared(revisions())
    assert teacher.contents == tuple(commit_of(here / f"step-{step}") for step in STEPS)
    assert served.weights() == []  # preparing takes no weights
    stores = empty(), empty("two")
    tables = [table(student(t), s) for t, s in zip((teacher, prepared()), stores, strict=True)]
    pd.testing.assert_frame_equal(tables[0], tables[1], check_exact=True)
    assert served.weights() == ["model.safetensors"] * 2
    published._read_last.clear()
    monkeypatch.setattr(labels, "SEQUENCES_GRID", 4)
    spec, store = student(teacher), empty("three")
    assert len(labels.blocks_of(spec)) == 6
    table(spec, store)  # many blocks, from the cache
    served.shutdown()
    served.server_close()
    published._read_last.clear()
    table(replace(spec, optimizer=Adam(0.02)), store)  # the same labels: nobody is asked
    assert len(served.weights()) == 2


@pytest.mark.parametrize("form", ["safetensors", "pickle"])
def test_a_checkpoint_in_several_files_is_read_whole(here: Path, served: Hub, form: str) -> None:
    for step in STEPS:
        split(here / f"step-{step}", form)
    teacher = prepared(revisions())
    found = teacher.parameters(6, empty())
    expected = empty("store").load_checkpoint(trained(), 6)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    assert len(served.weights()) == 3  # an index and two files
    assert prepared(folders()).parameters(6, empty()).keys() == expected.keys()


def split(folder: Path, form: str) -> None:
    """Write the weights of a folder as two files and an index that names them."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    first, ending = ("model", "safetensors") if form == "safetensors" else ("pytorch_model", "bin")
    index = {}
    for i in range(2):
        part = {name: tensors[name] for name in names[i::2]}
        file = f"{first}-0000{i + 1}-of-00002.{ending}"
        index |= dict.fromkeys(part, file)
        if form == "safetensors":
            save_file(part, folder / file)
        else:
            torch.save(part, folder / file)
    (folder / f"{first}.{ending}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


GAVE_NOTHING = "the hub did not give it.*"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("hub:someone/other@main", GAVE_NOTHING + "RepositoryNotFoundError.*log in with `hf auth login`"),
        ("hub:a/b/c@main", GAVE_NOTHING + "HFValidationError.*'a/b/c'"),
        (f"hub:{REPO}@step-4", GAVE_NOTHING + "RevisionNotFoundError.*step-4"),
        (f"hub:{REPO}", rf"without a revision: .*'hub:{REPO}@main'; a commit never moves"),
        (f"hub:{REPO}@", "without a revision"),
        (REPO, "expected 'hub:REPO@REVISION' or 'folder:PATH'"),
        ("folder:", "expected 'hub:REPO@REVISION' or 'folder:PATH'"),
        ("folder:elsewhere", "there is no such folder"),
    ],
)
def test_a_uri_that_means_nothing_is_an_error_that_names_it(served: Hub, uri: str, message: str) -> None:
    with pytest.raises(SpecError, match=f"{uri}.*{message}"):
        prepared([uri, uri])


@pytest.mark.parametrize("name", ["config.json", "vocab.txt", "model.safetensors"])
@pytest.mark.parametrize("kind", ["hub", "folder"])
def test_a_file_that_is_missing_is_named(here: Path, served: Hub, kind: str, name: str) -> None:
    (here / "step-6" / name).unlink()
    with pytest.raises(MissingError, match=rf"^{kind}:.*step-6: .*{name}"):
        prepared(revisions() if kind == "hub" else folders()).parameters(6, empty())


def test_a_branch_that_moved_since_is_an_error_and_its_commit_is_not(here: Path, served: Hub) -> None:
    teacher = prepared(revisions())
    fixed = prepared([f"hub:{REPO}@{commit}" for commit in teacher.contents])
    served.revisions["old"] = served.revisions["step-6"]
    served.revisions["step-6"] = served.revisions["step-3"]
    store = empty()
    before, now = teacher.contents[1], teacher.contents[0]
    message = rf"step-6: its content is {now}\. Expected {before}.* Name a commit instead of a branch"
    with pytest.raises(HubError, match=message):
        teacher.parameters(6, store)
    assert served.weights() == []  # noticed before anything large is fetched
    assert teacher.parameters(3, store)
    assert fixed.parameters(6, store)


@pytest.mark.parametrize("name", ["config.json", "vocab.txt", "model.safetensors"])
def test_a_folder_that_changed_since_is_an_error(here: Path, name: str) -> None:
    teacher = prepared()
    (here / "step-6" / "notes.txt").write_text("not read")
    assert teacher.parameters(6, empty())
    published._read_last.clear()
    with (here / "step-6" / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(HubError, match=r"step-6: its content is .*restore the files, or Published"):
        teacher.parameters(6, empty())


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "damaged": (
        {"damaged": "model.safetensors"},
        "came with the hash .* which the hub lists. It was damaged",
    ),
    "damaged, small": ({"damaged": "config.json"}, "'config.json' came with the hash"),
    "cut": ({"cut": "model.safetensors"}, "the hub did not give it"),
    "gone": ({"gone": "model.safetensors"}, "the hub did not give it.*model.safetensors"),
    "refused": ({"status": 403}, "the hub did not give it.*403"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_download_that_fails_says_so_and_goes_well_the_next_time(
    here: Path, served: Hub, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    changes, message = FAULTS[fault]
    teacher, store = prepared(revisions()), empty()
    monkeypatch.setenv("PDLIB_CACHE", str(here / "another"))
    Corpus.prepare("sample:english:40", "file:vocab.txt", LENGTH, 20)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in changes.items():
            patch.setattr(served, name, value)
        with pytest.raises(HubError, match=message):
            teacher.parameters(6, store)
    found, expected = teacher.parameters(6, store), prepared().parameters(6, store)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_a_network_that_cannot_be_reached_is_an_error_that_says_so(
    here: Path, served: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = prepared(revisions())
    served.shutdown()
    served.server_close()
    with pytest.raises(HubError, match=r"did not give it.*a network that reaches it.*folder:PATH"):
        teacher.parameters(3, empty())
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match=r"OfflineModeIsEnabled.*HF_HUB_OFFLINE"):
        prepared(revisions())


def test_a_run_that_cannot_have_its_teacher_names_it_and_the_others_finish(here: Path, served: Hub) -> None:
    spec = student(prepared(revisions()))
    served.status = 403
    store = empty()
    with pytest.raises(RuntimeError, match=r"1 of 2 runs failed.*\n.*HubError: hub:.*did not give it.*403"):
        execute([spec, run()], store, n_workers=1, progress=False)
    assert store.find(run().fingerprint) is not None


# ------------------------------------------------------------------ the vocabulary


def test_a_corpus_takes_the_vocabulary_of_a_checkpoint_and_is_another_if_that_changes(
    here: Path, served: Hub
) -> None:
    for uri in (revisions()[0], folders()[0]):
        assert load(uri).pieces == PIECES
        asked = task(tokenizer=uri)
        assert asked.source.wordpiece().pieces == PIECES
        assert prepared(folders(), asked).steps == STEPS
    rewrite(here / "step-3", (*PIECES, "the"))
    assert (asked.source.n_tokens, task(tokenizer="folder:step-3").source.n_tokens) == (59, 60)
    shutil.rmtree(here / "cache")
    with pytest.raises(SpecError, match=r"A text or the vocabulary has changed"):
        asked.source.sequences("train")


def rewrite(folder: Path, pieces: tuple[str, ...]) -> None:
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces))


def description(kind: str = "WordPiece", **numbers: int) -> str:
    vocabulary = {piece: i for i, piece in enumerate(PIECES)} | numbers
    if kind == "BPE":
        return Tokenizer(models.BPE(vocabulary, [])).to_str()
    found = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    found.add_special_tokens(list(MARKS))
    return found.to_str()


def test_a_tokenizers_description_is_as_good_as_a_vocabulary_and_neither_is_an_error(here: Path) -> None:
    for step in STEPS:
        (here / f"step-{step}" / "vocab.txt").unlink()
    with pytest.raises(MissingError, match=r"step-3 has no vocab\.txt and no tokenizer\.json"):
        prepared()
    for step in STEPS:
        (here / f"step-{step}" / "tokenizer.json").write_text(description())
    assert load("folder:step-3").pieces == PIECES
    assert prepared().steps == STEPS


# ------------------------------------------------------------------ networks


def config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("settings", "tokenizer", "message"),
    [
        ({"model_type": "gpt_neox"}, None, "model_type = 'gpt_neox': expected 'gpt2' or 'bert'"),
        ({"num_hidden_layers": 2}, None, "a network .*n_layers=2.*one network at several steps"),
        ({"type_vocab_size": 1}, None, "type_vocab_size = 1"),
        ({}, (*PIECES[:7], PIECES[9], PIECES[8], PIECES[7], *PIECES[10:]), "token 7 is 'e': expected 'c', as in .*:40"),
        ({}, PIECES[:-1], f"token {len(PIECES) - 1} is missing: expected '##z'.*tokenizer 'folder:step-6'"),
        ({}, (*PIECES, "the"), f"{len(PIECES) + 1} tokens, the last 'the': expected {len(PIECES)}, as"),
        ({}, description("BPE"), "a tokenizer of type 'BPE': expected 'WordPiece'"),
        ({}, description(the=900), "other numbers than 0"),
        ({}, "{}", "expected a tokenizer's description"),
        ({}, "[", "expected a tokenizer's description"),
    ],
)  # fmt: skip
def test_a_network_or_vocabulary_that_does_not_fit_is_an_error_that_names_it(
    here: Path, settings: dict[str, Any], tokenizer: Any, message: str
) -> None:
    config(here / "step-6", **settings)
    if isinstance(tokenizer, tuple):
        rewrite(here / "step-6", tokenizer)
    elif tokenizer:
        (here / "step-6" / "tokenizer.json").write_text(tokenizer)
    with pytest.raises(SpecError, match=f"^folder:step-6: .*{message}"):
        prepared()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_position_embeddings": 7}, f"sequences of {LENGTH} tokens: expected at most n_positions = 7"),
        (
            {"vocab_size": 64},
            f"a task of {len(PIECES)} tokens: expected .* vocabulary, 64",
        ),  # rows to fill up
    ],
)
def test_too_few_positions_or_other_classes_than_the_task_has_are_errors(
    here: Path, settings: dict[str, Any], message: str
) -> None:
    for step in STEPS:
        config(here / f"step-{step}", **settings)
    with pytest.raises(SpecError, match=message):
        prepared()


def test_weights_that_are_no_numbers_teach_nothing(here: Path) -> None:
    """An overflow in somebody's training: no label says class 0, and no result is stored; nor of half a file."""
    tensors = load_file(here / "step-6" / "model.safetensors")
    tensors["cls.predictions.transform.dense.bias"].fill_(float("nan"))
    save_file(tensors, here / "step-6" / "model.safetensors", metadata={"format": "pt"})
    spec, store = student(prepared(), OneShot()), empty()
    with pytest.raises(
        RuntimeError, match=r"folder:step-6: .*transform\.dense\.bias holds .* no finite numbers"
    ):
        table(spec, store)
    assert store.find(spec.fingerprint) is None

    path = here / "step-6" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DamagedError, match=r"^folder:step-6: .*SafetensorError"):
        prepared().parameters(6, store)


# ------------------------------------------------------------------ the record


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": (6, 3)}, r"steps = \(6, 3\): expected whole numbers of at least 1, rising"),
        ({"steps": (0, 3)}, "at least 1, rising"),
        ({"steps": (3,)}, r"steps = \(3,\): expected a tuple with an entry for each step"),
        ({"contents": ("0" * 32,)}, "contents = .*an entry for each step"),
        ({"contents": ("0" * 32, "main")}, "content 'main' of folder:step-6: expected 32 hexadecimal digits"),
        ({"repositories": ()}, r"repositories = \(\): expected a tuple of at least 1"),
        ({"repositories": (f"hub:{REPO}", "folder:x")}, "without a revision"),
        ({"task": SparseParity(8, 2)}, "as a teacher of SparseParity.*: expected a task on a Corpus"),
    ],
)
def test_a_record_that_cannot_mean_anything_is_an_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        replace(prepared(), **changes)


def test_a_student_of_another_task_a_missing_step_or_no_checkpoint_is_an_error(here: Path) -> None:
    teacher = prepared()
    with pytest.raises(SpecError, match=r"expected one of the student's task"):
        run(task=task(mask_rate=0.2), supervision=Distillation(teacher, OneShot()))
    with pytest.raises(SpecError, match=r"teacher checkpoints at \[4\]"):
        student(teacher, Explicit((4, -1), (2,)))
    with pytest.raises(SpecError, match=r"step 4: expected one of 3, 6"):
        teacher.parameters(4, empty())
    with pytest.raises(SpecError, match=r"repositories = \(\)"):
        PublishedCheckpoints.prepare(task(), (), ())


def test_the_work_of_a_student_counts_its_published_teacher() -> None:
    from pdlib.engine import _work

    alone, taught = run(seed=1), student(prepared())
    per_example = taught.model.multiply_adds(LENGTH, len(PIECES))
    assert _work(taught) - _work(alone) == pytest.approx(taught.n_steps * taught.batch_size * per_example)
