"""What probes refuse: choices that mean nothing, and networks and tasks that have not what a probe measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import tiny

from pdlib.models.transformer import Transformer
from pdlib.optimizers import SGD
from pdlib.probes.attention import AttentionPaths
from pdlib.probes.features import FeatureCorrelations
from pdlib.probes.generation import Generation
from pdlib.probes.monomials import MonomialCorrelations
from pdlib.probes.ngrams import NgramDependence, Predictions
from pdlib.probes.nonterminals import NonterminalPrediction
from pdlib.probes.parts import PartAccuracy
from pdlib.probes.softness import Softness
from pdlib.specs import Measurement, Model, Parameters, Probe, Source, SpecError, Task, Training
from pdlib.tasks.grammar import grammar, load_grammar
from pdlib.tasks.hierarchical import HierarchicalParity
from pdlib.tasks.masked import MaskedPrediction
from pdlib.tasks.next_token import NextToken

SOURCE = grammar("cfg3b", roots=(14, 15))  # at most 27 tokens
MASKED, ENDING = MaskedPrediction(SOURCE), NextToken(SOURCE, ends=True)
FLAT = MaskedPrediction(load_grammar({"rules": {"9": [[8, 8]], "8": [[1, 2, 3]]}}))


class Letters(Source):
    """A source without trees or parts."""

    n_tokens = 3
    max_length = 5


@dataclass(frozen=True)
class Silent(Model):
    """A network that takes anything, and is no Transformer."""

    def initial(self, n_inputs: int, n_classes: int, seed: int) -> Parameters:
        return {}


def on(task: Task, model: Model | None = None) -> Training:
    model = model or Transformer(1, 1, vocabulary=task.vocabulary, n_positions=28)
    return Training(task, model, SGD(0.1), n_steps=1, evaluate_every=1)


@pytest.mark.parametrize(
    ("kind", "choices", "said"),
    [
        (AttentionPaths, {"n_samples": 2.0}, "n_samples = 2.0"),
        (AttentionPaths, {"n_samples": True}, "n_samples = True"),
        (Softness, {"temperatures": (1.0, 0.0)}, r"temperatures\[1\] = 0.0"),
        (Softness, {"margin": 1.0}, "margin = 1.0"),
        (MonomialCorrelations, {"degrees": ()}, r"degrees = \(\)"),
        (MonomialCorrelations, {"degrees": (1, 0)}, r"degrees\[1\] = 0"),
        (MonomialCorrelations, {"temperature": float("inf")}, "temperature = inf"),
        (FeatureCorrelations, {"degrees": ()}, r"degrees = \(\)"),
        (FeatureCorrelations, {"n_rest": 0}, "n_rest = 0"),
        (PartAccuracy, {"n_samples": 0}, "n_samples = 0"),
        (Generation, {"n_samples": 0}, "n_samples = 0"),
        (Generation, {"seed": -1}, "seed = -1"),
        (NonterminalPrediction, {"n_train": 0}, "n_train = 0"),
        (NonterminalPrediction, {"batch_size": 1.0}, "batch_size = 1.0"),
        (NonterminalPrediction, {"learning_rate": 0}, "learning_rate = 0"),
        (NonterminalPrediction, {"seed": -1}, "seed = -1"),
        (NgramDependence, {"n": ()}, r"n = \(\)"),
        (NgramDependence, {"n": (3, 0)}, r"n\[1\] = 0"),
        (NgramDependence, {"n": (3.0,)}, r"n\[0\] = 3.0"),
        (NgramDependence, {"n": (3, 3)}, r"n = \(3, 3\)"),
        (NgramDependence, {"n_positions": 0}, "n_positions = 0"),
        (Predictions, {"sentence": -1}, "sentence = -1"),
        (Predictions, {"position": 1.0}, "position = 1.0"),
    ],
)
def test_choices_that_mean_nothing_are_refused(kind: Any, choices: dict[str, Any], said: str) -> None:
    kind()  # the control
    with pytest.raises(SpecError, match=f"{said}: expected"):
        kind(**choices)


@pytest.mark.parametrize(
    ("probe", "spec", "said"),
    [
        (AttentionPaths(4), tiny.training(), r"attention of MLP\(.*: expected a Transformer"),
        (AttentionPaths(4), on(MASKED), r"expected one with a support, such as SparseParity"),
        (MonomialCorrelations(), on(MASKED), r"expected one with a support, such as SparseParity"),
        (
            MonomialCorrelations((1, 11)),
            tiny.training(),
            r"degrees = \(1, 11\): expected at most n_inputs d = 10",
        ),
        (FeatureCorrelations(), tiny.training(), "SparseParity.*: expected a HierarchicalParity"),
        (
            FeatureCorrelations((1, 4)),
            tiny.training(task=HierarchicalParity(30, 3, 3)),
            r"\(1, 4\): .* at most k = 3",
        ),
        (PartAccuracy(10), on(MASKED), "expected masked prediction on a source with parts"),
        *(
            (Generation(16), spec, r"task .*: expected a NextToken on a Grammar with ends=True")
            for spec in (
                tiny.training(),
                on(MASKED),
                on(NextToken(SOURCE)),
                on(NextToken(SOURCE, level=2)),
                on(NextToken(Letters(), ends=True)),
            )
        ),
        (Generation(16), on(ENDING, Silent()), r"texts of Silent\(.*: expected a Transformer"),
        (NonterminalPrediction(), tiny.training(), r"SparseParity.*: expected one on a Grammar"),
        (NonterminalPrediction(), on(MaskedPrediction(Letters())), r"Letters.*: expected one on a Grammar"),
        (
            NonterminalPrediction(8, 8),
            on(FLAT),
            r"expected one with several symbols in a layer above the last",
        ),
        (NonterminalPrediction(), on(MASKED, Silent()), r"embeddings of Silent\(.*: expected a Transformer"),
        (NgramDependence(), tiny.training(), r"SparseParity.*: expected a MaskedPrediction or a NextToken"),
        (NgramDependence(n_positions=28), on(MASKED), r"n_positions = 28: expected at most 27"),
        (NgramDependence(n_positions=28), on(ENDING), r"n_positions = 28: expected at most 27"),
        (Predictions(), on(ENDING), r"NextToken.*: expected a MaskedPrediction, whose"),
        (Predictions(0, 27), on(MASKED), r"position = 27 in sentence 0: expected below 2"),
    ],
)
def test_networks_and_tasks_without_what_is_measured_are_refused(
    probe: Probe, spec: Training, said: str
) -> None:
    with pytest.raises(SpecError, match=said):
        Measurement(spec, probe, (0,))
