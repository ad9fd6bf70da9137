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
from pdlib.theory.setting import check_enumerable, check_setting, check_width, cube, parity, signs

Decay = Literal["cancelling", "printed"]
INPUTS_AT_ONCE = 8192  # rows of an input matrix that are worked on together


class Network(NamedTuple):
    """One hidden layer of rectified units with a scalar output.

    >>> Network(np.ones((2, 3)), np.zeros(2), np.array([0.5, -0.5])).weights.shape
    (2, 3)
    """

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

    d is odd, k even and below d, m even; anything else is an error. If `aligned`, it is assumed what the proof of Lemma
    B.5 does without loss of generality: :math:`a_i = 1/m` for :math:`i \le m/2` (which loses none) and :math:`w_{ij} =
    \operatorname{sign} \zeta_{k-1}` in the support (which does). Paper, appendix B, "Symmetric initialization".

    >>> network = initial(5, 2, 8, np.random.default_rng(0))
    >>> network.weights.shape, bool(np.abs(outputs(network, cube(5))).max() < 1e-15)
    ((8, 5), True)
    """
    check_setting(n_bits, support_size)
    check_width(width)
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
    r"""Return :math:`\max(0, 1 - f(x) t(x))` of each example.

    >>> hinge(np.array([2.0, 0.5, -1.0]), np.array([1.0, 1.0, 1.0])).tolist()
    [0.0, 0.5, 2.0]
    """
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
    half = len(a) // 2
    first, second = (
        np.column_stack(part)
        for part in ((weights[:half], biases[:half], a[:half]), (weights[half:], biases[half:], -a[half:]))
    )
    require(
        np.array_equal(first, second) and bool((np.abs(weights) == 1).all() and (np.abs(biases) < 1).all()),
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

    >>> network = Network(np.array([[1.0, 1.0]]), np.array([0.0]), np.array([0.25]))
    >>> batch_gradient(network, np.array([[1.0, 1.0], [-1.0, -1.0]]), np.array([1.0, 1.0])).tolist()
    [[-0.125, -0.125]]
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
    r"""Return Lemma B.2's learning rate :math:`\eta_1 = m / (k |\zeta_{k-1}|)`.

    >>> first_rate(3, 2, 8)
    8.0
    """
    check_setting(n_bits, support_size)
    return width / (support_size * abs(coefficient(n_bits, support_size - 1)))


def first_step(
    network: Network, gradient: NDArray[Any], *, support_size: int, decay: Decay = "cancelling"
) -> Network:
    r"""Take the one step of the first stage.

    .. math:: w^{(1)} = w^{(0)} - \eta_1 (g + 2 \lambda_1 w^{(0)}), \qquad \eta_1 = \frac{m}{k |\zeta_{k-1}|}

    The decay `"cancelling"` means :math:`2 \eta_1 \lambda_1 = 1`, which takes the initial weights away and leaves what
    Lemma B.2 says; `"printed"` is :math:`\lambda_1 = 1`, which leaves :math:`(1 - 2 \eta_1) w^{(0)}`.

    >>> network = initial(5, 2, 4, np.random.default_rng(0))
    >>> stepped = first_step(network, population_gradient(network, 2), support_size=2)
    >>> np.unique(np.abs(stepped.weights[:, :2])).tolist()  # 1 / (2 k)
    [0.25]
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
    n_bits: int, support_size: int, inside: float, outside: float, bias: float, *degrees: tuple[int, int]
) -> list[float]:
    r"""Return Fourier coefficients of one rectified unit whose weights are positive and have two values, exactly.

    .. math:: h_{pq} = E[\sigma(A X + C Y + b) \, \chi_T(x)], \qquad
              X = \sum_{j \le k} x_j, \quad Y = \sum_{j > k} x_j

    where T has p coordinates of the support and q others, by sums over the numbers of negative signs. Inputs are paired
    with their opposites, so that for one coordinate all terms have one sign and nothing cancels.

    `inside`, `outside` and `bias` are A, C and b; `degrees` are pairs (p, q).

    >>> unit_coefficients(3, 2, 1.0, 1.0, 0.0, (1, 0), (0, 1))
    [0.5, 0.5]
    """
    d, k = n_bits, support_size
    x = k - 2.0 * np.arange(k + 1)  # X, by the number of negative signs
    y = (d - k) - 2.0 * np.arange(d - k + 1)
    unit = np.maximum(inside * x[:, None] + outside * y[None, :] + bias, 0.0)  # (k + 1, d - k + 1)
    found = []
    for p, q in degrees:
        mass_in, mass_off = _monomial_mass(k, p), _monomial_mass(d - k, q)
        # half the sum over X of mass(X) (unit(X) -+ unit(-X)), and so for Y: mass is even or odd as p or q is
        folded = (unit + (-1) ** p * unit[::-1]) / 2
        folded = (folded + (-1) ** q * folded[:, ::-1]) / 2
        found.append(float(mass_in @ folded @ mass_off))
    return found


