r"""The block form of `online_sgd` on an NVIDIA GPU: one kernel a sample, one CUDA graph a block.

A step of batch-1 SGD is too little work for a GPU to be worth a dozen kernels, which is what PyTorch's operations take:
starting them costs more than what they do. Here a single kernel undoes that. Sample t's starts where sample t - 1's
ended: every program adds up the shares of the last sample's logits, takes the last sample's step on its own hidden
units, corrects the pre-activations of sample t there, and leaves its share of sample t's logits. All programs add up
the same shares in the same order, so that they agree to the last bit without waiting for one another.
"""

from __future__ import annotations

import threading

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from pdlib.specs import Parameters, require
from pdlib.training.online_sgd import BLOCK, Array, TorchLearner, _distributions

UNITS = 512  # hidden units a program
_turn = threading.Lock()
ROWS = 4096  # examples on the device at a time; a multiple of BLOCK


@triton.jit  # type: ignore[untyped-decorator]
def _sample(  # type: ignore[no-untyped-def]
    z,  # (sample, unit); row t holds w_0 x_t, and from here on w_t x_t
    g,  # (sample, unit); rows before t - 1 hold steps of the pre-activations
    gram,  # (sample, sample)
    a,  # (class, unit)
    c,  # (sample + 1, class); rows up to t - 1 hold the last layer's biases
    shares,  # (sample, program, class) of the logits
    targets,  # (sample, class)
    rates,  # (sample,)
    t,
    n_samples,
    n_units,
    n_programs,
    n_classes,
    BACKWARD: tl.constexpr,  # whether there is a sample t - 1
    FORWARD: tl.constexpr,  # whether there is a sample t
    N_BEFORE: tl.constexpr,  # powers of two, at least the number of samples ...
    N_UNITS: tl.constexpr,
    N_PROGRAMS: tl.constexpr,  # ... of programs ...
    N_CLASSES: tl.constexpr,  # ... of classes
):
    program = tl.program_id(0)
    unit = program * N_UNITS + tl.arange(0, N_UNITS)
    cls = tl.arange(0, N_CLASSES)
    is_unit, is_class = unit < n_units, cls < n_classes
    in_a = cls[:, None] * n_units + unit[None, :]
    is_a = is_class[:, None] & is_unit[None, :]
    second = tl.load(a + in_a, mask=is_a, other=0.0)  # (class, unit)
    if FORWARD:
        s = tl.arange(0, N_BEFORE)
        earlier = tl.load(
            g + s[:, None] * n_units + unit[None, :], mask=(s[:, None] < t - 1) & is_unit[None, :], other=0.0
        )
        products = tl.load(gram + t * n_samples + s, mask=s < t - 1, other=0.0)
        now = tl.load(z + t * n_units + unit, mask=is_unit, other=0.0)
        now += tl.sum(earlier * products[:, None], axis=0)
    if BACKWARD:
        last = t - 1
        p = tl.arange(0, N_PROGRAMS)
        of_last = tl.load(
            shares + (last * n_programs + p[:, None]) * n_classes + cls[None, :],
            mask=(p[:, None] < n_programs) & is_class[None, :],
            other=0.0,
        )
        bias = tl.load(c + last * n_classes + cls, mask=is_class, other=0.0)
        logit = tl.where(is_class, bias + tl.sum(of_last, axis=0), float("-inf"))
        exponential = tl.exp(logit - tl.max(logit, axis=0))
        target = tl.load(targets + last * n_classes + cls, mask=is_class, other=0.0)
        step = -tl.load(rates + last) * (exponential / tl.sum(exponential, axis=0) - target)
        if program == 0:
            tl.store(c + t * n_classes + cls, bias + step, mask=is_class)
        then = tl.load(z + last * n_units + unit, mask=is_unit, other=0.0)
        slope = tl.where(then > 0, tl.sum(step[:, None] * second, axis=0), 0.0)
        tl.store(g + last * n_units + unit, slope, mask=is_unit)
        hidden = tl.maximum(then, 0.0, propagate_nan=tl.PropagateNan.ALL)
        second += step[:, None] * hidden[None, :]
        tl.store(a + in_a, second, mask=is_a)
        if FORWARD:
            now += tl.load(gram + t * n_samples + last) * slope
    if FORWARD:
        tl.store(z + t * n_units + unit, now, mask=is_unit)
        hidden = tl.maximum(now, 0.0, propagate_nan=tl.PropagateNan.ALL)
        share = tl.sum(second * hidden[None, :], axis=1)
        tl.store(shares + (t * n_programs + program) * n_classes + cls, share, mask=is_class)


