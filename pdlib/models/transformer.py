r"""One Transformer for the whole book: causal or bidirectional, pre- or post-norm.

With the choices of `gpt2` it is GPT-2 (Radford et al. 2019), with those of `bert` BERT with its masked-word head (Devlin
et al. 2019): the same weights give the same logits (`pdlib.models.huggingface` reads and writes them). Six things are
done once that are commonly done again and again, all exact:

- logits are computed where they are asked for only: at one position, or at given ones; the last layer then
  computes queries, attention rows and MLP for these positions alone;
- with a small vocabulary there are fewer (token, position) pairs than positions in a batch, so the first
  layer's normalization and projections are computed once a pair and gathered;
- of sequences padded to a common length, padding passes through attention alone, and no other product;
- no dropout, no mask and no weights of attention are touched unless asked for, and no mask that only hides what comes
  after all that is asked for in a causal network;
- short bidirectional attention goes from rows of positions to a matrix a head, and back, by one copy each way;
- what is drawn token by token keeps its keys and values.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  everybody's name for it
from numba import njit
from numpy.typing import NDArray
from torch import Tensor, nn

from pdlib.specs import Model, Parameters, Sequences, Task, later, require, whole

# On a CPU plain products beat the fused kernel in training: up to so many positions, and with causal attention and
# small heads at any length, if they are cut into blocks of queries, which leave out most of what comes later.
SHORT, SMALL, QUERIES_AT_ONCE = 64, 32, 32
# Attention is computed for the queries asked for alone up to this share of an example's positions: a smaller one with causal
# attention, whose blocks of queries leave out part of what these would multiply. Up to so many queries for each unit of a
# head's size it does without keys and values. Measured on a CPU, widths 16 to 256, 25 to 256 positions.
SHARE = {"causal": 0.4, "all": 0.5}
KEYLESS = 0.5
# Attention scores a layer at evaluation, and numbers in the caches of samples that are drawn: what processors' caches hold
SCORES_AT_ONCE = {"cpu": 1_000_000, "cuda": 300_000_000}
CACHED_AT_ONCE = {"cpu": 8_000_000, "cuda": 500_000_000}
WAVES = 2.5, 0.1  # angular frequencies of the first and the last wave of sinusoidal positions
STILL_ON = 0.75  # samples that have ended leave once no more than this share goes on


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
    initial_bias
        Of a transformed output: `"zero"`, or `"log_frequency"`, the logarithm of how frequent each class is, so that
        training starts at the loss of a predictor that knows frequencies alone. A class that is never asked for counts
        as the rarest of the others.
    initial_positions
        `"normal"`, as other weights, or `"sinusoidal"`: slow and fast waves, of which neighbors are easily told,

        .. math:: p_{t, 2i} = \sqrt{2} \sigma \sin \omega_i t, \quad p_{t, 2i+1} = \sqrt{2} \sigma \cos \omega_i t, \quad
                  \omega_i = 2.5 \, (0.1 / 2.5)^{i / (W/2 - 1)}, \quad i = 0, \dots, W/2 - 1

        whose root mean square is :math:`\sigma`, `initial_std`, at every position t from 0. They are learned like others.

    References
    ----------
    Paper, section 3 and appendix C.2: 2 layers, D = 8. Waves: Vaswani et al. 2017, with frequencies of their own.

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
    initial_bias: Literal["zero", "log_frequency"] = later("zero")
    initial_positions: Literal["normal", "sinusoidal"] = later("normal")

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
            ("initial_bias", ("zero", "log_frequency")),
            ("initial_positions", ("normal", "sinusoidal")),
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
        require(
            self.initial_bias == "zero" or self.output == "transformed",
            f"initial_bias = {self.initial_bias!r} with output = {self.output!r}",
            "output = 'transformed', which has a bias",
        )
        require(
            self.initial_positions == "normal" or self.full_width % 2 == 0,
            f"initial_positions = {self.initial_positions!r} with a width of {self.full_width}",
            "an even width, a sine and a cosine for each wave",
        )

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
        """Raise `SpecError` if the task's sequences are too long, its tokens too many, or its answers would be seen."""
        require(
            self.attends == "causal" or not task.causal,
            f"attends = {self.attends!r} on a task whose input shows the answer further on",
            "'causal'",
        )
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

    def initial(
        self, n_inputs: int, n_classes: int, seed: int, frequencies: NDArray[np.float64] | None = None
    ) -> Parameters:
        """Return initial parameters, float64, drawn by NumPy.

        Parameters
        ----------
        n_inputs, n_classes, seed
            Of the task and the run.
        frequencies : shape (class,)
            How frequent each class is, for `initial_bias="log_frequency"` alone; `pdlib.training.untrained` asks the
            task for them.
        """
        require(
            (frequencies is not None) == (self.initial_bias == "log_frequency"),
            f"initial parameters {'without' if frequencies is None else 'with'} frequencies, initial_bias = "
            f"{self.initial_bias!r}",
            "frequencies with 'log_frequency', and none with 'zero'",
            "pdlib.training.untrained(spec) asks the task for them.",
        )
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
        # drawn nevertheless, so that all else is that of the same seed
        if self.initial_positions == "sinusoidal":
            parameters["position.weight"] = _waves(self.n_positions, self.full_width, self.initial_std)
        if frequencies is not None:
            parameters["output.bias"] = _log_frequencies(frequencies, n_classes)
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

    def generate(
        self,
        parameters: Parameters,
        n: int,
        *,
        beginning: int,
        end: int,
        max_length: int,
        seed: int,
        device: str = "cpu",
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        r"""Return sequences drawn token by token from what the network says of the next one.

        .. math:: x_t = \min \{ x : u_t < \sum_{y \le x} p(y \mid \text{beginning}, x_0, \dots, x_{t-1}) \}

        with :math:`u_t` uniform on [0, 1). Keys and values of what has been drawn are kept, so that a token costs one
        position. A sample is a function of the seed and its own number alone, and one of a smaller `max_length` is its
        beginning: everything is computed in float64, so that no sum's order decides between two tokens.

        Parameters
        ----------
        parameters
            As `shapes` describes, with as many classes as tokens.
        n
            Number of samples.
        beginning
            The token before the first one. Drawn later it is a token like others.
        end
            The token that ends a sample.
        max_length
            A sample that has not ended after so many tokens is cut.
        seed
            Of the uniform numbers.
        device
            Where PyTorch computes.

        Returns
        -------
        tokens : shape (n, max_length), int64
            Without `beginning` and `end`; 0 behind the last token.
        lengths : shape (n,), int64
            From 0 to `max_length`.
        ended : shape (n,), bool
            Whether `end` was drawn behind the last token.

        Raises
        ------
        SpecError
            If the network is not causal, there are not as many classes as tokens, a token lies outside the vocabulary, or
            `beginning` and `max_length` tokens are more than the positions.

        Examples
        --------
        >>> model = gpt2(n_layers=1, n_heads=2, vocabulary=4, n_positions=6)
        >>> parameters = model.initial(n_inputs=6, n_classes=4, seed=0)
        >>> tokens, lengths, ended = model.generate(parameters, 3, beginning=2, end=3, max_length=5, seed=0)
        >>> tokens.shape, lengths.shape, ended.dtype
        ((3, 5), (3,), dtype('bool'))
        """
        whole(n=n, max_length=max_length)
        require(
            self.attends == "causal",
            f"attends = {self.attends!r}",
            "'causal' to draw one token after the other",
        )
        require(
            max_length < self.n_positions,
            f"max_length = {max_length}, {max_length + 1} with the beginning",
            f"at most n_positions = {self.n_positions}",
            "Lower it, or raise n_positions.",
        )
        for name, token in (("beginning", beginning), ("end", end)):
            require(
                type(token) is int and 0 <= token < self.vocabulary,
                f"{name} = {token!r}",
                f"a token from 0 to {self.vocabulary - 1}",
            )
        require(type(seed) is int and seed >= 0, f"seed = {seed!r}", "a whole number of at least 0")
        n_classes = len(parameters.get("output.weight", range(self.vocabulary)))
        require(
            n_classes == self.vocabulary,
            f"{n_classes} classes",
            f"as many as the vocabulary, {self.vocabulary}, to draw tokens",
        )
        module = self.module(parameters).to(device, torch.float64).eval()
        key = _key(seed)
        numbers = 2 * self.n_layers * (max_length + 1) * self.n_heads * self.head_size  # kept for a sample
        at_once = max(1, CACHED_AT_ONCE.get(torch.device(device).type, CACHED_AT_ONCE["cuda"]) // numbers)
        tokens, lengths = np.zeros((n, max_length), np.int64), np.full(n, max_length, np.int64)
        ended = np.zeros(n, bool)
        with torch.inference_mode():
            for start in range(0, n, at_once):
                stop = min(start + at_once, n)
                rows = np.arange(start, stop)  # samples in the computation
                drawn = np.full(len(rows), beginning)
                cache = module.cache(len(rows), max_length + 1)
                for t in range(max_length + 1):
                    logits = module.following(torch.from_numpy(drawn).to(device), t, cache)
                    u = _uniform(key, t, start, stop)[rows - start]
                    drawn = _drawn(logits.softmax(dim=1).cpu().numpy(), u)
                    now = (drawn == end) & ~ended[rows]
                    lengths[rows[now]], ended[rows[now]] = t, True
                    on = ~ended[rows]
                    if not on.any() or t == max_length:
                        break
                    tokens[rows[on], t] = drawn[on]
                    if on.sum() <= STILL_ON * len(rows):
                        rows, drawn = rows[on], drawn[on]
                        module.keep(cache, torch.from_numpy(np.flatnonzero(on)).to(device))
        return tokens, lengths, ended

    def multiply_adds(self, n_inputs: int, n_classes: int) -> float:
        """Products with weights at every position, plus those of attention."""
        w, a = self.full_width, self.n_heads * self.head_size
        layer = w * 3 * a + w * self.joined_size + 2 * w * self.full_mlp_width + 2 * n_inputs * a
        return float(n_inputs * self.n_layers * layer + w * n_classes)


def gpt2(n_layers: int, n_heads: int, head_size: int = 8, **changes: Any) -> Transformer:
    """Return a Transformer with GPT-2's choices: causal, pre-norm, its output linear and tied to the embeddings.

    >>> gpt2(4, 8, vocabulary=5, n_positions=32).tied
    True
    """
    choices: dict[str, Any] = {
        "attends": "causal",
        "norm": "pre",
        "tied": True,
        "output": "linear",
        "activation": "gelu_tanh",
        "norm_epsilon": 1e-5,
    }
    return Transformer(n_layers, n_heads, head_size, **(choices | changes))


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


def _waves(n_positions: int, width: int, std: float) -> NDArray[np.float64]:
    """Return sines and cosines in turn, shape (position, width), of this root mean square."""
    angles = np.arange(n_positions)[:, None] * np.geomspace(*WAVES, width // 2)
    both = np.stack([np.sin(angles), np.cos(angles)], axis=2)
    return np.asarray(math.sqrt(2) * std * both.reshape(n_positions, width))


def _log_frequencies(frequencies: NDArray[np.float64], n_classes: int) -> NDArray[np.float64]:
    """Return the logarithms, shape (class,); of a class that never occurs that of the rarest one that does."""
    require(
        frequencies.shape == (n_classes,)
        and bool((np.isfinite(frequencies) & (frequencies >= 0)).all())
        and frequencies.max() > 0,
        f"frequencies of shape {frequencies.shape}",
        f"one of at least 0 for each of {n_classes} classes, not all 0",
    )
    return np.asarray(np.log(np.maximum(frequencies, frequencies[frequencies > 0].min())))


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


def _key(seed: int) -> int:
    """Return the key of the uniform numbers that tokens are drawn by."""
    return int(hashlib.sha256(f"tokens drawn, seed {seed}".encode()).hexdigest()[:32], 16)


def _uniform(key: int, step: int, start: int, stop: int) -> NDArray[np.float64]:
    """Return the numbers in [0, 1) of the samples start ... stop - 1 at a step, shape (sample,)."""
    generator = np.random.Philox(key=key, counter=(step << 64) + start // 4)  # four words a count
    words = generator.random_raw(stop - start // 4 * 4)[start % 4 :]
    return np.asarray((words >> np.uint64(11)) * 2.0**-53)


def _drawn(probabilities: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return for each row the class whose part of [0, 1) holds the number, shape (example,)."""
    below = probabilities.cumsum(axis=1)
    return np.asarray((below[:, :-1] <= u[:, None]).sum(axis=1))


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


def _numbers(hidden: Tensor, like: Tensor) -> Tensor:
    """Return minus infinity where something is hidden and 0 elsewhere."""
    return like.new_zeros(hidden.shape).masked_fill_(hidden, -math.inf)


class _Asked:
    """The queries that are asked for, and the way to and from a layout of equally many an example, (example, slot)."""

    def __init__(self, at: Tensor, packed: _Packed | None) -> None:
        self.n, self.p = at.shape
        index = at.reshape(-1).nonzero()[:, 0]  # in reading order
        self.position, self.owner = index % self.p, index // self.p  # of each query
        counts = at.sum(dim=1)
        self.m = max(1, int(counts.max())) if self.n else 1  # slots of an example
        place = torch.arange(len(index), device=at.device) - (counts.cumsum(0) - counts)[self.owner]
        self.slot = self.owner * self.m + place
        self.index = index if packed is None else packed.rows(at).nonzero()[:, 0]

    def rows(self, hidden: Tensor) -> Tensor:
        """(example, position, size) or, packed, (row, size) to (query, size)."""
        return hidden.reshape(-1, hidden.shape[-1]).index_select(0, self.index)

    def slots(self, rows: Tensor) -> Tensor:
        """(query, size) to (example, slot, size), 0 elsewhere."""
        zeros = rows.new_zeros(self.n * self.m, rows.shape[1])
        return zeros.index_copy(0, self.slot, rows).view(self.n, self.m, rows.shape[1])

    def of_slots(self, slots: Tensor) -> Tensor:
        """(example, slot, size) to (query, size)."""
        return slots.reshape(self.n * self.m, slots.shape[2]).index_select(0, self.slot)

    def allowed(self, mask: Tensor | None, causal: bool, like: Tensor) -> Tensor | None:
        """Return 0 for keys that a query sees and minus infinity for others, (example, slot, 1, key), or None."""
        hidden = torch.zeros(self.n * self.m, self.p, dtype=torch.bool, device=like.device)
        if causal:
            later = torch.arange(self.p, device=like.device) > self.position[:, None]
            hidden[self.slot] = later if mask is None else later | ~mask[self.owner]
        elif mask is not None:
            hidden[self.slot] = ~mask[self.owner]
        else:
            return None
        return _numbers(hidden, like).view(self.n, self.m, 1, self.p)


class _AskedOnce(_Asked):
    """The queries at one position: a slot an example, and nothing to look up."""

    def __init__(self, n: int, p: int, row: int) -> None:
        self.n, self.p, self.m, self.row = n, p, 1, row

    def rows(self, hidden: Tensor) -> Tensor:
        """(example, position, size) to (example, size)."""
        return hidden[:, self.row]

    def slots(self, rows: Tensor) -> Tensor:
        """(example, size) to (example, 1, size)."""
        return rows[:, None]

    def of_slots(self, slots: Tensor) -> Tensor:
        """(example, 1, size) to (example, size)."""
        return slots.squeeze(1)

    def allowed(self, mask: Tensor | None, causal: bool, like: Tensor) -> Tensor | None:
        """Return 0 for keys that the query sees and minus infinity for others, (1 or example, 1, 1, key), or None."""
        allowed = None
        if causal and self.row < self.p - 1:
            allowed = _numbers(torch.arange(self.p, device=like.device)[None, None, None] > self.row, like)
        if mask is not None:
            keys = _numbers(~mask, like)[:, None, None]
            allowed = keys if allowed is None else allowed + keys
        return allowed


@njit(cache=True, nogil=True)
def _rows_to_columns(rows: NDArray[Any], index: NDArray[np.int64], columns: NDArray[Any]) -> None:
    """Write rows (row, part x feature) as columns of their examples, (part, example, feature, place)."""
    parts, _, features, places = columns.shape
    for row in range(len(index)):
        example, place = index[row] // places, index[row] % places
        for part in range(parts):
            for feature in range(features):
                columns[part, example, feature, place] = rows[row, part * features + feature]


@njit(cache=True, nogil=True)
def _columns_to_rows(columns: NDArray[Any], index: NDArray[np.int64], rows: NDArray[Any]) -> None:
    """Write columns of examples (part, example, feature, place) as rows, (row, part x feature)."""
    parts, _, features, places = columns.shape
    for row in range(len(index)):
        example, place = index[row] // places, index[row] % places
        for part in range(parts):
            for feature in range(features):
                rows[row, part * features + feature] = columns[part, example, feature, place]


class _Columns:
    """The way from rows, each with vectors of all heads, to columns of a matrix a head, and back.

    Matrices are (size, place) since products that have few columns are slow on a CPU, and heads are small. Places without a
    row hold zeros: as a key they must be hidden, and of what they find as a query nothing goes back.
    """

    def __init__(self, index: Tensor, n: int, places: int, size: int) -> None:
        """`index`: of each row its place in (example, place). `size`: of a head."""
        self._index, self._n, self._places, self._size = index.numpy(), n, places, size

    def split(self, rows: Tensor, parts: int) -> Tensor:
        """(row, part x head x size) to (part, example x head, size, place)."""
        columns = rows.new_zeros(parts, self._n, rows.shape[1] // parts, self._places)
        _rows_to_columns(rows.detach().contiguous().numpy(), self._index, columns.numpy())
        return columns.view(parts, -1, self._size, self._places)

    def joined(self, columns: Tensor) -> Tensor:
        """(part, example x head, size, place) to (row, part x head x size)."""
        parts = len(columns)
        columns = columns.view(parts, self._n, -1, self._places)
        rows = columns.new_empty(len(self._index), parts * columns.shape[2])
        _columns_to_rows(columns.numpy(), self._index, rows.numpy())
        return rows


class _AttentionOfRows(torch.autograd.Function):
    """Attention by plain products, from rows to rows.

    Its gradient is written out: what the parts of rows get is made in one piece, and goes back at once.
    """

    @staticmethod
    def forward(
        ctx: Any, added: Tensor | None, ways: tuple[tuple[_Columns, int], ...], *rows: Tensor
    ) -> Tensor:
        """Return (query, joined) from rows of queries, keys and values, or rows of queries and rows of both others."""
        parts = [way.split(r, n_parts) for (way, n_parts), r in zip(ways, rows, strict=True)]
        q, k, v = (matrices for part in parts for matrices in part)
        ctx.scale = 1 / math.sqrt(q.shape[1])
        weights = torch.baddbmm(
            q.new_zeros(1) if added is None else added, q.transpose(1, 2), k, alpha=ctx.scale
        ).softmax(dim=2)
        ctx.ways = [way for way, _ in ways]
        ctx.save_for_backward(weights, *parts)
        joined: Tensor = ctx.ways[0].joined(torch.bmm(v, weights.transpose(1, 2))[None])
        return joined

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Return the gradients of the rows."""
        weights, *parts = ctx.saved_tensors
        q, k, v = (matrices for part in parts for matrices in part)
        made = [torch.empty_like(part) for part in parts]
        of_q, of_k, of_v = (matrices for part in made for matrices in part)
        given = ctx.ways[0].split(gradients[0], 1)[0]
        torch.bmm(given, weights, out=of_v)
        of_weights = torch.bmm(given.transpose(1, 2), v)
        of_scores = torch._softmax_backward_data(of_weights, weights, 2, weights.dtype)
        scaled = {"beta": 0, "alpha": ctx.scale}  # what is there before counts for nothing
        torch.baddbmm(of_q, k, of_scores.transpose(1, 2), **scaled, out=of_q)
        torch.baddbmm(of_k, q, of_scores, **scaled, out=of_k)
        return None, None, *(way.joined(matrices) for way, matrices in zip(ctx.ways, made, strict=True))


class _Keys:
    """Which keys the queries of a batch see: 0 for these, minus infinity for others.

    Of a causal network a query that would see no key and is not asked for sees itself: where the beginning is hidden,
    what is computed there is hidden too, and goes nowhere.
    """

    def __init__(
        self,
        mask: Tensor | None,
        shape: tuple[int, ...],
        at: int | Tensor | None,
        real: Tensor | None,
        causal: bool,
        *,
        exact: bool,
    ) -> None:
        """`exact`: whether attention is looked at, also that of queries that are hidden and not asked for."""
        self.mask, self.causal = mask, causal
        self.n, self.p = shape
        self.blind: Tensor | None = None  # queries that see no key
        self._made: Tensor | None = None
        if mask is not None:
            asked = at if isinstance(at, Tensor) else real
            if isinstance(at, int):
                asked = (torch.arange(self.p, device=mask.device) == at % self.p).expand(shape)
            self.blind = _blind(mask, causal, asked)
            if causal and not exact and _needless(mask, asked):
                self.mask = None

    def all(self, like: Tensor) -> Tensor | None:
        """Return the numbers of all queries, that broadcast to (example, head, query, key), or None if all are 0."""
        if not self.causal and self.mask is None:
            return None
        if self._made is None or self._made.dtype != like.dtype:
            made = like.new_full((self.p, self.p), -math.inf).triu_(1) if self.causal else like.new_zeros(1)
            if self.mask is not None:
                made = made + _numbers(~self.mask, like)[:, None, None]
            if self.blind is not None:
                eye = torch.eye(self.p, dtype=torch.bool, device=like.device)
                made.masked_fill_((self.blind[..., None] & eye)[:, None], 0.0)
            self._made = made
        return self._made

    def by_head(self, h: int, like: Tensor) -> Tensor | None:
        """Return the numbers of all queries of a network that is not causal, (example x head, 1, key), or None."""
        added = self.all(like)
        return None if added is None else added.expand(self.n, h, 1, self.p).reshape(-1, 1, self.p)


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
            Which tokens may be attended to; by default all. In a causal network a query that would see none of them,
            since the beginning is hidden, sees itself, unless it is asked for.
        real : shape (example, position), boolean
            Which tokens are no padding; by default all. Nothing is computed for padding; without `at` the logits
            there mean nothing. Padding must not be visible: `mask` hides it or, in a causal network, it stands at the end.
        segments : shape (example, position)
            0 or 1; by default 0. With `norm="post"` only.
        attention
            A list that receives the attention weights of each layer, (example, head, query, key). Where `at` is a
            position, the last layer's has one query; otherwise all of them are computed.

        Raises
        ------
        SpecError
            If a sequence is longer than the positions, a token lies outside the vocabulary, a query that is asked for
            would see no key, or there are no segments to tell apart.
        """
        hidden = self.embeddings(tokens, at, mask=mask, real=real, segments=segments, attention=attention)
        return self._output(hidden)

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
        if (
            p > spec.n_positions
        ):  # no message before it is wanted: with one, each length would be compiled anew
            require(False, f"sequences of {p} tokens", f"at most n_positions = {spec.n_positions}")
        if isinstance(at, int):
            require(-p <= at < p, f"at = {at} in sequences of {p} tokens", f"from {-p} to {p - 1}")
        require(
            segments is None or spec.norm == "post",
            f"segments with norm = {spec.norm!r}",
            "norm = 'post', which has an embedding of them",
        )
        keys = _Keys(mask, tokens.shape, at, real, spec.attends == "causal", exact=attention is not None)
        packed = None if real is None or isinstance(at, int) else _Packed(real)
        last = spec.n_layers - 1
        asked = None
        if at is not None:
            asked = _AskedOnce(len(tokens), p, at % p) if isinstance(at, int) else _Asked(at, packed)
        whole_noise = (
            spec.dropout and self.training
        )  # which weights are dropped does not depend on what is asked
        alone = isinstance(at, int) or (
            asked is not None and asked.m <= SHARE[spec.attends] * p and attention is None and not whole_noise
        )
        try:  # on CUDA a wrong token is found by `tokens_of` alone: a check here would wait for the device
            whole = last > 0 or not isinstance(at, int)
            hidden, projected = self._embedded(tokens, segments, packed, whole=whole)
        except IndexError:
            _check_tokens(tokens, spec.vocabulary)
            raise
        for i in range(spec.n_layers):
            layer = getattr(self.layers, str(i))
            given = projected if i == 0 else None
            wanted = asked if i == last else None
            hidden = self._layer(layer, hidden, given, wanted, alone, keys, packed, attention)
        hidden = self._normed(self.final_norm, hidden) if spec.norm == "pre" else hidden
        return packed.padded(hidden) if packed is not None and at is None else hidden

    # ------------------------------------------------------------ token by token

    def cache(self, n: int, n_positions: int) -> list[Tensor]:
        """Return room for keys and values, (of keys values, example, head, position, size), a layer each."""
        spec, like = self.spec, self.token.weight
        return [like.new_empty(2, n, spec.n_heads, n_positions, spec.head_size) for _ in range(spec.n_layers)]

    def keep(self, cache: list[Tensor], rows: Tensor) -> None:
        """Leave some of the examples in the cache."""
        for i, kept in enumerate(cache):
            cache[i] = kept.index_select(1, rows)

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
        h, d, n = spec.n_heads, spec.head_size, len(tokens)
        hidden = F.embedding(tokens, self.token.weight) + self.position.weight[position]
        if spec.norm == "post":
            hidden = self._normed(self.embedding_norm, hidden + self.segment.weight[0])
        for i, kept in enumerate(cache):
            layer = getattr(self.layers, str(i))
            normed = self._before_attention(layer, hidden)
            new = F.linear(normed, layer.qkv.weight, layer.qkv.bias).view(n, 3, h, d)
            kept[:, :, :, position] = new[:, 1:].transpose(0, 1)
            k, v = kept.view(2, n * h, -1, d)[:, :, : position + 1].unbind()
            q = new[:, 0].reshape(n * h, 1, d) / math.sqrt(d)
            out = torch.bmm(torch.bmm(q, k.transpose(1, 2)).softmax(dim=2), v).view(n, h, d)
            joined = out.mean(dim=1) if spec.heads == "averaged" else out.flatten(1)
            hidden = self._after_attention(layer, hidden, joined)
        return self._output(self._normed(self.final_norm, hidden) if spec.norm == "pre" else hidden)

    # ------------------------------------------------------------------ parts

    def _normed(self, norm: Any, hidden: Tensor) -> Tensor:
        return F.layer_norm(hidden, norm.weight.shape, norm.weight, norm.bias, self.spec.norm_epsilon)

    def _activated(self, hidden: Tensor) -> Tensor:
        return F.gelu(hidden, approximate="tanh" if self.spec.activation == "gelu_tanh" else "none")

    def _dropped(self, hidden: Tensor) -> Tensor:
        return F.dropout(hidden, self.spec.dropout, self.training) if self.spec.dropout else hidden

    def _output(self, hidden: Tensor) -> Tensor:
        spec = self.spec
        if spec.output == "transformed":
            transform = self.transform
            hidden = F.linear(hidden, transform.weight, transform.bias)
            hidden = self._normed(self.transform_norm, self._activated(hidden))
        weight = self.token.weight if spec.tied else self.output.weight
        return F.linear(hidden, weight, self.output.bias if spec.output == "transformed" else None)

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
            index = tokens * p + torch.arange(p, device=tokens.device)
            index = index if packed is None else packed.rows(index)
            hidden, projected = (
                F.embedding(index, of_pairs.view(spec.vocabulary * p, -1))
                for of_pairs in (pairs, projections)
            )
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
        asked: _Asked | None,
        alone: bool,
        keys: _Keys,
        packed: _Packed | None,
        attention: list[Tensor] | None,
    ) -> Tensor:
        """Return a layer's output (example, position, width) or, packed, (row, width), or (query, width) if asked.

        `alone`: whether attention too is computed for the queries asked for alone.
        """
        normed = self._before_attention(layer, hidden) if projected is None else None
        if asked is not None and alone:
            joined = self._attended_at(layer, normed, projected, asked, keys, packed, attention)
        else:
            joined = self._attended(layer, normed, projected, keys, packed, attention)
            joined = joined if asked is None else asked.rows(joined)
        return self._after_attention(layer, hidden if asked is None else asked.rows(hidden), joined)

    def _before_attention(self, layer: Any, hidden: Tensor) -> Tensor:
        return self._normed(layer.attention_norm, hidden) if self.spec.norm == "pre" else hidden

    def _after_attention(self, layer: Any, hidden: Tensor, joined: Tensor) -> Tensor:
        """Return a layer's output from its input and from what its heads hand on."""
        pre = self.spec.norm == "pre"
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
        keys: _Keys,
        packed: _Packed | None,
        attention: list[Tensor] | None,
    ) -> Tensor:
        """Return what the heads hand on, (example, position, joined) or, packed, (row, joined)."""
        spec = self.spec
        h, d = spec.n_heads, spec.head_size
        if projected is None:
            assert normed is not None
            projected = F.linear(normed, layer.qkv.weight, layer.qkv.bias)
        if attention is None and self._by_rows(keys.p, projected):
            handed = self._attended_rows(keys, ((self._columns(keys, packed), 3),), projected)
            return handed if packed is not None else handed.view(keys.n, keys.p, -1)
        if packed is not None:
            projected = packed.padded(projected)
        n, p, _ = projected.shape
        # (of q k v, example, head, position, size)
        split: Tensor = projected.view(n, p, 3, h, d).permute(2, 0, 3, 1, 4)
        if attention is not None or self._blockwise(p, split):
            q, k, v = split.reshape(3, n * h, p, d).unbind()
            out = self._plain_attention(q, k, v, keys.all(q), attention)
        else:
            q, k, v = split
            whole = keys.causal and keys.mask is None
            allowed = None if whole else keys.all(q)
            dropout = spec.dropout if self.training else 0.0
            out = F.scaled_dot_product_attention(q, k, v, allowed, dropout, is_causal=whole)
        joined: Tensor = out.mean(dim=1) if spec.heads == "averaged" else out.transpose(1, 2).flatten(2)
        return joined if packed is None else packed.rows(joined)

    def _attended_at(
        self,
        layer: Any,
        normed: Tensor | None,
        projected: Tensor | None,
        asked: _Asked,
        keys: _Keys,
        packed: _Packed | None,
        attention: list[Tensor] | None,
    ) -> Tensor:
        """Return what the heads hand on for the queries asked for, (query, joined)."""
        spec = self.spec
        few = (
            asked.m <= KEYLESS * spec.head_size and asked.m * spec.n_heads <= asked.p
        )  # the latter for memory
        if normed is not None and (few or isinstance(asked, _AskedOnce)):
            out = self._keyless_attention(layer, normed, asked, keys, packed, attention)
        else:
            assert attention is None
            query, both = self._projected_at(layer, normed, projected, asked)
            if not isinstance(asked, _AskedOnce) and self._by_rows(asked.p, query):
                slots = _Columns(asked.slot, asked.n, asked.m, spec.head_size)
                ways = (slots, 1), (self._columns(keys, packed), 2)
                return self._attended_rows(keys, ways, query, both)
            out = self._attention_at(query, both, asked, keys, packed)
        return asked.of_slots(out.mean(dim=2) if spec.heads == "averaged" else out.flatten(2))

    def _keyless_attention(
        self,
        layer: Any,
        normed: Tensor,
        asked: _Asked,
        keys: _Keys,
        packed: _Packed | None,
        attention: list[Tensor] | None,
    ) -> Tensor:
        r"""Return (example, slot, head, size) for the queries asked for, without keys and values.

        With few queries a head, products with its keys are :math:`q^\top (W_K x_j + b_K) = (W_K^\top q)^\top x_j` up to
        what the softmax ignores, and its value is :math:`W_V \sum_j a_j x_j + b_V \sum_j a_j`: what is projected is a
        vector a query and head, not one a position.
        """
        spec = self.spec
        h, d, n, m = spec.n_heads, spec.head_size, asked.n, asked.m
        (wq, wk, wv), (bq, _, bv) = layer.qkv.weight.split(h * d), layer.qkv.bias.split(h * d)
        query = asked.slots(F.linear(asked.rows(normed), wq, bq) / math.sqrt(d))
        seen = normed if packed is None else packed.padded(normed)
        into = torch.bmm(query.reshape(n * m, h, d).transpose(0, 1), wk.view(h, d, -1)).transpose(0, 1)
        scores = torch.bmm(into.reshape(n, m * h, -1), seen.transpose(1, 2)).view(n, m, h, -1)
        allowed = asked.allowed(keys.mask, keys.causal, scores)
        weights = (scores if allowed is None else scores + allowed).softmax(
            dim=3
        )  # (example, slot, head, key)
        if attention is not None:
            attention.append(weights.transpose(1, 2))
        weights = self._dropped(weights)
        means = torch.bmm(weights.view(n, m * h, -1), seen).view(n * m, h, -1)
        out = torch.bmm(means.transpose(0, 1), wv.view(h, d, -1).transpose(1, 2))
        out = out.transpose(0, 1).reshape(n, m, h, d)
        drops = spec.dropout and self.training  # otherwise the weights sum to 1
        biased: Tensor = out + (bv.view(h, d) * weights.sum(dim=3, keepdim=True) if drops else bv.view(h, d))
        return biased

    def _projected_at(
        self, layer: Any, normed: Tensor | None, projected: Tensor | None, asked: _Asked
    ) -> tuple[Tensor, Tensor]:
        """Return the queries asked for, and keys and values at all positions."""
        a = self.spec.n_heads * self.spec.head_size
        if normed is None:
            assert projected is not None
            return asked.rows(projected[..., :a]), projected[..., a:]
        weight, bias = layer.qkv.weight, layer.qkv.bias
        return F.linear(asked.rows(normed), weight[:a], bias[:a]), F.linear(normed, weight[a:], bias[a:])

    def _attention_at(
        self, query: Tensor, both: Tensor, asked: _Asked, keys: _Keys, packed: _Packed | None
    ) -> Tensor:
        """Return (example, slot, head, size) for the queries asked for, from them and from keys and values."""
        spec = self.spec
        h, d, n, m = spec.n_heads, spec.head_size, asked.n, asked.m
        both = both if packed is None else packed.padded(both)
        q = asked.slots(query).view(n, m, h, d).transpose(1, 2)
        k, v = both.reshape(n, -1, 2, h, d).permute(2, 0, 3, 1, 4).unbind()  # (example, head, position, size)
        allowed = asked.allowed(keys.mask, keys.causal, q)
        allowed = None if allowed is None else allowed.transpose(1, 2)
        if not self._blockwise(asked.p, q):
            dropout = spec.dropout if self.training else 0.0
            fused: Tensor = F.scaled_dot_product_attention(q, k, v, allowed, dropout)
            return fused.transpose(1, 2)
        q, k, v = (x.reshape(n * h, -1, d) for x in (q, k, v))
        scores = torch.bmm(q / math.sqrt(d), k.transpose(1, 2)).view(n, h, m, -1)
        scores = scores if allowed is None else scores.add_(allowed)
        weights = self._dropped(scores.softmax(dim=3)).view(n * h, m, -1)
        return torch.bmm(weights, v).view(n, h, m, d).transpose(1, 2)

    def _blockwise(self, p: int, like: Tensor) -> bool:
        """Whether plain products are taken, rather than the fused kernel."""
        spec = self.spec
        return not like.is_cuda and (p <= SHORT or (spec.attends == "causal" and spec.head_size <= SMALL))

    def _by_rows(self, p: int, like: Tensor) -> bool:
        """Whether plain products are taken whose gradient is written out; rows are copied by compiled loops on the CPU."""
        spec = self.spec
        drops = spec.dropout and self.training
        on_cpu = like.device.type == "cpu"
        return (
            on_cpu and spec.attends == "all" and self._blockwise(p, like) and not drops and like.numel() > 0
        )

    def _columns(self, keys: _Keys, packed: _Packed | None) -> _Columns:
        """Return the way of the rows of all positions, or of the real ones."""
        index = torch.arange(keys.n * keys.p) if packed is None else packed.index
        return _Columns(index, keys.n, keys.p, self.spec.head_size)

    def _attended_rows(self, keys: _Keys, ways: tuple[tuple[_Columns, int], ...], *rows: Tensor) -> Tensor:
        """Return what the heads hand on for rows of queries, (query, joined)."""
        spec = self.spec
        added = keys.by_head(spec.n_heads, rows[0])
        rows = tuple(r.flatten(0, -2) for r in rows)
        out: Tensor = _AttentionOfRows.apply(added, ways, *rows)  # type: ignore[no-untyped-call]
        return out.view(-1, spec.n_heads, spec.head_size).mean(dim=1) if spec.heads == "averaged" else out

    def _plain_attention(
        self, q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, attention: list[Tensor] | None
    ) -> Tensor:
        """Return (example, head, query, size) from q, k, v of shape (example x head, position, size).

        With causal attention a block of queries is multiplied with the keys up to its own end alone.
        """
        h = self.spec.n_heads
        p, d = q.shape[1:]
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
                    scores = torch.bmm(queries / math.sqrt(d), keys[:, :, :seen])
                    scores.view(-1, h, stop - start, seen).add_(added)
                else:
                    scores = torch.baddbmm(added, queries, keys[:, :, :seen], alpha=1 / math.sqrt(d))
            weights = scores.softmax(dim=2)
            if attention is not None:
                attention.append(weights.view(-1, h, p, p))
            parts.append(torch.bmm(self._dropped(weights), v[:, :seen]))
        out = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        return out.view(-1, h, p, d)


def _check_tokens(tokens: Tensor, vocabulary: int) -> None:
    if not tokens.numel():
        return
    low, high = torch.aminmax(tokens)
    if low < 0 or high >= vocabulary:
        token = int(low if low < 0 else high)
        require(False, f"token {token}", f"from 0 to {vocabulary - 1}, the vocabulary", "Raise vocabulary.")


def _needless(mask: Tensor, asked: Tensor | None) -> bool:
    """Whether a causal mask hides no more than what comes after all queries asked for, which never see it."""
    before = mask[:, :1] & (mask if asked is None else mask | ~asked)
    ends = mask[:, 1:] <= mask[:, :-1]
    return bool(before.all() & ends.all())


def _blind(mask: Tensor, causal: bool, asked: Tensor | None) -> Tensor | None:
    """Return the queries (example, query) that see no key, none of which may be asked for, or None if there are none.

    `asked`: which queries are asked for, (example, query); by default all.
    """
    require(
        mask.dtype == torch.bool, f"a mask of type {mask.dtype}", "a boolean one, true where a token is seen"
    )
    if bool((mask[:, 0] if causal else mask.any(dim=1)).all()):
        return None
    if not causal:
        example = int((~mask.any(dim=1)).nonzero()[0, 0])
        what = f"a mask that hides every key, in example {example}"
        require(False, what, "at least one key a query", "Leave the example out.")
    blind = mask.cumsum(dim=1) == 0
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
    return blind
