"""The block engine is plain online SGD in another order: checked against a loop over samples in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tiny
import torch

from pdlib.models.mlp import MLP, Parameters, as_module, logits, softmax
from pdlib.optimizers import SGD
from pdlib.training import learner, online_sgd
from pdlib.training.online_sgd import (
    BLOCK,
    WIDE,
    WIDE_BLOCK,
    CompiledLearner,
    Learner,
    TorchLearner,
    set_threads,
)

TOLERANCE = 1e-10  # of every parameter, after 5,000 float64 steps


def torch_form(parameters: Parameters) -> Learner:
    return TorchLearner(parameters, "cpu")


FORMS = pytest.mark.parametrize("make", [CompiledLearner, torch_form])


class Data:
    """Sign vectors with target distributions and rates, float64 unless said otherwise."""

    def __init__(self, d: int, n_classes: int, n: int, targets: str = "hard", rates: Any = 0.02) -> None:
        generator = np.random.default_rng(d + n)
        self.x = generator.choice([-1.0, 1.0], (n, d))
        if targets == "hard":
            classes = (self.x[:, :3] < 0) @ [1, 2, 4] % n_classes
            self.y = np.eye(n_classes)[classes]
        else:  # a teacher's distributions
            self.y = softmax(logits(MLP(40).initial(d, n_classes, seed=9), self.x), temperature=0.2)
        self.rates = np.broadcast_to(rates, n).copy()

    def through(self, state: Learner, *cuts: int) -> Parameters:
        """The parameters after these samples, given to a learner in pieces."""
        x = np.zeros((len(self.x), state.n_columns))
        x[:, : self.x.shape[1]] = self.x
        x[:, self.x.shape[1]] = 1.0
        for a, b in zip((0, *cuts), (*cuts, len(x)), strict=True):
            state.steps(x[a:b], self.y[a:b], self.rates[a:b])
        return state.parameters()


def plain_loop(parameters: Parameters, data: Data) -> Parameters:
    """Online SGD as one would write it: a module, a loss, backward, an update, sample by sample."""
    set_threads(1)  # so small products are slower shared
    module = as_module(parameters)
    for x, y, rate in zip(torch.from_numpy(data.x), torch.from_numpy(data.y), data.rates, strict=True):
        loss = -(y * torch.log_softmax(module(x), dim=0)).sum()
        module.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p in module.parameters():
                p -= float(rate) * p.grad
    return {name: value.detach().numpy().copy() for name, value in module.state_dict().items()}


def block_form(parameters: Parameters, data: Data, block: int = 32, *, bias_in_gram: bool) -> Parameters:
    """The engine's arithmetic in plain NumPy; with a flag for the mistake of leaving the bias out of the Gram matrix."""
    w = np.hstack([parameters["0.weight"], parameters["0.bias"][:, None]])  # (unit, input)
    a, c = parameters["2.weight"].copy(), parameters["2.bias"].copy()
    inputs = np.hstack([data.x, np.ones((len(data.x), 1))])
    for start in range(0, len(inputs), block):
        x = inputs[start : start + block]
        gram = x @ x.T - (0.0 if bias_in_gram else 1.0)
        z, g = x @ w.T, np.zeros((len(x), len(w)))
        for t in range(len(x)):
            z[t] += gram[t, :t] @ g[:t]
            hidden = np.maximum(z[t], 0)
            step = -data.rates[start + t] * (softmax(a @ hidden + c) - data.y[start + t])
            g[t] = (step @ a) * (z[t] > 0)
            a += np.outer(step, hidden)
            c += step
        w += g.T @ x
    return {"0.weight": w[:, :-1], "0.bias": w[:, -1], "2.weight": a, "2.bias": c}


def distance(one: Parameters, other: Parameters) -> float:
    """Largest difference of any parameter."""
    assert one.keys() == other.keys()
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


def initial(width: int, data: Data) -> Parameters:
    return MLP(width).initial(data.x.shape[1], data.y.shape[1], seed=0)


# Against the plain loop


@pytest.mark.parametrize(
    ("width", "data"),
    [
        pytest.param(100, Data(20, 2, 5000), id="narrow"),
        pytest.param(2000, Data(50, 2, 1000, rates=0.01), id="width 2000"),
        pytest.param(
            37,
            Data(17, 5, 2000, rates=SGD(0.05, "cosine", 0.1).rates(0, 2000, 2000)),
            id="five classes, odd sizes, a rate that varies",
        ),
        pytest.param(64, Data(31, 3, 2000, targets="soft"), id="supervised by a teacher's distributions"),
    ],
)
def test_thousands_of_steps_equal_a_plain_loop_to_1e_10(width: int, data: Data) -> None:
    start = initial(width, data)
    expected = plain_loop(start, data)
    assert distance(start, expected) > 0.05  # it has learned something
    compiled = data.through(CompiledLearner(start))
    assert distance(compiled, expected) < TOLERANCE
    assert distance(data.through(torch_form(start), 333), compiled) < TOLERANCE
    if width == 100:  # the bias belongs into the Gram matrix, and the check above sees it: the control
        assert distance(block_form(start, data, bias_in_gram=True), compiled) < TOLERANCE
        assert distance(block_form(start, data, bias_in_gram=False), compiled) > 1e-3
        no_look_ahead = block_form(start, data, block=1, bias_in_gram=False)
        assert distance(no_look_ahead, compiled) < TOLERANCE


