"""Sums over billions of inputs, 64 of them in a machine word.

The gradient of a student's neuron at initialisation, its output weight taken out, is

.. math:: G_{ij} = \\tfrac{1}{B} \\sum_b 1[\\langle w_i, x_b \\rangle + b_i \\ge 0] \\, f(x_b) \\, x_{b,j} .

For a target that is a weighted sum of parities every term is a sign. One word holds one coordinate of 64 inputs (a set bit
is -1); the indicator is a majority vote, counted by full adders on words, and a sum of signs is a count of bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from pdlib.compiled import njit

WORDS_AT_ONCE = 256  # of one coordinate: a tile of 63 coordinates stays in a core's cache
PLANES = 7  # binary digits of a count of up to 127


def _population_count(typing_context: Any, word: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), code


_count_bits: Any = intrinsic(_population_count)


@njit(inline="always")
def _half_add(planes, carry, first, last):  # type: ignore[no-untyped-def]
    """Add one bit a lane, `carry`, to the digits `first` ... `last` of the lanes' counts."""
    for p in range(first, last):
        for t in range(carry.shape[0]):
            digit = planes[p, t]
            planes[p, t] = digit ^ carry[t]
            carry[t] &= digit


@njit()
def _add_tile(words, last, channels, flips, planes, carry, out):  # type: ignore[no-untyped-def]
    """Add a tile's sums to `out` (neuron, channel, coordinate); words (coordinate, word), flips (neuron, coordinate)."""
    n_bits, n = words.shape
    half = (n_bits - 1) // 2
    for i in range(flips.shape[0]):
        planes[:] = 0
        for t in range(n):
            planes[0, t] = words[0, t] ^ flips[i, 0]
        for j in range(1, n_bits, 2):  # two coordinates and the lowest digit by one full adder
            digits = 1
            while (2 << digits) <= j + 2:
                digits += 1
            for t in range(n):
                a, b, c = words[j, t] ^ flips[i, j], words[j + 1, t] ^ flips[i, j + 1], planes[0, t]
                planes[0, t] = a ^ b ^ c
                carry[t] = (a & b) | (c & (a ^ b))
            _half_add(planes, carry, 1, digits + 1)
        for t in range(n):  # carry: lanes with more than half of their terms negative
            carry[t] = 0
        for p in range(PLANES):
            if (half >> p) & 1:
                for t in range(n):
                    carry[t] &= planes[p, t]
            else:
                for t in range(n):
                    carry[t] |= planes[p, t]
        for t in range(n):
            carry[t] = ~carry[t]
        carry[n - 1] &= last
        n_active = np.int64(0)
        for t in range(n):
            n_active += np.int64(_count_bits(carry[t]))
        for c in range(channels.shape[0]):
            for j in range(n_bits):
                negative = np.uint64(0)
                for t in range(n):
                    negative += _count_bits(carry[t] & (channels[c, t] ^ words[j, t]))
                out[i, c, j] += n_active - 2 * np.int64(negative)


def sums_of_signs(
    bit_generator: np.random.Philox,
    n_bits: int,
    n_inputs: int,
    monomials: tuple[tuple[int, ...], ...],
    students: NDArray[Any],
) -> NDArray[np.int64]:
    r"""Sum, over fresh inputs, :math:`1[\langle w_i, x \rangle > 0] \, \chi_M(x) \, x_j` for each neuron, M and j.

    `n_bits` is d, odd and at most 127, `n_inputs` B; `monomials` are the sets M of coordinates, counted from 0; `students`,
    shape (neuron, d), are signs of the neurons' weights: with d odd the sum has no ties, and a bias between -1 and 1 changes
    nothing. Whole numbers, shape (neuron, monomial, d).

    >>> sums = sums_of_signs(np.random.Philox(0), 5, 1000, ((0,),), np.ones((1, 5)))
    >>> sums.shape, bool(sums[0, 0, 0] > 400)  # x_0 x_0 = 1: the number of active inputs, about half
    ((1, 1, 5), True)
    """
    flips = np.where(students < 0, np.uint64(0xFFFFFFFFFFFFFFFF), np.uint64(0))
    out = np.zeros((len(students), len(monomials), n_bits), np.int64)
    n_words = -(-n_inputs // 64)
    planes = np.empty((PLANES, WORDS_AT_ONCE), np.uint64)
    carry = np.empty(WORDS_AT_ONCE, np.uint64)
    for start in range(0, n_words, WORDS_AT_ONCE):
        n = min(WORDS_AT_ONCE, n_words - start)
        words = bit_generator.random_raw(n_bits * n).reshape(n_bits, n)
        is_last = start + n == n_words and n_inputs % 64
        last = np.uint64((1 << (n_inputs % 64)) - 1 if is_last else 0xFFFFFFFFFFFFFFFF)
        channels = np.stack([np.bitwise_xor.reduce(words[list(m)], axis=0) for m in monomials])
        _add_tile(words, last, channels, flips, planes[:, :n], carry[:n], out)
    return out
