"""The network of a `Transformer` in PyTorch, read from top to bottom: embeddings, layers, attention, output.

Beside the plain course of things there are five savings, all exact; the ratios are of a training step on a CPU, at the
sizes of the pages:

- the last layer computes only what is asked for: at one position, or at given ones (1.05 to 1.2 times as fast);
- of a small vocabulary the first layer is computed once for each pair of token and position (1.03 to 1.16);
- padding passes through attention alone, and no other product (1.03 to 1.24);
- short bidirectional attention has its own products on a CPU, in `pdlib.models.short_attention` (1.15 to 1.25);
- what is drawn token by token keeps its keys and values.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812  everybody's name for it
from torch import Tensor, nn

from pdlib.models.short_attention import Rows, short_attention
from pdlib.specs import require

if TYPE_CHECKING:
    import pdlib.models.transformer

FEW = 0.5  # share of an example's positions up to which the last layer's attention is computed for those asked for alone
SHORT = 64  # positions up to which bidirectional attention on a CPU does without PyTorch's fused kernel


class TransformerModule(nn.Module):
    """The network that a `pdlib.models.transformer.Transformer` describes, its parameters named as there."""

    token: Any
    position: Any
    segment: Any
    embedding_norm: Any
    layers: Any
    final_norm: Any
    transform: Any
    transform_norm: Any
    output: Any

    def __init__(self, spec: pdlib.models.transformer.Transformer, parameters: dict[str, Tensor]) -> None:
        super().__init__()
        self.spec = spec
        for name, value in parameters.items():
            *path, leaf = name.split(".")
            home: nn.Module = self
            for part in path:
                if not hasattr(home, part):
                    home.add_module(part, nn.Module())
                home = getattr(home, part)
            home.register_parameter(leaf, nn.Parameter(value))

    def forward(self, tokens: Tensor, at: int | Tensor | None = None, **how: Any) -> Tensor:
        """Return logits: the output of `embeddings`, whose parameters and errors these are, (..., class)."""
        return self._output(self.embeddings(tokens, at, **how))

    def embeddings(
        self,
        tokens: Tensor,
        at: int | Tensor | None = None,
        *,
        mask: Tensor | None = None,
        real: Tensor | None = None,
        segments: Tensor | None = None,
        attention: list[Tensor] | None = None,
    ) -> Tensor:
        """Return what the last layer hands to the output, (..., width).

        Parameters
        ----------
        tokens : shape (example, position)
            From 0 to the vocabulary's size less 1.
        at
            Where it is wanted. None: at all positions, shape (example, position, width). A position, negative ones from the
            end: (example, width). A boolean tensor (example, position): (selected, width), in reading order.
        mask : shape (example, position), boolean
            Which tokens may be attended to; by default all. In a causal network a query that would see none of them,
            since the beginning is hidden, sees itself, unless it is asked for.
        real : shape (example, position), boolean
            Which tokens are no padding; by default all. Nothing is computed for padding; without `at` what is returned
            there means nothing. Padding must not be visible: `mask` hides it or, in a causal network, it stands at the end.
        segments : shape (example, position)
            0 or 1; by default 0. With `norm="post"` only.
        attention
            A list that receives the attention weights of each layer, (example, head, query, key). Where `at` is a
            position, the last layer's has one query.

        Raises
        ------
        SpecError
            If a sequence is longer than the positions, a token lies outside the vocabulary, a query that is asked for
            would see no key, or there are no segments to tell apart.
        """
        spec = self.spec
        n, p = tokens.shape
        # no message before it is wanted: with one, each length would be compiled anew
        if p > spec.n_positions:
            require(False, f"sequences of {p} tokens", f"at most n_positions = {spec.n_positions}")
        asked = at if isinstance(at, Tensor) else real  # queries that must see a key
        if isinstance(at, int):
            require(-p <= at < p, f"at = {at} in sequences of {p} tokens", f"from {-p} to {p - 1}")
            real = None
            asked = (torch.arange(p, device=tokens.device) == at % p).expand(n, p)
        causal = spec.attends == "causal"
        seen = None if mask is None else visible_keys(mask, causal, asked)
        if causal and mask is not None and attention is None and _hides_what_comes_later(mask, asked):
            seen = None
        rows = Rows(None if real is None else real.flatten().nonzero()[:, 0], n, p)
        layers = list(self.layers.children())
        once = spec.vocabulary < n and segments is None and not (spec.dropout and self.training)
        try:  # on CUDA a wrong token is found by `tokens_of` alone: a check here would wait for the device
            if once and (at is None or len(layers) > 1):
                hidden, projected = self._embedded_once(layers[0], tokens, rows)
            else:
                hidden, projected = rows.of(self._embedded(tokens, segments)), None
        except IndexError:
            check_tokens(tokens, spec.vocabulary)
            raise
        for i, layer in enumerate(layers):
            if i > 0 or projected is None:
                normed = self._normed(layer.attention_norm, hidden) if spec.norm == "pre" else hidden
                projected = None
            if i < spec.n_layers - 1 or at is None:
                projected = projected or self._projected(layer, normed, normed)
                joined = self._attention(projected, rows, rows, seen, attention)
            elif isinstance(at, int):
                hidden = hidden[:, at]
                its = self._seen_at(seen, torch.full((n, 1), at % p, device=tokens.device), p)
                projected = self._projected(layer, normed[:, at], normed)
                joined = self._attention(projected, Rows(None, n, 1), rows, its, attention)
            else:
                wanted = (at.flatten() if rows.places is None else at.flatten()[rows.places]).nonzero()[:, 0]
                slots, position = _slots(at)
                hidden = _taken(hidden, wanted)
                if attention is None and slots.p <= FEW * p:
                    projected = self._projected(layer, _taken(normed, wanted), normed)
                    joined = self._attention(projected, slots, rows, self._seen_at(seen, position, p))
                else:
                    projected = self._projected(layer, normed, normed)
                    joined = _taken(self._attention(projected, rows, rows, seen, attention), wanted)
            hidden = self._after_attention(layer, hidden, joined)
        hidden = self._normed(self.final_norm, hidden) if spec.norm == "pre" else hidden
        return rows.spread(hidden) if at is None else hidden

    def _embedded(self, tokens: Tensor, segments: Tensor | None) -> Tensor:
        """Return the first layer's input, (example, position, width)."""
        post = self.spec.norm == "post"
        require(
            segments is None or post,
            f"segments with norm = {self.spec.norm!r}",
            "norm = 'post', which has an embedding of them",
        )
        hidden = F.embedding(tokens, self.token.weight) + self.position.weight[: tokens.shape[1]]
        if post:
            segment = self.segment.weight
            hidden = hidden + (segment[0] if segments is None else F.embedding(segments, segment))
            hidden = self._normed(self.embedding_norm, hidden)
        return self._dropped(hidden)

    def _embedded_once(
        self, layer: Any, tokens: Tensor, rows: Rows
    ) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """Return the first layer's input and projections, made once for each pair of token and position, and gathered.

        With fewer tokens than examples that is less; 1.1 to 1.2 times as fast for a whole step of small vocabularies.
        """
        p, vocabulary = tokens.shape[1], self.spec.vocabulary
        pairs = torch.arange(vocabulary, device=tokens.device)[:, None].expand(vocabulary, p)
        table = self._embedded(pairs, None)  # (token, position, width)
        normed = self._normed(layer.attention_norm, table) if self.spec.norm == "pre" else table
        index = tokens * p + torch.arange(p, device=tokens.device)
        index = index if rows.places is None else index.flatten()[rows.places]
        of_queries, of_keys = self._projected(layer, normed, normed)
        hidden, of_queries, of_keys = (
            F.embedding(index, made.flatten(0, 1)) for made in (table, of_queries, of_keys)
        )
        return hidden, (of_queries, of_keys)

    # --------------------------------------------------------------- attention

    def _projected(self, layer: Any, asking: Tensor, normed: Tensor) -> tuple[Tensor, Tensor]:
        """Return queries (..., head x size) of the first and keys and values (..., 2 x head x size) of the second."""
        a, weight, bias = self.spec.n_heads * self.spec.head_size, layer.qkv.weight, layer.qkv.bias
        return F.linear(asking, weight[:a], bias[:a]), F.linear(normed, weight[a:], bias[a:])

    def _attention(
        self,
        projected: tuple[Tensor, Tensor],
        queries: Rows,
        keys: Rows,
        seen: Tensor | None,
        attention: list[Tensor] | None = None,
    ) -> Tensor:
        """Return what the heads hand on, (..., joined), laid out as the queries.

        `queries`, `keys`: where the rows of both parts of `projected` stand. `seen`: as of `_attended`.
        """
        spec, (of_queries, of_keys) = self.spec, projected
        h, d = spec.n_heads, spec.head_size
        short = keys.p <= SHORT and spec.attends == "all" and of_keys.device.type == "cpu"
        if short and attention is None and not (spec.dropout and self.training) and of_queries.numel():
            out = short_attention(of_queries, queries, of_keys, keys, h, seen)
            averaged = spec.heads == "averaged"
            return out.view(*out.shape[:-1], h, d).mean(dim=-2) if averaged else out
        q = queries.spread(of_queries).view(queries.n, queries.p, h, d).transpose(1, 2)
        k, v = keys.spread(of_keys).view(keys.n, keys.p, 2, h, d).permute(2, 0, 3, 1, 4)
        joined = queries.of(self._attended(q, k, v, seen, attention))  # (example, query, joined), or rows
        return joined.view(*of_queries.shape[:-1], spec.joined_size)

    def _seen_at(self, seen: Tensor | None, position: Tensor, p: int) -> Tensor | None:
        """Return which of p keys are seen by queries at these positions, (example, slot); parameters as of `_attended`."""
        if self.spec.attends == "all":
            return seen
        if seen is None:
            return torch.arange(p, device=position.device) <= position[:, None, :, None]
        return seen.expand(-1, -1, p, -1).gather(2, position[:, None, :, None].expand(-1, 1, -1, p))

    def _attended(
        self, q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None, attention: list[Tensor] | None = None
    ) -> Tensor:
        """Return what the heads hand on, (example, query, joined), from (example, head, query or key, size).

        `seen`: which keys, that broadcasts to (example, head, query, key). None: all; of several queries of a causal
        network the keys up to their own.
        """
        spec, m = self.spec, q.shape[2]
        causal = spec.attends == "causal" and seen is None and m > 1
        if attention is None:
            dropout = spec.dropout if self.training else 0.0
            out = F.scaled_dot_product_attention(q, k, v, seen, dropout, is_causal=causal)
        else:
            scores = q @ k.transpose(2, 3) / math.sqrt(spec.head_size)
            seen = torch.ones(m, m, dtype=torch.bool, device=q.device).tril() if causal else seen
            weights = (scores if seen is None else scores.masked_fill(~seen, -math.inf)).softmax(dim=3)
            attention.append(weights)
            out = self._dropped(weights) @ v
        joined: Tensor = out.mean(dim=1) if spec.heads == "averaged" else out.transpose(1, 2).flatten(2)
        return joined

    # ------------------------------------------------------------ token by token

    def cache(self, n: int, n_positions: int) -> list[Tensor]:
        """Return room for keys and values, (of keys values, example, head, position, size), one for each layer."""
        spec, like = self.spec, self.token.weight
        return [like.new_empty(2, n, spec.n_heads, n_positions, spec.head_size) for _ in range(spec.n_layers)]

    def following(self, tokens: Tensor, position: int, cache: list[Tensor]) -> Tensor:
        """Return the logits at a position (example, class), of which only the tokens there are new; fills the cache.

        Parameters
        ----------
        tokens : shape (example,)
            At this position.
        position
            How many tokens the cache has seen.
        cache
            What `cache` returned, filled at all positions before.
        """
        spec = self.spec
        hidden = F.embedding(tokens, self.token.weight) + self.position.weight[position]
        if spec.norm == "post":
            hidden = self._normed(self.embedding_norm, hidden + self.segment.weight[0])
        for layer, kept in zip(self.layers.children(), cache, strict=True):
            normed = self._normed(layer.attention_norm, hidden) if spec.norm == "pre" else hidden
            new = F.linear(normed, layer.qkv.weight, layer.qkv.bias).view(len(tokens), 3, spec.n_heads, -1)
            kept[:, :, :, position] = new[:, 1:].transpose(0, 1)
            k, v = kept[:, :, :, : position + 1]
            joined = self._attended(new[:, 0, :, None], k, v, None)[:, 0]
            hidden = self._after_attention(layer, hidden, joined)
        return self._output(self._normed(self.final_norm, hidden) if spec.norm == "pre" else hidden)

    # ------------------------------------------------------------------ parts

    def _normed(self, norm: Any, hidden: Tensor) -> Tensor:
        return F.layer_norm(hidden, norm.weight.shape, norm.weight, norm.bias, self.spec.norm_epsilon)

    def _activated(self, hidden: Tensor) -> Tensor:
        return F.gelu(hidden, approximate="tanh" if self.spec.activation == "gelu_tanh" else "none")

    def _dropped(self, hidden: Tensor) -> Tensor:
        return F.dropout(hidden, self.spec.dropout, self.training) if self.spec.dropout else hidden

    def _after_attention(self, layer: Any, hidden: Tensor, joined: Tensor) -> Tensor:
        """Return a layer's output from its input and from what its heads hand on."""
        pre = self.spec.norm == "pre"
        hidden = hidden + self._dropped(F.linear(joined, layer.joined.weight, layer.joined.bias))
        normed = self._normed(layer.mlp_norm if pre else layer.attention_norm, hidden)
        inner = self._activated(F.linear(normed, layer.mlp_in.weight, layer.mlp_in.bias))
        branch = self._dropped(F.linear(inner, layer.mlp_out.weight, layer.mlp_out.bias))
        return hidden + branch if pre else self._normed(layer.mlp_norm, normed + branch)

    def _output(self, hidden: Tensor) -> Tensor:
        spec = self.spec
        if spec.output == "transformed":
            hidden = F.linear(hidden, self.transform.weight, self.transform.bias)
            hidden = self._normed(self.transform_norm, self._activated(hidden))
        weight = self.token.weight if spec.tied else self.output.weight
        return F.linear(hidden, weight, self.output.bias if spec.output == "transformed" else None)


