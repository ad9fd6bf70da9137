"""Comparisons: the same tries for each method; students and methods are the specs that one would write out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import tiny
from matplotlib import pyplot as plt

from pdlib.comparison import (
    Comparison,
    PageRuns,
    candidate_methods,
    chosen_checkpoints,
    compare,
    compare_lengths,
    cost_by_width,
    student_of,
    targets_by_temperature,
    text_adam,
    text_student,
    usual_methods,
)
from pdlib.engine import RunsFailedError, execute
from pdlib.models.mlp import MLP
from pdlib.optimizers import SGD, Adam
from pdlib.pages import ParameterError, load_parameters
from pdlib.schedules import Explicit, OneShot, Progressive
from pdlib.specs import Distillation, Labels, SpecError, Training
from pdlib.store import Record, Store
from pdlib.tables import Candidates
from pdlib.training import DivergedError

TEACHER = tiny.training(seed=7)  # 400 steps, a checkpoint every 100


# Students and methods


def test_a_student_is_the_training_that_one_would_write_out() -> None:
    supervision = Distillation(TEACHER, OneShot())
    student = student_of(TEACHER, supervision, model=MLP(8), optimizer=SGD(0.02), n_steps=200)
    assert student == Training(
        tiny.TASK,
        MLP(8),
        SGD(0.02),
        n_steps=200,
        evaluate_every=200,
        seed=1007,
        supervision=supervision,
        n_evaluation=256,
    )
    assert student.fingerprint != student_of(tiny.training(seed=8), supervision).fingerprint


def test_siblings_share_teacher_and_inputs_and_differ_in_their_weights() -> None:
    first, second, third = (student_of(TEACHER, Labels(), a) for a in (7, 1007, 2007))
    assert first == student_of(TEACHER, Labels())
    assert len({s.seed for s in (first, second, third)}) == 3
    assert first.stream.identity == second.stream.identity == third.stream.identity
    assert first.stream.identity != TEACHER.stream.identity
    of_another = student_of(tiny.training(seed=8), Labels(), 1008)
    assert of_another.stream.identity != second.stream.identity  # the control
    with pytest.raises(ValueError, match="ancestry 1008 of a teacher with seed 7: expected the seed in its"):
        student_of(TEACHER, Labels(), 1008)


def test_the_usual_methods_are_the_specs_that_one_would_write_out() -> None:
    progressive = Progressive(n_checkpoints=2, steps_per_checkpoint=200)
    expected = {
        "cross_entropy": Labels(),
        "one_shot": Distillation(TEACHER, OneShot(), temperature=1.0, targets="soft"),
        "one_shot_hard": Distillation(TEACHER, OneShot(), targets="hard"),
        "progressive": Distillation(TEACHER, progressive, targets="hard"),
    }
    methods = usual_methods(TEACHER, progressive)
    assert methods == expected
    assert list(methods) == list(expected)  # rates are tried in this order
    assert candidate_methods(TEACHER, Candidates(before=100, middle=200, after=300), 50) == {
        f"two_checkpoint_{name}": Distillation(TEACHER, Explicit((step, -1), (50,)), targets="hard")
        for name, step in (("before", 100), ("middle", 200), ("after", 300))
    }
    assert text_adam(0.1, 0.06) == Adam(0.1, "cosine", 0.06, betas=(0.9, 0.95), clip_norm=1.0)


def test_chosen_checkpoints_teach_one_after_another_and_then_the_final_one_with_hard_labels() -> None:
    assert chosen_checkpoints(TEACHER, [200], 50) == Distillation(
        TEACHER, Explicit((200, -1), (50,)), targets="hard"
    )
    assert chosen_checkpoints(TEACHER, (100, 300), 50, temperature=0.5) == Distillation(
        TEACHER, Explicit((100, 300, -1), (50, 50)), temperature=0.5
    )
    with pytest.raises(SpecError, match=r"teacher checkpoints at \[150\]"):
        student_of(TEACHER, chosen_checkpoints(TEACHER, [150], 50))


def test_each_temperature_is_a_kind_of_targets_besides_hard_labels() -> None:
    kinds = targets_by_temperature([1e-4, 1.0])
    assert list(kinds) == ["hard", "0.0001", "1"]
    found = {name: chosen_checkpoints(TEACHER, [200], 50, **kind) for name, kind in kinds.items()}
    assert [(d.targets, d.temperature) for d in found.values()] == [
        ("hard", 1.0),
        ("soft", 1e-4),
        ("soft", 1.0),
    ]


# Runs of a page


def test_runs_by_seed_and_in_a_table_are_those_asked_for_and_count_once(store: Store) -> None:
    pages = PageRuns("parity", "smoke", store)
    found = pages.by_seed(lambda seed: tiny.training(seed=seed, n_steps=200), [3, 1], "ablations")
    assert {seed: record.spec.seed for seed, record in found.items()} == {3: 3, 1: 1}  # type: ignore[union-attr]
    table, again = pages.tabled({("a", 3): tiny.training(seed=3, n_steps=200)}, "method", "seed")
    assert again["a", 3].fingerprint == found[3].fingerprint
    assert table.columns.tolist()[:3] == ["method", "seed", "step"]
    assert set(table.seed) == {3}
    by_one, _ = pages.tabled({3: tiny.training(seed=3, n_steps=200)}, "seed")
    pd.testing.assert_frame_equal(by_one, table.drop(columns="method"))
    assert pages.by_seed(lambda seed: tiny.training(seed=seed), {}) == {}
    cost = pages.cost_table()
    assert cost.columns.tolist() == ["n_runs", "core_minutes", "minutes in this execution"]
    assert cost.n_runs.to_dict() == {"ablations": 2}


def test_a_page_is_its_profiles_only_at_the_profiles_values(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    values = load_parameters("laptop", "parity")
    assert PageRuns("parity", "laptop", store, values).profile == "laptop"
    other = PageRuns("parity", "laptop", store, values | {"n_bits": 30})
    assert "n_bits = 30, there 50." in capsys.readouterr().out
    other([tiny.training()])
    other.judge({})
    assert sorted(p.name for p in (store.root / "pages").iterdir()) == [
        "parity-other.json",
        "parity-other.runs.json",
    ]
    with pytest.raises(ParameterError, match="profile = 'laptop', but no other value is that profile's"):
        PageRuns("parity", "laptop", store, load_parameters("smoke", "parity") | {"profile": "laptop"})


def test_a_page_begins_with_its_parameters_checked_and_shows_where_a_figure_comes_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PDLIB_STORE", str(tmp_path))
    namespace: dict[str, Any] = {
        "__annotations__": {"profile": str, "rate": float},
        "profile": "smoke",
        "rate": 1,
    }
    with mpl.rc_context():
        runs = PageRuns.of("parity", namespace)
        assert (runs.page, runs.profile, runs.parameters) == (
            "parity",
            "smoke",
            {"profile": "smoke", "rate": 1.0},
        )
        figures: list[Any] = []
        monkeypatch.setattr(plt, "show", lambda: figures.append(plt.gcf()))
        table = pd.DataFrame({"method": "one_shot", "learning_rate": [0.1, 0.2], "seed": 1, "step": 10})
        table["accuracy"] = [0.5, 0.6]
        rates = pd.DataFrame(
            {"method": ["one_shot", "one_shot_hard"], "learning_rate": 0.2, "mean_accuracy": [0.6, 0.7]}
        )
        found = Comparison(rates, table, [], table, [])
        assert found.better("one_shot") == "one_shot_hard"
        runs.show_rates({"narrow": found, "wide": found}, (9, 3))
        runs.show(plt.figure(), "drawn from the task")
    panels, plain = figures
    assert [ax.get_title() for ax in panels.axes] == ["narrow", "wide"]
    assert panels.legends[0].get_title().get_text() == "smoke run: the machinery, no result"
    assert plain.get_supxlabel() == "drawn from the task"
    plt.close("all")


def test_a_student_of_text_warms_up_over_the_teachers_share_of_its_own_steps() -> None:
    teacher = replace(TEACHER, optimizer=text_adam(0.1, 0.25))
    student = text_student(teacher, Labels(), MLP(8), 0.2, n_steps=40)
    optimizer = text_adam(0.2, 0.25)
    changes = {"model": MLP(8), "optimizer": optimizer, "n_steps": 40, "evaluate_every": 5}
    assert student == student_of(teacher, Labels(), **changes)


def test_a_comparison_chooses_on_other_seeds_than_it_reports_and_tries_as_much_for_each(store: Store) -> None:
    pages = PageRuns("parity", "smoke", store)

    def student(seed: int, supervision: Any, rate: float) -> Training:
        return tiny.training(seed=seed, supervision=supervision, optimizer=SGD(rate), n_steps=200)

    def compared(tuned: list[int], reported: list[int]) -> Comparison:
        return compare(
            pages,
            student,
            lambda seed: {"cross_entropy": Labels(), "again": Labels()},
            learning_rates=[0.01, 0.1],
            tuning_seeds=tuned,
            seeds=reported,
            name="students",
        )

    result = compared([8, 9], [1, 2, 3])
    assert result.rates[["n_tried", "n_seeds"]].to_numpy().tolist() == [[2, 2], [2, 2]]
    assert sorted(result.table.seed.unique()) == [1, 2, 3]
    twins = result.table.set_index(["seed", "step"])
    a, b = (twins[twins.method == m].drop(columns="method") for m in ("cross_entropy", "again"))
    pd.testing.assert_frame_equal(a, b)
    assert pages.cost()["core"]["n_runs"] == 2 * 2 + 3
    for tuned in (2, 1002):  # 1002 is another student on the inputs of 2
        with pytest.raises(ValueError, match=r"seeds \[2\] are both tuned on and reported"):
            compared([tuned], [2, 3])


def test_every_length_is_a_run_of_its_own_at_the_rate_chosen_at_the_shortest(store: Store) -> None:
    page = PageRuns("parity", "smoke", store)

    def student(seed: int, supervision: Any, rate: float, steps: int) -> Training:
        return tiny.training(optimizer=SGD(rate), seed=seed, n_steps=steps, evaluate_every=steps)

    rates: Any = {"learning_rates": [0.1, 1e-4], "tuning_seeds": [101], "seeds": [1, 2]}
    found = compare_lengths(
        page,
        student,
        lambda seed: {"labels": Labels()},
        horizons=[0.5, 1.0],
        n_steps=400,
        name="lengths",
        **rates,
    )
    ends = found.table.groupby(["horizon", "seed"]).step.max()
    assert ends.to_dict() == {(0.5, 1): 200, (0.5, 2): 200, (1.0, 1): 400, (1.0, 2): 400}
    short = compare(
        page,
        lambda seed, supervision, rate: student(seed, supervision, rate, 200),
        lambda seed: {"labels": Labels()},
        at_end=True,
        name="short",
        **rates,
    )
    assert found.rates.equals(short.rates)
    assert {r.spec.optimizer.learning_rate for r in found.records} == {short.rate("labels")}
    assert len(found.records) == 4


# Rates


class Peaked:
    """Runs that are computed at once: accuracy is highest at a rate of each method's own; above a limit all diverge."""

    def __init__(self, store: Store, best: dict[str, float], limit: float = 1e9) -> None:
        self.page, self.best, self.limit = PageRuns("parity", "smoke", store), best, limit
        self.made: dict[str, tuple[str, float]] = {}
        self.asked: list[tuple[str, float]] = []
        self.page.__class__ = type(
            "Faked", (PageRuns,), {"__call__": lambda page, specs, part="core": self(specs)}
        )

    def __call__(self, specs: Any) -> list[Any]:
        failed = {
            s.fingerprint: DivergedError("not finite")
            for s in specs
            if s.optimizer.learning_rate > self.limit
        }
        if failed:
            raise RunsFailedError("some diverged", failed)
        return [self.record(s) for s in specs]

    def record(self, spec: Training) -> Any:
        method, rate = self.made[spec.fingerprint]
        self.asked.append((method, rate))
        away = abs(np.log2(rate / self.best[method]))
        table = pd.DataFrame({"step": [0, 10], "accuracy": [0.5, 1 - 0.1 * away]})
        return Record(spec, table, {}, "trained now")

    def compare(self, rates: list[float], **settings: Any) -> Any:
        def student(seed: int, method: str, rate: float) -> Training:
            spec = tiny.training(
                seed=seed + 100 * list(self.best).index(method), optimizer=SGD(rate), n_steps=200
            )
            self.made[spec.fingerprint] = method, rate
            return spec

        usual: dict[str, Any] = {"tuning_seeds": [8, 9], "seeds": [1], "name": "students"}
        return compare(
            self.page,
            student,
            lambda seed: {m: m for m in self.best},
            learning_rates=rates,
            **(usual | settings),
        )


