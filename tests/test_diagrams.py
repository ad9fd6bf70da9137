"""Diagrams: trees, sentences, attention paths told apart without color; the interactive figures without a network."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from test_figures import RISE, STEPS, accuracy, ax, correlations, losses, ngrams

from pdlib import diagrams, tables

__all__ = ["ax"]  # a fixture


def tree() -> pd.DataFrame:
    paths = [((1, 1), (2, 1)), ((1, 1), (2, -1)), ((1, -1), (3, 1)), ((1, -1), (3, -1))]
    return tables.tree_rows([(0, 1), (2, 3), (4, 5)], paths)


def attention() -> pd.DataFrame:
    """What a probe of attention leaves: the mass on a coordinate of the support rises, that off it falls."""
    table = pd.DataFrame(
        {"step": [0, 10, 20], "on_coordinate": [0.1, 0.1, 0.3], "off_coordinate": [0.05, 0.05, 0.01]}
    )
    ends = {
        f"{c}_{end}": table[c] + by for c in table.columns[1:] for end, by in (("low", -0.01), ("high", 0.01))
    }
    return table.assign(**ends)


def parse() -> pd.DataFrame:
    """The sentence "the cat ran away", its two phrases and its root."""
    rows = [(0, "S", 0, 4), (1, "NP", 0, 2), (1, "VP", 2, 4)]
    rows += [(2, word, i, i + 1) for i, word in enumerate(["the", "cat", "ran", "away"])]
    return pd.DataFrame(rows, columns=["level", "symbol", "start", "stop"])


SELECTED = ["selected, shown as [mask]", "selected, shown as a random token", "selected, shown as it is"]


def masking() -> pd.DataFrame:
    shown = {"original": ["1", "2", "3", "1"], "shown": ["1", "[mask]", "2", "1"]}
    return pd.DataFrame({"position": range(4), **shown, "selected": [False, True, True, True]})


def boundaries() -> pd.DataFrame:
    """Spans of level 2 end at 1, 3 and 5, one of level 3 at 3, and all at the last token."""
    return pd.DataFrame({"position": range(6), "token": list("321123"), "level": [1, 2, 1, 3, 1, 4]})


def test_a_tree_shows_each_feature_each_branch_and_each_class_once(ax: Axes) -> None:
    diagrams.plot_tree(tree(), ax, ("1", "2", "class 1"))
    nodes = ["node 1\nx1 x2", "node 2\nx3 x4", "node 3\nx5 x6"]
    classes = [f"class {c}" for c in range(1, 5)]
    assert sorted(t.get_text() for t in ax.texts) == sorted([*("+1", "−1") * 3, *nodes, *classes])
    assert sorted(line.get_linewidth() for line in ax.get_lines()) == [
        1,
        1,
        1,
        1,
        2,
        2,
    ]  # the path stands out
    xs = {t.get_text(): t.get_position()[0] for t in ax.texts}
    assert sorted(classes, key=xs.__getitem__) == classes


def test_a_parse_joins_each_symbol_to_those_below_it_and_marks_where_spans_end(ax: Axes) -> None:
    diagrams.plot_parse(parse(), ax)
    edges = {tuple(np.asarray(line.get_xdata()).tolist()) for line in ax.get_lines()}
    assert edges == {(1.5, 0.5), (1.5, 2.5), (0.5, 0.0), (0.5, 1.0), (2.5, 2.0), (2.5, 3.0)}
    assert [t.get_text() for t in ax.texts] == ["S", "NP", "VP", "the", "cat", "ran", "away"]
    ends = [np.asarray(c.get_offsets())[:, 0].tolist() for c in ax.collections]
    assert ends == [[3], [1, 3]]
    assert ax.get_legend_handles_labels()[1] == [f"last token of a span of level {level}" for level in (0, 1)]


def test_masking_tells_the_kinds_of_positions_apart_without_color(ax: Axes) -> None:
    diagrams.plot_masking(masking(), ax)
    assert ax.get_legend_handles_labels()[1] == ["not selected", *SELECTED]
    looks = {p.get_label(): p.get_hatch() for p in ax.patches if p.get_label() in SELECTED}
    assert len(set(looks.values()) - {""}) == 3
    rows: dict[float, list[str]] = {0.0: [], 1.0: [], 2.0: []}
    for text in ax.texts:
        rows[-text.get_position()[1]].append(text.get_text())
    assert list(rows.values()) == [["1", "2", "3", "1"], ["1", "[mask]", "2", "1"], ["2", "3", "1"]]


def test_masking_draws_the_probabilities_of_selected_positions_the_originals_dark(ax: Axes) -> None:
    diagrams.plot_masking(masking().assign(p_1=0.2, p_2=0.3, p_3=0.5), ax)
    bars: list[Any] = [p for p in ax.patches if p.get_width() < 0.5]  # type: ignore[attr-defined]
    assert [b.get_height() / 0.75 for b in bars] == pytest.approx([0.2, 0.3, 0.5] * 3)
    dark = [b.get_height() / 0.75 for b in bars if b.get_facecolor() != (1, 1, 1, 1)]
    assert dark == pytest.approx([0.3, 0.5, 0.2])  # of the tokens 2, 3 and 1


def test_a_token_is_marked_at_each_level_up_to_the_highest_that_ends_with_it(ax: Axes) -> None:
    diagrams.plot_boundaries(boundaries().sample(frac=1, random_state=0), ax)
    assert marks(ax) == [[1, 3, 5], [3, 5], [5]]
    assert spans(ax) == [[(-0.35, 1), (1.65, 3), (3.65, 5)], [(-0.35, 3), (3.65, 5)], [(-0.35, 5)]]
    assert [t.get_text() for t in ax.texts] == ["3", "2", "1", "1", "2", "3"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["level 4", "level 3", "level 2", "sentence"]
    rows = [c for c in ax.collections if not hasattr(c, "get_segments")]
    shapes = {str(np.asarray(c.get_paths()[0].vertices).tolist()) for c in rows}
    assert len(shapes) == 3  # the levels are told apart without color


def marks(ax: Axes) -> list[list[float]]:
    """Where the marks of each row stand, from the upper row down."""
    offsets = [np.asarray(c.get_offsets()) for c in ax.collections if not hasattr(c, "get_segments")]
    return [o[:, 0].tolist() for o in sorted(offsets, key=lambda o: -float(o[0, 1]))]


def spans(ax: Axes) -> list[list[tuple[float, float]]]:
    """From where to where the spans of each row reach."""
    rows = [c.get_segments() for c in ax.collections if hasattr(c, "get_segments")]
    return [[(float(a), float(b)) for (a, _), (b, _) in segments] for segments in rows]


def test_boundaries_of_chosen_levels_or_of_the_beginning_of_a_sentence(ax: Axes) -> None:
    diagrams.plot_boundaries(boundaries().query("position < 5"), ax, levels=[3])
    assert marks(ax) == [[3]]
    assert spans(ax) == [[(-0.35, 3)]]  # the span that goes on is not drawn as one that ends


def test_a_sentence_too_long_to_be_read_is_not_written(ax: Axes) -> None:
    long = pd.concat([boundaries()] * 60, ignore_index=True)
    diagrams.plot_boundaries(long.assign(position=range(360)), ax)
    assert not ax.texts
    assert ax.get_yticklabels()[-1].get_text() == "360 tokens"


def test_the_shaded_transition_of_attention_is_where_the_accuracy_is_between_its_ends(ax: Axes) -> None:
    teacher = pd.DataFrame({"step": [0, 5, 10, 20], "accuracy": [0.5, 0.6, 0.9, 1.0]})
    diagrams.plot_attention(attention(), teacher, ax)
    (span,) = [p for p in ax.patches if p.get_label() == "transition"]
    assert (span.get_x(), span.get_width()) == (5, 5)  # type: ignore[attr-defined]
    on, off = "on a coordinate of the support", "on another coordinate"
    lines = [on, f"{on}, untrained", off, f"{off}, untrained", "accuracy, scaled"]
    assert ax.get_legend_handles_labels()[1] == [*lines, "transition"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("training steps", "attention along length-2 paths")


def test_one_teachers_correlations_lie_between_the_smallest_and_the_largest(ax: Axes) -> None:
    diagrams.plot_correlation_seeds(correlations(1), accuracy("teacher", seeds=1), ax)
    names = ["in the support", "off the support", "accuracy, scaled", "noise floor"]
    assert ax.get_legend_handles_labels()[1] == names
    ends = [c.get_paths()[0].get_extents().get_points()[:, 1].tolist() for c in ax.collections]
    assert ends == [[0, 0.2], [0, 0.04]]
    assert ax.get_ylabel() == "mean |correlation|, degree 1"


# Interactive


class Elements(HTMLParser):
    """The elements of a piece of HTML, each a name with its attributes."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, Any]]] = []
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, Any]]:
        return [attributes for name, attributes in self.found if name == tag]


