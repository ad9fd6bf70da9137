"""The Transformer against a plain loop, its shortcuts against the long way, and what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from pdlib import Adam, SparseParity, Training, Transformer
from pdlib.models import network as network_module
from pdlib.models import transformer
from pdlib.models.network import TransformerModule
from pdlib.models.transformer import bert, gpt2, tokens_of
from pdlib.specs import SpecError

N_CLASSES, N_TOKENS, VOCABULARY = 6, 9, 3
MODELS = {
    "gpt2": Transformer(2, 3, 4, n_positions=12, vocabulary=VOCABULARY),
    "one layer": Transformer(1, 2, 4, n_positions=12, vocabulary=VOCABULARY),
    "averaged": Transformer(2, 3, 4, n_positions=12, vocabulary=VOCABULARY, heads="averaged"),
    "averaged, wide": Transformer(2, 3, 4, width=10, n_positions=12, vocabulary=VOCABULARY, heads="averaged"),
    "free head size": Transformer(2, 3, 5, width=8, mlp_width=7, n_positions=12, vocabulary=VOCABULARY),
    "tied": Transformer(2, 2, 4, n_positions=12, vocabulary=N_CLASSES, tied=True),
    "all, pre": Transformer(2, 2, 4, n_positions=12, vocabulary=VOCABULARY, attends="all"),
    "causal, post": Transformer(2, 2, 4, n_positions=12, vocabulary=VOCABULARY, norm="post"),
    "bert": bert(3, 2, 4, n_positions=12, vocabulary=N_CLASSES),
    "bert, untied, averaged": bert(
        2, 3, 4, n_positions=12, vocabulary=VOCABULARY, tied=False, heads="averaged", norm_epsilon=1e-3
    ),
    "transformed": Transformer(
        2, 2, 4, n_positions=12, vocabulary=VOCABULARY, output="transformed", activation="gelu"
    ),
}
all_models = pytest.mark.parametrize("name", MODELS)


def parameters_of(model: Transformer, seed: int = 0) -> dict[str, np.ndarray]:
    """Random numbers everywhere, also where a network starts at 0 or 1."""
    generator = np.random.default_rng(seed)
    return {
        name: value + 0.4 * generator.standard_normal(value.shape)
        for name, value in model.initial(N_TOKENS, N_CLASSES, seed).items()
    }


def network(model: Transformer, seed: int = 0) -> TransformerModule:
    return model.module(parameters_of(model, seed)).eval()


def tokens_for(model: Transformer, n: int = 5, p: int = N_TOKENS, seed: int = 0) -> Tensor:
    return torch.randint(0, model.vocabulary, (n, p), generator=torch.Generator().manual_seed(seed))


def gradients(module: TransformerModule, logits: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """Gradients of a weighted sum of the logits."""
    names, parameters = zip(*module.named_parameters(), strict=True)
    found = torch.autograd.grad((logits * weights).sum(), parameters)
    return dict(zip(names, found, strict=True))


def assert_same(one: Any, other: Any, atol: float = 1e-11) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=atol)


def weights_like(logits: Tensor, seed: int = 3) -> Tensor:
    return torch.randn(logits.shape, generator=torch.Generator().manual_seed(seed), dtype=logits.dtype)


# A plain loop: one example, one query, one head at a time; products, sums and exponentials written out


def plain(
    module: TransformerModule, tokens: Tensor, mask: Tensor | None = None, segments: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Logits (example, position, class) and attention weights (layer, example, head, query, key)."""
    model, of = module.spec, dict(module.named_parameters())

    def norm(name: str, x: Tensor) -> Tensor:
        variance = ((x - x.mean()) ** 2).mean()
        scaled = (x - x.mean()) / (variance + model.norm_epsilon).sqrt()
        return of[f"{name}.weight"] * scaled + of[f"{name}.bias"]

    def linear(name: str, x: Tensor) -> Tensor:
        return of[f"{name}.weight"] @ x + of[f"{name}.bias"]

    def gelu(x: Tensor) -> Tensor:
        if model.activation == "gelu":
            return x * (1 + torch.erf(x / math.sqrt(2))) / 2
        return x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2

    h, d = model.n_heads, model.head_size
    logits, seen = [], []
    for example in range(len(tokens)):
        p = tokens.shape[1]
        x = [of["token.weight"][tokens[example, t]] + of["position.weight"][t] for t in range(p)]
        if model.norm == "post":
            kind = [0] * p if segments is None else segments[example].tolist()
            x = [norm("embedding_norm", x[t] + of["segment.weight"][kind[t]]) for t in range(p)]
        for i in range(model.n_layers):
            layer = f"layers.{i}"
            before = [norm(f"{layer}.attention_norm", v) for v in x] if model.norm == "pre" else x
            projected = [linear(f"{layer}.qkv", v).view(3, h, d) for v in before]
            after, rows = [], []
            for t in range(p):
                keys = [
                    s
                    for s in range(p)
                    if (model.attends == "all" or s <= t) and (mask is None or bool(mask[example, s]))
                ]
                found, attention = [], torch.zeros(h, p, dtype=torch.float64)
                for j in range(h):
                    scores = torch.stack([projected[t][0, j] @ projected[s][1, j] for s in keys])
                    weights = torch.exp(scores / math.sqrt(d))
                    weights = weights / weights.sum()
                    found.append(sum(w * projected[s][2, j] for w, s in zip(weights, keys, strict=True)))
                    attention[j, keys] = weights.detach()
                rows.append(attention)
                joined = torch.cat(found) if model.heads == "concatenated" else sum(found) / h
                y = x[t] + linear(f"{layer}.joined", joined)
                y = y if model.norm == "pre" else norm(f"{layer}.attention_norm", y)
                inner = norm(f"{layer}.mlp_norm", y) if model.norm == "pre" else y
                z = y + linear(f"{layer}.mlp_out", gelu(linear(f"{layer}.mlp_in", inner)))
                after.append(z if model.norm == "pre" else norm(f"{layer}.mlp_norm", z))
            x = after
            seen.append(torch.stack(rows, dim=1))  # (head, query, key)
        if model.norm == "pre":
            x = [norm("final_norm", v) for v in x]
        if model.output == "transformed":
            x = [norm("transform_norm", gelu(linear("transform", v))) for v in x]
        out = [(of["token.weight"] if model.tied else of["output.weight"]) @ v for v in x]
        if model.output == "transformed":
            out = [v + of["output.bias"] for v in out]
        logits.append(torch.stack(out))
    n = len(tokens)
    return torch.stack(logits), torch.stack(seen).view(n, model.n_layers, h, p, p).transpose(0, 1)


