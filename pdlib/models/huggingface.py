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
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pdlib.files import DamagedError, MissingError, tensor_bytes, write_bytes
from pdlib.install import optional
from pdlib.models.transformer import Transformer, bert, gpt2
from pdlib.specs import Parameters, require

KINDS = {"gpt2": "GPT2LMHeadModel", "bert": "BertForMaskedLM"}
# Names here, and those of GPT-2 and BERT: of settings,
SETTINGS = {
    "vocabulary": ("vocab_size", "vocab_size"),
    "n_positions": ("n_positions", "max_position_embeddings"),
    "width": ("n_embd", "hidden_size"),
    "n_layers": ("n_layer", "num_hidden_layers"),
    "n_heads": ("n_head", "num_attention_heads"),
    "mlp_width": ("n_inner", "intermediate_size"),
    "activation": ("activation_function", "hidden_act"),
    "norm_epsilon": ("layer_norm_epsilon", "layer_norm_eps"),
}
# and of parameters, at the beginning or end and in a layer.
HOMES = {
    "token": ("transformer.wte", "bert.embeddings.word_embeddings"),
    "position": ("transformer.wpe", "bert.embeddings.position_embeddings"),
    "segment": ("", "bert.embeddings.token_type_embeddings"),
    "embedding_norm": ("", "bert.embeddings.LayerNorm"),
    "final_norm": ("transformer.ln_f", ""),
    "transform": ("", "cls.predictions.transform.dense"),
    "transform_norm": ("", "cls.predictions.transform.LayerNorm"),
    "output": ("lm_head", "cls.predictions.decoder"),
    "layers": ("transformer.h", "bert.encoder.layer"),
    "attention_norm": ("ln_1", "attention.output.LayerNorm"),
    "qkv": ("attn.c_attn", "attention.self.query attention.self.key attention.self.value"),
    "joined": ("attn.c_proj", "attention.output.dense"),
    "mlp_norm": ("ln_2", "output.LayerNorm"),
    "mlp_in": ("mlp.c_fc", "intermediate.dense"),
    "mlp_out": ("mlp.c_proj", "output.dense"),
}
ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}
# What a `Transformer` has in one way only: setting -> the value it has there, which is also the setting's default.
_CROSS = {"add_cross_attention": False}
FIXED: dict[str, dict[str, Any]] = {
    "gpt2": _CROSS | {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False},
    "bert": _CROSS | {"type_vocab_size": 2, "is_decoder": False, "position_embedding_type": "absolute"},
}
DROPOUTS = {
    "gpt2": ("resid_pdrop", "embd_pdrop", "attn_pdrop"),
    "bert": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
}
# Tensors that carry nothing of the network: counters that older versions stored, heads of other tasks.
IGNORED = re.compile(
    r"(^|\.)(pooler\.|cls\.seq_relationship\.|embeddings\.position_ids$|attn\.(masked_)?bias$)"
)
BIAS, BIAS_TWICE = "cls.predictions.bias", "cls.predictions.decoder.bias"  # an untied BERT has both, equal
WRAPPERS = {r"^(module\.|_orig_mod\.|model\.)+": ""}  # what training wraps a network in


