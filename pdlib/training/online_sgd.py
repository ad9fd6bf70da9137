r"""Exact batch-1 SGD of a one-hidden-layer network, a block of samples at a time.

Plain online SGD touches the first layer's weights twice a sample. Within a block of K samples the weights
move by rank-1 steps only, so the pre-activations of sample t follow from those at the block's start:

.. math:: w_t \cdot x_t = w_0 \cdot x_t + \sum_{s < t} g_s \, (x_s \cdot x_t)

where :math:`g_s` is minus the rate times the gradient of sample s with respect to the pre-activations.
One matrix product gives all :math:`w_0 \cdot x_t`, the K x K Gram matrix of the inputs gives
:math:`x_s \cdot x_t`, and one product of rank K moves the weights at the block's end. It is the arithmetic
of plain online SGD in another order; tests compare it with a plain float64 loop.

The bias of the first layer is the weight of an input that is always 1, so it takes part in the Gram matrix.

Layout: weights are stored as (part, input, unit), inputs padded to a multiple of 16, because the products
then run two to three times as fast. A wide hidden layer is cut into parts that threads share; sums are taken
part by part in a fixed order, and BLAS uses one thread a part, so a result does not depend on the number of
threads. There a block's samples come in groups: what earlier groups did to a group's pre-activations is one more
product, which reads their steps once and not once a sample.
"""

from __future__ import annotations

import threading
from types import FunctionType
from typing import Any, Protocol

import numba
import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  loaded before the thread limit below, which then holds for it
import torch
from numba import prange
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from pdlib.compiled import njit
from pdlib.specs import Parameters

BLOCK = 32  # K; samples a block for a narrow network
WIDE_BLOCK = 64
WIDE_GROUP = 16
WIDE = 8192  # hidden units from which threads share a network
WIDE_PARTS = 64
ALIGNMENT = 16  # floats in a 512-bit register
Array = NDArray[Any]
_FASTMATH = {"reassoc", "contract", "nsz", "arcp"}  # NaN and infinity keep their meaning


class Learner(Protocol):
    """A network in training."""

    n_columns: int  # of a row of inputs: the coordinates; here also the constant 1 of the bias, and zeros
    divisible: (
        bool  # whether the bits stay when a call of `steps` is divided; here they don't, within a block
    )

    def steps(
        self, inputs: Array, targets: Array, rates: Array, weights: Array | None = None
    ) -> Array | None:
        """Take one step a rate, each on its share of the rows; here on one row.

        Targets are whole numbers of classes, (row,), or distributions, (row, class). With weights t, one a step, targets
        are p_t = softmax((1 - t) z + t log q), of what the network says now and is told, z and q; the losses are returned,
        the cross-entropies of p_t and the network's distribution.
        """
        ...

    def parameters(self) -> Parameters:
        """Return the parameters as they are now, as the model describes."""
        ...

    def state(self) -> Parameters:
        """Return all that a resumed run needs; here the parameters."""
        ...


