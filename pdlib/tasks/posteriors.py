r"""What an optimal predictor of a grammar's tokens says: exact posteriors, masked and next-token, and what is grammatical.

The sums over trees are those of `pdlib.tasks.inside_outside`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pdlib.specs import SpecError, require
from pdlib.tasks.inside_outside import marginals, nodes, prefixes, recognize
from pdlib.tasks.masked import SHOWN_ORIGINAL, SHOWN_RANDOM

if TYPE_CHECKING:
    from pdlib.tasks.grammar import Grammar

SENTENCES_AT_ONCE = 256  # whose evidence is written out
_SHOWN_TOKENS = 60  # in an error


def _named(tokens: NDArray[np.int64], mask: int | None = None) -> str:
    shown = ["[mask]" if token == mask else str(token) for token in tokens[:_SHOWN_TOKENS].tolist()]
    return " ".join(shown) + (f" ... ({len(tokens)} tokens)" if len(tokens) > _SHOWN_TOKENS else "")


def _checked(
    tokens: NDArray[Any], lengths: NDArray[Any], n_tokens: int | None = None, mask: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return tokens (sentence, position), 0 beyond the end, and lengths (sentence,), or raise.

    Unless there is an `n_tokens`, any whole number is a token.
    """
    array, sizes = np.asarray(tokens), np.asarray(lengths)
    require(
        array.ndim == 2 and array.dtype.kind in "iu",
        f"tokens of shape {array.shape} and type {array.dtype}",
        "whole numbers (sentence, position)",
    )
    require(
        sizes.shape == array.shape[:1] and sizes.dtype.kind in "iu",
        f"lengths of shape {sizes.shape} and type {sizes.dtype}",
        f"{len(array)} whole numbers",
    )
    for s in np.flatnonzero((sizes < 0) | (sizes > array.shape[1]))[:1]:
        raise SpecError(
            f"lengths[{s}] = {sizes[s]}: expected a number from 0 to {array.shape[1]}, the positions."
        )
    sizes = sizes.astype(np.int64)
    array = np.where(np.arange(array.shape[1]) < sizes[:, None], array.astype(np.int64), 0)
    if n_tokens is not None:
        for s, i in np.argwhere((array < 0) | (array >= n_tokens + mask))[:1]:
            expected = f"a token from 0 to {n_tokens - 1}" + (f", or {n_tokens} for [mask]" if mask else "")
            raise SpecError(f"tokens[{s}, {i}] = {array[s, i]}: expected {expected}.")
    return array, sizes


def evidence_of(same: NDArray[np.bool_], masked: NDArray[np.bool_], selected: float) -> NDArray[np.float64]:
    """Return the weight that what a position shows gives to each terminal, if it is selected so probably."""
    shown = SHOWN_ORIGINAL * same + SHOWN_RANDOM / same.shape[-1]
    return np.where(masked[..., None], 1.0, (1.0 - selected) * same + selected * shown)


