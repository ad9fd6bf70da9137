"""Checkpoints of Hugging Face's GPT-2 and BERT, read by their library and written for it.

A checkpoint is a folder with `config.json` and weights, as `GPT2LMHeadModel` and `BertForMaskedLM` write and read it. The
same network comes back: the same weights in another layout, the same logits. What a `Transformer` cannot express is an
error that names the setting, never a network that is nearly the same. Reading needs the package `transformers`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save as tensor_bytes

from pdlib.files import DamagedError, MissingError, write_bytes
from pdlib.install import optional
from pdlib.models.transformer import Transformer, bert, gpt2
from pdlib.specs import Parameters, require

CLASSES = {"gpt2": "GPT2LMHeadModel", "bert": "BertForMaskedLM"}
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
SETTINGS = {
    "gpt2": {
        "vocabulary": "vocab_size",
        "n_positions": "n_positions",
        "width": "n_embd",
        "n_layers": "n_layer",
        "n_heads": "n_head",
        "mlp_width": "n_inner",
        "activation": "activation_function",
        "norm_epsilon": "layer_norm_epsilon",
    },
    "bert": {
        "vocabulary": "vocab_size",
        "n_positions": "max_position_embeddings",
        "width": "hidden_size",
        "n_layers": "num_hidden_layers",
        "n_heads": "num_attention_heads",
        "mlp_width": "intermediate_size",
        "activation": "hidden_act",
        "norm_epsilon": "layer_norm_eps",
    },
}
DROPOUTS = {
    "gpt2": ("resid_pdrop", "embd_pdrop", "attn_pdrop"),
    "bert": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
}
# Of a parameter's place: what comes first, and what is in a layer
HOMES = {
    "gpt2": {
        "token": "transformer.wte",
        "position": "transformer.wpe",
        "final_norm": "transformer.ln_f",
        "output": "lm_head",
        "layers": "transformer.h",
        "attention_norm": "ln_1",
        "qkv": "attn.c_attn",
        "joined": "attn.c_proj",
        "mlp_norm": "ln_2",
        "mlp_in": "mlp.c_fc",
        "mlp_out": "mlp.c_proj",
    },
    "bert": {
        "token": "bert.embeddings.word_embeddings",
        "position": "bert.embeddings.position_embeddings",
        "segment": "bert.embeddings.token_type_embeddings",
        "embedding_norm": "bert.embeddings.LayerNorm",
        "transform": "cls.predictions.transform.dense",
        "transform_norm": "cls.predictions.transform.LayerNorm",
        "output": "cls.predictions.decoder",
        "layers": "bert.encoder.layer",
        "attention_norm": "attention.output.LayerNorm",
        "joined": "attention.output.dense",
        "mlp_norm": "output.LayerNorm",
        "mlp_in": "intermediate.dense",
        "mlp_out": "output.dense",
    },
}
# Tensors that carry nothing of the network: counters that older versions stored, heads of other tasks.
IGNORED = re.compile(
    r"(^|\.)(pooler\.|cls\.seq_relationship\.|embeddings\.position_ids$|attn\.(masked_)?bias$)"
)
BIAS_TWICE = (
    "cls.predictions.decoder.bias"  # of an untied BERT: older versions have it once, without "decoder"
)
WRAPPERS = {r"^(module\.|_orig_mod\.)+": ""}  # prefixes of parallel and compiled training


class _Source(NamedTuple):
    """Where the checkpoint keeps a parameter."""

    tensors: tuple[str, ...]  # joined along the first axis
    transposed: bool = False  # stored as (in, out)


def load_pretrained(folder: str | Path) -> tuple[Transformer, Parameters]:
    """Return the network of a folder that `save_pretrained` wrote, here or there.

    GPT-2 with its language-model head, or BERT with its masked-word head; BERT's pooler and next-sentence head are
    left out. What `transformers` opens is read: names and files of older versions, several files, weights saved from
    within `DataParallel` or `torch.compile`.

    Parameters
    ----------
    folder
        With `config.json` and weights.

    Returns
    -------
    model, parameters
        As `Transformer` describes; half precision becomes float32.

    Raises
    ------
    MissingError
        If a file is not there.
    DamagedError
        If a file is not whole, or weights are no finite numbers.
    SpecError
        If `transformers` is not installed, a `Transformer` cannot express a setting, or a tensor is missing, unknown or of
        another shape than the config says; names both.

    Examples
    --------
    >>> import tempfile
    >>> model = Transformer(n_layers=1, n_heads=2, head_size=4, n_positions=6, vocabulary=5)
    >>> folder = tempfile.mkdtemp()
    >>> save_pretrained(folder, model, model.initial(n_inputs=6, n_classes=5, seed=0))
    >>> load_pretrained(folder)[0] == model
    True
    """
    config = _config_of(Path(folder))
    model = _model(config)
    how = {"config": config, "dtype": "auto", "local_files_only": True, "key_mapping": WRAPPERS}
    network = getattr(optional("transformers", "transformers"), CLASSES[config.model_type])
    with _reading(folder):
        module, report = network.from_pretrained(
            str(folder), **how, output_loading_info=True, ignore_mismatched_sizes=True
        )
    for name, got, expected in sorted(report["mismatched_keys"]):
        said = f"{tuple(expected)}, from the {config.model_type} of config.json"
        require(False, f"tensor {name} of shape {tuple(got)}", said)
    found = module.state_dict()
    missing = set(report["missing_keys"])
    if missing == {BIAS_TWICE}:
        found[BIAS_TWICE] = found["cls.predictions.bias"]
        missing = set()
    unknown = sorted(name for name in report["unexpected_keys"] if not IGNORED.search(name))
    require(
        not missing and not unknown,
        f"{folder} without the tensors {sorted(missing)[:3]} and with {unknown[:3]}",
        f"exactly those of a {type(module).__name__} with {model.n_layers} layers",
        "Rename them, or correct config.json.",
    )
    tied = module.get_output_embeddings().weight is module.get_input_embeddings().weight
    require(
        tied or not model.tied,
        "output and input embeddings that differ",
        "the same numbers, since tie_word_embeddings is true",
        "If they are meant to differ, set it to false in config.json.",
    )
    return model, {name: _parameter(found, source, folder) for name, source in _sources(model).items()}


def described(folder: str | Path) -> Transformer:
    """Return the network that a folder's `config.json` describes; `load_pretrained` says what is refused."""
    return _model(_config_of(Path(folder)))


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
    there = CLASSES[kind]
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
    for name, source in _sources(model).items():
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


