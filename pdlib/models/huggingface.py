"""Checkpoints of Hugging Face's GPT-2 and BERT, read and written without their library.

A checkpoint is a folder with `config.json` and `model.safetensors`, as `GPT2LMHeadModel` and `BertForMaskedLM` write
and read it; the `pytorch_model.bin` of their older versions is read too. The same network comes back: the same weights in
another layout, the same logits. What a `Transformer` cannot express is an error that names the setting, never a network
that is nearly the same.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save as tensor_bytes
from safetensors.torch import load as load_tensors
from torch import Tensor

from pdlib.files import DamagedError, MissingError, write_bytes
from pdlib.models.transformer import Transformer, bert, gpt2
from pdlib.specs import Parameters, require

ACTIVATIONS: dict[str, Literal["gelu_tanh", "gelu"]] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
# What a `Transformer` has in one way only: setting -> the value it has there, which is also the setting's default.
FIXED: dict[str, dict[str, Any]] = {
    "gpt2": {
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
    },
    "bert": {
        "type_vocab_size": 2,
        "is_decoder": False,
        "add_cross_attention": False,
        "position_embedding_type": "absolute",
    },
}
# A config names a value in one of these ways; the last entry is the default of a config that leaves it out.
SETTINGS: dict[str, dict[str, tuple[Any, ...]]] = {
    "gpt2": {
        "vocabulary": ("vocab_size", 50257),
        "n_positions": ("n_positions", "max_position_embeddings", 1024),
        "width": ("n_embd", "hidden_size", 768),
        "n_layers": ("n_layer", "num_hidden_layers", 12),
        "n_heads": ("n_head", "num_attention_heads", 12),
        "mlp_width": ("n_inner", None),
        "activation": ("activation_function", "gelu_new"),
        "norm_epsilon": ("layer_norm_epsilon", 1e-5),
    },
    "bert": {
        "vocabulary": ("vocab_size", 30522),
        "n_positions": ("max_position_embeddings", 512),
        "width": ("hidden_size", 768),
        "n_layers": ("num_hidden_layers", 12),
        "n_heads": ("num_attention_heads", 12),
        "mlp_width": ("intermediate_size", 3072),
        "activation": ("hidden_act", "gelu"),
        "norm_epsilon": ("layer_norm_eps", 1e-12),
    },
}
DROPOUTS = {
    "gpt2": ("resid_pdrop", "embd_pdrop", "attn_pdrop"),
    "bert": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
}
# Tensors that carry nothing of the network: masks and counters that older versions stored, heads of other tasks.
IGNORED = (".attn.bias", ".attn.masked_bias", "embeddings.position_ids")
OTHER_HEADS = ("bert.pooler.", "cls.seq_relationship.")
# Files of weights, the first that is there; an index names several files in its stead.
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


class _Source(NamedTuple):
    """Where the checkpoint keeps a parameter."""

    tensors: tuple[str, ...]  # joined along the first axis
    transposed: bool = False  # stored as (in, out)


def load_pretrained(folder: str | Path) -> tuple[Transformer, Parameters]:
    """Return the network of a folder that `save_pretrained` wrote, here or there.

    GPT-2 with its language-model head, or BERT with its masked-word head; BERT's pooler and next-sentence head are
    left out. Names without the prefix `transformer.` or `bert.`, the names `gamma` and `beta` of a norm, and
    checkpoints in several files are read too.

    Parameters
    ----------
    folder
        With `config.json` and one of `WEIGHTS`, and the files that an index names.

    Returns
    -------
    model, parameters
        As `Transformer` describes; half precision becomes float32.

    Raises
    ------
    MissingError
        If a file is not there.
    DamagedError
        If a file is no whole JSON or safetensors file, or a `pytorch_model.bin` holds anything but tensors: nothing
        else in it is ever run.
    SpecError
        If a `Transformer` cannot express a setting, or a tensor is missing, unknown or of another shape than the
        config says; names both.

    Examples
    --------
    >>> import tempfile
    >>> model = Transformer(n_layers=1, n_heads=2, head_size=4, n_positions=6, vocabulary=5)
    >>> folder = tempfile.mkdtemp()
    >>> save_pretrained(folder, model, model.initial(n_inputs=6, n_classes=5, seed=0))
    >>> load_pretrained(folder)[0] == model
    True
    """
    folder = Path(folder)
    config = _json(folder / "config.json")
    model = _model(config)
    found = dict(_renamed(_stored(folder), config["model_type"]))
    shapes = model.shapes(model.vocabulary)
    sources = _sources(model, found.keys())
    if "lm_head.weight" in found and model.tied:  # written by versions that stored a tied tensor twice
        _check_tied(found, "lm_head.weight", "transformer.wte.weight")
    if "cls.predictions.decoder.weight" in found and model.tied:
        _check_tied(found, "cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight")
    if "cls.predictions.decoder.bias" in found and model.tied:
        _check_tied(found, "cls.predictions.decoder.bias", "cls.predictions.bias")
    parameters: Parameters = {}
    used: set[str] = {"lm_head.weight", "cls.predictions.decoder.weight", "cls.predictions.bias"}
    used |= {"cls.predictions.decoder.bias"}
    for name, source in sources.items():
        parameters[name] = _parameter(found, source, shapes[name], config)
        used |= set(source.tensors)
    unknown = sorted(found.keys() - used)
    require(
        not unknown,
        f"tensors {unknown[:5]} in {folder}",
        f"only those of {config['model_type']} with {model.n_layers} layers and its language-model head",
    )
    return model, parameters


def described(folder: str | Path) -> Transformer:
    """Return the network that a folder's `config.json` describes; `load_pretrained` says what is refused."""
    return _model(_json(Path(folder) / "config.json"))


