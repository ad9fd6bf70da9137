"""Models, data, distillation and probes for sparse parity and beyond, as a graph of runs.

Every kind of spec is a public name, wherever it is defined; it loads on first use, so that `pdlib.figures` and
`pdlib.claims` stay free of torch:

>>> import pdlib
>>> pdlib.SparseParity(n_bits=20, support_size=3).n_classes
2
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from pdlib.install import check

__version__ = "0.1.0"

check("pdlib")

# what is public and no kind of spec
_OTHERS = {
    "grammar": "pdlib.tasks.grammar",
    "load_grammar": "pdlib.tasks.grammar",
    "Piece": "pdlib.specs",
    "Store": "pdlib.store",
    "TeacherSchedule": "pdlib.training.teacher_schedule",
    "execute": "pdlib.engine",
}


def _homes() -> dict[str, str]:
    from pdlib.sources import homes

    return {name: home for name, home in homes().items() if not name.startswith("_")} | _OTHERS


def __getattr__(name: str) -> Any:
    if name.startswith("_") or name not in (homes := _homes()):
        raise AttributeError(f"pdlib has no public name {name!r}; it offers {', '.join(sorted(_homes()))}")
    return getattr(import_module(homes[name]), name)


def __dir__() -> list[str]:
    return [*sorted(_homes()), "__version__"]
