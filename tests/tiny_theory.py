"""Calculations of `pdlib.theory` small enough for a test: each kind once, each kind of target once."""

from __future__ import annotations

from dataclasses import replace

from pdlib.probes.ngrams import NgramDependence
from pdlib.specs import Calculation
from pdlib.tasks.grammar import grammar
from pdlib.tasks.masked import MaskedPrediction
from pdlib.tasks.next_token import NextToken
from pdlib.theory.best_prediction import BestDependence, BestPrediction
from pdlib.theory.complexity import Totals, WidthTradeOff
from pdlib.theory.constructions import Interpolation1D, InterpolationND, SupportSelection, UniformAttention
from pdlib.theory.first_stage import (
    BatchSizes,
    FirstStageTeacher,
    FirstStep,
    PopulationGradient,
    SeparationShare,
)
from pdlib.theory.majority import FourierGap, Majority
from pdlib.theory.read_off import ConstructedTarget, IntermediateTarget, LabelTarget, ReadOff, TrainedTarget
from pdlib.theory.second_stage import BestSecondStage, FinalTeachers, SecondStage, SharedDirection

SENTENCES = MaskedPrediction(grammar("cfg3b", roots=(10, 11)))

CALCULATIONS: dict[str, Calculation] = {
    "Majority": Majority(7),
    "FourierGap": FourierGap(11),
    "PopulationGradient": PopulationGradient(5, 2, 8),
    "FirstStep": FirstStep(11, 2, 8, (64, 256)),
    "FirstStageTeacher": FirstStageTeacher(7, 2, 8),
    "SeparationShare": SeparationShare(11, 2, 8, n_draws=20),
    "BatchSizes": BatchSizes(11, 2, 8, 256, (1, 256)),
    "ReadOff, labels": ReadOff(11, 2, LabelTarget(), n_draws=6),
    "ReadOff, constructed": ReadOff(11, 2, ConstructedTarget(0.5), "pooled", 4, n_draws=6),
    "ReadOff, intermediate": ReadOff(11, 2, IntermediateTarget(24), n_draws=6),
    "ReadOff, trained": ReadOff(11, 2, TrainedTarget(24, 0.5, 1024), n_draws=4, max_batch=64),
    "SecondStage": SecondStage(11, 2, 16, 0.5, max_steps=2048, n_evaluation=512),
    "BestSecondStage": BestSecondStage(5, 2, 8, "labels", scales=(1.0, 2.0)),
    "BestSecondStage, intermediate": BestSecondStage(5, 2, 8, "intermediate", 16),
    "SharedDirection": SharedDirection(4, n_draws=3, scales=(1.0, 4.0)),
    "Totals": Totals(4, 0.1, 0.1, 1.5, (11, 101)),
    "WidthTradeOff": WidthTradeOff(7, 2, 8, 16, max_steps=30),
    "FinalTeachers": FinalTeachers(5, 2, n_random=2),
    "SupportSelection": SupportSelection(6, 2, example="printed"),
    "UniformAttention": UniformAttention(6, 2),
    "Interpolation1D": Interpolation1D(3),
    "InterpolationND": InterpolationND(3, 2),
    "BestPrediction": BestPrediction(SENTENCES, n_evaluation=16),
    "BestPrediction, hidden": BestPrediction(replace(SENTENCES, selected="hidden"), n_evaluation=16),
    "BestPrediction, text": BestPrediction(NextToken(SENTENCES.source, ends=True), n_evaluation=16),
    "BestPrediction, boundaries": BestPrediction(NextToken(SENTENCES.source, level=2), n_evaluation=16),
    "BestDependence": BestDependence(SENTENCES, NgramDependence((2, 3), n_samples=16)),
}


def examples() -> dict[str, Calculation]:
    """Golden numbers of these are kept: see `golden`."""
    return CALCULATIONS
