"""The speed board: batch-1 training beside the loops that one would write, and what the published runs cost.

`python -m pdlib bench speed --save` measures it and keeps it in `speed.json` beside this file, which the page `speed` shows.

Every side is a loop with one signature: from the same float32 weights it takes a step on each example, drawn ahead. A peer's
weights are compared with the engine's before its time is told, so each is a second route to them as well.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from pdlib.bench import faster, medians, timed, unpaired
from pdlib.bench.batch_one import initial, torch_steps
from pdlib.bench.networks import LAPTOP, teacher_and_student
from pdlib.engine import commit, surroundings
from pdlib.files import read_json, write_json
from pdlib.install import InstallError
from pdlib.models.mlp import as_module, logits, softmax
from pdlib.published import Published
from pdlib.specs import EVALUATION_SEED, Parameters
from pdlib.tables import cost
from pdlib.tasks.parity import SparseParity
from pdlib.training.online_sgd import CompiledLearner, set_threads

# Chosen on seeds below 300, by the median time; more width costs more a step than it saves in steps.
LEARNED, WIDTH, RATE, ACCURACY = SparseParity(20, 3), 32, 0.11, 0.95
SEEDS = range(1000, 1016)
EVERY, MOST, N_HELD_OUT = 64, 4096, 4096  # steps between looks, steps at most, held-out examples
STEP_RATE = 0.005
# d, k, width, steps of the engine, of the loops compiled by hand or NumPy's, of PyTorch's
SIZES = (
    (20, 3, 32, 4096, 1024, 1024),
    (100, 6, 100, 4096, 1024, 1024),
    (100, 6, 1000, 4096, 512, 512),
    (100, 6, 50_000, 512, 64, 64),
)
BOARD = Path(__file__).with_name("speed.json")
CHECKED = 512  # steps, or as many as there are, after which weights are compared
TOLERANCE = 1e-3  # difference of weights, as a share of how far they moved: float32 in another order

Loop: TypeAlias = Callable[
    [Parameters, NDArray[np.float32], NDArray[np.uint8], float],
    tuple[Callable[[], object], Callable[[], Parameters]],
]  # weights, inputs (example, bit), classes, rate -> what takes the steps, what the weights are then


def speed() -> Iterator[dict[str, Any]]:
    """Yield the rows of the board."""
    set_threads(1)
    yield from learning()
    yield from steps()
    for page in LAPTOP:
        try:
            yield from ({**row, "page": page} for row in _networks(page))
        except ImportError as error:
            yield unpaired(f"{page}, against the eager loop", "ms/step", note=_line(error))


def _networks(page: str) -> Iterator[dict[str, Any]]:
    rows = teacher_and_student(page, compiled=False)
    for heads, row in zip(LAPTOP[page][1], rows, strict=True):
        yield {**row, "case": f"{page}, {row['case']}", "size": heads, "against": "eager"}


# ------------------------------------------------------------------ the loops


def engine(
    parameters: Parameters, inputs: NDArray[np.float32], classes: NDArray[np.uint8], rate: float
) -> tuple[Callable[[], object], Callable[[], Parameters]]:
    """Return this package's own way: one call for all steps."""
    learner = CompiledLearner(parameters)
    x = np.zeros((len(inputs), learner.n_columns), np.float32)
    x[:, : inputs.shape[1]], x[:, inputs.shape[1]] = inputs, 1.0
    rates = np.full(len(inputs), rate, np.float32)
    return partial(learner.steps, x, classes, rates), learner.parameters


def numpy_loop(
    parameters: Parameters, inputs: NDArray[np.float32], classes: NDArray[np.uint8], rate: float
) -> tuple[Callable[[], object], Callable[[], Parameters]]:
    """Return the loop one would write in NumPy."""
    w, b, a, c = (parameters[k].copy() for k in ("0.weight", "0.bias", "2.weight", "2.bias"))

    def work() -> None:
        for x, y in zip(inputs, classes, strict=True):
            z = w @ x + b
            hidden = np.maximum(z, 0)
            step = softmax(a @ hidden + c)
            step[y] -= 1
            step *= -rate
            slope = np.where(z > 0, step @ a, 0)
            np.add(a, np.outer(step, hidden), out=a)
            np.add(c, step, out=c)
            np.add(w, np.outer(slope, x), out=w)
            np.add(b, slope, out=b)

    return work, lambda: {"0.weight": w, "0.bias": b, "2.weight": a, "2.bias": c}


