"""Effects: tidy tables to one value per ancestry, or one per ancestry and rival.

`tables.yaml` says which tables a page makes and what their columns are. `shared` serves every page: what a method reaches,
how far it is ahead of each rival, and how that changes with the setting; the other files are for one kind of table each.
Names are unique over all of them: the register knows effects by name. A verdict on values is no concern of theirs.
"""

import inspect
from collections.abc import Callable
from typing import Any

from pdlib.claims.effects import checkpoints, parity, shared, text, theory
from pdlib.claims.effects.shared import MissingTableError, Tables, UndecidedError
from pdlib.claims.effects.theory import read_off_power

__all__ = ["EFFECTS", "MODULES", "MissingTableError", "Tables", "UndecidedError", "read_off_power"]

MODULES = (shared, parity, text, theory, checkpoints)
EFFECTS: dict[str, Callable[..., Any]] = {
    name: effect
    for module in MODULES
    for name, effect in vars(module).items()
    if inspect.isfunction(effect) and effect.__module__ == module.__name__ and not name.startswith("_")
}
