"""Samples that a Transformer draws token after token."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pdlib import Transformer
from pdlib.models import transformer
from pdlib.models.network import TransformerModule
from pdlib.models.transformer import gpt2
from pdlib.specs import SpecError

N_CLASSES = 6
BEGINNING, END = 1, 2
MODELS = {
    "gpt2": Transformer(2, 3, 4, n_positions=12, vocabulary=N_CLASSES),
    "tied": gpt2(1, 2, 4, n_positions=12, vocabulary=N_CLASSES),
    "averaged": Transformer(2, 3, 4, n_positions=12, vocabulary=N_CLASSES, heads="averaged"),
    "causal, post": Transformer(2, 2, 4, n_positions=12, vocabulary=N_CLASSES, norm="post"),
    "transformed": Transformer(
        2, 2, 4, n_positions=12, vocabulary=N_CLASSES, output="transformed", activation="gelu"
    ),
}


def drawing(name: str) -> tuple[Transformer, dict[str, np.ndarray]]:
    """A network far from its beginning, which ends some samples early."""
    generator = np.random.default_rng(5)
    return MODELS[name], {
        key: value + 0.4 * generator.standard_normal(value.shape)
        for key, value in MODELS[name].initial(9, N_CLASSES, seed=5).items()
    }


def drawn_again(
    model: Transformer, parameters: dict[str, np.ndarray], sample: int, max_length: int, seed: int
) -> tuple[list[int], bool]:
    """One sample, the whole prefix put through the network for each token; the same uniform numbers."""
    module, key = model.module(parameters).eval(), transformer._key(seed)
    tokens = [BEGINNING]
    for t in range(max_length + 1):
        p = module(torch.tensor([tokens]))[0, -1].softmax(dim=0).tolist()
        u = float(transformer._uniform(key, t, sample, sample + 1)[0])
        token = 0
        while token < len(p) - 1 and sum(p[: token + 1]) <= u:
            token += 1
        if token == END:
            return tokens[1:], True
        tokens.append(token)
    return tokens[1 : max_length + 1], False


@pytest.mark.parametrize("name", MODELS)
def test_samples_are_those_of_the_whole_prefix_put_through_for_each_token(name: str) -> None:
    model, parameters = drawing(name)
    tokens, lengths, ended = model.generate(parameters, 9, beginning=BEGINNING, end=END, max_length=7, seed=5)
    assert (tokens.dtype, lengths.dtype, ended.dtype) == (np.int64, np.int64, bool)
    assert tokens.shape == (9, 7)
    expected = [drawn_again(model, parameters, i, 7, seed=5) for i in range(9)]
    for i, (sample, ends) in enumerate(expected):
        assert tokens[i].tolist() == sample + [0] * (7 - len(sample))
        assert (lengths[i], ended[i]) == (len(sample), ends)
    assert len(set(map(str, expected))) > 3
    assert [drawn_again(model, parameters, i, 7, seed=6) for i in range(9)] != expected  # the control


@pytest.mark.parametrize("name", ["gpt2", "averaged", "causal, post"])
def test_a_sample_is_a_function_of_the_seed_and_its_number(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, parameters = drawing(name)

    def draw(n: int, seed: int = 3, max_length: int = 8) -> tuple[np.ndarray, ...]:
        return model.generate(parameters, n, beginning=BEGINNING, end=END, max_length=max_length, seed=seed)

    tokens, lengths, ended = whole = draw(50)
    assert 0 < ended.sum() < 50
    assert len(np.unique(lengths)) > 3
    for changed in (draw(50), draw(13), draw(50, max_length=5)):
        n, length = changed[0].shape
        np.testing.assert_array_equal(changed[0], tokens[:n, :length])
        np.testing.assert_array_equal(changed[1], lengths[:n].clip(max=length))
        np.testing.assert_array_equal(changed[2], ended[:n] & (lengths[:n] <= length))
    for still_on, at_once in ((0.0, 10**9), (1.0, 10**9), (0.75, 7000), (0.75, 1)):
        monkeypatch.setattr(transformer, "STILL_ON", still_on)
        monkeypatch.setitem(transformer.CACHED_AT_ONCE, "cpu", at_once)
        for one, other in zip(draw(50), whole, strict=True):
            np.testing.assert_array_equal(one, other)
    assert not np.array_equal(draw(50, seed=4)[0], tokens)


def test_samples_that_have_ended_leave_and_few_are_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, parameters = drawing("gpt2")
    positions: list[tuple[int, int]] = []
    following = TransformerModule.following

    def noted(self: TransformerModule, tokens: Tensor, position: int, cache: list[Tensor]) -> Tensor:
        positions.append((position, len(tokens)))
        assert all(kept.shape[1] == len(tokens) for kept in cache)
        return following(self, tokens, position, cache)

    monkeypatch.setattr(TransformerModule, "following", noted)
    monkeypatch.setattr(transformer, "STILL_ON", 1.0)
    _, lengths, _ = model.generate(parameters, 60, beginning=BEGINNING, end=END, max_length=8, seed=0)
    still_on = [int((lengths >= t).sum()) for t in range(9)]
    assert positions == [(t, n) for t, n in enumerate(still_on) if n]
    assert still_on[-1] < 30
    positions.clear()
    numbers = 2 * model.n_layers * 9 * model.n_heads * model.head_size
    monkeypatch.setitem(transformer.CACHED_AT_ONCE, "cpu", 10 * numbers)
    model.generate(parameters, 60, beginning=BEGINNING, end=END, max_length=8, seed=0)
    assert [n for position, n in positions if position == 0] == [10] * 6


def test_uniform_numbers_are_uniform_and_each_has_its_own_place() -> None:
    key = transformer._key(0)
    u = transformer._uniform(key, 3, 0, 40_000)
    assert 0 <= u.min() < u.max() < 1
    np.testing.assert_allclose(np.histogram(u, 10, (0, 1))[0] / 40_000, 0.1, atol=0.006)
    for start, stop in ((0, 1), (5, 9), (7, 8), (4, 1003)):
        np.testing.assert_array_equal(transformer._uniform(key, 3, start, stop), u[start:stop])
    for other in (
        transformer._uniform(key, 4, 0, 40_000),
        transformer._uniform(transformer._key(1), 3, 0, 40_000),
    ):
        assert abs(np.corrcoef(u, other)[0, 1]) < 0.02


def test_an_impossible_token_is_never_drawn() -> None:
    p = np.array([[0.0, 0.25, 0.0, 0.75, 0.0]])
    for u, expected in ((0.0, 1), (0.2499, 1), (0.25, 3), (0.999, 3)):
        assert transformer._drawn(p, np.array([u])).tolist() == [expected]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n": 0}, r"n = 0: expected a whole number"),
        ({"max_length": 0}, r"max_length = 0: expected a whole number"),
        ({"max_length": 12}, r"max_length = 12, 13 with the beginning: expected at most n_positions = 12"),
        ({"beginning": N_CLASSES}, r"beginning = 6: expected a token from 0 to 5"),
        ({"end": -1}, r"end = -1: expected a token from 0 to 5"),
        ({"end": 1.0}, r"end = 1\.0: expected a token from 0 to 5"),
        ({"seed": -1}, r"seed = -1: expected a whole number of at least 0"),
    ],
)
def test_samples_that_cannot_be_are_refused(changes: dict[str, Any], said: str) -> None:
    model, parameters = drawing("gpt2")
    how: dict[str, Any] = {"n": 2, "beginning": BEGINNING, "end": END, "max_length": 11, "seed": 0}
    assert model.generate(parameters, **how)[0].shape == (2, 11)
    with pytest.raises(SpecError, match=said):
        model.generate(parameters, **(how | changes))


def test_only_a_causal_network_with_a_class_for_each_token_draws() -> None:
    how: dict[str, Any] = {"n": 2, "beginning": BEGINNING, "end": END, "max_length": 5, "seed": 0}
    model, parameters = drawing("gpt2")
    with pytest.raises(SpecError, match=r"attends = 'all': expected 'causal'"):
        replace(model, attends="all").generate(parameters, **how)
    fewer = model.initial(9, 3, seed=0)
    with pytest.raises(SpecError, match=r"3 classes: expected as many as the vocabulary, 6, to draw tokens"):
        model.generate(fewer, **how)
