"""How a gradient becomes a step. A new optimizer is a class here, and a branch in `pdlib.training.gradient`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pdlib.fields import Count, Positive
from pdlib.specs import Optimizer


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent without momentum; the rate as `Optimizer` describes.

    >>> SGD(0.1, warmup_fraction=0.5).rates(0, 4, n_steps=4).tolist()
    [0.05, 0.1, 0.1, 0.1]
    """


@dataclass(frozen=True)
class Adam(Optimizer):
    r"""Adam; with `weight_decay` AdamW, whose decay does not pass through the moments.

    .. math:: m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \quad v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2, \quad
              \theta_t = (1 - \eta_t \lambda) \theta_{t-1}
              - \eta_t \frac{m_t / (1 - \beta_1^t)}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon}

    Parameters
    ----------
    betas
        :math:`\beta_1, \beta_2` in [0, 1).
    epsilon
        :math:`\epsilon > 0`.
    weight_decay
        :math:`\lambda \ge 0`, on every parameter.
    clip_norm
        The gradient is scaled down to at most this norm, over all parameters; 0 leaves it alone.
    n_micro_batches
        Equal parts of a batch whose gradients are added up before a step, where a whole batch needs too much
        memory. It must divide the batch.

    >>> Adam(1e-3, "cosine", weight_decay=0.01).rates(0, 2, n_steps=2).tolist()
    [0.001, 0.001]
    """

    betas: tuple[Annotated[float, "[0, 1)"], Annotated[float, "[0, 1)"]] = (0.9, 0.999)
    epsilon: Positive = 1e-8
    weight_decay: Annotated[float, "[0, inf)"] = 0.0
    clip_norm: Annotated[float, "[0, inf)"] = 0.0
    n_micro_batches: Count = 1
