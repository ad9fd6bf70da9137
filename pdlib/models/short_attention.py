"""Attention over short sequences on a CPU, from rows of positions to rows of positions.

A batch's projections lie as rows, one for each position; the products of attention want a matrix for each head, and are
slow where it has few columns, as heads are small. Compiled loops copy all rows once into matrices (size, position) and
once back, and the gradient, written out, does the same. Beside PyTorch's fused kernel this is 1.4 times as fast, which
makes a training step of short bidirectional networks 1.15 to 1.25 times as fast.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pdlib.compiled import njit


class Rows(NamedTuple):
    """Where rows stand in (example, position); padding has none."""

    places: Tensor | None  # of each row, in reading order; None: a row at every place
    n: int
    p: int

    def spread(self, rows: Tensor) -> Tensor:
        """(row, size) to (example, position, size), 0 elsewhere; what is so already stays."""
        if self.places is not None:
            rows = rows.new_zeros(self.n * self.p, rows.shape[-1]).index_copy(0, self.places, rows)
        return rows.view(self.n, self.p, rows.shape[-1])

    def of(self, padded: Tensor) -> Tensor:
        """(example, position, size) to (row, size); unchanged with a row at every place."""
        return padded if self.places is None else padded.flatten(0, 1).index_select(0, self.places)

    def split(self, rows: Tensor, h: int, d: int) -> Tensor:
        """(row, part x head x size) to (part, example x head, size, position)."""
        columns = rows.new_zeros(rows.shape[-1] // (h * d), self.n, h * d, self.p)
        flat = rows.detach().flatten(0, -2).contiguous()
        _rows_to_columns(flat.numpy(), self._numbers(), columns.numpy())
        return columns.view(-1, self.n * h, d, self.p)

    def joined(self, columns: Tensor, like: Tensor) -> Tensor:
        """(part, example x head, size, position) to the shape of `like`, (..., part x head x size)."""
        rows = like.new_empty(like.shape)
        parts = columns.view(len(columns), self.n, -1, self.p)
        _columns_to_rows(parts.numpy(), self._numbers(), rows.flatten(0, -2).numpy())
        return rows

    def _numbers(self) -> NDArray[np.int64]:
        return np.arange(self.n * self.p) if self.places is None else self.places.numpy()


def short_attention(
    of_queries: Tensor, queries: Rows, of_keys: Tensor, keys: Rows, h: int, seen: Tensor | None
) -> Tensor:
    """Return what h heads hand on, shape (..., head x size).

    Parameters
    ----------
    of_queries : shape (..., head x size)
        Rows that stand where `queries` says.
    of_keys : shape (..., 2 x head x size)
        Keys and values, that stand where `keys` says.
    seen : shape (example, 1, 1, position), boolean
        Which keys are seen, of which padding must be none; None: all.
    """
    added = of_keys.new_zeros(1)
    if seen is not None:
        hidden = of_keys.new_zeros(seen.shape).masked_fill_(~seen, -math.inf)
        added = hidden.expand(-1, h, 1, -1).reshape(-1, 1, keys.p)
    out: Tensor = _ShortAttention.apply(of_queries, of_keys, queries, keys, h, added)  # type: ignore[no-untyped-call]
    return out


class _ShortAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, of_queries: Tensor, of_keys: Tensor, queries: Rows, keys: Rows, h: int, added: Tensor
    ) -> Tensor:
        d = of_queries.shape[-1] // h
        q, kv = queries.split(of_queries, h, d)[0], keys.split(of_keys, h, d)
        weights = torch.baddbmm(added, q.transpose(1, 2), kv[0], alpha=1 / math.sqrt(d)).softmax(dim=2)
        ctx.queries, ctx.keys, ctx.h, ctx.d = queries, keys, h, d
        ctx.save_for_backward(weights, q, kv, of_queries, of_keys)
        return queries.joined(torch.bmm(kv[1], weights.transpose(1, 2))[None], of_queries)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        weights, q, kv, of_queries, of_keys = ctx.saved_tensors
        given = ctx.queries.split(gradients[0], ctx.h, ctx.d)[0]
        of_weights = torch.bmm(given.transpose(1, 2), kv[1])
        of_scores = torch._softmax_backward_data(of_weights, weights, 2, weights.dtype)
        of_scores.mul_(1 / math.sqrt(ctx.d))
        of_kv = torch.empty_like(kv)
        torch.bmm(q, of_scores, out=of_kv[0])
        torch.bmm(given, weights, out=of_kv[1])
        of_q = torch.bmm(kv[0], of_scores.transpose(1, 2))
        return ctx.queries.joined(of_q[None], of_queries), ctx.keys.joined(of_kv, of_keys), *(None,) * 4


@njit(nogil=True)
def _rows_to_columns(rows: NDArray[Any], index: NDArray[Any], columns: NDArray[Any]) -> None:
    parts, _, features, places = columns.shape
    for row in range(len(index)):
        example, place = index[row] // places, index[row] % places
        for part in range(parts):
            for feature in range(features):
                columns[part, example, feature, place] = rows[row, part * features + feature]


@njit(nogil=True)
def _columns_to_rows(columns: NDArray[Any], index: NDArray[Any], rows: NDArray[Any]) -> None:
    parts, _, features, places = columns.shape
    for row in range(len(index)):
        example, place = index[row] // places, index[row] % places
        for part in range(parts):
            for feature in range(features):
                rows[row, part * features + feature] = columns[part, example, feature, place]
