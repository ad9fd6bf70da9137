"""What the ledger says to machines: it fits the formats, every reference resolves, and grades follow verdicts."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from test_ledger import judged, students

from pdlib import claims
from pdlib.__main__ import main
from pdlib.claims import RegisterError, formats, shown
from pdlib.published import Published
from pdlib.store import Store

Json = dict[str, Any]
SCHEMAS = Path(__file__).with_name("schemas")
CATEGORIES = {"Code Development", "Code Execution", "Result Analysis"}
FINE = {
    "Environment & Infrastructure Setup", "Dataset and Model Acquisition", "Data Processing & Preparation",
    "Method Implementation", "Experimental Setup", "Evaluation, Metrics & Benchmarking", "Logging, Analysis & Presentation",
}  # fmt: skip


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    (folder / "of-the-user.txt").write_text("a file that was there before")
    assert main(["claims", "--export", str(folder)]) == 0
    return folder


def read(folder: Path, name: str) -> Any:
    text = (folder / name).read_text("utf-8")
    return yaml.safe_load(text) if name.endswith(".yaml") else json.loads(text)


def complaints(schema: str, found: Any) -> list[str]:
    validator = Draft202012Validator(json.loads((SCHEMAS / f"{schema}.schema.json").read_text("utf-8")))
    return [error.message for error in validator.iter_errors(found)]


def changed(found: Json, change: Callable[[Json], Any]) -> Json:
    other = copy.deepcopy(found)
    change(other)
    return other


# ------------------------------------------------------------------ Paper Spec and paper.json


def test_paper_yaml_fits_its_schema_which_sees_what_is_wrong(exported: Path) -> None:
    found = read(exported, "paper.yaml")
    assert (exported / "paper.yaml").read_text("utf-8").startswith("# paper.yaml, Paper Spec 0.1.0\n")
    assert complaints("paper-spec", found) == []
    for change in (
        lambda p: p.update(spec_version="0.1.0"),
        lambda p: p["meta"].update(date=datetime(2026, 11, 29)),
        lambda p: p["claims"][0].update(status="partly"),
        lambda p: p["results"][0].update(effect_size=0.5),
        lambda p: p["meta"].pop("authors"),
    ):
        assert complaints("paper-spec", changed(found, change))


def test_paper_json_fits_its_schema_which_sees_what_is_wrong(exported: Path) -> None:
    found = read(exported, "paper.json")
    assert complaints("paper-json", found) == []
    for change in (
        lambda p: p["claims"][0].update(id="R2"),
        lambda p: p["claims"][0].update(status="supported"),
        lambda p: p.update(does_not_claim=[]),
        lambda p: p.update(version="0.1"),
        lambda p: p["reproducibility"].update(commands=[]),
    ):
        assert complaints("paper-json", changed(found, change))


def dangling(paper: Json) -> list[str]:
    """What a paper.yaml refers to and does not have, and what it has twice: the schema does not look."""
    ids = [claim["id"] for claim in paper["claims"]]
    used = [c for claim in paper["claims"] for c in claim.get("depends_on", [])]
    used += [row["claim_id"] for name in ("acceptance", "results") for row in paper[name]]
    return sorted({at for at in ids if ids.count(at) > 1} | set(used) - set(ids))


def test_ids_are_unique_and_every_reference_resolves(exported: Path) -> None:
    paper, other = read(exported, "paper.yaml"), read(exported, "paper.json")
    assert dangling(paper) == []
    assert dangling(changed(paper, lambda p: p["claims"][2].update(depends_on=["r99"]))) == ["r99"]
    assert dangling(changed(paper, lambda p: p["claims"][2].update(id="r1"))) == ["r1", "r2"]
    numbers = [claim["id"] for claim in other["claims"]]
    assert numbers == [f"C{i}" for i in range(1, len(claims.register()) + 1)]
    more = other["x_companion"]
    assert sorted(more) == sorted(numbers)
    assert {row["target"] for entry in more.values() for row in entry["relations"]} <= set(numbers)
    assert {entry["short_id"] for entry in more.values()} == {claim["id"] for claim in paper["claims"]}
    assert {"type": "needs", "target": "C1"} in more["C3"]["relations"]
    assert more["C3"]["register_id"] == "R2"
    for entry, claim in zip(other["claims"], (more[n] for n in numbers), strict=True):
        assert entry["statement"].startswith(f"{claim['register_id']}: ")


def test_numbers_of_paper_json_stay_and_cover_the_register() -> None:
    numbers = formats.numbers()
    assert numbers.keys() == {claim.id for claim in claims.register()}
    fixed = {"R1": "C1", "R7": "C9", "Theorem 3.2": "C10", "Lemma B.2": "C49", "fourier-gap": "C95"}
    assert {name: numbers[name] for name in fixed} == fixed


def test_a_relation_that_names_no_claim_or_goes_in_a_circle_is_an_error(tmp_path: Path) -> None:
    text = formats.RELATIONS.read_text("utf-8")
    assert ("Theorem 3.2", "needs", "Lemma B.2") in formats.relations()
    for there, instead, said in (
        ("R2: [R1]", "R2: [R99]", "R2 needs R99: 'R99' is no claim"),
        ("R2: [R1]", "R2: [R1]\n    R1: [R2]", "claims that need each other: R[12] needs R[12] needs"),
    ):
        path = tmp_path / f"{len(said)}.yaml"
        path.write_text(text.replace(there, instead, 1))
        with pytest.raises(RegisterError, match=said):
            formats.relations(path)


# ------------------------------------------------------------------ the rubric


def nodes(node: Json) -> Iterator[Json]:
    yield node
    for child in node.get("sub_tasks", []):
        yield from nodes(child)


def faults(rubric: Json) -> list[str]:
    """What PaperBench's reader would refuse, or misunderstand."""
    every, found = list(nodes(rubric)), []
    ids = [node["id"] for node in every]
    found += [f"{at} occurs twice" for at in ids if ids.count(at) > 1]
    for node in every:
        at, leaf = node["id"], not node.get("sub_tasks")
        if not {"id", "requirements", "weight", "sub_tasks"} <= node.keys():
            found.append(f"{at} lacks a key")
        elif not (isinstance(node["weight"], int | float) and node["weight"] >= 0):
            found.append(f"{at} has no weight")
        elif (node["task_category"] in CATEGORIES) != leaf or (node["task_category"] is None) == leaf:
            found.append(f"{at} has a wrong category")
        elif node["finegrained_task_category"] not in (FINE if leaf else {None}):
            found.append(f"{at} has a wrong fine category")
        elif not leaf and not any(child["weight"] for child in node["sub_tasks"]):
            found.append(f"{at}: no part has a weight")
        elif not (0 <= node["score"] <= 1) or (leaf and node["score"] not in (0, 1)):
            found.append(f"{at} has a wrong score")
    return found


