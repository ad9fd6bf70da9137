r"""Transformers that compute sparse parity, with their weights written down (paper, appendix C.2.1).

The block has no residual connection and no layer norm: causal attention, then an MLP at every position,

.. math:: f_\text{attn}(X) = \mathrm{CausalAttn}(X W_Q W_K^\top X^\top) X W_V, \qquad
          f^{(l+1)}(x) = \sigma(W_{l+1} f^{(l)}(x) + b_{l+1}),

with :math:`\sigma` the ReLU, the identity at the last layer. It reads its answer off the last position. Tokens are
:math:`z_i = 1[x_i = +1]`; with t ones among the k positions of the support the label is
:math:`y = \prod_{i \in S} x_i = (-1)^{k-t}`.

In this order: the block; Lemmas C.2 and C.4, which make an MLP of any function on finitely many points; Propositions C.1
(attention selects the support) and C.3 (attention is uniform); their tables. Here d may be even and k odd.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import comb, log, nan, sqrt
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist
from scipy.special import softmax

from pdlib.specs import Calculation, Count, Index, Positive, checked, require
from pdlib.theory import setting

ENUMERATED = 16  # largest d whose whole cube the tables go through; above, inputs are drawn
LARGEST_SUPPORT = 12  # k of Proposition C.3 by Lemma C.4: 2^k units in the second layer
EXACT = 1e-9  # outputs this close to the label count as equal: far above rounding, far below any failure

Array = NDArray[np.float64]
Layers = tuple[tuple[Array, Array], ...]  # (W, b) of each layer: W (out, in), b (out,)

# ------------------------------------------------------------------------------------------------- the block


def mlp(layers: Layers, inputs: Array) -> Array:
    r"""Return :math:`W_L \sigma(\cdots \sigma(W_1 x + b_1) \cdots) + b_L` of each input, shapes (..., in) to (..., out).

    >>> absolute = ((np.array([[1.0], [-1.0]]), np.zeros(2)), (np.array([[1.0, 1.0]]), np.zeros(1)))
    >>> mlp(absolute, np.array([[-3.0], [2.0]])).tolist()
    [[3.0], [2.0]]
    """
    hidden = inputs
    for i, (W, b) in enumerate(layers):
        hidden = hidden @ W.T
        hidden += b
        if i < len(layers) - 1:
            np.maximum(hidden, 0.0, out=hidden)
    return hidden


@dataclass(frozen=True, eq=False)
class Transformer:
    r"""A table of embeddings, causal attention and a position-wise MLP, nothing else: bits in, an answer at the end out.

    Only the last position is computed, and embeddings are never made: with two tokens, scores and values are tables by
    position. (Paper, appendix C.2.1, first two displays.) Uniform attention, values doubled, an MLP of one linear layer:

    >>> still, double = np.zeros((1, 1)), np.array([[2.0]])
    >>> table = np.array([[[0.0], [0.0], [0.0]], [[1.0], [2.0], [6.0]]])
    >>> Transformer(table, still, still, double, ((np.eye(1), np.zeros(1)),)).outputs(np.ones((1, 3))).tolist()
    [[6.0]]
    """

    table: Array  # (2, position, embedding): the embedding of each token at each position, token 0 (bit -1) first
    W_Q: Array  # (embedding, head): the score of position j at i is x_i^T W_Q W_K^T x_j, not scaled
    W_K: Array  # (embedding, head)
    W_V: Array  # (embedding, value)
    layers: Layers  # of the MLP; the first takes `value` numbers

    def attended(self, bits: NDArray[Any]) -> Array:
        """Return what attention hands the MLP at the last position, shape (batch, value); bits are (batch, position)."""
        z = bits == 1
        query = self.table[:, -1] @ self.W_Q  # (token of the last position, head)
        scores = np.einsum("ah,zih->azi", query, self.table @ self.W_K)
        values = self.table @ self.W_V  # (token, position, value)
        last = z[:, -1].astype(np.intp)
        alpha = softmax(np.where(z, scores[last, 1], scores[last, 0]), axis=1)  # (batch, position)
        found: Array = alpha @ values[0] + (alpha * z) @ (values[1] - values[0])
        return found

    def outputs(self, bits: NDArray[Any]) -> Array:
        """Return the MLP's outputs at the last position, shape (batch, output)."""
        return mlp(self.layers, self.attended(bits))


