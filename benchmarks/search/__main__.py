"""python -m benchmarks.search run|report: compare search methods on tables of learning curves."""

import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.search.contract import Setting
from benchmarks.search.lookup import LOOKUPS
from benchmarks.search.methods import family_of, make_method
from benchmarks.search.portfolio import SHIPPED, SIZE, left_out_table, write_portfolios
from benchmarks.search.results import Results
from benchmarks.search.running import Plan, execute, missing_runs, planned_runs, reference_tables
from benchmarks.search.tables import CurveTable, TableError, load_tables

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False
)

BASELINE = "optuna:tpe+hyperband"
OURS = "tuner:curves+promotion"
# The one with the smallest held-out error: docs/search-methods.md.
LOOKUP = "forest"
DEFAULT_METHODS = (
    "random",
    "top-k",
    "optuna:tpe",
    BASELINE,
    "optuna:tpe+asha",
    "optuna:tpe+median",
    "optuna:random+hyperband",
    "tuner:tpe+hyperband",
    "tuner:random+hyperband",
    "tuner:tpe+promotion",
    OURS,
)
DEFAULT_RESULTS = Path("build/search-results")

Tables = Annotated[
    list[Path],
    typer.Option(
        "--tables",
        help="TaskSet's taskset.npz, a Parquet table, or a folder of those, beside the "
        "repository's own tables. May be given several times.",
    ),
]
Only = Annotated[
    list[str],
    typer.Option("--only", help="Only tables whose name fits, such as taskset/*. Several times."),
]
Methods = Annotated[
    list[str],
    typer.Option("--methods", "-m", help="A method, such as tuner:tpe+hyperband. Several times."),
]
Seeds = Annotated[int, typer.Option(min=1, help="Seeds 0, 1, … of each method and table.")]
Workers = Annotated[int, typer.Option(min=1, help="Simulated workers.")]
Budget = Annotated[int, typer.Option(min=1, help="Epochs of a run, in whole trials.")]
LookupName = Annotated[
    str, typer.Option("--lookup", help=f"How curves are read off: {', '.join(LOOKUPS)}.")
]
ResultsFolder = Annotated[
    Path, typer.Option("--results", help="The folder in which results are kept.")
]


@app.command("run")
def run_command(
    tables: Tables = [],  # noqa: B006  typer copies it
    only: Only = [],  # noqa: B006
    methods: Methods = list(DEFAULT_METHODS),  # noqa: B006
    seeds: Seeds = 5,
    workers: Workers = 2,
    budget: Budget = 25,
    lookup: LookupName = LOOKUP,
    results: ResultsFolder = DEFAULT_RESULTS,
    processes: Annotated[int, typer.Option(min=1, help="Processes of this machine.")] = 1,
) -> None:
    """Do the runs that have no result yet. A run that is interrupted can be repeated."""
    _check_names(methods, lookup)
    loaded = reference_tables(_load(tables, only), lookup)
    _check_forms(methods, next(iter(loaded.values())))
    plan = Plan(
        tuple(tables), tuple(loaded), tuple(methods), seeds, workers, budget, lookup, results
    )
    missing = missing_runs(plan, loaded)
    there = len(list(planned_runs(plan, loaded))) - len(missing)
    print(f"{len(missing)} runs to do, {there} are there", flush=True)
    failed = 0
    for number, outcome in enumerate(execute(plan, missing, processes), start=1):
        if outcome.problem:
            failed += 1
            run = outcome.run
            print(
                f"{run.method} on {run.table}, seed {run.seed}: {outcome.problem}", file=sys.stderr
            )
        if number % 50 == 0 or number == len(missing):
            print(f"{number} of {len(missing)}", flush=True)
    if failed:
        _fail(f"{failed} of {len(missing)} runs failed", code=1)


