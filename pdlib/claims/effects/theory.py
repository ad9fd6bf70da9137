"""Effects of the page `theory`: of exact statements one value per case, of experiments one per ancestry.

`of` is a formula of the table's columns, and `query` a condition on them, both as `pandas.DataFrame.eval` reads them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from pdlib.claims.effects.shared import MissingTableError, Tables, UndecidedError, _log2, _rows


def _chosen(tables: Tables, table: str, query: str = "") -> pd.DataFrame:
    """Return the rows of a table that fulfil a condition."""
    rows = _rows(tables, table)
    found = rows.query(query) if query else rows
    if found.empty:
        raise MissingTableError(f"{table}: {query}")
    return found


def statistic(
    tables: Tables,
    table: str,
    of: str,
    per: str = "case",
    reduce: str = "max",
    query: str = "",
    log: bool = False,
) -> pd.Series[float]:
    """Return a statistic of a formula of columns, or of its log2, for each case or ancestry."""
    rows = _chosen(tables, table, query)
    values = pd.Series(rows.eval(of), dtype=float)
    return pd.Series((_log2(values) if log else values).groupby(rows[per]).agg(reduce))


def ratio_spread(tables: Tables, table: str, of: str, query: str = "") -> pd.Series[float]:
    """Return the log2 of a ratio's largest over its smallest value in all rows: how far two quantities are of one order."""
    ratio = pd.Series(_chosen(tables, table, query).eval(of), dtype=float)
    return pd.Series({"all": float(np.log2(ratio.max() / ratio.min()))})


def _slope(rows: pd.DataFrame, y: str, x: str) -> pd.Series[float]:
    """Return the slope of log y against log x by least squares, by ancestry; NaN for one with a single x."""
    if not np.isfinite(rows[y]).all():
        raise UndecidedError(f"{y} was not found within the budget of some run: its slope is unknown")

    def slope(run: pd.DataFrame) -> float:
        if run[x].nunique() < 2:
            return float("nan")
        return float(np.polyfit(np.log(run[x].astype(float)), np.log(run[y].astype(float)), 1)[0])

    return pd.Series(rows.groupby("seed")[[x, y]].apply(slope))


def slope_error(
    tables: Tables, table: str, y: str, x: str, expected: float, query: str = ""
) -> pd.Series[float]:
    """Return the distance of the slope of log y against log x from the expected one, either way."""
    return (_slope(_chosen(tables, table, query), y, x) - expected).abs()


def off_against_in(tables: Tables) -> pd.Series[float]:
    """Return the log2 of (mean coefficient off the support over that in it) over (k - 1)/(d - k), mean over widths."""
    rows = _rows(tables, "teachers", {"aligned": False}).pivot_table(
        index=["seed", "width", "n_bits", "support_size"], columns="group", values="mean"
    )
    rows = rows.reset_index()
    expected = (rows.support_size - 1) / (rows.n_bits - rows.support_size)
    ratio: pd.Series[float] = _log2(rows.off_support / rows.in_support / expected)
    return ratio.groupby(rows.seed).mean()


def share_growth(tables: Tables) -> pd.Series[float]:
    """Return the log2 of the share of separating initializations at the largest d over that at the smallest, by k.

    A share of no draws counts as half a draw.
    """
    rows = _rows(tables, "separation").sort_values("n_bits")
    share = rows.n_separated.clip(lower=0.5) / rows.n_draws
    by_k = share.groupby(rows.support_size)
    return pd.Series(_log2(by_k.last() / by_k.first()))


def steps_over_bound(tables: Tables) -> pd.Series[float]:
    """Return the log2 of the steps to the loss sought over Lemma B.7's; a run that never got there counts as infinite."""
    last = _chosen(tables, "second_stages", "in_regime").groupby("seed").last()
    steps = last.step.where(last.reached, np.inf)
    return pd.Series(_log2(steps / last.bound_steps))


def _batches(tables: Tables, target: str, k: int, rule: str) -> pd.DataFrame:
    return _rows(tables, "batches", {"target": target, "support_size": k, "rule": rule})


def read_off_gain(tables: Tables, target: str, against: str, k: int, rule: str = "one") -> pd.Series[float]:
    """Return the log2 of a rival's batch over the target's, at the largest d that both have.

    Raises
    ------
    UndecidedError
        If neither batch was found within the budget.
    """
    ours, rival = (_batches(tables, name, k, rule) for name in (target, against))
    d = min(ours.n_bits.max(), rival.n_bits.max())
    ours, rival = (rows[rows.n_bits == d].set_index("seed").batch_size for rows in (ours, rival))
    if (np.isinf(ours) & np.isinf(rival)).any():
        raise UndecidedError("neither batch was found within the budget")
    return pd.Series(_log2(rival / ours))


def read_off_power(
    tables: Tables, target: str, k: int, rule: str = "one", less: str = ""
) -> pd.Series[float]:
    """Return the slope of the log of the batch against log d; with `less`, minus that of another target."""
    slope = _slope(_batches(tables, target, k, rule), "batch_size", "n_bits")
    return slope - _slope(_batches(tables, less, k, rule), "batch_size", "n_bits") if less else slope


def distance_from_prediction(tables: Tables, target: str) -> pd.Series[float]:
    """Return the size of the mean log2 of the batch over its finite-d prediction, over all d and k, one neuron."""
    rows = _rows(tables, "batches", {"target": target, "rule": "one"})
    ratio: pd.Series[float] = _log2(rows.batch_size / rows.predicted)
    return ratio.groupby(rows.seed).mean().abs()