def test_a_grid_grows_until_every_choice_lies_inside_with_as_many_tries_for_each(store: Store) -> None:
    fake = Peaked(store, {"a": 0.4, "b": 0.05})
    found = fake.compare([0.1, 0.2], grow=4)
    assert found.rates.set_index("method").learning_rate.to_dict() == {"a": 0.4, "b": 0.05}
    assert sorted(found.tuning.learning_rate.unique()) == [0.025, 0.05, 0.1, 0.2, 0.4, 0.8]
    assert found.tuning.groupby("method").learning_rate.nunique().to_dict() == {"a": 6, "b": 6}
    assert found.rates.n_tried.tolist() == [6, 6]
    assert not found.rates.at_edge.any()
    assert fake.page.edges() == []


def test_a_choice_at_an_edge_is_flagged_by_itself(store: Store) -> None:
    fake = Peaked(store, {"a": 0.4, "b": 0.15})
    found = fake.compare([0.1, 0.2])
    assert found.rates.set_index("method").at_edge.to_dict() == {"a": True, "b": True}
    fake = Peaked(store, {"a": 0.4, "b": 0.1})
    found = fake.compare([0.05, 0.1, 0.2], name="widths")
    assert found.rates.set_index("method").at_edge.to_dict() == {"a": True, "b": False}
    assert fake.page.edges() == ["widths: a at the largest of 3 rates tried, 0.2"]
    fake.page.judge({})
    kept = store.load_page("parity", "smoke")
    assert kept is not None
    assert kept["edges"] == fake.page.edges()


