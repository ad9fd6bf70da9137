"""The speed board: every loop comes to the engine's weights or has no time, what is missing has a row, costs are sums."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch

from pdlib import bench
from pdlib.__main__ import main
from pdlib.bench import speed
from pdlib.claims import SIZES
from pdlib.files import DamagedError
from pdlib.install import InstallError
from pdlib.published import Published
from pdlib.tasks.parity import SparseParity

ROOT = Path(__file__).resolve().parents[1]
LOOP = ROOT / "pdlib" / "bench" / "loop.c"
START = speed.initial(12, 20)
EXAMPLES = SparseParity(12, 3).stream(0, "train").examples(0, 300)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A board of seconds: `torch.compile` leaves things as they are, the parity is small."""
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)
    monkeypatch.setattr(speed, "LEARNED", SparseParity(6, 2))
    monkeypatch.setattr(speed, "SEEDS", range(2))
    monkeypatch.setattr(speed, "SIZES", ((8, 2, 8, 64, 32, 16), (8, 2, 16, 64, 32, 16)))
    monkeypatch.setattr(speed, "LAPTOP", {})
    monkeypatch.setattr(speed, "first_calls", lambda: [2.0, 1.0])
    speed._compiled.cache_clear()
    yield
    speed._compiled.cache_clear()


def c_compiler() -> None:
    try:
        speed.compiler()
    except InstallError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("peer", ["eager", "NumPy", "C"])
def test_every_loop_comes_to_the_weights_of_the_engine(peer: str) -> None:
    if peer == "C":
        c_compiler()
    loop = speed.PEERS[peer][0]
    assert speed.difference(loop, START, *EXAMPLES, 0.1) < speed.TOLERANCE / 10
    assert speed.difference(loop, START, *EXAMPLES, 0.1, other=speed._still) > 0.9


def test_the_network_under_torch_compile_learns_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)
    speed._compiled.cache_clear()
    for seed in (0, 1):  # the second starts from weights of its own in the network compiled for the first
        start = speed.initial(12, 20, seed)
        assert speed.difference(speed.compiled, start, *EXAMPLES, 0.1) < speed.TOLERANCE / 10
    speed._compiled.cache_clear()


def test_every_case_has_a_row_and_seeds_are_counted(tiny: None) -> None:
    rows = pd.DataFrame(bench.rows("speed"))
    assert rows.case.is_unique
    assert rows.ok.isin([True, False]).all()
    learned, a_step = rows[rows.measure == "learning"], rows[rows.measure == "step"]
    assert (learned.n == 2).all()
    assert (learned.n_reached == 2).all()
    assert (learned.low <= learned.ours).all()
    assert (learned.ours <= learned.high).all()
    paired = rows[rows.peer.notna()]
    np.testing.assert_allclose(paired.ratio, paired.peer / paired.ours, rtol=2e-3)
    assert set(a_step["size"]) == {8, 16}
    assert {"eager", "torch.compile", "NumPy"} <= set(a_step.against)


