"""The sample complexities that appendix B states: as printed and as numbers; Lemma B.10 as a run.

The paper hides constants and logarithms of d and k behind Omega, Theta and tildes. Here every hidden constant is 1 and
every logarithm that is not printed is left out, so that a number is the formula's and not a guess. Batches, steps and
samples are real numbers: rounding them would hide what a formula says where it says less than one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, get_args

import numpy as np

from pdlib.specs import Calculation, Count, Index, Positive, Several, Share, checked, require
from pdlib.theory.setting import (
    NetworkExperiment,
    check_setting,
    generator,
    signs,
)

Form = Literal["3.2", "3.2 larger", "B.1", "proof"]
FORMS: tuple[Form, ...] = get_args(Form)
Exponent = Annotated[float, "[1, inf)"]  # c of Theorem B.1's loss
N_EVALUATION = 4096  # held-out inputs of a measured run
EVALUATION_RATIO = 1.05  # steps between evaluations grow by this factor


class SampleComplexity(NamedTuple):
    """Inputs that the student needs under a form of the theorem, with constants 1."""

    progressive_first: float  # first stage, from the intermediate teacher
    progressive_second: float  # second stage, which distillation shares
    distillation: float  # lower bound for distillation


def theorem(
    n_bits: int, support_size: int, epsilon: float, delta: float, c: float, form: Form
) -> SampleComplexity:
    r"""Return what one printed form of the theorem says, with constants 1 and :math:`\tilde m = 2^k k`.

    Progressive distillation, first and second stage, then distillation:

    .. math::
        \text{3.2:} \quad & k^3, & & 2^k d^2 \epsilon^{-2}, & & \min(d^{k-1}, \epsilon^{-2}) \\
        \text{3.2 larger:} \quad & k^3, & & 2^k d^2 \epsilon^{-2}, & & \max(d^{k-1}, \epsilon^{-2}) \\
        \text{B.1:} \quad & k^2 \log(d\tilde m/\delta), & & 2^k d^2 k^4 \epsilon^{-2} \log(k/\delta), & &
        d^{\min(2c, k-1)} \\
        \text{proof:} \quad & k^2 \log(d\tilde m/\delta), & & 2^k d^2 k^4 \epsilon^{-2} \log(k/\delta), & &
        d^{\min(2c, k-1)} / \tilde m

    Theorem 3.2 prints :math:`\Omega(d^{k-1}, \epsilon^{-2})`. Its proof sketch gives the student a choice of two
    signals, the labels' and the teacher's, so that the smaller of the two bounds what is necessary, as in B.1.
    The larger is the reading under which the theorem can say what it claims.

    `epsilon` is the loss to be reached, in the two forms of 3.2 the final teacher's loss too; elsewhere that is
    :math:`O(d^{-c})`. Paper, Theorem 3.2, Theorem B.1 and the end of its proof (appendix B.2).

    >>> [f"{theorem(101, 6, 0.1, 0.1, 2.5, form).distillation:.1e}" for form in FORMS]
    ['1.0e+02', '1.1e+10', '1.1e+10', '2.7e+07']
    """
    check_setting(n_bits, support_size)
    for name, value, kind in (("epsilon", epsilon, Share), ("delta", delta, Share), ("c", c, Exponent)):
        checked(name, value, kind)
    require(form in FORMS, f"form = {form!r}", f"one of {', '.join(FORMS)}")
    d, k = n_bits, support_size
    width = 2**k * k
    if form in ("3.2", "3.2 larger"):
        smaller, larger = sorted((float(d ** (k - 1)), epsilon**-2))
        return SampleComplexity(k**3, 2**k * d**2 / epsilon**2, smaller if form == "3.2" else larger)
    lower = d ** min(2 * c, k - 1)
    return SampleComplexity(
        k**2 * math.log(d * width / delta),
        2**k * d**2 * k**4 / epsilon**2 * math.log(k / delta),
        lower / width if form == "proof" else lower,
    )


@dataclass(frozen=True)
class Totals(Calculation):
    """What the forms of the theorem say at several d.

    Table rows, one for each d and form: `n_bits`, `form`, `progressive_first`, `progressive_second`, `distillation`; see
    `theorem`.

    >>> row = Totals(4, 0.1, 0.1, 1.5, (101,)).rows()[0]
    >>> row["form"], row["progressive_first"], round(row["distillation"])
    ('3.2', 64.0, 100)
    """

    version: ClassVar[int] = 1
    support_size: Count  # k
    epsilon: Share
    delta: Share
    c: Exponent
    n_bits: Several[Count]  # d

    def __post_init__(self) -> None:
        super().__post_init__()
        for n_bits in self.n_bits:
            check_setting(n_bits, self.support_size)

    def rows(self) -> list[dict[str, Any]]:
        rows = []
        for n_bits, form in product(self.n_bits, FORMS):
            says = theorem(n_bits, self.support_size, self.epsilon, self.delta, self.c, form)
            numbers = {name: float(value) for name, value in says._asdict().items()}
            rows.append({"n_bits": n_bits, "form": form} | numbers)
        return rows


@dataclass(frozen=True)
class WidthTradeOff(NetworkExperiment):
    r"""Steps that batch SGD needs to leave the plateau of Lemma B.10, beside the lemma's bound.

    .. math:: T = \frac{1}{2} \binom{d}{k} \frac{\delta \tau_g^2}{m}

    steps within which the loss stays at :math:`1 - \tau_g` or above, on some parity; no coordinate is preferred, so that
    a run draws one support. Both layers are trained on the hinge loss from the labels, on fresh inputs, from appendix B's
    symmetric initialisation (biases frozen): the outputs at the learning rate :math:`\eta`, the weights, whose gradients
    are m times smaller, at :math:`m \eta`. A run ends when the held-out loss first is at most :math:`1 - \tau_g`, with
    :math:`\tau_g = 1 / \sqrt B`, the error that appendix B gives a batch of B inputs, constant and logarithms left out:
    the largest plausible reading, so the one with the largest bound. The lemma's noise is chosen by an opponent, a
    batch's is not, so that runs may leave the plateau late for other reasons, but none may leave it before the bound.

    Table rows, one: `reached`, `step` (the first evaluation at or below the threshold, or the last step), `samples`
    (:math:`B` a step), `loss` (held-out, at that step; not finite if the run diverged), `noise` (:math:`\tau_g`), `bound`
    (steps). Evaluations are 5 % of the steps apart, and each of the first 20 steps is one.

    >>> row = WidthTradeOff(11, 2, 16, 64, max_steps=1000).rows()[0]
    >>> row["reached"], row["loss"] <= 1 - row["noise"], row["step"] > row["bound"]
    (True, True, True)
    """

    version: ClassVar[int] = 1
    batch_size: Count  # B
    learning_rate: Positive = 0.03  # eta; 0.03 trains at widths and batches from 16 to 1024
    max_steps: Count = 100_000  # after which a run is given up
    delta: Share = 0.1
    seed: Index = 0  # decides support, initialisation and inputs

    @property
    def work(self) -> float:
        # three products a step, up to the last; most runs end long before
        return 3.0 * self.max_steps * self.batch_size * self.width * self.n_bits

    def rows(self) -> list[dict[str, Any]]:
        noise = 1 / math.sqrt(self.batch_size)
        supports = math.comb(self.n_bits, self.support_size)
        bound = supports * self.delta * noise**2 / (2 * self.width)
        step, loss = self._run(1 - noise)
        found = {"reached": loss <= 1 - noise, "step": step, "samples": step * self.batch_size}
        return [found | {"loss": loss, "noise": noise, "bound": bound}]

    def _run(self, threshold: float) -> tuple[int, float]:
        d, k, m, n = self.n_bits, self.support_size, self.width, self.batch_size
        name = (d, k, m, n, self.learning_rate, self.seed)
        rng = generator("width trade-off", *name)
        support = rng.choice(d, k, replace=False)
        # as `network.initial`, which draws the biases before the outputs
        half_w, half_a = signs(rng, m // 2, d), signs(rng, m // 2) / m
        half_b = rng.integers(1 - k, k, m // 2) / k
        w = np.tile(half_w, (2, 1)).astype(np.float32)  # (m, d)
        b, a = np.tile(half_b, 2).astype(np.float32), np.concatenate([half_a, -half_a]).astype(np.float32)
        held_out = signs(generator("width trade-off, held out", *name), N_EVALUATION, d).astype(np.float32)
        held_out_y = held_out[:, support].prod(axis=1)

        loss, evaluate_at = math.nan, 1
        with np.errstate(over="ignore", invalid="ignore"):  # too high a rate diverges, which the loss says
            for step in range(1, self.max_steps + 1):
                x = (2 * rng.integers(0, 2, (n, d), dtype=np.int8) - 1).astype(np.float32)
                y = x[:, support].prod(axis=1)
                z = x @ w.T + b  # (B, m)
                active = np.maximum(z, 0)
                slope = np.where((active @ a) * y < 1, -y, 0) / np.float32(n)  # of the mean loss by f, (B,)
                gradient_w = a[:, None] * (((z > 0) * slope[:, None]).T @ x)
                a -= np.float32(self.learning_rate) * (slope @ active)
                w -= np.float32(self.learning_rate * m) * gradient_w
                if step == evaluate_at or step == self.max_steps:
                    f = np.maximum(held_out @ w.T + b, 0) @ a
                    loss = float(np.maximum(0, 1 - f * held_out_y).mean(dtype=np.float64))
                    if loss <= threshold or not math.isfinite(loss):
                        return step, loss
                    evaluate_at = max(step + 1, int(EVALUATION_RATIO * step))
        return self.max_steps, loss
