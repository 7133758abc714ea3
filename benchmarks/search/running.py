"""Runs methods on tables, in several processes, and keeps the results."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

from benchmarks.search.contract import Setting
from benchmarks.search.lookup import LOOKUPS, Lookup
from benchmarks.search.methods import code_version, make_method
from benchmarks.search.results import Results, Run
from benchmarks.search.simulator import Simulator
from benchmarks.search.tables import CurveTable, load_tables, others_of


@dataclass(frozen=True)
class Plan:
    """Which runs there are. `paths`: see `load_tables`. `budget`: in whole trials."""

    paths: tuple[Path, ...]
    tables: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: int
    workers: int
    budget: int
    lookup: str
    results: Path


@dataclass(frozen=True)
class Outcome:
    """`problem`: why there is no result, "" if there is one."""

    run: Run
    problem: str = ""


def planned_runs(plan: Plan, tables: dict[str, CurveTable]) -> Iterator[Run]:
    """Seed by seed, so that a run cut short has as many seeds of each method."""
    versions = {method: code_version(method) for method in plan.methods}
    for seed in range(plan.seeds):
        for name in plan.tables:
            for method in plan.methods:
                yield Run(
                    method,
                    versions[method],
                    name,
                    tables[name].fingerprint,
                    seed,
                    plan.workers,
                    plan.lookup,
                )


def missing_runs(plan: Plan, tables: dict[str, CurveTable]) -> list[Run]:
    results = Results(plan.results)
    return [
        run
        for run in planned_runs(plan, tables)
        if results.find(run, plan.budget * tables[run.table].max_epochs) is None
    ]


def execute(plan: Plan, runs: Sequence[Run], processes: int) -> Iterator[Outcome]:
    """Do the runs and save their results, each as it ends. A method that fails stops no other."""
    if processes == 1:
        for run in runs:
            yield _execute_one(plan, run)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(_execute_one, plan, run) for run in runs}
        try:
            for future in as_completed(waiting):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def method_seed(table: str, seed: int) -> int:
    """The seed that methods get. Another one for each table: TaskSet's share their configurations,
    so with one seed for all, a lucky first draw would be lucky on 12 tables at once."""
    return int.from_bytes(hashlib.sha256(f"{table}/{seed}".encode()).digest()[:4], "big")


def _execute_one(plan: Plan, run: Run) -> Outcome:
    table, lookup = _prepared(plan.paths, plan.lookup, run.table)
    budget = plan.budget * table.max_epochs
    seed = method_seed(run.table, run.seed)
    others = tuple(others_of(table, _tables(plan.paths).values()))
    setting = Setting(
        table.space, table.max_epochs, seed, run.workers, run.table, table.priors, others
    )
    try:
        method = make_method(run.method, setting)
        course = Simulator(method, lookup.for_run(), run.workers, budget).run()
    except Exception as error:  # whatever a method raises, the others go on
        return Outcome(run, f"{type(error).__name__}: {error}")
    Results(plan.results).save(run, budget, course)
    return Outcome(run)


@lru_cache
def _tables(paths: tuple[Path, ...]) -> dict[str, CurveTable]:
    return load_tables(paths)


@lru_cache
def _prepared(paths: tuple[Path, ...], lookup: str, name: str) -> tuple[CurveTable, Lookup]:
    made = LOOKUPS[lookup](_tables(paths)[name])
    return made.table, made


def reference_tables(tables: dict[str, CurveTable], lookup: str) -> dict[str, CurveTable]:
    """The tables with whose scores searches are compared under a lookup, by name."""
    return {name: LOOKUPS[lookup](table).table for name, table in tables.items()}