def test_a_seed_that_does_not_get_there_is_not_counted_as_one_that_does(
    tiny: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert speed.steps_to_learn(START, *EXAMPLES, EXAMPLES, accuracy=1.1) == 0
    monkeypatch.setattr(speed, "ACCURACY", 1.1)
    real = speed.steps_to_learn
    monkeypatch.setattr(speed, "steps_to_learn", lambda *given: real(*given, accuracy=1.1))
    (row,) = speed.learning()
    assert row["ours"] is None
    assert not row["ok"]
    assert "none of 2 seeds" in row["note"]


def test_without_a_c_compiler_a_row_says_what_to_install(tiny: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed.shutil, "which", lambda _: None)
    monkeypatch.setattr(speed, "find_spec", lambda _: None)
    speed.library.cache_clear()
    rows = [row for row in speed.steps() if "against C" in row["case"]]
    assert len(rows) == 2
    for row in rows:
        assert (row["peer"], row["ok"]) == (None, True)
        assert "pip install 'pdlib[site]'" in row["note"]


def test_where_torch_compile_does_not_work_a_row_says_so(tiny: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(module: Any, **_: Any) -> Any:
        raise RuntimeError("\nNo working C++ compiler found\nand much more")

    monkeypatch.setattr(torch, "compile", broken)
    rows = {row["case"].rpartition("against ")[2]: row for row in speed.steps()}
    assert rows["torch.compile"]["note"] == "No working C++ compiler found"
    assert rows["torch.compile"]["peer"] is None
    assert rows["NumPy"]["peer"] > 0


def test_control_a_loop_that_comes_to_other_weights_has_no_time(
    tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    c_compiler()
    right = LOOP.read_text("utf-8")
    wrong = right.replace("b[u] += z[u];", "")
    assert wrong != right
    (tmp_path / "loop.c").write_text(wrong)
    library = speed.library
    monkeypatch.setattr(speed, "library", lambda _: library(tmp_path / "loop.c"))
    rows = [row for row in speed.steps() if "against C" in row["case"]]
    assert {(row["ours"], row["ok"]) for row in rows} == {(None, False)}
    assert all("expected at most 0.1%" in row["note"] for row in rows)


def test_the_c_loop_does_not_make_the_process_flush_subnormal_numbers() -> None:
    speed.library(Path(speed.__file__).with_name("loop.c"))
    assert (
        np.ldexp(1.0, -1074) * np.ones(1)[0] > 0
    )  # 0 once a library is loaded that was linked under -ffast-math


def test_a_loop_whose_weights_are_no_numbers_has_no_time() -> None:
    def broken(*given: Any) -> Any:
        work, found = speed.numpy_loop(*given)
        return work, lambda: found() | {"2.bias": np.full(2, np.nan, np.float32)}

    given = speed.initial(9, 4), *SparseParity(9, 2).stream(0, "train").examples(0, 8), 0.01
    assert speed._fault(speed.numpy_loop, *given) is None
    assert "nan" in str(speed._fault(broken, *given))


def test_a_c_file_with_a_fault_is_an_error_in_one_line(tmp_path: Path) -> None:
    c_compiler()
    (tmp_path / "bad.c").write_text("int train(void) { return }\n")
    with pytest.raises(InstallError, match=r"did not compile bad.c: .*") as caught:
        speed.library(tmp_path / "bad.c")
    assert "\n" not in str(caught.value)


def test_the_compiler_of_the_package_is_taken_where_the_machine_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(speed.shutil, "which", lambda _: None)
    monkeypatch.setattr(speed, "find_spec", lambda name: name == "ziglang")
    assert speed.compiler()[1:] == ["-m", "ziglang", "cc"]


def test_a_board_is_kept_with_its_machine_and_an_altered_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = bench.faster("an example", 1.0, 2.0, "ms", 1.0)
    (tmp_path / "pdlib" / "bench").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "pdlib"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(speed, "speed", lambda: iter([row]))
    assert main(["bench", "speed", "--save"]) == 0
    assert "references speed" in capsys.readouterr().out
    path = tmp_path / "pdlib" / "bench" / "speed.json"
    rows, made = speed.board(path)
    assert rows.to_dict("records") == [row]
    assert {"machine", "date", "commit", "versions"} <= set(made)
    path.write_text(path.read_text().replace('"ours": 1.0', '"ours": 0.1'))
    with pytest.raises(DamagedError, match="does not match its hash"):
        speed.board(path)
    assert main(["bench", "theory", "--save"]) != 0
    assert "expected the page speed" in capsys.readouterr().err


def rows_of_steps() -> pd.DataFrame:
    """Steps of known length: 1 s at width 10, 100 s at width 1000, and 2 s of a page's Transformer."""
    a_step = {"measure": "step", "against": "eager", "unit": "us/step"}
    found = [{**a_step, "size": size, "peer": seconds * 1e6} for size, seconds in ((1000, 100), (10, 1))]
    other = {"page": "pcfg", "against": "eager", "size": 2, "peer": 2000, "unit": "ms/step"}
    return pd.DataFrame([*found, other, {**a_step, "against": "C", "size": 10, "peer": 1}])


def spec(kind: str, batch_size: int = 1, **model: Any) -> dict[str, Any]:
    """A training's canonical form."""
    return {"kind": "Training", "batch_size": batch_size, "n_steps": 6, "model": {"kind": kind, **model}}


def test_the_eager_loop_is_interpolated_between_sizes_and_missing_where_the_board_has_none() -> None:
    rows = rows_of_steps()
    assert speed.eager_seconds(spec("MLP", width=1000), "parity", rows) == pytest.approx(600)
    assert speed.eager_seconds(spec("MLP", width=100), "parity", rows) == pytest.approx(60)
    assert speed.eager_seconds(spec("MLP", width=9999), "parity", rows) == pytest.approx(600)
    assert speed.eager_seconds(spec("Transformer", n_heads=8, batch_size=64), "pcfg", rows) == pytest.approx(
        12
    )
    for none in (
        spec("MLP", batch_size=8, width=100),
        spec("Transformer", n_heads=2),
        spec("TorchModel"),
        {"kind": "Majority"},
    ):
        assert speed.eager_seconds(none, "gpt2", rows) is None


def test_costs_are_sums_by_page_and_machine() -> None:
    def run(machine: str, of: dict[str, Any]) -> dict[str, Any]:
        return {"spec": of, "provenance": {"cpu_s": 120.0, "machine": machine}}

    trained = spec("MLP", width=1000)
    runs = {
        "a": run("here", trained),
        "b": run("here", {"kind": "Majority"}),
        "c": run("there", {"kind": "Majority"}),
    }

    class Layer:
        records = staticmethod(lambda: iter((runs | {"of another page": run("here", trained)}).items()))
        pages = staticmethod(lambda: [("parity", "laptop")])
        page = staticmethod(lambda page, profile: {"runs": list(runs)})

    found = speed.costs(rows_of_steps(), Layer())  # type: ignore[arg-type]
    columns = ["machine", "runs", "core minutes", "eager loop, minutes"]
    expected = [["here", 2, 4.0, 10.0], ["there", 1, 2.0, np.nan]]
    pd.testing.assert_frame_equal(found[columns], pd.DataFrame(expected, columns=columns))


def test_where_nothing_is_published_the_costs_are_an_empty_table(tmp_path: Path) -> None:
    assert speed.costs(rows_of_steps(), Published(tmp_path)).columns.tolist() == speed.COSTS


def test_the_costs_on_the_page_are_those_of_the_published_runs() -> None:
    rows, _ = speed.board()
    found, layer = speed.costs(rows, Published()), Published()
    assert set(zip(found.page, found["size"], strict=True)) == set(layer.pages())
    assert set(found["size"]) <= set(SIZES)
    for (page, size), part in found.groupby(["page", "size"]):
        result = layer.page(str(page), str(size))
        assert result is not None
        assert part.runs.sum() == len(result["runs"])


def test_the_page_shows_the_board_that_is_kept() -> None:
    rows, _ = speed.board()
    reference = nbformat.read(ROOT / "notebooks" / "speed.ipynb", as_version=4)
    shown = json.dumps(reference)
    (claimed,) = (
        float(cell.source.split("claimed_ms: float = ")[1].split()[0])
        for cell in reference.cells
        if "claimed_ms: float" in cell.source
    )
    said = speed.sentence(rows, claimed)
    assert json.dumps(said)[1:-1] in shown
    slower = rows.assign(ours=rows.ours * 1000)
    assert json.dumps(speed.sentence(slower, claimed))[1:-1] not in shown
    assert "is not contradicted here" in speed.sentence(slower, claimed)
