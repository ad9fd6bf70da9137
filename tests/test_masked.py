"""Masked prediction: what is shown, what is asked, how it is weighted, and that batches, parts and caches change nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  everybody's name for it

from pdlib import MLP, SGD, Adam, Distillation, SparseParity, Store, Training, execute, labels
from pdlib.models.transformer import bert
from pdlib.schedules import Explicit
from pdlib.sequences import Sequences
from pdlib.specs import Source, SpecError
from pdlib.tasks.grammar import grammar
from pdlib.tasks.masked import MaskedPrediction
from pdlib.training import untrained
from pdlib.training.gradient import GradientLearner

GRAMMAR = grammar("cfg3b", roots=(10, 11))  # 7 to 9 tokens
TASK = MaskedPrediction(GRAMMAR, mask_rate=0.3)
HIDDEN = replace(TASK, selected="hidden")
TASKS = pytest.mark.parametrize("task", [TASK, HIDDEN], ids=["visible", "hidden"])


def network(**changes: Any) -> Any:
    return bert(2, 2, 4, vocabulary=4, n_positions=TASK.n_inputs, initial_std=0.3, **changes)


def run(task: MaskedPrediction = TASK, **changes: Any) -> Training:
    spec = Training(
        task,
        network(),
        Adam(1e-2, "cosine", 0.1, betas=(0.9, 0.95), clip_norm=1.0),
        n_steps=12,
        evaluate_every=6,
        batch_size=16,
        n_evaluation=32,
        precision="float64",
    )
    return replace(spec, **changes)


# What is shown


def test_of_the_selected_positions_eight_tenths_are_masked_and_one_tenth_keeps_its_token() -> None:
    stream = TASK.stream(0, "train")
    shown, classes = stream.examples(0, 20_000)
    clean = stream.originals(0, 20_000)
    real = np.arange(clean.tokens.shape[1]) < clean.lengths[:, None]
    assert not shown.at[~real].any()
    n, n_real = len(classes), int(real.sum())
    assert abs(n / n_real - 0.3) < 4 * np.sqrt(0.3 * 0.7 / n_real)
    tokens = shown.tokens[shown.at]
    assert (classes == clean.tokens[shown.at]).all()
    assert (shown.tokens[real & ~shown.at] == clean.tokens[real & ~shown.at]).all()
    for share, found in (
        (0.8, tokens == TASK.mask_token),
        (0.1 + 0.1 / 3, tokens == classes),  # kept, or drawn again
        (0.2 / 3, (tokens != TASK.mask_token) & (tokens != classes)),
    ):
        assert abs(found.mean() - share) < 4 * np.sqrt(share * (1 - share) / n)
    drawn = tokens[(tokens != TASK.mask_token) & (tokens != classes)]
    assert set(drawn.tolist()) == {0, 1, 2}
    other, _ = replace(TASK, mask_rate=0.4).stream(0, "train").examples(0, 20_000)  # the count can tell
    assert abs(other.at.sum() / n_real - 0.3) > 4 * np.sqrt(0.3 * 0.7 / n_real)


@TASKS
def test_any_block_of_the_stream_can_be_made_again(task: MaskedPrediction) -> None:
    whole, classes = task.stream(3, "train").examples(0, 50)
    part, some = task.stream(3, "train").examples(20, 31)
    n = part.tokens.shape[1]
    for name in ("tokens", "at", "visible"):
        assert np.array_equal(getattr(part, name), getattr(whole, name)[20:31, :n])
    before = int(whole[:20].n_targets.sum())
    assert np.array_equal(some, classes[before : before + len(some)])
    again, _ = task.stream(4, "train").examples(20, 31)
    assert again.tokens.shape != part.tokens.shape or not np.array_equal(again.tokens, part.tokens)


def test_hidden_positions_are_those_selected_and_whatever_they_show() -> None:
    seen, _ = TASK.stream(0, "train").examples(0, 300)
    real = np.arange(seen.tokens.shape[1]) < TASK.stream(0, "train").originals(0, 300).lengths[:, None]
    assert np.array_equal(seen.visible, real)
    lengths = real.sum(axis=1)
    hidden = HIDDEN.shown(seen.tokens, lengths, seen.at)
    assert np.array_equal(hidden.visible, real & ~seen.at)
    everything = HIDDEN.shown(seen.tokens, lengths, real)  # nothing would be left
    assert np.array_equal(everything.visible, real)


# Sources with marks of their own


@dataclass(frozen=True)
class Marked(Source):
    """Sequences [1, words ..., 4, words ...] of 400 tokens, of which 1 and 4 are special and 2 is [mask]."""

    purposes: tuple[str, ...] = ()

    @property
    def n_tokens(self) -> int:
        return 400

    @property
    def max_length(self) -> int:
        return 40

    @property
    def has_mask(self) -> bool:
        return True

    @property
    def mask_token(self) -> int:
        return 2

    @property
    def special_tokens(self) -> tuple[int, ...]:
        return (1, 4)

    def sentence_stream(self, identity: str, purpose: Any = "train") -> Any:
        def sentences(start: int, stop: int) -> Any:
            i, j = np.arange(start, stop)[:, None], np.arange(40)
            tokens = (350 + (7 * i + j) % 40 + (10 if purpose == "train" else 0)).astype(np.uint16)
            tokens[:, 0], tokens[:, 20] = 1, 4
            return SimpleNamespace(tokens=tokens, lengths=np.full(stop - start, 40, np.int64))

        return SimpleNamespace(identity=identity, sentences=sentences)


def test_special_tokens_are_neither_selected_nor_drawn_and_the_mask_is_one_of_the_tokens() -> None:
    task = MaskedPrediction(Marked(), mask_rate=0.5)
    assert task.vocabulary == task.n_classes == 400
    assert task.mask_token == 2
    assert set(range(400)) - set(task.ordinary_tokens.tolist()) == {1, 2, 4}
    shown, classes = task.stream(0, "train").examples(0, 4000)
    assert not shown.at[:, [0, 20]].any()
    assert (shown.tokens[:, 0] == 1).all()
    assert (shown.tokens[:, 20] == 4).all()
    assert abs(shown.at.mean() / 0.475 - 1) < 0.02
    tokens = shown.tokens[shown.at]
    assert abs((tokens == 2).mean() - 0.8) < 0.01
    drawn = tokens[(tokens != 2) & (tokens != classes)]
    assert not set(drawn.tolist()) & {1, 2, 4}
    counts = np.bincount(drawn, minlength=360)[[t for t in range(360) if t not in (1, 2, 4)]]  # no originals
    expected = 0.1 * len(tokens) / 397
    assert abs(counts.mean() - expected) < 4 * np.sqrt(expected / len(counts))
    assert counts.min() > 0
    assert classes.dtype == np.uint16
    assert classes.max() == 399
    assert (classes == task.stream(0, "train").originals(0, 4000).tokens[shown.at]).all()


def test_a_source_knows_what_its_sequences_are_for() -> None:
    task = MaskedPrediction(Marked())
    largest = {p: int(task.stream(0, p).examples(0, 50)[1].max()) for p in ("train", "evaluation", "probe")}
    assert largest == {"train": 399, "evaluation": 389, "probe": 389}
    assert GRAMMAR.special_tokens == ()
    assert (GRAMMAR.has_mask, GRAMMAR.mask_token, TASK.vocabulary) == (False, 3, 4)
    assert TASK.ordinary_tokens.tolist() == [0, 1, 2]


# How it is weighted


def test_the_loss_is_a_mean_over_each_sentence_and_then_over_sentences() -> None:
    at = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]], bool)
    block = Sequences(np.zeros((3, 4), int), at, np.ones((3, 4), bool))
    assert block.weights() == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])  # the second sentence has no weight
    assert block.weights().sum() == pytest.approx(1.0)
    assert len(block[1:2].weights()) == 0


def plain_gradient(task: MaskedPrediction, parameters: dict[str, Any], n: int) -> dict[str, torch.Tensor]:
    """Sentence by sentence, unpadded, by the definition."""
    module = network().module(parameters)
    block, classes = task.stream(0, "train").examples(0, n)
    losses, done = [], 0
    for i in range(n):
        one = block[i : i + 1]
        count = int(one.n_targets[0])
        if not count:
            continue
        tokens = torch.from_numpy(one.tokens)
        logits = module(tokens, mask=torch.from_numpy(one.visible))[0][torch.from_numpy(one.at[0])]
        target = torch.from_numpy(classes[done : done + count].astype(np.int64))
        losses.append(F.cross_entropy(logits, target))
        done += count
    torch.stack(losses).mean().backward()
    return {name: p.grad for name, p in module.named_parameters()}


@pytest.mark.parametrize("n_micro", [1, 4])
@TASKS
def test_a_step_follows_the_gradient_of_the_loss_as_defined(task: MaskedPrediction, n_micro: int) -> None:
    n = 16
    spec = run(task, optimizer=Adam(1e-2, n_micro_batches=n_micro))
    start = untrained(spec)
    learner = GradientLearner(spec, start)
    inputs, classes = task.stream(0, "train").examples(0, n)
    learner.steps(inputs, np.eye(4)[classes], np.zeros(1))
    expected = plain_gradient(task, start, n)
    for name, p in learner._module.named_parameters():
        assert p.grad is not None
        torch.testing.assert_close(p.grad, expected[name], rtol=0, atol=1e-12)
    counts = inputs.n_targets
    assert len(set(counts.tolist())) > 1  # else one mean over all positions would be the same


@pytest.mark.parametrize("n_micro", [1, 4])
@TASKS
def test_class_numbers_give_the_bits_of_distributions_that_are_sure_of_them(
    task: MaskedPrediction, n_micro: int
) -> None:
    spec = run(task, optimizer=Adam(1e-2, n_micro_batches=n_micro), precision="float32")
    inputs, classes = task.stream(0, "train").examples(0, 48)
    found = []
    for targets in (np.eye(4)[classes], classes, (classes + 1) % 3):
        learner = GradientLearner(spec, untrained(spec))
        learner.steps(inputs, targets, np.full(3, 0.01))
        found.append(learner.parameters())
    for name, value in found[0].items():
        assert np.array_equal(found[1][name], value)
    assert not np.array_equal(found[2]["token.weight"], found[0]["token.weight"])


# Training, teachers, labels


def test_evaluation_reports_accuracy_over_positions_and_loss_over_sentences(tmp_path: Path) -> None:
    spec = run()
    (record,) = execute([spec], Store(tmp_path, published=None), progress=False, n_workers=1)
    inputs, classes = TASK.stream(0, "evaluation").examples(0, 32)
    values = network().logits(untrained(spec), inputs)
    first = record.table.iloc[0]
    assert first.accuracy == pytest.approx(float((values.argmax(axis=1) == classes).mean()))
    losses = F.cross_entropy(
        torch.from_numpy(values), torch.from_numpy(classes.astype(np.int64)), reduction="none"
    ).numpy()
    counts = inputs.n_targets
    by_sentence = [part.mean() for part in np.split(losses, np.cumsum(counts)[:-1]) if len(part)]
    assert first.loss_nats == pytest.approx(float(np.mean(by_sentence)))
    assert first.loss_nats != pytest.approx(float(losses.mean()), abs=1e-6)


@pytest.mark.parametrize("targets", [{"targets": "hard"}, {"temperature": 0.5}], ids=["hard", "soft"])
def test_a_student_of_cached_labels_is_the_student_of_its_teacher(
    tmp_path: Path, targets: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "SEQUENCES_GRID", 50)  # several blocks a piece
    teacher = run(checkpoint_every=6, seed=5)
    store = Store(tmp_path, published=None)
    student = run(supervision=Distillation(teacher, Explicit((6, -1), (5,)), **targets), seed=7)
    found, _ = execute([student, teacher], store, progress=False, n_workers=1)
    parameters = untrained(student)
    learner = GradientLearner(student, parameters)
    stream = TASK.stream(7, "train")
    rates = student.optimizer.rates(0, 12, 12)
    for step in range(12):
        source = store.load_checkpoint(teacher, 6 if step < 5 else 12)
        inputs, _ = stream.examples(16 * step, 16 * step + 16)
        values = torch.from_numpy(network().logits(source, inputs))
        soft = (values.double() / 0.5).softmax(dim=1).numpy()
        wanted = np.eye(4)[values.argmax(dim=1)] if "targets" in targets else soft
        learner.steps(inputs, wanted, rates[step : step + 1])
    last = store.load_checkpoint(student, 12)
    for name, value in learner.parameters().items():
        np.testing.assert_allclose(value, last[name], rtol=0, atol=1e-11)  # Adam, of gradients that vanish
    assert found.table.step.tolist() == [0, 6, 12]


# Where training starts


@dataclass(frozen=True)
class Counted(Marked):
    """Knows how frequent its tokens are: the 351st to the 399th equally, and others never occur."""

    def frequencies(self) -> np.ndarray:
        found = np.zeros(400)
        found[351:] = 1 / 49
        return found


def begun(task: MaskedPrediction) -> Training:
    model = bert(1, 2, 4, vocabulary=task.vocabulary, n_positions=task.n_inputs, initial_bias="log_frequency")
    return Training(task, model, Adam(1e-3), n_steps=1, evaluate_every=1, batch_size=4, n_evaluation=8)


def test_a_network_that_starts_from_frequencies_gets_those_of_its_tasks_targets() -> None:
    task = MaskedPrediction(Counted())
    assert np.array_equal(task.frequencies(), Counted().frequencies())
    bias = untrained(begun(task))["output.bias"]
    assert bias.dtype == np.float32
    np.testing.assert_allclose(bias, np.log(1 / 49), rtol=1e-6)  # the rarest one's for all that never occur

    class Unmasked(Counted):
        has_mask = False
        mask_token = 400
        special_tokens = ()

    with_mask = MaskedPrediction(Unmasked())
    assert len(with_mask.frequencies()) == with_mask.n_classes == 401
    assert with_mask.frequencies()[400] == 0  # [mask] comes after all tokens and is never asked for


def test_a_task_that_does_not_know_frequencies_says_so() -> None:
    for task, said in ((TASK, r"Grammar\("), (MaskedPrediction(Marked()), r"Marked\(")):
        with pytest.raises(SpecError, match=said + r".*does not know how frequent.*Use initial_bias='zero'"):
            untrained(begun(task))
    with pytest.raises(SpecError, match=r"SparseParity\(.*does not know how frequent"):
        SparseParity(10, 3).frequencies()


# Bad input


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan"), "0.3"])
def test_a_mask_rate_outside_0_and_1_is_refused(rate: Any) -> None:
    with pytest.raises(SpecError, match=r"mask_rate = .*a number in \(0, 1\)"):
        MaskedPrediction(GRAMMAR, mask_rate=rate)


def test_what_does_not_fit_the_sequences_is_refused() -> None:
    with pytest.raises(SpecError, match="n_positions = 8"):
        run(model=bert(2, 2, 4, vocabulary=4, n_positions=8))
    with pytest.raises(
        SpecError, match="a task of 4 tokens: expected as many as the network's vocabulary, 5"
    ):
        run(model=bert(2, 2, 4, vocabulary=5, n_positions=9))
    with pytest.raises(SpecError, match="expected a Transformer"):
        run(model=MLP(8), optimizer=SGD(0.1))
    with pytest.raises(SpecError, match="selected = 'gone'"):
        MaskedPrediction(GRAMMAR, selected="gone")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="a Source"):
        MaskedPrediction("cfg3b")  # type: ignore[arg-type]
