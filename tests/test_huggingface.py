"""GPT-2 and BERT of `transformers` and ours: the same numbers from the same files, in both directions, and no network."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from pdlib import Adam, SparseParity, Store, Training, Transformer, execute
from pdlib.files import DamagedError, MissingError
from pdlib.models import huggingface
from pdlib.models.huggingface import load_pretrained, save_pretrained
from pdlib.models.transformer import bert, gpt2, tokens_of
from pdlib.specs import SpecError

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a library may try: no test of this file reaches another machine."""

    def refused(*_: Any, **__: Any) -> NoReturn:
        raise OSError("tests use no network")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket.socket, "connect_ex", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)


# Two implementations with the same random weights

GPT2: dict[str, dict[str, Any]] = {
    "gpt2, tied": {},
    "gpt2, untied": {"tie_word_embeddings": False, "activation_function": "gelu_pytorch_tanh"},
    "gpt2, n_inner, gelu": {"n_inner": 10, "activation_function": "gelu", "n_layer": 1},
    "gpt2, one head, three layers": {"n_head": 1, "n_layer": 3, "layer_norm_epsilon": 1e-3},
}
BERT: dict[str, dict[str, Any]] = {
    "bert, tied": {},
    "bert, untied": {"tie_word_embeddings": False, "hidden_act": "gelu_new"},
    "bert, narrow, three heads": {"hidden_size": 9, "num_attention_heads": 3, "intermediate_size": 5},
    "bert, one layer": {"num_hidden_layers": 1, "layer_norm_eps": 1e-5},
}
CASES = GPT2 | BERT
VOCABULARY, POSITIONS = 11, 80  # positions beyond which attention takes the fused kernel are among them
EXACT = {torch.float64: 1e-9, torch.float32: 1e-5}  # relative to the largest entry