def eager(
    parameters: Parameters, inputs: NDArray[np.float32], classes: NDArray[np.uint8], rate: float
) -> tuple[Callable[[], object], Callable[[], Parameters]]:
    """Return the loop one would write in PyTorch."""
    module = as_module(parameters)
    return _in_torch(module, module, inputs, classes, rate)


def compiled(
    parameters: Parameters, inputs: NDArray[np.float32], classes: NDArray[np.uint8], rate: float
) -> tuple[Callable[[], object], Callable[[], Parameters]]:
    """Return the same loop with the network under `torch.compile`, which is done before it is timed."""
    module, network = _compiled(*parameters["0.weight"].shape)
    module.load_state_dict({name: torch.tensor(value) for name, value in parameters.items()})
    return _in_torch(module, network, inputs, classes, rate)


@cache
def _compiled(width: int, n_inputs: int) -> tuple[nn.Module, Any]:
    """One network of these sizes, and itself compiled."""
    module = as_module(initial(n_inputs, width))
    return module, torch.compile(module, dynamic=False)


def _in_torch(
    module: nn.Module, network: Any, inputs: NDArray[np.float32], classes: NDArray[np.uint8], rate: float
) -> tuple[Callable[[], object], Callable[[], Parameters]]:
    steps = torch_steps(module, network, rate)
    x, y = torch.from_numpy(inputs), torch.from_numpy(classes).long()
    nn.functional.cross_entropy(network(x[:1]), y[:1]).backward()  # type: ignore[no-untyped-call]  # here it compiles
    return partial(steps, x, y), lambda: {
        name: value.numpy().copy() for name, value in module.state_dict().items()
    }


def c_loop(
    parameters: Parameters, inputs: NDArray[np.float32], classes: NDArray[np.uint8], rate: float
) -> tuple[Callable[[], object], Callable[[], Parameters]]:
    """Return the loop one would write in C, `loop.c` beside this file, compiled here.

    Raises
    ------
    InstallError
        If there is no C compiler.
    """
    train = library(Path(__file__).with_name("loop.c")).train
    w = np.ascontiguousarray(
        parameters["0.weight"].T
    )  # (input, unit): a sum over inputs runs along the units
    b, a, c = (parameters[k].copy() for k in ("0.bias", "2.weight", "2.bias"))
    arrays = (w, b, a, c, np.ascontiguousarray(inputs), np.ascontiguousarray(classes), np.empty_like(b))
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in arrays]
    sizes = [ctypes.c_int(n) for n in (len(inputs), len(w), len(b))]

    def work(kept: object = arrays) -> None:
        train(*pointers, ctypes.c_float(rate), *sizes)

    return work, lambda: {"0.weight": w.T.copy(), "0.bias": b, "2.weight": a, "2.bias": c}


def compiler() -> list[str]:
    """Return the command of a C compiler: the machine's own, or the one in the package `ziglang`.

    Raises
    ------
    InstallError
        If there is neither.
    """
    if found := next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None):
        return [found]
    if find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    raise InstallError("no C compiler: neither cc, gcc nor clang on PATH. Run `pip install 'pdlib[site]'`.")