def _config_of(folder: Path) -> Any:
    """Return the library's record of a `config.json`, with its defaults."""
    if not (folder / "config.json").is_file():
        raise MissingError(
            f"{folder / 'config.json'} is not there. Expected config.json and weights in a folder; a checkpoint in another "
            "form is brought into this one by transformers' save_pretrained."
        )
    try:
        kind = json.loads((folder / "config.json").read_bytes()).get("model_type")
    except (ValueError, AttributeError) as error:
        raise DamagedError(
            f"{folder / 'config.json'} is no JSON object ({error}). Expected a checkpoint's settings."
        ) from error
    remedy = "" if kind else "Write it into config.json."
    require(kind in SETTINGS, f"{folder}: model_type = {kind!r}", " or ".join(map(repr, SETTINGS)), remedy)
    library = optional("transformers", "transformers")
    with _reading(folder):
        return getattr(library, "GPT2Config" if kind == "gpt2" else "BertConfig").from_pretrained(str(folder))


def _model(config: Any) -> Transformer:
    """Return what a config describes, or say which setting a `Transformer` cannot express."""
    kind = config.model_type
    for name, only in FIXED[kind].items():
        value = getattr(config, name, only)
        require(value == only, f"{name} = {value!r}", f"{only!r}, which is all that a Transformer has")
    named = SETTINGS[kind]
    values = {field: getattr(config, name) for field, name in named.items()}
    width, heads = values.pop("width"), values.pop("n_heads")
    require(heads >= 1, f"{named['n_heads']} = {heads!r}", "a whole number of at least 1")
    require(width % heads == 0, f"{named['width']} = {width}", f"a multiple of {named['n_heads']} = {heads}")
    activation = values["activation"]
    known = f"one of {', '.join(map(repr, ACTIVATIONS))}"
    require(activation in ACTIVATIONS, f"{named['activation']} = {activation!r}", known)
    rates = {name: getattr(config, name) for name in DROPOUTS[kind]}
    require(
        len(set(rates.values())) == 1,
        " and ".join(f"{name} = {rate}" for name, rate in rates.items()),
        "one rate of dropout for all",
        "Set them to one value in config.json; without training they change nothing.",
    )
    values |= {
        "mlp_width": 0 if values["mlp_width"] in (None, 4 * width) else values["mlp_width"],
        "activation": ACTIVATIONS[activation],
        "tied": config.tie_word_embeddings,
        "dropout": next(iter(rates.values())),
        "initial_std": config.initializer_range,
    }
    return (gpt2 if kind == "gpt2" else bert)(values.pop("n_layers"), heads, width // heads, **values)


def _config(model: Transformer, kind: str) -> dict[str, Any]:
    """Return the settings of a network, as `config.json` names them."""
    values = {
        "width": model.full_width,
        "mlp_width": model.full_mlp_width,
        "activation": next(k for k, v in ACTIVATIONS.items() if v == model.activation),
    }
    config = {name: values.get(field, getattr(model, field)) for field, name in SETTINGS[kind].items()}
    config |= FIXED[kind] | dict.fromkeys(DROPOUTS[kind], model.dropout)
    config |= dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"))
    return config | {"initializer_range": model.initial_std}


# -------------------------------------------------------------------- tensors


def _sources(model: Transformer) -> dict[str, _Source]:
    """Return where the checkpoint keeps each parameter, those of `model.shapes`."""
    kind = "gpt2" if model.norm == "pre" else "bert"
    homes, sources = HOMES[kind], {}
    for name in model.shapes(model.vocabulary):
        *path, leaf = name.split(".")
        if path[0] != "layers":
            sources[name] = _Source((f"{homes[path[0]]}.{leaf}",))
            continue
        layer = f"{homes['layers']}.{path[1]}"
        if kind == "bert" and path[2] == "qkv":
            places = tuple(f"{layer}.attention.self.{part}.{leaf}" for part in ("query", "key", "value"))
            sources[name] = _Source(places)
        else:
            linear = kind == "gpt2" and leaf == "weight" and not path[2].endswith("norm")
            sources[name] = _Source((f"{layer}.{homes[path[2]]}.{leaf}",), transposed=linear)
    if kind == "bert" and model.tied:
        sources["output.bias"] = _Source(("cls.predictions.bias",))
    return sources


def _parameter(found: dict[str, torch.Tensor], source: _Source, folder: str | Path) -> NDArray[Any]:
    """Return one of our parameters from the checkpoint's tensors."""
    parts = []
    for name in source.tensors:
        value = found[name]
        if not torch.isfinite(value).all():
            raise DamagedError(
                f"{folder}: tensor {name} holds values that are no finite numbers. Expected a trained network. Choose an "
                "earlier checkpoint, or copy it anew."
            )
        value = value.float() if value.itemsize < 4 else value
        parts.append((value.T if source.transposed else value).numpy())
    return np.ascontiguousarray(np.concatenate(parts))


# ---------------------------------------------------------------------- files


@contextmanager
def _reading(folder: str | Path) -> Iterator[None]:
    """Let the library read in silence, and say what its errors mean."""
    logging = optional("transformers", "transformers").logging
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except FileNotFoundError as error:
        raise MissingError(f"{folder}: {error}. Expected every file that an index names.") from error
    except Exception as error:  # of whichever part of the reader a damaged file upsets
        kind = MissingError if "no file named" in str(error) else DamagedError
        raise kind(
            f"{folder}: transformers cannot open it ({type(error).__name__}: {' '.join(str(error).split())[:300]}). "
            "Expected config.json and whole files of weights, as save_pretrained writes them. Copy it anew."
        ) from error
    finally:
        logging.set_verbosity(level)
        logging.enable_progress_bar()