def test_a_rate_at_which_training_diverges_is_tried_and_worthless(store: Store) -> None:
    fake = Peaked(store, {"a": 0.4}, limit=0.25)
    found = fake.compare([0.1, 0.2], grow=3)
    assert found.rates.learning_rate.tolist() == [0.2]
    assert found.rates.n_tried.tolist() == [3]
    assert not found.rates.at_edge.any()  # the next one was tried


def test_a_comparison_has_a_name_of_its_own_and_its_cell_can_be_executed_again(store: Store) -> None:
    fake = Peaked(store, {"a": 0.1})
    assert fake.compare([0.1, 0.2]).rates.equals(fake.compare([0.1, 0.2]).rates)
    fake.best = {"b": 0.1}
    with pytest.raises(ValueError, match="two comparisons are named 'students'"):
        fake.compare([0.1, 0.2])


# At the largest published size


def test_a_page_of_another_profile_sees_what_was_published_at_the_largest(tmp_path: Path) -> None:
    made = Store(tmp_path / "made", published=None)
    runs = PageRuns("parity", "paper", made)
    (record,) = runs([tiny.training()])
    tables = {"teacher": record.table.assign(seed=1)}
    runs.judge(tables)
    published = tiny.published(made, tmp_path / "published")
    result, kept = made.load_page("parity", "paper"), made.page_tables("parity", "paper")
    published.write_page("parity", "paper", [record], result, kept)
    seen = PageRuns("parity", "smoke", Store(tmp_path / "mine", published.root))
    profile, found, records, verdicts = seen.published()
    assert profile == "paper"
    assert found["teacher"].equals(tables["teacher"])
    assert [(r.fingerprint, r.source) for r in records] == [(record.fingerprint, "published")]
    assert "not run" in set(verdicts.verdict)
    assert "1 runs, published" in seen.provenance(records)  # what is shown is a result, wherever it is shown
    assert "smoke run" in seen.provenance([record])
    nothing = PageRuns("parity", "smoke", Store(tmp_path / "mine", published=None))
    for found in (nothing.published(), seen.published("desk", "laptop")):
        assert [len(part) for part in found] == [0, 0, 0, 0]