@cache
def library(source: Path) -> ctypes.CDLL:
    """Return a C file as a library, compiled for this machine.

    Raises
    ------
    InstallError
        If there is no C compiler, or it does not compile the file.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder, "loop.so")
        # what -ffast-math allows, one by one: the whole of it makes the process flush its subnormal numbers to 0
        relaxed = "-fno-math-errno -fno-trapping-math -fno-signed-zeros -fassociative-math -freciprocal-math"
        flags = ["-O3", "-march=native", *relaxed.split(), "-shared", "-fPIC", "-o", str(path)]
        command = [*compiler(), *flags, str(source), "-lm"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InstallError(f"{command[0]} did not compile {source.name}: {_line(done.stderr)}")
        return ctypes.CDLL(str(path))


PEERS: dict[str, tuple[Loop, float, bool]] = {  # name -> loop, reach of a step, whether it is PyTorch's
    "eager": (eager, 10.0, True),
    "torch.compile": (compiled, 10.0, True),
    "NumPy": (numpy_loop, 5.0, False),
    "C": (c_loop, 0.1, False),
}


def difference(
    loop: Loop, parameters: Parameters, inputs: Any, classes: Any, rate: float, other: Loop = engine
) -> float:
    """Return how far apart two loops end, as a share of how far the weights moved: the largest over arrays.

    >>> start, (x, y) = initial(9, 4), SparseParity(9, 2).stream(0, "train").examples(0, 8)
    >>> difference(numpy_loop, start, x, y, 0.01) < TOLERANCE < difference(numpy_loop, start, x, y, 0.01, _still)
    True
    """
    ends = []
    for one in (loop, other):
        work, found = one(parameters, inputs, classes, rate)
        work()
        ends.append(found())
    moved = {name: np.abs(ends[0][name] - start).max() for name, start in parameters.items()}
    apart = {name: np.abs(ends[0][name] - ends[1][name]).max() for name in parameters}
    return float(np.max([apart[name] / max(moved[name], 1e-30) for name in parameters]))  # NaN if one is


def _still(parameters: Parameters, *_: Any) -> tuple[Callable[[], object], Callable[[], Parameters]]:
    """The loop that learns nothing: a control."""
    return (lambda: None), (lambda: parameters)


def _seconds(loop: Loop, *given: Any) -> Callable[[], float]:
    """A measurement of a loop that starts anew each time: its steps alone."""

    def measured() -> float:
        work, _ = loop(*given)
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return measured


# ------------------------------------------------------------------ what is measured


def learning() -> Iterator[dict[str, Any]]:
    """Yield how long it takes to learn the small parity, against each peer, and what is done beside the training steps."""
    name = f"({LEARNED.n_bits}, {LEARNED.support_size})-parity"
    held_out = LEARNED.stream(EVALUATION_SEED, "evaluation").examples(0, N_HELD_OUT)
    given, needed = {}, {}
    for seed in SEEDS:
        examples = LEARNED.stream(seed, "train").examples(0, MOST)
        if n := steps_to_learn(initial(LEARNED.n_bits, WIDTH, seed), *examples, held_out):
            needed[seed] = n
            given[seed] = (initial(LEARNED.n_bits, WIDTH, seed), *(part[:n] for part in examples), RATE)
    if not given:
        note = f"none of {len(SEEDS)} seeds gets there within {MOST} steps"
        yield unpaired(f"{name} to {ACCURACY:.0%}", "ms", note=note, ok=False)
        return
    counted = {"n": len(SEEDS), "n_reached": len(needed), "measure": "learning"}
    for peer in ("eager", "NumPy", "C"):
        loop = PEERS[peer][0]
        case = f"{name} to {ACCURACY:.0%}, width {WIDTH}, training alone, one thread, against {peer}"
        if fault := _fault(loop, *next(iter(given.values()))):
            yield unpaired(case, "ms", note=fault[0], ok=fault[1])
            continue
        sides = [(_seconds(engine, *of), _seconds(loop, *of)) for of in given.values()]
        taken = [medians(*side, repeats=3, of=min) for side in sides]
        ours, theirs = ([1e3 * seconds for seconds in side] for side in zip(*taken, strict=True))
        row = faster(case, statistics.median(ours), statistics.median(theirs), "ms", PEERS[peer][1])
        spread = {"low": min(ours), "high": max(ours), "steps": statistics.median(needed.values())}
        yield row | counted | spread | {"against": peer, "size": WIDTH}
    n = int(statistics.median(needed.values()))
    trained = initial(LEARNED.n_bits, WIDTH)
    for what, work in (
        (f"drawing {n} examples", lambda: LEARNED.stream(0, "train").examples(0, n)),
        (f"one look at {N_HELD_OUT} held-out examples", lambda: logits(trained, held_out[0])),
    ):
        (taken_ms,) = medians(timed(work, unit="ms"), of=min)
        yield unpaired(f"{name}, {what}", "ms", taken_ms) | {"measure": "beside"}
    for what, seconds in zip(("never compiled before", "compiled once before"), first_calls(), strict=True):
        yield unpaired(f"the engine's first call in a process, {what}", "s", seconds) | {"measure": "beside"}


def steps_to_learn(
    parameters: Parameters, inputs: Any, classes: Any, held_out: tuple[Any, Any], accuracy: float = ACCURACY
) -> int:
    """Return after how many steps the engine first classifies this share of the held-out examples rightly; 0 if never."""
    for start in range(0, len(inputs), EVERY):
        part = slice(start, start + EVERY)
        work, found = engine(parameters, inputs[part], classes[part], RATE)
        work()
        parameters = found()
        if (logits(parameters, held_out[0]).argmax(1) == held_out[1]).mean() >= accuracy:
            return start + EVERY
    return 0


_FIRST_CALL = """
import time, numpy
from pdlib.bench.speed import initial, engine
work, _ = engine(initial(20, 32), numpy.ones((64, 20), numpy.float32), numpy.zeros(64, numpy.uint8), 0.1)
started = time.perf_counter()
work()
print(time.perf_counter() - started)
"""


def first_calls() -> list[float]:
    """Return the seconds of the engine's first call in two processes: the first compiles it, the second finds that kept."""
    found = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        top = str(Path(__file__).resolve().parents[2])
        around = os.environ | {"NUMBA_CACHE_DIR": folder, "PYTHONPATH": top}
        for _ in range(2):
            command = [sys.executable, "-c", _FIRST_CALL]
            done = subprocess.run(command, env=around, capture_output=True, text=True, check=True)
            found.append(float(done.stdout))
    return found


