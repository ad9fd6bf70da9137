"""What a page shows of a corpus, as tables: two routes to the same facts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pdlib import Store, execute
from pdlib.specs import SpecError
from pdlib.tasks.grammar import grammar
from pdlib.tasks.masked import MaskedPrediction
from pdlib.text.corpus import Corpus
from pdlib.text.facts import CorpusFacts, MaskedExample


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Corpus]:
    monkeypatch.setenv("PDLIB_CACHE", str(tmp_path))
    return Corpus.prepare(("sample:english:60", "sample:english:80"), "trained:300", 16, 20)


def test_the_facts_are_those_of_the_corpus_with_the_licence_of_each_text(corpus: Corpus) -> None:
    rows = CorpusFacts(corpus).rows()
    assert [{key: row[key] for key in fact} for row, fact in zip(rows, corpus.facts(), strict=True)] == (
        corpus.facts()
    )
    assert [row["name"] for row in rows] == ["60 sample documents", "80 sample documents"]
    assert all(row["licence"] and row["attribution"] for row in rows)


def test_the_example_is_what_the_stream_of_the_probes_shows(corpus: Corpus) -> None:
    task = MaskedPrediction(corpus, mask_rate=0.4)
    stream, words = task.stream(0, "probe"), corpus.wordpiece()
    seen = set()
    for i in range(8):
        rows = MaskedExample(task, i).rows()
        shown, classes = stream.examples(i, i + 1)
        assert [r["position"] for r in rows] == list(range(16))
        assert [r["selected"] for r in rows] == shown.at[0].tolist()
        assert [words.number(r["original"]) for r in rows if r["selected"]] == classes.tolist()
        masked = np.array([r["shown"] == "[mask]" for r in rows])
        assert (masked == (shown.tokens[0] == task.mask_token)).all()
        assert all(r["shown"] == r["original"] for r in rows if not r["selected"])
        assert rows[0]["original"] == "[CLS]"
        seen |= {r["text"] for r in rows}
    assert seen == set(corpus.texts)  # else the next line says nothing
    assert len({r["text"] for r in rows}) == 1


def test_published_facts_need_no_text(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = [CorpusFacts(corpus), MaskedExample(MaskedPrediction(corpus))]
    store = Store(tmp_path / "store", published=None)
    execute(specs, store, progress=False)
    monkeypatch.setenv("PDLIB_CACHE", str(tmp_path / "nothing"))
    assert [r.source for r in execute(specs, store, progress=False)] == ["local", "local"]
    assert not (tmp_path / "nothing").exists()


def test_a_task_on_anything_but_a_corpus_is_refused() -> None:
    with pytest.raises(SpecError, match="expected a Corpus"):
        MaskedExample(MaskedPrediction(grammar("cfg3b", roots=(10,))))
    with pytest.raises(SpecError, match="expected a whole number of at least 0"):
        MaskedExample(MaskedPrediction(Corpus(("sample:english:60",), "trained:300")), -1)
