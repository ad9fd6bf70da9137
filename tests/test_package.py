"""What a user gets: the wheel outside the checkout, the words and examples of README and guide, the command line."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import pdlib
from pdlib import SparseParity, Transformer, book, claims, install, pages
from pdlib import __main__ as commands
from pdlib.__main__ import main
from pdlib.files import StoreError, user_folder
from pdlib.models.huggingface import load_pretrained, save_pretrained
from pdlib.models.transformer import bert, tokens_of
from pdlib.published import Published
from pdlib.schedules import MultiplesSplit
from pdlib.tasks.masked import MaskedPrediction
from pdlib.text.corpus import Corpus

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(pdlib.__file__).parent


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_works_outside_the_checkout_and_carries_published_results(
    wheel: Path, tmp_path: Path
) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import json, pdlib, pdlib.store, pdlib.claims as c; from pathlib import Path;"
        "from pdlib.published import Published; layer = Published();"
        "known = pdlib.grammar('cfg3b');"
        "print(json.dumps({'home': pdlib.__file__, 'ledger': len(c.ledger()), 'typed': "
        "Path(pdlib.__file__).with_name('py.typed').exists(),"
        "'rules': len(known.rules), 'runs': len(list(layer.records())), 'pages': layer.pages(),"
        "'labels': len(layer.teachers()), 'first': layer.find(next(layer.records())[0]).source}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    seen = json.loads(done.stdout)
    assert seen["home"].startswith(str(tmp_path)), "the wheel's copy is the one that was imported"
    assert seen["typed"]
    assert seen["rules"] == 32, "the grammars are in the wheel"
    assert seen["ledger"] == len(claims.ledger())
    here = Published()
    assert seen["runs"] == len(list(here.records()))
    assert [tuple(page) for page in seen["pages"]] == here.pages()
    assert seen["first"] == "published"
    assert seen["labels"] == 0 < len(here.teachers()), "labels are large, and serve a checkout's pages"
    assert wheel.stat().st_size < 8e6


def test_the_first_cell_of_a_notebook_on_colab_installs_the_package_once(wheel: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "clean")], check=True)
    python = tmp_path / "clean" / ("Scripts" if os.name == "nt" else "bin") / "python"
    alone = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1"}  # the wheel itself; what it needs is not fetched here
    around = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | alone

    def ran(code: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [str(python), "-c", code]
        return subprocess.run(
            command, cwd=tmp_path, env=around | more, capture_output=True, text=True, check=False
        )

    found = "\nprint(importlib.util.find_spec('pdlib').origin)"
    assert "'NoneType' object has no attribute 'origin'" in ran("import importlib.util" + found).stderr
    assert ran(book.install_cell("pdlib @ file:///no/such.whl") + found).returncode != 0
    done = ran(book.install_cell(f"pdlib @ {wheel.as_uri()}") + found)
    assert str(tmp_path / "clean") in done.stdout, done.stderr
    again = ran(book.install_cell("pdlib @ file:///no/such.whl") + found)
    assert again.stdout == done.stdout, "nothing is installed where the package is there"
    code = "import pdlib; print(pdlib.__file__, pdlib.SparseParity(9, 2).n_classes)"
    there = ran(code, PYTHONPATH=sysconfig.get_paths()["purelib"])  # what it needs, from this environment
    assert there.stdout.split() == [done.stdout.strip(), "2"], there.stderr


def test_binder_installs_what_pages_need_at_the_pins_of_the_project() -> None:
    folder = ROOT / ".binder"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    python = (folder / "runtime.txt").read_text("utf-8").strip().removeprefix("python-")
    assert SpecifierSet(project["requires-python"]).contains(python)
    command = (folder / "postBuild").read_text("utf-8").splitlines()[-1]
    assert "-c constraints.txt" in command, "Binder runs it at the top of the repository"
    (extra,) = re.findall(r"-e '\.\[(\w+)\]'", command)
    needed = [*project["dependencies"], *project["optional-dependencies"][extra]]
    names = {canonicalize_name(Requirement(need).name): Requirement(need) for need in needed}
    pins = [Requirement(line) for line in _lines(ROOT / "constraints.txt")]
    pinned = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins if pin.specifier}
    assert [name for name, need in names.items() if not need.specifier.contains(pinned[name])] == []
    options = _lines(folder / "requirements.txt")
    (constraints,) = (line.split()[1] for line in options if line.startswith("-c "))
    assert (folder / constraints).resolve() == ROOT / "constraints.txt"
    assert {line for line in options if not line.startswith("-")} <= set(names), (
        "only what the package needs too"
    )


def _lines(path: Path) -> list[str]:
    """The lines of a file of requirements, but for comments."""
    lines = (line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines())
    return [line for line in lines if line]


def test_published_results_are_few_files() -> None:
    assert 0 < sum(path.is_file() for path in Published().root.rglob("*")) < 150


def test_the_readme_shows_the_published_verdicts() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.encode()) <= 6144
    assert claims.with_glance(text) == text, "run `python -m pdlib store publish`, which writes the table"
    changed = text.replace("<!-- glance", "<!-- glance", 1).replace(
        "<!-- end of glance", "typed by hand\n<!-- end of glance"
    )
    assert claims.with_glance(changed) != changed


def run_example(word: str, smaller: dict[str, str], folder: Path) -> str:
    """What the example with this word prints, of the README or the guide, made small, in an empty folder."""
    text = "".join((ROOT / name).read_text("utf-8") for name in ("README.md", "book/use.md"))
    (example,) = (b for b in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if word in b)
    for there, instead in smaller.items():
        assert there in example
        example = example.replace(there, instead)
    (folder / "example.py").write_text(example)
    environment = {**os.environ, "PDLIB_STORE": str(folder / "store"), "PDLIB_PUBLISHED": "ignore"}
    done = subprocess.run(
        [sys.executable, "example.py"],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_of_the_readme_runs(tmp_path: Path) -> None:
    smaller = {"200_000": "2_000", "5_000": "50", "MLP(1000)": "MLP(64)"}
    assert "accuracy" in run_example("Progressive", smaller, tmp_path)


def test_the_transformer_of_the_guide_trains_and_opens_in_transformers(tmp_path: Path) -> None:
    import transformers

    shown = run_example("save_pretrained", {"n_steps=600": "n_steps=60", "_every=100": "_every=10"}, tmp_path)
    assert "accuracy" in shown
    folder = tmp_path / "student"
    module = transformers.GPT2LMHeadModel.from_pretrained(folder, local_files_only=True).eval()
    model, parameters = load_pretrained(folder)
    assert model == Transformer(n_layers=2, n_heads=2, n_positions=16, initial_std=0.2)
    bits, _ = SparseParity(16, 3).stream(0, "probe").examples(0, 50)
    with torch.no_grad():
        theirs = module(input_ids=tokens_of(bits)).logits[:, -1]
    np.testing.assert_allclose(model.logits(parameters, bits), theirs, rtol=0, atol=1e-5)
    untrained = model.logits(model.initial(16, 2, seed=0), bits)
    assert np.abs(untrained - theirs.numpy()).max() > 1e-3  # the control


def test_the_published_teacher_of_the_guide_is_one_of_folders_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PDLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    corpus = Corpus.prepare("sample:english:60", "trained:300", length=16, held_out=20)
    model = bert(1, 2, head_size=4, n_positions=16, vocabulary=300)
    for seed, folder in enumerate(("200", "400", "600")):
        save_pretrained(folder, model, model.initial(n_inputs=16, n_classes=300, seed=seed))
        (tmp_path / folder / "vocab.txt").write_text(corpus.wordpiece().text, "utf-8")
    stand_in = {
        "hub:google/multiberts-seed_0-step_{k}k@main": "folder:{k}",
        '"pkg:wikipedia-leads", tokenizer=uris[0]': '"sample:english:60", uris[0], length=16, held_out=20',
    }
    run_example("PublishedCheckpoints", stand_in, tmp_path)


def test_a_package_that_is_missing_is_an_error_at_once_that_names_it_and_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = ["numpy>=2", "no_such.package<3,>=1.2", "absent>=1; extra == 'text'"]
    monkeypatch.setattr("pdlib.install.metadata.requires", lambda name: needs)
    with pytest.raises(
        ImportError, match=r"`no_such.package` .* Run `pip install 'no_such.package<3,>=1.2'`"
    ):
        importlib.reload(pdlib)
    needs.pop(1)
    importlib.reload(pdlib)  # the control: what is there is enough, and extras are nobody's need
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    calls = re.findall(
        r"""optional\("(\w+)", "(\w+)"\)""",
        "".join(p.read_text() for p in PACKAGE.rglob("*.py") if p.name != "install.py"),
    )
    assert {"distributed", "transformers", "tokenizers"} <= {name for name, _ in calls}
    for name, extra in calls:
        assert any(re.match(rf"{name.replace('_', '[-_]')}\b", need) for need in extras[extra])
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(
            ImportError, match=rf"`{name}` is not installed. Run `pip install 'pdlib\[{extra}\]'`"
        ):
            install.optional(name, extra)
    (tmp_path / "half_there.py").write_text("import no_such_part.of_it")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(install.InstallError, match="`no_such_part` is not installed"):
        install.optional("half_there", "text")


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    pattern = re.compile(r"(^|[^A-Za-z0-9_.\-/])/(work|home|Users|root)/")
    found = [
        name
        for name in tracked.split("\0")
        if name
        and (ROOT / name).is_file()
        and (ROOT / name).suffix in {".py", ".md", ".yaml", ".yml", ".json", ".ipynb", ".toml"}
        and name != "tests/test_package.py"
        and pattern.search((ROOT / name).read_text("utf-8", errors="replace"))
    ]
    assert not found
    assert pattern.search("see /home/me/data"), "the pattern can find one"


def test_an_error_is_a_sentence_and_a_status(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["run", "parity", "-p", "n_bits", "many", "--out", str(tmp_path / "out.ipynb")]) == 1
    message = capsys.readouterr().err
    assert "n_bits = 'many'" in message
    assert "Traceback (most recent call last):\n  File" not in message.split("n_bits")[0]


def refused(*words: str, **environment: str) -> tuple[int, str, set[str]]:
    """What a command's words give in a fresh process: its status, its last words, and the heavy packages it loaded."""
    code = (
        "import sys; from pdlib.__main__ import main\n"
        "try:\n    status = main(sys.argv[1:])\nexcept SystemExit as stopped:\n    status = stopped.code\n"
        "print(status, *({'torch', 'numba', 'pandas', 'scipy', 'matplotlib', 'papermill'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ | environment
    )
    status, *heavy = done.stdout.splitlines()[-1].split()
    return int(status), done.stderr, set(heavy)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run partiy", "no page 'partiy': expected one of .*parity.* Did you mean parity?"),
        ("reproduce --page partiy", "no page 'partiy'"),
        ("store publish partiy", "no page 'partiy'"),
        ("references partiy", "no page 'partiy'"),
        ("claims --page partiy", "no page 'partiy'"),
        ("bench partiy", "invalid choice: 'partiy'"),
        ("book --profile labtop", "invalid choice: 'labtop'"),
        ("run parity -p n_bitz 30", "unknown parameter n_bitz = 30; did you mean n_bits?"),
        ("run parity -p n_bits [unclosed", r"-p n_bits '\[unclosed': expected a value in YAML"),
        ("run parity -p seeds []", r"seeds = \[\] is empty, expected at least one"),
        ("run parity -p seeds [1,1]", r"seeds = \[1, 1\] holds 1 twice"),
        ("reproduce --page parity -p seeds [1,1]", r"seeds = \[1, 1\] holds 1 twice"),
        ("run pcfg -p profile labtop", "profile = 'labtop', expected one of"),
        (
            "run parity --scheduler tcp://127.0.0.1:1",
            "'tcp://127.0.0.1:1': .*refused.* Expected the address of one",
        ),
        ("run parity --scheduler nowhere", "'nowhere': .*Expected the address of one"),
    ],
)
def test_words_that_mean_nothing_are_refused_before_anything_heavy_is_loaded(words: str, said: str) -> None:
    status, told, heavy = refused(*words.split())
    assert status in (1, 2)
    assert re.search(said.replace("?", r"\?"), told)
    assert "Traceback" not in told
    assert not heavy