def test_the_rubric_keeps_the_rules_of_its_format(exported: Path) -> None:
    found = read(exported, "rubric.json")
    assert faults(found) == []
    known = [claim for claim in claims.register() if claim.criteria]
    leaves = [node for node in nodes(found) if not node["sub_tasks"]]
    assert len(leaves) == len(known) + sum(len(claim.criteria) for claim in known)
    claim = found["sub_tasks"][0]["sub_tasks"][0]
    for change in (
        lambda c: c["sub_tasks"][0].pop("sub_tasks"),
        lambda c: c.update(weight=-1),
        lambda c: c.update(task_category="Result Analysis"),
        lambda c: c["sub_tasks"][0].update(id=c["id"]),
        lambda c: [leaf.update(weight=0) for leaf in c["sub_tasks"]],
        lambda c: c["sub_tasks"][0].update(score=0.5),
    ):
        assert faults(changed(claim, change))


def test_grades_and_statuses_follow_verdicts(store: Store) -> None:
    for fast, status, score in (
        (("two_checkpoint_middle",), "supported", 1),
        ((), "refuted", 0),
    ):
        judged(store, **students(fast))
        table = claims.ledger(store.root / "published")
        verdict = table[(table.claim == "R2") & table.primary].iloc[0].part_verdict
        assert (verdict == claims.REPRODUCED) == bool(score)
        rubric = formats.rubric(table)
        by_id = {node["id"]: node for node in nodes(rubric)}
        (name,) = (c.name for c in claims.register()[2].criteria if c.primary)
        assert by_id[f"r2-{formats.short_id(name)}"]["score"] == score
        parts = by_id["r2"]["sub_tasks"]
        expected = sum(p["score"] * p["weight"] for p in parts) / sum(p["weight"] for p in parts)
        assert by_id["r2"]["score"] == expected
        assert (by_id["r2-run"]["score"], by_id["r5-run"]["score"]) == (1, 0)
        paper = {claim["id"]: claim for claim in formats.paper_yaml(table, "2026-11-29")["claims"]}
        assert (paper["r2"]["status"], paper["r5"]["status"]) == (status, "not_tested")
        more = formats.paper_json(table)["x_companion"]
        assert (more["C3"]["status"], more["C3"]["size"]) == (status, "reduced size")
        (primary,) = (row for row in more["C3"]["results"] if row["primary"])
        low, high = primary["interval"]
        assert low <= primary["effect"] <= high
        assert (low > 0.1) == bool(score)
    empty = claims.ledger(store.root / "nothing")
    assert formats.rubric(empty)["score"] == 0
    assert {c["status"] for c in formats.paper_yaml(empty, "2026-11-29")["claims"]} == {"not_tested"}


