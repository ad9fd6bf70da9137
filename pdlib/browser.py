"""Training in the reader's browser: what the widget on a page is given, from published results and their labels.

The widget is `book/_ext/widget/train.js`, its kernel `student.c` beside it. Here are the settings it trains at, the curves
that are published, as a drawing that stands without JavaScript too, and the teacher's labels as a script loaded on demand.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from pdlib import figures
from pdlib.comparison import candidate_methods, student_of
from pdlib.labels import Targets, blocks_of
from pdlib.models.mlp import MLP
from pdlib.optimizers import SGD
from pdlib.pages import load_parameters
from pdlib.published import Published
from pdlib.schedules import OneShot
from pdlib.specs import EVALUATION_SEED, Distillation, Labels, Training
from pdlib.store import MissingError, Store
from pdlib.tables import Candidates, curve
from pdlib.tasks.parity import SparseParity

METHODS = (
    "two_checkpoint_middle",
    "two_checkpoint_before",
    "two_checkpoint_after",
    "one_shot_hard",
    "cross_entropy",
)
N_STEPS = 2_000_000  # of a published student's run in the browser, as far as the paper's Figure 2 goes
EVERY = 25_000  # steps between evaluations there
SCRIPT, LABELS_SCRIPT = "train.js", "labels.js"
# A teacher that is trained in the browser learns within these steps at almost every seed, in about ten seconds; a student
# of its transition learns, one of its final checkpoint or of labels does not.
LIVE = Training(
    SparseParity(30, 4),
    MLP(512),
    SGD(3e-4),
    n_steps=800_000,
    evaluate_every=40_000,
    checkpoint_every=40_000,
    seed=1,
)
LIVE_STUDENT = student_of(
    LIVE, Labels(), model=MLP(8), optimizer=SGD(1e-3), n_steps=200_000, evaluate_every=5_000
)


def students(published: Published | None = None) -> dict[str, Training]:
    """Return the published students of the last teacher of the paper's size, by method; none if there are none.

    >>> import tempfile
    >>> students(Published(tempfile.mkdtemp()))
    {}
    """
    tables = (published or Published()).tables("parity", "paper")
    if not tables:
        return {}
    asked: Mapping[str, Any] = load_parameters("paper", "parity")
    rates = tables["students"].groupby("method").learning_rate.first()
    seed = int(tables["candidates"].seed.iloc[-1])
    found = tables["candidates"][tables["candidates"].seed == seed].set_index("candidate").step
    every = asked["checkpoint_every"]
    task = SparseParity(asked["n_bits"], asked["support_size"])
    teacher = Training(
        task,
        MLP(asked["teacher_width"]),
        SGD(asked["teacher_rate"]),
        n_steps=asked["n_steps"],
        evaluate_every=every,
        checkpoint_every=every,
        seed=seed,
    )
    candidates = Candidates(*(int(found[name]) for name in ("before", "middle", "after")))
    methods = candidate_methods(teacher, candidates, asked["two_checkpoint_steps"])
    methods |= {"one_shot_hard": Distillation(teacher, OneShot(), targets="hard"), "cross_entropy": Labels()}
    model = MLP(asked["student_width"])
    return {
        name: student_of(teacher, methods[name], model=model, optimizer=SGD(float(rates[name])))
        for name in METHODS
    }


def _blocks(student: Training) -> Iterator[tuple[str, Any]]:
    """Yield the blocks of labels that a run in the browser reads, with a name for each."""
    if isinstance(student.supervision, Distillation):
        for block in blocks_of(student):
            if block.start < N_STEPS:
                yield f"{block.checkpoint} from {block.start}", block


def _settings(spec: Training) -> dict[str, Any]:
    """Return what the script knows of a run: its task by the text that names its streams, its network and its steps."""
    task: Any = spec.task
    model: Any = spec.model
    return {
        "task": {
            "bits": task.n_bits,
            "support": task.support_size,
            "identity": json.dumps(
                task.canonical(), sort_keys=True
            ),  # as `tasks.bits.stream_identity` writes it
            "held_out_seed": EVALUATION_SEED,
            "n_held_out": spec.n_evaluation,
        },
        "width": model.width,
        "seed": spec.seed,
        "rate": spec.optimizer.learning_rate,
        "steps": spec.n_steps,
        "every": spec.evaluate_every,
    }


def published_markup(found: Mapping[str, Training]) -> str:
    """Return the widget that trains students of the paper's size beside the published ones; nothing without these.

    >>> published_markup({})
    ''
    """
    if not found:
        return ""
    first = next(iter(found.values()))
    table = Published().tables("parity", "paper")["students"]
    whole = [{"start": 0, "stop": N_STEPS}]
    config = _settings(first) | {
        "data_seed": first.seed if first.data_seed is None else first.data_seed,
        "steps": N_STEPS,
        "every": EVERY,
        "labels": {"file": LABELS_SCRIPT, "stream": first.stream.identity},
        "methods": [
            {
                "id": name,
                "name": _name(name),
                "color": figures.METHODS[name][1],
                "rate": student.optimizer.learning_rate,
                "parts": [
                    {"start": block.start, "stop": block.stop, "label": label}
                    for label, block in _blocks(student)
                ]
                or whole,
            }
            for name, student in found.items()
        ],
    }
    of = f"means of {table.seed.nunique()} students with 95 % intervals"
    what = f"published accuracy of narrow students in their first {figures.short_number(N_STEPS)} steps, by method: {of}"
    early = table[table.step <= N_STEPS]
    curves = {m: curve(early[early.method == m], "accuracy") for m in METHODS}
    chart = _chart("students", what, N_STEPS, curves, first.pieces[0].stop)
    items = "".join(
        f'<li data-method="{m}"><span style="background:{figures.METHODS[m][1]}"></span>{_name(m)}</li>'
        for m in METHODS
    )
    return _widget(config, f'{chart}<div class="pd-legend">Published, {of}:<ul>{items}</ul></div>')


def live_markup() -> str:
    """Return the widget that trains a small teacher, then a student of a checkpoint that the reader chooses.

    >>> live_markup().count("<svg")
    2
    """
    student = _settings(LIVE_STUDENT)
    n, rate = student["steps"], student["rate"]
    final = {"start": 0, "stop": n, "checkpoint": "final"}
    chosen = {"start": 0, "stop": n // 2, "checkpoint": "chosen"}
    methods = {
        "the chosen checkpoint, then the final one": [chosen, final | {"start": n // 2}],
        "the final checkpoint alone (one-shot)": [final],
        "true labels": [{"start": 0, "stop": n}],
    }
    config = student | {
        "teacher": _settings(LIVE),
        "methods": [{"name": name, "rate": rate, "parts": parts} for name, parts in methods.items()],
        "colors": [figures.GREEN, figures.BLUE, figures.ORANGE, figures.RED, figures.PURPLE, figures.SKY],
    }
    teacher = _chart("the teacher", "accuracy of the teacher against its training steps", LIVE.n_steps, {})
    return _widget(
        config,
        teacher + _chart("its students", "accuracy of its students against their steps", n, {}, n // 2),
    )


def labels_script(found: Mapping[str, Training]) -> str:
    """Return a script that hands the widget the published blocks of labels, as they are stored: compressed, with a checksum.

    Raises
    ------
    DamagedError
        If a stored block does not match its hash.
    MissingError
        If a block is not published.
    """
    blocks, store = {}, Store()
    for student in found.values():
        targets = Targets(student, store)
        for name, block in _blocks(student):
            key = targets.key(block)
            stored = store.load_labels(key)
            if stored is None:
                raise MissingError(f"labels of {key} are not published: expected them in {Published().root}.")
            blocks[name] = base64.b64encode(stored.tobytes()).decode()
    stream = next(iter(found.values())).stream.identity
    return f"pdLabels({json.dumps({'stream': stream, 'blocks': blocks})});\n"


def script(folder: Path) -> str:
    """Return the widget's script with the kernel inside, from the folder that holds both."""
    kernel = base64.b64encode((folder / "student.wasm").read_bytes()).decode()
    return (folder / SCRIPT).read_text("utf-8").replace('WASM = ""', f'WASM = "{kernel}"')


