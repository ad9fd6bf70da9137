"""Criteria of the page `theory`: written before the runs that they judge.

Exact statements are judged case by case (column `case`), experiments once a seed (column `seed`). Tables they read:

- `majority`: `case`, `degree`, `n_bits`, `exact`, `printed`, `right`; `gaps`: `case`, `gap`, `bound`;
  `sums`: `case`, `n_bits`, `absolute_sum`, `printed`
- `gradients`: `case`, `error`, `printed_error`; `first_steps`: `seed`, `batch_size`, `decay`, `group`, `error`, `bound`, ...
- `first_batches`: `seed`, `batch`, `decay`, `gradient_error`, `allowed`
- `teachers`: `seed`, `case`, `width`, `aligned`, `group`, `minimum`, `mean`, ...; `separation`: `n_bits`,
  `support_size`, `n_draws`, `n_separated`
- `second_stages`: `seed`, `step`, `loss`, `bound_steps`, `reached`; `best`: `seed`, `supervision`, `aligned`, `best_loss`;
  `directions`: `case`, `succeeds`
- `predictors`: `case`, `largest`, `loss`, `correlation`
- `batches`: `seed`, `n_bits`, `support_size`, `target`, `rule`, `batch_size` (infinite if none was enough), `predicted`
- `trade_off`: `seed`, `step`, `bound`; `selection`, `uniform`, `interpolation`: `case` and what the constructions measured

Effects are log2 of a ratio wherever a quantity is compared with another, so that 0 means equal and 1 twice.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pdlib.claims import Claim, Criterion, MissingTableError, Tables, UndecidedError

EQUAL = 1e-12  # two routes to one number, relative
SAME_ORDER = 1.0  # log2: a quantity "of order" another keeps its ratio to it within a factor of two
TWICE = 1.0  # log2


def _table(tables: Tables, name: str, where: str = "") -> pd.DataFrame:
    if name not in tables:
        raise MissingTableError(name)
    return tables[name].query(where) if where else tables[name]


def _log2(values: pd.Series[float] | Any) -> pd.Series[float]:
    return pd.Series(np.log2(values))


def statistic(
    tables: Tables, table: str, column: str, per: str = "case", reduce: str = "max", where: str = ""
) -> pd.Series[float]:
    """One statistic of a column for each case or seed."""
    rows: pd.Series[float] = _table(tables, table, where).groupby(per)[column].agg(reduce).astype(float)
    return rows


def log2_ratio(
    tables: Tables,
    table: str,
    over: str,
    under: str,
    per: str = "case",
    reduce: str = "max",
    where: str = "",
) -> pd.Series[float]:
    """log2 of one column over another, reduced for each case or seed."""
    rows = _table(tables, table, where)
    found: pd.Series[float] = _log2(rows[over] / rows[under]).groupby(rows[per]).agg(reduce).astype(float)
    return found


def spread(tables: Tables, table: str, over: str, under: str, where: str = "") -> pd.Series[float]:
    """log2 of the largest over the smallest ratio of two columns, over all rows: how far they are of one order."""
    rows = _table(tables, table, where)
    ratio = rows[over] / rows[under]
    return pd.Series({"all": float(np.log2(ratio.max() / ratio.min()))})


def excess(
    tables: Tables, table: str, of: str, above: str, per: str = "case", where: str = ""
) -> pd.Series[float]:
    """Largest difference of two columns for each case."""
    rows = _table(tables, table, where)
    return pd.Series((rows[of] - rows[above]).groupby(rows[per]).max())


def power(tables: Tables, table: str, y: str, x: str, where: str = "") -> pd.Series[float]:
    """Slope of log y against log x by least squares, by seed."""
    rows = _table(tables, table, where)
    if not np.isfinite(rows[y]).all():
        raise UndecidedError(f"{y} was not found within the budget of some run: its slope is unknown.")

    def slope(run: pd.DataFrame) -> float:
        if run[x].nunique() < 2:
            return float("nan")
        return float(np.polyfit(np.log(run[x].astype(float)), np.log(run[y].astype(float)), 1)[0])

    return pd.Series(rows.groupby("seed")[[x, y]].apply(slope))


def power_error(
    tables: Tables, table: str, y: str, x: str, expected: float, where: str = ""
) -> pd.Series[float]:
    """Distance of that slope from the expected one, either way."""
    return (power(tables, table, y, x, where) - expected).abs()


def coefficient_size(tables: Tables, aligned: bool, reduce: str) -> pd.Series[float]:
    """log2 of the smallest, or mean, degree-1 coefficient in the support over 1/(8k), at the largest width."""
    rows = _table(tables, "teachers", f"aligned == {aligned} and group == 'in_support'")
    rows = rows[rows.width == rows.width.max()]
    return _log2(8 * rows.support_size * rows[reduce]).groupby(rows.seed).min()


def off_against_in(tables: Tables) -> pd.Series[float]:
    """log2 of (mean coefficient off the support over that in it) over (k - 1)/(d - k), mean over widths, by seed."""
    rows = _table(tables, "teachers", "aligned == False").pivot_table(
        index=["seed", "width", "n_bits", "support_size"], columns="group", values="mean"
    )
    rows = rows.reset_index()
    expected = (rows.support_size - 1) / (rows.n_bits - rows.support_size)
    return _log2(rows.off_support / rows.in_support / expected).groupby(rows.seed).mean()


def output_size(tables: Tables) -> pd.Series[float]:
    """log2 of the output's mean square over d/k, the largest over widths, by seed."""
    rows = _table(tables, "teachers", "group == 'norm'")
    return _log2(rows["mean"] * rows.support_size / rows.n_bits).groupby(rows.seed).max()


