"""Prepared text: packed as a plain loop packs it, split by document, found again, checked, and drawn in random orders."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pdlib import Adam, Store, Training, execute
from pdlib.files import StoreError
from pdlib.models.transformer import bert
from pdlib.probes.ngrams import NgramDependence, Predictions
from pdlib.specs import SpecError
from pdlib.tasks import bits
from pdlib.tasks.grammar import grammar
from pdlib.tasks.masked import MaskedPrediction
from pdlib.text import corpus as module
from pdlib.text import loading
from pdlib.text.corpus import Corpus
from pdlib.text.facts import CorpusFacts, MaskedExample
from pdlib.text.references import TextReferences
from pdlib.text.wordpiece import MARKS

WORDS = [f"{a}{b}" for a in "abcdefghijklmnopqrst" for b in "aeiouy" + "bcdfgklmn"]  # 300
LENGTH, HELD_OUT = 8, 4
SPLITS: tuple[Any, ...] = ("train", "held_out")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own; and URIs are relative, since they are part of what decides random numbers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PDLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "corpora"


def documents(seed: int, n: int, words: list[str] = WORDS) -> list[str]:
    """Documents of one to four paragraphs."""
    rng = np.random.default_rng(seed)
    return [
        "\n".join(" ".join(rng.choice(words, rng.integers(3, 12))) + "." for _ in range(rng.integers(1, 5)))
        for _ in range(n)
    ]


PARTS = [documents(0, 41), documents(1, 23)]


def written(name: str, texts: list[str]) -> str:
    Path(f"{name}.txt").write_text("\n\n".join(texts) + "\n", "utf-8")
    return f"text:{name}.txt"


def vocabulary(*more: str) -> str:
    Path("vocab.txt").write_text("\n".join([*MARKS, *WORDS, ".", *more]) + "\n")
    return "file:vocab.txt"


@pytest.fixture
def small(cache: Path) -> Corpus:
    """Two parts, of 41 and 23 documents, and a vocabulary in a file."""
    texts = [written("one", PARTS[0]), written("two", PARTS[1])]
    return Corpus.prepare(texts, vocabulary(), LENGTH, HELD_OUT)


def again(corpus: Corpus) -> Corpus:
    return Corpus.prepare(corpus.texts, corpus.tokenizer, corpus.length, corpus.held_out)


# Packing


def test_documents_are_packed_and_counted_as_by_a_plain_loop(small: Corpus) -> None:
    wordpiece = small.wordpiece()
    expected: dict[str, list[list[int]]] = {"train": [], "held_out": []}
    for row, part in zip(CorpusFacts(small).rows(), PARTS, strict=True):
        rest: dict[str, list[int]] = {"train": [], "held_out": []}
        n = Counter[str]()
        for number, document in enumerate(part, 1):
            split = "held_out" if number % HELD_OUT == 0 else "train"
            n[split] += 1
            rest[split] += wordpiece.encode([document])[0].tolist()
        for split, name in (("train", ""), ("held_out", "held_out_")):
            tokens = rest[split]
            assert row[f"{name}documents"] == n[split]
            assert row[f"{name}tokens"] == len(tokens)
            assert row[f"{name}sequences"] == len(tokens) // (LENGTH - 1)
            while len(tokens) >= LENGTH - 1:
                expected[split].append([wordpiece.number("[CLS]"), *tokens[: LENGTH - 1]])
                del tokens[: LENGTH - 1]
        assert (row["unknown"], row["text"]) == (0, small.texts[row["part"]])
        assert (row["name"], row["licence"], row["attribution"]) == (
            row["text"][5:],
            "",
            "the user's own file",
        )
    for split in SPLITS:
        array = small.sequences(split)
        assert array.tolist() == expected[split]
        assert isinstance(array, np.memmap)
        assert (array.dtype, array.flags.writeable) == (np.uint16, False)
    assert small.n_tokens == len(wordpiece) == 306
    assert small.max_length == LENGTH


def test_text_is_encoded_some_at_a_time_which_changes_nothing_and_keeps_no_list_of_it(
    small: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHARACTERS_AT_ONCE", 100)
    monkeypatch.setenv("PDLIB_CACHE", "other")
    read = handed = most = 0
    original, write = loading.documents, module._Packer.write

    def counted(uri: str) -> Iterator[str]:
        nonlocal read, most
        for document in original(uri):
            read += len(document)
            most = max(most, read - handed)
            yield document

    def wrote(self: Any) -> None:
        nonlocal handed
        handed = read
        write(self)

    monkeypatch.setattr(loading, "documents", counted)
    monkeypatch.setattr(module._Packer, "write", wrote)
    assert again(small) == small
    assert read > 8 * most > 0


def test_a_trained_vocabulary_has_seen_no_held_out_text() -> None:
    texts = [f"жжж {d}" if n % HELD_OUT == 0 else f"ééé {d}" for n, d in enumerate(documents(0, 40), 1)]
    found = Corpus.prepare(written("one", texts), "trained:120", LENGTH, HELD_OUT)
    assert not any("ж" in piece for piece in found.wordpiece().pieces)
    assert "eee" in found.wordpiece().pieces
    assert CorpusFacts(found).rows()[0]["unknown"] == 10
    assert found.wordpiece().number("[UNK]") in found.sequences("held_out")


@pytest.mark.parametrize(
    ("texts", "tokenizer", "length", "held_out", "digest"),
    [
        (("sample:english:60",), "trained:300", 12, 10, "f8a5abd89f893a3ad675d31eabcc943c"),
        (("sample:english:400",), "trained:300", 16, 20, "26b846f7ae12cafa181386b1b28e3af1"),
    ],
)
def test_the_digests_of_the_sample_are_those_that_pages_use(
    texts: Any, tokenizer: str, length: int, held_out: int, digest: str
) -> None:
    assert Corpus.prepare(texts, tokenizer, length, held_out).digest == digest


# Streams


def test_an_epoch_has_each_sequence_once_and_the_next_another_order(small: Corpus) -> None:
    stream = small.sentence_stream("train 0")
    n = len(small.sequences("train"))
    rows = stream.rows(0, 3 * n).reshape(3, n)
    for epoch in rows:
        assert sorted(epoch.tolist()) == list(range(n))
    for one, other in pairwise([*rows, small.sentence_stream("train 1").rows(0, n), np.arange(n)]):
        assert np.count_nonzero(one == other) < 10  # 1 expected
    block = stream.sentences(n - 5, n + 5)
    assert np.array_equal(block.tokens, small.sequences("train")[stream.rows(n - 5, n + 5)])
    assert block.lengths.tolist() == [LENGTH] * 10
    first, second = (row["sequences"] for row in CorpusFacts(small).rows())
    assert first + second == n
    assert np.array_equal(stream.parts(0, 3 * n), rows.ravel() >= first)
    for start, stop in ((0, 0), (0, 1), (5, 9), (n - 1, n + 1), (n, n), (n, 2 * n), (n + 3, 3 * n)):
        part = small.sentence_stream("train 0").rows(start, stop)
        assert np.array_equal(part, rows.ravel()[start:stop])


def test_all_orders_are_equally_likely() -> None:
    counts = Counter(tuple(bits._order(f"{i:x}", 0, 4).tolist()) for i in range(4800))
    assert set(counts) == set(permutations(range(4)))
    assert sum((c - 200) ** 2 / 200 for c in counts.values()) < 50  # chi-squared of 23 degrees: 0.1 %


@pytest.mark.parametrize("purpose", ["evaluation", "probe"])
def test_held_out_sequences_are_drawn_once_and_asking_for_more_is_an_error(
    small: Corpus, purpose: Any
) -> None:
    stream, held_out = MaskedPrediction(small).stream(0, purpose), small.sequences("held_out")
    n = len(held_out)
    drawn = stream.originals(0, n).tokens
    assert sorted(drawn.tolist()) == sorted(held_out.tolist())
    assert not np.array_equal(drawn, held_out)
    with pytest.raises(SpecError, match=f"{n + 1} held-out sequences: expected at most {n}, which text:one"):
        stream.examples(0, n + 1)


# Found again, made again


def test_prepared_text_is_found_and_not_read_again(small: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(uri: str) -> Iterator[str]:
        raise AssertionError(uri)

    monkeypatch.setattr(loading, "documents", refused)
    assert again(small) == small
    assert again(small).fingerprint == small.fingerprint
    with pytest.raises(AssertionError):
        again(replace(small, length=LENGTH + 1))


def test_another_text_or_vocabulary_is_another_corpus_and_another_place_is_none(
    small: Corpus, cache: Path
) -> None:
    texts = [written("other", PARTS[0]), written("place", PARTS[1])]
    other = Corpus.prepare(texts, small.tokenizer, LENGTH, HELD_OUT)
    assert other.digest == small.digest
    assert other.fingerprint != small.fingerprint
    assert len(list(cache.glob("[0-9a-f]*"))) == 1
    written("two", documents(2, 23))
    changed = again(small).digest
    assert changed != small.digest
    written("two", PARTS[1])
    assert again(small).digest == small.digest
    vocabulary("more")
    assert again(small).digest not in (changed, small.digest)


def test_sequences_that_are_gone_are_made_again_or_are_an_error(
    small: Corpus, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = small.sequences("train").copy()
    for folder in (cache, cache / small.digest):
        folder.rename(f"gone-{folder.name}")
        assert np.array_equal(small.sequences("train"), before)
        assert (cache / small.digest).is_dir()
    monkeypatch.setenv("PDLIB_CACHE", "empty")
    written("two", documents(2, 23))
    with pytest.raises(SpecError, match=rf"two\.txt: .* now have the digest .*: expected {small.digest}"):
        small.sequences("train")


def test_what_is_known_of_a_text_is_made_again_if_it_is_damaged_or_anothers(
    small: Corpus, cache: Path
) -> None:
    (mine,) = (cache / "requests").iterdir()
    data = mine.read_bytes()
    other = Corpus.prepare("sample:english:60", "trained:300", 16, 20)
    (others,) = set((cache / "requests").iterdir()) - {mine}
    for wrong in (others.read_bytes(), b"\xff" + data, data[:20], data.replace(b" ", b" 1", 1), b""):
        mine.write_bytes(wrong)
        assert again(small) == small != other
    mine.write_bytes(data.rpartition(b" ")[0])  # as it was before it named what was asked for
    assert again(small) == small


@pytest.mark.parametrize("name", ["train.bin", "held_out.bin", "vocab.txt", "facts.json"])
@pytest.mark.parametrize("how", ["flipped", "cut", "gone", "same"])
def test_altered_files_are_an_error(small: Corpus, cache: Path, name: str, how: str) -> None:
    path = cache / small.digest / name
    data = bytearray(path.read_bytes())
    module._opened.cache_clear()
    if how == "gone":
        path.unlink()
    else:
        data[len(data) // 2] ^= how == "flipped"
        path.write_bytes(data[: len(data) // 2] if how == "cut" else data)
    if how == "same":  # the control
        assert len(small.sentence_stream("whole").rows(0, 5)) == 5
        return
    message = rf"{small.digest}: .*Delete this folder; it is made anew from .*one\.txt"
    with pytest.raises(SpecError, match=message):
        small.sentence_stream("damaged")


# Killed, together, on a full disk


def elsewhere(folder: str) -> None:
    """In a process of its own: the same texts, another cache."""
    os.chdir(Path(folder).parent)
    os.environ["PDLIB_CACHE"] = folder


def prepare_and_die(corpus: Corpus, folder: str, at: str) -> None:
    """Prepare, and be killed at some moment."""
    elsewhere(folder)
    module.CHARACTERS_AT_ONCE = 300
    count = 0
    write, write_bytes, digest = module._Packer.write, module.write_bytes, module._digest

    def die(moment: str) -> None:
        if moment == at:
            os.kill(os.getpid(), signal.SIGKILL)

    def wrote(self: Any) -> None:
        nonlocal count
        write(self)
        count += 1
        if count == 11:
            die("half of the sequences")

    def wrote_bytes(path: Path, data: bytes) -> None:
        write_bytes(path, data)
        die(path.parent.name)

    def digested(path: Path) -> str:
        found = digest(path)
        die("before the move")
        return found

    module._Packer.write, module.write_bytes, module._digest = wrote, wrote_bytes, digested  # type: ignore[method-assign]
    again(corpus)


@pytest.mark.parametrize("at", ["half of the sequences", "before the move", "requests"])
def test_a_preparation_that_was_killed_leaves_nothing_half_written(
    small: Corpus, tmp_path: Path, start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    other = tmp_path / "killed" / "corpora"
    process = start(prepare_and_die, small, str(other.parent), at)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    whole = at == "requests"
    assert [len(list(other.glob(p))) for p in ("[0-9a-f]*", ".preparing-*")] == [int(whole), int(not whole)]
    monkeypatch.setenv("PDLIB_CACHE", str(other.parent))
    assert again(small) == small
    assert len(small.sequences("train")) > 50
    assert not list(other.glob(".preparing-*"))


def prepare_beside_another(corpus: Corpus, folder: str, gate: Any) -> None:
    elsewhere(folder)
    original = module._prepare

    def prepared(corpus: Corpus, half: Path) -> tuple[str, str]:
        Path(folder, f"prepared-{os.getpid()}").touch()
        return original(corpus, half)

    module._prepare = prepared
    gate.wait()
    Path(folder, f"digest-{os.getpid()}").write_text(again(corpus).digest)


def test_two_processes_prepare_a_text_once(small: Corpus, tmp_path: Path, start: Callable[..., Any]) -> None:
    other = tmp_path / "together"
    other.mkdir()
    gate = multiprocessing.get_context("forkserver").Barrier(2)
    processes = [start(prepare_beside_another, small, str(other), gate) for _ in range(2)]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert [p.read_text() for p in other.glob("digest-*")] == [small.digest] * 2
    assert len(list(other.glob("prepared-*"))) == 1


def prepare_on_a_full_disk(corpus: Corpus, folder: str) -> None:
    elsewhere(folder)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
    try:
        again(corpus)
    except StoreError as error:
        Path(folder, "error").write_text(str(error))


def test_a_full_disk_is_told_and_leaves_nothing(
    small: Corpus, tmp_path: Path, start: Callable[..., Any]
) -> None:
    other = tmp_path / "full"
    process = start(prepare_on_a_full_disk, small, str(other))
    process.join(60)
    assert process.exitcode == 0
    told = (other / "error").read_text()
    assert "File too large. Nothing that was stored is lost. Free some space" in told
    assert not [p for p in (other / "corpora").rglob("*") if p.is_file() and p.suffix != ".lock"]


# The spec


def test_a_corpus_that_was_not_prepared_has_no_sequences(small: Corpus) -> None:
    named = Corpus(small.texts, small.tokenizer, LENGTH, HELD_OUT)
    for ask in (lambda: named.n_tokens, named.sequences, lambda: run(MaskedPrediction(named))):
        with pytest.raises(SpecError, match=r"no sequences were prepared: .*Corpus\.prepare\("):
            ask()
    with pytest.raises(SpecError, match=r"with a digest of 2 parts, 306 tokens and length 8"):
        replace(small, length=9).sequences("train")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts": ()}, r"texts = \(\): expected a tuple of at least 1, each text"),
        ({"texts": ("text:a", "text:a")}, "each text once"),
        ({"tokenizer": "trained:0"}, "tokenizer = 'trained:0': expected 'trained:SIZE', 'file:PATH'"),
        ({"tokenizer": "hub:someone/bert"}, "'hub:REPO@REVISION' or 'folder:PATH'"),
        ({"length": 1}, "length = 1: expected a whole number of at least 2"),
        ({"held_out": 1}, "held_out = 1"),
        ({"digest": "abc"}, "digest = 'abc'"),
        ({"vocabulary": 5}, "with vocabulary = 5: expected both as Corpus.prepare gives them"),
    ],
)
def test_what_cannot_be_a_corpus_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        replace(Corpus(("text:a",), "trained:300"), **changes)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (documents(0, 3), r"few\.txt: 0 tokens in 0 held-out documents: expected at least 7.*held_out = 4"),
        (["aa", "ab", "ac", "ad"], r"few\.txt: 3 tokens in 3 training documents: expected at least 7"),
    ],
)
def test_too_little_text_is_an_error(cache: Path, texts: list[str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Corpus.prepare(written("few", texts), vocabulary(), LENGTH, HELD_OUT)
    assert not [p for p in cache.rglob("*") if p.is_file() and p.suffix != ".lock"]


# As a task


def run(task: MaskedPrediction, **changes: Any) -> Training:
    model = bert(2, 2, 8, vocabulary=task.vocabulary, n_positions=LENGTH, initial_std=0.1)
    spec = Training(task, model, Adam(5e-3), n_steps=40, evaluate_every=20, batch_size=32, n_evaluation=20)
    return replace(spec, **changes)


def test_the_marks_of_a_vocabulary_are_special_and_its_mask_is_the_tasks(small: Corpus) -> None:
    task = MaskedPrediction(small, mask_rate=0.4)
    assert task.vocabulary == task.n_classes == 306
    assert (task.mask_token, small.special_tokens) == (4, (0, 2, 3, 4))
    inputs, classes = task.stream(0, "train").examples(0, 300)
    assert not inputs.at[:, 0].any()
    assert (inputs.tokens[:, 0] == 2).all()
    assert not np.isin(classes, small.special_tokens).any()
    assert not np.isin(inputs.tokens[:, 1:], [0, 2, 3]).any()
    assert classes.dtype == np.uint16


def test_the_example_is_what_the_stream_of_the_probes_shows(small: Corpus) -> None:
    task = MaskedPrediction(small, mask_rate=0.4)
    stream, words = task.stream(0, "probe"), small.wordpiece()
    seen = set()
    for i in range(8):
        rows = MaskedExample(task, i).rows()
        shown, classes = stream.examples(i, i + 1)
        assert [r["position"] for r in rows] == list(range(LENGTH))
        assert [r["selected"] for r in rows] == shown.at[0].tolist()
        assert [words.number(r["original"]) for r in rows if r["selected"]] == classes.tolist()
        assert [r["shown"] == "[mask]" for r in rows] == (shown.tokens[0] == task.mask_token).tolist()
        assert all(r["shown"] == r["original"] for r in rows if not r["selected"])
        assert rows[0]["original"] == "[CLS]"
        (text,) = {r["text"] for r in rows}
        assert text == small.texts[stream.source.parts(i, i + 1)[0]]
        seen.add(text)
    assert seen == set(small.texts)  # else the last comparison says little
    with pytest.raises(SpecError, match="expected a Corpus"):
        MaskedExample(MaskedPrediction(grammar("cfg3b", roots=(10,))))
    with pytest.raises(SpecError, match="expected a whole number of at least 0"):
        MaskedExample(task, -1)


def test_published_facts_need_no_text(small: Corpus, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [CorpusFacts(small), MaskedExample(MaskedPrediction(small))]
    execute(specs, store, progress=False)
    monkeypatch.setenv("PDLIB_CACHE", "nothing")
    assert [r.source for r in execute(specs, store, progress=False)] == ["local", "local"]
    assert not Path("nothing").exists()


def test_probes_ask_about_text_alone_whatever_is_predicted_at_a_time(
    small: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pdlib.probes import ngrams

    spec, probe = run(MaskedPrediction(small)), NgramDependence((3, 7), n_samples=20, n_positions=LENGTH)
    parameters = spec.model.initial(LENGTH, 306, 0)
    (block,) = probe.inputs(spec.task)
    assert (block.tokens[:, 0] == small.wordpiece().number("[CLS]")).all()
    assert len(block) == 20 * (LENGTH - 1) * 5  # each position but the first
    assert not block.at[:, 0].any()
    assert len(Predictions(0, 3).rows(spec, parameters)) == 306
    with pytest.raises(SpecError, match="position 0 of sentence 0, a special token"):
        Predictions(0, 0).rows(spec, parameters)
    whole = probe.rows(spec, parameters)
    monkeypatch.setattr(ngrams, "PREDICTED_AT_ONCE", 100 * 306)
    assert [len(b) for b in probe.inputs(spec.task)] == [100] * 7
    for one, other in zip(whole, probe.rows(spec, parameters), strict=True):
        assert one["median"] == pytest.approx(other["median"], rel=1e-4)
        assert one["n_pairs"] == other["n_pairs"]


def test_frequencies_are_those_of_the_training_text_and_where_training_starts(
    small: Corpus, store: Store
) -> None:
    task = MaskedPrediction(small)
    frequencies = task.frequencies()
    assert frequencies.sum() == pytest.approx(1.0)
    assert set(np.flatnonzero(frequencies == 0)) == set(small.special_tokens)
    counts = np.bincount(small.sequences()[:, 1:].ravel(), minlength=306)
    assert (counts == 0).sum() > len(small.special_tokens)  # words that the text lacks
    often = counts >= 5
    np.testing.assert_allclose(frequencies[often], counts[often] / counts.sum(), rtol=0.2)
    # Weights of nearly 0: the loss of the predictor that knows frequencies alone, which special tokens share
    model = replace(run(task).model, initial_std=1e-4, initial_bias="log_frequency")
    spec = run(task, model=model, n_steps=1, evaluate_every=1)
    (record,) = execute([spec], store, progress=False, n_workers=1)
    expected = TextReferences(task, n_evaluation=20).rows()[0]
    assert expected["predictor"] == "unigram"
    shared = np.log1p(len(small.special_tokens) * frequencies[frequencies > 0].min())
    assert record.table.loss_nats[0] == pytest.approx(expected["loss_nats"] + shared, abs=1e-4)
    assert expected["loss_nats"] < np.log(306) - 0.05  # what a bias of 0 would give
