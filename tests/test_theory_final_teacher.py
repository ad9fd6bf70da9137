"""Corollary B.8: a bounded predictor of small hinge loss hides the support; an unbounded one need not."""

from __future__ import annotations

import pandas as pd
import pytest

from pdlib.specs import SpecError
from pdlib.theory.second_stage import FinalTeachers


@pytest.fixture(scope="module")
def predictors() -> pd.DataFrame:
    return pd.DataFrame(FinalTeachers(9, 4, seed=1).rows())


def test_the_correlation_of_a_bounded_predictor_is_at_most_its_loss(predictors: pd.DataFrame) -> None:
    bounded = predictors[predictors.largest <= 1 + 1e-12]
    assert len(bounded) > 20
    assert (bounded.correlation <= bounded.loss + 1e-12).all()


def test_the_bound_is_met_with_equality_by_a_predictor_that_errs_towards_one_coordinate() -> None:
    rows = pd.DataFrame(FinalTeachers(9, 4, seed=2).rows()).query("predictor == 'wrong on a share'")
    assert (rows.correlation / rows.loss).max() > 0.4


def test_unbounded_predictors_break_it(predictors: pd.DataFrame) -> None:
    first = predictors.iloc[0]
    assert (first.loss, first.correlation) == (0.0, 1.0)
    loose = predictors.query("predictor == 'unclipped noise'")
    assert (loose.correlation > loose.loss).any()


def test_a_cube_that_is_too_large_is_refused() -> None:
    with pytest.raises(SpecError, match="n_bits d = 21"):
        FinalTeachers(21, 4)
