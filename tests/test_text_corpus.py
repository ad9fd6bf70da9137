"""Prepared text: packed as a plain loop packs it, split by document, found again, checked, and drawn in random orders."""

from __future__ import annotations

import json
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
from numpy.typing import NDArray

from pdlib import Adam, Distillation, Measurement, Store, Training, execute, files, labels
from pdlib.files import StoreError
from pdlib.models.transformer import bert
from pdlib.probes.ngrams import NgramDependence, Predictions
from pdlib.probes.parts import PartAccuracy
from pdlib.schedules import Explicit
from pdlib.specs import EVALUATION_SEED, Spec, SpecError
from pdlib.tasks.masked import MaskedPrediction
from pdlib.text import corpus as module
from pdlib.text import loading
from pdlib.text.corpus import Corpus, CorpusError
from pdlib.text.references import TextReferences
from pdlib.text.wordpiece import MARKS

WORDS = [f"{a}{b}" for a in "abcdefghijklmnopqrst" for b in "aeiouy" + "bcdfgklmn"]  # 300
LENGTH, HELD_OUT = 8, 4


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own; and URIs are relative, since they are part of what decides random numbers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PDLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def documents(seed: int, n: int, words: list[str] = WORDS) -> list[str]:
    """Documents of one to four paragraphs."""
    rng = np.random.default_rng(seed)
    return [
        "\n".join(" ".join(rng.choice(words, rng.integers(3, 12))) + "." for _ in range(rng.integers(1, 5)))
        for _ in range(n)
    ]


def written(folder: Path, name: str, texts: list[str]) -> str:
    path = folder / f"{name}.txt"
    path.write_text("\n\n".join(texts) + "\n", "utf-8")
    return f"text:{path.relative_to(Path.cwd())}"


def vocabulary(folder: Path, *more: str) -> str:
    path = folder / "vocab.txt"
    path.write_text("\n".join([*MARKS, *WORDS, ".", *more]) + "\n")
    return f"file:{path.relative_to(Path.cwd())}"


@pytest.fixture
def small(tmp_path: Path) -> Corpus:
    """Two parts, of 41 and 23 documents, and a vocabulary in a file."""
    texts = [written(tmp_path, "one", documents(0, 41)), written(tmp_path, "two", documents(1, 23))]
    return Corpus.prepare(texts, vocabulary(tmp_path), LENGTH, HELD_OUT)


def plainly_packed(texts: list[list[str]], encode: Callable[[str], list[int]], first: int) -> dict[str, Any]:
    """The sequences, by hand."""
    found: dict[str, Any] = {"train": [], "held_out": []}
    for part in texts:
        rest: dict[str, list[int]] = {"train": [], "held_out": []}
        for number, document in enumerate(part, 1):
            rest["held_out" if number % HELD_OUT == 0 else "train"] += encode(document)
        for split, tokens in rest.items():
            while len(tokens) >= LENGTH - 1:
                found[split].append([first, *tokens[: LENGTH - 1]])
                del tokens[: LENGTH - 1]
    return found


# Packing


def test_documents_are_packed_one_after_another_and_every_fourth_is_held_out(small: Corpus) -> None:
    wordpiece = small.wordpiece()
    expected = plainly_packed(
        [documents(0, 41), documents(1, 23)],
        lambda text: wordpiece.encode([text])[0].tolist(),
        wordpiece.number("[CLS]"),
    )
    for split in ("train", "held_out"):
        array = small.sequences(split)  # type: ignore[arg-type]
        assert array.tolist() == expected[split]
        assert isinstance(array, np.memmap)
        assert array.dtype == np.uint16
        assert not array.flags.writeable
    assert small.n_tokens == len(wordpiece) == 306
    assert small.max_length == LENGTH