# ------------------------------------------------------------------- functions on finitely many points as MLPs

CORNERS = np.array([2.0, 1.0, -1.0, -2.0])  # where a trapezoid bends, in units of slope * distance
RISES = np.array([1.0, -1.0, -1.0, 1.0])  # by how many slopes it bends there


def _corners(points: Array, gap: float) -> Array:
    """Return the biases of units that bend at the corners of a trapezoid around each point, 4 each."""
    return np.asarray((CORNERS - 4 * points[:, None] / gap).ravel())


def interpolation_1d(points: Array, values: Array, gap: float) -> Layers:
    r"""Lemma C.2: a two-layer ReLU network that is f on points of the line, and constant near each of them.

    .. math:: f_\text{mlp}(x) = \sum_{p \in X} f(p) \psi(x - p), \qquad
              \psi(u) = \sigma(\tfrac{4u}{\Delta} + 2) - \sigma(\tfrac{4u}{\Delta} + 1)
                      - \sigma(\tfrac{4u}{\Delta} - 1) + \sigma(\tfrac{4u}{\Delta} - 2)

    The trapezoid :math:`\psi` is 1 for :math:`|u| \le \Delta/4` and 0 for :math:`|u| \ge \Delta/2`, so that trapezoids
    of different points do not meet.

    `points`, shape (n,), keep a distance of at least `gap`, :math:`\Delta`; `values`, shape (n,) or (n, output), are f.
    There are 4 n hidden units; `Interpolation1D` measures the entries. Paper, after Liu et al. 2022, Lemma 1.

    >>> layers = interpolation_1d(np.array([0.0, 1.0]), np.array([5.0, -7.0]), gap=1.0)
    >>> mlp(layers, np.array([[-0.25], [0.25], [0.5], [0.75], [1.0]])).ravel().tolist()
    [5.0, 5.0, 0.0, -7.0, -7.0]
    """
    require(points.ndim == 1, f"points of shape {points.shape}", "(n,)", "For more inputs use interpolation.")
    points, values = _checked(points[:, None], values, gap)
    W_1 = np.full((4 * len(points), 1), 4 / gap)
    W_2 = (values.T[:, :, None] * RISES).reshape(values.shape[1], -1)
    return (W_1, _corners(points[:, 0], gap)), (W_2, np.zeros(values.shape[1]))


