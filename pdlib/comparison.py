"""A page's runs, and methods compared fairly: the same rates and tries for each, chosen on seeds that are not reported."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from pdlib import claims, figures, pages
from pdlib.engine import Pool, RunsFailedError, execute
from pdlib.optimizers import Adam
from pdlib.schedules import Explicit, OneShot
from pdlib.specs import Distillation, Labels, Measurement, Model, Run, Schedule, Supervision, Training
from pdlib.store import Record, Store
from pdlib.tables import SIBLINGS, Candidates, cost, data_seed, joined, last_rows
from pdlib.training import DivergedError

Setting = TypeVar("Setting")  # what makes a method: usually a supervision
Key = TypeVar("Key")
STUDENT = SIBLINGS  # a student's seed is its ancestry's plus this: other weights, other inputs


class Finding(NamedTuple):
    """What is published of a page at a profile: the tables that it was judged on, its runs, its verdicts."""

    profile: str
    tables: dict[str, pd.DataFrame]
    records: list[Record]
    verdicts: pd.DataFrame


NOTHING = Finding("", {}, [], pd.DataFrame())


@dataclass
class PageRuns:
    """The runs of a page: executed in one store and one pool of workers, and counted; the rates it chose, and how."""

    page: str
    profile: str  # a smoke run shows no progress bar; `pages.OTHER` at other values than the profile's
    store: Store = field(default_factory=Store)
    parameters: Mapping[str, object] | None = None  # all that the page runs at
    records: dict[str, Record] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)  # of each run, by fingerprint
    elapsed_s: dict[str, float] = field(default_factory=dict)
    pool: Pool = field(default_factory=Pool)
    choices: dict[str, Comparison] = field(default_factory=dict)  # by the comparison's name
    findings: dict[str, Finding] = field(
        default_factory=dict
    )  # what is published, by profile, once it was read
    at_other_values: bool = False  # than the profile's: what a criterion names may be missing

    def __post_init__(self) -> None:
        if self.parameters is None:
            return
        said = ""
        try:
            differ = pages.differences(self.page, self.profile, self.parameters)
        except pages.PageError as error:
            said = f"Nothing is judged as {self.profile}, whose values are not known here: {error}"
        else:
            if changed := "; ".join(f"{n} = {ran!r}, there {asked!r}" for n, (ran, asked) in differ.items()):
                said = (
                    f"Nothing is judged, as these are other values than those of {self.profile}: {changed}."
                )
        self.at_other_values = bool(said)
        if said and self.profile != pages.SMOKE:  # which judges nothing anyway
            print(said)
            self.profile = pages.OTHER

    @classmethod
    def of(cls, page: str, namespace: MutableMapping[str, Any]) -> PageRuns:
        """Check a page's parameters, which are in its `globals()`, and set the style of its figures."""
        parameters = pages.check_parameters(namespace)
        figures.house_style()
        return cls(page, str(parameters["profile"]), parameters=parameters)

    def require_among_seeds(self, *names: str) -> None:
        """Refuse seeds of ablations or probes of which none is reported: they build on the runs of reported ones."""
        asked = self.parameters or {}
        for name in names:
            if not set(asked[name]) & set(asked["seeds"]):  # type: ignore[call-overload]
                raise pages.ParameterError(
                    f"{name} = {asked[name]}: expected some of seeds = {asked['seeds']}. Give {name} too."
                )

    def __call__(self, specs: Sequence[Run], part: str = "core") -> list[Record]:
        """Return the results of `specs`, stored or computed now; `part` is `core` or `ablations`."""
        started = time.perf_counter()
        self.store.remember_runs(self.page, self.profile, [spec.fingerprint for spec in specs])
        found = execute(specs, self.store, pool=self.pool, progress=self.profile != "smoke")
        self.elapsed_s[part] = self.elapsed_s.get(part, 0.0) + time.perf_counter() - started
        for record in found:
            self.records.setdefault(record.fingerprint, record)
            self.parts.setdefault(record.fingerprint, part)
        return found

    def by_seed(
        self, spec: Callable[[int], Run], seeds: Collection[int], part: str = "core"
    ) -> dict[int, Record]:
        """Return the result of each seed's run."""
        return dict(zip(seeds, self([spec(seed) for seed in seeds], part), strict=True))

    def tabled(
        self, specs: Mapping[Key, Run], *columns: str, part: str = "core"
    ) -> tuple[pd.DataFrame, dict[Key, Record]]:
        """Return the results of `specs` as one table, whose first columns are their keys, and by their keys."""
        found = dict(zip(specs, self(list(specs.values()), part), strict=True))
        labels = ((key if isinstance(key, tuple) else (key,), record) for key, record in found.items())
        return joined((dict(zip(columns, key, strict=True)), record) for key, record in labels), found

    def agrees(self, spec: Training, by_hand: Mapping[str, Any]) -> dict[str, int]:
        """Train a small spec by the engine too, keeping nothing, and say how many of its arrays are those made by hand."""
        with tempfile.TemporaryDirectory() as folder:
            store = Store(folder, published=None)
            execute([spec], store, n_workers=1, progress=False)
            found = store.load_checkpoint(spec, spec.n_steps)
        equal = [np.abs(np.asarray(by_hand[name]) - array).max() < 1e-9 for name, array in found.items()]
        return {"parameters": len(equal), "equal": int(sum(equal))}

    def in_short(self, headline: Callable[[dict[str, pd.DataFrame]], str], *names: str) -> None:
        """Show the published verdicts of claims, and in a sentence the effect at the largest published size."""
        from IPython.display import Markdown, display  # of the extra `notebooks`

        at = self.published()
        said = [Markdown(f"Profile `{at.profile}`: {headline(at.tables)}")] if at.profile else []  # type: ignore[no-untyped-call]
        display(claims.beside(*names, above=True), *said)  # type: ignore[no-untyped-call]

    def show_headline(self, draw: Callable[[dict[str, pd.DataFrame]], Figure], n_columns: int = 3) -> None:
        """Show a figure of the page's tables at the largest published size."""
        at = self.published()
        if at.profile:
            self.show(draw(at.tables), f"profile {at.profile}; {self.provenance(at.records)}", n_columns)
        else:
            print("This page is not published with its tables in this copy.")

    def say(self, text: str, *names: str) -> None:
        """Show sentences and, beside them, the published verdicts of claims."""
        from IPython.display import Markdown, display  # of the extra `notebooks`

        display(Markdown(text), *([claims.beside(*names)] if names else []))  # type: ignore[no-untyped-call]

    def show(self, figure: Figure, source: str | Iterable[Record], n_columns: int = 3) -> None:
        """Show a figure above its legend and where it comes from: words, or the runs it was drawn from."""
        words = source if isinstance(source, str) else self.provenance(source)
        if os.environ.get(pages.VECTORS):
            from IPython.display import display  # of the extra `notebooks`

            bundle = figures.vectors(figure, n_columns)
            display(bundle, raw=True, metadata={"provenance": words})  # type: ignore[no-untyped-call]
            plt.close(figure)
        else:
            figures.finish(figure, words, n_columns)
            plt.show()

    def show_rates(
        self, compared: Comparison | Mapping[str, Comparison], size: tuple[float, float] = (6.6, 3.9)
    ) -> None:
        """Show what methods reach at each rate tried: of one comparison, or of several in panels with titles."""
        panels = {"": compared} if isinstance(compared, Comparison) else compared
        fig, axes = figures.panels(panels, size)
        for ax, found in zip(axes, panels.values(), strict=True):
            figures.plot_rates(found.tuning, ax, found.rates)
        self.show(fig, [r for found in panels.values() for r in found.tuning_records])

    def cost(self) -> dict[str, dict[str, float]]:
        """Return, for each part, how many runs it took and what they cost.

        `core_minutes` is the processor time of the runs when they were computed, wherever that was;
        `minutes_now` is what this execution of the page waited for them.
        """
        return {
            part: cost(self.records[f].provenance for f, of in self.parts.items() if of == part)
            | {"minutes_now": round(self.elapsed_s[part] / 60, 2)}
            for part in dict.fromkeys(self.parts.values())
        }

    def cost_table(self) -> pd.DataFrame:
        """Return the same for reading, one row per part."""
        return pd.DataFrame(self.cost()).T.rename(columns={"minutes_now": "minutes in this execution"})

    def published(self, *profiles: str) -> Finding:
        """Return what is published of the page at the first of these profiles that has its tables, else nothing.

        By default at the largest: so a page shows that size first, whatever it runs at, and trains nothing for it.
        """
        for profile in profiles or claims.SIZES:
            if profile not in self.findings:
                self.findings[profile] = self._finding(profile)
            if self.findings[profile].profile:
                return self.findings[profile]
        return NOTHING

    def _finding(self, profile: str) -> Finding:
        layer = self.store.published
        tables = {} if layer is None else layer.tables(self.page, profile)
        if layer is None or not tables:
            return NOTHING
        result = layer.page(self.page, profile)
        assert result is not None
        runs = [r for fingerprint in result["runs"] if (r := layer.find(fingerprint)) is not None]
        return Finding(profile, tables, runs, claims.verdict_table(result))

    def provenance(self, records: Iterable[Record]) -> str:
        """Return, in a line, where results come from and what they cost; short for a smoke run."""
        rows = [r.provenance | {"source": r.source} for r in records]
        if self.profile == "smoke" and not (rows and all(r["source"] == "published" for r in rows)):
            return "smoke run: the machinery, no result"
        sources, machines = (sorted({str(r[name]) for r in rows}) for name in ("source", "machine"))
        dates = sorted({str(r["date"])[:10] for r in rows})
        commits = sorted({str(r["commit"])[:10] + ("+" if "+" in str(r["commit"]) else "") for r in rows})
        return (
            f"{len(rows)} runs, {' and '.join(sources)}; {' to '.join(dict.fromkeys([dates[0], dates[-1]]))}; code "
            f"{', '.join(commits)}; {'; '.join(machines)}; {cost(rows)['core_minutes']:.1f} core minutes"
        )

    def judge(self, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
        """Judge the page's claims on its tables and keep the result in the store.

        Two tables are added: `tuning`, the accuracy at every rate tried, and `rates`, those chosen, of all comparisons.
        """
        added = {
            name: pd.concat([getattr(c, name).assign(comparison=key) for key, c in self.choices.items()])
            for name in ("tuning", "rates")
            if self.choices
        }
        tables, records = {**tables, **added}, list(self.records.values())
        found: dict[str, Any] = {"parameters": self.parameters, "costs": self.cost(), "edges": self.edges()}
        found["at_other_values"] = self.at_other_values
        return claims.judge_page(self.page, self.profile, tables, records, self.store, **found)

    def edges(self) -> list[str]:
        """Return a sentence for each choice of a rate at an end of what was tried."""
        return [
            f"{key}: {row['method']} at the {'smallest' if row['learning_rate'] == low else 'largest'} of "
            f"{row['n_tried']} rates tried, {row['learning_rate']:g}"
            for key, c in self.choices.items()
            for low in [c.tuning.learning_rate.min()]
            for row in c.rates[c.rates.at_edge].to_dict("records")
        ]


def cost_by_width(records: Iterable[Record], step_times: pd.DataFrame) -> pd.DataFrame:
    """Return what runs of batch-1 networks cost, one row per width, beside the eager loop's estimate for as many steps.

    Measurements of a teacher count as its. `step_times` is the table of `pdlib.bench.batch_one.StepTimes`; the eager loop
    would have its teacher's labels to make too, which is not in the estimate. Columns: `width`, `machines`, `runs`,
    `million steps`, `core hours`, `longest run, hours`, `eager loop, hours`.
    """
    eager = step_times.set_index("width").eager_us
    found: dict[int, list[Record]] = {}
    for record in records:
        spec = record.spec.training if isinstance(record.spec, Measurement) else record.spec
        if isinstance(spec, Training):
            found.setdefault(spec.model.width, []).append(record)  # type: ignore[attr-defined]
    rows = []
    for width, of_width in sorted(found.items()):
        hours = sum(float(r.provenance["cpu_s"]) for r in of_width) / 3600
        steps = sum(r.spec.n_steps for r in of_width if isinstance(r.spec, Training))
        rows.append(
            {
                "width": width,
                "machines": "; ".join(sorted({str(r.provenance["machine"]) for r in of_width})),
                "runs": len(of_width),
                "million steps": steps / 1e6,
                "core hours": round(hours, 2),
                "longest run, hours": round(max(float(r.provenance["wall_s"]) for r in of_width) / 3600, 2),
                "eager loop, hours": round(steps * eager[width] / 3.6e9, 1),
            }
        )
    return pd.DataFrame(rows)


# -------------------------------------------------------------- students and methods


def student_of(
    teacher: Training, supervision: Supervision, ancestry: int | None = None, **changes: Any
) -> Training:
    """Return the training of a teacher's student: its teacher's own, but for the seeds and what is said here.

    The seed is the ancestry's plus `STUDENT`, whatever the method, so that methods share initial weights and inputs; the
    ancestry is the teacher's seed unless it is said, and one of its siblings has the same inputs
    (`pdlib.tables.data_seed`); one of another teacher is a ValueError. Only the last checkpoint is kept.

    >>> from pdlib import MLP, SGD, SparseParity
    >>> teacher = Training(SparseParity(20, 3), MLP(256), SGD(0.02), 900, 100, seed=7, checkpoint_every=100)
    >>> student = student_of(teacher, Labels(), model=MLP(16))
    >>> student.task == teacher.task, student.seed, student.checkpoints
    (True, 1007, (900,))
    """
    ancestry = teacher.seed if ancestry is None else ancestry
    if teacher.seed not in (ancestry, data_seed(ancestry)):
        raise ValueError(
            f"ancestry {ancestry} of a teacher with seed {teacher.seed}: expected the seed in its last three digits."
        )
    seeds = {"seed": ancestry + STUDENT, "data_seed": teacher.seed + STUDENT}
    changes = seeds | {"checkpoint_every": 0} | changes
    return replace(teacher, supervision=supervision, **changes)


def chosen_checkpoints(
    teacher: Training, steps: Sequence[int], duration: int, **targets: Any
) -> Distillation:
    """Return distillation from chosen checkpoints, each for `duration` steps, then from the final one.

    With one step, (2, T)-progressive distillation. `targets` are the `targets` or the `temperature` of `Distillation`; by
    default hard labels.

    >>> from pdlib import MLP, SGD, SparseParity
    >>> teacher = Training(SparseParity(20, 3), MLP(256), SGD(0.02), 900, 100, checkpoint_every=100)
    >>> chosen_checkpoints(teacher, [300], duration=50).schedule
    Explicit(checkpoints=(300, -1), durations=(50,))
    """
    schedule = Explicit((*steps, -1), (duration,) * len(steps))
    return Distillation(teacher, schedule, **(targets or {"targets": "hard"}))


def usual_methods(teacher: Training, progressive: Schedule) -> dict[str, Supervision]:
    """Return the methods that every comparison has: labels, one-shot, and progressive distillation.

    One-shot distillation comes at temperature 1 and with hard labels, progressive distillation with hard labels.
    """
    return {
        "cross_entropy": Labels(),
        "one_shot": Distillation(teacher, OneShot()),
        "one_shot_hard": Distillation(teacher, OneShot(), targets="hard"),
        "progressive": Distillation(teacher, progressive, targets="hard"),
    }


def candidate_methods(teacher: Training, candidates: Candidates, duration: int) -> dict[str, Supervision]:
    """Return (2, T) distillation from each candidate: before, in and after the teacher's transition."""
    return {
        f"two_checkpoint_{name}": chosen_checkpoints(teacher, [step], duration)
        for name, step in vars(candidates).items()
    }


def targets_by_temperature(temperatures: Iterable[float]) -> dict[str, dict[str, Any]]:
    """Return the kinds of targets to compare, as `chosen_checkpoints` takes them: hard labels, then each temperature.

    >>> targets_by_temperature([1e-4])
    {'hard': {'targets': 'hard'}, '0.0001': {'temperature': 0.0001}}
    """
    return {"hard": {"targets": "hard"}} | {f"{t:g}": {"temperature": t} for t in temperatures}


def text_adam(rate: float, warmup_fraction: float) -> Adam:
    """Return the optimizer of masked and next-token prediction: Adam with warm-up, a cosine to 0, and clipping."""
    return Adam(rate, "cosine", warmup_fraction, betas=(0.9, 0.95), clip_norm=1.0)


def text_student(
    teacher: Training, supervision: Supervision, model: Model, rate: float, n_steps: int
) -> Training:
    """Return the training of a student of masked or next-token prediction: `student_of`, by `text_adam`.

    It is evaluated eight times. Its warm-up is the same share of its steps as the teacher's.
    """
    return student_of(
        teacher,
        supervision,
        model=model,
        optimizer=text_adam(rate, teacher.optimizer.warmup_fraction),
        n_steps=n_steps,
        evaluate_every=max(1, n_steps // 8),
    )


@dataclass(frozen=True)
class Comparison:
    """Methods compared: the rates chosen, on what grounds, the runs, and their records."""

    rates: pd.DataFrame  # method, learning_rate, mean_accuracy, n_tried, n_seeds, at_edge
    table: pd.DataFrame  # method, learning_rate, seed, step, ...
    records: list[Record]
    tuning: pd.DataFrame  # the same columns as `table`, at every rate tried, on the tuning ancestries
    tuning_records: list[Record]

    def rate(self, method: str) -> float:
        """Return the learning rate chosen for a method."""
        return float(self.rates.set_index("method").learning_rate[method])

    def better(self, kind: str) -> str:
        """Return the method that was best on the tuning ancestries, of those whose names begin so."""
        kinds = self.rates[self.rates.method.str.startswith(kind)].set_index("method")
        return str(kinds.mean_accuracy.idxmax())


def compare(
    runs: PageRuns,
    student: Callable[[int, Setting, float], Training],
    methods: Callable[[int], Mapping[str, Setting]],
    *,
    learning_rates: Sequence[float],
    tuning_seeds: Sequence[int],
    seeds: Sequence[int],
    name: str,
    part: str = "core",
    at_end: bool = False,
    grow: int = 0,
) -> Comparison:
    """Choose each method's rate on the tuning seeds, then run it at that rate on the others.

    Where a method's best rate is an end of the grid, the next rate beyond it is tried too, for every method, until all
    choices lie inside or `grow` rates were added on that side. A rate at which a method's training diverges is worthless to
    it, and ends the growth there.

    `student` makes a training of a seed, the setting that makes the method (usually its supervision) and a learning rate;
    `methods` gives a seed the setting of each method, by the same names for each seed. Rates are chosen by the mean accuracy
    over the run, or `at_end`. Without `seeds` to report only the choice is made. `name` is the comparison's on its page: its
    rates are shown and judged under it. A seed that is both tuned on and reported, or a second comparison by this name, is a
    ValueError.
    """
    if both := {data_seed(s) for s in tuning_seeds} & {data_seed(s) for s in seeds}:
        raise ValueError(f"seeds {sorted(both)} are both tuned on and reported: expected disjoint sets.")
    names = list(methods(tuning_seeds[0]))
    if name in runs.choices and set(runs.choices[name].rates.method) != set(names):
        raise ValueError(f"two comparisons are named {name!r}: expected a name of its own for each.")

    def run(tries: Iterable[tuple[str, float, int]]) -> tuple[pd.DataFrame, list[Record]]:
        specs = {t: student(t[2], methods(t[2])[t[0]], t[1]) for t in tries}
        try:
            runs(list(specs.values()), part)
        except RunsFailedError as error:
            if not all(isinstance(e, DivergedError) for e in error.failed.values()):
                raise
            specs = {t: spec for t, spec in specs.items() if spec.fingerprint not in error.failed}
        if not specs:
            return pd.DataFrame(), []
        table, found = runs.tabled(specs, "method", "learning_rate", "seed", part=part)
        return table, list(found.values())

    tried, new = sorted(learning_rates), sorted(learning_rates)
    tuning, tuning_records, left = pd.DataFrame(), list[Record](), {0: grow, -1: grow}
    while new:
        found, records = run((m, rate, seed) for m in names for rate in new for seed in tuning_seeds)
        tuning, tuning_records = pd.concat([tuning, found], ignore_index=True), tuning_records + records
        rates = best_rates(tuning, tried, len(tuning_seeds), at_end)
        whole = len(records) == len(names) * len(new) * len(tuning_seeds)
        new = []
        for end in (0, -1) if len(tried) > 1 and whole else ():
            if left[end] and (rates.learning_rate == tried[end]).any():
                ratio = tried[1] / tried[0] if end == 0 else tried[-1] / tried[-2]
                new.append(float(f"{tried[0] / ratio if end == 0 else tried[-1] * ratio:.12g}"))
                left[end] -= 1
        tried = sorted([*tried, *new])
    chosen = rates.set_index("method").learning_rate
    table, records = tuning.iloc[:0], list[Record]()
    if seeds:
        table, records = run((m, float(chosen[m]), seed) for m in names for seed in seeds)
    runs.choices[name] = Comparison(rates, table, records, tuning, tuning_records)
    return runs.choices[name]


def best_rates(tuning: pd.DataFrame, tried: Sequence[float], n_seeds: int, at_end: bool) -> pd.DataFrame:
    """Return each method's best rate among those at which none of its tuning runs diverged, and whether it is an end.

    The best one has the highest accuracy in the mean over the evaluations of a run, which rewards both a high end and an
    early rise, or at its end. Columns: `method`, `learning_rate`, `mean_accuracy`, `n_tried`, `n_seeds`, `at_edge`.
    """
    runs = last_rows(tuning, ["method", "learning_rate", "seed"]) if at_end else tuning
    whole = runs[runs.groupby(["method", "learning_rate"]).seed.transform("nunique") == n_seeds]
    means = whole.groupby(["method", "learning_rate"]).accuracy.mean().rename("mean_accuracy").reset_index()
    best = means.loc[means.groupby("method").mean_accuracy.idxmax()].reset_index(drop=True)
    at_edge = best.learning_rate.isin([tried[0], tried[-1]])
    return best.assign(n_tried=len(tried), n_seeds=n_seeds, at_edge=at_edge)


def compare_lengths(
    runs: PageRuns,
    student: Callable[[int, Setting, float, int], Training],
    methods: Callable[[int], Mapping[str, Setting]],
    *,
    horizons: Sequence[float],
    n_steps: int,
    seeds: Sequence[int],
    name: str,
    part: str = "core",
    **choice: Any,
) -> Comparison:
    """Choose each method's rate at the shortest length, by the accuracy at its end, then run every length at that rate.

    Each length is a run of its own, not a longer one cut short; the table has a column `horizon` too. `student` takes the
    number of steps as well; `horizons` are lengths as shares of the teacher's `n_steps`, the shortest first. The rest is as
    in `compare`.
    """
    shortest, *further = horizons

    def short(seed: int, setting: Setting, rate: float) -> Training:
        return student(seed, setting, rate, round(shortest * n_steps))

    found = compare(runs, short, methods, seeds=seeds, name=name, part=part, at_end=True, **choice)
    longer: dict[tuple[float, str, int], Run] = {
        (h, m, s): student(s, methods(s)[m], found.rate(m), round(h * n_steps))
        for h in further
        for m in found.rates.method
        for s in seeds
    }
    tables, records = [found.table.assign(horizon=shortest)], found.records
    if longer:
        table, more = runs.tabled(longer, "horizon", "method", "seed", part=part)
        tables, records = [*tables, table], [*records, *more.values()]
    runs.choices[name] = replace(found, table=pd.concat(tables), records=records)
    return runs.choices[name]