def test_costs_are_summed_by_width_and_set_beside_the_eager_loop() -> None:
    def record(spec: Any, hours: float) -> Record:
        cost = {"cpu_s": 3600 * hours, "wall_s": 1800 * hours, "machine": f"one of {hours}"}
        return Record(spec, pd.DataFrame(), cost, "local")

    teacher, student = (tiny.training(n_steps=900_000_000, model=MLP(m)) for m in (16, 8))
    records = [record(teacher, 2.0), record(tiny.measurement(teacher), 1.0), record(student, 0.5)]
    times = pd.DataFrame({"width": [8, 16], "engine_us": [1.0, 2.0], "eager_us": [10.0, 30.0]})
    found = cost_by_width(records, times).set_index("width")
    assert found.runs.to_dict() == {8: 1, 16: 2}
    assert found["core hours"].to_dict() == {8: 0.5, 16: 3.0}
    assert found.machines.to_dict() == {8: "one of 0.5", 16: "one of 1.0; one of 2.0"}
    assert found["longest run, hours"].to_dict() == {8: 0.25, 16: 1.0}
    assert found["million steps"].to_dict() == {8: 900.0, 16: 900.0}
    assert found["eager loop, hours"].to_dict() == {8: 2.5, 16: 7.5}


def test_seeds_of_ablations_must_be_among_those_that_are_reported(store: Store) -> None:
    runs = PageRuns(
        "wiki", "smoke", store, parameters={"seeds": [1, 2], "ablation_seeds": [2, 9], "probe_seeds": [3]}
    )
    runs.require_among_seeds("ablation_seeds")
    with pytest.raises(
        ParameterError, match=r"probe_seeds = \[3\]: expected some of seeds = \[1, 2\]. Give probe_seeds too"
    ):
        runs.require_among_seeds("ablation_seeds", "probe_seeds")


