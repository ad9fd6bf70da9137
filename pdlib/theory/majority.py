"""The Fourier coefficients of majority: exact, by enumeration, and by the orders that are printed.

The gradient of a symmetric initialisation sees the label through majority (Claim B.3), so that everything the first
stage does hangs on the coefficients :math:`\\zeta_{k-1}` and :math:`\\zeta_{k+1}` and on the gap between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import comb, nan, pi
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pdlib.specs import Count, require
from pdlib.theory.setting import Experiment, check_setting, cube

BRUTE_FORCE = 15  # largest d whose coefficients are also averaged over the cube


def coefficient(n_bits: int, degree: int) -> float:
    r"""Return majority's Fourier coefficient on any set of `degree` coordinates, with its sign.

    .. math:: \zeta_i = E[\mathrm{Maj}(x) \chi_S(x)] =
              (-1)^{(i-1)/2} \frac{\binom{n}{(i-1)/2}}{\binom{2n}{i-1}} \, 2^{1-d} \binom{2n}{n}
              \text{ for odd } i = |S|, \quad n = \tfrac{d-1}{2}

    and 0 for even i, since majority is an odd function. Whole numbers inside, rounded once.

    O'Donnell, Analysis of Boolean Functions (2014), Theorem 5.19. An even d or a degree outside 0 ... d is an error.

    >>> [coefficient(3, degree) for degree in range(4)]
    [0.0, 0.5, 0.0, -0.5]
    """
    return float(_exact(n_bits, degree))


def _exact(n_bits: int, degree: int) -> Fraction:
    check_setting(n_bits)
    is_one = type(degree) is int and 0 <= degree <= n_bits
    require(is_one, f"degree = {degree!r}", f"a whole number from 0 to n_bits d = {n_bits}")
    if degree % 2 == 0:
        return Fraction(0)
    n, j = (n_bits - 1) // 2, (degree - 1) // 2
    return Fraction((-1) ** j * comb(n, j) * comb(2 * n, n) * 2, comb(2 * n, degree - 1) * 2**n_bits)


def gap(n_bits: int, support_size: int) -> float:
    r"""Return :math:`|\zeta_{k-1}| - |\zeta_{k+1}|`: what tells the support's gradients from the others.

    It is :math:`|\zeta_{k-1}| (1 - \tfrac{k-1}{d-k})`, so that it is positive only while :math:`k < (d+1)/2`.

    >>> gap(5, 2)
    0.25
    """
    check_setting(n_bits, support_size)
    return float(abs(_exact(n_bits, support_size - 1)) - abs(_exact(n_bits, support_size + 1)))


def walsh_hadamard(values: NDArray[Any]) -> NDArray[np.float64]:
    r"""Return all Fourier coefficients of a function on the cube: a discrete Fourier transform of 2 points in each bit.

    .. math:: \hat f(S) = 2^{-d} \sum_x f(x) \chi_S(x)

    `values` is f in the order of `pdlib.theory.setting.cube`, shape (2^d,), and so is the answer: entry s belongs to the
    set of the coordinates j where s has the bit :math:`2^j`.

    >>> x = cube(3)
    >>> walsh_hadamard(x[:, 0] - 2 * x[:, 1] * x[:, 2]).tolist()
    [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -2.0, 0.0]
    """
    n_bits = len(values).bit_length() - 1
    transformed = np.fft.fftn(values.reshape((2,) * n_bits)).real
    return np.asarray(transformed.ravel() / 2**n_bits)


@dataclass(frozen=True)
class Majority(Experiment):
    r"""Majority's coefficients by degree: exact, enumerated, and two orders.

    Table rows, one for each odd `degree` i: `exact`, the absolute value of the closed form; `enumerated`, the same
    averaged over the cube, nan beyond 15 bits; `printed`, the paper's order (list of notations, appendix B), :math:`i^{-1/3}
    / \binom{d}{i}`; `right`, the order that holds for :math:`1 \ll i \ll d`, since the squares of degree i sum to about
    :math:`(2 / (\pi i))^{3/2}`: :math:`(2/\pi)^{3/4} \, i^{-3/4} \binom{d}{i}^{-1/2}`.

    O'Donnell, Analysis of Boolean Functions (2014), section 5.3.

    >>> row = Majority(31).rows()[1]
    >>> row["degree"], round(row["right"] / row["exact"], 2), round(row["printed"] / row["exact"], 2)
    (3, 0.94, 0.03)
    """

    version: ClassVar[int] = 1
    n_bits: Count  # d, odd

    def rows(self) -> list[dict[str, Any]]:
        d = self.n_bits
        by_set = walsh_hadamard(np.sign(cube(d).sum(axis=1))) if d <= BRUTE_FORCE else None
        return [
            {
                "degree": i,
                "exact": abs(coefficient(d, i)),
                "enumerated": nan if by_set is None else float(abs(by_set[2**i - 1])),  # of the first i bits
                "printed": float(i ** (-1 / 3) / comb(d, i)),
                "right": float((2 / pi) ** 0.75 * i**-0.75 * comb(d, i) ** -0.5),
            }
            for i in range(1, d + 1, 2)
        ]


@dataclass(frozen=True)
class FourierGap(Experiment):
    r"""The gap of Claim B.3 and its bound, by support size.

    Table rows, one for each even k from 2 to (d - 1) / 2, where the gap is positive: `support_size`, `gap`, `bound` (the
    claim's, :math:`0.03 \, (d-1)^{-(k-1)/2}`), `ratio` (:math:`|\zeta_{k+1} / \zeta_{k-1}|`, equal to (k - 1) / (d - k)),
    `one_over_d` (what the proof of Lemma B.5 takes for the ratio).

    >>> [row["support_size"] for row in FourierGap(13).rows()]
    [2, 4, 6]
    """

    version: ClassVar[int] = 1
    n_bits: Count  # d, odd, at least 5: smaller cubes have no such k

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.n_bits >= 5, f"n_bits d = {self.n_bits}", "at least 5, so that an even k is below d / 2")

    def rows(self) -> list[dict[str, Any]]:
        d = self.n_bits
        return [
            {
                "support_size": k,
                "gap": gap(d, k),
                "bound": float(0.03 * (d - 1) ** (-(k - 1) / 2)),
                "ratio": abs(coefficient(d, k + 1) / coefficient(d, k - 1)),
                "one_over_d": 1 / d,
            }
            for k in range(2, (d - 1) // 2 + 1, 2)
        ]
