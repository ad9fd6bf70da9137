"""A verdict that its reader can move: the strip of what was measured, how far the verdict holds, and the values themselves.

`book/_ext/static/rejudge.js` judges these values again as its reader moves the threshold and the level and leaves out
ancestries, by the rules of `judge`. Without scripts the strip and its words stand as they are.
"""

from __future__ import annotations

import json
import math
import re
from html import escape
from typing import Any

from pdlib.claims.judge import Judgement
from pdlib.claims.ledger import asked
from pdlib.figures import METHODS

MANY = 40  # more values than these are not drawn one by one


def legend(text: str) -> str:
    """Return a rival, or what was measured against it, with a method by the name that legends give it.

    >>> legend("one_shot_hard, level 2"), legend("1.2 [1, 1.4] against one_shot, the closest of 2")
    ('one-shot, hard labels, level 2', '1.2 [1, 1.4] against one-shot, τ = 1, the closest of 2')
    """
    named = {method: str(look[0]) for method, look in METHODS.items()}
    return re.sub(r"(?:^|(?<=against ))\w+", lambda found: named.get(found[0], found[0]), text)


def strip(judgement: Judgement, width: int = 130, height: int = 20) -> str:
    """Return what was measured as a drawing: a dot per ancestry, the interval as a bar, the threshold as a line.

    Of several rivals the closest is drawn; nothing if nothing was measured.
    """
    if judgement.frame is None or not len(judgement.frame):
        return ""
    values = [float(v) for v in judgement.frame[judgement.closest]]
    found, threshold = judgement.interval, judgement.criterion.threshold
    ends = [v for v in (*values, found.low, found.high, threshold) if abs(v) < 1e300]
    low, span = min(ends), (max(ends) - min(ends)) or 1.0

    def x(value: float) -> float:
        share = (min(max(value, low), low + span) - low) / span
        return round(8 + (width - 16) * float(share), 1)

    middle, tall = height / 2, round(height * 0.27, 1)
    drawn = values if len(values) <= MANY else []
    dots = "".join(f"<circle cx='{x(v)}' cy='{middle}' r='3' class='pd-dot'/>" for v in drawn)
    said = f"{judgement.criterion.claim}: {legend(str(judgement))}; threshold {threshold:g}; {_counted(judgement)}"
    return (
        f"<svg class='pd-strip' viewBox='0 0 {width} {height}' width='{width}' height='{height}' role='img' "
        f"aria-label='{escape(said, quote=True)}'>"
        f"<line x1='{x(threshold)}' x2='{x(threshold)}' y1='2' y2='{height - 2}' class='pd-threshold'/>"
        f"<line x1='{x(found.low)}' x2='{x(found.high)}' y1='{middle}' y2='{middle}' class='pd-interval'/>"
        f"{dots}<rect x='{x(found.mean) - 1.5}' y='{middle - tall}' width='3' height='{2 * tall}' class='pd-mean'/></svg>"
    )


def _counted(judgement: Judgement) -> str:
    """Return on how many ancestries, or cases, a judgement stands."""
    n = 0 if judgement.frame is None else len(judgement.frame)
    one, many = ("case", "cases") if judgement.criterion.interval == "exact" else ("ancestry", "ancestries")
    return f"{n} {one if n == 1 else many}"


def fragility(judgement: Judgement) -> str:
    """Say for which thresholds a verdict holds, and whether it hangs on a single ancestry."""
    low, high = judgement.holds
    where = {
        (True, True): f"from {low:.3g} to {high:.3g}",
        (True, False): f"down to {low:.3g}",
        (False, True): f"up to {high:.3g}",
        (False, False): "of any size",
    }[math.isfinite(low), math.isfinite(high)]
    said, n = (
        f"The verdict holds for thresholds {where}",
        0 if judgement.frame is None else len(judgement.frame),
    )
    if n < 2:
        return f"{said}."
    one = "case" if judgement.criterion.interval == "exact" else "ancestry"
    return f"{said}; leaving out any one {one} changes it in {judgement.turned_by_one} of {n}."


def measured(judgement: Judgement) -> str:
    """Say what was measured, and how many ancestries agree."""
    n = 0 if judgement.frame is None else len(judgement.frame)
    return f"{legend(str(judgement))}; {judgement.agreeing} of {n} agree" if n else ""


def words(judgement: Judgement) -> str:
    """Say what was measured, how many agree, and how far the verdict holds."""
    return f"{measured(judgement)}. {fragility(judgement)}"


def rounded(judgement: Judgement) -> Judgement:
    """Return a judgement on values with as few digits as leave its verdict and its printed numbers what they are."""
    assert judgement.frame is not None
    for digits in (6, 9):
        few = Judgement(judgement.criterion, judgement.frame.map(lambda v, n=digits: float(f"{v:.{n}g}")))
        if _printed(few) == _printed(judgement):
            return few
    return judgement


def _printed(judgement: Judgement) -> list[str]:
    """Return what is read of a judgement."""
    ends = [f"{end:.3g}" for end in judgement.holds]
    return [judgement.verdict, str(judgement), *map(str, judgement.intervals.values()), *ends]


def data(judgement: Judgement) -> dict[str, Any]:
    """Return what a page needs to judge again: the criterion's rule, the ancestries, and each rival's values as a text."""
    assert judgement.frame is not None
    c, frame = judgement.criterion, judgement.frame
    texts = (" ".join(str(v).removesuffix(".0") for v in column.tolist()) for _, column in frame.items())
    row: dict[str, Any] = {"side": c.side, "threshold": c.threshold, "interval": c.interval}
    row |= {"rivals": [legend(str(rival)) for rival in frame]}
    row |= {"values": [text.replace("inf", "Infinity") for text in texts]}
    return row | {"ancestries": [a if isinstance(a, str) else int(a) for a in frame.index]}


def rejudge(judgement: Judgement | None) -> str:
    """Return the strip of a judgement as a fold that opens on its words, and where scripts run on the means to move it.

    Nothing if nothing was measured.
    """
    if judgement is None or not (drawn := strip(judgement)):
        return ""
    few = rounded(judgement)
    told = escape(json.dumps(data(few), ensure_ascii=False, separators=(",", ":")), quote=False).replace(
        "'", "&#39;"
    )
    each = "".join(f"<li>{escape(legend(r))}: {found}</li>" for r, found in few.intervals.items())
    rivals = f"<ul class='pd-rivals'>{each}</ul>" if len(few.intervals) > 1 else ""
    return (
        f"<details class='pd-rejudge' data-widget='rejudge' data-judged='{told}'>"
        f"<summary>{drawn} <span>re-judge</span></summary><p>Asked: {escape(asked(judgement))}.</p>{rivals}"
        f"<p class='pd-found'>{escape(words(few))}</p></details>"
    )