def theirs(name: str, dtype: torch.dtype = torch.float64, seed: int = 0, **changes: Any) -> Any:
    """A network of `transformers` in which every number is random, those that start at 0 or 1 too."""
    common = {"vocab_size": VOCABULARY, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    if name in GPT2:
        own = {"n_positions": POSITIONS, "n_embd": 8, "n_layer": 2, "n_head": 2} | GPT2[name]
        config: Any = transformers.GPT2Config(**(common | own | changes))
        module = transformers.GPT2LMHeadModel(config)
    else:
        own = {"max_position_embeddings": POSITIONS, "hidden_size": 8, "num_hidden_layers": 2}
        own |= {"num_attention_heads": 2, "intermediate_size": 12} | BERT[name]
        config = transformers.BertConfig(**(common | own | changes))
        module = transformers.BertForMaskedLM(config)
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    if name in BERT and not config.tie_word_embeddings:  # it has the bias twice, and adds one of them
        module.cls.predictions.bias.data.copy_(module.cls.predictions.decoder.bias.data)
    return module.to(dtype).eval()


def with_attention(module: Any, kind: str) -> Any:
    module.set_attn_implementation(kind)
    return module


def inputs(n_tokens: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Tokens, and the weights of the logits in the sum whose gradient is taken."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, VOCABULARY, (3, n_tokens), generator=generator)
    return tokens, torch.randn(3, n_tokens, VOCABULARY, generator=generator, dtype=torch.float64)


def both_sides(
    module: Any,
    folder: Path,
    n_tokens: int,
    mask: Tensor | None = None,
    segments: Tensor | None = None,
    change: Callable[[dict[str, np.ndarray]], None] = lambda parameters: None,
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield, by name, what should agree: the logits, then the gradient of every parameter of theirs."""
    module.save_pretrained(folder)
    model, parameters = load_pretrained(folder)
    change(parameters)
    ours = model.module(parameters).eval()
    tokens, weights = inputs(n_tokens)
    real = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask
    extra = {} if segments is None else {"token_type_ids": segments}
    their_logits = module(
        input_ids=tokens, attention_mask=None if mask is None else mask.long(), **extra
    ).logits
    our_logits = ours(tokens, mask=mask, segments=segments)
    yield "logits", our_logits[real], their_logits[real]
    for logits in (their_logits, our_logits):
        (logits * weights.to(logits.dtype))[real].sum().backward()
    gradients = {name: p.grad.numpy() for name, p in ours.named_parameters() if p.grad is not None}
    save_pretrained(folder / "gradients", model, gradients)  # their names, their layout
    found = load_file(folder / "gradients" / "model.safetensors")
    unused = {name for name, p in module.named_parameters() if p.grad is None}
    assert unused <= {"cls.predictions.bias"}  # of an untied BERT
    assert found.keys() == {name for name, _ in module.named_parameters()}
    for name, parameter in module.named_parameters():
        if name not in unused:
            yield name, found[name], parameter.grad


def distance(one: Tensor, other: Tensor) -> float:
    """Largest difference, relative to the largest entry, or to 1: a key's bias has the gradient 0 but for rounding."""
    assert one.dtype == other.dtype
    return float(((one - other).abs().max() / other.abs().max().clamp_min(1.0)).detach())


@pytest.mark.parametrize("dtype", EXACT, ids=str)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", CASES)
def test_logits_and_all_gradients_are_those_of_transformers(
    tmp_path: Path, name: str, attention: str, dtype: torch.dtype
) -> None:
    module = with_attention(theirs(name, dtype), attention)
    for n_tokens in (7, 70) if dtype == torch.float64 else (7,):
        module.zero_grad()
        for what, ours, others in both_sides(module, tmp_path, n_tokens):
            assert ours.dtype == dtype
            assert distance(ours, others) < EXACT[dtype], (what, n_tokens)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", ["gpt2, tied", "gpt2, untied", "bert, tied", "bert, untied"])
@pytest.mark.parametrize("n_tokens", [7, 70])
def test_padding_hides_the_same_on_both_sides(
    tmp_path: Path, name: str, attention: str, n_tokens: int
) -> None:
    module = with_attention(theirs(name), attention)
    place = torch.arange(n_tokens)
    mask = torch.stack([place < n_tokens, place < n_tokens - 3, place < 1])
    if name in BERT:
        mask[1] = (place > 1) & (place < n_tokens - 2)  # on both ends
        mask[2] = place >= n_tokens - 1
    for what, ours, others in both_sides(module, tmp_path, n_tokens, mask):
        assert distance(ours, others) < 1e-9, what
    model, parameters = load_pretrained(tmp_path)
    tokens, _ = inputs(n_tokens)
    seen = model.module(parameters).eval()(tokens)
    mask[:, :] = place != 3
    hidden = model.module(parameters).eval()(tokens, mask=mask)
    assert distance(hidden[:, 4:], seen[:, 4:]) > 1e-3  # the control


@pytest.mark.parametrize("name", CASES)
def test_with_the_same_seed_dropout_drops_the_same_numbers(tmp_path: Path, name: str) -> None:
    """In the same places, in the same order, at the same rate."""
    module = with_attention(theirs(name), "eager")
    module.save_pretrained(tmp_path)
    model, parameters = load_pretrained(tmp_path)
    assert model.dropout == 0.1
    tokens, _ = inputs(7)
    found = []
    with torch.random.fork_rng():
        for network in (model.module(parameters).train(), module.train()):
            torch.manual_seed(0)
            logits = network(tokens)
            found.append(getattr(logits, "logits", logits))
    assert distance(*found) < 1e-9
    assert distance(found[0], module.eval()(tokens).logits) > 1e-2  # the control


@pytest.mark.parametrize("name", BERT)
def test_segments_are_their_token_types(tmp_path: Path, name: str) -> None:
    segments = (torch.arange(7) > 3).long().expand(3, 7).clone()
    segments[0] = 0
    for what, ours, others in both_sides(theirs(name), tmp_path, 7, segments=segments):
        assert distance(ours, others) < 1e-9, what
    plain = {w: o for w, o, _ in both_sides(theirs(name), tmp_path, 7)}
    apart = {w: o for w, o, _ in both_sides(theirs(name), tmp_path, 7, segments=segments)}
    assert distance(plain["logits"], apart["logits"]) > 1e-3


# Controls


def swap_query_and_key(parameters: dict[str, np.ndarray]) -> None:
    third = len(parameters["layers.0.qkv.weight"]) // 3
    for leaf in ("weight", "bias"):
        value = parameters[f"layers.0.qkv.{leaf}"]
        parameters[f"layers.0.qkv.{leaf}"] = np.concatenate(
            (value[third : 2 * third], value[:third], value[2 * third :])
        )


def turn_a_square_weight(parameters: dict[str, np.ndarray]) -> None:
    parameters["layers.0.joined.weight"] = parameters["layers.0.joined.weight"].T.copy()


@pytest.mark.parametrize("change", [swap_query_and_key, turn_a_square_weight])
@pytest.mark.parametrize("name", ["gpt2, tied", "bert, tied"])
def test_exchanged_or_turned_weights_do_not_pass_the_comparison(
    tmp_path: Path, name: str, change: Callable[[dict[str, np.ndarray]], None]
) -> None:
    differences = {w: distance(a, b) for w, a, b in both_sides(theirs(name), tmp_path, 7, change=change)}
    assert differences["logits"] > 1e-3


# Round trips


@pytest.mark.parametrize("name", CASES)
def test_what_they_wrote_and_we_wrote_again_is_the_same_file(tmp_path: Path, name: str) -> None:
    theirs(name, torch.float32).save_pretrained(tmp_path / "theirs")
    save_pretrained(tmp_path / "ours", *load_pretrained(tmp_path / "theirs"))
    before, after = (load_file(tmp_path / side / "model.safetensors") for side in ("theirs", "ours"))
    assert before.keys() == after.keys()
    for key, value in before.items():
        torch.testing.assert_close(after[key], value, rtol=0, atol=0)
    assert load_pretrained(tmp_path / "ours")[0] == load_pretrained(tmp_path / "theirs")[0]


OURS = {
    "causal": Transformer(2, 3, 4, n_positions=9, vocabulary=5, dropout=0.25, initial_std=0.5),
    "causal, tied, gelu": Transformer(
        1, 2, 4, mlp_width=7, n_positions=9, vocabulary=5, tied=True, activation="gelu", norm_epsilon=1e-3
    ),
    "bidirectional": bert(2, 2, 4, n_positions=9, vocabulary=5, initial_std=0.5),
    "bidirectional, untied": bert(
        1, 2, 4, mlp_width=7, n_positions=9, vocabulary=5, tied=False, activation="gelu_tanh", dropout=0.125
    ),
}


def opened(folder: Path, model: Transformer) -> Any:
    """The folder in `transformers`, nothing missing and nothing left over."""
    cls = transformers.GPT2LMHeadModel if model.norm == "pre" else transformers.BertForMaskedLM
    module, report = cls.from_pretrained(folder, output_loading_info=True, local_files_only=True)
    assert not any(report.values()), report
    return module.eval()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OURS)
def test_what_we_write_opens_in_transformers_and_says_the_same(tmp_path: Path, name: str, dtype: str) -> None:
    model = OURS[name]
    parameters = {k: v.astype(dtype) for k, v in model.initial(9, 5, seed=3).items()}
    save_pretrained(tmp_path, model, parameters)
    module = opened(tmp_path, model)
    rates = ("resid_pdrop", "embd_pdrop", "attn_pdrop")
    if model.norm == "post":
        rates = ("hidden_dropout_prob", "attention_probs_dropout_prob")
    assert {getattr(module.config, rate) for rate in rates} == {model.dropout}
    assert module.config.initializer_range == model.initial_std
    assert module.config.pad_token_id is None  # token 0 is one like the others
    tokens = torch.randint(0, 5, (4, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        other = module(input_ids=tokens).logits
    assert str(other.dtype) == f"torch.{dtype}"
    assert distance(model.module(parameters).eval()(tokens), other) < EXACT[other.dtype]
    np.testing.assert_allclose(model.logits(parameters, tokens.numpy()), other[:, -1], atol=1e-5)
    again, back = load_pretrained(tmp_path)
    assert again == model
    assert back.keys() == parameters.keys()
    for key, value in parameters.items():
        np.testing.assert_array_equal(back[key], value, strict=True)
    said = replace(model, width=model.full_width, mlp_width=model.full_mlp_width)
    save_pretrained(tmp_path, said, parameters)
    assert load_pretrained(tmp_path)[0] == model  # equal widths are one model however they were said


def test_a_network_trained_here_opens_in_transformers(tmp_path: Path, store: Store) -> None:
    model = Transformer(2, 2, 4, n_positions=6, initial_std=0.3)
    spec = Training(SparseParity(6, 2), model, Adam(1e-2), n_steps=20, evaluate_every=20, batch_size=8)
    execute([spec], store, progress=False)
    parameters = store.load_checkpoint(spec, 20)
    save_pretrained(tmp_path, model, parameters)
    bits, _ = spec.task.stream(5, "probe").examples(0, 50)
    with torch.no_grad():
        logits = opened(tmp_path, model)(input_ids=tokens_of(bits)).logits[:, -1]
    np.testing.assert_allclose(model.logits(parameters, bits), logits, rtol=0, atol=1e-5)
    untrained = model.logits(model.initial(6, 2, seed=0), bits)
    assert np.abs(untrained - logits.numpy()).max() > 1e-2  # the control


# Other layouts


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    path = folder / "model.safetensors"
    save_file({k: v.clone() for k, v in change(load_file(path)).items()}, path, {"format": "pt"})


def as_long_ago(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names and additions of earlier versions and of neighbouring classes."""
    if "transformer.wte.weight" in tensors:
        found = {k.removeprefix("transformer."): v for k, v in tensors.items()}
        found["h.0.attn.bias"] = torch.ones(1, 1, 4, 4).tril()
        found["h.0.attn.masked_bias"] = torch.tensor(-1e4)
        return found | {"lm_head.weight": found["wte.weight"]}
    found = {k.removeprefix("bert."): v for k, v in tensors.items()}
    for new, old in (("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta")):
        found = {k.replace(new, old): v for k, v in found.items()}
    found["embeddings.position_ids"] = torch.arange(POSITIONS)[None]
    found["pooler.dense.weight"] = torch.zeros(8, 8)
    found["cls.seq_relationship.weight"] = torch.zeros(2, 8)
    found["cls.predictions.decoder.weight"] = found["embeddings.word_embeddings.weight"]
    return found | {"cls.predictions.decoder.bias": found["cls.predictions.bias"]}


def as_pickle(folder: Path, tensors: dict[str, Any]) -> Path:
    """Write the weights of a folder as older versions did, instead of what is there."""
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    return folder / "pytorch_model.bin"


def several(folder: Path, module: Any) -> None:
    (folder / "model.safetensors").unlink()
    module.save_pretrained(folder, max_shard_size="2KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2


def in_two_pickles(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    weight_map = {}
    for i, names in enumerate((sorted(tensors)[::2], sorted(tensors)[1::2]), 1):
        name = f"pytorch_model-{i:05}-of-00002.bin"
        torch.save({n: tensors[n] for n in names}, folder / name)
        weight_map |= dict.fromkeys(names, name)
    (folder / "pytorch_model.bin.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map})
    )


def without_a_kind(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["model_type"], config["architectures"]
    (folder / "config.json").write_text(json.dumps(config))


LAYOUTS: dict[str, Callable[[Path, Any], object]] = {
    "as long ago": lambda folder, _: rewrite(folder, as_long_ago),
    "several files": several,
    "a pickle": lambda folder, _: as_pickle(folder, load_file(folder / "model.safetensors")),
    "several pickles": lambda folder, _: in_two_pickles(folder),
    "no kind": lambda folder, _: without_a_kind(folder),
    # as torch.save leaves them, with their gradients' flag and one name of a tied pair
    "named parameters": lambda folder, module: as_pickle(folder, dict(module.named_parameters())),
}
for prefix in ("module.", "_orig_mod.", "_orig_mod.module.", "model."):
    LAYOUTS[prefix] = lambda folder, _, p=prefix: rewrite(folder, lambda t: {p + k: v for k, v in t.items()})  # type: ignore[misc]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["gpt2, tied", "bert, tied"])
def test_other_layouts_of_the_same_weights_are_read(tmp_path: Path, name: str, layout: str) -> None:
    module = theirs(name)
    module.save_pretrained(tmp_path)
    model, parameters = load_pretrained(tmp_path)
    LAYOUTS[layout](tmp_path, module)
    again, back = load_pretrained(tmp_path)
    assert again == model
    assert back.keys() == parameters.keys()
    for key, value in parameters.items():
        np.testing.assert_array_equal(back[key], value)
    if layout == "several files":
        next(tmp_path.glob("model-00002-*")).unlink()
        with pytest.raises(MissingError, match="model-00002-of"):
            load_pretrained(tmp_path)


def test_an_untied_bert_of_a_version_with_one_bias_is_read(tmp_path: Path) -> None:
    theirs("bert, untied").save_pretrained(tmp_path)
    expected = load_pretrained(tmp_path)[1]["output.bias"]
    rewrite(tmp_path, lambda t: {k: v for k, v in t.items() if k != "cls.predictions.decoder.bias"})
    np.testing.assert_array_equal(load_pretrained(tmp_path)[1]["output.bias"], expected)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_finite_numbers_are_an_error(tmp_path: Path, value: float) -> None:
    theirs("gpt2, tied").save_pretrained(tmp_path)
    rewrite(tmp_path, lambda t: t | {"transformer.ln_f.bias": torch.full((8,), value)})
    with pytest.raises(DamagedError, match=r"transformer\.ln_f\.bias holds .* no finite numbers"):
        load_pretrained(tmp_path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["gpt2, tied", "bert, untied"])
def test_half_precision_is_read_as_float32(tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    module = theirs(name, dtype)
    module.save_pretrained(tmp_path)
    model, parameters = load_pretrained(tmp_path)
    assert {v.dtype for v in parameters.values()} == {np.dtype("float32")}
    tokens, _ = inputs(7)
    assert distance(model.module(parameters).eval()(tokens), module.float()(input_ids=tokens).logits) < 1e-5


# Initialization


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_initial_weights_are_distributed_as_theirs(tmp_path: Path, kind: str) -> None:
    sizes = {"n_positions": 128, "vocabulary": 300, "dropout": 0.1}
    model = (gpt2 if kind == "gpt2" else bert)(4, 4, 16, **sizes)
    save_pretrained(tmp_path, model, model.initial(128, 300, seed=0))
    ours = load_file(tmp_path / "model.safetensors")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        cls = transformers.GPT2LMHeadModel if kind == "gpt2" else transformers.BertForMaskedLM
        module = cls(cls.config_class.from_pretrained(tmp_path))
    n_compared = 0
    for name, parameter in module.named_parameters():
        own, value = ours[name].float(), parameter.detach()
        n = value.numel()
        if value.std() == 0:  # zeros and ones
            assert torch.equal(own, value), name
        elif n > 4000:  # the deviation of n numbers is known to a share of 1 / sqrt(2 n)
            wanted = 0.02 / np.sqrt(2 * 4) if name.endswith("c_proj.weight") else 0.02
            for side in (own, value):
                assert float(side.std()) == pytest.approx(wanted, rel=4 / np.sqrt(2 * n)), name
                assert abs(float(side.mean())) < 4 * wanted / np.sqrt(n), name
                assert 2.7 < float(((side / side.std()) ** 4).mean()) < 3.3, name  # normal: 3, uniform: 1.8
            n_compared += 1
    assert n_compared >= 4 * 4 + 2


# Refused


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("gpt2, tied", {"model_type": "llama"}, "model_type = 'llama': expected 'gpt2' or 'bert'"),
        ("gpt2, tied", {"add_cross_attention": True}, "add_cross_attention = True: expected False"),
        ("gpt2, tied", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx = True: expected False"),
        ("gpt2, tied", {"scale_attn_weights": False}, "scale_attn_weights = False: expected True"),
        ("gpt2, tied", {"activation_function": "relu"}, "activation_function = 'relu': expected one of 'gelu'"),
        ("gpt2, tied", {"n_head": 3}, "n_embd = 8: expected a multiple of n_head = 3"),
        ("gpt2, tied", {"n_head": 0}, "n_head = 0: expected a whole number of at least 1"),
        ("gpt2, tied", {"attn_pdrop": 0.2}, "attn_pdrop = 0.2: expected one rate of dropout for all"),
        ("gpt2, tied", {"layer_norm_epsilon": -1.0}, "norm_epsilon = -1.0"),
        ("bert, tied", {"is_decoder": True}, "is_decoder = True: expected False"),
        ("bert, tied", {"position_embedding_type": "relative_key"}, "= 'relative_key': expected 'absolute'"),
        ("bert, tied", {"type_vocab_size": 3}, "type_vocab_size = 3: expected 2"),
        ("gpt2, tied", {"vocab_size": 12}, "transformer.wte.weight of shape (11, 8): expected (12, 8)"),
        ("bert, tied", {"vocab_size": 10}, "Correct its sizes, such as vocab_size, or take the weights that belong"),
        ("gpt2, tied", {"n_layer": 3}, "without the tensors ['transformer.h.2."),
        ("gpt2, tied", {"n_layer": 1}, "with ['transformer.h.1."),
        ("gpt2, tied", {"tie_word_embeddings": False}, "without the tensors ['lm_head.weight']"),
        ("gpt2, untied", {"tie_word_embeddings": True}, "output and input embeddings that differ"),
        ("bert, untied", {"tie_word_embeddings": True}, "output and input embeddings that differ"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_expressed_or_does_not_fit_the_tensors_is_named(
    tmp_path: Path, name: str, changes: dict[str, Any], said: str
) -> None:
    theirs(name).save_pretrained(tmp_path)
    load_pretrained(tmp_path)  # the control
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(SpecError, match=r"expected") as caught:
        load_pretrained(tmp_path)
    assert said in str(caught.value)


def test_a_tensor_that_is_no_part_of_the_network_is_refused(tmp_path: Path) -> None:
    theirs("bert, tied").save_pretrained(tmp_path)
    more = {"bert.encoder.layer.0.crossattention.self.query.weight": torch.ones(8, 8)}
    rewrite(tmp_path, lambda t: t | more)
    with pytest.raises(
        SpecError, match=r"crossattention.* expected exactly those of a BertForMaskedLM with 2"
    ):
        load_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (replace(OURS["causal"], heads="averaged", width=12), "heads = 'averaged' with norm = 'pre'"),
        (replace(OURS["causal"], attends="all"), "attends = 'all' with norm = 'pre': expected 'causal'"),
        (replace(OURS["bidirectional"], attends="causal"), "attends = 'causal' with norm = 'post'"),
        (replace(OURS["causal"], output="transformed"), "output = 'transformed' with norm = 'pre'"),
        (replace(OURS["bidirectional"], output="linear"), "output = 'linear' with norm = 'post'"),
        (replace(OURS["causal"], width=10), "width = 10 with 3 heads of head_size = 4: expected n_heads x head_size = 12"),
        (replace(OURS["bidirectional"], width=10), "which is all that BertForMaskedLM has"),
    ],
)  # fmt: skip
def test_a_network_that_they_cannot_express_is_not_written(
    tmp_path: Path, model: Transformer, said: str
) -> None:
    with pytest.raises(SpecError, match="expected") as caught:
        save_pretrained(tmp_path / "new", model, model.initial(9, 5, seed=0))
    assert said in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_other_classes_or_parameters_of_another_shape_are_not_written(tmp_path: Path) -> None:
    model = OURS["causal"]
    with pytest.raises(SpecError, match=r"8 classes: expected as many as the vocabulary, 5, for GPT2LM"):
        save_pretrained(tmp_path, model, model.initial(9, 8, seed=0))
    parameters = model.initial(9, 5, seed=0)
    with pytest.raises(SpecError, match=r"parameter position.weight of shape \(8, 12\): expected \(9, 12\)"):
        save_pretrained(tmp_path, model, parameters | {"position.weight": parameters["position.weight"][:8]})
    assert list(tmp_path.iterdir()) == []


# Files


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"config\.json is not there"):
        load_pretrained(tmp_path)
    theirs("gpt2, tied").save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = {name: value.clone() for name, value in load_file(path).items()}  # the file is cut
    for error in ("SafetensorError", ""):
        whole = path.read_bytes()
        for share in (0.99, 0.3, 0.0):
            path.write_bytes(whole[: int(share * len(whole))])
            message = rf"transformers cannot open it \({error}.*Expected .* whole files"
            with pytest.raises(DamagedError, match=message):
                load_pretrained(tmp_path)
        if error:
            path = as_pickle(tmp_path, tensors)
    path.unlink()
    with pytest.raises(MissingError, match=r"no file named model\.safetensors"):
        load_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": ')
    with pytest.raises(DamagedError, match=r"config\.json is no JSON object"):
        load_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["gpt2, tied", "bert, tied"])
def test_a_pickle_of_something_else_is_refused_and_padded_rows_are_cut_as_advised(
    tmp_path: Path, name: str
) -> None:
    module = theirs(name)
    module.save_pretrained(tmp_path)
    path = as_pickle(tmp_path, module)
    with pytest.raises(
        DamagedError, match=r"Weights only load failed.*: tensors, no pickled objects\. [^\x1b]*$"
    ):
        load_pretrained(tmp_path)
    torch.save({"epoch": 3, "state_dict": module.state_dict()}, path)
    with pytest.raises(SpecError, match=r"\['epoch', 'state_dict'\]: .* by the names of its state_dict\(\)"):
        load_pretrained(tmp_path)
    path.unlink()
    tokens = inputs(7)[0] % (VOCABULARY - 2)
    before = module(tokens).logits[..., : VOCABULARY - 2]
    module.resize_token_embeddings(VOCABULARY - 2)
    module.save_pretrained(tmp_path)
    model, parameters = load_pretrained(tmp_path)
    assert model.vocabulary == VOCABULARY - 2
    assert distance(model.module(parameters).eval()(tokens), before) < 1e-9


def test_a_folder_that_has_a_config_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def full_at_the_second(path: Path, data: bytes) -> None:
        written.append(path.name)
        if len(written) == 2:
            raise OSError("disk full")
        path.write_bytes(data)

    monkeypatch.setattr(huggingface, "write_bytes", full_at_the_second)
    with pytest.raises(OSError, match="disk full"):
        save_pretrained(tmp_path, OURS["causal"], OURS["causal"].initial(9, 5, seed=0))
    assert written == ["model.safetensors", "config.json"]
    assert not (tmp_path / "config.json").exists()