@app.command("report")
def report_command(
    tables: Tables = [],  # noqa: B006
    only: Only = [],  # noqa: B006
    methods: Annotated[
        list[str],
        typer.Option("--methods", "-m", help="Several times; by default all with results."),
    ] = [],  # noqa: B006
    baseline: Annotated[str, typer.Option(help="Ratios are to this method.")] = BASELINE,
    ours: Annotated[str, typer.Option(help="Compared with all others on each table.")] = OURS,
    seeds: Annotated[int, typer.Option(min=1, help="The most seeds.")] = 30,
    workers: Workers = 2,
    budget: Budget = 25,
    lookup: LookupName = LOOKUP,
    results: ResultsFolder = DEFAULT_RESULTS,
    out: Annotated[
        Path, typer.Option(help="The folder of search-methods.md and its plots.")
    ] = Path("docs"),
) -> None:
    """Write the table and the plots of the results into docs/search-methods.md."""
    from benchmarks.search.report import write_report  # Matplotlib, which `run` does not need

    chosen = list(methods) or list(Results(results).methods())
    _check_names(methods, lookup)
    loaded = reference_tables(_load(tables, only), lookup)
    plan = Plan(
        tuple(tables), tuple(loaded), tuple(chosen), seeds, workers, budget, lookup, results
    )
    try:
        paths, notes = write_report(plan, loaded, baseline, ours, out)
    except ValueError as error:
        _fail(str(error), code=1)
    print("\n".join([*notes, *map(str, paths)]))


@app.command("lookups")
def lookups_command(
    tables: Tables = [],  # noqa: B006
    only: Only = [],  # noqa: B006
) -> None:
    """Print how well each lookup knows configurations that its table does not hold."""
    from benchmarks.search.lookup_errors import errors_table

    print(errors_table(list(_load(tables, only).values()), ["nearest", "forest"]))


@app.command("portfolio")
def portfolio_command(
    tables: Tables = [],  # noqa: B006
    only: Only = [],  # noqa: B006
    size: Annotated[int, typer.Option(min=1, help="The most configurations of a kind.")] = SIZE,
    into: Annotated[Path, typer.Option(help="The file of portfolios to write.")] = SHIPPED,
    compare: Annotated[
        bool, typer.Option("--compare", help="Write nothing: print what leaving tables out shows.")
    ] = False,
) -> None:
    """Make the portfolios that tuner ships, from the tables of each kind."""
    loaded = [table for table in _load(tables, only).values() if table.kind]
    if not loaded:
        _fail("no table has a kind, such as mlp, whose portfolio could be made")
    try:
        made = (
            left_out_table(loaded) if compare else "\n".join(write_portfolios(loaded, into, size))
        )
    except OSError as error:
        _fail(f"{into}: cannot be written: {error.strerror}", code=1)
    print(made)


def _check_names(methods: list[str], lookup: str) -> None:
    if lookup not in LOOKUPS:
        _fail(f"--lookup must be one of {', '.join(LOOKUPS)}; got {lookup}")
    for method in methods:
        try:
            family_of(method)
        except ValueError as error:
            _fail(f"--methods: {error}")


def _check_forms(methods: list[str], table: CurveTable) -> None:
    """Build each method once, before anything runs."""
    setting = Setting(table.space, table.max_epochs, 0, 1, table.name, table.priors)
    for method in methods:
        try:
            make_method(method, setting)
        except ValueError as error:
            _fail(f"--methods: {error}")
        except ImportError as error:
            where = ".rivals." in family_of(method).module
            hint = "; `make rivals` makes an environment that has it" if where else ""
            _fail(f"--methods {method} needs a package that is not here: {error}{hint}", code=1)


def _load(paths: list[Path], only: list[str]) -> dict[str, CurveTable]:
    try:
        tables = load_tables(paths)
    except TableError as error:
        _fail(str(error))
    chosen = {
        name: table
        for name, table in tables.items()
        if not only or any(fnmatch(name, pattern) for pattern in only)
    }
    if not chosen:
        there = ", ".join(tables) or "none: give --tables"
        _fail(f"no table fits; there are: {there}")
    return chosen


def _fail(text: str, code: int = 2) -> None:
    print(f"error: {text}", file=sys.stderr)
    raise typer.Exit(code)


if __name__ == "__main__":
    app()
