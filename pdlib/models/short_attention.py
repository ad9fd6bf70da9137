"""Attention over short sequences on a CPU, from rows of positions to rows of positions.

A batch's projections lie as rows, one for each position; the products of attention want a matrix for each head, and are
slow where it has few columns, as heads are small. Compiled loops copy all rows once into matrices (size, position) and
once back, and the gradient, written out, does the same. Beside PyTorch's fused kernel this is 1.4 times as fast, which
makes a training step of short bidirectional networks 1.15 to 1.25 times as fast.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor


def short_attention(projected: Tensor, index: Tensor, seen: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    """Return what the heads hand on, shape (row, head x size).

    Parameters
    ----------
    projected : shape (row, 3 x head x size)
        Queries, keys and values.
    index : shape (row,)
        Place of each row in (example, position); at other places there is padding, which `seen` must hide.
    seen : shape (example, 1, 1, position), boolean
        Which keys are seen; None: all.
    shape
        Numbers of examples, heads and positions, and the size of a head.
    """
    n, h, p, _ = shape
    added = projected.new_zeros(1)
    if seen is not None:
        hidden = projected.new_zeros(n, 1, 1, p).masked_fill_(~seen, -math.inf)
        added = hidden.expand(n, h, 1, p).reshape(n * h, 1, p)
    out: Tensor = _ShortAttention.apply(projected, index, added, shape)  # type: ignore[no-untyped-call]
    return out


class _ShortAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, projected: Tensor, index: Tensor, added: Tensor, shape: tuple[int, ...]) -> Tensor:
        ctx.index, ctx.shape, ctx.scale = index, shape, 1 / math.sqrt(shape[3])
        matrices = _matrices(projected, index, shape)
        q, k, v = matrices  # (example x head, size, position)
        weights = torch.baddbmm(added, q.transpose(1, 2), k, alpha=ctx.scale).softmax(dim=2)
        ctx.save_for_backward(weights, matrices)
        return _rows(torch.bmm(v, weights.transpose(1, 2))[None], index, shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        weights, (q, k, v) = ctx.saved_tensors
        made = q.new_empty(3, *q.shape)
        given = _matrices(gradients[0], ctx.index, ctx.shape)[0]
        torch.bmm(given, weights, out=made[2])
        of_weights = torch.bmm(given.transpose(1, 2), v)
        of_scores = torch._softmax_backward_data(of_weights, weights, 2, weights.dtype).mul_(ctx.scale)
        torch.bmm(k, of_scores.transpose(1, 2), out=made[0])
        torch.bmm(q, of_scores, out=made[1])
        return _rows(made, ctx.index, ctx.shape), None, None, None


def _matrices(rows: Tensor, index: Tensor, shape: tuple[int, ...]) -> Tensor:
    """(row, part x head x size) to (part, example x head, size, position), 0 at places without a row."""
    n, h, p, d = shape
    columns = rows.new_zeros(rows.shape[1] // (h * d), n, h * d, p)
    _rows_to_columns(rows.detach().contiguous().numpy(), index.numpy(), columns.numpy())
    return columns.view(-1, n * h, d, p)


def _rows(matrices: Tensor, index: Tensor, shape: tuple[int, ...]) -> Tensor:
    """(part, example x head, size, position) to (row, part x head x size)."""
    n, h, p, d = shape
    rows = matrices.new_empty(len(index), len(matrices) * h * d)
    _columns_to_rows(matrices.view(-1, n, h * d, p).numpy(), index.numpy(), rows.numpy())
    return rows


@njit(cache=True, nogil=True)
def _rows_to_columns(rows: NDArray[Any], index: NDArray[Any], columns: NDArray[Any]) -> None:
    parts, _, features, places = columns.shape
    for row in range(len(index)):
        example, place = index[row] // places, index[row] % places
        for part in range(parts):
            for feature in range(features):
                columns[part, example, feature, place] = rows[row, part * features + feature]


@njit(cache=True, nogil=True)
def _columns_to_rows(columns: NDArray[Any], index: NDArray[Any], rows: NDArray[Any]) -> None:
    parts, _, features, places = columns.shape
    for row in range(len(index)):
        example, place = index[row] // places, index[row] % places
        for part in range(parts):
            for feature in range(features):
                rows[row, part * features + feature] = columns[part, example, feature, place]
