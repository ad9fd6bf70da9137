"""The bench: both sides train the same network on the same inputs, and every case has its row."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from pdlib import bench, pages
from pdlib.bench import batch_one, networks
from pdlib.models.huggingface import save_pretrained
from pdlib.specs import Task
from pdlib.tasks.grammar import grammar
from pdlib.tasks.hierarchical import HierarchicalParity
from pdlib.tasks.masked import MaskedPrediction
from pdlib.tasks.next_token import NextToken
from pdlib.tasks.parity import SparseParity

TASKS: dict[str, Task] = {
    "bits": SparseParity(12, 3),
    "masked": MaskedPrediction(grammar("cfg3b", roots=(10, 11))),
    "next": NextToken(grammar("cfg3f", roots=(10, 11)), level=2),
    "words": MaskedPrediction(networks.ZipfTokens(50, 12), 0.15),
}


@pytest.mark.parametrize("name", TASKS)
def test_both_sides_train_the_same_network_on_the_same_inputs(name: str, tmp_path: Path) -> None:
    task, spec = TASKS[name], networks.spec_of(TASKS[name], 2, 8)
    parameters = spec.model.initial(task.n_inputs, task.n_classes, seed=1)
    save_pretrained(tmp_path, spec.model, parameters)  # type: ignore[arg-type]
    theirs = networks.network(spec)
    kind = transformers.GPT2LMHeadModel if spec.model.attends == "causal" else transformers.BertForMaskedLM  # type: ignore[attr-defined]
    theirs.load_state_dict(kind.from_pretrained(tmp_path).state_dict())  # the same names and shapes
    assert sum(p.numel() for p in theirs.parameters()) == sum(v.size for v in parameters.values())
    assert theirs.config._attn_implementation == "sdpa"  # type: ignore[union-attr]

    inputs, classes = task.stream(0, "train").examples(0, 16)
    ours = torch.from_numpy(spec.model.logits(parameters, inputs))
    for size in (16, 4):
        batches, done = networks.as_peer_takes_them(inputs, classes, size), 0
        assert len(batches) == 16 // size
        for batch in batches:
            n = int((batch[2] != -100).sum())
            assert batch[2][batch[2] != -100].tolist() == classes[done : done + n].tolist()
            expected = torch.nn.functional.cross_entropy(
                ours[done : done + n].double(), torch.from_numpy(classes[done : done + n].astype(np.int64))
            )
            with torch.inference_mode():
                found = float(networks.loss_of(theirs.eval(), batch))
            assert found == pytest.approx(float(expected), abs=1e-5)
            done += n


def test_the_classes_of_the_eager_loop_are_the_tasks() -> None:
    for task in (SparseParity(10, 4), HierarchicalParity(7, 1, 3)):
        bits, classes = task.stream(0, "train").examples(0, 200)
        assert batch_one.labels_in_torch(task, torch.from_numpy(bits)).tolist() == classes.tolist()


def test_tokens_follow_zipfs_law_and_any_block_can_be_made_again() -> None:
    stream = networks.ZipfTokens(50, 20).sentence_stream("here")
    tokens = stream.sentences(0, 5000).tokens
    assert (tokens.min(), tokens.max()) == (0, 49)
    share = np.bincount(tokens.ravel(), minlength=50) / tokens.size
    expected = (1 / np.arange(1, 51)) / (1 / np.arange(1, 51)).sum()
    np.testing.assert_allclose(share, expected, atol=4 * np.sqrt(0.25 / tokens.size))
    assert (stream.sentences(70, 90).tokens == tokens[70:90]).all()


def assert_rows(rows: list[dict[str, Any]], unit: str) -> None:
    """How fast is the bench's business; each case has a name of its own."""
    assert len({row["case"] for row in rows}) == len(rows)
    for row in rows:
        assert row["unit"] == unit
        assert row["ratio"] == pytest.approx(row["peer"] / row["ours"], rel=1e-3)
        assert row["ok"] == (row["ratio"] >= row["reach"])


def test_every_case_of_a_batch_of_one_has_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_one, "SIZES", ((8, 1, 8192, 64, 1.0), (4096, 1, 64, 64, 1.0)))
    monkeypatch.setattr(batch_one, "WIDE", 4096)
    monkeypatch.setattr(batch_one, "CACHED", ((32, 12, 256, 1.0),))
    rows = list(bench.rows("parity"))
    assert [row["case"].rpartition("against ")[2] for row in rows[:3]] == [
        "eager", "eager", "its two matrix products alone",
    ]  # fmt: skip
    assert_rows(rows, "us/step")
    assert len(rows) == 4
    assert_rows(list(bench.rows("hierarchical")), "us/step")


def test_every_case_of_networks_has_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)  # compiling takes half a minute
    monkeypatch.setattr(networks, "THREADS", 1)
    for task in TASKS.values():
        spec = networks.spec_of(task, 1, 4)
        rows = list(networks.against_eager("tiny", spec, 2, 0.0))
        assert len(rows) == 2
        assert len(list(networks.against_eager("tiny", spec, 2, 0.0, compiled=False))) == 1
        assert_rows([*rows, networks.cached_labels(networks.spec_of(task, 2, 4), spec, 2, 0.0)], "ms/step")


def test_every_page_that_judges_has_a_bench() -> None:
    assert set(bench.PAGES) - {"speed"} == set(pages.page_names()) - set(pages.GUIDES)
    for page, module in bench.PAGES.items():
        assert callable(getattr(import_module(f"pdlib.bench.{module}"), page))