def checkpoints_figure() -> diagrams.Interactive:
    runs = [pd.DataFrame({"checkpoint": c, "step": STEPS, "accuracy": RISE}) for c in (10, 20, 40)]
    teacher = accuracy("teacher", seeds=1)
    return diagrams.interactive_checkpoints(teacher, correlations(1), pd.concat(runs), name="a-test")


TRUTH = [0, 2, 1]


def predictions(position: int = 1) -> pd.DataFrame:
    """What is predicted at one position: the true token 2 becomes likely; token 3 is [mask]."""
    rows = [
        (step, position, token, p)
        for step, right in ((10, 0.3), (20, 0.5), (40, 0.9))
        for token, p in enumerate([(1 - right) / 2, (1 - right) / 2, right, 0.0])
    ]
    return pd.DataFrame(rows, columns=["step", "position", "token", "probability"])


def curriculum_figure(guesses: pd.DataFrame | None = None) -> diagrams.Interactive:
    tables_ = losses().query("seed == 0"), ngrams().query("seed == 0")
    guesses = predictions() if guesses is None else guesses
    return diagrams.interactive_curriculum(*tables_, guesses, TRUTH, name="a-test", names=["a", "b", "<c>"])


def choices_figure() -> diagrams.Interactive:
    """Two checkpoints of a teacher, each hinting at one node, and both together."""
    rows = [
        (step, node, 0.3 if (step, node) in {(10, 1), (20, 2)} else 0.1)
        for step in STEPS
        for node in (0, 1, 2)
    ]
    features = pd.DataFrame(rows, columns=["step", "node", "mean"])
    choices = {"first": {"①": 10}, "second": {"②": 20}, "both": {"①": 10, "②": 20}, "not run": {"③": 40}}
    runs = [pd.DataFrame({"method": m, "step": STEPS, "accuracy": RISE}) for m in list(choices)[:3]]
    teacher = accuracy("teacher", seeds=1)
    return diagrams.interactive_choices(teacher, features, pd.concat(runs), choices, name="a-test")


