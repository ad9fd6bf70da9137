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
from numba import njit
from numpy.typing import NDArray

from pdlib.specs import Calculation, require
from pdlib.theory.setting import check_enumerable, check_odd, check_setting, cube

BRUTE_FORCE = 15  # largest d whose coefficients are also averaged over the cube


def coefficient(n_bits: int, degree: int) -> float:
    r"""Return majority's Fourier coefficient on any set of `degree` coordinates, with its sign.

    .. math:: \zeta_i = E[\mathrm{Maj}(x) \chi_S(x)] =
              (-1)^{(i-1)/2} \frac{\binom{n}{(i-1)/2}}{\binom{2n}{i-1}} \, 2^{1-d} \binom{2n}{n}
              \text{ for odd } i = |S|, \quad n = \tfrac{d-1}{2}

    and 0 for even i, since majority is an odd function. Whole numbers inside, rounded once.

    Parameters
    ----------
    n_bits
        d, odd.
    degree
        i, from 0 to d.

    Raises
    ------
    SpecError
        If d is even (majority has ties) or the degree lies outside 0 ... d.

    References
    ----------
    O'Donnell, Analysis of Boolean Functions (2014), Theorem 5.19.

    Examples
    --------
    >>> [coefficient(3, degree) for degree in range(4)]
    [0.0, 0.5, 0.0, -0.5]
    """
    check_odd(n_bits)
    _check_degree(n_bits, degree)
    if degree % 2 == 0:
        return 0.0
    numerator, denominator = _fraction(n_bits, degree)
    return numerator / denominator  # Python divides whole numbers of any length and rounds once


def _fraction(n_bits: int, degree: int) -> tuple[int, int]:
    """Return the coefficient of an odd degree as numerator and denominator, not reduced."""
    n, j = (n_bits - 1) // 2, (degree - 1) // 2
    numerator = (-1) ** j * comb(n, j) * comb(2 * n, n) * 2
    return numerator, comb(2 * n, degree - 1) * 2**n_bits


def coefficients(n_bits: int) -> NDArray[np.float64]:
    """Return :math:`\\zeta_0, \\dots, \\zeta_d`, shape (d + 1,); see `coefficient`.

    >>> coefficients(5).tolist()
    [0.0, 0.375, 0.0, -0.125, 0.0, 0.375]
    """
    check_odd(n_bits)
    return np.array([coefficient(n_bits, degree) for degree in range(n_bits + 1)])


def coefficients_by_enumeration(n_bits: int) -> NDArray[np.float64]:
    """Return the same as `coefficients`, averaged over the cube: shape (d + 1,), d at most 15.

    Raises
    ------
    SpecError
        If d is even, or the cube is too large to write out.

    Examples
    --------
    >>> coefficients_by_enumeration(5).tolist()
    [0.0, 0.375, 0.0, -0.125, 0.0, 0.375]
    """
    check_odd(n_bits)
    check_enumerable(n_bits, BRUTE_FORCE)
    bits = cube(n_bits)  # (2^d, d)
    majority = np.sign(bits.sum(axis=1))
    by_degree = [majority.mean()]
    monomial = np.ones(len(bits))
    for bit in range(n_bits):
        monomial = monomial * bits[:, bit]  # of the first bit + 1 coordinates: any set of this size does
        by_degree.append((majority * monomial).mean())
    return np.array(by_degree)


def printed_order(n_bits: int, degree: int) -> float:
    r"""Return the order that the paper prints (list of notations, appendix B), :math:`i^{-1/3} / \binom{d}{i}`.

    >>> round(printed_order(11, 3), 4), round(abs(coefficient(11, 3)), 4)
    (0.0042, 0.0273)
    """
    check_odd(n_bits)
    _check_degree(n_bits, degree, lowest=1)
    return float(degree ** (-1 / 3) / comb(n_bits, degree))


def right_order(n_bits: int, degree: int) -> float:
    r"""Return the order that holds for :math:`1 \ll i \ll d`.

    .. math:: |\zeta_i| \approx (2/\pi)^{3/4} \, i^{-3/4} \binom{d}{i}^{-1/2}

    since the squares of degree i sum to about :math:`(2 / (\pi i))^{3/2}`.

    References
    ----------
    O'Donnell, Analysis of Boolean Functions (2014), section 5.3.

    Examples
    --------
    >>> round(right_order(31, 3) / abs(coefficient(31, 3)), 2)
    0.94
    """
    check_odd(n_bits)
    _check_degree(n_bits, degree, lowest=1)
    return float((2 / pi) ** 0.75 * degree**-0.75 * comb(n_bits, degree) ** -0.5)


def _check_degree(n_bits: int, degree: int, lowest: int = 0) -> None:
    require(
        type(degree) is int and lowest <= degree <= n_bits,
        f"degree = {degree!r}",
        f"a whole number from {lowest} to n_bits d = {n_bits}",
    )


def gap(n_bits: int, support_size: int) -> float:
    r"""Return :math:`|\zeta_{k-1}| - |\zeta_{k+1}|`: what tells the support's gradients from the others.

    It is :math:`|\zeta_{k-1}| (1 - \tfrac{k-1}{d-k})`, so that it is positive only while :math:`k < (d+1)/2`.

    Raises
    ------
    SpecError
        If d is even, k odd, or k not below d.

    Examples
    --------
    >>> gap(5, 2)
    0.25
    """
    check_setting(n_bits, support_size)
    a, b = _fraction(n_bits, support_size - 1)
    c, d = _fraction(n_bits, support_size + 1)
    return (abs(a) * d - abs(c) * b) / (b * d)


