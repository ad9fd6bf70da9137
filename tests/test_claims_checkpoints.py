"""Claims of the page `checkpoints`: every criterion both ways."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pdlib.claims import judge
from pdlib.claims.effects.checkpoints import equivalence
from pdlib.claims.judge import NOT_REPRODUCED, NOT_RUN, REPRODUCED, Criterion

TEACHES, CHANCE = 0.95, 0.5
CLAIMED = {  # mean accuracy over the run if every statement of the page holds
    **dict.fromkeys(("checkpoint", "noise_degree_1", "noise_all", "other_teacher", "projection"), TEACHES),
    **dict.fromkeys(("kept_degree_1", "kept_all", "sampled_1", "soft", "mixed_0.5"), TEACHES - 0.02),
    **dict.fromkeys(("noise", "without_degree_1", "without_all", "other_support", "annealed"), CHANCE),
    **dict.fromkeys(("one_shot", "one_shot_hard", "projection_untrained", "mixed_0.9"), CHANCE),
    **{"forward": 0.75, "reversed": 0.6, "shuffled": 0.6},
}
CRITERIA = [criterion for claim in judge.of_page("checkpoints") for criterion in claim.criteria]


def of(levels: dict[str, float], n_seeds: int = 8) -> dict[str, pd.DataFrame]:
    """Students at these mean accuracies; ancestries differ, and in an ancestry all methods alike, almost."""
    noise = np.random.default_rng(0).normal(0, 0.005, (n_seeds, len(levels)))
    rows = [
        {"seed": seed, "method": method, "step": step, "accuracy": level + 0.01 * seed + e + away}
        for seed in range(n_seeds)
        for (method, level), e in zip(levels.items(), noise[seed], strict=True)
        for step, away in ((0, -0.05), (1000, 0.05))
    ]
    table = pd.DataFrame(rows)
    return {"students": table, "further": table}


@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda criterion: criterion.title)
def test_a_criterion_holds_if_its_statement_does_and_fails_if_the_method_does_the_opposite(
    criterion: Criterion,
) -> None:
    assert criterion.judge(of(CLAIMED)).verdict == REPRODUCED
    method = criterion.arguments["of"]
    opposite = CHANCE if CLAIMED[method] > 0.7 else TEACHES
    assert criterion.judge(of(CLAIMED | {method: opposite})).verdict == NOT_REPRODUCED
    assert criterion.judge({}).verdict == NOT_RUN


def test_every_claim_of_the_page_says_where_it_comes_from_and_has_its_criteria_before_any_run() -> None:
    claims = judge.of_page("checkpoints")
    assert {c.id for c in claims} >= {"degree-1-alone", "partial-products", "hidden-layer-instead"}
    assert all("eyond the paper" in c.source for c in claims)


@pytest.mark.parametrize(
    ("difference", "expected"), [(0.0, [0.05, 0.05]), (-0.02, [0.03, 0.07]), (0.2, [0.25, -0.15])]
)
def test_equivalence_is_the_room_left_on_either_side_of_the_margin(
    difference: float, expected: list[float]
) -> None:
    rows: list[dict[str, Any]] = [
        {"seed": 0, "method": m, "step": s, "accuracy": a + s / 10}
        for m, a in (("one", 0.5 + difference), ("other", 0.5))
        for s in (0, 1)
    ]
    found = equivalence({"students": pd.DataFrame(rows)}, "students", "one", "other", 0.05)
    assert found.iloc[0].tolist() == pytest.approx(expected)
    assert found.columns.tolist() == ["not lower", "not higher"]
