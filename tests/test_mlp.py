"""The network: two routes to its outputs, and an initialization with PyTorch's distribution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pdlib.models.mlp import MLP, as_module, logits, softmax
from pdlib.specs import SpecError


@pytest.mark.parametrize(("width", "n_classes", "n_examples"), [(3, 2, 7), (1025, 5, 513), (3000, 2, 1100)])
def test_outputs_by_tiles_equal_the_torch_module(width: int, n_classes: int, n_examples: int) -> None:
    parameters = MLP(width).initial(20, n_classes, seed=1)
    inputs = np.random.default_rng(0).choice([-1.0, 1.0], (n_examples, 20))
    with torch.no_grad():
        expected = as_module(parameters)(torch.from_numpy(inputs)).numpy()
    np.testing.assert_allclose(logits(parameters, inputs), expected, rtol=0, atol=1e-12)


def test_outputs_equal_the_formula() -> None:
    p = MLP(6).initial(4, 3, seed=0)
    x = np.random.default_rng(0).normal(size=(5, 4))
    hidden = np.maximum(x @ p["0.weight"].T + p["0.bias"], 0)
    np.testing.assert_allclose(logits(p, x), hidden @ p["2.weight"].T + p["2.bias"], atol=1e-14)


def test_outputs_have_the_parameters_precision() -> None:
    p = {k: v.astype(np.float32) for k, v in MLP(6).initial(4, 3, seed=0).items()}
    assert logits(p, np.ones((2, 4))).dtype == np.float32
    assert as_module(p)(torch.ones(2, 4)).dtype == torch.float32


def test_inputs_of_another_width_are_refused() -> None:
    with pytest.raises(SpecError, match=r"inputs of shape \(2, 5\): expected 4 columns"):
        logits(MLP(6).initial(4, 3, seed=0), np.ones((2, 5)))


def test_initial_parameters_are_uniform_within_one_over_root_fan_in_as_pytorchs() -> None:
    ours = MLP(2000).initial(50, 2, seed=0)
    torch.manual_seed(0)
    theirs = {"0": torch.nn.Linear(50, 2000), "2": torch.nn.Linear(2000, 2)}
    for name, value in ours.items():
        layer, kind = name.split(".")
        bound = 1 / np.sqrt(50 if layer == "0" else 2000)
        reference = getattr(theirs[layer], kind).detach().numpy()
        assert value.shape == reference.shape
        assert value.dtype == np.float64
        assert np.abs(value).max() <= bound
        assert np.abs(reference).max() <= bound
        if value.size > 1000:  # enough numbers for a variance: uniform on +-b has b^2 / 3
            assert value.var() == pytest.approx(bound**2 / 3, rel=5 / np.sqrt(value.size))
            assert reference.var() == pytest.approx(bound**2 / 3, rel=5 / np.sqrt(value.size))
            assert abs(value.mean()) < 5 * bound / np.sqrt(3 * value.size)
            assert np.abs(value).max() > 0.99 * bound


def test_initial_parameters_follow_the_seed_alone() -> None:
    a, b, c = (MLP(8).initial(5, 2, seed) for seed in (0, 0, 1))
    assert all((a[k] == b[k]).all() for k in a)
    assert all((a[k] != c[k]).all() for k in a)


def test_a_module_holds_copies() -> None:
    parameters = MLP(3).initial(2, 2, seed=0)
    before = parameters["2.bias"].copy()
    with torch.no_grad():
        as_module(parameters)[2].bias += 1  # type: ignore[operator]
    assert (parameters["2.bias"] == before).all()


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=6), st.sampled_from([1e-4, 0.1, 1.0, 10.0]))
def test_softmax_is_a_distribution_and_torchs(values: list[float], temperature: float) -> None:
    ours = softmax(np.array([values]), temperature)
    assert ours.sum() == pytest.approx(1.0)
    expected = torch.softmax(torch.tensor([values], dtype=torch.float64) / temperature, dim=1).numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-9)


def test_softmax_overflows_nowhere() -> None:
    assert softmax(np.array([[1e4, 0.0]]), 1e-4).tolist() == [[1.0, 0.0]]
    assert softmax(np.array([[5.0, 5.0]]), 1e-4).tolist() == [[0.5, 0.5]]