def majority_size(tables: Tables) -> pd.Series[float]:
    """k times the largest correlation with a coordinate of the support, weighted by the majority, by case."""
    rows = _table(tables, "teachers", "group == 'in_support'")
    return pd.Series((rows.support_size * rows.majority).groupby(rows.case).max())


def share_growth(tables: Tables) -> pd.Series[float]:
    """log2 of the share of separating initialisations at the largest d over that at the smallest, by k.

    A share of no draws counts as half a draw.
    """
    rows = _table(tables, "separation").sort_values("n_bits")
    share = rows.n_separated.clip(lower=0.5) / rows.n_draws
    by_k = share.groupby(rows.support_size)
    return _log2(by_k.last() / by_k.first())


def steps_over_bound(tables: Tables) -> pd.Series[float]:
    """log2 of the steps to the loss sought over Lemma B.7's; a run that never got there counts as infinite."""
    rows = _table(tables, "second_stages", "in_regime")
    last = rows.sort_values("step").groupby("seed").last()
    steps = np.where(last.reached, last.step, np.inf)
    return pd.Series(np.log2(steps / last.bound_steps), index=last.index)


def _batches(tables: Tables, target: str, k: int, rule: str) -> pd.DataFrame:
    rows = _table(tables, "batches", f"target == {target!r} and support_size == {k} and rule == {rule!r}")
    if rows.empty:
        raise MissingTableError(f"batches of {target} at k = {k}, rule {rule}")
    return rows


def read_off_gain(tables: Tables, target: str, against: str, k: int, rule: str = "one") -> pd.Series[float]:
    """log2 of a rival's batch over the target's, at the largest d that both have, by seed."""
    ours, rival = (_batches(tables, name, k, rule) for name in (target, against))
    d = min(ours.n_bits.max(), rival.n_bits.max())
    ours, rival = (rows[rows.n_bits == d].set_index("seed").batch_size for rows in (ours, rival))
    if (np.isinf(ours) & np.isinf(rival)).any():
        raise UndecidedError("neither batch was found within the budget")
    return _log2(rival / ours)


def total_gain(tables: Tables, target: str, against: str, k: int, rule: str = "one") -> pd.Series[float]:
    """The same with the measured steps of the second stage added on both sides, at the largest d they share."""
    steps = _table(tables, "second_steps", f"support_size == {k}")
    ours, rival = (_batches(tables, name, k, rule) for name in (target, against))
    shared = set(ours.n_bits) & set(rival.n_bits) & set(steps.n_bits)
    if not shared:
        raise MissingTableError(f"second stages at a d of the batches, k = {k}")
    d = max(shared)
    total = pd.DataFrame(
        {
            name: rows[rows.n_bits == d].set_index("seed")[column]
            for name, rows, column in (
                ("ours", ours, "batch_size"),
                ("rival", rival, "batch_size"),
                ("steps", steps, "step"),
            )
        }
    )
    gain = _log2((total.rival + total.steps) / (total.ours + total.steps))
    return gain.mask(np.isinf(total.steps), 0.0)  # a second stage that never ends leaves nothing to gain


