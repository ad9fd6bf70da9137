"""Effects of the page `checkpoints`: whether one thing does as well as another."""

from __future__ import annotations

import pandas as pd

from pdlib.claims.effects.shared import Measure, Tables, Where, gain


def equivalence(
    tables: Tables,
    table: str,
    of: str,
    to: str,
    margin: float,
    measure: Measure = "mean",
    where: Where | None = None,
) -> pd.DataFrame:
    """Return how far a method's difference from another stays inside the margin, on either side: both above 0 if it does.

    Two one-sided comparisons, as rivals: both must clear 0, each with an interval corrected for the two.
    """
    difference = gain(tables, table, of, [to], measure, where=where)[to]
    return pd.DataFrame({"not lower": difference + margin, "not higher": margin - difference})
