"""Speed of GPT-2's training at the boundaries of a grammar, of sampling from it, and of the exact posterior of a prefix.

The peer of training is the loop one would write with Hugging Face's `GPT2LMHeadModel`: the same sizes, no dropout,
`float32`, its fused attention, its key-value cache off, labels of -100 where nothing is asked (`pdlib.bench.sequences`).
Padding stands at the end, where a causal network needs no mask, and the peer gets none: its attention is faster so.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pdlib.bench import at_most, faster, medians
from pdlib.bench.sequences import Batch, against_eager, milliseconds, ours, spec_of
from pdlib.models.transformer import Transformer, gpt2
from pdlib.specs import Parameters, Training
from pdlib.tasks.grammar import Grammar, grammar
from pdlib.tasks.inside_outside import prefix_posterior
from pdlib.tasks.next_token import NextToken
from pdlib.training.online_sgd import set_threads

BATCH = 64
N_LAYERS = 4
SMALL_ROOTS = (13, 14, 15)  # the laptop's part of cfg3f
# the page's main level; the one at which least is asked, of which the last layer does least
LEVEL, FAR_LEVEL = 3, 4
# who, heads, steps a measurement, reach against whole batches and against micro-batches
SIZES = (("laptop's teacher", 8, 6, 1.5, 1.7), ("laptop's student", 2, 24, 1.5, 3.0))
THREADS = 2
ROOTS, LENGTH, N_POSTERIORS = (22,), 250, 4  # the paper's cfg3f; of a sentence; sentences a measurement
ENUMERATED = (10, 11, 12)  # roots from which all sentences can be listed
SAMPLES, SAMPLE_HEADS = 16, 8  # sentences a measurement, all of `LENGTH`


def rows() -> Iterator[dict[str, Any]]:
    """Yield the page's cases."""
    set_threads(1)
    yield _posterior()
    yield _agreement()
    yield _generation()
    set_threads(THREADS)
    for size in SIZES:
        yield from _training(*size)
    yield _few_asked()


# ------------------------------------------------------------------- posterior


def _posterior() -> dict[str, Any]:
    """Return the case of what follows every prefix of sentences of one length."""
    source = grammar("cfg3f", roots=ROOTS)
    sentences = source.sentence_stream("bench").sentences(0, 100 * N_POSTERIORS)
    rows = np.argsort(np.abs(sentences.lengths - LENGTH), kind="stable")[:N_POSTERIORS]
    tokens, lengths = sentences.tokens[rows], sentences.lengths[rows]

    def run() -> float:
        started = time.perf_counter()
        prefix_posterior(source, tokens, lengths)
        return (time.perf_counter() - started) / len(rows)

    run()  # compiled
    (seconds,) = medians(run)
    case = f"exact distribution of the next token behind every prefix of a sentence of {LENGTH} tokens, cfg3f, 1 core"
    return at_most(case, seconds, None, "s", 2.0)


def _agreement() -> dict[str, Any]:
    """Return the case of the same distributions from a list of all sentences."""
    source = grammar("cfg3f", roots=ENUMERATED)
    following = followers(source)
    prefixes = list(following)
    tokens = np.zeros((len(prefixes), max(map(len, prefixes))), np.int64)
    lengths = np.array([len(prefix) for prefix in prefixes])
    for row, prefix in zip(tokens, prefixes, strict=True):
        row[: len(prefix)] = prefix
    found = prefix_posterior(source, tokens, lengths)[np.arange(len(prefixes)), lengths]
    error = float(np.abs(found - np.array([following[p] for p in prefixes])).max())
    case = f"the same against a list of all sentences, {len(prefixes)} prefixes, roots {ENUMERATED}, largest difference"
    return at_most(case, error, None, "", 1e-10)


def followers(source: Grammar) -> dict[tuple[int, ...], NDArray[np.float64]]:
    """Return what follows each beginning of a sentence, a token or the end, by listing all sentences.

    >>> found = followers(grammar("cfg3b", roots=(7, 8)))      # tokens 2 0 | 0 1 2, 2 1 | 2 0 1
    >>> found[2, 0].tolist()
    [0.0, 0.5, 0.0, 0.5]
    """

    def below(symbol: int) -> dict[tuple[int, ...], float]:
        if symbol in source.terminals:
            return {(source.terminals.index(symbol),): 1.0}
        found: dict[tuple[int, ...], float] = defaultdict(float)
        for rule in source.rules_of(symbol):
            for parts in product(*(below(s).items() for s in rule.right)):
                tokens = tuple(t for part, _ in parts for t in part)
                found[tokens] += rule.probability * float(np.prod([p for _, p in parts]))
        return found

    n = source.n_terminals
    total: dict[tuple[int, ...], NDArray[np.float64]] = defaultdict(lambda: np.zeros(n + 1))
    for root in source.roots:
        for tokens, p in below(root).items():
            for i, token in enumerate((*tokens, n)):
                total[tokens[:i]][token] += p
    return {prefix: p / p.sum() for prefix, p in total.items()}


