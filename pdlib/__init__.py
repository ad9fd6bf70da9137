"""Models, data, distillation and probes for sparse parity and beyond, as a graph of runs.

The public names load on first use, so that `pdlib.figures` and `pdlib.claims` stay free of torch:

>>> import pdlib
>>> pdlib.SparseParity(n_bits=20, support_size=3).n_classes
2
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Explicit": "pdlib.schedules",
    "EqualSplit": "pdlib.schedules",
    "KappaSplit": "pdlib.schedules",
    "OneShot": "pdlib.schedules",
    "Progressive": "pdlib.schedules",
    "Adam": "pdlib.specs",
    "Distillation": "pdlib.specs",
    "Labels": "pdlib.specs",
    "Measurement": "pdlib.specs",
    "SGD": "pdlib.specs",
    "Training": "pdlib.specs",
    "Grammar": "pdlib.tasks.grammar",
    "Rule": "pdlib.tasks.grammar",
    "grammar": "pdlib.tasks.grammar",
    "load_grammar": "pdlib.tasks.grammar",
    "HierarchicalParity": "pdlib.tasks.hierarchical",
    "SparseParity": "pdlib.tasks.parity",
    "MLP": "pdlib.models.mlp",
    "Transformer": "pdlib.models.transformer",
    "MonomialCorrelations": "pdlib.probes.monomials",
    "NgramDependence": "pdlib.probes.ngrams",
    "Predictions": "pdlib.probes.ngrams",
    "NonterminalPrediction": "pdlib.probes.nonterminals",
    "Store": "pdlib.store",
    "execute": "pdlib.engine",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"pdlib has no public name {name!r}; it offers {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