def interpolation(points: Array, values: Array, gap: float) -> Layers:
    r"""Lemma C.4: a three-layer ReLU network that is f on points of several dimensions, constant near each.

    The first layer holds the four corners of a trapezoid for every value v that any point has in coordinate i, the
    second one unit for each point, on if all its coordinates are:

    .. math:: f_\text{mlp}(x) = \sum_{p \in X} f(p) \, \sigma\Bigl(\sum_i \psi(x_i - p_i) - (d_\text{in} - 1)\Bigr)

    Values in one coordinate may be closer than :math:`\Delta`: it is enough that any two points differ by
    :math:`\Delta` in some coordinate, since the trapezoid of the one is 0 within :math:`\Delta/4` of the other there.

    `points` have the shape (n, input), `values` (n,) or (n, output). The widths are :math:`4 \sum_i |X_i|` and :math:`|X|`;
    `InterpolationND` measures the entries. Paper, after Liu et al. 2022, Lemma 2.

    >>> xor = interpolation(np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0]), gap=1.0)
    >>> mlp(xor, np.array([[0.2, 0.9], [1.25, 0.75]])).ravel().round(12).tolist()
    [1.0, 0.0]
    >>> [len(b) for _, b in xor]
    [16, 4, 1]
    """
    require(points.ndim == 2, f"points of shape {points.shape}", "(n, input)")
    points, values = _checked(points, values, gap)
    n, n_inputs = points.shape
    columns = [np.unique(column, return_inverse=True) for column in points.T]
    width = 4 * sum(len(unique) for unique, _ in columns)
    W_1, b_1, W_2 = np.zeros((width, n_inputs)), np.zeros(width), np.zeros((n, width))
    start = 0
    for i, (unique, which) in enumerate(columns):
        stop = start + 4 * len(unique)
        W_1[start:stop, i] = 4 / gap
        b_1[start:stop] = _corners(unique, gap)
        W_2[np.arange(n)[:, None], start + 4 * which.reshape(-1, 1) + np.arange(4)] = RISES
        start = stop
    b_2 = np.full(n, 1.0 - n_inputs)
    return (W_1, b_1), (W_2, b_2), (values.T.copy(), np.zeros(values.shape[1]))


def _checked(points: Array, values: Array, gap: float) -> tuple[Array, Array]:
    """Return points and values of shape (n, output), after checking all three."""
    checked("gap", gap, Positive)
    require(
        values.ndim in (1, 2) and len(values) == len(points) > 0,
        f"values of shape {values.shape} for {len(points)} points",
        "one for each point, and at least one",
    )
    is_finite = bool(np.isfinite(points).all() and np.isfinite(values).all())
    require(is_finite, "points or values", "finite numbers")
    closest = float(pdist(points, "chebyshev").min()) if len(points) > 1 else np.inf
    # t/k and (t+1)/k are 1/k apart but for rounding; the plateaus need only 3/4 of the gap
    require(
        closest >= gap * (1 - 1e-9),
        f"two points {closest:.6g} apart",
        f"points at least gap = {gap:.6g} apart",
        "Lower the gap, or drop points that are equal.",
    )
    return points.astype(np.float64), values.reshape(len(values), -1).astype(np.float64)


def norms(layers: Layers) -> dict[str, float]:
    """Return the largest absolute weight or bias, and the largest operator norm for L_infinity, which is a row sum."""
    return {
        "largest_entry": max(float(np.abs(part).max()) for layer in layers for part in layer),
        "operator_norm": max(float(np.abs(W).sum(axis=1).max()) for W, _ in layers),
    }


# ------------------------------------------------------- Proposition C.1: the attention selects the support


def smallest_sharpness(n_bits: int, support_size: int) -> float:
    r"""How large c must be for Proposition C.1's network to be exact, and no larger.

    With :math:`\alpha_i \propto e^{c 1[i \in S]}`, t ones in the support and r off it, the MLP receives

    .. math:: u = \frac{e^c t + r}{k e^c + d - k}, \qquad u - \frac{t}{k} = \frac{r - t (d-k)/k}{k e^c + d - k}.

    The largest distance is the attention's mass off the support, at the two `worst_inputs`: the ones are all positions
    off the support, or all those on it. Lemma C.2 tolerates :math:`\Delta/4 = 1/(4k)`, so that c must be at least
    :math:`\log \frac{(4k-1)(d-k)}{k}`.

    >>> round(smallest_sharpness(100, 6), 3)
    5.887
    """
    return log((4 * support_size - 1) * (n_bits - support_size) / support_size)


def worst_inputs(n_bits: int, support: Sequence[int]) -> Array:
    """Return the two inputs for which the attention of Proposition C.1 errs most, shape (2, d).

    >>> worst_inputs(3, (0, 1)).tolist()
    [[-1.0, -1.0, 1.0], [1.0, 1.0, -1.0]]
    """
    inside = np.full(n_bits, -1.0)
    inside[list(support)] = 1.0
    return np.stack([-inside, inside])


