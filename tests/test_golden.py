"""Golden numbers: if one of these fails, results changed and a version has to rise; see `golden`.

A component's version enters the fingerprint of every spec that uses it; results stored by older code are then not
mistaken for today's.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import golden
import pytest
from examples import TEACHER

from pdlib import labels
from pdlib.optimizers import SGD
from pdlib.specs import Run, Spec, SpecError
from pdlib.theory.majority import FourierGap

GOLDEN = golden.load()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Run]]:
    """All examples, made in an empty folder with a cache of its own."""
    folder = tmp_path_factory.mktemp("examples")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PDLIB_CACHE", str(folder / "cache"))
        yield golden.examples()


def nested(spec: Spec) -> Iterator[Spec]:
    """A spec and all that it is made of."""
    yield spec
    for field in fields(spec):
        value = getattr(spec, field.name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Spec):
                yield from nested(part)


def without_example(found: dict[str, Run]) -> set[str]:
    """The kinds that take part in no example."""
    return set(golden.kinds()) - {kind for run in found.values() for kind in golden.kinds_in(run.canonical())}


def test_every_kind_of_the_package_takes_part_in_an_example_that_has_golden_numbers(
    found: dict[str, Run],
) -> None:
    missing = sorted(without_example(found))
    assert not missing, f"no example of {missing}: add one to `examples()` in its test, and {golden.RENEW}"
    assert found.keys() == GOLDEN.keys(), f"{sorted(found.keys() ^ GOLDEN.keys())}: {golden.RENEW}"
    less = {name: run for name, run in found.items() if name != "Softness"}
    assert without_example(less) == {"Softness"}  # the control


def test_fingerprints_are_golden(found: dict[str, Run]) -> None:
    got = {name: run.fingerprint for name, run in found.items()}
    other = [name for name, fingerprint in got.items() if GOLDEN[name]["fingerprint"] != fingerprint]
    assert not other, (
        f"the canonical forms of {other} changed, so every stored result of them is lost. If a version was raised because "
        f"results changed, {golden.RENEW}; otherwise keep the form."
    )


@pytest.mark.parametrize("name", GOLDEN)
def test_an_example_gives_its_golden_numbers(found: dict[str, Run], name: str) -> None:
    got = golden.numbers(found[name])
    columns = golden.changed(found[name], got, GOLDEN[name]["numbers"])
    assert not columns, golden.CHANGED.format(name=name, columns=columns)


def test_labels_have_the_version_of_the_golden_numbers() -> None:
    assert labels.VERSION == 2
    assert labels.GRID == 1_000_000  # where blocks end is part of every key


def test_a_change_of_a_millionth_in_a_rate_or_a_number_or_of_the_order_of_rows_is_seen() -> None:
    """The control."""
    kept = GOLDEN["teacher"]["numbers"]
    off = golden.numbers(replace(TEACHER, optimizer=SGD(0.05 * (1 + 1e-6))))
    assert {"loss_nats", "squares", "alternating"} <= set(golden.changed(TEACHER, off, kept))
    assert golden.changed(TEACHER, kept | {"accuracy": kept["accuracy"] * (1 + 1e-6)}, kept) == ["accuracy"]
    without = {k: v for k, v in kept.items() if k != "squares"}
    assert golden.changed(TEACHER, without, kept) == ["squares"] == golden.changed(TEACHER, kept, without)

    class Turned(FourierGap):
        def rows(self) -> list[dict[str, Any]]:
            return super().rows()[::-1]

    turned = golden.numbers(Turned(11))
    assert "gap" in golden.changed(FourierGap(11), turned, GOLDEN["FourierGap"]["numbers"])


def test_numbers_under_an_old_fingerprint_are_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(golden, "FILE", tmp_path / "golden.json")
    monkeypatch.setattr(golden, "examples", lambda: {"gap": FourierGap(5)})
    monkeypatch.setenv("PDLIB_CACHE", "")
    monkeypatch.chdir(tmp_path)
    golden.main()
    written = golden.load()
    assert capsys.readouterr().out == "new: gap\n"
    written["gap"]["numbers"]["gap"] += 1e-3
    golden.FILE.write_text(json.dumps(written))
    golden.main()
    assert (capsys.readouterr().out, golden.load()) == ("", written)
    monkeypatch.setattr(FourierGap, "version", 2)
    golden.main()
    assert capsys.readouterr().out == "renewed: gap\n"
    assert golden.load()["gap"]["numbers"] != written["gap"]["numbers"]


# What holds of the spec of every kind


def another(value: Any) -> Any:
    """A value that is not this one."""
    if isinstance(value, Spec):
        return SGD(0.123) if value != SGD(0.123) else SGD(0.1)
    if isinstance(value, tuple):
        return (*value, 1)
    if callable(value):
        return another
    if isinstance(value, str):
        return value + "x"
    return not value if isinstance(value, bool) else (value or 0) + 1


def test_every_spec_comes_back_from_its_canonical_form_and_its_fingerprint_follows_every_field(
    found: dict[str, Run],
) -> None:
    specs = {spec.fingerprint: spec for run in found.values() for spec in nested(run)}
    assert set(golden.kinds()) <= {type(spec).__name__ for spec in specs.values()}
    for spec in specs.values():
        back = Spec.from_canonical(json.loads(json.dumps(spec.canonical())))
        assert back == spec
        assert back.fingerprint == spec.fingerprint
        for field in fields(spec):
            changed = copy.copy(spec)
            changed.__dict__.pop("fingerprint", None)
            object.__setattr__(changed, field.name, another(getattr(spec, field.name)))
            assert changed.fingerprint != spec.fingerprint, (
                f"{type(spec).__name__}.{field.name} decides nothing"
            )


def test_a_later_field_at_its_default_decides_nothing() -> None:
    """The control: a field that is left out of the canonical form is seen to be."""
    spec = copy.copy(TEACHER)
    object.__setattr__(spec, "data_seed", None)
    spec.__dict__.pop("fingerprint", None)
    assert spec.fingerprint == TEACHER.fingerprint


def test_every_field_of_every_kind_is_held_to_its_annotation(found: dict[str, Run]) -> None:
    kinds = {type(part): part for run in found.values() for part in nested(run)}
    for kind, spec in kinds.items():
        for field in fields(kind):
            if field.init:
                with pytest.raises(SpecError, match=rf"{field.name} = <object object.*: expected "):
                    replace(spec, **{field.name: object()})