def check_tokens(tokens: Tensor, vocabulary: int) -> None:
    """Raise `SpecError` if a token lies outside the vocabulary."""
    if not tokens.numel():
        return
    low, high = torch.aminmax(tokens)
    if low < 0 or high >= vocabulary:
        token = int(low if low < 0 else high)
        require(False, f"token {token}", f"from 0 to {vocabulary - 1}, the vocabulary", "Raise vocabulary.")


def visible_keys(mask: Tensor, causal: bool, asked: Tensor | None) -> Tensor:
    """Return which keys the queries see, (example, 1, query, key); one row for all queries if not causal.

    Of a causal network a query that would see no key and is not asked for sees itself: where the beginning is hidden,
    what is computed there is hidden too, and goes nowhere. `asked`: by default all.
    """
    require(
        mask.dtype == torch.bool, f"a mask of type {mask.dtype}", "a boolean one, true where a token is seen"
    )
    p = mask.shape[1]
    seen = mask[:, None, None]
    if causal:
        seen = seen & torch.ones(p, p, dtype=torch.bool, device=mask.device).tril()
    blind = ~seen.any(dim=3)[:, 0]  # (example, query)
    if not bool(blind.any()):
        return seen
    if not causal:
        example = int(blind.nonzero()[0, 0])
        what = f"a mask that hides every key, in example {example}"
        require(False, what, "at least one key for each query", "Leave the example out.")
    wrong = blind if asked is None else blind & asked
    if bool(wrong.any()):
        example, query = wrong.nonzero()[0].tolist()
        what = f"a mask that hides the first {query + 1} tokens, which are all that query {query} sees"
        require(
            False,
            f"{what}, in example {example}",
            "at least one key for a query that is asked for",
            "Put padding after the tokens.",
        )
    return seen | torch.diag_embed(blind)[:, None]


def _hides_what_comes_later(mask: Tensor, asked: Tensor | None) -> bool:
    """Whether a mask hides no more than what comes after all queries asked for, which a causal network never sees."""
    before = mask[:, :1] & (mask if asked is None else mask | ~asked)
    ends = mask[:, 1:] <= mask[:, :-1]
    return bool(before.all() & ends.all())


def _slots(at: Tensor) -> tuple[Rows, Tensor]:
    """Return where the queries asked for stand in (example, slot), and the position of each slot."""
    counts = at.sum(dim=1)
    m = max(1, int(counts.max())) if len(at) else 1
    taken = torch.arange(m, device=at.device) < counts[:, None]
    position = torch.zeros(
        len(at), m, dtype=torch.int64, device=at.device
    )  # an empty slot asks at 0, for nothing
    position[taken] = at.nonzero()[:, 1]
    return Rows(taken.flatten().nonzero()[:, 0], len(at), m), position


def _taken(hidden: Tensor, index: Tensor) -> Tensor:
    """(example, position, size) or (row, size) to (place, size)."""
    return hidden.flatten(0, -2).index_select(0, index)
