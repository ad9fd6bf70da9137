"""The bench of the page `wiki`: what is prepared and trained on both sides, and a row for every case."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pdlib.bench import pcfg, wiki
from pdlib.bench.sequences import spec_of
from pdlib.models.transformer import bert
from pdlib.tasks.masked import MaskedPrediction
from pdlib.text.corpus import Corpus
from pdlib.text.loading import documents
from pdlib.text.sample import english
from pdlib.text.wordpiece import train


def test_tokens_follow_zipfs_law_and_any_block_can_be_made_again() -> None:
    stream = wiki.ZipfTokens(50, 20).sentence_stream("here")
    tokens = stream.sentences(0, 5000).tokens
    assert tokens.min() == 0
    assert tokens.max() == 48  # never [MASK], the last one
    share = np.bincount(tokens.ravel(), minlength=49) / tokens.size
    expected = (1 / np.arange(1, 50)) / (1 / np.arange(1, 50)).sum()
    np.testing.assert_allclose(share, expected, atol=4 * np.sqrt(0.25 / tokens.size))
    assert (stream.sentences(70, 90).tokens == tokens[70:90]).all()


def test_both_sides_have_as_many_parameters() -> None:
    task = MaskedPrediction(wiki.ZipfTokens(300, 12), wiki.MASK_RATE)
    spec, initial = spec_of(task, bert(2, 2, 16, vocabulary=300, n_positions=12), 4)
    theirs = pcfg.network(spec)
    assert sum(p.numel() for p in theirs.parameters()) == sum(v.size for v in initial.values())


def test_the_text_is_of_the_size_asked_for_and_its_documents_come_again(tmp_path: Path) -> None:
    some = list(english(5))
    wiki.write_text(tmp_path / "text.txt", some, 20_000)
    assert (tmp_path / "text.txt").stat().st_size == 20_000
    found = list(documents(f"text:{tmp_path / 'text.txt'}"))
    assert found[:10] == some * 2


def test_what_is_timed_is_the_whole_preparation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = list(english(40))
    text, vocabulary, cache = tmp_path / "text.txt", tmp_path / "vocab.txt", tmp_path / "cache"
    vocabulary.write_text(train(some, 300).text, encoding="utf-8")
    wiki.write_text(text, some, 100_000)
    measured = wiki._prepared(text, vocabulary, cache)
    assert measured["seconds"] > 0
    assert 10 < measured["megabytes"] < 4000
    monkeypatch.setenv("PDLIB_CACHE", str(cache))
    prepared = set(cache.rglob("train.bin"))
    assert len(prepared) == 1
    Corpus.prepare(f"text:{text}", f"file:{vocabulary}", length=wiki.LENGTH)  # is there already
    assert set(cache.rglob("train.bin")) == prepared


def test_every_case_has_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiki, "SIZES", (("tiny", 1, 2, 4, 300, 8, 4, 1), ("small", 1, 1, 8, 300, 8, 4, 1)))
    monkeypatch.setattr(wiki, "BYTES", 100_000)
    monkeypatch.setattr(wiki, "DIFFERENT", 40)
    monkeypatch.setattr(wiki, "PIECES", 300)
    monkeypatch.setattr(wiki, "REPEATS", 1)
    monkeypatch.setattr(wiki, "THREADS", 1)
    rows = list(wiki.rows())
    assert [r["unit"] for r in rows] == ["s", "MB", "ms/step", "ms/step"]
    assert [r["peer"] is None for r in rows] == [False, True, False, False]
    assert len({r["case"] for r in rows}) == len(rows)
    for row in rows:  # how fast is the bench's business
        assert row["ours"] > 0
