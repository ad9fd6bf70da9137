"""The block engine is plain online SGD in another order: checked against a loop over samples in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pdlib.models.mlp import MLP, Parameters, as_module, logits, softmax
from pdlib.specs import SGD
from pdlib.training import online_sgd
from pdlib.training.online_sgd import (
    BLOCK,
    WIDE,
    WIDE_BLOCK,
    CompiledLearner,
    Learner,
    TorchLearner,
    learner,
    set_threads,
)

TOLERANCE = 1e-10  # of every parameter, after 5,000 float64 steps


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


def test_class_numbers_are_the_distributions_that_are_sure_of_them() -> None:
    data = Data(10, 5, 100)
    parameters = initial(16, data)
    for state in (CompiledLearner, lambda p: TorchLearner(p, "cpu")):
        found = data.through(state(parameters))
        named = Data(10, 5, 100)
        named.y = data.y.argmax(axis=1).astype(np.uint8)
        assert distance(named.through(state(parameters)), found) == 0
        named.y = (named.y + 1) % 5
        assert distance(named.through(state(parameters)), found) > 1e-2  # the control: other classes


# Against the plain loop


@pytest.mark.parametrize(
    ("width", "data"),
    [
        pytest.param(100, Data(20, 2, 5000), id="narrow"),
        pytest.param(2000, Data(50, 2, 5000, rates=0.01), id="width 2000"),
        pytest.param(
            37,
            Data(17, 5, 5000, rates=SGD(0.05, "cosine", 0.1).rates(0, 5000, 5000)),
            id="five classes, odd sizes, a rate that varies",
        ),
        pytest.param(64, Data(31, 3, 5000, targets="soft"), id="supervised by a teacher's distributions"),
    ],
)
def test_5000_steps_equal_a_plain_loop_to_1e_10(width: int, data: Data) -> None:
    start = initial(width, data)
    expected = plain_loop(start, data)
    assert distance(start, expected) > 0.05  # it has learned something
    assert distance(data.through(CompiledLearner(start)), expected) < TOLERANCE


def test_50_steps_at_width_50000_equal_a_plain_loop_to_1e_10() -> None:
    data = Data(50, 2, 50, targets="soft", rates=0.01)
    start = initial(50_000, data)
    assert len(data.x) < WIDE_BLOCK  # a block that is not full, shared by threads
    assert distance(data.through(CompiledLearner(start)), plain_loop(start, data)) < TOLERANCE


def test_the_shared_path_equals_a_plain_loop_over_several_blocks() -> None:
    data = Data(20, 3, 150, rates=0.01)
    start = initial(WIDE + 5, data)
    assert distance(data.through(CompiledLearner(start), 70), plain_loop(start, data)) < TOLERANCE


@pytest.mark.parametrize("make", [CompiledLearner, lambda p: TorchLearner(p, "cpu")])
def test_no_row_is_no_step(make: Any) -> None:
    data = Data(20, 2, 40)
    start = initial(16, data)
    state = make(start)
    state.steps(*(v[:0] for v in (np.zeros((1, state.n_columns)), data.y, data.rates)))
    assert distance(state.parameters(), start) == 0


@pytest.mark.parametrize("width", [1, 10, 15, 16, 17])
def test_widths_and_block_ends_of_any_size_equal_a_plain_loop(width: int) -> None:
    data = Data(15, 2, 301, rates=0.1)  # 15 inputs and the bias: no padding
    start = initial(width, data)
    expected = plain_loop(start, data)
    for cuts in [(), (1,), (BLOCK,), (BLOCK - 1, BLOCK + 2, 100, 100, 299)]:
        assert distance(data.through(CompiledLearner(start), *cuts), expected) < TOLERANCE


def test_the_bias_belongs_into_the_gram_matrix() -> None:
    """The control: the same arithmetic without the bias there is another training, and the check above sees it."""
    data = Data(20, 2, 5000)
    start = initial(100, data)
    ours = data.through(CompiledLearner(start))
    assert distance(block_form(start, data, bias_in_gram=True), ours) < TOLERANCE
    assert distance(block_form(start, data, bias_in_gram=False), ours) > 1e-3
    assert (
        distance(block_form(start, data, block=1, bias_in_gram=False), ours) < TOLERANCE
    )  # no look-ahead, no Gram


@pytest.mark.parametrize(("width", "n_classes"), [(100, 2), (37, 5)])
def test_the_torch_form_equals_the_compiled_one(width: int, n_classes: int) -> None:
    data = Data(20, n_classes, 1000, targets="soft", rates=0.05)
    start = initial(width, data)
    compiled = data.through(CompiledLearner(start), 333)
    assert distance(data.through(TorchLearner(start, "cpu"), 333), compiled) < TOLERANCE


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
    set_threads(2)
    for name, value in results[0].items():
        assert value.tobytes() == results[1][name].tobytes() == results[2][name].tobytes(), name


def test_a_learner_leaves_the_parameters_it_was_given_alone_and_gives_copies() -> None:
    data = Data(5, 2, 40)
    for make in (CompiledLearner, lambda p: TorchLearner(p, "cpu")):
        start = initial(8, data)
        before = {k: v.copy() for k, v in start.items()}
        state = make(start)
        after = data.through(state)
        assert distance(start, before) == 0
        after["0.weight"][:] = np.nan
        assert np.isfinite(state.parameters()["0.weight"]).all()


@pytest.mark.parametrize("make", [CompiledLearner, lambda p: TorchLearner(p, "cpu")])
def test_what_is_not_a_number_is_not_hidden(make: Any) -> None:
    data = Data(5, 2, 40)
    data.x[10, 2] = np.nan
    assert np.isnan(data.through(make(initial(8, data)))["2.bias"]).all()
    data = Data(5, 2, 400, rates=1e8)
    assert not np.isfinite(data.through(make(initial(8, data)))["2.weight"]).all()


def test_no_steps_change_nothing() -> None:
    data = Data(5, 2, 0)
    start = initial(8, data)
    assert distance(data.through(CompiledLearner(start)), start) == 0


def test_the_engine_is_chosen_by_device() -> None:
    start: dict[str, NDArray[Any]] = MLP(8).initial(5, 2, seed=0)
    assert isinstance(learner(start), CompiledLearner)
    assert isinstance(learner(start, "meta"), TorchLearner)


def test_the_serial_and_the_shared_loop_never_answer_for_each_other_from_the_cache_on_disk() -> None:
    serial, shared = online_sgd._steps_serial, online_sgd._steps_shared
    assert shared.targetoptions["parallel"]
    assert not serial.targetoptions["parallel"]
    assert serial.py_func.__qualname__ != shared.py_func.__qualname__  # the cache's file name is made of it