def attention_selects(
    n_bits: int,
    support: Sequence[int],
    sharpness: float,
    repaired: bool,
    last_encoding: Literal["e3", "e4"] | None = None,
) -> Transformer:
    r"""Proposition C.1: the attention averages over the support, the MLP takes the parity of the count, by Lemma C.2.

    The paper's concrete example: :math:`x_i = v_{z_i} + p_i` in four dimensions, :math:`v_1 = W_V = e_1`,
    :math:`v_0 = e_2`, :math:`p_i = e_3` in the support, :math:`e_4` off it. As printed, :math:`W_Q = W_K` keep
    :math:`e_3` alone, which selects the support only if the last position n belongs to it. If it does not, `p_n` has two
    readings and both fail: with the printed :math:`p_n = e_3` the last token is averaged in as if it were of the
    support; with :math:`p_n = e_4` the query is 0 and attention uniform. Repaired, :math:`W_Q` makes the query from
    :math:`e_3` and :math:`e_4` alike, and only :math:`W_K` tells them apart.

    The matrices are printed as 2 x 4, for the left of a column; :math:`X W_Q` takes their transposes. Their entries are
    :math:`\sqrt c` here, so that the score is c; with the printed c in each it would be c squared.

    `support` are zero-based positions; `sharpness` is c > 0, the score of a position in it, see `smallest_sharpness`;
    `last_encoding` is :math:`p_n`, by default what the support says, as with any other position.

    >>> x = np.array([[1.0, -1.0, 1.0], [1.0, 1.0, -1.0]])
    >>> attention_selects(3, (0, 1), 9.0, repaired=True).outputs(x).ravel().round(9).tolist()
    [-1.0, 1.0]
    """
    k = len(support)
    table = np.zeros((2, n_bits, 4))
    table[0, :, 1] = table[1, :, 0] = 1.0  # v_0 = e2, v_1 = e1
    inside = np.isin(np.arange(n_bits), support)
    if last_encoding is not None:
        inside[-1] = last_encoding == "e3"
    table[:, inside, 2] = table[:, ~inside, 3] = 1.0
    W_K = np.zeros((4, 2))
    W_K[2, 0] = sqrt(sharpness)
    W_Q = W_K.copy()
    if repaired:
        W_Q[3, 0] = sqrt(sharpness)
    ones = np.arange(k + 1)
    parts = interpolation_1d(ones / k, _sign(k - ones), 1 / k)  # from the share t/k of ones
    return Transformer(table, W_Q, W_K, np.eye(4, 1), parts)


# ------------------------------------------------------------- Proposition C.3: the attention is uniform


def zigzag(n_bits: int, support: Sequence[int]) -> Layers:
    r"""A three-layer ReLU network of widths k and 1 that computes the parity of the support's tokens.

    .. math:: s = \sum_{i \in S} z_i, \qquad h = \sigma(s) + 2 \sum_{j=1}^{k-1} (-1)^j \sigma(s - j), \qquad
              y = (-1)^k (1 - 2 h)

    Each unit of the first layer adds up the support; together they go up and down once for each one, so that h is 0 at
    even counts and 1 at odd ones. Proposition C.3 asks for some three-layer MLP of width at most :math:`2^k` and norm at
    most :math:`2^{k+2}`, which this one keeps to; its proof takes Lemma C.4's, which is wider for k up to 5.

    >>> layers = zigzag(3, (0, 1))
    >>> mlp(layers, np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])).ravel().tolist()
    [-1.0, -1.0, 1.0, 1.0]
    """
    k = len(support)
    W_1 = np.zeros((k, n_bits))
    W_1[:, list(support)] = 1.0
    turns = 2 * _sign(np.arange(k))
    turns[0] = 1.0  # up from nothing by one, then down and up by two
    sign = (-1.0) ** k
    last = np.array([[-2 * sign]]), np.array([sign])
    return (W_1, -np.arange(k, dtype=np.float64)), (turns[None], np.zeros(1)), last