def save_pretrained(folder: str | Path, model: Transformer, parameters: Parameters) -> None:
    """Write a network so that `GPT2LMHeadModel` or `BertForMaskedLM` opens it by `from_pretrained(folder)`.

    A causal network with `norm="pre"` is a GPT-2, a bidirectional one with `norm="post"` a BERT. No token is declared as
    padding, beginning or end.

    Parameters
    ----------
    folder
        Made if it does not exist. The config is written last: a folder that has one is whole.
    model, parameters
        As `Transformer` describes, such as a checkpoint of a training.

    Raises
    ------
    SpecError
        If the other side cannot express the network, or a parameter is missing, unknown or of another shape.
    StoreError
        If the folder cannot be written.

    Examples
    --------
    >>> model = Transformer(n_layers=1, n_heads=2, head_size=4, n_positions=6)
    >>> save_pretrained("nowhere", model, model.initial(n_inputs=6, n_classes=3, seed=0))
    Traceback (most recent call last):
    ...
    pdlib.specs.SpecError: 3 classes: expected as many as the vocabulary, 2, for GPT2LMHeadModel.
    """
    kind = "gpt2" if model.norm == "pre" else "bert"
    there = "GPT2LMHeadModel" if kind == "gpt2" else "BertForMaskedLM"
    for name, expected in (
        ("attends", "causal" if kind == "gpt2" else "all"),
        ("heads", "concatenated"),
        ("output", "linear" if kind == "gpt2" else "transformed"),
    ):
        value = getattr(model, name)
        require(
            value == expected,
            f"{name} = {value!r} with norm = {model.norm!r}",
            f"{expected!r}, which is all that {there} has",
        )
    require(
        model.full_width == model.joined_size,
        f"width = {model.width} with {model.n_heads} heads of head_size = {model.head_size}",
        f"n_heads x head_size = {model.joined_size}, which is all that {there} has",
    )
    n_classes = len(parameters["output.weight"]) if "output.weight" in parameters else model.vocabulary
    require(
        n_classes == model.vocabulary,
        f"{n_classes} classes",
        f"as many as the vocabulary, {model.vocabulary}, for {there}",
    )
    model.check_parameters(parameters)
    tensors: dict[str, NDArray[Any]] = {}
    for name, source in _sources(model, ()).items():
        value = parameters[name].T if source.transposed else parameters[name]
        for tensor, part in zip(source.tensors, np.split(value, len(source.tensors)), strict=True):
            tensors[tensor] = np.ascontiguousarray(part)
    if kind == "bert" and not model.tied:
        tensors["cls.predictions.bias"] = tensors["cls.predictions.decoder.bias"]  # there are two of it
    config = _config(model, kind) | {
        "architectures": [there],
        "model_type": kind,
        "dtype": str(parameters["token.weight"].dtype),
        "tie_word_embeddings": model.tied,
    }
    folder = Path(folder)
    write_bytes(folder / "model.safetensors", tensor_bytes(tensors, metadata={"format": "pt"}))
    text = json.dumps(config, indent=2, sort_keys=True, allow_nan=False) + "\n"
    write_bytes(folder / "config.json", text.encode())


# --------------------------------------------------------------------- config