def test_a_wide_layer_shared_by_threads_equals_a_plain_loop_in_a_block_that_is_not_full_and_over_several() -> (
    None
):
    short = Data(50, 2, 50, targets="soft", rates=0.01)
    assert len(short.x) < WIDE_BLOCK
    for width, data, cuts in ((50_000, short, ()), (WIDE + 5, Data(20, 3, 150, rates=0.01), (70,))):
        start = initial(width, data)
        assert distance(data.through(CompiledLearner(start), *cuts), plain_loop(start, data)) < TOLERANCE


@pytest.mark.parametrize("width", [1, 10, 15, 16, 17])
def test_widths_and_block_ends_of_any_size_equal_a_plain_loop(width: int) -> None:
    data = Data(15, 2, 301, rates=0.1)  # 15 inputs and the bias: no padding
    start = initial(width, data)
    expected = plain_loop(start, data)
    for cuts in [(), (1,), (BLOCK,), (BLOCK - 1, BLOCK + 2, 100, 100, 299)]:
        assert distance(data.through(CompiledLearner(start), *cuts), expected) < TOLERANCE


@FORMS
def test_class_numbers_are_the_distributions_that_are_sure_of_them(make: Any) -> None:
    data, named = Data(10, 5, 100), Data(10, 5, 100)
    start = initial(16, data)
    found = data.through(make(start))
    named.y = data.y.argmax(axis=1).astype(np.uint8)
    assert distance(named.through(make(start)), found) == 0
    named.y = (named.y + 1) % 5
    assert distance(named.through(make(start)), found) > 1e-2  # the control: other classes


# Precision, threads, faults


def test_float32_follows_float64_while_rounding_is_small() -> None:
    data = Data(20, 2, 200)
    start = initial(100, data)
    single = data.through(CompiledLearner({k: v.astype(np.float32) for k, v in start.items()}))
    assert all(v.dtype == np.float32 for v in single.values())
    assert 0 < distance(single, data.through(CompiledLearner(start))) < 1e-4


@pytest.mark.parametrize("width", [100, WIDE + 5])
def test_a_result_is_the_same_to_the_last_bit_with_one_thread_and_with_two(width: int) -> None:
    data = Data(20, 2, 300)
    start = {k: v.astype(np.float32) for k, v in initial(width, data).items()}
    results = []
    for n in (1, 2, 1):
        set_threads(n)
        results.append(data.through(CompiledLearner(start)))
    tiny.assert_same_parameters(results[0], results[1])
    tiny.assert_same_parameters(results[0], results[2])


@FORMS
def test_a_learner_leaves_the_parameters_it_was_given_alone_gives_copies_and_takes_no_step_for_no_row(
    make: Any,
) -> None:
    data = Data(5, 2, 40)
    start = initial(8, data)
    before = {k: v.copy() for k, v in start.items()}
    state = make(start)
    state.steps(np.zeros((0, state.n_columns)), data.y[:0], data.rates[:0])
    assert distance(state.parameters(), start) == 0
    after = data.through(state)
    assert distance(start, before) == 0 < distance(start, after)
    after["0.weight"][:] = np.nan
    assert np.isfinite(state.parameters()["0.weight"]).all()


@FORMS
def test_what_is_not_a_number_is_not_hidden(make: Any) -> None:
    data = Data(5, 2, 40)
    data.x[10, 2] = np.nan
    assert np.isnan(data.through(make(initial(8, data)))["2.bias"]).all()
    data = Data(5, 2, 400, rates=1e8)
    assert not np.isfinite(data.through(make(initial(8, data)))["2.weight"]).all()


def test_the_engine_is_chosen_by_spec_and_device() -> None:
    spec = tiny.training(model=MLP(8))
    start = spec.model.initial(10, 2, seed=0)
    assert isinstance(learner(spec, start), CompiledLearner)
    assert isinstance(learner(spec, start, "meta"), TorchLearner)
    assert type(learner(tiny.training(model=MLP(8), batch_size=2), start)).__name__ == "GradientLearner"


def test_the_serial_and_the_shared_loop_never_answer_for_each_other_from_the_cache_on_disk() -> None:
    serial, shared = online_sgd._steps_serial, online_sgd._steps_shared
    assert shared.targetoptions["parallel"]
    assert not serial.targetoptions["parallel"]
    assert serial.py_func.__qualname__ != shared.py_func.__qualname__  # the cache's file name is made of it