def posterior(
    grammar: Grammar,
    inputs: NDArray[Any],
    lengths: NDArray[Any],
    at: NDArray[np.bool_],
    *,
    mask_rate: float,
    hidden: bool = False,
) -> NDArray[np.float64]:
    r"""Return the exact posterior of the original tokens at selected positions of corrupted sentences.

    .. math:: P(x_i = t \mid z, n, i \text{ selected}) \propto o_i(t) \, \frac{I_t(i, i + 1)}{e_i(t)} \, O_t(i, i + 1)

    where z is what the sentence shows, n its length, and I and O are the inside and the outside values. What another
    position j shows, a token s, is evidence :math:`e_j(t) = (1 - p) 1[s = t] + p \, (0.1 \cdot 1[s = t] + 0.1 / V)`,
    since nobody knows whether it was selected; the position itself was, so that
    :math:`o_i(t) = 0.1 \cdot 1[s = t] + 0.1 / V`. [mask] is no evidence, except of selection: e and o are 1.

    Parameters
    ----------
    inputs : shape (sentence, position)
        z: tokens 0 ... V - 1, and V for [mask]; anything beyond the end.
    lengths : shape (sentence,)
        n.
    at : shape (sentence, position)
        The positions asked for. With `hidden` they have to be all that are selected.
    mask_rate
        p, in [0, 1]: how probably each position was selected, independently. At 0 the other positions' tokens are
        certain, and each position asked for takes a pass of its own.
    hidden
        Selected positions are seen by themselves alone. The others are known not to be selected, and so to show their
        original; then `mask_rate` plays no part.

    Returns
    -------
    numpy.ndarray
        Shape (target, V); targets in reading order of `at`, rows sum to 1. A sentence that none of the grammar, of that
        length, can have become is an error.

    References
    ----------
    Paper, Definition 4.1 for the corruption; Zhao et al., "Do transformers parse while predicting the masked word?"
    (2023), for the inside-outside algorithm as the optimal predictor.

    Examples
    --------
    The sentences 0 0 1 and 0 1 1 are equally likely; the middle is masked:

    >>> from pdlib.tasks.grammar import load_grammar
    >>> small = load_grammar({"rules": {"9": [[7, 8], [8, 7]], "8": [[6, 6]], "7": [[5]], "6": [[1]], "5": [[2]]}})
    >>> inputs, at = np.array([[0, 2, 2]]), np.array([[False, True, True]])
    >>> posterior(small, inputs, np.array([3]), at, mask_rate=0.3, hidden=True).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    n = grammar.n_terminals
    require(
        isinstance(mask_rate, (int, float, np.floating)) and 0 <= mask_rate <= 1,
        f"mask_rate = {mask_rate!r}",
        "a number in [0, 1]",
    )
    shown, sizes = _checked(inputs, lengths, n, mask=True)
    asked = np.asarray(at)
    require(
        asked.shape == shown.shape and asked.dtype == np.bool_,
        f"at of shape {asked.shape} and type {asked.dtype}",
        f"truth values of shape {shown.shape}",
    )
    for s, i in np.argwhere(asked & (np.arange(shown.shape[1]) >= sizes[:, None]))[:1]:
        raise SpecError(f"at[{s}, {i}]: expected False beyond the sentence's {sizes[s]} tokens.")
    for s, i in np.argwhere((shown == n) & ~asked & hidden)[:1]:
        raise SpecError(
            f"at[{s}, {i}] of a [mask]: expected True, as hidden sentences tell which positions are selected."
        )
    one_by_one = mask_rate == 0 and not hidden
    rows, places = np.nonzero(asked)
    sentence = rows if one_by_one else np.flatnonzero(asked.any(axis=1))  # of each pass
    parts = [np.empty((0, n))]
    for start in range(0, len(sentence), SENTENCES_AT_ONCE):
        block = slice(start, start + SENTENCES_AT_ONCE)
        chosen = sentence[block]
        width = int(sizes[chosen].max())
        z, targets = shown[chosen, :width], asked[chosen, :width]
        if one_by_one:
            targets = np.arange(width) == places[block, None]
        same = z[..., None] == np.arange(n)  # (pass, position, terminal)
        own = evidence_of(same, z == n, 1.0)
        if hidden:
            evidence = np.where(targets[..., None], 1.0, same)
        elif one_by_one:
            evidence = np.where(targets[..., None], own, evidence_of(same, z == n, 0.0))
        else:
            evidence = evidence_of(same, z == n, float(mask_rate))
        found, log_evidence = np.zeros(evidence.shape), np.empty(len(chosen))
        marginals(tuple(nodes(grammar)), evidence, sizes[chosen], log_evidence, found)
        for s in chosen[log_evidence == -np.inf][:1]:
            raise SpecError(
                f"sentence {s} of {sizes[s]} tokens, {_named(shown[s, : sizes[s]], n)}: expected what the grammar can "
                f"produce with mask_rate = {mask_rate}, hidden = {hidden}."
            )
        weighted = found[targets] * (own[targets] / evidence[targets])
        parts.append(weighted / weighted.sum(axis=1, keepdims=True))
    return np.concatenate(parts)


def grammatical(
    grammar: Grammar, tokens: NDArray[Any], lengths: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    r"""Return how far texts are grammatical, and whether they are sentences, :math:`P(x) > 0`.

    .. math:: \max \{ m \le n : P(x_0 \dots x_{m-1} \dots) > 0 \}

    where :math:`P(x_0 \dots x_{m-1} \dots)` is the probability of all sentences that begin so. A text may be anything,
    such as what a network writes: a number that is no token of the grammar ends what is grammatical, as a token does
    that cannot stand there.

    `tokens` (text, position) are whole numbers, those of the grammar 0 ... V - 1, and anything beyond the end; `lengths`
    (text,) are n. Returned are m, (text,), from 0 to n, and whether each text is a sentence: nothing at all is none.

    >>> from pdlib.tasks.grammar import grammar
    >>> low = grammar("cfg3b", roots=7)                   # 7 -> 3 1 | 1 2 3
    >>> texts = np.array([[0, 1, 2], [0, 1, 0], [0, 3, 2], [2, 0, 1], [1, 2, 0]])
    >>> beginning, sentence = grammatical(low, texts, np.array([3, 2, 3, 2, 3]))
    >>> beginning.tolist(), sentence.tolist()
    ([3, 2, 1, 2, 0], [True, False, False, True, False])
    """
    x, sizes = _checked(tokens, lengths)
    reached, whole = np.empty(len(x), np.int64), np.empty(len(x), np.bool_)
    recognize(tuple(nodes(grammar)), x, sizes, reached, whole)
    return reached, whole


def _follow(
    grammar: Grammar, tokens: NDArray[Any], lengths: NDArray[Any], level: int, more: int
) -> NDArray[np.float64]:
    """Return what `prefixes` finds, (sentence, position + more, V + more), nan beyond the end."""
    x, sizes = _checked(tokens, lengths, grammar.n_terminals)
    out = np.full((len(x), x.shape[1] + more, grammar.n_terminals + more), np.nan)
    reached = np.empty(len(x), np.int64)
    prefixes(tuple(nodes(grammar)), x, sizes, level, reached, out)
    for s in np.flatnonzero(reached < sizes)[:1]:
        raise SpecError(
            f"sentence {s}, {_named(x[s, : sizes[s]])}: expected the beginning of a sentence of the grammar. "
            f"No sentence begins with its first {reached[s] + 1} tokens."
        )
    return out


def prefix_posterior(grammar: Grammar, tokens: NDArray[Any], lengths: NDArray[Any]) -> NDArray[np.float64]:
    r"""Return the exact distribution of the next token behind every prefix.

    .. math:: P(x_i = t \mid x_0, \dots, x_{i-1}) = \frac{F_t(i)}{\sum_{t'} F_{t'}(i) + P(x_0, \dots, x_{i-1})}

    where :math:`F_t(i)` is the probability of all sentences that begin with :math:`x_0, \dots, x_{i-1}, t`, from

    .. math:: F_B(i) = \sum_{h \le i} \sum_{A \to \pi B \rho} p(A \to \pi B \rho) \, F_A(h) \, I_\pi(h, i)

    with :math:`\pi, \rho` any sequences of symbols, also empty ones (then h = i), and :math:`F_A(0)` for a root A its
    probability.

    `tokens` (sentence, position), 0 ... V - 1 and anything beyond the `lengths`, are sentences or beginnings of sentences;
    what no sentence begins with is an error. Returns shape (sentence, position + 1, V + 1): entry i is what follows the
    first i tokens, for i = 0, ..., the length; the last column is the probability that the sentence ends there. Rows sum
    to 1; nan beyond the length.

    >>> from pdlib.tasks.grammar import grammar
    >>> low = grammar("cfg3b", roots=(7, 8))              # 7 -> 3 1 | 1 2 3, 8 -> 3 2 | 3 1 2
    >>> prefix_posterior(low, np.array([[2, 0]]), np.array([2])).round(6).tolist()
    [[[0.25, 0.0, 0.75, 0.0], [0.666667, 0.333333, 0.0, 0.0], [0.0, 0.5, 0.0, 0.5]]]
    """
    return _follow(grammar, tokens, lengths, -1, more=1)


def boundary_posterior(
    grammar: Grammar, tokens: NDArray[Any], lengths: NDArray[Any], level: int
) -> NDArray[np.float64]:
    r"""Return the exact distribution of the next token, given that a span of a level ends with it.

    .. math:: P(x_i = t \mid x_0, \dots, x_{i-1}, \text{ a span of level } l \text{ ends at } i)

    In `prefix_posterior`'s sum, below level l only the last symbol of a right side goes on.

    (Paper, appendix E; Definition 4.3.) Tokens and lengths as of `prefix_posterior`; the level is counted from the root: 0
    is the root (the sentence ends with the token), `grammar.depth` the tokens themselves (no condition but that the
    sentence does not end before). Returns shape (sentence, position, V): entry i is the distribution of token i, given
    those before it; nan where no span of the level can end, and beyond the length.

    >>> from pdlib.tasks.grammar import grammar
    >>> low = grammar("cfg3b", roots=(7, 8))              # 7 -> 3 1 | 1 2 3, 8 -> 3 2 | 3 1 2
    >>> boundary_posterior(low, np.array([[2, 0, 1]]), np.array([3]), level=0).tolist()
    [[[nan, nan, nan], [0.5, 0.5, 0.0], [0.0, 1.0, 0.0]]]
    """
    require(
        type(level) is int and 0 <= level <= grammar.depth,
        f"level = {level!r}",
        f"a whole number from 0, the root, to {grammar.depth}, the tokens",
    )
    return _follow(grammar, tokens, lengths, level, more=0)