FIGURES = {"checkpoints": checkpoints_figure, "curriculum": curriculum_figure, "choices": choices_figure}


@pytest.fixture(params=FIGURES)
def interactive(request: pytest.FixtureRequest) -> diagrams.Interactive:
    make: Callable[[], diagrams.Interactive] = FIGURES[request.param]
    return make()


def texts_of(markup: str) -> list[str]:
    return list(json.loads(re.search(r'texts = (\[".*?"\]), slider', markup, re.DOTALL)[1]))  # type: ignore[index]


def test_the_interactive_figure_is_a_labeled_slider_over_the_checkpoints(
    interactive: diagrams.Interactive,
) -> None:
    page = Elements(interactive._repr_html_())
    (slider,) = page.all("input")
    assert (slider["type"], slider["min"], slider["max"]) == ("range", "0", "2")
    (label,) = page.all("label")
    assert label["for"] == slider["id"]
    assert [bool(a["role"] == "img" and a["aria-label"]) for a in page.all("svg")] == [True] * 3
    assert any(a.get("aria-live") == "polite" for a in page.all("p"))
    assert repr(interactive) == "interactive figure"  # what a text output shows, the same everywhere


def test_the_interactive_figure_asks_nothing_of_the_network_and_takes_the_pages_color(
    interactive: diagrams.Interactive,
) -> None:
    markup = interactive.markup
    assert not re.search(r"https?:|//[a-z]|\bimport\b|\bfetch\b|XMLHttp", markup)
    assert not [a for _, a in Elements(markup).found if a.get("src") or a.get("href")]
    assert diagrams.TEXT not in markup
    assert "fill: currentColor" in markup