def steps() -> Iterator[dict[str, Any]]:
    """Yield a step of each size against each peer."""
    for n_bits, k, width, n_ours, n_plain, n_torch in SIZES:
        examples = SparseParity(n_bits, k).stream(0, "train").examples(0, n_ours)
        given = (initial(n_bits, width), *examples)
        for peer, (loop, reach, in_torch) in PEERS.items():
            case = f"a step of width {width} on {n_bits} bits, one thread, against {peer}"
            n = n_torch if in_torch else n_plain
            theirs = (given[0], *(part[:n] for part in examples), STEP_RATE)
            if fault := _fault(loop, *theirs):
                yield unpaired(case, "us/step", note=fault[0], ok=fault[1])
                continue
            ours, peers = medians(_seconds(engine, *given, STEP_RATE), _seconds(loop, *theirs))
            row = faster(case, 1e6 * ours / n_ours, 1e6 * peers / n, "us/step", reach)
            yield row | {"measure": "step", "against": peer, "size": width}


def _fault(loop: Loop, *given: Any) -> tuple[str, bool] | None:
    """Why a peer's time is not told, and whether that is all right: it cannot run here, or comes to other weights."""
    parameters, inputs, classes, rate = given
    try:
        apart = difference(loop, parameters, inputs[:CHECKED], classes[:CHECKED], rate)
    except (
        ImportError,
        RuntimeError,
    ) as error:  # a compiler is missing; torch.compile's errors are of the second kind
        return _line(error), True
    if apart <= TOLERANCE:
        return None
    wrong = f"its weights are {apart:.1%} of their way from the engine's after the same steps"
    return f"{wrong}, expected at most {TOLERANCE:.1%}: no time is told.", False


def _line(error: object) -> str:
    """The first line of a message that says something."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


# ------------------------------------------------------------------ what is kept


def save(path: Path, rows: list[dict[str, Any]]) -> None:
    """Keep a board, with the machine, the versions, the code and the date that made it."""
    made = surroundings() | {"commit": commit(), "date": datetime.now(UTC).isoformat(timespec="seconds")}
    write_json(path, {"provenance": made, "rows": rows})


def board(path: Path = BOARD) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the rows of a kept board and where they come from.

    Raises
    ------
    DamagedError
        If the file is not whole, or altered.
    """
    kept = read_json(path)
    return pd.DataFrame(kept["rows"]), kept["provenance"]


