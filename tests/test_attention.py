"""Attention along paths: against a loop over paths, closed forms, networks made by hand, and what is refused."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pdlib.models.mlp import MLP
from pdlib.models.transformer import Transformer, tokens_of
from pdlib.optimizers import SGD, Adam
from pdlib.probes import attention
from pdlib.probes.attention import AttentionPaths, last_position_mass, path_mass
from pdlib.specs import Parameters, Training
from pdlib.tasks.parity import SparseParity

N_BITS, SUPPORT = 6, (1, 2, 4)
TASK = SparseParity(N_BITS, len(SUPPORT), SUPPORT)
COLUMNS = [
    f"{what}{end}"
    for what in ("on_support", "on_coordinate", "off_coordinate")
    for end in ("", "_low", "_high")
]


def training(model: Any, task: Any = TASK) -> Training:
    optimizer = SGD(0.1) if isinstance(model, MLP) else Adam(1e-3)
    return Training(task, model, optimizer, n_steps=10, evaluate_every=10)


def random_layers(n_layers: int, n_heads: int, n: int = 3, d: int = 4, causal: bool = True) -> list[Tensor]:
    """Attention weights with rows that sum to 1."""
    generator = torch.Generator().manual_seed(n_layers + 10 * n_heads)
    scores = torch.randn(n_layers, n, n_heads, d, d, generator=generator, dtype=torch.float64)
    if causal:
        scores = scores.masked_fill(torch.ones(d, d).triu(1).bool(), -torch.inf)
    return list(scores.softmax(dim=-1))


def mass_by_paths(layers: list[Tensor], example: int, j: int) -> float:
    """The sum over all paths from the last position back to j, one position and one head a layer."""
    n_heads, d = layers[0].shape[1], layers[0].shape[3]
    total = 0.0
    for between in itertools.product(range(d), repeat=len(layers) - 1):
        positions = (j, *between, d - 1)  # of the input, of each layer's output
        for heads in itertools.product(range(n_heads), repeat=len(layers)):
            product = 1.0
            for layer, (h, weights) in enumerate(zip(heads, layers, strict=True)):
                product *= float(weights[example, h, positions[layer + 1], positions[layer]])
            total += product
    return total / n_heads ** len(layers)


# The formula


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("n_layers", "n_heads"), [(1, 3), (2, 1), (3, 2)])
def test_a_mass_is_the_sum_over_all_paths(n_layers: int, n_heads: int, causal: bool) -> None:
    layers = random_layers(n_layers, n_heads, causal=causal)
    expected = [[mass_by_paths(layers, n, j) for j in range(4)] for n in range(3)]
    np.testing.assert_allclose(path_mass(layers).numpy(), expected, rtol=0, atol=1e-14)
    np.testing.assert_allclose(np.sum(expected, axis=1), 1, rtol=0, atol=1e-14)
    last = [*layers[:-1], layers[-1][:, :, -1:]]  # the last layer's last query is enough
    assert path_mass(last).tolist() == path_mass(layers).tolist()
    if n_layers > 1:  # the control: the layers in the other order
        assert np.abs(path_mass(layers[::-1]).numpy() - expected).max() > 0.01


def closed_form(d: int) -> list[float]:
    """Uniform causal attention in two layers: the last position sees all i alike, and i all j <= i alike."""
    return [sum(1 / d * 1 / (i + 1) for i in range(j, d)) for j in range(d)]


def test_uniform_causal_attention_favors_the_first_positions_by_its_closed_form() -> None:
    d = 24
    uniform = torch.ones(d, d, dtype=torch.float64).tril()
    uniform = (uniform / uniform.sum(dim=1, keepdim=True)).expand(2, 3, d, d)
    mass = path_mass([uniform, uniform])
    np.testing.assert_allclose(mass[0].numpy(), closed_form(d), rtol=0, atol=1e-14)
    assert mass[0, :5].sum() > 2 * 5 / d  # without a mask it would be 5 / d
    everywhere = torch.full((1, 3, d, d), 1 / d, dtype=torch.float64)
    np.testing.assert_allclose(path_mass([everywhere, everywhere])[0].numpy(), 1 / d, rtol=0, atol=1e-14)


# Networks


def made_by_hand(keys: Sequence[int], first: str = "own") -> tuple[Transformer, Parameters]:
    """A network whose last position attends to the given keys in its second layer, whatever the tokens.

    Position p is embedded as the p-th unit vector, nothing is added to it, and scores are so large that weights are
    0 or equal. In the first layer each position attends to itself (`own`) or to all it sees (`uniform`).
    """
    model = Transformer(
        n_layers=2, n_heads=1, head_size=N_BITS, width=N_BITS, n_positions=N_BITS, initial_std=0.0
    )
    parameters = model.initial(N_BITS, 2, seed=0)
    parameters["position.weight"] = np.eye(N_BITS)
    unit, zero = np.eye(N_BITS), np.zeros((N_BITS, N_BITS))
    query = 1e3 * unit if first == "own" else zero
    parameters["layers.0.qkv.weight"] = np.concatenate([query, unit, zero])
    chosen = np.diag([float(p in keys) for p in range(N_BITS)])
    parameters["layers.1.qkv.weight"] = np.concatenate([zero, chosen, zero])
    parameters["layers.1.qkv.bias"] = np.concatenate([1e3 * np.ones(N_BITS), np.zeros(2 * N_BITS)])
    return model, parameters


def only_row(model: Any, parameters: Parameters, n_samples: int = 50) -> dict[str, Any]:
    (row,) = AttentionPaths(n_samples).rows(training(model), parameters)
    assert sorted(row) == sorted(COLUMNS)
    return row


def test_the_mass_is_where_a_network_of_known_attention_has_it() -> None:
    row = only_row(*made_by_hand(SUPPORT))
    for end in ("", "_low", "_high"):
        expected = {"on_support": 1, "on_coordinate": 1 / 3, "off_coordinate": 0}
        assert {k: row[f"{k}{end}"] for k in expected} == pytest.approx(expected, abs=1e-12)
    off = only_row(*made_by_hand((0, 3, 5)))
    assert (off["on_support"], off["off_coordinate"]) == pytest.approx((0, 1 / 3), abs=1e-12)
    assert only_row(*made_by_hand((0, 4)))["on_support"] == pytest.approx(1 / 2, abs=1e-12)
    # the first layer counts as the last one does: uniform there, position i hands on 1/(i + 1) of each j <= i
    row = only_row(*made_by_hand(SUPPORT, first="uniform"))
    handed_on = sum(sum(j in SUPPORT for j in range(i + 1)) / (i + 1) for i in SUPPORT) / len(SUPPORT)
    assert row["on_support"] == pytest.approx(handed_on, abs=1e-12)
    assert handed_on < 0.6


def test_a_network_without_weights_attends_uniformly() -> None:
    model = Transformer(2, 2, 4, n_positions=N_BITS, initial_std=0.0)
    row = only_row(model, model.initial(N_BITS, 2, seed=0))
    assert row["on_support"] == pytest.approx(sum(closed_form(N_BITS)[j] for j in SUPPORT), abs=1e-12)


def random_network(**changes: Any) -> tuple[Transformer, Parameters]:
    model = Transformer(2, 3, 4, n_positions=N_BITS, initial_std=0.8, **changes)
    return model, model.initial(N_BITS, 2, seed=3)


@pytest.mark.parametrize("changes", [{}, {"attends": "all"}, {"heads": "averaged"}])
def test_the_mass_of_a_network_is_that_of_all_its_attention_weights(changes: dict[str, Any]) -> None:
    model, parameters = random_network(**changes)
    inputs, _ = TASK.stream(0, "probe").examples(0, 20)
    layers: list[Tensor] = []
    with torch.no_grad():
        model.module(parameters)(tokens_of(inputs), attention=layers)
    assert [layer.shape for layer in layers] == [(20, 3, N_BITS, N_BITS)] * 2
    expected = [[mass_by_paths(layers, n, j) for j in range(N_BITS)] for n in range(20)]
    mass = last_position_mass(model, parameters, inputs)
    np.testing.assert_allclose(mass, expected, rtol=0, atol=1e-12)
    assert np.ptp(mass, axis=0).max() > 0.05  # another input, other paths


def test_a_row_holds_medians_and_percentiles_over_the_probes_inputs() -> None:
    model, parameters = random_network()
    row = only_row(model, parameters, n_samples=101)
    inputs, _ = TASK.stream(0, "probe").examples(0, 101)
    mass = np.sort(last_position_mass(model, parameters, inputs)[:, list(SUPPORT)].sum(axis=1))
    # the 5th percentile of 101 values is the sixth
    assert [row[f"on_support{end}"] for end in ("_low", "", "_high")] == [mass[5], mass[50], mass[95]]
    assert mass[5] < mass[50] < mass[95]
    assert row["on_coordinate"] == pytest.approx(mass[50] / 3)
    assert 3 * row["off_coordinate"] == pytest.approx(1 - mass[50])


def test_masses_depend_neither_on_how_many_are_computed_at_once_nor_on_dropout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain, dropped = random_network(), random_network(dropout=0.5)
    assert only_row(*plain) == only_row(*dropped)
    inputs, _ = TASK.stream(0, "probe").examples(0, 20)
    at_once = last_position_mass(*plain, inputs)
    monkeypatch.setattr(attention, "EXAMPLES_AT_ONCE", 7)
    np.testing.assert_allclose(last_position_mass(*plain, inputs), at_once, rtol=0, atol=1e-14)