@all_models
def test_logits_gradients_and_attention_are_those_of_a_plain_loop(name: str) -> None:
    module, tokens = network(MODELS[name]), tokens_for(MODELS[name])
    expected, attention = plain(module, tokens)
    layers: list[Tensor] = []
    logits = module(tokens, attention=layers)
    assert_same(logits, expected)
    assert_same(torch.stack(layers), attention)
    weights = weights_like(logits)
    assert_same(gradients(module, module(tokens), weights), gradients(module, expected, weights), 1e-10)


@pytest.mark.parametrize("name", ["gpt2", "bert", "causal, post", "averaged"])
def test_padding_and_segments_are_those_of_a_plain_loop(name: str) -> None:
    model = MODELS[name]
    module, tokens = network(model), tokens_for(model, n=3)
    mask = torch.ones_like(tokens, dtype=torch.bool)
    mask[0, 5:] = False
    mask[1, 3] = False
    if model.attends == "all":
        mask[2, :4] = False
    segments = (torch.arange(N_TOKENS) > 4).long().expand(3, -1) if model.norm == "post" else None
    expected, attention = plain(module, tokens, mask, segments)
    layers: list[Tensor] = []
    assert_same(module(tokens, mask=mask, segments=segments, attention=layers), expected)
    assert_same(torch.stack(layers), attention)
    assert_same(module(tokens, at=-1, mask=mask, segments=segments), expected[:, -1])
    assert float((module(tokens) - expected).detach().abs().max()) > 1e-3  # the control