def test_what_is_published_leads_a_page_in_a_sentence_and_a_figure_or_the_page_says_that_nothing_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Store(tmp_path / "made", published=None)
    runs = PageRuns("parity", "laptop", made)
    (record,) = runs([tiny.training()])
    runs.judge({"teacher": record.table.assign(seed=1)})
    layer = tiny.published(made, tmp_path / "published")
    result, kept = made.load_page("parity", "laptop"), made.page_tables("parity", "laptop")
    layer.write_page("parity", "laptop", [record], result, kept)
    shown: list[Any] = []
    monkeypatch.setattr("IPython.display.display", lambda *parts, **_: shown.extend(parts))
    monkeypatch.setattr(plt, "show", lambda: shown.append("figure"))
    seen = PageRuns("parity", "smoke", Store(tmp_path / "mine", layer.root))
    seen.in_short(lambda tables: f"{len(tables['teacher'])} rows", "R1")
    seen.show_headline(lambda tables: plt.figure())
    assert "href='#shown-claim-r1'" in shown[0]
    assert shown[1].data == f"Profile `laptop`: {len(record.table)} rows"
    assert shown[2] == "figure"
    plt.close("all")
    nothing = PageRuns("parity", "smoke", Store(tmp_path / "none", published=None))
    nothing.in_short(lambda tables: "never", "R1")
    nothing.show_headline(lambda tables: plt.figure())
    assert len(shown) == 4
    assert "not published with its tables" in capsys.readouterr().out


def test_what_was_computed_by_hand_is_compared_with_the_engine_array_by_array(store: Store) -> None:
    spec = tiny.training()
    execute([spec], store, n_workers=1, progress=False)
    by_hand = store.load_checkpoint(spec, spec.n_steps)
    pages = PageRuns("parity", "smoke", store)
    assert pages.agrees(spec, by_hand) == {"parameters": 4, "equal": 4}
    off = by_hand | {"0.bias": by_hand["0.bias"] + 1e-6}
    assert pages.agrees(spec, off) == {"parameters": 4, "equal": 3}
    assert not pages.records