@cache
def _monomial_mass(n: int, degree: int) -> NDArray[np.float64]:
    """Return E[1(r of n signs are negative) x_1 ... x_degree] for r = 0 ... n: Krawtchouk's numbers over 2^n."""
    return np.array(
        [
            sum((-1) ** s * comb(degree, s) * comb(n - degree, r - s) for s in range(min(degree, r) + 1))
            / 2**n
            for r in range(n + 1)
        ]
    )


def monomial_coefficients(
    network: Network, support_size: int, monomials: NDArray[np.intp]
) -> NDArray[np.float64]:
    r"""Return exact Fourier coefficients of f on given monomials, any d, for neurons with two sizes of weights.

    .. math:: c_T = \sum_i a_i \, h_{pq}(A_i, C_i, b_i) \prod_{j \in T} \operatorname{sign} w_{ij}

    with :math:`h_{pq}` as in `unit_coefficients`. The outputs a may be any.

    `monomials` are distinct positions, all of one degree, shape (monomial, degree).
    """
    d, k = network.weights.shape[1], support_size
    check_setting(d, k)
    size, degree = np.abs(network.weights), monomials.shape[1]
    inside, outside = size[:, 0], size[:, k]
    expected = np.where(np.arange(d) < k, inside[:, None], outside[:, None])
    require(
        np.allclose(size, expected, rtol=1e-12, atol=0),
        "neurons with weights of several sizes",
        "one size in the support and one off it, as after a first stage by the population gradient",
        "Take the Walsh-Hadamard transform of the outputs on the cube.",
    )
    splits = [(p, degree - p) for p in range(degree + 1) if p <= k and degree - p <= d - k]
    kinds, which = np.unique(
        np.column_stack([inside, outside, network.biases]), axis=0, return_inverse=True
    )  # (kind, 3): as many as there are biases
    h = np.array([unit_coefficients(d, k, *kind, *splits) for kind in kinds.tolist()])[which.ravel()]
    sign = np.sign(network.weights)
    n_inside = (monomials < k).sum(axis=1)
    found = np.zeros(len(monomials))
    for column, (p, _) in enumerate(splits):
        group = np.flatnonzero(n_inside == p)
        weight = network.outputs * h[:, column]
        for start in range(0, len(group), INPUTS_AT_ONCE):
            rows = group[start : start + INPUTS_AT_ONCE]
            product = sign[:, monomials[rows, 0]]  # (neuron, monomial)
            for position in range(1, degree):
                product = product * sign[:, monomials[rows, position]]
            found[rows] = weight @ product
    return found


def degree_1(network: Network, support_size: int) -> NDArray[np.float64]:
    r"""Return :math:`c_j = E[f(x) x_j]` exactly, shape (bit,), any d, for neurons with two sizes of weights.

    The paper's Lemma B.5 bounds them; see `monomial_coefficients`.

    >>> network = first_stage(5, 2, 4, np.random.default_rng(0))
    >>> by_enumeration = outputs_on_cube(network) @ cube(5) / 2**5
    >>> bool(np.allclose(degree_1(network, 2), by_enumeration, rtol=0, atol=1e-15))
    True
    """
    return monomial_coefficients(network, support_size, np.arange(network.weights.shape[1])[:, None])


def outputs_on_cube(network: Network) -> NDArray[np.float64]:
    """Return f on the whole cube, shape (2^d,), in the order of `pdlib.theory.setting.cube`; d at most 20.

    >>> network = first_stage(5, 2, 4, np.random.default_rng(0))
    >>> bool(np.allclose(outputs_on_cube(network), outputs(network, cube(5))))
    True
    """
    d = network.weights.shape[1]
    check_enumerable(d)
    n_low = d // 2
    low = cube(n_low) if n_low else np.ones((1, 0))
    high = cube(d - n_low)
    f = np.zeros((len(high), len(low)))  # the low bits run fastest
    for w, b, a in zip(*network, strict=True):
        f += a * np.maximum((high @ w[n_low:] + b)[:, None] + low @ w[:n_low], 0.0)
    return f.ravel()
