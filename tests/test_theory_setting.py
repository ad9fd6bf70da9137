"""Fields of the theory's calculations: one check by name and type, with the value that was wrong and a remedy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pdlib.specs import SpecError
from pdlib.theory.first_stage import (
    BatchSizes,
    FirstStageTeacher,
    FirstStep,
    PopulationGradient,
    SeparationShare,
)
from pdlib.theory.network import batch_gradient, first_stage, first_step, initial, outputs_on_cube
from pdlib.theory.second_stage import BestSecondStage, FinalTeachers, SecondStage, SharedDirection
from pdlib.theory.setting import cube, generator
from pdlib.theory.two_stage import Stage, train

RNG = generator("bad input")
NETWORK = initial(5, 2, 4, RNG)
ONE = Stage(1, 1, 0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        # the setting
        (lambda: PopulationGradient(10, 2, 4), "n_bits d = 10: expected an odd number.*Take 9 or 11"),
        (lambda: PopulationGradient(11.0, 2, 4), "n_bits = 11.0: expected a whole number"),
        (lambda: SharedDirection(3), "support_size k = 3: expected an even number.*Take 2 or 4"),
        (lambda: FirstStep(11, 12, 8, (16,)), "support_size k = 12: expected fewer than n_bits d = 11"),
        (lambda: FirstStep(11, 4, 7, (16,)), "width m = 7: expected an even number.*Take 6 or 8"),
        # by type and name
        (lambda: FirstStep(11, 4, 8, (16,), delta=0.0), r"delta = 0.0: expected a number in \(0, 1\)"),
        (lambda: SecondStage(11, 2, 8, epsilon=1.0), "epsilon = 1.0"),
        (
            lambda: SecondStage(11, 2, 8, epsilon=0.1, rate_factor=0),
            "rate_factor = 0: expected a finite number",
        ),
        (lambda: FirstStageTeacher(11, 4, 8, seed=-1), "seed = -1: expected a whole number of at least 0"),
        (lambda: FirstStageTeacher(11, 4, 8, seed=True), "seed = True"),
        (lambda: FirstStageTeacher(11, 4, 8, seed=1.0), "seed = 1.0"),
        (lambda: FirstStageTeacher(11, 4, 8, aligned=1), "aligned = 1: expected True or False"),
        (lambda: SeparationShare(11, 4, 8, 0), "n_draws = 0: expected a whole number of at least 1"),
        (lambda: FinalTeachers(9, 4, n_random=0), "n_random = 0"),
        (lambda: FirstStep(11, 4, 8, ()), r"batch_sizes = \(\): expected at least one"),
        (lambda: FirstStep(11, 4, 8, (16, 0)), r"batch_sizes\[1\] = 0"),
        (lambda: SharedDirection(4, scales=(0.0,)), r"scales\[0\] = 0.0: expected a finite number above 0"),
        # of one calculation
        (lambda: PopulationGradient(17, 2, 4), "d = 17: expected at most 15"),
        (lambda: BestSecondStage(13, 2, 4, "labels"), "d = 13: expected at most 11"),
        (lambda: BestSecondStage(11, 2, 4, "teacher"), "supervision = 'teacher': expected 'labels' or"),
        (lambda: BestSecondStage(11, 2, 4, "intermediate"), "width = 0"),
        (lambda: BestSecondStage(11, 2, 4, "labels", 4), "teacher_width = 4 with labels"),
        (lambda: SharedDirection(12), "at most 11"),
        (lambda: BatchSizes(11, 2, 8, 100, (1, 7)), r"batch sizes \[7\] for n_samples = 100"),
        # networks and their training
        (lambda: initial(10, 2, 4, RNG), "n_bits d = 10: expected an odd number"),
        (lambda: initial(11, 3, 4, RNG), "support_size k = 3: expected an even number"),
        (lambda: first_stage(11, 2, 5, RNG), "width m = 5"),
        (lambda: outputs_on_cube(initial(21, 2, 2, RNG)), "d = 21: expected at most 20"),
        (lambda: batch_gradient(NETWORK, cube(5), np.ones(3)), "3 targets for 32 inputs"),
        (
            lambda: first_step(NETWORK, np.zeros((4, 5)), support_size=2, decay="none"),
            "decay = 'none': expected 'cancelling' or 'printed'",
        ),
        (lambda: train(NETWORK, 2, ONE, ONE, RNG, alpha=-1), "alpha = -1"),
        (lambda: train(NETWORK, 3, ONE, ONE, RNG), "support_size k = 3"),
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