def uniform_attention(
    n_bits: int, support: Sequence[int], layers: Literal["zigzag", "lemma"] = "zigzag"
) -> Transformer:
    r"""Proposition C.3: queries and keys are 0, so that :math:`\alpha_i = 1/d`; the MLP does the rest.

    The attention copies all tokens into a vector of length d: the embedding of token i is :math:`z_i e_i`, and with
    :math:`W_V = d I` the last position receives :math:`(z_1, \dots, z_d)`. The MLP is `zigzag`, or that of Lemma C.4 with
    :math:`\Delta = 1`, of widths 8k and :math:`2^k`.

    >>> x = np.array([[1.0, -1.0, 1.0], [1.0, 1.0, -1.0]])
    >>> uniform_attention(3, (0, 1)).outputs(x).ravel().tolist()
    [-1.0, 1.0]
    """
    k = len(support)
    if layers == "zigzag":
        parts = zigzag(n_bits, support)
    else:
        points = np.array(list(product((0.0, 1.0), repeat=k)))
        (W_1, b_1), *rest = interpolation(points, _sign(k - points.sum(axis=1)), 1.0)
        wide = np.zeros((len(W_1), n_bits))
        wide[:, list(support)] = W_1
        parts = ((wide, b_1), *rest)
    table = np.stack([np.zeros((n_bits, n_bits)), np.eye(n_bits)])
    still = np.zeros((n_bits, 1))
    return Transformer(table, still, still, n_bits * np.eye(n_bits), parts)


def least_error(support_size: int, n_others: int) -> float:
    r"""Smallest share of wrong labels of any function of the number of ones in the support and n others.

    .. math:: 2^{-(k+n)} \sum_m \min(N_+(m), N_-(m)),

    with :math:`N_\pm(m)` the inputs of label :math:`\pm 1` with m ones, counted exactly. All that the MLP of
    Proposition C.1's printed example knows with the last position off the support: n = 1 if the attention includes it,
    n = d - k if it is uniform.

    >>> least_error(2, 0), least_error(2, 1), round(least_error(6, 94), 4)
    (0.0, 0.25, 0.5)
    """
    counts = [[0, 0] for _ in range(support_size + n_others + 1)]  # by number of ones, then by label
    for t, r in product(range(support_size + 1), range(n_others + 1)):
        counts[t + r][(support_size - t) % 2] += comb(support_size, t) * comb(n_others, r)
    return float(sum(map(min, counts)) / 2 ** (support_size + n_others))


def _sign(n: NDArray[Any]) -> Array:
    """Return (-1)^n."""
    signs: Array = 1.0 - 2.0 * (n % 2)
    return signs


# --------------------------------------------------------------------------------------------------- tables


def drawn_support(n_bits: int, support_size: int, seed: int, last: bool | None = None) -> tuple[int, ...]:
    """Return a random support, rising, with the last position, without it, or as it falls.

    >>> drawn_support(10, 3, 0, last=True)[-1], drawn_support(10, 9, 0, last=False)
    (9, (0, 1, 2, 3, 4, 5, 6, 7, 8))
    """
    rng = setting.generator("support", n_bits, support_size, last, seed)
    if last is None:
        return tuple(sorted(rng.choice(n_bits, support_size, replace=False).tolist()))
    others = rng.choice(n_bits - 1, support_size - last, replace=False).tolist()
    return tuple(sorted(others + [n_bits - 1] * last))


def _inputs(n_bits: int, n_samples: int, seed: int, first: Array | None = None) -> Iterator[Array]:
    """Yield the cube, or `n_samples` inputs of which the first are `first` and the others random, in blocks."""
    if n_bits <= ENUMERATED:
        cube = setting.cube(n_bits)
        yield from np.split(cube, range(setting.INPUTS_AT_ONCE, len(cube), setting.INPUTS_AT_ONCE))
        return
    for bits in setting.drawn(setting.generator("inputs", n_bits, seed), n_samples, n_bits):
        if first is not None:
            bits[: len(first)] = first[: len(bits)]
            first = None
        yield bits


