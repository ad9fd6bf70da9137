"""Next-token prediction: what is shown and asked at each level, its loss by another route, learning it and teaching it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from pdlib import Adam, Training
from pdlib.models.transformer import Transformer
from pdlib.specs import Source, SpecError
from pdlib.tasks.grammar import grammar, load_grammar
from pdlib.tasks.next_token import NextToken
from pdlib.training import untrained
from pdlib.training.gradient import GradientLearner

GRAMMAR = grammar("cfg3b", roots=(13, 14, 15))  # 12 to 27 tokens, three layers above them
EVERY, BOUNDARIES = NextToken(GRAMMAR), NextToken(GRAMMAR, level=3)
ENDING = NextToken(GRAMMAR, ends=True)
TASKS = pytest.mark.parametrize(
    "task", [EVERY, ENDING, BOUNDARIES], ids=["every token", "and end", "boundaries"]
)
# 9 -> 7 8 | 8, 7 -> 1, 8 -> 1 2: the sentences 1 1 2 and 1 2
SMALL = load_grammar({"rules": {"9": [[7, 8], [8]], "7": [[1]], "8": [[1, 2]]}})


def network(task: NextToken = EVERY, **changes: Any) -> Transformer:
    choices = {"n_positions": task.n_inputs, "vocabulary": task.vocabulary, "tied": True, "initial_std": 0.3}
    return Transformer(2, 2, 4, **(choices | changes))


def run(task: NextToken = EVERY, **changes: Any) -> Training:
    spec = Training(
        task,
        network(task),
        Adam(1e-2, "cosine", 0.1, betas=(0.9, 0.95), clip_norm=1.0),
        n_steps=12,
        evaluate_every=6,
        batch_size=16,
        n_evaluation=32,
        precision="float64",
    )
    return replace(spec, **changes)


def treeless(*tokens: list[int]) -> Any:
    """A block of sequences without trees."""
    lengths = np.array([len(t) for t in tokens])
    padded = np.zeros((len(tokens), lengths.max()), np.uint8)
    for row, t in zip(padded, tokens, strict=True):
        row[: len(t)] = t
    return SimpleNamespace(tokens=padded, lengths=lengths)


# What is shown and what is asked


@TASKS
def test_examples_are_sentences_shifted_by_one(task: NextToken) -> None:
    stream = task.stream(0, "train")
    inputs, classes = stream.examples(0, 60)
    drawn = stream.originals(0, 60)
    targets = iter(classes.tolist())
    for i, length in enumerate(drawn.lengths.tolist()):
        whole = [task.bos_token, *drawn.tokens[i, :length].tolist(), *([task.end_token] if task.ends else [])]
        n = length + task.ends
        assert inputs.tokens[i, :n].tolist() == whole[:n]
        assert inputs.lengths[i] == n
        assert not inputs.visible[i, n:].any()
        stops = [stop - 1 for _, _, stop in drawn.spans(i, level=task.level_from_root)]
        asked = [*stops, *([length] if task.ends else [])]
        assert np.flatnonzero(inputs.at[i]).tolist() == asked
        assert [next(targets) for _ in asked] == [whole[j + 1] for j in asked]
    assert list(targets) == []
    assert classes.dtype == np.uint8
    assert inputs.tokens.shape[1] <= task.n_inputs


def test_each_level_asks_for_some_of_the_tokens_of_the_level_below() -> None:
    block = EVERY.stream(0, "train").originals(0, 200)
    levels = [replace(EVERY, level=level).asked(block) for level in range(1, GRAMMAR.depth + 2)]
    for level, at in enumerate(levels, 1):  # counted from the root they are the same
        other = NextToken(GRAMMAR, GRAMMAR.depth + 1 - level, "from_root")
        np.testing.assert_array_equal(other.asked(block), at)
    np.testing.assert_array_equal(levels[0].sum(axis=1), block.lengths)
    for low, high in pairwise(levels):
        assert not (high & ~low).any()
        assert high.sum() < low.sum()
    assert levels[-1].sum(axis=1).tolist() == [1] * 200
    assert levels[-1][np.arange(200), block.lengths - 1].all()
    assert NextToken(GRAMMAR, GRAMMAR.depth, "from_root", ends=True).every_token


@TASKS
def test_any_block_of_the_stream_can_be_made_again(task: NextToken) -> None:
    whole, classes = task.stream(3, "train").examples(0, 50)
    part, some = task.stream(3, "train").examples(20, 31)
    n = part.tokens.shape[1]
    for name in ("tokens", "at", "visible"):
        assert np.array_equal(getattr(part, name), getattr(whole, name)[20:31, :n])
    before = int(whole[:20].n_targets.sum())
    assert np.array_equal(some, classes[before : before + len(some)])
    again, _ = task.stream(4, "train").examples(20, 31)
    assert again.tokens.shape != part.tokens.shape or not np.array_equal(again.tokens, part.tokens)


@dataclass(frozen=True)
class Counting(Source):
    """Sequences 0, 1, 2, ... of one, two or three tokens: a source without trees."""

    version: ClassVar[int] = 1

    @property
    def n_tokens(self) -> int:
        return 3

    @property
    def max_length(self) -> int:
        return 3

    def sentence_stream(self, identity: str, purpose: Any = "train") -> Any:
        return SimpleNamespace(
            sentences=lambda start, stop: treeless(*(list(range(1 + i % 3)) for i in range(start, stop)))
        )


def test_a_source_without_trees_can_be_asked_for_every_token() -> None:
    inputs, classes = NextToken(Counting(), ends=True).stream(0, "train").examples(0, 3)
    assert inputs.tokens.tolist() == [[3, 0, 0, 0], [3, 0, 1, 0], [3, 0, 1, 2]]
    assert classes.tolist() == [0, 4, 0, 1, 4, 0, 1, 2, 4]
    inputs, classes = NextToken(Counting()).stream(0, "train").examples(1, 3)
    assert inputs.tokens.tolist() == [[3, 0, 0], [3, 0, 1]]
    assert classes.tolist() == [0, 1, 0, 1, 2]


# How it is weighted


def plain_losses(task: NextToken, module: Any, n: int) -> list[torch.Tensor]:
    """Equation 9, sentence by sentence: all logits of [bos] x, those of boundary tokens picked out of the trees."""
    block = task.stream(0, "train").originals(0, n)
    losses = []
    for i in range(n):
        x = block.tokens[i, : block.lengths[i]].astype(np.int64).tolist()
        following = [*x, *([task.end_token] if task.ends else [])]
        out = module(torch.tensor([[task.bos_token, *x]]))[0].log_softmax(dim=1)
        stops = [stop - 1 for _, _, stop in block.spans(i, task.level_from_root)]
        stops += [len(x)] if task.ends else []
        losses.append(-torch.stack([out[j, following[j]] for j in stops]).mean())
    return losses


@pytest.mark.parametrize("n_micro", [1, 4])
@TASKS
def test_a_step_follows_the_gradient_of_the_loss_as_defined(task: NextToken, n_micro: int) -> None:
    n = 16
    # a position more, since the plain route shows the last token whether or not anything is asked behind it
    spec = run(task, model=network(task, n_positions=28), optimizer=Adam(1e-2, n_micro_batches=n_micro))
    start = untrained(spec)
    learner = GradientLearner(spec, start)
    inputs, classes = task.stream(0, "train").examples(0, n)
    learner.steps(inputs, np.eye(task.n_classes)[classes], np.zeros(1))
    module = spec.model.module(start)
    torch.stack(plain_losses(task, module, n)).mean().backward()
    for name, p in learner._module.named_parameters():
        assert p.grad is not None
        torch.testing.assert_close(p.grad, dict(module.named_parameters())[name].grad, rtol=0, atol=1e-12)
    assert len(set(inputs.n_targets.tolist())) > 1  # else one mean over all targets would be the same


# The record


def test_a_task_is_known_by_its_level_and_whether_it_ends() -> None:
    tasks = [EVERY, ENDING, BOUNDARIES, replace(BOUNDARIES, level=2)]
    assert (
        len({task.fingerprint for task in tasks}) == len({t.stream(0, "train").identity for t in tasks}) == 4
    )
    assert (EVERY.vocabulary, EVERY.n_classes, EVERY.n_inputs) == (4, 4, 27)
    assert (ENDING.vocabulary, ENDING.n_classes, ENDING.n_inputs) == (5, 5, 28)
    assert (ENDING.bos_token, ENDING.end_token) == (3, 4)


# Bad input


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: NextToken("cfg3b"), "source = 'cfg3b': expected a Source"),  # type: ignore[arg-type]
        (lambda: NextToken(GRAMMAR, 0), "level = 0 from leaves: expected a whole number from 1 to 4"),
        (lambda: NextToken(GRAMMAR, 6), "level = 6 from leaves: expected a whole number from 1 to 4"),
        (
            lambda: NextToken(GRAMMAR, -1, "from_root"),
            "level = -1 from root: expected a whole number from 0 to 3",
        ),
        (lambda: NextToken(GRAMMAR, 2.0), "level = 2.0: expected a whole"),  # type: ignore[arg-type]
        (lambda: NextToken(GRAMMAR, 1, "up"), "counted = 'up': expected"),  # type: ignore[arg-type]
        (lambda: NextToken(GRAMMAR, 2, ends=True), "ends = True at level 2 from leaves: expected level 1"),
        (
            lambda: NextToken(GRAMMAR, 1, "from_root", True),
            "ends = True at level 1 from root: expected level 1",
        ),
        (lambda: NextToken(GRAMMAR, ends=1), "ends = 1: expected True or False"),  # type: ignore[arg-type]
        (lambda: NextToken(Counting(), 2), "level = 2 .* of Counting: expected level 1 .* no trees"),
        (lambda: NextToken(Counting(), 1, "from_root"), "of Counting: expected level 1 from the leaves"),
        (
            lambda: EVERY.end_token,
            r"\[end\] of a task that never asks for it: expected a task with ends=True",
        ),
        (
            lambda: NextToken(load_grammar({"rules": {"0": [[i] for i in range(1, 256)]}}), ends=True),
            "257 tokens, .*: expected at most 256",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused(make: Any, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        make()


def test_sentences_in_which_nothing_is_asked_for_are_refused() -> None:
    block = NextToken(SMALL).stream(0, "train").originals(0, 2)
    cut = replace(block, ends=block.ends & ~np.array([[False], [True]]))
    with pytest.raises(SpecError, match=r"sentence 1 of . tokens, in which nothing is asked for: .* level 2"):
        NextToken(SMALL, level=2).asked(cut)
    with pytest.raises(SpecError, match="sentence 0 of 0 tokens, in which nothing is asked for"):
        NextToken(SMALL).asked(treeless([], [0]))


def test_a_network_that_does_not_fit_is_refused() -> None:
    with pytest.raises(SpecError, match="sequences of 28 tokens: expected at most n_positions = 27"):
        run(ENDING, model=network(ENDING, n_positions=27))
    with pytest.raises(
        SpecError, match="a task of 5 tokens: expected as many as the network's vocabulary, 4"
    ):
        run(ENDING, model=network(ENDING, vocabulary=4))
    with pytest.raises(SpecError, match="attends = 'all' on a task whose input shows the answer further on"):
        run(ENDING, model=network(ENDING, attends="all"))