# -------------------------------------------------------------------- sampling


def _generation() -> dict[str, Any]:
    """Return the case of sampling with keys and values kept, against the whole prefix put through for each token."""
    model, parameters = endless(SAMPLE_HEADS, LENGTH)
    module = model.module(parameters).eval()  # both in float64
    beginning, end = model.vocabulary - 2, model.vocabulary - 1

    def kept() -> float:
        started = time.perf_counter()
        model.generate(parameters, SAMPLES, beginning=beginning, end=end, max_length=LENGTH, seed=0)
        return milliseconds(started, SAMPLES)

    def again() -> float:
        started = time.perf_counter()
        tokens = torch.full((SAMPLES, 1), beginning)
        with torch.inference_mode():
            for _ in range(LENGTH + 1):
                following = module(tokens, at=-1).softmax(dim=1)
                tokens = torch.cat([tokens, torch.multinomial(following, 1)], dim=1)
        return milliseconds(started, SAMPLES)

    kept()
    ours, peer = medians(kept, again, repeats=3)
    case = (
        f"samples of {LENGTH} tokens, {SAMPLE_HEADS} heads, keys and values kept, 1 core, against the prefix put through "
        "for each token"
    )
    return faster(case, ours, peer, "ms/sample", 3.0)


def endless(n_heads: int, length: int) -> tuple[Transformer, Parameters]:
    """Return a network that draws tokens nearly at random and never the last one, so that all samples are as long."""
    n_tokens = grammar("cfg3f").n_tokens + 2
    model = gpt2(N_LAYERS, n_heads, vocabulary=n_tokens, n_positions=length + 1)
    parameters = model.initial(length + 1, n_tokens, seed=0)
    # a coordinate that is always 1
    parameters["final_norm.weight"][0], parameters["final_norm.bias"][0] = 0.0, 1.0
    parameters["token.weight"][-1, 0] = -1000.0
    return model, parameters


# -------------------------------------------------------------------- training


def _spec(task: NextToken, n_heads: int, batch_size: int) -> tuple[Training, Parameters]:
    model = gpt2(N_LAYERS, n_heads, vocabulary=task.vocabulary, n_positions=task.n_inputs)
    return spec_of(task, model, batch_size)


def _training(
    who: str, n_heads: int, steps: int, reach_whole: float, reach_micro: float
) -> Iterator[dict[str, Any]]:
    trained = _spec(NextToken(grammar("cfg3f", roots=SMALL_ROOTS), LEVEL), n_heads, BATCH)
    case = f"{who}, {n_heads} heads, level {LEVEL}, batch {BATCH}, {THREADS} threads, against eager GPT-2"
    peer = (partial(network, trained[0]), _loss)
    yield from against_eager(case, trained, peer, steps, reach_whole, reach_micro)


def _loss(module: nn.Module, batch: Batch) -> Tensor:
    tokens, _, labels = batch  # padding stands at the end, where a causal network needs no mask
    logits = module(input_ids=tokens).logits
    return nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())


def _few_asked() -> dict[str, Any]:
    """Return the case of a step that asks for few tokens, against one on the same sentences that asks for all."""
    source, (who, n_heads, steps, *_) = grammar("cfg3f", roots=SMALL_ROOTS), SIZES[0]
    sentences = source.sentence_stream("bench").sentences(0, steps * BATCH)
    sides = []
    for level in (FAR_LEVEL, 1):
        task = NextToken(source, level)
        spec, initial = _spec(task, n_heads, BATCH)
        tokens, lengths, at = sentences.tokens, sentences.lengths, task.asked(sentences)
        sides.append(ours(spec, initial, task.shown(tokens, lengths, at), task.classes(tokens, lengths, at)))
    few, all_asked = medians(*sides)
    case = f"{who}, a step at level {FAR_LEVEL} against one at level 1, the same sentences, {THREADS} threads"
    return faster(case, few, all_asked, "ms/step", 1.15)


def network(spec: Training) -> nn.Module:
    """Return Hugging Face's network of the same sizes, with the attention that it chooses for speed."""
    import transformers

    model: Any = spec.model
    config = transformers.GPT2Config(
        vocab_size=model.vocabulary,
        n_positions=model.n_positions,
        n_embd=model.full_width,
        n_layer=model.n_layers,
        n_head=model.n_heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
        bos_token_id=None,
        eos_token_id=None,
        attn_implementation="sdpa",
    )
    module: nn.Module = transformers.GPT2LMHeadModel(config)
    return module