def test_a_wrong_word_in_the_environment_is_refused_and_none_is_the_default() -> None:
    status, told, heavy = refused("run", "parity", PDLIB_PUBLISHED="all")
    assert (status, heavy) == (1, set())
    assert "PDLIB_PUBLISHED = 'all': expected 'use', 'labels' or 'ignore'." in told
    assert "PDLIB_PUBLISHED" not in refused("run", "partiy", PDLIB_PUBLISHED="")[1]


def test_the_check_for_heavy_packages_can_fail() -> None:
    assert "pandas" in refused("claims")[2]


def test_without_a_home_a_folder_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: int) -> None:
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", nobody)
    for name in ("HOME", "PDLIB_STORE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(StoreError, match=r"no home: .*\. Expected a folder\. Set PDLIB_STORE"):
        user_folder("PDLIB_STORE")


def test_compiled_code_that_cannot_be_kept_is_compiled_each_time_and_that_is_said() -> None:
    """As in a container without a home, whose package cannot be written: numba finds no place for its cache."""
    code = "import pdlib.training.online_sgd as engine; print(engine.njit()(lambda x: x + 1)(1))"
    script = f"import numba; numba.core.caching.CacheImpl._locator_classes = []; {code}"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "2\n"
    assert done.stderr.count("Set NUMBA_CACHE_DIR to one.") == 1


def test_every_subcommand_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("run", "book", "references", "reproduce", "claims", "store", "bench"):
        with pytest.raises(SystemExit) as stopped:
            main([command, "--help"])
        assert stopped.value.code == 0
        assert "usage" in capsys.readouterr().out
    assert pages.page_names(), "there are pages to run"


def test_runs_that_need_text_are_told_apart_and_peers_differ_in_what_follows_from_the_seed_alone() -> None:
    corpus = Corpus(("sample:english:60",), "trained:300", 16, 20, digest="0" * 32, vocabulary=300)
    text, none = MaskedPrediction(corpus).canonical(), tiny.student().canonical()
    assert commands._has_kind({"supervision": [{"task": text}]}, "Corpus")
    assert not commands._has_kind(none, "Corpus")
    split = [MultiplesSplit(first).canonical() for first in (10, 20)]
    assert commands._but_seeds(split[0]) == commands._but_seeds(split[1])
    halved = MultiplesSplit(10, kappa=0.5).canonical()
    assert commands._but_seeds(split[0]) != commands._but_seeds(halved)  # the control
