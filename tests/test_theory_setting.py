"""What the theory's calculations refuse: fields, with the value that was wrong and a remedy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pdlib.specs import SpecError
from pdlib.theory.complexity import Totals, WidthTradeOff, theorem
from pdlib.theory.first_stage import BatchSizes, FirstStageTeacher, FirstStep, PopulationGradient
from pdlib.theory.majority import FourierGap, coefficient
from pdlib.theory.network import batch_gradient, degree_1, first_step, initial, outputs_on_cube
from pdlib.theory.read_off import ConstructedTarget, IntermediateTarget, LabelTarget, ReadOff, TrainedTarget
from pdlib.theory.second_stage import BestSecondStage, FinalTeachers, SecondStage, SharedDirection
from pdlib.theory.setting import cube, generator
from pdlib.theory.two_stage import Stage, train

RNG = generator("bad input")
NETWORK = initial(5, 2, 4, RNG)
UNEVEN = NETWORK._replace(weights=RNG.standard_normal((4, 5)))
ONE = Stage(1, 1, 0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        # the setting
        (lambda: PopulationGradient(10, 2, 4), "n_bits d = 10: expected an odd number.*Take 9 or 11"),
        (lambda: PopulationGradient(11.0, 2, 4), "n_bits = 11.0: expected a whole number of at least 1"),
        (lambda: SharedDirection(3), "support_size k = 3: expected an even number.*Take 2 or 4"),
        (lambda: FirstStep(11, 12, 8, (16,)), "support_size k = 12: expected fewer than n_bits d = 11"),
        (lambda: FirstStep(11, 4, 7, (16,)), "width m = 7: expected an even number.*Take 6 or 8"),
        (lambda: IntermediateTarget(7), "width m = 7"),
        (lambda: initial(11, 2, 5, RNG), "width m = 5"),
        (lambda: coefficient(10, 3), "n_bits d = 10"),
        (lambda: coefficient(11, 12), "degree = 12: expected a whole number from 0 to n_bits d = 11"),
        (lambda: Totals(4, 0.1, 0.1, 2, (11, 10)), "n_bits d = 10"),
        (lambda: theorem(11, 3, 0.1, 0.1, 2, "B.1"), "support_size k = 3"),
        # by type and name
        (lambda: FirstStep(11, 4, 8, (16,), delta=0.0), r"delta = 0.0: expected a number in \(0, 1\)"),
        (lambda: TrainedTarget(8, epsilon=1.0), "epsilon = 1.0"),
        (lambda: Totals(4, 0.1, 0.1, 0.5, (11,)), "c = 0.5: expected a finite number of at least 1"),
        (lambda: theorem(11, 4, 0.1, 1.0, 2, "B.1"), "delta = 1.0"),
        (lambda: SecondStage(11, 2, 8, 0.1, rate_factor=0), "rate_factor = 0: expected a finite number"),
        (lambda: WidthTradeOff(11, 4, 8, 16, learning_rate=np.inf), "learning_rate = inf"),
        (lambda: ConstructedTarget(0.0), "exponent = 0.0: expected a finite number above 0"),
        (lambda: FirstStageTeacher(11, 4, 8, seed=-1), "seed = -1: expected a whole number of at least 0"),
        (lambda: FirstStageTeacher(11, 4, 8, seed=True), "seed = True"),
        (lambda: FirstStageTeacher(11, 4, 8, aligned=1), "aligned = 1: expected True or False"),
        (lambda: FinalTeachers(9, 4, n_random=0), "n_random = 0: expected a whole number of at least 1"),
        (lambda: FirstStep(11, 4, 8, ()), r"batch_sizes = \(\): expected a tuple of at least 1"),
        (lambda: FirstStep(11, 4, 8, (16, 0)), r"batch_sizes\[1\] = 0"),
        (lambda: SharedDirection(4, scales=(0.0,)), r"scales\[0\] = 0.0: expected a finite number above 0"),
        (lambda: ReadOff(11, 2, LabelTarget(), "best", 8), "rule = 'best': expected 'one' or 'pooled'"),
        (lambda: ReadOff(11, 2, "labels"), "target = 'labels': expected a Target"),
        # the largest sizes
        (lambda: PopulationGradient(17, 2, 4), "d = 17: expected at most 15"),
        (lambda: FirstStageTeacher(21, 2, 4), "d = 21: expected at most 19"),
        (lambda: BestSecondStage(13, 2, 4, "labels"), "d = 13: expected at most 11"),
        (lambda: SharedDirection(12), "at most 11"),
        (lambda: FinalTeachers(21, 4), "d = 21: expected at most 20"),
        (lambda: ReadOff(129, 2, LabelTarget()), "d = 129: expected at most 127"),
        (lambda: outputs_on_cube(initial(21, 2, 2, RNG)), "d = 21: expected at most 20"),
        # of one calculation
        (lambda: FourierGap(3), "n_bits d = 3: expected at least 5"),
        (lambda: BestSecondStage(11, 2, 4, "intermediate"), "width = 0"),
        (lambda: BestSecondStage(11, 2, 4, "labels", 4), "teacher_width = 4 with labels"),
        (lambda: BatchSizes(11, 2, 8, 100, (1, 7)), r"batch sizes \[7\] for n_samples = 100"),
        (lambda: ReadOff(11, 2, LabelTarget(), "pooled"), "width = 1 with rule 'pooled'"),
        (lambda: ReadOff(11, 2, LabelTarget(), max_batch=3), "max_batch = 3: expected at least 4"),
        (lambda: theorem(11, 4, 0.1, 0.1, 2, "B.2"), "form = 'B.2'"),
        # networks and their training
        (lambda: degree_1(UNEVEN, 2), "several sizes"),
        (lambda: batch_gradient(NETWORK, cube(5), np.ones(3)), "3 targets for 32 inputs"),
        (lambda: first_step(NETWORK, np.zeros((4, 5)), support_size=2, decay="none"), "decay = 'none'"),
        (lambda: train(NETWORK, 2, ONE, ONE, RNG, alpha=-1), "alpha = -1"),
        (lambda: Stage(1, 0, 0.1), "batch_size = 0"),
        (lambda: Stage(-1, 1, 0.1), "n_steps = -1"),
        (lambda: Stage(1, 1, 0.0), "learning_rate = 0.0"),
        (lambda: Stage(1, 1, 1, -1), "decay = -1"),
    ],
)
def test_what_cannot_be_is_refused_with_the_value(make: Callable[[], object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make()


def test_ones_own_numbers_decide_a_generator() -> None:
    first, again, other = (generator("a name", seed).random(4) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()