class TritonLearner(TorchLearner):
    """The block engine on a GPU; `TorchLearner` does the same arithmetic in PyTorch's operations.

    On the CPU it runs in Triton's interpreter, if the environment says `TRITON_INTERPRET=1`: very slowly, for tests.
    """

    def __init__(self, parameters: Parameters, device: str) -> None:
        super().__init__(parameters, device)
        self._x = self._w.new_zeros(ROWS, self.n_columns)
        self._y = self._w.new_zeros(ROWS, len(self._c))
        self._rates = self._w.new_zeros(ROWS)
        self._rows = torch.arange(BLOCK, device=device)  # of the next block
        self._graph: torch.cuda.CUDAGraph | None = None

    def steps(self, inputs: Array, targets: Array, rates: Array, weights: Array | None = None) -> None:
        """Take one step a row; shapes as in `CompiledLearner.steps`. With weights a run has `TorchLearner`."""
        require(weights is None, "weights in Triton", "none", "Use TorchLearner.")
        targets = _distributions(targets, len(self._c), rates.dtype)
        for start in range(0, len(inputs), ROWS):
            here = slice(start, min(start + ROWS, len(inputs)))
            n = here.stop - here.start
            for mine, given in ((self._x, inputs), (self._y, targets), (self._rates, rates)):
                mine[:n].copy_(torch.from_numpy(np.ascontiguousarray(given[here])))
            self._rows.copy_(torch.arange(BLOCK))
            whole = n // BLOCK
            if self._w.is_cuda and whole > 1 and self._graph is None:
                self._next()  # compiles the kernels, which cannot be done while a graph is recorded
                whole -= 1
                self._graph = self._recorded()
            for _ in range(whole):
                self._next() if self._graph is None else self._graph.replay()
            if rest := n % BLOCK:
                self._block(self._x[n - rest : n], self._y[n - rest : n], self._rates[n - rest : n])

    def _recorded(self) -> torch.cuda.CUDAGraph:
        """Return the graph of a block; one thread at a time records, on a stream of its own."""
        graph = torch.cuda.CUDAGraph()
        with (
            _turn,
            torch.cuda.graph(
                graph,
                stream=torch.cuda.Stream(self._w.device),  # type: ignore[no-untyped-call]
                capture_error_mode="thread_local",
            ),
        ):
            self._next()
        return graph

    def _next(self) -> None:
        """Take the steps of the next block of examples."""
        self._block(*(v.index_select(0, self._rows) for v in (self._x, self._y, self._rates)))
        self._rows += BLOCK

    def _block(self, x: Tensor, y: Tensor, rates: Tensor) -> None:
        n, n_classes, n_units = len(x), len(self._c), self._width
        n_programs = triton.cdiv(n_units, UNITS)
        z, gram = x @ self._w, x @ x.T
        g, c = torch.empty_like(z), x.new_empty(n + 1, n_classes)
        shares = x.new_empty(n, n_programs, n_classes)
        c[0] = self._c
        for t in range(n + 1):
            _sample[(n_programs,)](
                *(z, g, gram, self._a, c, shares, y, rates),
                *(t, n, n_units, n_programs, n_classes),
                BACKWARD=t > 0,
                FORWARD=t < n,
                N_BEFORE=BLOCK,
                N_UNITS=UNITS,
                N_PROGRAMS=triton.next_power_of_2(n_programs),
                N_CLASSES=max(2, triton.next_power_of_2(n_classes)),
                num_warps=8,
            )
        self._w.addmm_(x.T, g)
        self._c.copy_(c[n])
