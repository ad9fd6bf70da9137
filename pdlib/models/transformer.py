r"""One Transformer for the whole book: causal or bidirectional, pre- or post-norm.

With the choices of `gpt2` it is GPT-2 (Radford et al. 2019), with those of `bert` BERT with its masked-word head (Devlin
et al. 2019): the same weights give the same logits (`pdlib.models.huggingface` reads and writes them). Here are its sizes,
its initial parameters and what is asked of it; `pdlib.models.network` computes.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pdlib.models.network import TransformerModule, check_tokens
from pdlib.sequences import Sequences
from pdlib.specs import Count, Index, Model, Parameters, Task, checked, later, require

# Attention scores of a layer at evaluation, and numbers in the caches of samples drawn: what processors' caches hold
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
    n_layers: Count  # L
    n_heads: Count  # H
    head_size: Count = 8  # D
    width: Index = 0  # W
    mlp_width: Index = 0
    n_positions: Count = 1024
    vocabulary: Count = 2
    attends: Literal["causal", "all"] = "causal"
    norm: Literal["pre", "post"] = "pre"
    heads: Literal["concatenated", "averaged"] = "concatenated"
    tied: bool = False
    output: Literal["linear", "transformed"] = "linear"
    activation: Literal["gelu_tanh", "gelu"] = "gelu_tanh"
    norm_epsilon: Annotated[float, "[0, inf)"] = 1e-5
    dropout: Annotated[float, "[0, 1)"] = 0.0
    initial_std: Annotated[float, "[0, inf)"] = 0.02
    initial_bias: Literal["zero", "log_frequency"] = later("zero")
    initial_positions: Literal["normal", "sinusoidal"] = later("normal")

    def __post_init__(self) -> None:
        super().__post_init__()
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
            "If a published one is padded, resize_token_embeddings of transformers cuts it.",
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
        checked("n", n, Count)
        checked("max_length", max_length, Count)
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
                        still = torch.from_numpy(np.flatnonzero(on)).to(device)
                        cache = [kept.index_select(1, still) for kept in cache]
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
        check_tokens(tokens, vocabulary)
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
