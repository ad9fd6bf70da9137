"""The network of appendix B: one hidden layer, its mirrored start, its losses and gradients, its exact coefficients.

A network of width m maps signs to a number, :math:`f(x) = \\sum_i a_i \\, \\sigma(\\langle w_i, x \\rangle + b_i)` with
:math:`\\sigma(t) = \\max(0, t)`, and starts mirrored, so that f = 0. Where the paper's statement of the first step does not
do what its lemma says, both are here by name: see `first_step`. `pdlib.theory.two_stage` trains.
"""

from __future__ import annotations

from functools import cache
from math import comb
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from pdlib.specs import require
from pdlib.theory.majority import coefficient
from pdlib.theory.setting import INPUTS_AT_ONCE, check_enumerable, check_setting, cube, parity, signs

Decay = Literal["cancelling", "printed"]


class Network(NamedTuple):
    """One hidden layer of rectified units with a scalar output."""

    weights: NDArray[np.float64]  # w, (neuron, bit)
    biases: NDArray[np.float64]  # b, (neuron,)
    outputs: NDArray[np.float64]  # a, (neuron,)


def initial(
    n_bits: int, support_size: int, width: int, rng: np.random.Generator, *, aligned: bool = False
) -> Network:
    r"""Draw the symmetric initialisation: its output is 0 on every input.

    For :math:`i \le m/2`, :math:`w_i \sim U(\{\pm 1\}^d)`, :math:`b_i \sim U(\{-1 + \tfrac1k, \dots, 1 - \tfrac1k\})` with
    steps of 1/k, :math:`a_i \sim U(\{\pm 1/m\})`; then :math:`w_{i+m/2} = w_i`, :math:`b_{i+m/2} = b_i`,
    :math:`a_{i+m/2} = -a_i`.

    If `aligned`, it is assumed what the proof of Lemma B.5 does without loss of generality: :math:`a_i = 1/m` for
    :math:`i \le m/2` (which loses none) and :math:`w_{ij} = \operatorname{sign} \zeta_{k-1}` in the support (which does).
    Paper, appendix B, "Symmetric initialization".

    >>> network = initial(5, 2, 8, np.random.default_rng(0))
    >>> network.weights.shape, bool(np.abs(outputs(network, cube(5))).max() < 1e-15)
    ((8, 5), True)
    """
    check_setting(n_bits, support_size, width)
    half, k = width // 2, support_size
    weights = signs(rng, half, n_bits)
    biases = rng.integers(1 - k, k, half) / k
    out = signs(rng, half) / width
    if aligned:
        weights[:, :k] = np.sign(coefficient(n_bits, k - 1))
        out = np.abs(out)
    return Network(np.tile(weights, (2, 1)), np.tile(biases, 2), np.concatenate([out, -out]))


def outputs(network: Network, bits: NDArray[Any]) -> NDArray[np.float64]:
    """Return f of each input, shape (example,); `bits` is (example, bit), -1 or +1.

    >>> network = Network(np.array([[1.0, 1.0]]), np.array([0.5]), np.array([2.0]))
    >>> outputs(network, np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])).tolist()
    [5.0, 1.0, 0.0]
    """
    f = np.empty(len(bits))
    for start in range(0, len(bits), INPUTS_AT_ONCE):
        x = bits[start : start + INPUTS_AT_ONCE]
        f[start : start + INPUTS_AT_ONCE] = hidden(network, x) @ network.outputs
    return f


def hidden(network: Network, bits: NDArray[Any]) -> NDArray[np.float64]:
    """Return what the rectified units give, shape (example, neuron)."""
    values: NDArray[np.float64] = bits @ network.weights.T + network.biases
    np.maximum(values, 0.0, out=values)
    return values


def hinge(f: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.float64]:
    r"""Return :math:`\max(0, 1 - f(x) t(x))` of each example."""
    loss: NDArray[np.float64] = np.maximum(0.0, 1.0 - f * targets)
    return loss