def test_how_much_is_encoded_at_a_time_changes_nothing(
    small: Corpus, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setenv("PDLIB_CACHE", f"{cache}-other")
    monkeypatch.setattr(module, "CHARACTERS_AT_ONCE", 100)
    monkeypatch.setattr(module, "PIECE", 10)
    assert Corpus.prepare(small.texts, small.tokenizer, LENGTH, HELD_OUT) == small


def test_no_list_of_documents_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read is written before much more is read."""
    monkeypatch.setattr(module, "CHARACTERS_AT_ONCE", 500)
    read = handed = most = 0
    original, add = loading.documents, module._Packer.add

    def counted(uri: str) -> Iterator[str]:
        nonlocal read, most
        for document in original(uri):
            read += len(document)
            most = max(most, read - handed)
            yield document

    def added(self: Any, tokens: NDArray[Any]) -> None:
        nonlocal handed
        handed = read
        add(self, tokens)

    monkeypatch.setattr(loading, "documents", counted)
    monkeypatch.setattr(module._Packer, "add", added)
    texts = documents(0, 200)
    Corpus.prepare(written(tmp_path, "one", texts), vocabulary(tmp_path), LENGTH, HELD_OUT)
    assert most < 500 + 2 * max(map(len, texts))
    assert read > 10 * most


def test_no_sequence_holds_text_of_two_parts_or_of_both_sides_of_the_hold_out(tmp_path: Path) -> None:
    texts = [documents(0, 40, WORDS[:150]), documents(1, 40, WORDS[150:])]
    for i, part in enumerate(texts):  # a document held out says so
        texts[i] = [f"held out {d}" if n % HELD_OUT == 0 else d for n, d in enumerate(part, 1)]
    uris = [written(tmp_path, str(i), part) for i, part in enumerate(texts)]
    found = Corpus.prepare(uris, vocabulary(tmp_path, "held", "out"), LENGTH, HELD_OUT)
    wordpiece = found.wordpiece()
    number = {word: wordpiece.number(word) for word in [*WORDS, "held"]}
    own = [{number[w] for w in WORDS[:150]}, {number[w] for w in WORDS[150:]}]
    assert number["held"] not in found.sequences("train")
    assert number["held"] in found.sequences("held_out")
    stream = found.sentence_stream("parts")
    block, parts = stream.sentences(0, 500), stream.parts(0, 500)
    assert set(parts.tolist()) == {0, 1}
    for tokens, part in zip(block.tokens.tolist(), parts, strict=True):
        assert set(tokens) & own[part]
        assert not set(tokens) & own[1 - part]


def test_a_trained_vocabulary_has_seen_no_held_out_text(tmp_path: Path) -> None:
    texts = [f"жжж {d}" if n % HELD_OUT == 0 else f"ééé {d}" for n, d in enumerate(documents(0, 40), 1)]
    found = Corpus.prepare(written(tmp_path, "one", texts), "trained:120", LENGTH, HELD_OUT)
    assert not any("ж" in piece for piece in found.wordpiece().pieces)
    assert "eee" in found.wordpiece().pieces
    assert found.facts()[0]["unknown"] == 10
    assert found.wordpiece().number("[UNK]") in found.sequences("held_out")


def test_the_facts_are_those_of_a_count(small: Corpus) -> None:
    wordpiece = small.wordpiece()
    for row, texts in zip(small.facts(), ([documents(0, 41), documents(1, 23)]), strict=True):
        counts = {"": 0, "held_out_": 0}
        n = {"": 0, "held_out_": 0}
        for number, document in enumerate(texts, 1):
            name = "held_out_" if number % HELD_OUT == 0 else ""
            counts[name] += len(wordpiece.encode([document])[0])
            n[name] += 1
        for name in counts:
            assert row[f"{name}documents"] == n[name]
            assert row[f"{name}tokens"] == counts[name]
            assert row[f"{name}sequences"] == counts[name] // (LENGTH - 1)
        assert row["unknown"] == 0
        assert row["text"] == small.texts[row["part"]]
    n_train = len(small.sequences("train"))
    assert sum(row["sequences"] for row in small.facts()) == n_train


def test_a_users_own_quotation_marks_are_text_and_half_characters_are_none(tmp_path: Path) -> None:
    pieces = [*MARKS, "x", "=", '"', ";"]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n")
    uri = written(tmp_path, "code", ['x = "" ;'] * 60)
    (part,) = Corpus.prepare(uri, "file:vocab.txt", 6, 10).facts()
    assert part["tokens"] + part["held_out_tokens"] == 60 * 5
    (tmp_path / "half.jsonl").write_text('{"text": "x = \\ud800 x ;"}\n' * 60)
    (part,) = Corpus.prepare("jsonl:half.jsonl#text", "file:vocab.txt", 5, 10).facts()
    assert part["tokens"] + part["held_out_tokens"] == 60 * 4


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


def test_any_block_of_a_stream_can_be_made_again(small: Corpus) -> None:
    n = len(small.sequences("train"))
    whole = small.sentence_stream("again").rows(0, 3 * n)
    for start, stop in ((0, 0), (0, 1), (5, 9), (n - 1, n + 1), (n, n), (n, 2 * n), (n + 3, 3 * n)):
        assert np.array_equal(small.sentence_stream("again").rows(start, stop), whole[start:stop])


def test_all_orders_are_equally_likely() -> None:
    counts = Counter(tuple(module._order(f"{i:x}", 0, 4).tolist()) for i in range(4800))
    assert set(counts) == set(permutations(range(4)))
    assert sum((c - 200) ** 2 / 200 for c in counts.values()) < 50  # chi-squared of 23 degrees: 0.1 %


def test_a_long_order_is_drawn_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = module._order("00ff", 0, 1000).copy()
    module._order.cache_clear()
    monkeypatch.setattr(module, "WORDS_AT_ONCE", 7)
    assert np.array_equal(module._order("00ff", 0, 1000), whole)
    assert not np.array_equal(module._order("00fe", 0, 1000), whole)


@pytest.mark.parametrize("purpose", ["evaluation", "probe"])
def test_held_out_sequences_are_drawn_once_and_asking_for_more_is_an_error(
    small: Corpus, purpose: Any
) -> None:
    stream = MaskedPrediction(small).stream(0, purpose)
    held_out = small.sequences("held_out")
    drawn = stream.originals(0, len(held_out)).tokens
    assert sorted(drawn.tolist()) == sorted(held_out.tolist())
    assert not np.array_equal(drawn, held_out)
    n = len(held_out)
    with pytest.raises(
        SpecError, match=f"{n + 1} held-out sequences: expected at most {n}, which .*one.txt, text"
    ):
        stream.examples(0, n + 1)


# Found again, made again


def test_prepared_text_is_found_and_not_read_again(small: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(uri: str) -> Iterator[str]:
        raise AssertionError(uri)

    monkeypatch.setattr(loading, "documents", refused)
    again = Corpus.prepare(list(small.texts), small.tokenizer, LENGTH, HELD_OUT)
    assert again == small
    assert again.fingerprint == small.fingerprint
    with pytest.raises(AssertionError):
        Corpus.prepare(small.texts, small.tokenizer, LENGTH + 1, HELD_OUT)


def test_another_text_or_vocabulary_is_another_corpus(small: Corpus, tmp_path: Path) -> None:
    def digest() -> str:
        return Corpus.prepare(small.texts, small.tokenizer, LENGTH, HELD_OUT).digest

    written(tmp_path, "two", documents(2, 23))
    changed = digest()
    assert changed != small.digest
    written(tmp_path, "two", documents(1, 23))
    assert digest() == small.digest
    vocabulary(tmp_path, "more")
    assert digest() not in (changed, small.digest)


def test_the_same_text_in_another_place_has_the_same_digest(small: Corpus, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    texts = [written(tmp_path / "other", "a", documents(0, 41)), written(tmp_path, "b", documents(1, 23))]
    other = Corpus.prepare(texts, small.tokenizer, LENGTH, HELD_OUT)
    assert other.digest == small.digest
    assert other.fingerprint != small.fingerprint
    assert len(list(files.cache("corpora").glob("[0-9a-f]*"))) == 1


def test_sequences_that_are_gone_are_made_again(small: Corpus, tmp_path: Path, cache: Path) -> None:
    before = small.sequences("train").copy()
    for folder in (files.cache("corpora"), files.cache("corpora") / small.digest):
        folder.rename(tmp_path / f"gone-{folder.name}")
        assert np.array_equal(small.sequences("train"), before)
        assert (files.cache("corpora") / small.digest).is_dir()


def test_sequences_that_cannot_be_made_again_are_an_error(
    small: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PDLIB_CACHE", str(tmp_path / "empty"))
    written(tmp_path, "two", documents(2, 23))
    with pytest.raises(CorpusError, match=rf"two\.txt: .* now have the digest .*: expected {small.digest}"):
        small.sequences("train")


@pytest.mark.parametrize("name", ["train.bin", "held_out.bin", "vocab.txt", "facts.json"])
@pytest.mark.parametrize("how", ["flipped", "cut", "gone"])
def test_altered_files_are_an_error(small: Corpus, name: str, how: str) -> None:
    path = files.cache("corpora") / small.digest / name
    data = bytearray(path.read_bytes())
    if how == "gone":
        path.unlink()
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes(data if how == "flipped" else data[: len(data) // 2])
    with pytest.raises(
        CorpusError, match=rf"{small.digest}: .*Delete this folder; it is made anew from .*one\.txt"
    ):
        small.sentence_stream("damaged")


def test_unaltered_files_are_none(small: Corpus) -> None:
    path = files.cache("corpora") / small.digest / "train.bin"
    path.write_bytes(path.read_bytes())
    assert len(small.sentence_stream("whole").rows(0, 5)) == 5


# Killed, together, on a full disk


def prepare_and_die(texts: tuple[str, ...], tokenizer: str, folder: str, at: str) -> None:
    """Prepare, and be killed at some moment."""
    os.chdir(Path(folder).parent)
    os.environ["PDLIB_CACHE"] = folder
    module.CHARACTERS_AT_ONCE = 300
    count = 0
    add, write, digest = module._Packer.add, module.write_bytes, module._digest

    def die(moment: str) -> None:
        if moment == at:
            os.kill(os.getpid(), signal.SIGKILL)

    def added(self: Any, tokens: NDArray[Any]) -> None:
        nonlocal count
        add(self, tokens)
        count += 1
        self._file.flush()
        if count == 11:
            die("half of the sequences")

    def wrote(path: Path, data: bytes) -> None:
        write(path, data)
        die(path.parent.name)

    def digested(path: Path) -> str:
        found = digest(path)
        die("before the move")
        return found

    module._Packer.add, module.write_bytes, module._digest = added, wrote, digested  # type: ignore[method-assign]
    Corpus.prepare(texts, tokenizer, LENGTH, HELD_OUT)


@pytest.mark.parametrize("at", ["half of the sequences", "before the move", "requests"])
def test_a_preparation_that_was_killed_leaves_nothing_half_written(
    small: Corpus, tmp_path: Path, start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    other = tmp_path / "killed"
    process = start(prepare_and_die, small.texts, small.tokenizer, str(other), at)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert at == "requests" or not list((other / "corpora").glob("[0-9a-f]*"))
    assert at == "requests" or len(list((other / "corpora").glob(".preparing-*"))) == 1
    monkeypatch.setenv("PDLIB_CACHE", str(other))
    again = Corpus.prepare(small.texts, small.tokenizer, LENGTH, HELD_OUT)
    assert again == small
    assert len(again.sequences("train")) > 50
    assert not list((other / "corpora").glob(".preparing-*"))


def prepare_beside_another(texts: tuple[str, ...], tokenizer: str, folder: str, gate: Any) -> None:
    os.chdir(Path(folder).parent)
    os.environ["PDLIB_CACHE"] = folder
    original = module._prepare

    def prepared(corpus: Corpus, request: str) -> dict[str, Any]:
        Path(folder, f"prepared-{os.getpid()}").touch()
        return original(corpus, request)

    module._prepare = prepared
    gate.wait()
    found = Corpus.prepare(texts, tokenizer, LENGTH, HELD_OUT)
    Path(folder, f"digest-{os.getpid()}").write_text(found.digest)


def test_two_processes_prepare_a_text_once(
    small: Corpus, tmp_path: Path, start: Callable[..., Any], store: Store
) -> None:
    import multiprocessing

    other = tmp_path / "together"
    other.mkdir()
    gate = multiprocessing.get_context("forkserver").Barrier(2)
    processes = [
        start(prepare_beside_another, small.texts, small.tokenizer, str(other), gate) for _ in range(2)
    ]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert [p.read_text() for p in other.glob("digest-*")] == [small.digest] * 2
    assert len(list(other.glob("prepared-*"))) == 1


def prepare_on_a_full_disk(texts: tuple[str, ...], tokenizer: str, folder: str) -> None:
    os.chdir(Path(folder).parent)
    os.environ["PDLIB_CACHE"] = folder
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
    try:
        Corpus.prepare(texts, tokenizer, LENGTH, HELD_OUT)
    except StoreError as error:
        Path(folder, "error").write_text(str(error))


def test_a_full_disk_is_told_and_leaves_nothing(
    small: Corpus, tmp_path: Path, start: Callable[..., Any]
) -> None:
    other = tmp_path / "full"
    process = start(prepare_on_a_full_disk, small.texts, small.tokenizer, str(other))
    process.join(60)
    assert process.exitcode == 0
    told = (other / "error").read_text()
    assert "File too large. Nothing that was stored is lost. Free some space" in told
    assert not [p for p in (other / "corpora").rglob("*") if p.is_file() and p.suffix != ".lock"]


# The spec


def test_a_corpus_comes_back_from_its_canonical_form_without_any_text(
    small: Corpus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spec = run(MaskedPrediction(small))
    monkeypatch.setenv("PDLIB_CACHE", str(tmp_path / "empty"))
    for name in ("one", "two", "vocab"):
        (tmp_path / f"{name}.txt").unlink()
    again = Spec.from_canonical(json.loads(json.dumps(spec.canonical())))
    assert again == spec
    assert again.fingerprint == spec.fingerprint
    assert replace(small, length=9).fingerprint != small.fingerprint


def test_a_corpus_that_was_not_prepared_has_no_sequences(small: Corpus) -> None:
    named = Corpus(small.texts, small.tokenizer, LENGTH, HELD_OUT)
    for ask in (
        lambda: named.n_tokens,
        lambda: named.sequences("train"),
        lambda: run(MaskedPrediction(named)),
    ):
        with pytest.raises(SpecError, match=r"no sequences were prepared: .*Corpus\.prepare\("):
            ask()
    with pytest.raises(SpecError, match=r"with a digest of 2 parts, 306 tokens and length 8"):
        replace(small, length=9).sequences("train")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts": ()}, r"texts = \(\): expected a tuple of at least one URI"),
        ({"texts": ("text:a", "text:a")}, "each text once"),
        ({"tokenizer": "trained:0"}, "tokenizer = 'trained:0': expected 'bert-base-uncased'"),
        ({"tokenizer": "bert"}, "tokenizer = 'bert'"),
        ({"length": 1}, "length = 1: expected a whole number of at least 2"),
        ({"held_out": 1}, "held_out = 1"),
        ({"digest": "abc"}, "digest = 'abc'"),
        ({"vocabulary": 5}, "with vocabulary = 5: expected both as Corpus.prepare gives them"),
    ],
)
def test_what_cannot_be_a_corpus_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        replace(Corpus(("text:a",), "trained:300"), **changes)


def test_too_little_text_is_an_error(tmp_path: Path, cache: Path) -> None:
    tokenizer = vocabulary(tmp_path)
    few = written(tmp_path, "few", documents(0, 3))
    with pytest.raises(SpecError, match=r"few\.txt: 3 documents: expected at least held_out = 4"):
        Corpus.prepare(few, tokenizer, LENGTH, HELD_OUT)
    short = written(tmp_path, "short", ["aa", "ab", "ac", "ad"])
    with pytest.raises(
        SpecError, match=r"short\.txt: 3 tokens in its training documents: expected at least 7"
    ):
        Corpus.prepare(short, tokenizer, LENGTH, HELD_OUT)
    assert not [p for p in cache.rglob("*") if p.is_file() and p.suffix != ".lock"]


# As a task


def run(task: MaskedPrediction, **changes: Any) -> Training:
    model = bert(2, 2, 8, vocabulary=task.vocabulary, n_positions=LENGTH, initial_std=0.1)
    spec = Training(task, model, Adam(5e-3), n_steps=40, evaluate_every=20, batch_size=32, n_evaluation=20)
    return replace(spec, **changes)


def test_first_tokens_are_never_asked_for_and_masks_are_of_the_vocabulary(small: Corpus) -> None:
    task = MaskedPrediction(small, mask_rate=0.4)
    assert task.vocabulary == task.n_classes == 306
    inputs, classes = task.stream(0, "train").examples(0, 300)
    assert not inputs.at[:, 0].any()
    assert (inputs.tokens[:, 0] == small.wordpiece().number("[CLS]")).all()
    assert 0.35 < inputs.at[:, 1:].mean() < 0.45
    masked = inputs.tokens == task.mask_token
    assert (inputs.at | ~masked).all()
    assert 0.75 < masked[inputs.at].mean() < 0.85
    special = list(small.special_tokens)
    assert sorted(special) == [0, 2, 3, 4]
    assert not np.isin(classes, special).any()
    assert not np.isin(inputs.tokens[:, 1:], [0, 2, 3]).any()
    assert set(range(306)) - set(task.ordinary_tokens.tolist()) == set(special)
    assert classes.dtype == np.uint16


def test_probes_ask_about_text_alone_and_take_nothing_else_away(small: Corpus) -> None:
    task = MaskedPrediction(small)
    probe = NgramDependence((3, 7), n_samples=20, n_positions=LENGTH)
    (block,) = probe.inputs(task)
    assert (block.tokens[:, 0] == small.wordpiece().number("[CLS]")).all()
    assert len(block) == 20 * (LENGTH - 1) * 5  # each position but the first
    assert not block.at[:, 0].any()
    spec = run(task)
    parameters = spec.model.initial(LENGTH, task.n_classes, 0)
    assert len(Predictions(0, 3).rows(spec, parameters)) == 306
    with pytest.raises(SpecError, match="position 0 of sentence 0, a special token"):
        Predictions(0, 0).rows(spec, parameters)


def test_predictions_of_many_classes_are_made_some_at_a_time(
    small: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pdlib.probes import ngrams

    spec, probe = run(MaskedPrediction(small)), NgramDependence((3,), n_samples=30)
    parameters = spec.model.initial(LENGTH, 306, 0)
    (block,) = probe.inputs(spec.task)
    whole = probe.rows(spec, parameters)
    monkeypatch.setattr(ngrams, "PREDICTED_AT_ONCE", 3 * 306 * 4)
    assert [len(b) for b in probe.inputs(spec.task)] == [12] * 7 + [6]
    for one, other in zip(whole, probe.rows(spec, parameters), strict=True):
        assert one["median"] == pytest.approx(other["median"], rel=1e-4)
        assert one["n_pairs"] == other["n_pairs"] == 30
    assert len(block) == 90


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


def test_a_student_learns_from_text_by_labels_of_two_bytes(store: Store) -> None:
    """From text to a table, all of it: teacher, labels, student, probes."""
    corpus = Corpus.prepare("sample:english", "trained:320", length=16, held_out=10)
    task = MaskedPrediction(corpus, mask_rate=0.15)
    assert task.n_classes > 256

    def training(n_heads: int, **changes: Any) -> Training:
        model = bert(1, n_heads, 8, vocabulary=task.vocabulary, n_positions=16, initial_std=0.1)
        spec = Training(
            task, model, Adam(1e-2), n_steps=60, evaluate_every=30, batch_size=64, n_evaluation=100
        )
        return replace(spec, **changes)

    teacher = training(4, checkpoint_every=30)
    student = training(
        2, supervision=Distillation(teacher, Explicit((30, -1), (30,)), targets="hard"), seed=1
    )
    probes = [NgramDependence((3,), n_samples=50), PartAccuracy(100)]
    measured = [Measurement(teacher, probe, (30, 60)) for probe in probes]
    records = execute([teacher, student, *measured], store, progress=False, n_workers=1)
    for record in records[:2]:
        assert record.table.accuracy.iloc[-1] > record.table.accuracy.iloc[0] + 0.05
        assert record.table.loss_nats.iloc[0] > 5
    assert (records[2].table["median"] > 0).all()
    last = records[3].table[records[3].table.step == 60].iloc[0]
    assert last.accuracy == pytest.approx(records[0].table.accuracy.iloc[-1])
    # The labels are the teacher's argmax, two bytes each
    stream = task.stream(1, "train")
    for start, stop, step in ((0, 1920, 30), (1920, 3840, 60)):
        inputs, classes = stream.examples(start, stop)
        block = next(b for b in labels.blocks_of(student) if b.start == start)
        targets = labels.Targets(student, store)
        assert store.has_labels(targets.key(block))
        found = targets.block(block)
        assert found.dtype == np.uint16
        values = teacher.model.logits(store.load_checkpoint(teacher, step), inputs)
        assert np.array_equal(found ^ classes.astype(np.uint16), values.argmax(axis=1))
    held_out, _ = task.stream(EVALUATION_SEED, "evaluation").examples(0, 100)
    assert len(held_out) == 100