def _errors(network: Transformer, support: Sequence[int], inputs: Iterator[Array]) -> dict[str, Any]:
    """Return how many outputs differ from the label, and by how much."""
    n_inputs = n_errors = 0
    largest = 0.0
    for bits in inputs:
        error = np.abs(network.outputs(bits)[:, 0] - bits[:, list(support)].prod(axis=1))
        n_inputs += len(error)
        n_errors += int((error > EXACT).sum())
        largest = max(largest, float(error.max()))
    return {"n_inputs": n_inputs, "n_errors": n_errors, "max_error": largest}


@dataclass(frozen=True)
class SupportSelection(Calculation):
    r"""Proposition C.1's network on every input (d <= 16) or on random ones and the two worst.

    Table rows, one for each `reading` of the last position's encoding (`p_n = e3`, `p_n = e4`; two only where the
    printed example leaves it open): `n_inputs`; `n_errors`, outputs not equal to the label; `max_error`;
    `least_error`, the smallest share of errors that any MLP behind this attention could make; `leak`, the attention's
    mass off the support (no input changes it), and `tolerance`, :math:`\Delta/4`; `hidden` units and their bound 4(k+1);
    the MLP's `largest_entry` and `operator_norm` (largest absolute row sum), their bound 4k(k+1) as `norm_bound`;
    `sharpness`.

    >>> [row["n_errors"] for row in SupportSelection(8, 2).rows()]
    [0]
    """

    version: ClassVar[int] = 1
    n_bits: Count  # d
    support_size: Count  # k, 1 <= k < d
    last_in_support: bool = False  # the last position, which answers; the others are drawn
    example: Literal["printed", "repaired"] = "repaired"  # see `attention_selects`
    n_samples: Count = 1_000_000  # inputs if d is above 16; the first two are `worst_inputs`
    seed: Index = 0  # decides the support and the inputs
    sharpness_offset: float = 0.0  # c minus `smallest_sharpness`; below 0 the two worst inputs fail

    def __post_init__(self) -> None:
        offset = self.sharpness_offset
        super().__post_init__()
        setting.check_below(self.n_bits, self.support_size)
        least = smallest_sharpness(self.n_bits, self.support_size)
        require(
            -least < offset,
            f"sharpness_offset = {offset!r}",
            f"a finite number above {-least:.6g}, so that the sharpness is above 0",
        )

    @property
    def work(self) -> float:
        n_inputs = 2.0**self.n_bits if self.n_bits <= ENUMERATED else float(self.n_samples)
        return n_inputs * (20 * self.n_bits + 8 * (self.support_size + 1))

    def rows(self) -> list[dict[str, Any]]:
        d, k = self.n_bits, self.support_size
        support = drawn_support(d, k, self.seed, self.last_in_support)
        worst, sharpness = worst_inputs(d, support), smallest_sharpness(d, k) + self.sharpness_offset
        repaired = self.example == "repaired"
        n_others: dict[Literal["e3", "e4"], int] = {
            "e3": 1,
            "e4": d - k,
        }  # that attention mixes in, by reading
        if repaired or self.last_in_support:
            n_others = {"e3" if self.last_in_support else "e4": 0}
        rows = []
        for reading, others in n_others.items():
            network = attention_selects(d, support, sharpness, repaired, reading)
            rows.append(
                {"reading": f"p_n = {reading}"}
                | _errors(network, support, _inputs(d, self.n_samples, self.seed, worst))
                | {
                    "least_error": least_error(k, others),
                    "leak": float(network.attended(worst)[0, 0]),  # the ones are off it
                    "tolerance": 1 / (4 * k),
                    "hidden": len(network.layers[0][0]),
                    "hidden_bound": 4 * (k + 1),
                    **norms(network.layers),
                    "norm_bound": 4 * k * (k + 1),
                    "sharpness": sharpness,
                }
            )
        return rows