def load_pretrained(folder: str | Path) -> tuple[Transformer, Parameters]:
    """Return the network of a folder that `save_pretrained` wrote, here or there: model and parameters.

    GPT-2 with its language-model head, or BERT with its masked-word head; BERT's pooler and next-sentence head are
    left out. What `transformers` opens is read: names and files of older versions, several files, weights saved from
    within `DataParallel` or `torch.compile`. Half precision becomes float32.

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
    network = getattr(optional("transformers", "transformers"), KINDS[config.model_type])
    with reading(folder):
        module, report = network.from_pretrained(
            str(folder), **how, output_loading_info=True, ignore_mismatched_sizes=True
        )
    for name, got, expected in sorted(report["mismatched_keys"]):
        said = f"{tuple(expected)}, from the {config.model_type} of config.json"
        remedy = (
            f"Correct its sizes, such as {SETTINGS['vocabulary'][0]}, or take the weights that belong to it."
        )
        require(False, f"tensor {name} of shape {tuple(got)}", said, remedy)
    found = module.state_dict()
    missing = set(report["missing_keys"])
    if missing == {BIAS_TWICE}:  # older versions have it once
        found[BIAS_TWICE] = found[BIAS]
        missing = set()
    unknown = sorted(name for name in report["unexpected_keys"] if not IGNORED.search(name))
    require(
        not missing and not unknown,
        f"{folder} without the tensors {sorted(missing)[:3]} and with {unknown[:3]}",
        f"exactly those of a {type(module).__name__} with {model.n_layers} layers",
        "Correct config.json, or rename the tensors: a file of weights holds them alone, by the names of its state_dict().",
    )
    tied = module.get_output_embeddings().weight is module.get_input_embeddings().weight
    require(
        tied or not model.tied,
        "output and input embeddings that differ",
        "the same numbers, since tie_word_embeddings is true",
        "If they are meant to differ, set it to false in config.json.",
    )
    parameters = {}
    for name, (tensors, transposed) in _sources(model).items():
        for tensor in tensors:
            if not torch.isfinite(found[tensor]).all():
                raise DamagedError(
                    f"{folder}: tensor {tensor} holds values that are no finite numbers. Expected a trained network. Choose "
                    "an earlier checkpoint, or copy it anew."
                )
        value = torch.cat([found[tensor].T if transposed else found[tensor] for tensor in tensors])
        parameters[name] = np.ascontiguousarray((value.float() if value.itemsize < 4 else value).numpy())
    return model, parameters


def described(folder: str | Path) -> Transformer:
    """Return the network that a folder's `config.json` describes; `load_pretrained` says what is refused."""
    return _model(_config_of(Path(folder)))


def save_pretrained(folder: str | Path, model: Transformer, parameters: Parameters) -> None:
    """Write a network so that `GPT2LMHeadModel` or `BertForMaskedLM` opens it by `from_pretrained(folder)`.

    A causal network with `norm="pre"` is a GPT-2, a bidirectional one with `norm="post"` a BERT. No token is declared as
    padding, beginning or end. The config is written last: a folder that has one is whole.

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
    pdlib.fields.SpecError: 3 classes: expected as many as the vocabulary, 2, for GPT2LMHeadModel.
    """
    kind = _kind(model)
    there, only = KINDS[kind], f"which is all that {KINDS[kind]} has"
    attends, output = ("causal", "linear") if kind == "gpt2" else ("all", "transformed")
    for name, expected in (("attends", attends), ("heads", "concatenated"), ("output", output)):
        value = getattr(model, name)
        what = f"{name} = {value!r} with norm = {model.norm!r}"
        require(value == expected, what, f"{expected!r}, {only}")
    require(
        model.full_width == model.joined_size,
        f"width = {model.width} with {model.n_heads} heads of head_size = {model.head_size}",
        f"n_heads x head_size = {model.joined_size}, {only}",
    )
    n_classes = len(parameters["output.weight"]) if "output.weight" in parameters else model.vocabulary
    expected = f"as many as the vocabulary, {model.vocabulary}, for {there}"
    require(n_classes == model.vocabulary, f"{n_classes} classes", expected)
    model.check_parameters(parameters)
    tensors: dict[str, NDArray[Any]] = {}
    for name, (into, transposed) in _sources(model).items():
        value = parameters[name].T if transposed else parameters[name]
        for tensor, part in zip(into, np.split(value, len(into)), strict=True):
            tensors[tensor] = np.ascontiguousarray(part)
    if BIAS_TWICE in tensors:
        tensors[BIAS] = tensors[BIAS_TWICE]
    config = _config(model, kind) | {"architectures": [there], "dtype": str(parameters["token.weight"].dtype)}
    write_bytes(Path(folder) / "model.safetensors", tensor_bytes(tensors, {"format": "pt"}))
    text = json.dumps(config, indent=2, sort_keys=True, allow_nan=False) + "\n"
    write_bytes(Path(folder) / "config.json", text.encode())


def _kind(model: Transformer) -> str:
    return "gpt2" if model.norm == "pre" else "bert"