def population_gradient(network: Network, support_size: int) -> NDArray[np.float64]:
    r"""Return the gradient of the expected hinge loss from labels, at a symmetric initialisation: shape (neuron, bit).

    .. math:: E \, \partial_{w_{ij}} \ell = -\tfrac12 a_i \, \zeta_{k-1} \, \chi_{S \setminus \{j\}}(w_i)
              \ (j \in S), \qquad -\tfrac12 a_i \, \zeta_{k+1} \, \chi_{S \cup \{j\}}(w_i) \ (j \notin S)

    since f = 0 leaves every margin active and :math:`1[\langle w_i, x \rangle + b_i \ge 0] = \tfrac12 (1 +
    \mathrm{Maj}(w_i \circ x))` for odd d and :math:`|b_i| < 1`. The paper prints the other sign.

    Paper, Claim B.3. A network that is no symmetric initialisation is an error.

    >>> network = initial(5, 2, 4, np.random.default_rng(0))
    >>> by_enumeration = batch_gradient(network, cube(5), parity(cube(5), 2))
    >>> bool(np.allclose(population_gradient(network, 2), by_enumeration, rtol=1e-12, atol=0))
    True
    """
    weights, biases, a = network
    d, k = weights.shape[1], support_size
    check_setting(d, k)
    m = len(a)
    neurons = np.column_stack([weights, biases, np.where(np.arange(m) < m // 2, a, -a)])
    are_twins = np.array_equal(neurons[: m // 2], neurons[m // 2 :])
    require(
        are_twins and bool((np.abs(weights) == 1).all() and (np.abs(biases) < 1).all()),
        "a network that is no symmetric initialisation",
        "weights of -1 and +1, biases in (-1, 1) and mirrored twins",
        "Enumerate the cube for any other.",
    )
    chi = parity(weights, k)[:, None] * weights  # of S without j, or of S with j: w_j^2 = 1
    zeta = np.where(np.arange(d) < k, coefficient(d, k - 1), coefficient(d, k + 1))
    return -0.5 * a[:, None] * zeta * chi


def batch_gradient(network: Network, bits: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.float64]:
    r"""Return the mean gradient of the hinge loss with respect to the weights, at any network: shape (neuron, bit).

    .. math:: -\frac{a_i}{B} \sum_b 1[f(x_b) t_b < 1] \, 1[\langle w_i, x_b \rangle + b_i \ge 0] \, t_b \, x_b

    `bits` are the inputs, shape (example, bit); `targets` labels or a teacher's outputs, shape (example,).
    """
    require(len(targets) == len(bits) > 0, f"{len(targets)} targets for {len(bits)} inputs", "one for each")
    total = np.zeros_like(network.weights)
    for start in range(0, len(bits), INPUTS_AT_ONCE):
        x, t = bits[start : start + INPUTS_AT_ONCE], targets[start : start + INPUTS_AT_ONCE]
        before = x @ network.weights.T + network.biases
        f = np.maximum(before, 0.0) @ network.outputs
        total += (before >= 0).T.astype(np.float64) @ ((t * (f * t < 1))[:, None] * x)
    return -network.outputs[:, None] * total / len(bits)


def first_rate(n_bits: int, support_size: int, width: int) -> float:
    r"""Return Lemma B.2's learning rate :math:`\eta_1 = m / (k |\zeta_{k-1}|)`."""
    check_setting(n_bits, support_size)
    return width / (support_size * abs(coefficient(n_bits, support_size - 1)))


def first_step(
    network: Network, gradient: NDArray[Any], *, support_size: int, decay: Decay = "cancelling"
) -> Network:
    r"""Take the one step of the first stage.

    .. math:: w^{(1)} = w^{(0)} - \eta_1 (g + 2 \lambda_1 w^{(0)}), \qquad \eta_1 = \frac{m}{k |\zeta_{k-1}|}

    The decay `"cancelling"` means :math:`2 \eta_1 \lambda_1 = 1`, which takes the initial weights away and leaves what
    Lemma B.2 says; `"printed"` is :math:`\lambda_1 = 1`, which leaves :math:`(1 - 2 \eta_1) w^{(0)}`.
    """
    require(decay in get_args(Decay), f"decay = {decay!r}", "'cancelling' or 'printed'")
    width, d = network.weights.shape
    rate = first_rate(d, support_size, width)
    kept = 0.0 if decay == "cancelling" else 1 - 2 * rate
    return network._replace(weights=kept * network.weights - rate * gradient)


def first_stage(
    n_bits: int, support_size: int, width: int, rng: np.random.Generator, aligned: bool = False
) -> Network:
    r"""Draw an initialisation and take the first stage by the population gradient: the infinite-batch network.

    Its weights are :math:`\pm 1 / (2k)` in the support and :math:`\pm |\zeta_{k+1} / \zeta_{k-1}| / (2k)` off it.

    >>> network = first_stage(5, 2, 4, np.random.default_rng(0))
    >>> np.unique(np.abs(network.weights)).round(6).tolist()
    [0.083333, 0.25]
    """
    network = initial(n_bits, support_size, width, rng, aligned=aligned)
    return first_step(network, population_gradient(network, support_size), support_size=support_size)


def unit_coefficients(
    n_bits: int, support_size: int, inside: float, outside: float, bias: float
) -> tuple[float, float]:
    r"""Return degree-1 coefficients of one rectified unit whose weights are positive and have two values, exactly.

    .. math:: h_u = E[\sigma(A X + C Y + b) \, x_u], \qquad X = \sum_{j \le k} x_j, \quad Y = \sum_{j > k} x_j

    with u in the support, then off it, by sums over the numbers of negative signs. Inputs are paired with their
    opposites, so that all terms have one sign and nothing cancels. `inside`, `outside` and `bias` are A, C and b.

    >>> unit_coefficients(3, 2, 1.0, 1.0, 0.0)
    (0.5, 0.5)
    """
    d, k = n_bits, support_size
    x = k - 2.0 * np.arange(k + 1)  # X, by the number of negative signs
    y = (d - k) - 2.0 * np.arange(d - k + 1)
    unit = np.maximum(inside * x[:, None] + outside * y[None, :] + bias, 0.0)  # (k + 1, d - k + 1)
    (even_in, odd_in), (even_off, odd_off) = _masses(k), _masses(d - k)
    over_x, over_y = unit - unit[::-1], unit + unit[::-1]
    over_x, over_y = over_x + over_x[:, ::-1], over_y - over_y[:, ::-1]
    return float(odd_in @ over_x @ even_off) / 4, float(even_in @ over_y @ odd_off) / 4


@cache
def _masses(n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return P(r of n signs are negative) and E[1(r of n signs are negative) x_1], for r = 0 ... n."""
    sets = [comb(n, r) for r in range(n + 1)]
    first = [sets[r] * (n - 2 * r) // n / 2**n for r in range(n + 1)]  # whole numbers, rounded once
    return np.array([size / 2**n for size in sets]), np.array(first)


def degree_1(network: Network, support_size: int) -> NDArray[np.float64]:
    r"""Return :math:`c_j = E[f(x) x_j]` exactly, shape (bit,), for neurons with two sizes of weights; any d.

    .. math:: c_j = \sum_i a_i \, h_j(A_i, C_i, b_i) \operatorname{sign} w_{ij}

    with h as in `unit_coefficients`. The outputs a may be any. The paper's Lemma B.5 bounds c.

    >>> network = first_stage(5, 2, 4, np.random.default_rng(0))
    >>> by_enumeration = outputs_on_cube(network) @ cube(5) / 2**5
    >>> bool(np.allclose(degree_1(network, 2), by_enumeration, rtol=0, atol=1e-15))
    True
    """
    d, k = network.weights.shape[1], support_size
    check_setting(d, k)
    size, sign = np.abs(network.weights), np.sign(network.weights)
    two = size[:, [0, k]]  # A and C of each neuron
    require(
        np.allclose(size, np.repeat(two, (k, d - k), axis=1), rtol=1e-12, atol=0),
        "neurons with weights of several sizes",
        "one size in the support and one off it, as after a first stage by the population gradient",
        "Take the Walsh-Hadamard transform of the outputs on the cube.",
    )
    # as many kinds of neurons as there are biases, (kind, 3)
    kinds, which = np.unique(np.column_stack([two, network.biases]), axis=0, return_inverse=True)
    h = np.array([unit_coefficients(d, k, *kind) for kind in kinds.tolist()])[which.ravel()]
    groups = np.arange(k), np.arange(k, d)  # copies of columns: a view is summed in another order
    return np.concatenate([(network.outputs * h[:, i]) @ sign[:, at] for i, at in enumerate(groups)])


def outputs_on_cube(network: Network) -> NDArray[np.float64]:
    """Return f on the whole cube, shape (2^d,), in the order of `pdlib.theory.setting.cube`; d at most 20."""
    d = network.weights.shape[1]
    check_enumerable(d)
    n_low = d // 2
    low = cube(n_low) if n_low else np.ones((1, 0))
    high = cube(d - n_low)
    f = np.zeros((len(high), len(low)))  # the low bits run fastest
    for w, b, a in zip(*network, strict=True):
        f += a * np.maximum((high @ w[n_low:] + b)[:, None] + low @ w[:n_low], 0.0)
    return f.ravel()
