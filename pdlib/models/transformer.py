r"""One Transformer for the whole book: causal or bidirectional, pre- or post-norm.

With its defaults it is GPT-2 (Radford et al. 2019), with those of `bert` it is BERT with its masked-word head (Devlin et
al. 2019): the same weights give the same logits (`pdlib.models.huggingface` reads and writes them). Four things are
done once that are commonly done again and again, all exact:

- logits are computed where they are asked for only: at one position, or at given ones; the last layer then
  computes queries, attention rows and MLP for these positions alone;
- with a small vocabulary there are fewer (token, position) pairs than positions in a batch, so the first
  layer's normalization and projections are computed once a pair and gathered;
- of sequences padded to a common length, padding passes through attention alone, and no other product;
- no dropout, no mask and no weights of attention are touched unless asked for.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  everybody's name for it
from numpy.typing import NDArray
from torch import Tensor, nn

from pdlib.specs import Model, Parameters, Sequences, Task, require, whole

# On a CPU plain products beat the fused kernel in training: up to so many positions, and with causal attention and
# small heads at any length, if they are cut into blocks of queries, which leave out most of what comes later.
SHORT, SMALL, QUERIES_AT_ONCE = 64, 32, 32
SCORES_AT_ONCE = {
    "cpu": 1_000_000,
    "cuda": 300_000_000,
}  # attention scores a layer, at evaluation: what caches hold


@dataclass(frozen=True)
class Transformer(Model):
    r"""L layers of attention and MLP over learned token and position embeddings.

    A layer with `norm="pre"` maps :math:`h \mapsto h + A(N(h)) \mapsto h + M(N(h))` and the network ends with a norm;
    with `"post"` it maps :math:`h \mapsto N(h + A(h)) \mapsto N(h + M(h))` and the embeddings are normalized. Head j
    attends by :math:`\mathrm{softmax}(q_j k_j^\top / \sqrt{D}) v_j`.

    Parameters
    ----------
    n_layers, n_heads
        L, H.
    head_size
        D, dimension of a head; free of the width.
    width
        W; 0 stands for H D, or for D where heads are averaged.
    mlp_width
        Hidden units of each MLP; 0 stands for 4 W.
    n_positions
        Longest sequence.
    vocabulary
        Tokens of the input; sign vectors have two, +1 being token 0 and -1 token 1.
    attends
        `"causal"`: to earlier positions and its own; `"all"`: to every position.
    norm
        `"pre"` or `"post"`.
    heads
        `"concatenated"` before the output projection, or `"averaged"` (paper, Figure 10c).
    tied
        Whether the output weights are the token embeddings.
    output
        `"linear"`, without a bias, or `"transformed"`: dense layer, activation and norm before it, and a bias.
    activation
        `"gelu_tanh"`, the approximation that GPT-2 uses, or `"gelu"`.
    norm_epsilon
        Added to the variance in each norm.
    dropout
        Of embeddings, attention weights and both branches of a layer, while training only.
    initial_std
        Weights are drawn from a normal distribution of this standard deviation; with `norm="pre"` that of the
        projections back to the width is divided by :math:`\sqrt{2L}`, as in GPT-2. Biases are 0.

    References
    ----------
    Paper, section 3 and appendix C.2: 2 layers, D = 8.

    Examples
    --------
    >>> model = Transformer(n_layers=2, n_heads=2, head_size=8, n_positions=10)
    >>> parameters = model.initial(n_inputs=10, n_classes=2, seed=0)
    >>> model.logits(parameters, np.ones((3, 10))).shape      # at the last position
    (3, 2)
    >>> module = model.module(parameters)
    >>> module(torch.zeros(3, 10, dtype=torch.long)).shape    # at all positions
    torch.Size([3, 10, 2])
    """

    version: ClassVar[int] = 1
    n_layers: int  # L
    n_heads: int  # H
    head_size: int = 8  # D
    width: int = 0  # W
    mlp_width: int = 0
    n_positions: int = 1024
    vocabulary: int = 2
    attends: Literal["causal", "all"] = "causal"
    norm: Literal["pre", "post"] = "pre"
    heads: Literal["concatenated", "averaged"] = "concatenated"
    tied: bool = False
    output: Literal["linear", "transformed"] = "linear"
    activation: Literal["gelu_tanh", "gelu"] = "gelu_tanh"
    norm_epsilon: float = 1e-5
    dropout: float = 0.0
    initial_std: float = 0.02

    def __post_init__(self) -> None:
        for name in ("width", "mlp_width"):
            value = getattr(self, name)
            require(
                type(value) is int and value >= 0,
                f"{name} = {value!r}",
                "a whole number, 0 for the usual one",
            )
        whole(
            n_layers=self.n_layers,
            n_heads=self.n_heads,
            head_size=self.head_size,
            n_positions=self.n_positions,
            vocabulary=self.vocabulary,
        )
        for name, choices in (
            ("attends", ("causal", "all")),
            ("norm", ("pre", "post")),
            ("heads", ("concatenated", "averaged")),
            ("output", ("linear", "transformed")),
            ("activation", ("gelu_tanh", "gelu")),
            ("tied", (False, True)),
        ):
            value = getattr(self, name)
            require(value in choices, f"{name} = {value!r}", " or ".join(map(repr, choices)))
        for name, low, high in (
            ("norm_epsilon", 0.0, math.inf),
            ("dropout", 0.0, 1.0),
            ("initial_std", 0.0, math.inf),
        ):
            value = getattr(self, name)
            require(
                isinstance(value, (int, float)) and low <= value < high,
                f"{name} = {value!r}",
                f"a number in [{low:g}, {high:g})",
            )
            object.__setattr__(self, name, float(value))

    @property
    def full_width(self) -> int:
        """W: the width, also where it was left to the heads."""
        return self.width or self.head_size * (self.n_heads if self.heads == "concatenated" else 1)

    @property
    def full_mlp_width(self) -> int:
        """Hidden units of each MLP."""
        return self.mlp_width or 4 * self.full_width

    @property
    def joined_size(self) -> int:
        """Dimension of what the heads hand on: H D, or D where they are averaged."""
        return self.head_size * (self.n_heads if self.heads == "concatenated" else 1)

    def check(self, task: Task) -> None:
        """Raise `SpecError` if the task's sequences are longer than the positions, or its tokens too many."""
        require(
            task.vocabulary in (0, self.vocabulary),
            f"a task of {task.vocabulary} tokens",
            f"as many as the network's vocabulary, {self.vocabulary}",
        )
        require(
            task.n_inputs <= self.n_positions,
            f"sequences of {task.n_inputs} tokens",
            f"at most n_positions = {self.n_positions}",
            "Raise n_positions.",
        )

    def shapes(self, n_classes: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of each parameter, in the order of the network.

        Raises
        ------
        SpecError
            If the output is tied and there are not as many classes as tokens.
        """
        require(
            not self.tied or n_classes == self.vocabulary,
            f"{n_classes} classes with a tied output",
            f"as many as the vocabulary, {self.vocabulary}",
        )
        w, m, a = self.full_width, self.full_mlp_width, self.n_heads * self.head_size

        def norm(name: str) -> dict[str, tuple[int, ...]]:
            return {f"{name}.weight": (w,), f"{name}.bias": (w,)}

        def linear(name: str, into: int, out_of: int) -> dict[str, tuple[int, ...]]:
            return {f"{name}.weight": (into, out_of), f"{name}.bias": (into,)}

        found: dict[str, tuple[int, ...]] = {
            "token.weight": (self.vocabulary, w),
            "position.weight": (self.n_positions, w),
        }
        if self.norm == "post":
            found |= {"segment.weight": (2, w)} | norm("embedding_norm")
        for i in range(self.n_layers):
            layer = f"layers.{i}"
            found |= norm(f"{layer}.attention_norm") | linear(f"{layer}.qkv", 3 * a, w)
            found |= linear(f"{layer}.joined", w, self.joined_size) | norm(f"{layer}.mlp_norm")
            found |= linear(f"{layer}.mlp_in", m, w) | linear(f"{layer}.mlp_out", w, m)
        if self.norm == "pre":
            found |= norm("final_norm")
        if self.output == "transformed":
            found |= linear("transform", w, w) | norm("transform_norm")
        if not self.tied:
            found["output.weight"] = (n_classes, w)
        if self.output == "transformed":
            found["output.bias"] = (n_classes,)
        return found

    def initial(self, n_inputs: int, n_classes: int, seed: int) -> Parameters:
        """Return initial parameters, float64, drawn by NumPy."""
        key = hashlib.sha256(f"initial Transformer weights, seed {seed}".encode()).hexdigest()[:32]
        generator = np.random.Generator(np.random.Philox(key=int(key, 16)))
        parameters: Parameters = {}
        for name, shape in self.shapes(n_classes).items():
            if name.endswith("norm.weight"):
                parameters[name] = np.ones(shape)
            elif name.endswith(".bias"):
                parameters[name] = np.zeros(shape)
            else:
                std = self.initial_std
                if self.norm == "pre" and name.endswith(("joined.weight", "mlp_out.weight")):
                    std /= math.sqrt(2 * self.n_layers)
                parameters[name] = generator.normal(0.0, std, shape)
        return parameters

    def check_parameters(self, parameters: Parameters) -> None:
        """Raise `SpecError` if a parameter is missing, unknown or of another shape; names both shapes."""
        expected = self.shapes(len(parameters.get("output.weight", range(self.vocabulary))))
        for name in expected.keys() | parameters.keys():
            got = parameters[name].shape if name in parameters else "nothing"
            require(
                got == expected.get(name),
                f"parameter {name} of shape {got}",
                f"{expected.get(name, 'no such parameter')}, from {self}",
            )

    def module(self, parameters: Parameters) -> TransformerModule:
        """Return the network as a PyTorch module with copies of these parameters.

        Raises
        ------
        SpecError
            If a parameter is missing, unknown or of another shape; names both shapes.
        """
        self.check_parameters(parameters)
        names = self.shapes(len(parameters.get("output.weight", range(self.vocabulary))))
        return TransformerModule(self, {name: torch.tensor(parameters[name]) for name in names})

    def logits(self, parameters: Parameters, inputs: Any, device: str = "cpu") -> NDArray[Any]:
        """Return the logits at the last position, (example, class), or where `Sequences` ask: (target, class).

        Parameters
        ----------
        parameters
            As `shapes` describes.
        inputs : shape (example, position)
            Tokens; signs as floating-point numbers, of which +1 is token 0 and -1 token 1; or `Sequences`.
        device
            Where PyTorch computes.
        """
        module = self.module(parameters).to(device).eval()
        n_positions = (inputs.tokens if isinstance(inputs, Sequences) else inputs).shape[1]
        at_once = SCORES_AT_ONCE.get(torch.device(device).type, SCORES_AT_ONCE["cuda"])
        n = max(1, at_once // (self.n_heads * n_positions**2))
        parts = []
        with torch.inference_mode():
            for i in range(0, len(inputs), n):
                part = inputs[i : i + n]
                if isinstance(part, Sequences):
                    tokens, how = sequence_tensors(part, self.vocabulary, device)
                    parts.append(module(tokens, **how).cpu().numpy())
                else:
                    parts.append(module(tokens_of(part, self.vocabulary).to(device), at=-1).cpu().numpy())
        return np.concatenate(parts)

    def multiply_adds(self, n_inputs: int, n_classes: int) -> float:
        """Products with weights at every position, plus those of attention."""
        w, a = self.full_width, self.n_heads * self.head_size
        layer = w * 3 * a + w * self.joined_size + 2 * w * self.full_mlp_width + 2 * n_inputs * a
        return float(n_inputs * self.n_layers * layer + w * n_classes)


def bert(n_layers: int, n_heads: int, head_size: int = 8, **changes: Any) -> Transformer:
    """Return a Transformer with BERT's choices: bidirectional, post-norm, tied, its output transformed.

    >>> bert(4, 8, vocabulary=7, n_positions=32).norm
    'post'
    """
    choices: dict[str, Any] = {
        "attends": "all",
        "norm": "post",
        "tied": True,
        "output": "transformed",
        "activation": "gelu",
        "norm_epsilon": 1e-12,
    }
    return Transformer(n_layers, n_heads, head_size, **(choices | changes))


def tokens_of(inputs: NDArray[Any], vocabulary: int = 0) -> Tensor:
    """Return token numbers (example, position), int64; floating-point inputs are signs, -1 being token 1.

    With a vocabulary, a token outside it is a `SpecError`; so is a floating-point input that is no sign.

    >>> tokens_of(np.array([[1.0, -1.0]])).tolist()
    [[0, 1]]
    """
    if np.issubdtype(inputs.dtype, np.floating):
        signs = np.abs(inputs) == 1
        if not signs.all():
            require(
                False,
                f"floating-point input {inputs[~signs][0]}",
                "a sign, -1.0 or 1.0",
                "Give tokens as integers.",
            )
        tokens = torch.from_numpy(inputs < 0).long()
    else:
        tokens = torch.from_numpy(inputs.astype(np.int64))
    if vocabulary:
        _check_tokens(tokens, vocabulary)
    return tokens


def sequence_tensors(
    block: Sequences, vocabulary: int, device: Any = "cpu"
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return tokens, and `at`, `mask` and `real` for the network; without the last two if all positions are so.

    Raises
    ------
    SpecError
        If a token lies outside the vocabulary.
    """
    real = np.arange(block.tokens.shape[1]) < block.lengths[:, None]
    given = {"at": block.at} | {
        name: value for name, value in (("mask", block.visible), ("real", real)) if not value.all()
    }
    tensors = {name: torch.from_numpy(np.ascontiguousarray(v)).to(device) for name, v in given.items()}
    return tokens_of(block.tokens, vocabulary).to(device), tensors


class _Packed:
    """Which positions of a padded batch are real, and the way to and from rows of these alone."""

    def __init__(self, real: Tensor) -> None:
        self.n, self.p = real.shape
        self.index = real.reshape(-1).nonzero()[:, 0]  # of the real positions, in reading order

    def rows(self, padded: Tensor) -> Tensor:
        """(example, position, ...) to (row, ...)."""
        return padded.reshape(self.n * self.p, *padded.shape[2:]).index_select(0, self.index)

    def padded(self, rows: Tensor) -> Tensor:
        """(row, size) to (example, position, size), 0 elsewhere."""
        zeros = rows.new_zeros(self.n * self.p, rows.shape[1])
        return zeros.index_copy(0, self.index, rows).view(self.n, self.p, -1)


class TransformerModule(nn.Module):
    """The network of a `Transformer`, its parameters named as there."""

    token: Any
    position: Any
    segment: Any
    embedding_norm: Any
    layers: Any
    final_norm: Any
    transform: Any
    transform_norm: Any
    output: Any

    def __init__(self, spec: Transformer, parameters: dict[str, Tensor]) -> None:
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

    def forward(
        self,
        tokens: Tensor,
        at: int | Tensor | None = None,
        *,
        mask: Tensor | None = None,
        real: Tensor | None = None,
        segments: Tensor | None = None,
        attention: list[Tensor] | None = None,
    ) -> Tensor:
        """Return logits.

        Parameters
        ----------
        tokens : shape (example, position)
            From 0 to the vocabulary's size less 1.
        at
            Where logits are wanted. None: at all positions, shape (example, position, class). A position, negative
            ones from the end: (example, class). A boolean tensor (example, position): (selected, class), in reading
            order.
        mask : shape (example, position), boolean
            Which tokens may be attended to; by default all.
        real : shape (example, position), boolean
            Which tokens are no padding; by default all. Nothing is computed for padding; without `at` the logits
            there mean nothing. Padding must not be visible: `mask` hides it or, in a causal network, it stands at the end.
        segments : shape (example, position)
            0 or 1; by default 0. With `norm="post"` only.
        attention
            A list that receives the attention weights of each layer, (example, head, query, key). Where `at` is a
            position, the last layer's has one query.

        Raises
        ------
        SpecError
            If a sequence is longer than the positions, a token lies outside the vocabulary, a query would see no
            key at all, or there are no segments to tell apart.
        """
        spec = self.spec
        hidden = self.embeddings(tokens, at, mask=mask, real=real, segments=segments, attention=attention)
        if spec.output == "transformed":
            transform = self.transform
            hidden = F.linear(hidden, transform.weight, transform.bias)
            hidden = self._normed(self.transform_norm, self._activated(hidden))
        weight = self.token.weight if spec.tied else self.output.weight
        return F.linear(hidden, weight, self.output.bias if spec.output == "transformed" else None)

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
        """Return what the last layer hands to the output, (..., width); parameters and errors as of `forward`."""
        spec = self.spec
        p = tokens.shape[1]
        require(
            p <= spec.n_positions, f"sequences of {p} tokens", f"at most n_positions = {spec.n_positions}"
        )
        if isinstance(at, int):
            require(-p <= at < p, f"at = {at} in sequences of {p} tokens", f"from {-p} to {p - 1}")
        require(
            segments is None or spec.norm == "post",
            f"segments with norm = {spec.norm!r}",
            "norm = 'post', which has an embedding of them",
        )
        if mask is not None:
            _check_mask(mask, spec.attends == "causal")
        packed = None if real is None or isinstance(at, int) else _Packed(real)
        last = spec.n_layers - 1
        rows = None
        try:  # on CUDA a wrong token is found by `tokens_of` alone: a check here would wait for the device
            whole = last > 0 or not isinstance(at, int)
            hidden, projected = self._embedded(tokens, segments, packed, whole=whole)
        except IndexError:
            _check_tokens(tokens, spec.vocabulary)
            raise
        for i in range(spec.n_layers):
            layer = getattr(self.layers, str(i))
            if i == last and isinstance(at, int):
                rows = at % p
            given = projected if i == 0 else None
            hidden = self._layer(
                layer, hidden, given, rows, mask, packed, attention, at if i == last else None
            )
        hidden = self._normed(self.final_norm, hidden) if spec.norm == "pre" else hidden
        return packed.padded(hidden) if packed is not None and at is None else hidden

    # ------------------------------------------------------------------ parts

    def _normed(self, norm: Any, hidden: Tensor) -> Tensor:
        return F.layer_norm(hidden, norm.weight.shape, norm.weight, norm.bias, self.spec.norm_epsilon)

    def _activated(self, hidden: Tensor) -> Tensor:
        return F.gelu(hidden, approximate="tanh" if self.spec.activation == "gelu_tanh" else "none")

    def _dropped(self, hidden: Tensor) -> Tensor:
        return F.dropout(hidden, self.spec.dropout, self.training) if self.spec.dropout else hidden

    def _embedded(
        self, tokens: Tensor, segments: Tensor | None, packed: _Packed | None, *, whole: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return the first layer's input and, if cheaper made a (token, position) pair, its projections.

        `whole`: whether the first layer needs them, at all positions.
        """
        spec = self.spec
        n, p = tokens.shape
        position = self.position.weight[:p]
        shared = whole and spec.vocabulary < n and segments is None and not (spec.dropout and self.training)
        if shared:
            pairs = self.token.weight[:, None] + position  # (token, position, width)
            layer = getattr(self.layers, "0")
            if spec.norm == "post":
                pairs = normed = self._normed(self.embedding_norm, pairs + self.segment.weight[0])
            else:
                normed = self._normed(layer.attention_norm, pairs)
            projections = F.linear(normed, layer.qkv.weight, layer.qkv.bias)
            both = torch.cat((pairs, projections), dim=2)
            index = tokens * p + torch.arange(p, device=tokens.device)
            index = index if packed is None else packed.rows(index)
            found = F.embedding(index, both.view(spec.vocabulary * p, -1))
            hidden, projected = torch.split(found, [spec.full_width, projections.shape[2]], dim=-1)
            return hidden, projected
        hidden = F.embedding(tokens, self.token.weight) + position
        if spec.norm == "post":
            segment = self.segment.weight
            hidden = hidden + (segment[0] if segments is None else F.embedding(segments, segment))
            hidden = self._normed(self.embedding_norm, hidden)
        hidden = hidden if packed is None else packed.rows(hidden)
        return self._dropped(hidden), None

    def _layer(
        self,
        layer: Any,
        hidden: Tensor,
        projected: Tensor | None,
        row: int | None,
        mask: Tensor | None,
        packed: _Packed | None,
        attention: list[Tensor] | None,
        at: int | Tensor | None,
    ) -> Tensor:
        """Return a layer's output (example, position, width) or, packed, (row, width), or where it is asked for."""
        pre = self.spec.norm == "pre"
        normed = None
        if projected is None:
            normed = self._normed(layer.attention_norm, hidden) if pre else hidden
        if row is None:
            joined = self._attended(layer, normed, projected, mask, packed, attention)
            if isinstance(at, Tensor):
                wanted = at if packed is None else packed.rows(at)
                hidden, joined = hidden[wanted], joined[wanted]
        else:
            assert normed is not None
            joined = self._attended_at(layer, normed, row, mask, attention)
            hidden = hidden[:, row]
        branch = self._dropped(F.linear(joined, layer.joined.weight, layer.joined.bias))
        hidden = hidden + branch
        normed = self._normed(layer.mlp_norm if pre else layer.attention_norm, hidden)
        inner = self._activated(F.linear(normed, layer.mlp_in.weight, layer.mlp_in.bias))
        branch = self._dropped(F.linear(inner, layer.mlp_out.weight, layer.mlp_out.bias))
        return hidden + branch if pre else self._normed(layer.mlp_norm, normed + branch)

    def _attended(
        self,
        layer: Any,
        normed: Tensor | None,
        projected: Tensor | None,
        mask: Tensor | None,
        packed: _Packed | None,
        attention: list[Tensor] | None,
    ) -> Tensor:
        """Return what the heads hand on, (example, position, joined) or, packed, (row, joined)."""
        spec = self.spec
        h, d = spec.n_heads, spec.head_size
        if projected is None:
            assert normed is not None
            projected = F.linear(normed, layer.qkv.weight, layer.qkv.bias)
        if packed is not None:
            projected = packed.padded(projected)
        n, p, _ = projected.shape
        # (of q k v, example, head, position, size)
        split: Tensor = projected.view(n, p, 3, h, d).permute(2, 0, 3, 1, 4)
        causal = spec.attends == "causal"
        blockwise = not split.is_cuda and (p <= SHORT or (causal and d <= SMALL))
        if attention is not None or blockwise:
            q, k, v = split.reshape(3, n * h, p, d).unbind()
            out = self._plain_attention(q, k, v, self._allowed(None, p, mask, q), attention)
        else:
            q, k, v = split
            whole = causal and mask is None
            allowed = None if whole else self._allowed(None, p, mask, q)
            dropout = spec.dropout if self.training else 0.0
            out = F.scaled_dot_product_attention(q, k, v, allowed, dropout, is_causal=whole)
        joined: Tensor = out.mean(dim=1) if spec.heads == "averaged" else out.transpose(1, 2).flatten(2)
        return joined if packed is None else packed.rows(joined)

    def _attended_at(
        self, layer: Any, normed: Tensor, row: int, mask: Tensor | None, attention: list[Tensor] | None
    ) -> Tensor:
        r"""Return what the heads hand on at one position, (example, joined), without keys and values.

        With one query a head, products with its keys are :math:`q^\top (W_K x_j + b_K) = (W_K^\top q)^\top x_j` up to what
        the softmax ignores, and its value is :math:`W_V \sum_j a_j x_j + b_V \sum_j a_j`: what is projected is a vector
        a head, not one a position.
        """
        spec = self.spec
        h, d, (n, p, w) = spec.n_heads, spec.head_size, normed.shape
        (wq, wk, wv), (bq, _, bv) = layer.qkv.weight.split(h * d), layer.qkv.bias.split(h * d)
        query = F.linear(normed[:, row], wq, bq) / math.sqrt(d)
        into = torch.bmm(query.view(n, h, d).transpose(0, 1), wk.view(h, d, w)).transpose(0, 1)
        scores = torch.bmm(into, normed.transpose(1, 2))  # (example, head, position)
        allowed = self._allowed(row, p, mask, scores)
        weights = (scores if allowed is None else scores + allowed.view(-1, 1, p)).softmax(dim=2)
        if attention is not None:
            attention.append(weights[:, :, None])
        weights = self._dropped(weights)
        seen = torch.bmm(weights, normed)  # (example, head, width)
        out: Tensor = torch.bmm(seen.transpose(0, 1), wv.view(h, d, w).transpose(1, 2)).transpose(0, 1)
        drops = spec.dropout and self.training  # otherwise the weights sum to 1
        out = out + (bv.view(h, d) * weights.sum(dim=2, keepdim=True) if drops else bv.view(h, d))
        return out.mean(dim=1) if spec.heads == "averaged" else out.reshape(n, h * d)

    def _plain_attention(
        self, q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, attention: list[Tensor] | None
    ) -> Tensor:
        """Return (example, head, query, size) from q, k, v of shape (example x head, position, size).

        With causal attention a block of queries is multiplied with the keys up to its own end alone.
        """
        h = self.spec.n_heads
        b, p, d = q.shape
        cut = self.spec.attends == "causal" and attention is None
        size = -(-p // -(-p // QUERIES_AT_ONCE)) if cut else p  # blocks of nearly the same size
        keys, parts = k.transpose(1, 2), []
        for start in range(0, p, size):
            stop = min(start + size, p)
            seen = stop if cut else p
            queries = q[:, start:stop]
            if allowed is None:
                scores = torch.bmm(queries / math.sqrt(d), keys)
            else:
                added = allowed[..., :seen]
                added = added[..., start:stop, :] if added.shape[-2] > 1 else added
                if added.ndim == 4:  # one for each example
                    added = added.expand(-1, h, -1, -1).reshape(b, -1, seen)
                scores = torch.baddbmm(added, queries, keys[:, :, :seen], alpha=1 / math.sqrt(d))
            weights = scores.softmax(dim=2)
            if attention is not None:
                attention.append(weights.view(-1, h, p, p))
            parts.append(torch.bmm(self._dropped(weights), v[:, :seen]))
        out = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        return out.view(-1, h, p, d)

    def _allowed(self, row: int | None, p: int, mask: Tensor | None, like: Tensor) -> Tensor | None:
        """Return 0 for keys that a query sees and minus infinity for others, or None if it sees all of them."""
        allowed = None
        if self.spec.attends == "causal":
            if row is None:
                allowed = like.new_full((p, p), -math.inf).triu_(1)
            elif row < p - 1:
                allowed = like.new_zeros(1, p).masked_fill_(
                    torch.arange(p, device=like.device) > row, -math.inf
                )
        if mask is not None:
            keys = like.new_zeros(mask.shape).masked_fill_(~mask, -math.inf)[:, None, None]
            allowed = keys if allowed is None else allowed + keys
        return allowed


def _check_tokens(tokens: Tensor, vocabulary: int) -> None:
    if not tokens.numel():
        return
    low, high = torch.aminmax(tokens)
    if low < 0 or high >= vocabulary:
        token = int(low if low < 0 else high)
        require(False, f"token {token}", f"from 0 to {vocabulary - 1}, the vocabulary", "Raise vocabulary.")


def _check_mask(mask: Tensor, causal: bool) -> None:
    require(
        mask.dtype == torch.bool, f"a mask of type {mask.dtype}", "a boolean one, true where a token is seen"
    )
    blind = ~mask[:, 0] if causal else ~mask.any(dim=1)
    if bool(blind.any()):
        example = int(blind.nonzero()[0, 0])
        what = "the first token, so that the first query sees no key" if causal else "every key"
        remedy = "Put padding after the tokens." if causal else "Leave the example out."
        require(False, f"a mask that hides {what}, in example {example}", "at least one key a query", remedy)
