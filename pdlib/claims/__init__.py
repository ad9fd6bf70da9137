"""The paper's claims: statement, source, criteria; tables in, verdict out.

`register.yaml` lists every claim with its criteria as rows, `effects` measures them on a page's tables, `judge` turns values
into verdicts, `ledger` keeps them and shows all of them together, `formats` writes them for machines. `criteria.lock` says
when each criterion was registered.

No torch here: a verdict is a function of tables alone, and no result knows a criterion.
"""

from pdlib.claims.effects import MissingTableError, Tables, UndecidedError
from pdlib.claims.formats import export
from pdlib.claims.judge import (
    CHECKS,
    INCONCLUSIVE,
    NOT_JUDGED,
    NOT_REPRODUCED,
    NOT_RUN,
    REPRODUCED,
    Claim,
    Criterion,
    Judgement,
    RegisterError,
    lock_complaints,
    locked,
    of_page,
    register,
    write_lock,
)
from pdlib.claims.ledger import (
    HEADLINES,
    SIZES,
    at_a_glance,
    by_claim,
    compare,
    judge_page,
    ledger,
    read_off,
    verdict_table,
)
from pdlib.claims.shown import (
    anchor,
    beside,
    by_criterion,
    folded,
    largest,
    ledger_markdown,
    movable,
    numbered_results,
    with_glance,
)

__all__ = [
    "CHECKS",
    "HEADLINES",
    "INCONCLUSIVE",
    "NOT_JUDGED",
    "NOT_REPRODUCED",
    "NOT_RUN",
    "REPRODUCED",
    "SIZES",
    "Claim",
    "Criterion",
    "Judgement",
    "MissingTableError",
    "RegisterError",
    "Tables",
    "UndecidedError",
    "anchor",
    "at_a_glance",
    "beside",
    "by_claim",
    "by_criterion",
    "compare",
    "export",
    "folded",
    "judge_page",
    "largest",
    "ledger",
    "ledger_markdown",
    "lock_complaints",
    "locked",
    "movable",
    "numbered_results",
    "of_page",
    "read_off",
    "register",
    "verdict_table",
    "with_glance",
    "write_lock",
]
