"""Transformers for sparse parity: exact on whole cubes, two routes to each output, and controls that fail."""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdlib.specs import Calculation, SpecError
from pdlib.theory import constructions as c
from pdlib.theory import setting


def labels(bits: np.ndarray[Any, Any], support: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """The label by a plain loop over the support."""
    y = np.ones(len(bits))
    for i in support:
        y = y * bits[:, i]
    return y


def errors(
    network: c.Transformer, bits: np.ndarray[Any, Any], support: tuple[int, ...]
) -> np.ndarray[Any, Any]:
    return np.asarray(np.abs(network.outputs(bits)[:, 0] - labels(bits, support)))


def selecting(d: int, support: tuple[int, ...], offset: float = 0.0, **named: Any) -> c.Transformer:
    sharpness = c.smallest_sharpness(d, len(support)) + offset
    return c.attention_selects(d, support, sharpness, **({"repaired": True} | named))


# ------------------------------------------------------------------------------------------------- the block


def plain(network: c.Transformer, bits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The last position's outputs by loops over inputs and keys, as the paper writes them."""
    out = []
    for z in (bits > 0).astype(int):
        x = [network.table[z[j], j] for j in range(len(z))]
        weights = [np.exp(x[-1] @ network.W_Q @ network.W_K.T @ key) for key in x]
        h = sum(w * key @ network.W_V for w, key in zip(weights, x, strict=True)) / sum(weights)
        for layer, (W, b) in enumerate(network.layers):
            h = W @ h + b
            if layer < len(network.layers) - 1:
                h = h * (h > 0)
        out.append(h)
    return np.array(out)


def random_network(rng: np.random.Generator) -> c.Transformer:
    draw = rng.standard_normal
    layers = ((draw((7, 2)), draw(7)), (draw((4, 7)), draw(4)), (draw((3, 4)), draw(3)))
    return c.Transformer(draw((2, 7, 5)), draw((5, 2)), draw((5, 2)), draw((5, 2)), layers)


NETWORKS: dict[str, Callable[[], c.Transformer]] = {
    "random": lambda: random_network(np.random.default_rng(2)),
    "selects": lambda: selecting(7, (1, 3, 4)),
    "printed": lambda: selecting(7, (1, 3, 4), repaired=False, last_encoding="e3"),
    "zigzag": lambda: c.uniform_attention(7, (1, 3, 4)),
    "lemma": lambda: c.uniform_attention(7, (1, 3, 4), "lemma"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_the_block_of_the_paper_by_plain_loops(name: str) -> None:
    network, bits = NETWORKS[name](), setting.cube(7)
    np.testing.assert_allclose(network.outputs(bits), plain(network, bits), rtol=1e-12, atol=1e-11)


# ------------------------------------------------------------------------------------------------ the lemmas


@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 20))
def test_an_mlp_of_points_is_exact_up_to_a_quarter_of_the_gap(n: int, size: int, seed: int) -> None:
    check_lemma(c.Interpolation1D(n, size, seed), ["width_1", "W_1", "b_1", "W_2", "b_2"])
    layers = ["width_1", "W_1", "b_1", "width_2", "W_2", "b_2", "W_3", "b_3"]
    check_lemma(c.InterpolationND(n, size, seed), layers)


def check_lemma(calculation: Calculation, quantities: list[str]) -> None:
    rows = calculation.rows()
    outputs = [row for row in rows if row["quantity"] == "output"]
    for row in outputs:
        assert row["max_error"] == pytest.approx(row["formula"], abs=1e-9)
        assert (row["max_error"] <= 1e-9) == (row["perturbation"] <= 0.25)
    norms = [row for row in rows if row["quantity"] != "output"]
    assert [row["quantity"] for row in norms] == quantities
    for row in norms:
        assert row["value"] <= row["bound"] * (1 + 1e-12)
        if row["quantity"].startswith("width"):
            assert row["value"] == row["bound"]


def test_points_may_be_closer_than_the_gap_in_a_single_coordinate() -> None:
    """The lemma asks for the gap in some coordinate of each pair, not in each coordinate."""
    points = np.array([[0.0, 0.0], [0.01, 1.0], [0.02, 2.0], [5.0, 1.0]])
    values = np.array([1.0, -2.0, 3.0, -4.0])
    layers = c.interpolation(points, values, gap=1.0)
    assert [len(b) for _, b in layers] == [4 * (4 + 3), 4, 1]
    for corner in setting.cube(2):
        assert c.mlp(layers, points + 0.25 * corner)[:, 0] == pytest.approx(values, abs=1e-12)
        assert np.abs(c.mlp(layers, points + 0.26 * corner)[:, 0] - values).min() > 0.05


def test_the_two_lemmas_are_the_same_sum_of_trapezoids_on_a_line() -> None:
    points, values, gap = np.array([-1.0, 0.5, 2.0]), np.array([0.3, -1.0, 0.7]), 1.5
    x = np.linspace(-3, 4, 701)[:, None]
    plain = (np.clip(2 - 4 * np.abs(x - points) / gap, 0, 1) * values).sum(axis=1)
    one = c.mlp(c.interpolation_1d(points, values, gap), x)[:, 0]
    many = c.mlp(c.interpolation(points[:, None], values, gap), x)[:, 0]
    np.testing.assert_allclose(one, plain, atol=1e-12)
    np.testing.assert_allclose(many, plain, atol=1e-12)


def test_the_norms_of_the_lemmas_hold_for_entries_not_for_row_sums() -> None:
    rows = {row["quantity"]: row for row in c.InterpolationND(30, 4, seed=0).rows()}
    assert rows["W_1"]["operator_norm"] == pytest.approx(rows["W_1"]["bound"])
    assert rows["W_2"]["operator_norm"] == 4 * 4 > rows["W_2"]["bound"] == 1  # four corners a coordinate
    assert rows["W_3"]["operator_norm"] > 5 * rows["W_3"]["bound"]  # a unit a point
    assert rows["b_2"]["value"] == 3 < rows["b_2"]["bound"] == 4


# ------------------------------------------------------- Proposition C.1: the attention selects the support


@pytest.mark.parametrize("support", [(0,), (2, 5, 9), (2, 5, 8), (0, 1, 4, 6, 9), tuple(range(1, 10))])
def test_selecting_attention_is_exact_just_as_sharp_as_needed_and_fails_with_a_little_less(
    support: tuple[int, ...],
) -> None:
    bits, k = setting.cube(10), len(support)
    assert errors(selecting(10, support), bits, support).max() <= 1e-9
    error = errors(selecting(10, support, -1e-3), bits, support)
    wrong = {tuple(x) for x in bits[error > 1e-9]}
    assert {tuple(x) for x in c.worst_inputs(10, support)} <= wrong
    leak = (10 - k) / (k * np.exp(c.smallest_sharpness(10, k) - 1e-3) + 10 - k)
    assert error.max() == pytest.approx(4 * k * leak - 1, rel=1e-6)  # what the trapezoid loses beyond 1/4


@pytest.mark.parametrize(("d", "k"), [(3, 1), (10, 3), (100, 6), (100, 99)])
def test_the_selecting_mlp_has_the_width_and_norm_of_the_proposition(d: int, k: int) -> None:
    (row,) = c.SupportSelection(d, k, n_samples=50).rows()
    assert row["hidden"] == row["hidden_bound"] == 4 * (k + 1)
    assert row["largest_entry"] == pytest.approx(4 * k + 2)
    assert row["operator_norm"] == pytest.approx(4 * (k + 1))
    assert row["norm_bound"] == 4 * k * (k + 1) >= max(row["largest_entry"], row["operator_norm"])
    assert row["tolerance"] == 1 / (4 * k)
    assert row["leak"] == pytest.approx(row["tolerance"])  # no sharper than needed
    assert row["sharpness"] == pytest.approx(log((4 * k - 1) * (d - k) / k))


def test_a_support_wrong_by_one_position_fails_on_half_of_the_inputs() -> None:
    bits, support, other = setting.cube(10), (1, 4, 7), (1, 4, 8)
    for network in (selecting(10, other), c.uniform_attention(10, other)):
        error = errors(network, bits, support)
        assert (error > 1).mean() == 0.5
        assert errors(network, bits, other).max() <= 1e-9


def test_the_printed_example_works_only_with_the_last_position_in_the_support() -> None:
    (inside,) = c.SupportSelection(10, 4, last_in_support=True, example="printed").rows()
    assert (inside["n_inputs"], inside["n_errors"]) == (1024, 0)
    averaged, uniform = c.SupportSelection(10, 4, last_in_support=False, example="printed").rows()
    assert (averaged["reading"], uniform["reading"]) == ("p_n = e3", "p_n = e4")
    for row in (averaged, uniform):
        assert row["n_errors"] >= row["least_error"] * 1024 > 0.1 * 1024
        assert row["max_error"] > 1
    assert uniform["leak"] == pytest.approx(6 / 10)
    (repaired,) = c.SupportSelection(10, 4, last_in_support=False, example="repaired").rows()
    assert (repaired["n_inputs"], repaired["n_errors"], repaired["least_error"]) == (1024, 0, 0.0)


@pytest.mark.parametrize(("reading", "n_others"), [("e3", 1), ("e4", 6)])
def test_no_mlp_could_save_the_printed_example(reading: Literal["e3", "e4"], n_others: int) -> None:
    """The best guess for each attended number, found by sorting all inputs by it, errs as the closed form says."""
    support, bits = (0, 2, 3, 7), setting.cube(10)
    network = selecting(10, support, 30.0, repaired=False, last_encoding=reading)  # no leak to read r from
    keys = network.attended(bits)[:, 0].round(8)
    y = labels(bits, support)
    wrong = sum(min((y[keys == key] > 0).sum(), (y[keys == key] < 0).sum()) for key in np.unique(keys))
    assert wrong / 1024 == c.least_error(4, n_others)


# --------------------------------------------------------------- Proposition C.3: the attention is uniform


@pytest.mark.parametrize("layers", ["zigzag", "lemma"])
@pytest.mark.parametrize("support", [(0,), (2, 5, 9), (0, 1, 4, 6), tuple(range(7))])
def test_uniform_attention_is_exact_on_every_input(
    layers: Literal["zigzag", "lemma"], support: tuple[int, ...]
) -> None:
    network = c.uniform_attention(11, support, layers)
    assert errors(network, setting.cube(11), support).max() <= 1e-9


@pytest.mark.parametrize("k", range(2, 7))
def test_the_zigzag_computes_parity_within_every_bound_of_the_proposition(k: int) -> None:
    support = tuple(range(1, 2 * k, 2))
    layers, bits = c.zigzag(2 * k, support), setting.cube(2 * k)
    outputs = c.mlp(layers, (bits + 1) / 2)[:, 0]
    np.testing.assert_array_equal(outputs, labels(bits, support))  # whole numbers: no rounding
    assert [len(b) for _, b in layers] == [k, 1, 1]
    assert k <= 2**k
    norms = {"largest_entry": max(2, k - 1), "operator_norm": max(k, 2 * k - 1)}
    assert c.norms(layers) == norms
    assert max(norms.values()) <= 2 ** (k + 2)


@pytest.mark.parametrize("k", [1, 5, 6, 8])
def test_the_lemmas_mlp_is_within_the_printed_width_from_k_of_6_on_and_always_within_the_norm(k: int) -> None:
    (row,) = c.UniformAttention(100, k, "lemma", n_samples=20).rows()
    assert (row["width_1"], row["width_2"], row["printed_width"]) == (8 * k, 2**k, 2**k)
    assert (max(row["width_1"], row["width_2"]) <= row["printed_width"]) == (k >= 6)
    assert row["largest_entry"] == max(6, k - 1) <= row["norm_bound"] == 2 ** (k + 2)
    assert row["operator_norm"] == max(4 * k, 2**k) <= row["norm_bound"]


@given(st.integers(1, 5), st.integers(0, 5))
def test_the_least_error_is_that_of_an_enumeration(k: int, n: int) -> None:
    bits = setting.cube(k + n)
    ones, y = (bits > 0).sum(axis=1), labels(bits, tuple(range(k)))
    wrong = sum(min((y[ones == m] > 0).sum(), (y[ones == m] < 0).sum()) for m in range(k + n + 1))
    assert c.least_error(k, n) == wrong / len(bits)


# --------------------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize(
    "calculation",
    [
        c.SupportSelection(100, 6, True, n_samples=20_000),
        c.SupportSelection(100, 6, False, n_samples=20_000),
        c.UniformAttention(100, 6, "lemma", n_samples=20_000),
        c.UniformAttention(100, 40, "zigzag", n_samples=20_000),  # a wide support needs no wide layer
    ],
)
def test_random_inputs_of_the_papers_size_are_answered_exactly(calculation: Any) -> None:
    (row,) = calculation.rows()
    assert (row["n_inputs"], row["n_errors"]) == (20_000, 0)


def test_the_sample_holds_the_worst_inputs_so_that_too_little_sharpness_shows() -> None:
    (row,) = c.SupportSelection(100, 6, n_samples=5000, sharpness_offset=-0.01).rows()
    assert row["n_errors"] == 2
    (row,) = c.SupportSelection(100, 6, n_samples=5000, sharpness_offset=-4.0).rows()
    assert row["n_errors"] > 1000


def test_a_seed_decides_the_inputs_however_they_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    worst = c.worst_inputs(20, (1, 2))
    whole = np.concatenate(list(c._inputs(20, 900, 1, worst)))
    assert whole.shape == (900, 20)
    assert abs(whole.mean()) < 0.05
    np.testing.assert_array_equal(whole[:2], worst)
    monkeypatch.setattr(setting, "INPUTS_AT_ONCE", 7)
    np.testing.assert_array_equal(np.concatenate(list(c._inputs(20, 900, 1, worst))), whole)
    np.testing.assert_array_equal(np.concatenate(list(c._inputs(9, 1, 1))), setting.cube(9))
    assert (np.concatenate(list(c._inputs(20, 900, 2))) != whole).any()


def test_supports_are_drawn_with_or_without_the_last_position() -> None:
    drawn = {last: [c.drawn_support(9, 3, s, last) for s in range(30)] for last in (True, False, None)}
    assert all(8 in support for support in drawn[True])
    assert all(8 not in support for support in drawn[False])
    assert 0 < sum(8 in support for support in drawn[None]) < 30
    for supports in drawn.values():
        assert len(set(supports)) > 10
        assert all(len(set(support)) == 3 and support == tuple(sorted(support)) for support in supports)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: c.interpolation_1d(np.array([0, 0.5]), np.ones(2), 0.6), "two points 0.5 apart: expected points at least"),
        (lambda: c.interpolation_1d(np.zeros((2, 2)), np.ones(2), 1.0), r"shape \(2, 2\): expected \(n,\)"),
        (lambda: c.interpolation(np.zeros(2), np.ones(2), 1.0), r"shape \(2,\): expected \(n, input\)"),
        (lambda: c.interpolation_1d(np.zeros(0), np.zeros(0), 1.0), "at least one"),
        (lambda: c.interpolation_1d(np.arange(2.0), np.ones(3), 1.0), r"values of shape \(3,\) for 2 points"),
        (lambda: c.interpolation_1d(np.arange(2.0), np.array([1, np.nan]), 1.0), "expected finite numbers"),
        (lambda: c.interpolation_1d(np.arange(2.0), np.ones(2), 0.0), "gap = 0.0: expected a finite number above 0"),
        (lambda: c.SupportSelection(5, 5), "fewer than n_bits d = 5"),
        (lambda: c.SupportSelection(5, 2, True, "repair"), "example = 'repair'"),  # type: ignore[arg-type]
        (lambda: c.SupportSelection(5, 2, sharpness_offset=-3.0), r"sharpness_offset = -3.0: .* above -2\.35"),
        (lambda: c.UniformAttention(50, 13, "lemma"), "support_size k = 13: expected at most 12"),
        (lambda: c.UniformAttention(50, 0), "support_size = 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_built_says_why(make: Callable[[], object], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        make()