def _padded(n: int) -> int:
    return -(-n // ALIGNMENT) * ALIGNMENT


def _distributions(targets: NDArray[Any], n_classes: int, dtype: Any) -> NDArray[Any]:
    """Return targets (sample, class), of class numbers the distributions that are sure of them."""
    if not np.issubdtype(targets.dtype, np.integer):
        return np.ascontiguousarray(targets, dtype)
    found = np.zeros((len(targets), n_classes), dtype)
    found[np.arange(len(targets)), targets] = 1.0
    return found


# ------------------------------------------------------------------ compiled


@njit(fastmath=_FASTMATH)
def _forward(z: Any, g: Any, gram: Any, a: Any, first: int, t: int, out: Any) -> None:
    """Correct the pre-activations of sample t by samples first ... t - 1; add up the logits."""
    zt = z[t]
    n_units = zt.shape[0]
    zero = zt[0] * 0
    s = first
    while s + 3 < t:
        c0, c1, c2, c3 = gram[t, s], gram[t, s + 1], gram[t, s + 2], gram[t, s + 3]
        g0, g1, g2, g3 = g[s], g[s + 1], g[s + 2], g[s + 3]
        for i in range(n_units):
            zt[i] += c0 * g0[i] + c1 * g1[i] + c2 * g2[i] + c3 * g3[i]
        s += 4
    while s < t:
        c0, g0 = gram[t, s], g[s]
        for i in range(n_units):
            zt[i] += c0 * g0[i]
        s += 1
    for c in range(a.shape[0]):
        ac = a[c]
        total = zero
        for i in range(n_units):
            total += ac[i] * max(zt[i], zero)
        out[c] = total


@njit(fastmath=_FASTMATH)
def _backward(z: Any, g: Any, a: Any, t: int, step: Any) -> None:
    """Write sample t's step of the pre-activations and move the second layer; no branch, so it vectorizes."""
    zt, gt = z[t], g[t]
    n_units = zt.shape[0]
    zero = zt[0] * 0
    if a.shape[0] == 2:  # one pass instead of four: a wide layer's rows do not fit the fastest cache
        a0, a1, s0, s1 = a[0], a[1], step[0], step[1]
        for i in range(n_units):
            old0, old1, hidden = a0[i], a1[i], max(zt[i], zero)
            slope = s0 * old0 + s1 * old1
            gt[i] = slope if zt[i] > zero else zero
            a0[i] = old0 + s0 * hidden
            a1[i] = old1 + s1 * hidden
        return
    for i in range(n_units):
        gt[i] = zero
    for c in range(a.shape[0]):
        ac, sc = a[c], step[c]
        for i in range(n_units):
            old = ac[i]
            gt[i] += sc * old
            ac[i] = old + sc * max(zt[i], zero)
    for i in range(n_units):
        gt[i] = gt[i] if zt[i] > zero else zero


@njit(fastmath=_FASTMATH)
def _between(told: Any, target: Any, weight: Any, log_normalizer: Any) -> Any:
    """Write p_t in the place of the network's logits, (class,), and return its cross-entropy with what these say."""
    loss, top, total = told[0] * 0, -np.inf, 0.0
    if weight == 1:
        for q in range(told.shape[0]):
            loss -= target[q] * (told[q] - log_normalizer)
            told[q] = target[q]
        return loss
    mixed = np.empty(told.shape[0])
    for q in range(told.shape[0]):
        mixed[q] = (1 - weight) * told[q]
        if weight > 0:  # 0 times the logarithm of 0 is no number
            mixed[q] += weight * np.log(target[q])
        top = max(top, mixed[q])
    for q in range(told.shape[0]):
        mixed[q] = np.exp(mixed[q] - top)
        total += mixed[q]
    for q in range(told.shape[0]):
        share = mixed[q] / total
        loss -= share * (told[q] - log_normalizer)
        told[q] = share
    return loss


def _steps(
    w: Any,
    a: Any,
    c: Any,
    inputs: Any,
    targets: Any,
    rates: Any,
    weights: Any,
    losses: Any,
    block: int,
    group: int,
) -> None:
    """Take one step a row of `inputs`, changing the parameters in place.

    w (part, input, unit), a (part, class, unit), c (class,), inputs (sample, input), targets
    (sample, class), rates (sample,); weights and losses (sample,), or None, which is compiled by itself, without them.
    """
    n_parts, n_classes, n_units = a.shape
    z = np.empty((n_parts, block, n_units), w.dtype)  # pre-activations
    g = np.empty((n_parts, block, n_units), w.dtype)  # steps of the pre-activations
    partial = np.empty((n_parts, n_classes), w.dtype)
    logit = np.empty(n_classes, w.dtype)
    step = np.empty(n_classes, w.dtype)  # -rate * (p - target)
    if weights is not None:
        told = np.empty(n_classes, w.dtype)
    for start in range(0, inputs.shape[0], block):
        n = min(block, inputs.shape[0] - start)
        x = inputs[start : start + n]
        before = inputs[max(0, start - block) : start]
        gram = np.dot(x, x.T)
        for p in prange(n_parts):  # with the last block's update: a part's weights are read once a block
            if start > 0:
                _backward(z[p], g[p], a[p], block - 1, step)
                w[p] += np.dot(before.T, g[p])
            np.dot(x, w[p], z[p, :n])
        for t in range(n):
            first = t - t % group
            if t == first and t > 0:  # what the block's earlier groups did, in one product
                end = min(t + group, n)
                earlier = np.ascontiguousarray(gram[t:end, :t])
                for p in prange(n_parts):
                    _backward(z[p], g[p], a[p], t - 1, step)
                    z[p, t:end] += np.dot(earlier, g[p, :t])
                    _forward(z[p], g[p], gram, a[p], first, t, partial[p])
            else:
                for p in prange(n_parts):  # one region a sample: the last one's backward, this one's forward
                    if t > 0:
                        _backward(z[p], g[p], a[p], t - 1, step)
                    _forward(z[p], g[p], gram, a[p], first, t, partial[p])
            for q in range(n_classes):
                total = c[q]
                for p in range(n_parts):
                    total += partial[p, q]
                logit[q] = total
            top = logit[0]
            for q in range(n_classes):
                top = max(top, logit[q])
            normalizer = top * 0
            if weights is not None:
                told[:] = logit - top
            for q in range(n_classes):
                logit[q] = np.exp(logit[q] - top)
                normalizer += logit[q]
            if weights is None:
                for q in range(n_classes):
                    step[q] = -rates[start + t] * (logit[q] / normalizer - targets[start + t, q])
                    c[q] += step[q]
            else:
                s = start + t
                losses[s] = _between(told, targets[s], weights[s], np.log(normalizer))
                for q in range(n_classes):
                    move = -rates[s] * (logit[q] / normalizer - told[q])
                    step[q] = move if weights[s] > 0 else 0  # p_0 is the network's own distribution
                    c[q] += step[q]
    last = inputs[start:]
    for p in prange(n_parts):
        _backward(z[p], g[p], a[p], last.shape[0] - 1, step)
        w[p] += np.dot(last.T, g[p, : last.shape[0]])


def _compiled(name: str, *, parallel: bool) -> Any:
    """Compile the loop over blocks under a name of its own: the cache on disk tells functions apart by name alone."""
    named = FunctionType(_steps.__code__, _steps.__globals__, name)
    named.__qualname__ = name
    # Without the interpreter's lock, so that a cluster's worker answers its scheduler during a long call.
    return njit(fastmath=_FASTMATH, nogil=True, parallel=parallel)(named)


_steps_serial = _compiled("_steps_serial", parallel=False)
_steps_shared = _compiled("_steps_shared", parallel=True)
_blas = ThreadpoolController().select(user_api="blas")
_turn = threading.Lock()  # the limit holds for the process, so threads that train take turns


class CompiledLearner:
    """The block engine on the CPU, in the precision of the parameters it is given."""

    divisible = False

    def __init__(self, parameters: Parameters) -> None:
        weight, bias = parameters["0.weight"], parameters["0.bias"]
        self._width, self._n_inputs = weight.shape
        self._wide = self._width >= WIDE
        n_parts = WIDE_PARTS if self._wide else 1
        n_units = _padded(-(-self._width // n_parts))
        self.n_columns = _padded(self._n_inputs + 1)
        n_classes = len(parameters["2.bias"])
        # Padding units have zero weights: they never activate, so they stay zero and change no sum.
        flat = np.zeros((self.n_columns, n_parts * n_units), weight.dtype)
        flat[: self._n_inputs, : self._width] = weight.T
        flat[self._n_inputs, : self._width] = bias
        self._w = np.ascontiguousarray(flat.reshape(self.n_columns, n_parts, n_units).transpose(1, 0, 2))
        flat = np.zeros((n_classes, n_parts * n_units), weight.dtype)
        flat[:, : self._width] = parameters["2.weight"]
        self._a = np.ascontiguousarray(flat.reshape(n_classes, n_parts, n_units).transpose(1, 0, 2))
        self._c = parameters["2.bias"].copy()

    def steps(
        self, inputs: Array, targets: Array, rates: Array, weights: Array | None = None
    ) -> Array | None:
        """Take one step a row.

        Parameters
        ----------
        inputs : shape (sample, n_columns)
            The input coordinates, then a column of ones, then zeros.
        targets : shape (sample,), whole numbers, or (sample, class)
            Classes or target distributions.
        rates : shape (sample,)
            Learning rates.
        weights : shape (sample,), or None
            See `Learner.steps`.
        """
        dtype = self._w.dtype
        losses = None if weights is None else np.empty(len(inputs), dtype)
        if len(inputs) == 0:
            return losses
        targets = _distributions(targets, len(self._c), dtype)
        given = (inputs, targets, rates, weights)
        arguments = [None if v is None else np.ascontiguousarray(v, dtype) for v in given]
        with _turn, _blas.limit(limits=1):
            if self._wide:
                _steps_shared(self._w, self._a, self._c, *arguments, losses, WIDE_BLOCK, WIDE_GROUP)
            else:
                _steps_serial(self._w, self._a, self._c, *arguments, losses, BLOCK, BLOCK)
        return losses

    def parameters(self) -> Parameters:
        """Return copies of the parameters, as `MLP` describes."""
        flat = self._w.transpose(1, 0, 2).reshape(self.n_columns, -1)[:, : self._width]
        second = self._a.transpose(1, 0, 2).reshape(len(self._c), -1)[:, : self._width]
        return {
            "0.weight": np.ascontiguousarray(flat[: self._n_inputs].T),
            "0.bias": flat[self._n_inputs].copy(),
            "2.weight": np.ascontiguousarray(second),
            "2.bias": self._c.copy(),
        }

    def state(self) -> Parameters:
        """Return the parameters, all there is to save."""
        return self.parameters()


def set_threads(n: int) -> None:
    """Let the engine and PyTorch use `n` threads in this process; results do not depend on it.

    >>> set_threads(1)
    """
    numba.set_num_threads(min(n, int(vars(numba.config)["NUMBA_NUM_THREADS"])))
    torch.set_num_threads(n)


# --------------------------------------------------------------------- torch


def between(logits: torch.Tensor, targets: torch.Tensor, weight: float) -> torch.Tensor:
    """Return p_t of `Learner.steps`, (..., class), a constant of the network's logits and the distributions it is told.

    >>> between(torch.zeros(2), torch.tensor([0.0, 1.0]), 0.0).tolist()
    [0.5, 0.5]
    """
    if weight == 1:
        return targets
    return torch.softmax((1 - weight) * logits.detach() + torch.xlogy(weight, targets), dim=-1)


class TorchLearner:
    """The same block form in PyTorch operations, on any of its devices."""

    divisible = False

    def __init__(self, parameters: Parameters, device: str) -> None:
        move = {name: torch.from_numpy(value).to(device) for name, value in parameters.items()}
        self._width, self._n_inputs = parameters["0.weight"].shape
        self.n_columns = _padded(self._n_inputs + 1)
        self._w = move["0.weight"].new_zeros(self.n_columns, self._width)  # (input, unit)
        self._w[: self._n_inputs] = move["0.weight"].T
        self._w[self._n_inputs] = move["0.bias"]
        self._a = move["2.weight"].clone()  # (class, unit)
        self._c = move["2.bias"].clone()

    def steps(
        self, inputs: Array, targets: Array, rates: Array, weights: Array | None = None
    ) -> Array | None:
        """Take one step a row; shapes as in `CompiledLearner.steps`."""
        losses = None if weights is None else self._w.new_empty(len(inputs))
        targets = _distributions(targets, len(self._c), rates.dtype)
        x_all, y_all, rate = (
            torch.from_numpy(np.ascontiguousarray(v)).to(self._w.device, self._w.dtype)
            for v in (inputs, targets, rates)
        )
        for start in range(0, len(x_all), WIDE_BLOCK):
            x, y = x_all[start : start + WIDE_BLOCK], y_all[start : start + WIDE_BLOCK]
            gram = x @ x.T
            z = x @ self._w  # (sample, unit)
            g = torch.zeros_like(z)
            for t in range(len(x)):
                z[t].addmv_(g[:t].T, gram[t, :t])
                hidden = z[t].relu()
                logits = torch.addmv(self._c, self._a, hidden)
                p, told = torch.softmax(logits, dim=0), y[t]
                if weights is not None and losses is not None:
                    told = between(logits, told, float(weights[start + t]))
                    losses[start + t] = -(told * torch.log_softmax(logits, dim=0)).sum()
                step = -rate[start + t] * (p - told)
                torch.mul(step @ self._a, z[t] > 0, out=g[t])
                self._a.addr_(step, hidden)
                self._c += step
            self._w.addmm_(x.T, g)
        return None if losses is None else losses.cpu().numpy()

    def parameters(self) -> Parameters:
        """Return copies of the parameters, as `MLP` describes."""
        return {
            "0.weight": self._w[: self._n_inputs].T.contiguous().cpu().numpy(),
            "0.bias": self._w[self._n_inputs].cpu().numpy().copy(),
            "2.weight": self._a.cpu().numpy().copy(),
            "2.bias": self._c.cpu().numpy().copy(),
        }

    def state(self) -> Parameters:
        """Return the parameters, all there is to save."""
        return self.parameters()