def _named(kind: str) -> dict[str, str]:
    """Fields of a `Transformer`, and how a config of this kind names them."""
    return {field: names[kind == "bert"] for field, names in SETTINGS.items()}


def _config_of(folder: Path) -> Any:
    """Return the library's record of a `config.json`, with its defaults."""
    path = folder / "config.json"
    if not path.is_file():
        raise MissingError(
            f"{path} is not there. Expected config.json and weights in a folder; a checkpoint in another form is brought "
            "into this one by transformers' save_pretrained."
        )
    try:
        said = json.loads(path.read_bytes())
        width = (kind for kind, name in zip(KINDS, SETTINGS["width"], strict=True) if name in said)
        kind = said.get("model_type") or next(width, None)  # long ago it was not said
    except (ValueError, AttributeError) as error:
        raise DamagedError(
            f"{path} is no JSON object ({error}). Expected a checkpoint's settings."
        ) from error
    known = " or ".join(map(repr, KINDS))
    require(kind in KINDS, f"{folder}: model_type = {kind!r}", known, "Other networks cannot be read.")
    library = optional("transformers", "transformers")
    with reading(folder):
        return getattr(library, "GPT2Config" if kind == "gpt2" else "BertConfig").from_pretrained(str(folder))


def _model(config: Any) -> Transformer:
    """Return what a config describes, or say which setting a `Transformer` cannot express."""
    kind = config.model_type
    for name, only in FIXED[kind].items():
        value = getattr(config, name, only)
        require(value == only, f"{name} = {value!r}", f"{only!r}, which is all that a Transformer has")
    named = _named(kind)
    values = {field: getattr(config, name) for field, name in named.items()}
    width, heads, activation = values.pop("width"), values.pop("n_heads"), values.pop("activation")
    require(heads >= 1, f"{named['n_heads']} = {heads!r}", "a whole number of at least 1")
    require(width % heads == 0, f"{named['width']} = {width}", f"a multiple of {named['n_heads']} = {heads}")
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
        "activation": next(name for name, ours in ACTIVATIONS.items() if ours == model.activation),
    }
    config = {name: values.get(field, getattr(model, field)) for field, name in _named(kind).items()}
    config |= FIXED[kind] | dict.fromkeys(DROPOUTS[kind], model.dropout)
    config |= dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"))
    more = {"model_type": kind, "initializer_range": model.initial_std, "tie_word_embeddings": model.tied}
    return config | more


def _sources(model: Transformer) -> dict[str, tuple[list[str], bool]]:
    """Return the tensors that hold each parameter of `model.shapes`, one after the other, and whether as (in, out)."""
    homes = {place: names[_kind(model) == "bert"] for place, names in HOMES.items()}
    sources = {}
    for name in model.shapes(model.vocabulary):
        *path, leaf = name.split(".")
        place, layer = path[-1], f"{homes['layers']}.{path[1]}." if path[0] == "layers" else ""
        tensors = [f"{layer}{home}.{leaf}" for home in homes[place].split()]
        linear = bool(layer) and leaf == "weight" and not place.endswith("norm")
        sources[name] = tensors, linear and _kind(model) == "gpt2"
    if _kind(model) == "bert" and model.tied:
        sources["output.bias"] = [BIAS], False
    return sources


@contextmanager
def reading(folder: str | Path) -> Iterator[None]:
    """Let the library read in silence, and say what its errors mean."""
    logging = optional("transformers", "transformers").logging
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except Exception as error:  # of whichever part of the reader a missing or damaged file upsets
        said = " ".join(str(error).partition("\x1b")[0].split())  # without advice in bold
        absent = isinstance(error, FileNotFoundError) or "no file named" in str(error)
        raise (MissingError if absent else DamagedError)(
            f"{folder}: transformers cannot open it ({type(error).__name__}: {said[:300]}). "
            "Expected config.json and whole files of weights, as save_pretrained writes them: tensors, no pickled objects. "
            "Copy it anew, or save it so."
        ) from error
    finally:
        logging.set_verbosity(level)
        logging.enable_progress_bar()