# ------------------------------------------------------------------ the crate


def wrong(folder: Path, crate: Json) -> list[str]:
    """What RO-Crate 1.3 and Process Run Crate 0.6 require, and a crate does not have."""
    by_id = {entity["@id"]: entity for entity in crate["@graph"]}
    root, found = by_id["./"], []
    if len(by_id) < len(crate["@graph"]):
        found.append("an id occurs twice")
    if by_id["ro-crate-metadata.json"]["conformsTo"] != {"@id": "https://w3id.org/ro/crate/1.3"}:
        found.append("another version")
    needed = ("name", "description", "datePublished", "license", "publisher")
    found += [f"the root has no {name}" for name in needed if not root.get(name)]
    used = set(re.findall(r'\{"@id": "([^"]+)"\}', json.dumps(crate["@graph"])))
    found += [f"{at} is nowhere" for at in used if at not in by_id and not re.match(r"https?://", at)]
    files = {at for at, entity in by_id.items() if entity["@type"] == "File"}
    found += [f"{at} is not reached" for at in files if {"@id": at} not in root["hasPart"]]
    for at in files:
        data = (folder / at).read_bytes() if (folder / at).is_file() else b""
        if (str(len(data)), hashlib.sha256(data).hexdigest()) != (
            by_id[at]["contentSize"],
            by_id[at]["sha256"],
        ):
            found.append(f"{at} is another file")
    for entity in crate["@graph"]:
        if entity["@type"] == "SoftwareApplication" and not {"name", "url", "version"} <= entity.keys():
            found.append("the application lacks something")
        if entity["@type"] == "CreateAction":
            if "instrument" not in entity or {"@id": entity["@id"]} not in root["mentions"]:
                found.append(f"{entity['@id']} is no process run")
            datetime.fromisoformat(entity["endTime"])
    return found


def test_the_crate_describes_every_published_page_and_every_file(exported: Path) -> None:
    crate = read(exported, "ro-crate-metadata.json")
    assert wrong(exported, crate) == []
    actions = {e["@id"]: e for e in crate["@graph"] if e["@type"] == "CreateAction"}
    assert set(actions) == {f"#{page}-{profile}" for page, profile in Published().pages()}
    assert {"@id": "parity-paper/runs.parquet"} in actions["#parity-paper"]["result"]
    for change in (
        lambda c: c["@graph"][0].update(conformsTo={"@id": "https://w3id.org/ro/crate/1.1"}),
        lambda c: c["@graph"][1].pop("publisher"),
        lambda c: c["@graph"][1]["hasPart"].pop(),
        lambda c: c["@graph"][1]["mentions"].pop(),
        lambda c: c["@graph"][-1].update(sha256="0"),
        lambda c: c["@graph"].pop(2),
    ):
        assert wrong(exported, changed(crate, change))


def test_the_ledgers_page_links_to_what_is_exported(exported: Path) -> None:
    links = re.findall(r"_static/ledger/([\w.-]+)", shown._INTRODUCTION)
    written = {path.name for path in exported.iterdir() if path.is_file()} - {"of-the-user.txt"}
    assert set(links) == written
    assert "of-the-user" not in (exported / formats.CRATE).read_text("utf-8")
