"""Which teacher checkpoint supervises which student step, as objects.

A checkpoint that is missing is an error, never a skip; so is an `Explicit` or `Progressive` schedule longer than the run.
A new schedule is a class here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Annotated, Any

import numpy as np

from pdlib.specs import Count, Parameters, Piece, Schedule, Several, TargetRule, Training, require

GATE = "state/gate"  # in a saved run, beside its parameters
N_LOOKS = 3  # over which a student that has stopped moving gains nothing


def _equally_spaced(checkpoints: tuple[int, ...], n: int) -> list[int]:
    """Return the teacher steps i T0 / n for i = 1 ... n, each of which must have been kept."""
    last = checkpoints[-1]
    what = f"{n} equally spaced checkpoints of a teacher of {last} steps"
    require(last % n == 0, what, "a number of checkpoints that divides the teacher's steps")
    return _kept([last * i // n for i in range(1, n + 1)], checkpoints)


def _kept(wanted: list[int], checkpoints: tuple[int, ...]) -> list[int]:
    """Return the wanted checkpoints, or raise that the teacher did not keep some."""
    missing = sorted({*wanted} - {*checkpoints})
    require(
        not missing,
        f"teacher checkpoints at {missing}",
        f"steps that the teacher keeps ({len(checkpoints)} from {checkpoints[0]} to {checkpoints[-1]})",
        "Choose kept steps, or train the teacher with another checkpoint_every.",
    )
    return wanted


def _laid_out(checkpoints: list[int], durations: Iterable[int], n_steps: int) -> list[Piece]:
    """Lay the checkpoints end to end, as far as the run goes; the last one, which has no duration, is kept to its end."""
    edges = [min(edge, n_steps) for edge in accumulate(durations, initial=0)] + [n_steps]
    laid = zip(pairwise(edges), checkpoints, strict=True)
    return [Piece(start, stop, checkpoint) for (start, stop), checkpoint in laid if start < stop]


def _share(kappa: float, steps: int, what: str) -> int:
    """Return kappa times `steps`, or raise that it is no whole number of steps; a rounding error of kappa is allowed."""
    share = kappa * steps
    fitting = {min(max(rounded(share), 1), steps) / steps for rounded in (math.floor, math.ceil)}
    require(
        round(share) >= 1 and math.isclose(share, round(share), rel_tol=1e-9),
        f"{what} = {share:g} steps for each checkpoint",
        "a whole number of steps, at least one",
        f"Use kappa = {' or '.join(repr(k) for k in sorted(fitting))}, or other checkpoints.",
    )
    return round(share)


@dataclass(frozen=True)
class OneShot(Schedule):
    """The final checkpoint throughout (section 2).

    >>> OneShot().pieces((10, 20), n_steps=50)
    [Piece(start=0, stop=50, checkpoint=20)]
    """

    def pieces(self, checkpoints: tuple[int, ...], n_steps: int) -> list[Piece]:
        """See `Schedule.pieces`."""
        return [Piece(0, n_steps, checkpoints[-1])]


@dataclass(frozen=True)
class Progressive(Schedule):
    """(N, T)-progressive distillation (Definition 2.2).

    N equally spaced checkpoints, the last one final, each for T steps; then the final one to the end.

    >>> Progressive(n_checkpoints=2, steps_per_checkpoint=5).pieces((10, 20), n_steps=30)
    [Piece(start=0, stop=5, checkpoint=10), Piece(start=5, stop=30, checkpoint=20)]
    """

    n_checkpoints: Count  # N
    steps_per_checkpoint: Count  # T

    def pieces(self, checkpoints: tuple[int, ...], n_steps: int) -> list[Piece]:
        """See `Schedule.pieces`; raises if N T exceeds the run."""
        n, duration = self.n_checkpoints, self.steps_per_checkpoint
        what, most = (
            f"a schedule of N T = {n} x {duration} = {n * duration} steps",
            f"at most the run's {n_steps = }",
        )
        require(n * duration <= n_steps, what, most, "Lower N or T, or lengthen the run.")
        return _laid_out(_equally_spaced(checkpoints, n), [duration] * (n - 1), n_steps)


@dataclass(frozen=True)
class Explicit(Schedule):
    """Chosen checkpoints with chosen durations (Definition 2.1).

    One duration fewer than checkpoints keeps the last checkpoint to the end of the run; -1 among the
    checkpoints stands for the teacher's final one. (2, T)-progressive distillation from the checkpoint
    at step c is `Explicit((c, -1), (T,))`.

    >>> Explicit((10, -1), (5,)).pieces((10, 20), n_steps=30)
    [Piece(start=0, stop=5, checkpoint=10), Piece(start=5, stop=30, checkpoint=20)]
    """

    checkpoints: tuple[int, ...]
    durations: tuple[Count, ...]  # steps

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            len(self.checkpoints) - len(self.durations) in (0, 1) and len(self.checkpoints) > 0,
            f"{len(self.checkpoints)} checkpoints with {len(self.durations)} durations",
            "a duration for each checkpoint, or for each but the last",
        )
        for i, step in enumerate(self.checkpoints):
            expected = "a step of the teacher, a whole number, or -1 for its final one"
            require(step >= 1 or step == -1, f"checkpoints[{i}] = {step!r}", expected)

    def pieces(self, checkpoints: tuple[int, ...], n_steps: int) -> list[Piece]:
        """See `Schedule.pieces`; raises if the durations exceed the run or leave steps without a teacher."""
        steps = _kept([checkpoints[-1] if step == -1 else step for step in self.checkpoints], checkpoints)
        total, what = sum(self.durations), f"durations {self.durations}, {sum(self.durations)} steps"
        if len(self.durations) < len(steps):
            fewer, remedy = f"fewer than the run's {n_steps = }", "Shorten the durations or lengthen the run."
            require(total < n_steps, f"{what} before the last checkpoint", fewer, remedy)
            return _laid_out(steps, self.durations, n_steps)
        remedy = "Drop the last duration to keep the last checkpoint to the end."
        require(total == n_steps, f"{what} in all", f"the run's {n_steps = }", remedy)
        return _laid_out(steps, self.durations[:-1], n_steps)


@dataclass(frozen=True)
class EqualSplit(Schedule):
    """N-shot equal split (appendix D.2): the run in N equal parts, one equally spaced checkpoint each.

    >>> [p.stop for p in EqualSplit(2).pieces((10, 20), n_steps=7)]
    [3, 7]
    """

    n_checkpoints: Count  # N

    def pieces(self, checkpoints: tuple[int, ...], n_steps: int) -> list[Piece]:
        """See `Schedule.pieces`."""
        n = self.n_checkpoints
        require(n <= n_steps, f"n_checkpoints = {n}", f"at most {n_steps = }")
        edges = [n_steps * i // n for i in range(n)]
        return _laid_out(_equally_spaced(checkpoints, n), [b - a for a, b in pairwise(edges)], n_steps)


@dataclass(frozen=True)
class KappaSplit(Schedule):
    r"""N-shot :math:`\kappa T_0` equal split (appendix D.2).

    Each of N equally spaced checkpoints for :math:`\kappa T_0 / N` steps, :math:`T_0` being the teacher's length; a
    share that is no whole number of steps is refused. By definition, checkpoints that do not fit into the run are left
    out; the pieces say which ones were used. A run longer than :math:`\kappa T_0` keeps the final checkpoint.

    >>> [p.checkpoint for p in KappaSplit(4, kappa=1.0).pieces((10, 20, 30, 40), n_steps=25)]
    [10, 20, 30]
    >>> KappaSplit(2, kappa=0.5).pieces((20, 40), n_steps=50)
    [Piece(start=0, stop=10, checkpoint=20), Piece(start=10, stop=50, checkpoint=40)]
    """

    n_checkpoints: Count  # N
    kappa: Annotated[float, "(0, 1]"]

    def pieces(self, checkpoints: tuple[int, ...], n_steps: int) -> list[Piece]:
        """See `Schedule.pieces`."""
        steps = _equally_spaced(checkpoints, self.n_checkpoints)
        what = f"kappa T0 / N = {self.kappa} x {checkpoints[-1]} / {self.n_checkpoints}"
        return _laid_out(steps, [_share(self.kappa, steps[0], what)] * (len(steps) - 1), n_steps)


@dataclass(frozen=True)
class MultiplesSplit(Schedule):
    r"""The multiples of a first checkpoint, each for :math:`\kappa` times its steps; the final one comes last.

    With a first checkpoint :math:`C_1 = T_0 / N` it is the N-shot :math:`\kappa T_0` equal split of appendix D.2. Where
    :math:`C_1`, chosen in the middle of the teacher's drop as in section 4.2, does not divide :math:`T_0`, the final
    checkpoint follows the last multiple. Checkpoints that do not fit into the run are left out;
    a share :math:`\kappa C_1` that is no whole number of steps is refused.

    >>> [(p.stop, p.checkpoint) for p in MultiplesSplit(10).pieces((5, 10, 15, 20, 25), n_steps=30)]
    [(10, 10), (20, 20), (30, 25)]
    """

    first: Count  # C1
    kappa: Annotated[float, "(0, 1]"] = 1.0

    def pieces(self, checkpoints: tuple[int, ...], n_steps: int) -> list[Piece]:
        """See `Schedule.pieces`."""
        last = checkpoints[-1]
        require(self.first <= last, f"first = {self.first}", f"at most the teacher's {last} steps")
        steps = _kept([*range(self.first, last, self.first), last], checkpoints)
        duration = _share(self.kappa, self.first, f"kappa C1 = {self.kappa} x {self.first}")
        return _laid_out(steps, [duration] * (len(steps) - 1), n_steps)


@dataclass(frozen=True)
class Gated(Schedule):
    r"""Chosen checkpoints, the next one taken when the student has stopped moving instead of by the clock.

    Every E steps the student's classes on 4,096 fixed inputs are compared with the present checkpoint's: a is the share
    that agrees, l the 95th percentile of the loss to it. With :math:`a_0, l_0` right after the last switch, the next
    checkpoint teaches if

    .. math:: \text{F steps are over}, \quad a \ge a_0 + g, \quad a - a_{\text{3 looks before}} < r, \quad l \le l_0 + s,

    or, by the cap, after `cap` times F steps. So without the cap no switch comes before the third look after the last
    one, also if F is shorter. The last one teaches to the end. No true label is used. In the run's table each row has
    `teacher_step`, the checkpoint that teaches from there on, `since`, the step at which it was taken, and `by_cap`,
    whether because of the cap.

    "After Guo et al." (arXiv:2606.03532), who copy a student into its own teacher: we borrow that it happens on evidence and
    never inside a freeze; conditions and numbers are our reading. The teacher must be at hand: which labels are wanted is
    known during the run alone.

    Parameters
    ----------
    checkpoints
        Steps of the teacher, -1 for its final one.
    look_every, freeze
        E and F, in steps.
    min_gain, max_rise, max_loss_rise
        g and r, shares, and s, in nats.

    Examples
    --------
    >>> Gated((10, -1), look_every=5, freeze=10).pieces((10, 20), n_steps=30)
    [Piece(start=0, stop=5, checkpoint=10)]
    """

    checkpoints: Several[int]
    look_every: Count = 10_000  # E
    freeze: Count = 50_000  # F
    min_gain: float = 0.05  # g
    max_rise: float = 0.005  # r
    max_loss_rise: float = 0.0  # s, nats
    cap: Count = 10  # freezes

    def __post_init__(self) -> None:
        super().__post_init__()
        expected = f"a multiple of look_every = {self.look_every}"
        require(self.freeze % self.look_every == 0, f"freeze = {self.freeze}", expected)

    def check(self, training: Training) -> None:
        """Raise `SpecError` unless examples have one class each, labels are plain, and each switch gets a row."""
        task, targets = training.task, training.supervision.targets  # type: ignore[attr-defined]
        require(not task.vocabulary, f"Gated on {task}", "a task whose examples have one class each")
        plain = not isinstance(targets, TargetRule)
        require(plain, f"Gated with {targets}", "'hard' or 'soft' targets")
        most = f"at most freeze = {self.freeze}, so that the table has a row for each switch"
        every = training.evaluate_every
        require(every <= self.freeze, f"evaluate_every = {every}", most)

    def pieces(self, checkpoints: tuple[int, ...], n_steps: int) -> list[Piece]:
        """See `Schedule.pieces`: up to the first look."""
        return [Gate(self, checkpoints, n_steps).first]

    def gate(self, checkpoints: tuple[int, ...], n_steps: int) -> Gate:
        """See `Schedule.gate`."""
        return Gate(self, checkpoints, n_steps)


class Gate:
    """The pieces of one run under `Gated`, decided look by look.

    >>> gate = Gate(Gated((10, -1), look_every=5, freeze=5, cap=2), (10, 20), n_steps=30)
    >>> for step in (0, 5, 10):
    ...     gate.look(step, says=lambda checkpoint: (0.5, 1.0))      # agreement and loss: it learns nothing
    >>> gate.piece, gate.row()
    (Piece(start=10, stop=30, checkpoint=20), {'teacher_step': 20, 'since': 10, 'by_cap': True})
    """

    def __init__(self, schedule: Gated, checkpoints: tuple[int, ...], n_steps: int) -> None:
        self._how, self._n_steps = schedule, n_steps
        steps = [checkpoints[-1] if c == -1 else c for c in schedule.checkpoints]
        self._steps = _kept(steps, checkpoints)
        self.looks = range(0, n_steps, schedule.look_every)
        self.piece = Piece(0, 0, steps[0])
        self._seen: list[
            tuple[float, ...]
        ] = []  # step, number of the checkpoint, agreement, loss, by the cap

    @property
    def first(self) -> Piece:
        """The piece that is known beforehand."""
        return self._piece(0, 0)

    def _piece(self, start: int, i: int) -> Piece:
        stop = self._n_steps if i == len(self._steps) - 1 else start + self._how.look_every
        return Piece(start, min(stop, self._n_steps), self._steps[i])

    def look(self, step: int, says: Callable[[int], tuple[float, float]]) -> None:
        """Decide the piece that begins at a step, with what the student says of a checkpoint: agreement and loss."""
        i, capped = 0, False
        if self._seen:
            i = int(self._seen[-1][1])
            agreement, loss = says(self._steps[i])
            freeze = [look for look in self._seen if look[1] == i]
            before, how = [look[2] for look in freeze], self._how
            over = step - freeze[0][0] >= how.freeze
            moved = agreement >= before[0] + how.min_gain and loss <= freeze[0][3] + how.max_loss_rise
            still = len(before) >= N_LOOKS and agreement - before[-N_LOOKS] < how.max_rise
            opened = over and moved and still
            capped = not opened and step - freeze[0][0] >= how.cap * how.freeze
            if not opened and not capped:
                self._seen.append((step, i, agreement, loss, freeze[0][4]))
                self.piece = self._piece(step, i)
                return
            i += 1
        self._seen.append((step, i, *says(self._steps[i]), capped))
        self.piece = self._piece(step, i)

    def row(self) -> dict[str, Any]:
        """Return the columns of an evaluation."""
        now = self._seen[-1][1]
        since, i, _, _, capped = next(look for look in self._seen if look[1] == now)
        return {"teacher_step": self._steps[int(i)], "since": int(since), "by_cap": bool(capped)}

    def state(self) -> Parameters:
        """Return all looks, to be saved beside a network's parameters."""
        return {GATE: np.array(self._seen, np.float64)}

    def restore(self, saved: Parameters) -> None:
        """Go on from a saved state, if it is one."""
        if GATE in saved:
            self._seen = [tuple(look) for look in saved[GATE].tolist()]
            self.piece = self._piece(int(self._seen[-1][0]), int(self._seen[-1][1]))