def test_a_plain_loop_with_another_scale_or_exchanged_heads_is_another_network() -> None:
    """The control: the comparison sees a wrong head size in the square root, and heads in another order."""
    model = MODELS["gpt2"]
    tokens = tokens_for(model)
    expected, _ = plain(network(model), tokens)
    parameters = parameters_of(model)
    a = model.n_heads * model.head_size
    scaled = {k: v.copy() for k, v in parameters.items()}
    scaled["layers.0.qkv.weight"][:a] *= math.sqrt(model.head_size / (model.head_size + 1))
    turned = {k: v.copy() for k, v in parameters.items()}
    turned["layers.0.qkv.weight"][2 * a :] = np.roll(
        turned["layers.0.qkv.weight"][2 * a :], model.head_size, axis=0
    )
    for changed in (scaled, turned):
        assert float((model.module(changed)(tokens) - expected).detach().abs().max()) > 1e-3


# Logits where they are asked for


@all_models
def test_logits_at_one_position_are_a_row_of_all(name: str) -> None:
    module = network(MODELS[name])
    tokens = tokens_for(MODELS[name])
    everything = module(tokens)
    for at in (-1, 0, 4, N_TOKENS - 1, -N_TOKENS, -3):
        row = module(tokens, at=at)
        assert row.shape == (5, N_CLASSES)
        assert_same(row, everything[:, at], 1e-12)
        weights = weights_like(row)
        ours = gradients(module, row, weights)
        assert_same(ours, gradients(module, module(tokens)[:, at], weights))
    other = gradients(module, module(tokens)[:, -2], weights)  # the control: another position
    assert max(float((ours[k] - other[k]).abs().max()) for k in ours) > 1e-3


@pytest.mark.parametrize("at", [2, -1])
@all_models
def test_attention_at_one_position_has_one_query_in_the_last_layer(name: str, at: int) -> None:
    module, tokens = network(MODELS[name]), tokens_for(MODELS[name])
    layers: list[Tensor] = []
    full: list[Tensor] = []
    assert_same(module(tokens, at=at, attention=layers), module(tokens, at=at), 1e-12)
    module(tokens, attention=full)
    assert_same(layers, [*full[:-1], full[-1][:, :, [at % N_TOKENS]]], 1e-12)