def read_off_power(tables: Tables, target: str, k: int, rule: str = "one") -> pd.Series[float]:
    """Slope of the log of the batch against log d, by seed."""
    return power({"rows": _batches(tables, target, k, rule)}, "rows", "batch_size", "n_bits")


def distance_from_prediction(tables: Tables, target: str) -> pd.Series[float]:
    """Size of the mean log2 of the batch over its finite-d prediction, over all d and k, one neuron, by seed."""
    rows = _table(tables, "batches", f"target == {target!r} and rule == 'one'")
    return _log2(rows.batch_size / rows.predicted).groupby(rows.seed).mean().abs()


def _two_routes(name: str, text: str, table: str, column: str, where: str = "") -> Criterion:
    return Criterion(
        name, text, statistic, "below", EQUAL, {"table": table, "column": column, "where": where}, exact=True
    )


_CONSTRUCTED_1 = "constructed, c = 1"

CLAIMS = (
    Claim(
        "R3",
        (
            Criterion(
                "fewer than labels",
                "log2 of the first-stage batch that labels need over that of the intermediate teacher, k = 4, largest d",
                read_off_gain,
                "above",
                TWICE,
                {"target": "intermediate", "against": "labels", "k": 4},
            ),
            Criterion(
                "fewer than the constructed final teacher",
                "the same against the constructed final teacher of loss 1/d, pooled over the student's neurons",
                read_off_gain,
                "above",
                TWICE,
                {"target": "intermediate", "against": _CONSTRUCTED_1, "k": 4, "rule": "pooled"},
            ),
            Criterion(
                "fewer than a trained final teacher",
                "the same against a final teacher trained by Algorithm 1, k = 2",
                read_off_gain,
                "above",
                TWICE,
                {"target": "intermediate", "against": "trained", "k": 2},
            ),
            Criterion(
                "fewer in total",
                "the same against labels, k = 2, with the measured steps of the second stage added on both sides",
                total_gain,
                "above",
                TWICE,
                {"target": "intermediate", "against": "labels", "k": 2},
            ),
        ),
    ),
    Claim(
        "Theorem 3.2",
        (
            Criterion(
                "labels: as predicted",
                "size of the mean log2 of the batch over its exact finite-d prediction, labels, one neuron",
                distance_from_prediction,
                "below",
                0.5,
                {"target": "labels"},
            ),
            Criterion(
                "labels: a power of d",
                "slope of log batch against log d, labels, k = 4; the theorem's k - 1 less one half",
                read_off_power,
                "above",
                2.5,
                {"target": "labels", "k": 4},
            ),
            Criterion(
                "intermediate teacher: no power of d",
                "slope of log batch against log d, intermediate teacher, k = 4",
                read_off_power,
                "below",
                1.0,
                {"target": "intermediate", "k": 4},
            ),
        ),
    ),
    Claim(
        "Theorem B.1 (progressive, as printed)",
        (
            Criterion(
                "a second stage can succeed",
                "share of random teachers, d and m to infinity, whose student can reach hinge loss 0.1 with some output "
                "weights and the best of several rates; k = 2, 4, 6",
                statistic,
                "above",
                0.5,
                {"table": "directions", "column": "succeeds", "reduce": "mean"},
                exact=True,
            ),
        ),
    ),
    Claim(
        "Theorem B.1 (progressive, corrected)",
        (
            Criterion(
                "a second stage can succeed",
                "least hinge loss of any output weights after a first stage on the intermediate teacher with the initial "
                "signs that the proof of Lemma B.5 fixes, k = 4",
                statistic,
                "below",
                0.1,
                {
                    "table": "best",
                    "column": "best_loss",
                    "per": "seed",
                    "where": "supervision == 'intermediate' and aligned and support_size == 4",
                },
            ),
        ),
    ),
    Claim(
        "Theorem B.1 (distillation)",
        tuple(
            Criterion(
                f"k = {k}, c = {c:g}",
                f"slope of log batch against log d, constructed teacher of loss d^(-{c:g}), k = {k}, pooled; "
                f"min(2c, k - 1) = {min(2 * c, k - 1):g} less 0.4",
                read_off_power,
                "above",
                min(2 * c, k - 1) - 0.4,
                {"target": f"constructed, c = {c:g}", "k": k, "rule": "pooled"},
            )
            for k, c in ((4, 1.0), (4, 1.25), (4, 2.0), (6, 1.0), (6, 1.25))
        ),
    ),
    Claim(
        "Lemma B.2 (as printed)",
        (
            Criterion(
                "weights around the printed centres",
                "log2 of the largest distance from the printed centres over the printed tolerance, lambda_1 = 1",
                log2_ratio,
                "below",
                0.0,
                {
                    "table": "first_steps",
                    "over": "printed_centre_error",
                    "under": "printed_bound",
                    "per": "seed",
                    "where": "decay == 'printed'",
                },
            ),
        ),
    ),
    Claim(
        "Lemma B.2 (corrected)",
        (
            Criterion(
                "weights around the right centres",
                "log2 of the largest distance from the right centres over tau_g / (k |zeta_(k-1)|), 2 eta_1 lambda_1 = 1",
                log2_ratio,
                "below",
                0.0,
                {
                    "table": "first_steps",
                    "over": "error",
                    "under": "bound",
                    "per": "seed",
                    "where": "decay == 'cancelling'",
                },
            ),
        ),
    ),
    Claim(
        "Claim B.3 (as printed)",
        (
            _two_routes(
                "printed sign",
                "largest relative difference of the enumerated gradient from the printed formula",
                "gradients",
                "printed_error",
            ),
        ),
    ),
    Claim(
        "Claim B.3 (corrected)",
        (
            _two_routes(
                "right sign",
                "largest relative difference of the enumerated gradient from the formula with the right sign",
                "gradients",
                "error",
            ),
        ),
    ),
    Claim(
        "Claim B.4",
        (
            Criterion(
                "within the tolerance",
                "log2 of the largest gradient error over Hoeffding's tau_g at delta = 0.1, all batch sizes",
                log2_ratio,
                "below",
                0.0,
                {"table": "first_steps", "over": "gradient_error", "under": "tau_g", "per": "seed"},
            ),
            Criterion(
                "slope -1/2",
                "distance from -1/2 of the slope of log root-mean-square gradient error against log batch size",
                power_error,
                "below",
                0.1,
                {
                    "table": "first_steps",
                    "y": "gradient_rms",
                    "x": "batch_size",
                    "expected": -0.5,
                    "where": "decay == 'cancelling' and group == 'in_support'",
                },
            ),
        ),
    ),
    Claim(
        "Lemma B.5 (item 1, as printed)",
        (
            Criterion(
                "at least 1/(8k)",
                "log2 of the smallest degree-1 coefficient in the support over 1/(8k), random signs, widest network",
                coefficient_size,
                "above",
                0.0,
                {"aligned": False, "reduce": "minimum"},
            ),
        ),
    ),
    Claim(
        "Lemma B.5 (item 1, corrected)",
        (
            Criterion(
                "slope -1/2",
                "distance from -1/2 of the slope of log mean degree-1 coefficient in the support against log width, "
                "random signs",
                power_error,
                "below",
                0.25,
                {
                    "table": "teachers",
                    "y": "mean",
                    "x": "width",
                    "expected": -0.5,
                    "where": "not aligned and group == 'in_support'",
                },
            ),
            Criterion(
                "at the proof's signs",
                "log2 of the smallest degree-1 coefficient in the support over 1/(8k), the proof's signs, widest network",
                coefficient_size,
                "above",
                0.0,
                {"aligned": True, "reduce": "minimum"},
            ),
        ),
    ),
    Claim(
        "Lemma B.5 (item 2)",
        (
            Criterion(
                "smaller off the support",
                "log2 of the mean coefficient off the support over that in it, over (k - 1)/(d - k)",
                off_against_in,
                "below",
                0.5,
            ),
        ),
    ),
    Claim(
        "Lemma B.5 (items 3 and 4)",
        (
            _two_routes(
                "even degrees vanish",
                "largest coefficient of even degree",
                "teachers",
                "maximum",
                "group == 'even'",
            ),
            Criterion(
                "bounded output",
                "log2 of the output's mean square over d/k",
                output_size,
                "below",
                0.0,
            ),
        ),
    ),
    Claim(
        "Corollary B.6 (as printed)",
        (
            Criterion(
                "weighted by the majority",
                "k times the largest |E f Maj x_i| in the support; one half of 1/8, as the proof has it",
                majority_size,
                "above",
                1 / 16,
                exact=True,
            ),
        ),
    ),
    Claim(
        "Corollary B.6 (corrected)",
        (
            Criterion(
                "the support is shown more often as d grows",
                "log2 of the share of initialisations whose infinite-batch coefficients separate the support, largest over "
                "smallest d, k = 2, 4, 6",
                share_growth,
                "above",
                0.0,
                exact=True,
            ),
            _two_routes(
                "nothing weighted by the majority",
                "largest |E f Maj x_i|",
                "teachers",
                "majority",
                "group in ('in_support', 'off_support')",
            ),
        ),
    ),
    *(
        Claim(
            f"{claim} ({part})",
            (
                Criterion(
                    "gradients precise enough",
                    f"log2 of the largest gradient error over the one allowed, batch of {words}",
                    log2_ratio,
                    "below",
                    SAME_ORDER,
                    {
                        "table": "first_batches",
                        "over": "gradient_error",
                        "under": "allowed",
                        "per": "seed",
                        "where": f"batch == {batch!r}",
                    },
                ),
            ),
        )
        for claim, part, batch, words in (
            ("Lemma B.7", "batch, as printed", "B.7 printed", "|zeta|^2 k^2 log(kd/epsilon)"),
            ("Lemma B.7", "batch, corrected", "B.7 corrected", "|zeta|^(-2) k^2 log(kd/epsilon)"),
        )
    ),
    Claim(
        "Lemma B.7 (second stage)",
        (
            Criterion(
                "within the bound",
                "log2 of the steps to loss epsilon over T_2, inside the lemma's regime",
                steps_over_bound,
                "below",
                0.0,
            ),
        ),
    ),
    Claim(
        "Corollary B.8 (as printed)",
        (
            Criterion(
                "correlation at most the loss",
                "largest |E f x_i| less the hinge loss, every predictor",
                excess,
                "below",
                EQUAL,
                {"table": "predictors", "of": "correlation", "above": "loss"},
                exact=True,
            ),
        ),
    ),
    Claim(
        "Corollary B.8 (corrected)",
        (
            Criterion(
                "correlation at most the loss",
                "largest |E f x_i| less the hinge loss, predictors within [-1, 1]",
                excess,
                "below",
                EQUAL,
                {
                    "table": "predictors",
                    "of": "correlation",
                    "above": "loss",
                    "where": f"largest <= 1 + {EQUAL}",
                },
                exact=True,
            ),
        ),
    ),
    Claim(
        "Corollary B.9 (as printed)",
        (
            Criterion(
                "gradients precise enough",
                "log2 of the largest gradient error over the one allowed, batch of |zeta|^2 k^2 d^(10/3) log(kd/epsilon)",
                log2_ratio,
                "below",
                SAME_ORDER,
                {
                    "table": "first_batches",
                    "over": "gradient_error",
                    "under": "allowed",
                    "per": "seed",
                    "where": "batch == 'B.9 printed'",
                },
            ),
        ),
    ),
    Claim(
        "Corollary B.9 (coefficients)",
        (
            Criterion(
                "of order d^(2/3)",
                "log2 of the largest over the smallest ratio of the sum to d^(2/3), all d",
                spread,
                "below",
                SAME_ORDER,
                {"table": "sums", "over": "absolute_sum", "under": "printed"},
                exact=True,
            ),
        ),
    ),
    Claim(
        "Lemma B.10",
        (
            Criterion(
                "not before the bound",
                "log2 of the steps to loss 1 - tau_g over the bound, the least over settings",
                log2_ratio,
                "above",
                0.0,
                {"table": "trade_off", "over": "step", "under": "bound", "per": "seed", "reduce": "min"},
            ),
        ),
    ),
    Claim(
        "Proposition C.1 (the example, as printed)",
        (
            Criterion(
                "no errors",
                "inputs with a wrong output, the printed weights, last position in the support and not",
                statistic,
                "below",
                0.5,
                {"table": "selection", "column": "n_errors", "where": "example == 'printed'"},
                exact=True,
            ),
        ),
    ),
    Claim(
        "Proposition C.1 (corrected)",
        (
            Criterion(
                "no errors",
                "inputs with a wrong output, the repaired weights, last position in the support and not",
                statistic,
                "below",
                0.5,
                {"table": "selection", "column": "n_errors", "where": "example == 'repaired'"},
                exact=True,
            ),
            Criterion(
                "width",
                "hidden units less 4(k + 1)",
                excess,
                "below",
                0.5,
                {
                    "table": "selection",
                    "of": "hidden",
                    "above": "hidden_bound",
                    "where": "example == 'repaired'",
                },
                exact=True,
            ),
            Criterion(
                "norm",
                "largest entry of the MLP less 4k(k + 1)",
                excess,
                "below",
                EQUAL,
                {
                    "table": "selection",
                    "of": "largest_entry",
                    "above": "norm_bound",
                    "where": "example == 'repaired'",
                },
                exact=True,
            ),
        ),
    ),
    *(
        Claim(
            lemma,
            (
                Criterion(
                    "exact up to a quarter of the gap",
                    "largest error of the output, perturbations up to Delta/4",
                    statistic,
                    "below",
                    1e-9,
                    {
                        "table": "interpolation",
                        "column": "max_error",
                        "where": f"lemma == {lemma!r} and quantity == 'output' and perturbation <= 0.25",
                    },
                    exact=True,
                ),
                Criterion(
                    "norms and widths",
                    "width or largest entry of a layer less its bound",
                    excess,
                    "below",
                    1e-9,
                    {
                        "table": "interpolation",
                        "of": "value",
                        "above": "bound",
                        "where": f"lemma == {lemma!r} and quantity != 'output'",
                    },
                    exact=True,
                ),
            ),
        )
        for lemma in ("Lemma C.2", "Lemma C.4")
    ),
    Claim(
        "Proposition C.3 (computes parity)",
        (
            Criterion(
                "no errors",
                "inputs with a wrong output, embeddings z_i e_i",
                statistic,
                "below",
                0.5,
                {"table": "uniform", "column": "n_errors", "where": "embedding == 'joint'"},
                exact=True,
            ),
        ),
    ),
    Claim(
        "Proposition C.3 (width, as printed)",
        (
            Criterion(
                "at most 2^k",
                "widest hidden layer less 2^k",
                excess,
                "below",
                0.5,
                {
                    "table": "uniform",
                    "of": "widest",
                    "above": "printed_width",
                    "where": "embedding == 'joint'",
                },
                exact=True,
            ),
        ),
    ),
    *(
        Claim(
            f"majority-coefficients ({part})",
            (
                Criterion(
                    "of that order",
                    f"log2 of the largest over the smallest ratio of |zeta_i| to {words}, odd degrees up to d/2, all d",
                    spread,
                    "below",
                    SAME_ORDER,
                    {"table": "majority", "over": "exact", "under": column, "where": "2 * degree <= n_bits"},
                    exact=True,
                ),
            ),
        )
        for part, column, words in (
            ("as printed", "printed", "i^(-1/3) / C(d, i)"),
            ("corrected", "right", "i^(-3/4) / sqrt(C(d, i))"),
        )
    ),
    Claim(
        "fourier-gap",
        (
            Criterion(
                "above the bound",
                "log2 of the gap over its bound, even k up to (d - 1)/2",
                log2_ratio,
                "above",
                0.0,
                {"table": "gaps", "over": "gap", "under": "bound", "reduce": "min"},
                exact=True,
            ),
        ),
    ),
)