# Drawing


def _name(method: str) -> str:
    return {"cross_entropy": "true labels", "one_shot_hard": "the final checkpoint alone (one-shot)"}.get(
        method, figures.METHODS[method][0].removeprefix("(2, T), ") + ", then the final one"
    )


def _widget(config: Mapping[str, Any], drawn: str) -> str:
    """Return the widget's place in a page, in one line, since a blank one would end it in Markdown."""
    data = json.dumps(config, separators=(",", ":")).replace("</", "<\\/")
    return (
        f'<div class="pd-train" data-widget="train"><div class="pd-charts">{drawn}</div>'
        f'<script type="application/json">{data}</script>'
        "<noscript><p>To train here, let this page run its JavaScript.</p></noscript></div>"
    )


_LEFT, _RIGHT, _BOTTOM, _TOP, _LOW, _HIGH = 34, 350, 190, 20, 0.4, 1.02


def _chart(
    title: str,
    what: str,
    n_steps: int,
    curves: Mapping[str, pd.DataFrame],
    then: int = 0,
) -> str:
    """Return a chart of accuracy against steps, with a mean and a band for each curve; then, the final one teaches."""

    def at(step: float, accuracy: float) -> str:
        x = _LEFT + step / n_steps * (_RIGHT - _LEFT)
        y = _BOTTOM - (min(max(accuracy, _LOW), 1) - _LOW) / (_HIGH - _LOW) * (_BOTTOM - _TOP)
        return f"{x:.1f},{y:.1f}"

    def y(accuracy: float) -> str:
        return at(0, accuracy).partition(",")[2]

    parts = [f'<text x="{_LEFT}" y="12" class="pd-title">accuracy of {title}</text>']
    for tick in (0.4, 0.6, 0.8, 1.0):
        parts.append(f'<path class="pd-grid" d="M{_LEFT} {y(tick)}H{_RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{float(y(tick)) + 4:.1f}" text-anchor="end">{tick}</text>')
    for i in range(5):
        step = n_steps * i / 4
        x, anchor = at(step, 0).partition(",")[0], "end" if i == 4 else "middle"
        parts.append(
            f'<text x="{x}" y="{_BOTTOM + 15}" text-anchor="{anchor}">{figures.short_number(step)}</text>'
        )
    parts.append(f'<path class="pd-chance" d="M{_LEFT} {y(0.5)}H{_RIGHT}"/>')
    if then:
        x = at(then, 0).partition(",")[0]
        parts.append(f'<path class="pd-grid" d="M{x} {_TOP}V{_BOTTOM}"/>')
        parts.append(f'<text x="{float(x) + 4:.1f}" y="{_BOTTOM - 6}">then the final checkpoint</text>')
    for method, rows in curves.items():
        color = figures.METHODS[method][1]
        band = [at(*p) for p in zip(rows.step, rows.low, strict=True)]
        band += [at(*p) for p in zip(rows.step[::-1], rows.high[::-1], strict=True)]
        mean = " ".join(at(*p) for p in zip(rows.step, rows["mean"], strict=True))
        parts.append(
            f'<g data-method="{method}"><polygon points="{" ".join(band)}" fill="{color}" opacity=".25"/>'
            f'<polyline class="pd-mean" points="{mean}" stroke="{color}"/></g>'
        )
    return (
        f'<svg viewBox="0 0 360 210" role="img" aria-label="{html.escape(what)}" '
        f'data-frame="{_LEFT} {_RIGHT} {_BOTTOM} {_TOP}" data-range="{n_steps} {_LOW} {_HIGH}">{"".join(parts)}</svg>'
    )