@pytest.mark.parametrize("at", [2, -1])
@all_models
def test_one_position_drops_what_all_positions_drop(
    name: str, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def every_third(self: TransformerModule, hidden: Tensor) -> Tensor:
        return hidden * (torch.arange(hidden.shape[-1]) % 3 != 0) * 1.5

    model = replace(MODELS[name], dropout=1 / 3)
    module, tokens = network(model).train(), tokens_for(model)
    kept = module(tokens, at=at, attention=[])  # weights that are looked at are dropped here, not in a kernel
    monkeypatch.setattr(TransformerModule, "_dropped", every_third)
    dropped = module(tokens, at=at, attention=[])
    assert_same(dropped, module(tokens, attention=[])[:, at], 1e-12)
    assert not torch.allclose(dropped, kept)


@pytest.mark.parametrize("name", [k for k, v in MODELS.items() if v.attends == "causal"])
def test_a_causal_network_of_which_the_beginning_is_hidden_sees_only_what_is_left(name: str) -> None:
    """Each example cut by hand: the tokens that are seen, at their own positions."""
    model = MODELS[name]
    module, tokens = network(model), tokens_for(model)
    first = torch.tensor([4, 0, 7, 2, 8])
    place = torch.arange(N_TOKENS)
    mask = place >= first[:, None]
    mask[0, 6] = False
    last = torch.full((5,), N_TOKENS - 1)
    at = place == last[:, None]
    at[3, 5] = True
    cut = []
    position = module.position.weight.data.clone()
    for i in range(5):
        module.position.weight.data[: N_TOKENS - first[i]] = position[first[i] : N_TOKENS]
        cut.append(module(tokens[i, first[i] :][None], mask=mask[i, first[i] :][None])[0].detach())
        module.position.weight.data.copy_(position)
    expected = torch.cat([cut[i][at[i, first[i] :]] for i in range(5)])
    assert_same(module(tokens, at=at, mask=mask), expected)
    assert_same(module(tokens, at=at, mask=mask, real=torch.ones_like(mask)), expected)
    assert_same(module(tokens, at=-1, mask=mask), torch.stack([rows[-1] for rows in cut]))
    weights = weights_like(expected)
    found = gradients(module, module(tokens, at=at, mask=mask), weights)
    assert all(bool(value.isfinite().all()) for value in found.values())
    changed = torch.where(mask, tokens, (tokens + 1) % model.vocabulary)
    assert_same(module(changed, at=at, mask=mask), expected)  # what is hidden has no effect
    assert float((module(tokens, at=at) - expected).detach().abs().max()) > 1e-3  # the control


# Shortcuts against the long way


@all_models
def test_what_is_said_to_be_padding_is_never_computed_and_nothing_else_changes(name: str) -> None:
    module, tokens = network(MODELS[name]), tokens_for(MODELS[name])
    real = torch.arange(N_TOKENS) < torch.tensor([N_TOKENS, 3, 5, 1, 7])[:, None]
    with FlopCounterMode(display=False) as counter:
        whole = module(tokens, mask=real)
    operations = counter.get_total_flops()
    with counter:
        packed = module(tokens, mask=real, real=real)
    assert_same(packed[real], whole[real], 1e-12)
    if MODELS[name].attends == "causal":  # what stands at the end is seen by nobody
        assert_same(module(tokens, real=real)[real], whole[real], 1e-12)
    assert counter.get_total_flops() < 0.9 * operations


@all_models
def test_projections_made_once_for_each_pair_are_those_made_at_every_position(name: str) -> None:
    model = MODELS[name]
    module, tokens = network(model), tokens_for(model, n=model.vocabulary + 4)
    for at in (None, -1, 3):
        logits = module(tokens, at=at)
        singly = torch.cat([module(example[None], at=at) for example in tokens])
        assert_same(logits, singly, 1e-12)
        weights = weights_like(logits)
        assert_same(gradients(module, logits, weights), gradients(module, singly, weights))


def asked_batch(model: Transformer, hidden: str) -> tuple[Tensor, dict[str, Tensor]]:
    """Tokens of several lengths, of which some ask at one position, some at several and one nowhere."""
    lengths = torch.tensor([N_TOKENS, 3, 5, 1, 7, 8])
    tokens, place = tokens_for(model, n=6), torch.arange(N_TOKENS)
    real = place < lengths[:, None]
    mask = real.clone()
    if hidden == "holes":
        mask[0, 4] = mask[4, 2] = mask[5, 1] = False
    at = real & (torch.rand(real.shape, generator=torch.Generator().manual_seed(4)) < 0.5)
    at[2] = False
    at[0] = place == N_TOKENS - 1
    assert at.sum(dim=1).unique().numel() >= 3
    given = {} if hidden == "nothing" else {"mask": mask}
    return torch.where(real, tokens, 0), {"at": at, **given}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("hidden", ["nothing", "padding", "holes"])
@all_models
def test_masks_padding_and_both_kinds_of_attention_are_those_of_a_plain_loop(
    name: str, hidden: str, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MODELS[name]
    module = network(model)
    tokens, how = asked_batch(model, hidden)
    real = torch.arange(N_TOKENS) < torch.tensor([N_TOKENS, 3, 5, 1, 7, 8])[:, None]
    if packed and model.attends == "all" and hidden == "nothing":
        how["mask"] = real  # padding must not be seen
    expected = plain(module, tokens, how.get("mask"))[0][how["at"]]
    weights = weights_like(expected)
    slopes = gradients(module, expected, weights)
    given = how | ({"real": real} if packed else {})
    for short, few in ((network_module.SHORT, 1), (network_module.SHORT, 0), (0, 1), (0, 0)):
        monkeypatch.setattr(network_module, "SHORT", short)
        monkeypatch.setattr(network_module, "FEW", few)
        logits = module(tokens, **given)
        assert_same(logits, expected)
        assert_same(gradients(module, logits, weights), slopes, 1e-10)
    other = module(tokens, **(given | {"at": how["at"].roll(-1, dims=1) & real}))  # the control
    assert other.shape != expected.shape or float((other - expected).detach().abs().max()) > 1e-3


def test_what_may_not_be_seen_is_told_apart_in_both_kinds_of_attention(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The control: with a mask that hides nothing the comparison fails."""
    module = network(MODELS["bert"])
    tokens, how = asked_batch(MODELS["bert"], "holes")
    expected = module(tokens, **how)
    monkeypatch.setattr(network_module, "visible_keys", lambda mask, *_: torch.ones_like(mask)[:, None, None])
    for short in (network_module.SHORT, 0):
        monkeypatch.setattr(network_module, "SHORT", short)
        assert float((module(tokens, **how) - expected).detach().abs().max()) > 1e-3


@pytest.mark.parametrize(
    ("changes", "p", "fused"),
    [
        ({"attends": "all"}, network_module.SHORT, False),
        ({"attends": "all"}, network_module.SHORT + 1, True),
        ({"attends": "all", "dropout": 0.1}, network_module.SHORT, True),
        ({}, network_module.SHORT, True),
    ],
)
def test_short_attention_is_taken_where_it_is_faster(
    changes: dict[str, Any], p: int, fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = replace(MODELS["gpt2"], n_positions=p, **changes)
    short: list[int] = []
    taken = network_module.short_attention
    monkeypatch.setattr(network_module, "short_attention", lambda *a: short.append(1) or taken(*a))
    network(model).train()(tokens_for(model, p=p))
    assert len(short) == (0 if fused else model.n_layers)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["gpt2", "bert", "averaged"])
def test_where_nothing_is_asked_there_are_no_logits_and_no_gradients(name: str, packed: bool) -> None:
    module = network(MODELS[name])
    tokens, how = asked_batch(MODELS[name], "padding")
    how["at"] = torch.zeros_like(how["at"])
    if packed:
        how["real"] = how["mask"]
    logits = module(tokens, **how)
    assert logits.shape == (0, N_CLASSES)
    found = gradients(module, logits, torch.zeros(0, N_CLASSES))
    assert not any(bool(gradient.any()) for gradient in found.values())


@all_models
def test_who_looks_at_attention_sees_all_queries_of_the_last_layer(name: str) -> None:
    module = network(MODELS[name])
    tokens, how = asked_batch(MODELS[name], "holes")
    layers: list[Tensor] = []
    assert_same(module(tokens, **how, attention=layers), module(tokens, **how), 1e-12)
    everywhere: list[Tensor] = []
    module(tokens, mask=how["mask"], attention=everywhere)
    assert_same(layers, everywhere, 1e-12)


def test_logits_do_not_depend_on_how_many_are_computed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = MODELS["gpt2"]
    parameters, tokens = parameters_of(model), tokens_for(model, n=7).numpy()
    whole = model.logits(parameters, tokens)
    assert whole.shape == (7, N_CLASSES)
    monkeypatch.setitem(transformer.SCORES_AT_ONCE, "cpu", 3 * model.n_heads * N_TOKENS**2)
    np.testing.assert_allclose(model.logits(parameters, tokens), whole, rtol=0, atol=1e-12)
    np.testing.assert_allclose(whole, network(model)(torch.from_numpy(tokens))[:, -1].detach(), atol=1e-12)


def test_signs_are_tokens_as_the_labels_count_them() -> None:
    """Plus one is token 0, as class 1 of the paper is class 0 and belongs to the product +1."""
    bits, classes = SparseParity(8, 3).stream(0, "train").examples(0, 50)
    tokens = tokens_of(bits)
    assert tokens.dtype == torch.int64
    assert torch.equal(1 - 2 * tokens, torch.from_numpy(bits).long())
    np.testing.assert_array_equal(tokens[:, :3].sum(dim=1) % 2, classes)
    model = Transformer(1, 2, 4, n_positions=8)
    parameters = model.initial(8, 2, seed=0)
    np.testing.assert_array_equal(model.logits(parameters, bits), model.logits(parameters, tokens.numpy()))


@pytest.mark.parametrize("p", [5, N_TOKENS])
@pytest.mark.parametrize("name", ["gpt2", "one layer", "bert", "free head size"])
def test_multiply_adds_are_half_the_operations_that_pytorch_counts(name: str, p: int) -> None:
    model = MODELS[name]
    module = network(model)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(tokens_for(model, n=1, p=p), attention=[])  # by products that are counted
    w = model.full_width
    output = w * N_CLASSES + (w * w if model.output == "transformed" else 0)
    assert counter.get_total_flops() / 2 == model.multiply_adds(p, N_CLASSES) + p * output - w * N_CLASSES


# Dropout


@pytest.mark.parametrize("at", [None, -1])
@pytest.mark.parametrize("name", ["gpt2", "bert", "averaged"])
def test_dropout_acts_in_training_alone(name: str, at: int | None) -> None:
    model = replace(MODELS[name], dropout=0.3)
    tokens = tokens_for(model, n=8)
    expected = network(MODELS[name])(tokens, at=at)
    module = network(model)
    assert_same(module(tokens, at=at), expected, 1e-12)
    np.testing.assert_allclose(
        model.logits(parameters_of(model), tokens.numpy()),
        network(MODELS[name])(tokens, at=-1).detach(),
        atol=1e-12,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        one, other = module.train()(tokens, at=at), module(tokens, at=at)
        assert float((one - expected).detach().abs().max()) > 1e-3
        assert float((one - other).detach().abs().max()) > 1e-3
        torch.manual_seed(0)
        assert torch.equal(module(tokens, at=at), one)
        assert_same(module.eval()(tokens, at=at), expected, 1e-12)
        assert_same(network(MODELS[name]).train()(tokens, at=at), expected, 1e-12)  # a rate of 0


def test_gpt2_is_the_default_network_tied() -> None:
    assert gpt2(2, 3, 4, n_positions=12, vocabulary=5) == Transformer(
        2, 3, 4, n_positions=12, vocabulary=5, tied=True
    )
    assert gpt2(2, 3, tied=False) == Transformer(2, 3)
    assert gpt2(1, 2) != bert(1, 2)


# Initial weights


def test_initial_weights_follow_from_the_seed_alone() -> None:
    model = MODELS["gpt2"]
    one, again, other = (model.initial(9, 6, seed=s) for s in (0, 0, 1))
    assert list(one) == list(model.shapes(6))
    for name, value in one.items():
        assert value.dtype == np.float64
        np.testing.assert_array_equal(value, again[name])
        if name.endswith("weight") and "norm" not in name:
            assert not np.array_equal(value, other[name])


WAVES = bert(2, 3, 4, n_positions=9, vocabulary=N_CLASSES, initial_std=0.12, initial_positions="sinusoidal")


def test_sinusoidal_positions_are_waves_of_the_other_weights_size_and_change_nothing_else() -> None:
    found = WAVES.initial(N_TOKENS, N_CLASSES, seed=3)
    position = found.pop("position.weight")
    assert position.shape == (9, 12)
    for t in range(9):
        for i in range(6):
            angle = 2.5 * (0.1 / 2.5) ** (i / 5) * t
            pair = math.sqrt(2) * 0.12 * np.array([math.sin(angle), math.cos(angle)])
            np.testing.assert_allclose(position[t, 2 * i : 2 * i + 2], pair, rtol=0, atol=1e-14)
    np.testing.assert_allclose(np.sqrt((position**2).mean(axis=1)), 0.12, rtol=1e-12)
    plain = replace(WAVES, initial_positions="normal").initial(N_TOKENS, N_CLASSES, seed=3)
    assert not np.allclose(plain.pop("position.weight"), position, atol=0.1)
    for name, value in plain.items():
        np.testing.assert_array_equal(found[name], value)


def test_an_output_bias_of_log_frequencies_predicts_them() -> None:
    model = bert(1, 2, 4, n_positions=9, vocabulary=N_CLASSES, initial_std=0.0, initial_bias="log_frequency")
    frequencies = np.array([0.4, 0.0, 0.3, 0.2, 0.1, 0.0])
    parameters = model.initial(N_TOKENS, N_CLASSES, seed=0, frequencies=frequencies)
    np.testing.assert_allclose(np.exp(parameters["output.bias"]), [0.4, 0.1, 0.3, 0.2, 0.1, 0.1])
    values = model.logits(parameters, np.zeros((1, 5), np.int64))[0]  # weights of 0, so the bias alone
    np.testing.assert_allclose(np.exp(values) / np.exp(values).sum(), np.array([4, 1, 3, 2, 1, 1]) / 12)
    plain = replace(model, initial_bias="zero").initial(N_TOKENS, N_CLASSES, seed=0)
    assert not plain["output.bias"].any()


def test_ways_to_begin_that_came_later_leave_the_names_of_earlier_networks() -> None:
    assert not {"initial_bias", "initial_positions"} & set(MODELS["bert"].canonical())
    assert WAVES.fingerprint != replace(WAVES, initial_positions="normal").fingerprint


@pytest.mark.parametrize(
    ("bias", "frequencies", "said"),
    [
        (
            "log_frequency",
            None,
            r"without frequencies, initial_bias = 'log_frequency': .*untrained\(spec\) asks",
        ),
        ("zero", np.ones(6), r"with frequencies, initial_bias = 'zero': expected .*none with 'zero'"),
        (
            "log_frequency",
            np.ones(5),
            r"frequencies of shape \(5,\): expected one of at least 0 for each of 6",
        ),
        ("log_frequency", np.zeros(6), "not all 0"),
        ("log_frequency", np.array([1, 1, 1, 1, 1, -0.1]), "at least 0"),
        ("log_frequency", np.array([1, 1, 1, 1, 1, np.nan]), "at least 0"),
    ],
)
def test_frequencies_that_do_not_fit_are_refused(bias: Any, frequencies: Any, said: str) -> None:
    model = bert(1, 2, 4, n_positions=9, vocabulary=N_CLASSES, initial_bias=bias)
    with pytest.raises(SpecError, match=said):
        model.initial(N_TOKENS, N_CLASSES, seed=0, frequencies=frequencies)


def test_averaged_heads_have_one_heads_width_unless_said() -> None:
    assert MODELS["averaged"].full_width == 4
    assert MODELS["averaged, wide"].full_width == 10
    assert MODELS["averaged, wide"].shapes(2)["layers.0.joined.weight"] == (10, 4)
    assert MODELS["free head size"].shapes(2)["layers.0.qkv.weight"] == (3 * 15, 8)
    assert MODELS["free head size"].shapes(2)["layers.0.joined.weight"] == (8, 15)


# Refused

GPT2 = MODELS["gpt2"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_layers", 0),
        ("n_heads", 2.0),
        ("head_size", -1),
        ("width", -1),
        ("width", 8.0),
        ("mlp_width", -1),
        ("n_positions", 0),
        ("vocabulary", 0),
        ("attends", "past"),
        ("norm", "none"),
        ("heads", "summed"),
        ("tied", "yes"),
        ("output", "mlp"),
        ("activation", "relu"),
        ("norm_epsilon", -1e-5),
        ("norm_epsilon", float("nan")),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("dropout", "0.1"),
        ("initial_std", float("inf")),
        ("initial_bias", "frequency"),
        ("initial_positions", "learned"),
    ],
)
def test_a_model_that_cannot_be_is_refused(field: str, value: Any) -> None:
    with pytest.raises(SpecError, match=rf"^{field} = {value!r}: expected"):
        replace(GPT2, **{field: value})


def test_a_beginning_that_the_network_has_no_place_for_is_refused() -> None:
    with pytest.raises(
        SpecError, match=r"'log_frequency' with output = 'linear': expected output = 'transformed'"
    ):
        replace(GPT2, initial_bias="log_frequency")
    with pytest.raises(SpecError, match=r"'sinusoidal' with a width of 15: expected an even width"):
        Transformer(1, 3, 5, initial_positions="sinusoidal")


def test_sequences_longer_than_the_positions_are_refused() -> None:
    with pytest.raises(SpecError, match=r"sequences of 13 tokens: expected at most n_positions = 12"):
        network(GPT2)(tokens_for(GPT2, p=13))
    network(GPT2)(tokens_for(GPT2, p=12))
    with pytest.raises(SpecError, match=r"sequences of 13 tokens: expected at most n_positions = 12\. Raise"):
        Training(SparseParity(13, 2), GPT2, Adam(0.1), n_steps=1, evaluate_every=1)


@pytest.mark.parametrize("token", [VOCABULARY, -1, 1000])
def test_a_token_outside_the_vocabulary_is_refused_and_never_read_as_another(token: int) -> None:
    tokens = tokens_for(GPT2)
    tokens[1, 2] = token
    said = rf"token {token}: expected from 0 to 2, the vocabulary"
    with pytest.raises(SpecError, match=said):
        network(GPT2)(tokens)
    with pytest.raises(SpecError, match=said):
        GPT2.logits(parameters_of(GPT2), tokens.numpy())


def test_a_number_that_is_no_sign_is_refused() -> None:
    for value in (0.0, 0.5, float("nan"), 2.0):
        with pytest.raises(SpecError, match=rf"input {value}: expected a sign, .* Give tokens as integers"):
            GPT2.logits(parameters_of(GPT2), np.array([[1.0, value, -1.0]]))


@pytest.mark.parametrize("at", [9, -10, 100])
def test_a_position_outside_the_sequence_is_refused(at: int) -> None:
    with pytest.raises(SpecError, match=rf"at = {at} in sequences of 9 tokens: expected from -9 to 8"):
        network(GPT2)(tokens_for(GPT2), at=at)


def test_a_mask_that_leaves_a_query_without_a_key_is_refused() -> None:
    tokens = tokens_for(GPT2)
    mask = torch.ones_like(tokens, dtype=torch.bool)
    mask[3] = False
    with pytest.raises(SpecError, match=r"hides every key, in example 3: expected .* Leave the example out"):
        network(MODELS["bert"])(tokens, mask=mask)
    mask[3] = True
    mask[2, :2] = False
    said = r"hides the first {} tokens, which are all that query {} sees, in example 2: .* Put padding after"
    real = torch.ones_like(mask)
    for changes, n_hidden in (
        ({}, 1),
        ({"real": real}, 1),
        ({"at": 0}, 1),
        ({"at": 1}, 2),
        ({"at": 1 - N_TOKENS, "real": real}, 2),
        ({"at": torch.arange(N_TOKENS) * torch.ones(5, 1) == 1}, 2),
        ({"at": torch.arange(N_TOKENS) * torch.ones(5, 1) == 1, "real": real}, 2),
    ):
        with pytest.raises(SpecError, match=said.format(n_hidden, n_hidden - 1)):
            network(GPT2)(tokens, mask=mask, **changes)
    assert bool(network(MODELS["bert"])(tokens, mask=mask).isfinite().all())
    with pytest.raises(SpecError, match=r"a mask of type torch\.int64: expected a boolean one"):
        network(GPT2)(tokens, mask=mask.long())


def test_segments_want_an_embedding_of_them() -> None:
    tokens = tokens_for(GPT2)
    with pytest.raises(SpecError, match=r"segments with norm = 'pre': expected norm = 'post'"):
        network(GPT2)(tokens, segments=torch.zeros_like(tokens))


def test_parameters_of_another_shape_are_refused_naming_both() -> None:
    parameters = parameters_of(GPT2)
    weight = parameters["layers.1.mlp_in.weight"]
    with pytest.raises(
        SpecError, match=r"layers\.1\.mlp_in\.weight of shape \(47, 12\): expected \(48, 12\)"
    ):
        GPT2.module(parameters | {"layers.1.mlp_in.weight": weight[:-1]})
    with pytest.raises(SpecError, match=r"final_norm\.bias of shape nothing: expected \(12,\)"):
        GPT2.module({k: v for k, v in parameters.items() if k != "final_norm.bias"})
    with pytest.raises(SpecError, match=r"extra of shape \(1,\): expected no such parameter"):
        GPT2.module(parameters | {"extra": np.zeros(1)})
    with pytest.raises(SpecError, match=r"token\.weight of shape \(6, 8\): expected \(5, 8\)"):
        replace(MODELS["tied"], vocabulary=5).module(parameters_of(MODELS["tied"]))


def test_a_tied_output_has_as_many_classes_as_tokens() -> None:
    with pytest.raises(
        SpecError, match=r"2 classes with a tied output: expected as many as the vocabulary, 6"
    ):
        MODELS["tied"].initial(9, 2, seed=0)
    MODELS["tied"].initial(9, 6, seed=0)