def gap_bound(n_bits: int, support_size: int) -> float:
    r"""Return the bound of Claim B.3 on `gap` from below, :math:`0.03 \, (d-1)^{-(k-1)/2}`.

    >>> gap_bound(11, 2) < gap(11, 2)
    True
    """
    check_setting(n_bits, support_size)
    return float(0.03 * (n_bits - 1) ** (-(support_size - 1) / 2))


def absolute_sum(n_bits: int) -> float:
    r"""Return :math:`\sum_S |\widehat{\mathrm{Maj}}(S)| = \sum_i \binom{d}{i} |\zeta_i|`.

    The proof of Corollary B.6 sums the printed order instead and gets :math:`d^{2/3}`; the sum grows like
    :math:`2^{d/2}`.

    >>> absolute_sum(3), round(absolute_sum(31)), round(31 ** (2 / 3))
    (2.0, 9842, 10)
    """
    check_odd(n_bits)
    n = (n_bits - 1) // 2
    # binom(d, i) / binom(d - 1, i - 1) = d / i turns the sum into whole numbers over the odd degrees i
    terms = sum((Fraction(n_bits * comb(n, (i - 1) // 2), i) for i in range(1, n_bits + 1, 2)), Fraction(0))
    return float(terms * Fraction(2 * comb(2 * n, n), 2**n_bits))


def walsh_hadamard(values: NDArray[Any]) -> NDArray[np.float64]:
    r"""Return all Fourier coefficients of a function on the cube, by the fast transform.

    .. math:: \hat f(S) = 2^{-d} \sum_x f(x) \chi_S(x)

    Parameters
    ----------
    values : shape (2^d,)
        f, in the order of `pdlib.theory.setting.cube`.

    Returns
    -------
    numpy.ndarray
        Shape (2^d,); entry s belongs to the set of the coordinates j where s has the bit :math:`2^j`.

    Raises
    ------
    SpecError
        If the length is not a power of two.

    Examples
    --------
    >>> x = cube(3)
    >>> walsh_hadamard(x[:, 0] - 2 * x[:, 1] * x[:, 2]).tolist()
    [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -2.0, 0.0]
    """
    array = np.array(values, dtype=np.float64)  # a copy: the transform works in place
    require(
        array.ndim == 1 and array.size > 0 and array.size & (array.size - 1) == 0,
        f"values of shape {array.shape}",
        "a vector whose length is a power of two",
    )
    _transform(array)
    array /= array.size
    return array


@njit(cache=True)
def _transform(values):  # type: ignore[no-untyped-def]
    """Replace `values` by its sums with every parity; two levels a pass, since memory is what takes the time."""
    size = len(values)
    half = 1
    while 4 * half <= size:
        for start in range(0, size, 4 * half):
            for i in range(start, start + half):
                a, b = values[i], values[i + half]
                c, d = values[i + 2 * half], values[i + 3 * half]
                ab, a_b, cd, c_d = a + b, a - b, c + d, c - d
                values[i], values[i + half] = ab + cd, a_b + c_d
                values[i + 2 * half], values[i + 3 * half] = ab - cd, a_b - c_d
        half *= 4
    if half < size:
        for i in range(half):
            a, b = values[i], values[i + half]
            values[i], values[i + half] = a + b, a - b


@dataclass(frozen=True)
class Majority(Calculation):
    """Majority's coefficients by degree: exact, enumerated, and the two orders.

    Table rows, one an odd degree: `degree`, `exact` (absolute value of the closed form), `enumerated` (the same over the
    cube; nan beyond 15 bits), `printed`, `right`.

    Parameters
    ----------
    n_bits
        d, odd.
    """

    version: ClassVar[int] = 1
    n_bits: int  # d

    def __post_init__(self) -> None:
        check_odd(self.n_bits)

    @property
    def work(self) -> float:
        """Multiply-adds: the enumeration, where there is one."""
        return 1e5 + (2.0**self.n_bits * self.n_bits if self.n_bits <= BRUTE_FORCE else 0.0)

    def rows(self) -> list[dict[str, Any]]:
        """Return one row an odd degree."""
        enumerated = coefficients_by_enumeration(self.n_bits) if self.n_bits <= BRUTE_FORCE else None
        return [
            {
                "degree": degree,
                "exact": abs(coefficient(self.n_bits, degree)),
                "enumerated": nan if enumerated is None else float(abs(enumerated[degree])),
                "printed": printed_order(self.n_bits, degree),
                "right": right_order(self.n_bits, degree),
            }
            for degree in range(1, self.n_bits + 1, 2)
        ]


@dataclass(frozen=True)
class FourierGap(Calculation):
    """The gap of Claim B.3 and its bound, by support size.

    Table rows, one an even k from 2 to (d - 1) / 2, where the gap is positive: `support_size`, `gap`, `bound`, `ratio`
    (:math:`|\\zeta_{k+1} / \\zeta_{k-1}|`, equal to (k - 1) / (d - k)), `one_over_d` (what the proof of Lemma B.5 takes for
    the ratio).

    Parameters
    ----------
    n_bits
        d, odd, at least 5: smaller cubes have no such k.
    """

    version: ClassVar[int] = 1
    n_bits: int  # d

    def __post_init__(self) -> None:
        check_odd(self.n_bits)
        require(
            self.n_bits >= 5,
            f"n_bits d = {self.n_bits}",
            "at least 5, so that an even k lies below d / 2",
            "Take 5 or more.",
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return one row an even support size."""
        return [
            {
                "support_size": k,
                "gap": gap(self.n_bits, k),
                "bound": gap_bound(self.n_bits, k),
                "ratio": abs(coefficient(self.n_bits, k + 1) / coefficient(self.n_bits, k - 1)),
                "one_over_d": 1 / self.n_bits,
            }
            for k in range(2, (self.n_bits - 1) // 2 + 1, 2)
        ]