@dataclass(frozen=True)
class UniformAttention(Calculation):
    r"""Proposition C.3's network on every input (d <= 16) or on random ones.

    One table row: `n_inputs`, `n_errors` and `max_error` as in `SupportSelection`; the hidden widths `width_1` and
    `width_2` beside `printed_width` 2^k; the MLP's `largest_entry` and `operator_norm` beside `norm_bound` 2^(k+2).

    >>> [row["n_errors"] for row in UniformAttention(8, 2).rows()]
    [0]
    """

    version: ClassVar[int] = 2
    n_bits: Count  # d
    support_size: Count  # k, 1 <= k < d, and at most 12 for the lemma's MLP
    layers: Literal["zigzag", "lemma"] = "zigzag"  # see `uniform_attention`
    n_samples: Count = 1_000_000  # inputs if d is above 16
    seed: Index = 0  # decides the support and the inputs

    def __post_init__(self) -> None:
        super().__post_init__()
        setting.check_below(self.n_bits, self.support_size)
        require(
            self.layers == "zigzag" or self.support_size <= LARGEST_SUPPORT,
            f"support_size k = {self.support_size}",
            f"at most {LARGEST_SUPPORT}, since the second layer has 2^k units",
            "Lower support_size, or take the zigzag, which has k.",
        )

    @property
    def work(self) -> float:
        d, k = self.n_bits, self.support_size
        n_inputs = 2.0**d if d <= ENUMERATED else float(self.n_samples)
        units = k if self.layers == "zigzag" else 8 * k
        second = units * (1 if self.layers == "zigzag" else 2.0 ** min(k, LARGEST_SUPPORT))
        return n_inputs * (d * (d + units) + second)

    def rows(self) -> list[dict[str, Any]]:
        d, k = self.n_bits, self.support_size
        support = drawn_support(d, k, self.seed)
        network = uniform_attention(d, support, self.layers)
        (first, _), (second, _), _ = network.layers
        found = _errors(network, support, _inputs(d, self.n_samples, self.seed))
        widths = {"width_1": len(first), "width_2": len(second), "printed_width": 2**k}
        return [found | widths | norms(network.layers) | {"norm_bound": 2 ** (k + 2)}]


PERTURBATIONS = (0.0, 0.1, 0.2, 0.25, 0.26, 0.3, 0.4, 0.5)  # as shares of Delta
Lemma = Callable[[Array, Array, float], Layers]


