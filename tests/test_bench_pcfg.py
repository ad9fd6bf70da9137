"""The bench of the page `pcfg`: both sides train the same network on the same inputs, and every case has its row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from pdlib.bench import pcfg
from pdlib.bench.sequences import as_peer_takes_them
from pdlib.models.huggingface import save_pretrained
from pdlib.specs import Training
from pdlib.tasks.grammar import grammar
from pdlib.tasks.masked import MaskedPrediction


def tiny_spec() -> Training:
    spec, _ = pcfg._spec(MaskedPrediction(grammar("cfg3b", roots=(10, 11))), n_heads=2, batch_size=8)
    return spec


def test_both_sides_train_the_same_network_on_the_same_inputs(tmp_path: Path) -> None:
    spec = tiny_spec()
    model, task = spec.model, spec.task
    parameters = model.initial(task.n_inputs, task.n_classes, seed=1)
    save_pretrained(tmp_path, model, parameters)  # type: ignore[arg-type]
    theirs = pcfg.network(spec)
    loaded = transformers.BertForMaskedLM.from_pretrained(tmp_path)
    theirs.load_state_dict(loaded.state_dict())  # the same names and shapes
    assert sum(p.numel() for p in theirs.parameters()) == sum(v.size for v in parameters.values())

    inputs, classes = task.stream(0, "train").examples(0, 16)
    ours = model.logits(parameters, inputs)
    for size in (16, 4):
        batches = as_peer_takes_them(inputs, classes, size)
        assert len(batches) == 16 // size
        with torch.inference_mode():
            found = [theirs.eval()(input_ids=x, attention_mask=m).logits[y != -100] for x, m, y in batches]
        np.testing.assert_allclose(torch.cat(found).numpy(), ours, rtol=0, atol=1e-5)
        labels = torch.cat([y[y != -100] for _, _, y in batches])
        assert labels.tolist() == classes.tolist()
    widths = [x.shape[1] for x, _, _ in as_peer_takes_them(inputs, classes, 1)]
    assert widths == inputs.lengths.tolist()  # padded to the longest of each batch


def test_an_eager_student_learns_what_its_teacher_says_where_it_is_asked() -> None:
    spec = tiny_spec()
    inputs, classes = spec.task.stream(0, "train").examples(0, 8)
    (batch,) = as_peer_takes_them(inputs, classes, 8)
    torch.manual_seed(0)
    teacher, student = (pcfg.network(spec).eval() for _ in range(2))
    tokens, real, labels = batch
    asked = labels != -100
    with torch.no_grad():
        said = teacher(input_ids=tokens, attention_mask=real).logits[asked]
        logits = student(input_ids=tokens, attention_mask=real).logits[asked]
    expected = torch.nn.functional.cross_entropy(logits, said.argmax(dim=1))
    assert float(pcfg.taught_loss(teacher, student, batch).detach()) == pytest.approx(
        float(expected), rel=1e-6
    )
    assert float(pcfg.masked_loss(student, batch).detach()) != pytest.approx(float(expected), rel=1e-3)


def test_every_case_has_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcfg, "SIZES", (("tiny", 2, 1, 1.5, 3.0),))
    monkeypatch.setattr(pcfg, "BATCH", 16)
    monkeypatch.setattr(pcfg, "SMALL_ROOTS", (10, 11))
    monkeypatch.setattr(pcfg, "ROOTS", (14, 15))
    monkeypatch.setattr(pcfg, "LENGTH", 22)
    monkeypatch.setattr(pcfg, "N_SENTENCES", 50)
    monkeypatch.setattr(pcfg, "ONLINE_HEADS", (4, 2))
    monkeypatch.setattr(pcfg, "ONLINE_STEPS", 1)
    monkeypatch.setattr(pcfg, "THREADS", 1)
    rows = list(pcfg.rows())
    assert [r["unit"] for r in rows] == ["s", "ms", "ms/step", "ms/step", "ms/step", "ms/step"]
    assert [r["peer"] is None for r in rows] == [True, True, False, False, False, False]
    assert len({r["case"] for r in rows}) == len(rows)
    for row in rows:  # how fast is the bench's business
        assert row["ours"] > 0