def sentence(rows: pd.DataFrame, claimed_ms: float) -> str:
    """Return the board in words; `claimed_ms` is what was said in public to be the least that SGD takes for the parity."""
    learned = rows[rows.measure.eq("learning")].set_index("against")
    ours, in_c = learned.loc["eager"], rows[rows.measure.eq("step") & rows.against.eq("C")]
    verdict = "does not hold here" if ours.ours < claimed_ms else "is not contradicted here"
    got = f"the median of {ours.n:g} seeds, of which {ours.n_reached:g} get there, from {ours.low:.2g} to {ours.high:.2g} ms"
    said = (
        f"SGD learns the {LEARNED.n_bits, LEARNED.support_size}-parity to {100 * ACCURACY:g} % on held-out inputs in "
        f"**{ours.ours:.2g} ms** of training on one core ({got}), by {ours.steps:,.0f} steps of batch size 1 at the median. "
        f"The eager PyTorch loop takes {ours.peer:,.0f} ms for the same steps to the same weights. "
        f"A public claim that no configuration of SGD does it under {claimed_ms:g} ms {verdict}, if training alone is meant."
    )

    def widths(of: pd.DataFrame) -> str:
        return "width " + " and ".join(f"{n:,}" for n in sorted(of["size"].astype(int)))

    ahead, behind = in_c[in_c.ratio < 1], in_c[in_c.ratio >= 1]
    if len(ahead):
        said += f" A loop written in C is faster than the engine at {widths(ahead)}"
        said += f", and slower at {widths(behind)}." if len(behind) else "."
    return said


COSTS = ["page", "size", "machine", "runs", "core minutes", "eager loop, minutes"]


def costs(rows: pd.DataFrame, published: Published) -> pd.DataFrame:
    """Return what the runs of each published page cost, by size and machine, and how long an eager loop's steps would take.

    Columns: `COSTS`, whose last is of trainings of a kind that the board has, missing if there are none: their steps times
    the loop's time for one, which is interpolated between sizes. That is for the machine of the board, and without drawing,
    labels and looks, which the core minutes have.
    """
    records, found = dict(published.records()), []
    for page, profile in published.pages():
        by_machine: dict[str, list[dict[str, Any]]] = {}
        for fingerprint in (published.page(page, profile) or {"runs": []})["runs"]:
            record = records[fingerprint]
            by_machine.setdefault(record["provenance"]["machine"], []).append(record)
        for machine, of in sorted(by_machine.items()):
            core_minutes = cost(record["provenance"] for record in of)["core_minutes"]
            row = {
                "page": page,
                "size": profile,
                "machine": machine,
                "runs": len(of),
                "core minutes": core_minutes,
            }
            seconds = [taken for record in of if (taken := eager_seconds(record["spec"], page, rows))]
            found.append(row | {"eager loop, minutes": sum(seconds) / 60 if seconds else np.nan})
    return pd.DataFrame(found, columns=COSTS)


def eager_seconds(spec: Mapping[str, Any], page: str, rows: pd.DataFrame) -> float | None:
    """Return how long the eager loop takes for a run's steps, by its canonical spec; None if the board has no such."""
    known = rows[rows.against.eq("eager") & ~rows.measure.eq("learning")]
    model = spec.get("model", {"kind": ""})
    if model["kind"] == "MLP" and spec["batch_size"] == 1:
        known, size = known[known.measure.eq("step")], model["width"]
    elif model["kind"] == "Transformer":
        known, size = known[known.page.eq(page)], model["n_heads"]
    else:
        return None
    if known.empty:
        return None
    known = known.sort_values("size")
    unit = known.unit.map({"us/step": 1e-6, "ms/step": 1e-3})
    a_step = np.exp(np.interp(np.log(size), np.log(known["size"]), np.log(known.peer * unit)))
    return float(a_step * spec["n_steps"])