def _lemma_rows(lemma: Lemma, n: int, n_inputs: int, n_outputs: int, seed: int) -> list[dict[str, Any]]:
    """Return the rows of a lemma on random points: outputs against perturbations, then widths and norms against bounds.

    The points lie in the box [-B, B]^n, every other coordinate on a coarse grid.
    """
    rng = setting.generator("interpolation", n, n_inputs, n_outputs, seed)
    bound = float(np.exp(rng.uniform(-1, 1)))
    points = rng.uniform(-1, 1, (n, n_inputs))
    points[:, 1::2] = np.round(4 * points[:, 1::2]) / 4  # shared values: |X_i| < |X|
    closest = float(pdist(points, "chebyshev").min()) if n > 1 else 1.0
    points, gap = bound * points, bound * closest * float(rng.uniform(0.5, 1.0))
    values = rng.uniform(-1, 1, (n, n_outputs))
    layers = lemma(points, values, gap)
    bound_x, bound_y = float(np.abs(points).max()), float(np.abs(values).max())  # B_x, B_y
    rng = setting.generator("perturbations", n, n_inputs, seed)
    rows: list[dict[str, Any]] = []
    for share in PERTURBATIONS:
        error = 0.0
        for corner in (True, False) * 4:  # at the corners of the box |xi| <= share * Delta, and inside it
            direction = setting.signs(rng, n, n_inputs)
            size = share * gap * (1.0 if corner else rng.random((n, n_inputs)))
            found = mlp(layers, points + direction * size)
            error = max(error, float(np.abs(found - values).max()))
        lost = bound_y * min(1.0, 4 * n_inputs * max(0.0, share - 0.25))
        rows.append({"quantity": "output", "perturbation": share, "max_error": error, "formula": lost})
    inner = len(layers) - 2
    weight_bounds = [4 / gap, *[1.0] * inner, bound_y]
    bias_bounds = [4 * bound_x / gap + 2, *[float(n_inputs)] * inner, 0.0]
    width_bounds = [4 * sum(len(np.unique(column)) for column in points.T), n]
    for i, (W, b) in enumerate(layers):
        if i <= inner:
            rows.append({"quantity": f"width_{i + 1}", "value": len(b), "bound": width_bounds[i]})
        size, row_sum = float(np.abs(W).max()), float(np.abs(W).sum(axis=1).max())
        rows.append(
            {"quantity": f"W_{i + 1}", "value": size, "operator_norm": row_sum, "bound": weight_bounds[i]}
        )
        rows.append({"quantity": f"b_{i + 1}", "value": float(np.abs(b).max()), "bound": bias_bounds[i]})
    columns = ("quantity", "perturbation", "max_error", "formula", "value", "operator_norm", "bound")
    return [{c: row.get(c, nan) for c in columns} for row in rows]


@dataclass(frozen=True)
class Interpolation1D(setting.Experiment):
    r"""Lemma C.2 on random points of the line: what it tolerates, how wide and how large it is.

    Table rows are of two sorts, by `quantity`; what does not belong to a sort is nan. `output`: `perturbation` as a share
    of :math:`\Delta`, `max_error` over all points and perturbations up to that size, and `formula`, what the trapezoid
    loses at most, :math:`B_y \min(1, 4 (|\xi|/\Delta - 1/4)_+)`. `width_1`, `W_1`, `b_1`, `W_2`, `b_2`: `value`, the
    width or the largest absolute entry; `operator_norm`, the largest absolute row sum; `bound`, as the lemma states it.

    >>> sorted({row["quantity"] for row in Interpolation1D(5).rows()})
    ['W_1', 'W_2', 'b_1', 'b_2', 'output', 'width_1']
    """

    version: ClassVar[int] = 1
    n_points: Count  # |X|
    n_outputs: Count = 1  # dimension of f's values
    seed: Index = 0  # decides points, gap, values and perturbations

    def rows(self) -> list[dict[str, Any]]:
        def lemma(points: Array, values: Array, gap: float) -> Layers:
            return interpolation_1d(points[:, 0], values, gap)

        return _lemma_rows(lemma, self.n_points, 1, self.n_outputs, self.seed)


@dataclass(frozen=True)
class InterpolationND(setting.Experiment):
    r"""Lemma C.4 on random points of several dimensions: what it tolerates, how wide and how large it is.

    Table rows as in `Interpolation1D`, with `width_2`, `W_3` and `b_3` besides. `formula` is
    :math:`B_y \min(1, 4 d_\text{in} (|\xi|_\infty/\Delta - 1/4)_+)`: every coordinate loses its part.

    >>> sorted({row["quantity"] for row in InterpolationND(4, 2).rows()})
    ['W_1', 'W_2', 'W_3', 'b_1', 'b_2', 'b_3', 'output', 'width_1', 'width_2']
    """

    version: ClassVar[int] = 1
    n_points: Count  # |X|
    n_inputs: Count  # d_in
    seed: Index = 0  # decides points, gap, values and perturbations

    def rows(self) -> list[dict[str, Any]]:
        return _lemma_rows(interpolation, self.n_points, self.n_inputs, 1, self.seed)
