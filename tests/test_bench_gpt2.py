"""The bench of the page `gpt2`: both sides train the same network on the same inputs, and every case has its row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from pdlib.bench import gpt2 as bench
from pdlib.bench.sequences import as_peer_takes_them
from pdlib.models.huggingface import save_pretrained
from pdlib.models.transformer import Transformer
from pdlib.specs import Training
from pdlib.tasks.grammar import grammar
from pdlib.tasks.next_token import NextToken

TINY = grammar("cfg3f", roots=(10, 11))


def tiny_spec() -> Training:
    spec, _ = bench._spec(NextToken(TINY, level=2), n_heads=2, batch_size=8)
    return spec


def test_both_sides_train_the_same_network_on_the_same_inputs(tmp_path: Path) -> None:
    spec = tiny_spec()
    model, task = spec.model, spec.task
    assert isinstance(model, Transformer)
    parameters = model.initial(task.n_inputs, task.n_classes, seed=1)
    save_pretrained(tmp_path, model, parameters)
    theirs = bench.network(spec)
    loaded = transformers.GPT2LMHeadModel.from_pretrained(tmp_path)
    theirs.load_state_dict(loaded.state_dict())  # the same names and shapes
    assert sum(p.numel() for p in theirs.parameters()) == sum(v.size for v in parameters.values())
    assert theirs.config._attn_implementation == "sdpa"

    inputs, classes = task.stream(0, "train").examples(0, 16)
    ours = model.logits(parameters, inputs)
    for size in (16, 4):
        batches = as_peer_takes_them(inputs, classes, size)
        assert len(batches) == 16 // size
        with torch.inference_mode():  # padding stands at the end: no mask is needed
            found = [theirs.eval()(input_ids=x).logits[y != -100] for x, _, y in batches]
        np.testing.assert_allclose(torch.cat(found).numpy(), ours, rtol=0, atol=1e-5)
        labels = torch.cat([y[y != -100] for _, _, y in batches])
        assert labels.tolist() == classes.tolist()


def test_the_network_that_never_ends_draws_full_samples_of_many_tokens() -> None:
    model, parameters = bench.endless(n_heads=2, length=30)
    n = model.vocabulary
    tokens, lengths, ended = model.generate(parameters, 20, beginning=n - 2, end=n - 1, max_length=30, seed=0)
    assert lengths.tolist() == [30] * 20
    assert not ended.any()
    assert np.bincount(tokens.ravel(), minlength=n - 1).min() > 50


def test_what_follows_is_listed_for_every_beginning_of_a_sentence() -> None:
    found = bench.followers(TINY)
    assert max(map(len, found)) == TINY.max_length
    block = TINY.sentence_stream("bench").sentences(0, 50)
    for row, length in zip(block.tokens, block.lengths, strict=True):
        assert all(tuple(row[:i]) in found for i in range(length + 1))
    for following in found.values():
        assert following.sum() == pytest.approx(1.0)


def test_every_case_has_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "SIZES", (("tiny", 2, 1, 1.5, 3.0),))
    monkeypatch.setattr(bench, "BATCH", 16)
    monkeypatch.setattr(bench, "SMALL_ROOTS", (13, 14))
    monkeypatch.setattr(bench, "ROOTS", (13, 14, 15))
    monkeypatch.setattr(bench, "ENUMERATED", (10, 11))
    monkeypatch.setattr(bench, "LENGTH", 20)
    monkeypatch.setattr(bench, "SAMPLES", 4)
    monkeypatch.setattr(bench, "THREADS", 1)
    rows = list(bench.rows())
    assert [r["unit"] for r in rows] == ["s", "", "ms/sample", "ms/step", "ms/step", "ms/step"]
    assert [r["peer"] is None for r in rows] == [True, True, False, False, False, False]
    assert len({r["case"] for r in rows}) == len(rows)
    for row in rows:  # how fast is the bench's business
        assert row["ours"] > 0
    assert rows[1]["ok"]