def _model(config: dict[str, Any]) -> Transformer:
    """Return what a config describes, or say which setting a `Transformer` cannot express."""
    kind = config.get("model_type")
    require(kind in SETTINGS, f"model_type = {kind!r}", " or ".join(map(repr, SETTINGS)))
    assert isinstance(kind, str)
    for name, only in FIXED[kind].items():
        value = config.get(name, only)
        require(value == only, f"{name} = {value!r}", f"{only!r}, which is all that a Transformer has")
    values = {}
    for field, (*names, default) in SETTINGS[kind].items():
        values[field] = next((config[name] for name in names if name in config), default)
    named = {field: names[0] for field, names in SETTINGS[kind].items()}
    width, heads = values["width"], values["n_heads"]
    for field in ("width", "n_heads"):
        value = values[field]
        require(
            type(value) is int and value >= 1, f"{named[field]} = {value!r}", "a whole number of at least 1"
        )
    require(width % heads == 0, f"{named['width']} = {width}", f"a multiple of {named['n_heads']} = {heads}")
    activation = values["activation"]
    require(
        activation in ACTIVATIONS,
        f"{named['activation']} = {activation!r}",
        f"one of {', '.join(map(repr, ACTIVATIONS))}",
    )
    rates = {name: config.get(name, 0.1) for name in DROPOUTS[kind]}
    require(
        len(set(rates.values())) == 1,
        " and ".join(f"{name} = {rate}" for name, rate in rates.items()),
        "one rate of dropout for all",
        "Set them to one value in config.json; without training they change nothing.",
    )
    mlp_width = values["mlp_width"]
    choices: dict[str, Any] = {
        "mlp_width": 0 if mlp_width in (None, 4 * width) else mlp_width,
        "n_positions": values["n_positions"],
        "vocabulary": values["vocabulary"],
        "tied": config.get("tie_word_embeddings", True),
        "activation": ACTIVATIONS[activation],
        "norm_epsilon": values["norm_epsilon"],
        "dropout": next(iter(rates.values())),
        "initial_std": config.get("initializer_range", 0.02),
    }
    make = gpt2 if kind == "gpt2" else bert
    return make(values["n_layers"], heads, width // heads, **choices)


def _config(model: Transformer, kind: str) -> dict[str, Any]:
    values = {
        "vocabulary": model.vocabulary,
        "n_positions": model.n_positions,
        "width": model.full_width,
        "n_layers": model.n_layers,
        "n_heads": model.n_heads,
        "mlp_width": model.full_mlp_width,
        "activation": next(k for k, v in ACTIVATIONS.items() if v == model.activation),
        "norm_epsilon": model.norm_epsilon,
    }
    config: dict[str, Any] = {names[0]: values[field] for field, names in SETTINGS[kind].items()}
    config |= FIXED[kind] | dict.fromkeys(DROPOUTS[kind], model.dropout)
    config |= dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"))
    return config | {"initializer_range": model.initial_std}


# -------------------------------------------------------------------- tensors


def _sources(model: Transformer, stored: Any) -> dict[str, _Source]:
    """Return where the checkpoint keeps each parameter, those of `model.shapes`."""
    if model.norm == "pre":
        homes = {"token": "transformer.wte", "position": "transformer.wpe", "final_norm": "transformer.ln_f"}
        homes |= {"output": "lm_head"}
        inside = {
            "attention_norm": "ln_1",
            "qkv": "attn.c_attn",
            "joined": "attn.c_proj",
            "mlp_norm": "ln_2",
            "mlp_in": "mlp.c_fc",
            "mlp_out": "mlp.c_proj",
        }
        layer = "transformer.h"
    else:
        homes = {
            "token": "bert.embeddings.word_embeddings",
            "position": "bert.embeddings.position_embeddings",
            "segment": "bert.embeddings.token_type_embeddings",
            "embedding_norm": "bert.embeddings.LayerNorm",
            "transform": "cls.predictions.transform.dense",
            "transform_norm": "cls.predictions.transform.LayerNorm",
            "output": "cls.predictions.decoder",
        }
        inside = {
            "attention_norm": "attention.output.LayerNorm",
            "joined": "attention.output.dense",
            "mlp_norm": "output.LayerNorm",
            "mlp_in": "intermediate.dense",
            "mlp_out": "output.dense",
        }
        layer = "bert.encoder.layer"
    sources = {}
    for name in model.shapes(model.vocabulary):
        *path, leaf = name.split(".")
        if path[0] != "layers":
            sources[name] = _Source((f"{homes[path[0]]}.{leaf}",))
        elif model.norm == "post" and path[2] == "qkv":
            sources[name] = _Source(
                tuple(f"{layer}.{path[1]}.attention.self.{part}.{leaf}" for part in ("query", "key", "value"))
            )
        else:
            linear = model.norm == "pre" and leaf == "weight" and not path[2].endswith("norm")
            sources[name] = _Source((f"{layer}.{path[1]}.{inside[path[2]]}.{leaf}",), transposed=linear)
    if model.norm == "post" and (model.tied or (stored and "cls.predictions.decoder.bias" not in stored)):
        sources["output.bias"] = _Source(("cls.predictions.bias",))
    return sources


def _renamed(tensors: dict[str, Tensor], kind: str) -> Iterator[tuple[str, Tensor]]:
    """Yield tensors under the names of today's versions, without those that carry nothing of the network."""
    body, heads = ("transformer.", ("lm_head.",)) if kind == "gpt2" else ("bert.", ("cls.",))
    for name, value in tensors.items():
        if name.endswith((".gamma", ".beta")):
            name = name.removesuffix(".gamma").removesuffix(".beta") + (
                ".weight" if name.endswith(".gamma") else ".bias"
            )
        if not name.startswith((body, *heads)):
            name = body + name
        if not name.endswith(IGNORED) and not name.startswith(OTHER_HEADS):
            yield name, value


def _check_tied(found: dict[str, Tensor], one: str, other: str) -> None:
    require(
        other not in found or torch.equal(found[one], found[other]),
        f"{one} that differs from {other}",
        "the same numbers, since tie_word_embeddings is true",
        "If they are meant to differ, set it to false in config.json.",
    )


def _parameter(
    found: dict[str, Tensor], source: _Source, shape: tuple[int, ...], config: dict[str, Any]
) -> NDArray[Any]:
    """Return one of our parameters from the checkpoint's tensors."""
    parts = []
    n = len(source.tensors)
    stored = (shape[0] // n, *shape[1:])
    expected = stored[::-1] if source.transposed else stored
    for name in source.tensors:
        got = tuple(found[name].shape) if name in found else "nothing"
        require(
            got == expected,
            f"tensor {name} of shape {got}",
            f"{expected}, from the {config['model_type']} of config.json",
        )
        value = found[name]
        require(value.is_floating_point(), f"tensor {name} of type {value.dtype}", "floating-point numbers")
        value = value.float() if value.itemsize < 4 else value
        parts.append((value.T if source.transposed else value).numpy())
    return np.ascontiguousarray(np.concatenate(parts) if n > 1 else parts[0])


# ---------------------------------------------------------------------- files


def weight_files(folder: Path, first: str) -> list[str]:
    """Return the names of the files with the tensors of a folder: the first of `WEIGHTS`, or what this index names."""
    if not first.endswith(".index.json"):
        return [first]
    names = set(_json(folder / first).get("weight_map", {}).values())
    for name in names:
        require(
            isinstance(name, str) and Path(name).name == name,
            f"file {name!r} in the index of {folder}",
            "the name of a file in that folder",
        )
    return sorted(names)


def _stored(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a folder, from one file or from those that the index names."""
    found: dict[str, Tensor] = {}
    first = next((name for name in WEIGHTS if (folder / name).exists()), WEIGHTS[0])
    for name in weight_files(folder, first):
        found |= _unpickled(folder / name) if name.endswith(".bin") else _safe_tensors(folder / name)
    return found


def _safe_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return dict(load_tensors(_bytes(path)))
    except SafetensorError as error:
        raise DamagedError(
            f"{path} is no whole safetensors file ({error}). Expected the bytes that were written. Copy it anew."
        ) from error


def _unpickled(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a pickle, of which PyTorch builds tensors and plain containers and refuses the rest."""
    data = io.BytesIO(_bytes(path))
    try:
        found = torch.load(data, map_location="cpu", weights_only=True)
    except Exception as error:  # of whichever part of the reader a damaged file upsets
        reason = str(error).partition("\n")[0]
        raise DamagedError(
            f"{path} is no whole file of weights, or it wants to run code ({type(error).__name__}: {reason}). Expected "
            "tensors by name, as torch.save writes a state_dict. Copy it anew, or do not trust it."
        ) from error
    if not isinstance(found, dict) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in found.items()
    ):
        raise DamagedError(
            f"{path} holds something else than tensors by name. Expected a state_dict. Write it as safetensors by "
            "transformers' save_pretrained."
        )
    return dict(found)


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_bytes(path))
    except ValueError as error:
        raise DamagedError(f"{path} is no JSON ({error}). Expected a checkpoint's settings.") from error
    require(isinstance(value, dict), f"{path} with a {type(value).__name__}", "an object of settings")
    return dict(value)


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise MissingError(
            f"{path} is not there. Expected config.json and model.safetensors in a folder; a checkpoint in another form "
            "is brought into this one by transformers' save_pretrained."
        )
    return path.read_bytes()
