"""The command line: `python -m pdlib run | view | book | references | reproduce | claims | store | bench`.

Words are checked before anything heavy is loaded, so the commands import what they need themselves.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import pdlib
from pdlib import bench, book, install, pages
from pdlib.files import DamagedError, StoreError, megabytes, published_use, user_folder, write_bytes

if TYPE_CHECKING:
    import pandas as pd

    from pdlib.published import Published, Record
    from pdlib.store import Store

JUDGED = [profile for profile in pages.PROFILES if profile != "smoke"]
VERIFIED_S = 120  # seconds of processor time of a run that is verified, with its teacher's


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; return its exit status, with errors as sentences rather than tracebacks."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    args = _parser(_of_pages() if {"-h", "--help"} & set(words[1:]) else "").parse_args(words)
    try:
        published_use()
        return int(args.call(args))
    except KeyboardInterrupt:
        said = "Interrupted. What was finished is kept, and a training goes on from its last saved state"
        print(f"\n{said}: give the same command again{' --resume' * args.again}.", file=sys.stderr)
        return 130
    except (ValueError, RuntimeError, OSError) as error:  # those that this project raises for people
        if os.environ.get("PDLIB_TRACEBACK"):
            raise
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


def _parser(of_pages: str = "") -> argparse.ArgumentParser:
    """Return the parser; `of_pages` is shown after the help of the commands that take a page's parameters."""
    parser = argparse.ArgumentParser("python -m pdlib", description=__doc__)
    parser.add_argument(
        "--version", action="version", version=f"pdlib {pdlib.__version__}, {pdlib.__path__[0]}"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    store = commands.add_parser("store", help="look at, publish or check stored results")
    actions = store.add_subparsers(required=True, metavar="ACTION")

    def command(name: str, call: object, text: str, among: Any = commands) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = among.add_parser(
            name,
            help=text,
            description=text,
            epilog=of_pages if name in ("run", "view") else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(call=call, again=name == "reproduce")
        return sub

    def overrides(sub: argparse.ArgumentParser) -> None:
        text = "set a parameter: -p n_bits 30, or -p n_bits=30; may be repeated"
        sub.add_argument("-p", nargs="+", action="append", default=[], metavar="NAME VALUE", help=text)

    run = command("run", _run, "execute one page; what is stored is not computed again")
    run.add_argument("page", nargs="?", default="parity")
    run.add_argument("--profile", choices=pages.PROFILES, default="smoke")
    overrides(run)
    run.add_argument("--out", type=Path, help="executed notebook; default _build/exec/PAGE.ipynb")
    run.add_argument(
        "--scheduler", help="address of a Dask scheduler, whose workers share the store's folder"
    )

    view = command("view", _view, "execute one page and render it by itself to HTML, which opens from disk")
    view.add_argument("page", nargs="?", default="parity")
    view.add_argument("--profile", choices=pages.PROFILES, default="smoke")
    overrides(view)

    book = command("book", _book, "execute the pages at a profile and build the site")
    book.add_argument("--profile", choices=pages.PROFILES, default="laptop")

    references = command(
        "references", _references, "execute pages at their defaults; renew notebooks/*.ipynb"
    )
    references.add_argument("pages", nargs="*")

    reproduce = command("reproduce", _reproduce, "train a page again, ignoring published tables, and compare")
    reproduce.add_argument("--page", default=None, help="default: every page that has the profile")
    reproduce.add_argument("--profile", choices=JUDGED, default="laptop")
    reproduce.add_argument("--teacher", choices=("labels", "retrain"), default="labels")
    overrides(reproduce)
    reproduce.add_argument("--resume", action="store_true", help="go on with an interrupted reproduction")

    ledger = command(
        "claims", _claims, "print every claim with its verdict, the paper's numbered results first"
    )
    ledger.add_argument("--page", help="only this page's")
    ledger.add_argument(
        "--lock", action="store_true", help="register new and changed criteria, as of their `since`"
    )

    ledger.add_argument(
        "--export",
        type=Path,
        metavar="FOLDER",
        help="write it for machines: paper.yaml, paper.json, a rubric, an RO-Crate",
    )

    command("list", _list, "list what is kept on this machine", actions)
    command("size", _size, "say where results and fetched files are kept, and how large they are", actions)
    remove = command(
        "remove",
        _remove,
        "remove results of this machine, with checkpoints and labels",
        actions,
    )
    remove.add_argument("fingerprints", nargs="+", help="or their first digits")
    command("outdated", _outdated, "list results that other versions of the code wrote", actions)
    show = command("show", _show, "print a result: spec, provenance, table", actions)
    show.add_argument("fingerprint", help="or its first digits, if no other result begins with them")
    publish = command("publish", _publish, "copy a page's results to the published layer", actions)
    publish.add_argument("page")
    publish.add_argument("--profile", choices=JUDGED, default="laptop")
    publish.add_argument("--labels", action="store_true", help="also the hard labels of its teachers")
    partial = "what is finished of an unfinished page, without verdicts, so that its run can go on elsewhere"
    publish.add_argument("--partial", action="store_true", help=partial)
    verify = command("verify", _verify, "train one published run again and compare", actions)
    verify.add_argument("--pick", default="", help="text whose hash picks the run, such as a commit")

    speed = command("bench", _bench, "measure speed against what one would write without this package")
    speed.add_argument("page", choices=tuple(bench.PAGES))
    kept = "keep the board in pdlib/bench/speed.json; `references speed` then shows it"
    speed.add_argument("--save", action="store_true", help=kept)
    return parser


def _values(args: argparse.Namespace, page: str) -> dict[str, object]:
    """Return a page's parameters at the profile asked for, overridden."""
    changes = {}
    for words in args.p:
        one = "=" in words[0]
        if len(words) != (1 if one else 2):
            raise pages.ParameterError(
                f"-p {' '.join(words)}: expected a name and a value, such as -p n_bits 30, and the page first."
            )
        name, _, value = words[0].partition("=") if one else (words[0], "", words[1])
        try:
            changes[name] = yaml.safe_load(value) if value else ""
        except yaml.YAMLError:
            raise pages.ParameterError(
                f"-p {name} {value!r}: expected a value in YAML, such as 30 or '[1, 2]'."
            ) from None
    return pages.load_parameters(args.profile, page, changes)


def _of_pages() -> str:
    """Return the pages and their parameters, in words."""
    lines = [
        "example: python -m pdlib run parity -p n_bits 30 -p seeds '[1, 2, 3]'",
        "",
        "parameters, by page:",
    ]
    for page in pages.page_names():
        lines += ["", page]
        for name, parameter in pages.declared_parameters(page).items():
            lines.append(
                f"  {name} = {parameter.default!r}" + f"  # {parameter.comment}" * bool(parameter.comment)
            )
    return "\n".join(lines)


def _run(args: argparse.Namespace) -> int:
    values = _values(args, args.page)
    out = args.out or pages.checkout() / "_build" / "exec" / f"{args.page}.ipynb"
    if args.scheduler:
        os.environ["PDLIB_SCHEDULER"] = install.answering(args.scheduler)
    print(pages.execute(args.page, out, values))
    return 0


def _view(args: argparse.Namespace) -> int:
    print(book.view(args.page, _values(args, args.page)).as_uri())
    return 0


def _book(args: argparse.Namespace) -> int:
    book.build_book(args.profile)
    return 0


def _references(args: argparse.Namespace) -> int:
    for path in pages.write_references(args.pages or None):
        print(path)
    return 0


def _reproduce(args: argparse.Namespace) -> int:
    """Execute pages in an empty store; print each number beside the published one. 1 if one lies outside."""
    names = [args.page] if args.page else pages.page_names(profile=args.profile)
    asked = {page: _values(args, page) for page in names}  # all are checked before anything is removed
    from pdlib import claims
    from pdlib.published import Published
    from pdlib.store import Store

    published_ones = {page: Published().page(page, args.profile) for page in names}
    folder = pages.checkout() / "_build" / "reproduce"
    if folder.exists() and not args.resume:
        shutil.rmtree(folder)
    os.environ["PDLIB_STORE"] = str(folder / "store")
    os.environ["PDLIB_PUBLISHED"] = "ignore" if args.teacher == "retrain" else "labels"
    all_inside = True
    for page, published in published_ones.items():
        pages.execute(page, folder / f"{page}.ipynb", asked[page])
        store = Store(published=None)
        changed = pages.differences(page, args.profile, asked[page])
        new = store.load_page(page, pages.OTHER if changed else args.profile)
        if new is None:
            raise StoreError(
                f"page {page} left no verdicts in {folder / 'store'}: expected its last cells to judge."
            )
        if published is None:
            print(f"{page}: no published result at profile {args.profile}; new verdicts:")
            print(claims.verdict_table(new).to_string(index=False))
            continue
        table = claims.compare(published, new)
        print(_readable(table))
        all_inside &= bool(table.inside.all())
        print(f"{page}: {int(table.inside.sum())} of {len(table)} numbers inside their tolerance.")
    return 0 if all_inside else 1


def _readable(table: pd.DataFrame) -> str:
    shown = table.assign(
        tolerance=[f"[{low:.3g}, {high:.3g}]" for low, high in zip(table.low, table.high, strict=True)],
        inside=table.inside.map({True: "inside", False: "OUTSIDE"}),
        published=table.published.map("{:.3g}".format),
        new=table.new.map("{:.3g}".format),
    )
    columns = ["claim", "part", "published", "new", "tolerance", "inside", "published_verdict", "verdict"]
    return shown[columns].to_string(index=False)


def _claims(args: argparse.Namespace) -> int:
    """Print the ledger at the largest size run; 1 if a criterion is not the one registered."""
    judged = [page for page in bench.PAGES if page not in pages.GUIDES]
    if args.page and args.page not in judged:
        pages.unknown_page(args.page, judged)
    from pdlib import claims
    from pdlib.store import Store

    if args.lock:
        claims.write_lock(claims.register())
    if args.export:
        written = claims.export(args.export, None, Store().outdated("published"))
        print("\n".join(map(str, written)))
        return 0
    complaints = claims.lock_complaints(claims.register(), claims.locked())
    table = claims.at_a_glance(claims.ledger(outdated=Store().outdated("published")))
    if args.page:
        table = table[table.page == args.page]
    numbered = table.claim.isin(claims.HEADLINES)
    for row in table[numbered].to_dict("records"):
        word = ", ".join(filter(None, (row["verdict"], row["cause"])))
        print(f"{row['claim']}: {word}" + (f" ({row['remarks']})" if row["remarks"] else ""))
        print(textwrap.fill(row["the paper says"], 110, initial_indent="  ", subsequent_indent="  "))
        agree = f"; {row['agree']} agree" if row["agree"] else ""
        print(f"  {row['measured'] or 'nothing measured'}{agree}\n")
    columns = ["claim", "page", "measured", "agree", "verdict", "cause", "remarks"]
    if not numbered.all():
        print(table.loc[~numbered, columns].to_string(index=False))
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


def _outdated(args: argparse.Namespace) -> int:
    from pdlib.store import Store

    store = Store()
    for layer in ("published", "local"):
        for fingerprint, why in store.outdated(layer).items():
            print(layer, fingerprint, why)
    return 0


def _list(args: argparse.Namespace) -> int:
    from pdlib.store import Store

    kept = Store().inventory()
    print(kept.round(2).to_string(index=False) if len(kept) else f"Nothing is kept in {Store().root}.")
    return 0


def _size(args: argparse.Namespace) -> int:
    from pdlib.store import Store

    for what, folder in (("results", Store().root), ("fetched and prepared", user_folder("PDLIB_CACHE"))):
        print(f"{what}: {megabytes(folder):,.1f} MB in {folder}")
    return 0


def _remove(args: argparse.Namespace) -> int:
    from pdlib.store import Store

    store = Store()
    kept = set(store.inventory().fingerprint)
    for fingerprint in [
        _one_of(kept, prefix, str(store.root)) for prefix in dict.fromkeys(args.fingerprints)
    ]:
        print(f"{fingerprint}: {store.remove(fingerprint):,.2f} MB are free")
    return 0


def _one_of(known: Collection[str], prefix: str, where: str) -> str:
    """Return the one fingerprint that begins so."""
    found = sorted(fingerprint for fingerprint in known if fingerprint.startswith(prefix))
    if len(found) != 1:
        which = f"{len(found)} results, such as {', '.join(found[:3])}" if found else "no result"
        raise StoreError(f"{which} with a fingerprint that begins with {prefix!r} in {where}: expected one.")
    return found[0]


def _show(args: argparse.Namespace) -> int:
    """Print a result for a person."""
    from pdlib.store import Store

    store = Store()
    known = {f for layer in ("published", "local") for f, _ in store.records(layer)}
    record = store.find(_one_of(known, args.fingerprint, f"the published layer or {store.root}"))
    assert record is not None
    print(f"{record.fingerprint} ({record.source})\n")
    print(yaml.safe_dump({"spec": record.spec.canonical(), "provenance": record.provenance}, sort_keys=False))
    print(record.table.to_string(index=False))
    return 0


def _publish(args: argparse.Namespace) -> int:
    """Publish what a page used, if it ran at the profile's parameters and all of it was computed by committed code.

    With `--partial`, what is finished of the runs that an unfinished page has asked for: nothing is judged, and the ledger
    shows nothing of it. Where these results are published, they are not computed again, so a page's run can go on there.
    Checkpoints do not travel: for a student or a measurement that is still to be done there, its teacher is trained again;
    a student of hard labels that are published too does without. What an earlier partial publication held stays, until the
    page is published as a whole.
    """
    asked = pages.load_parameters(args.profile, args.page)
    from pdlib import claims
    from pdlib.published import Published
    from pdlib.specs import Distillation
    from pdlib.store import Store

    store, published, of_page = Store(), Published(), (args.page, args.profile)
    run = f"python -m pdlib run {args.page} --profile {args.profile}"
    result = None if args.partial else store.load_page(*of_page)
    tables: dict[str, pd.DataFrame] = {}
    if args.partial:
        records, said = _finished(store, published, of_page, run)
        commits = sorted({r.provenance["commit"] for r in records})
    elif result is None:
        raise StoreError(
            f"no result of page {args.page} at profile {args.profile} in {store.root}: expected one. Run it first: {run}"
        )
    else:
        _require_parameters(args, asked, result["parameters"], run)
        records, tables, commits = [], store.page_tables(*of_page), result["commits"]
    if unclean := [c for c in commits if len(c) != 40]:
        raise StoreError(
            f"runs of {args.page}: computed by uncommitted code ({', '.join(unclean)}): expected clean commits. "
            "Commit, then run it again in an empty store."
        )
    if result is not None:
        records = [_of_page(fingerprint, result, store) for fingerprint in result["runs"]]
        said = f"{len(records)} runs and the verdicts of {args.page}"
    supervisions = (getattr(record.spec, "supervision", None) for record in records if args.labels)
    teachers = sorted({s.teacher.fingerprint for s in supervisions if isinstance(s, Distillation)})
    blocks = {teacher: list(store.hard_labels(teacher)) for teacher in teachers}
    readme = pages.checkout() / "README.md"
    text = readme.read_text("utf-8")  # all that can fail is read before anything is written
    for teacher, labelled in blocks.items():
        if labelled:
            published.write_labels(teacher, labelled)
    published.write_page(*of_page, records, result, tables)
    if result is not None:
        write_bytes(readme, claims.with_glance(text, published.root).encode())
        book.write_card(pages.checkout() / "book" / "_ext" / "static" / "card.png")
    print(f"{said} are in {published.root}.")
    return 0


def _require_parameters(
    args: argparse.Namespace, of_profile: Mapping[str, object], ran: Mapping[str, object] | None, run: str
) -> None:
    """Refuse a result that was judged at other values than those of the profile that it would bear."""
    differ = sorted(pages.differences(args.page, args.profile, ran or {}).items())
    if differ:
        other = "; ".join(f"{name} = {got!r}, expected {asked!r}" for name, (got, asked) in differ[:5])
        raise StoreError(
            f"page {args.page} ran at other values than profile {args.profile} has: {other}. Run it again without -p: {run}"
        )


def _finished(
    store: Store, published: Published, of_page: tuple[str, str], run: str
) -> tuple[list[Record], str]:
    """Return what is finished of the runs that a page has asked for, and how many those are in words."""
    page, profile = of_page
    asked = store.remembered_runs(page, profile)
    if not asked:
        raise StoreError(
            f"{store.root} knows of no run of page {page} at profile {profile}: expected that it has been started with "
            f"this store: {run}"
        )
    records, of_other_code = [], 0
    for fingerprint in dict.fromkeys([*published.unfinished(page, profile), *asked]):
        try:
            record = store.find(fingerprint)
        except DamagedError:
            raise
        except StoreError:
            of_other_code += 1
        else:
            records += [] if record is None else [record]
    if not records:
        raise StoreError(
            f"none of the {len(asked)} runs that page {page} has asked for at profile {profile} is finished in "
            f"{store.root}: expected one or more. Let it go on: {run}"
        )
    other = f" ({of_other_code} of other code left out)" if of_other_code else ""
    return records, f"{len(records)} of {len(asked)} runs that {page} has asked for{other}"


def _of_page(fingerprint: str, result: dict[str, Any], store: Store) -> Record:
    """Return a run of a page's result, refusing one that other code computed, such as an older published one."""
    record = store.find(fingerprint)
    if record is None:
        raise StoreError(f"run {fingerprint} is in neither layer: run the page again.")
    if (commit := record.provenance["commit"]) not in result["commits"]:
        raise StoreError(
            f"run {fingerprint}, {record.source}: computed by {commit}, expected one of the page's commits, "
            f"{', '.join(result['commits'])}. Publish with $PDLIB_PUBLISHED as it was when the page ran, such as 'ignore'."
        )
    return record


def _verify(args: argparse.Namespace) -> int:
    """Train one published run again, from published labels if there are, and compare it within its tolerance.

    Left out, for `reproduce` to train, are runs on a corpus, whose text would have to be fetched, and those that took
    more than `VERIFIED_S` seconds with their teachers.
    """
    from pdlib.engine import execute
    from pdlib.published import Published
    from pdlib.specs import Spec, Training
    from pdlib.store import Store
    from pdlib.tables import prediction_interval

    published = Store(tempfile.mkdtemp(), Published().root)
    trainings = {f: r for f, r in published.records("published") if r["spec"]["kind"] == "Training"}
    names = [f for f, record in trainings.items() if not _has_kind(record["spec"], "Corpus")]
    first = int(hashlib.sha256(args.pick.encode()).hexdigest(), 16) % max(1, len(names))
    short = (f for f in names[first:] + names[:first] if _seconds(f, trainings, published) <= VERIFIED_S)
    pick = next(short, None)
    if pick is None:
        raise StoreError(
            f"{Published().root} holds no published training of at most {VERIFIED_S} s: expected one to verify."
        )
    stored = published.find(pick)
    assert stored is not None
    spec = Spec.from_canonical(stored.spec.canonical())
    assert isinstance(spec, Training)
    peers = [
        r.table.accuracy
        for f in trainings
        if (r := published.find(f)) is not None
        and _but_seeds(r.spec.canonical()) == _but_seeds(spec.canonical())
    ]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder, Published().root)
        store.published_tables = False
        (again,) = execute([spec], store)
    ok = True
    print(f"run {pick}: {spec.model} on {spec.task}, seed {spec.seed}")
    slack = 0.01  # an accuracy on 4,096 inputs has a standard error of up to 0.008
    for name, what in (("final accuracy", "last"), ("mean accuracy over the run", "mean")):
        values = [_accuracy(a, what) for a in peers]
        low, high = prediction_interval(values, 1) if len(values) > 1 else (0.0, 1.0)
        new, old = _accuracy(again.table.accuracy, what), _accuracy(stored.table.accuracy, what)
        inside = low - slack <= new <= high + slack
        ok &= inside
        untrained = float(stored.table.accuracy.iloc[0])
        vague = f", but too wide to tell anything: an untrained network's {untrained:.4f} is inside too"
        print(
            f"{name}: published {old:.4f}, trained again {new:.4f}, tolerance [{low:.4f}, {high:.4f}] from "
            f"{len(values)} seeds: {'inside' if inside else 'OUTSIDE'}"
            f"{vague if low - slack <= untrained <= high + slack else ''}"
        )
    return 0 if ok else 1


def _seconds(fingerprint: str, trainings: Mapping[str, dict[str, Any]], store: Store) -> float:
    """Return the processor time that a published training and the teachers it needs took; infinite if unknown."""
    from pdlib import labels
    from pdlib.specs import Distillation, Spec, ancestors

    if fingerprint not in trainings:
        return math.inf
    own = float(trainings[fingerprint]["provenance"]["cpu_s"])
    spec = Spec.from_canonical(trainings[fingerprint]["spec"], current_code=True)
    if labels.needs_teacher(spec, store):
        return math.inf
    if isinstance(spec.supervision, Distillation) and not labels.stored(spec, store):
        own += sum(_seconds(a.fingerprint, trainings, store) for a in ancestors(spec))
    return own


def _has_kind(value: object, kind: str) -> bool:
    """Whether a canonical form holds a record of this kind."""
    if isinstance(value, dict):
        return value.get("kind") == kind or any(_has_kind(v, kind) for v in value.values())
    return isinstance(value, list) and any(_has_kind(v, kind) for v in value)


def _accuracy(run: pd.Series[float], what: str) -> float:
    return float(run.iloc[-1]) if what == "last" else float(run.mean())


def _but_seeds(value: object) -> object:
    """Return a canonical form without seeds and without the steps that follow from a teacher's seed."""
    if isinstance(value, dict):
        step = {"Explicit": "checkpoints", "MultiplesSplit": "first"}.get(str(value.get("kind")), "")
        left_out = {"seed", "data_seed", step}
        return {k: _but_seeds(v) for k, v in value.items() if k not in left_out}
    return [_but_seeds(v) for v in value] if isinstance(value, list) else value


def _bench(args: argparse.Namespace) -> int:
    if args.save and args.page != "speed":
        raise pages.PageError(
            f"bench {args.page} --save: expected the page speed, the only one that is kept."
        )
    root = pages.checkout() if args.save else None  # refused before minutes of work
    rows = []
    for row in bench.rows(args.page):
        print(json.dumps(row), flush=True)
        rows.append(row)
    if root:
        from pdlib.bench.speed import save

        path = root / "pdlib" / "bench" / "speed.json"
        save(path, rows)
        print(f"Kept in {path}. Show it: python -m pdlib references speed", flush=True)
    return 0 if all(row["ok"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