def test_each_state_has_its_parts_in_each_panel_and_it_opens_at_the_most_telling_one(
    interactive: diagrams.Interactive,
) -> None:
    start = Elements(interactive.markup).all("input")[0]["value"]
    # every student is the same in one figure; in the other the loss falls fastest before its last checkpoint
    assert start == ("2" if "mask" in interactive.markup else "0")
    for svg in interactive.markup.split("<svg")[1:]:
        parts = [a for _, a in Elements(f"<svg{svg}").found if "data-state" in a]
        assert {a["data-state"] for a in parts} == {"0", "1", "2"}
        assert all((a.get("style") == "display:none") == (a["data-state"] != start) for a in parts)
    assert f">{texts_of(interactive.markup)[int(start)]}<" in interactive.markup.replace("&lt;c&gt;", "<c>")


def test_two_interactive_figures_of_a_page_do_not_share_an_id(interactive: diagrams.Interactive) -> None:
    found = [(tag, a["id"]) for tag, a in Elements(interactive.markup).found if a.get("id")]
    own = [i for tag, i in found if tag in ("div", "input", "p")]
    assert len(set(own)) == len(own) == 2
    assert all("a-test" in str(i) for i in own)
    # the rest are marks and clips of a panel, named by what they are: those of the same name are the same
    assert {tag for tag, i in found if i not in own} <= {"path", "clippath"}


def test_the_slider_says_what_each_checkpoint_is_and_what_became_of_its_student() -> None:
    texts = texts_of(checkpoints_figure().markup)
    assert [text.partition(":")[0] for text in texts] == ["Checkpoint 10", "Checkpoint 20", "Checkpoint 40"]
    assert texts[0] == (
        "Checkpoint 10: teacher accuracy 0.50; mean correlation in the support 0.100, off it 0.020; "
        "the student ends at 1.00."
    )


def test_the_slider_over_choices_says_which_nodes_they_hint_at_together() -> None:
    assert texts_of(choices_figure().markup) == [
        "Taught by ① (10): pairs stand out at node 1; the student ends at 1.00.",
        "Taught by ② (20): pairs stand out at node 2; the student ends at 1.00.",
        "Taught by ① (10) and ② (20): pairs stand out at nodes 1, 2; the student ends at 1.00.",
    ]


def test_the_curriculum_says_loss_measures_and_prediction_and_names_tokens_safely() -> None:
    markup = curriculum_figure().markup
    assert texts_of(markup)[1] == (
        "Checkpoint 20: loss 0.80; for n = 3, 5, M_robust 0.23, 0.25 and M_close 1.23, 1.25; "
        "the true token <c> is given probability 0.50."
    )
    assert "<p>Sentence: a <strong>[mask]</strong> b</p>" in markup  # the true token is not given away
    assert "<c>" not in re.sub(r"<script>.*</script>", "", markup, flags=re.DOTALL)


def test_without_predictions_the_curriculum_says_the_accuracy() -> None:
    teacher = losses().query("seed == 0").assign(accuracy=0.25)
    one = ngrams().query("seed == 0")
    markup = diagrams.interactive_curriculum(teacher, one, name="a-test").markup
    assert texts_of(markup)[1] == (
        "Checkpoint 10: loss 0.90; for n = 3, 5, M_robust 0.13, 0.15 and M_close 1.13, 1.15; accuracy 0.25."
    )
    assert "held-out accuracy" in markup
    assert "Sentence" not in markup


def test_a_slider_over_nothing_or_over_several_positions_is_an_error() -> None:
    none = pd.DataFrame({"checkpoint": [], "step": [], "accuracy": []})
    with pytest.raises(ValueError, match="no students: expected at least one checkpoint"):
        diagrams.interactive_checkpoints(accuracy("teacher"), correlations(1), none)
    with pytest.raises(ValueError, match="no students: expected at least one choice"):
        diagrams.interactive_choices(
            accuracy("teacher"), none, none.assign(method=""), {"a": {}}, name="a-test"
        )
    with pytest.raises(ValueError, match="no checkpoints: expected at least one step"):
        curriculum_figure(predictions().head(0))
    two = pd.concat([predictions(0), predictions(1)])
    for wrong, positions in ((two, r"\[0, 1\]"), (predictions(3), r"\[3\]")):
        with pytest.raises(ValueError, match=f"positions {positions}: expected one, from 0 to 2"):
            curriculum_figure(wrong)
