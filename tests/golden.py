"""Golden numbers: what today's code computes for a small run of every kind, kept in `golden.json`.

A module of tests that defines `examples()`, a dictionary of runs by name, is found by itself. `python tests/golden.py`
writes the numbers of new examples, and of those whose fingerprint changed, as it does when a version rises. Those of an old
fingerprint stay: whoever changes results raises the version of the component that gives them their meaning (`version` of a
class, or `labels.VERSION`), and stored results of the old one are then outdated.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pdlib.engine import execute, measure
from pdlib.sources import homes
from pdlib.specs import Measurement, Run, Spec, Training, ancestors
from pdlib.store import Store

FILE = Path(__file__).with_name("golden.json")
RENEW = "run `python tests/golden.py`, and commit golden.json with the change"
CHANGED = (
    "results of {name} changed in {columns}. If that is meant, raise the version of the component that gives them their "
    f"meaning, and {RENEW}; results that are stored are then outdated, and pages say so."
)
UNDETERMINED = {  # several optima, or times
    "BestSecondStage": {"accuracy"},
    "SharedDirection": {"best_scale"},
    "StepTimes": {"engine_us", "eager_us"},
}
LOOSE = {
    "best_loss": 1e-7,
    "lemma_loss": 1e-7,
    "normal_share": 1e-7,
    "predicted": 1e-6,
}  # where a solver stops
SINGLE = {"WidthTradeOff": 1e-4, "Measurement": 1e-6}  # in float32
NOT_A_NUMBER, INFINITE = 17.0, 19.0


def examples() -> dict[str, Run]:
    """The runs of all modules of tests; made in an empty folder with a cache of its own."""
    found: dict[str, Run] = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path != Path(__file__) and "\ndef examples(" in path.read_text("utf-8"):
            new = import_module(path.stem).examples()
            assert not found.keys() & new.keys(), "two examples of one name"
            found |= new
    return found


def kinds_in(record: Any) -> Iterator[str]:
    """The kinds of which a canonical form is made."""
    if isinstance(record, dict):
        yield record["kind"]
        record = list(record.values())
    if isinstance(record, list):
        for value in record:
            yield from kinds_in(value)


def kinds() -> dict[str, type[Spec]]:
    """All kinds that the package defines, the bases of others left out."""
    found = {name: getattr(import_module(home), name) for name, home in homes().items()}
    return {name: cls for name, cls in found.items() if not any(cls in c.__bases__ for c in found.values())}


def checksum(parameters: Mapping[str, Any]) -> list[float]:
    """Two numbers that move with any parameter: the sum of squares, and a sum with alternating weights."""
    flat = np.concatenate([parameters[name].ravel() for name in sorted(parameters)])
    return [float((flat**2).sum()), float((flat * np.cos(np.arange(len(flat)))).sum())]


def weighted(table: pd.DataFrame) -> dict[str, float]:
    """The sum over rows of cos(row) times the value, for each column; of words, a hash."""
    found = {}
    for name, values in table.items():
        if not pd.api.types.is_numeric_dtype(values):
            found[str(name)] = float(zlib.crc32("\n".join(map(str, values)).encode()))
            continue
        plain = [NOT_A_NUMBER if math.isnan(v) else INFINITE if math.isinf(v) else float(v) for v in values]
        found[str(name)] = math.fsum(v * math.cos(i) for i, v in enumerate(plain))
    return found


def numbers(spec: Run) -> dict[str, float]:
    """What a run computes, in a few numbers."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder, published=None)
        if isinstance(spec, Measurement):
            if any(spec.steps):
                execute(list(ancestors(spec)), store, progress=False, n_workers=1)
            table = measure(spec, store)
        else:
            (record,) = execute([spec], store, progress=False, n_workers=1)
            table = record.table
        found = weighted(table)
        if isinstance(spec, Training):
            final = store.load_checkpoint(spec, spec.n_steps)
            found |= dict(zip(("squares", "alternating"), checksum(final), strict=True))
    unknown = UNDETERMINED.get(type(spec).__name__, set())
    return {name: value for name, value in found.items() if name not in unknown}


def changed(spec: Run, got: Mapping[str, float], golden: Mapping[str, float]) -> list[str]:
    """The columns that differ, or are there on one side only."""

    def same(column: str) -> bool:
        if column not in got or column not in golden:
            return False
        tolerance = SINGLE.get(type(spec).__name__, LOOSE.get(column, 1e-9))
        return math.isclose(got[column], golden[column], rel_tol=tolerance, abs_tol=tolerance)

    return [column for column in {**got, **golden} if not same(column)]


def load() -> dict[str, dict[str, Any]]:
    """The golden fingerprint and numbers of each example."""
    return dict(json.loads(FILE.read_text("utf-8"))) if FILE.exists() else {}


def main() -> None:
    """Write what is new, and keep all that has its old fingerprint."""
    os.chdir(tempfile.mkdtemp())
    os.environ["PDLIB_CACHE"] = str(Path.cwd() / "cache")
    golden, renewed = load(), {}
    for name, spec in sorted(examples().items()):
        if name in golden and golden[name]["fingerprint"] == spec.fingerprint:
            renewed[name] = golden[name]
            continue
        print(f"{'renewed' if name in golden else 'new'}: {name}")
        got = {column: float(f"{value:.12g}") for column, value in numbers(spec).items()}
        renewed[name] = {"fingerprint": spec.fingerprint, "numbers": got}
    FILE.write_text(json.dumps(renewed, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
