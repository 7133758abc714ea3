"""The results as a page: one table a group of tables, one of ours against all, and two plots."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np

from benchmarks.search import protocol
from benchmarks.search.methods import code_version
from benchmarks.search.protocol import BUDGETS, SHARES, Floats, Interval, Key, Measured
from benchmarks.search.results import Results, Run
from benchmarks.search.running import Plan
from benchmarks.search.simulator import Course
from benchmarks.search.tables import CurveTable

BEGIN, END = "<!-- search bench: begin -->", "<!-- search bench: end -->"
PLOTTED = 8


@dataclass(frozen=True)
class MethodResults:
    """What is stored of a method. `outdated`: of an earlier version of its code."""

    name: str
    courses: dict[Key, Course]
    outdated: bool


@dataclass(frozen=True)
class Group:
    """Tables that are reported together, with the methods that have runs on all pairs of table and
    seed that the baseline has. `measured`: rows in the same order for all methods. `limits`: the
    budget in epochs of each row. `left_out`: a note on each other method."""

    name: str
    tables: dict[str, CurveTable]
    measured: dict[str, Measured]
    limits: Floats
    left_out: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[Key, ...]:
        return next(iter(self.measured.values())).keys


def write_report(
    plan: Plan, tables: dict[str, CurveTable], baseline: str, ours: str, out: Path
) -> tuple[list[Path], list[str]]:
    """Write `search-methods.md` (between its marks, if it exists) and the plots into the folder
    `out`. Returns the paths, and notes on what was left out. Raises ValueError where there is
    nothing to compare."""
    found = [read_results(plan, tables, method) for method in plan.methods]
    with_runs = [method for method in found if method.courses]
    groups = [make_group(plan, name, part, with_runs, baseline) for name, part in split(tables)]
    groups = [group for group in groups if group.measured]
    if not groups:
        raise ValueError(f"{plan.results} has no runs of {baseline}, to which ratios are made")
    outdated = {method.name for method in with_runs if method.outdated}
    courses = {method.name: method.courses for method in with_runs}
    out.mkdir(parents=True, exist_ok=True)
    parts, paths = [_facts(plan)], []
    for group in groups:
        plot = out / f"search-{group.name}.png"
        draw(group, courses, plan.budget, _drawn(group, baseline, ours), plot)
        parts += _group_parts(group, plan, baseline, ours, outdated, plot.name)
        paths.append(plot)
    page = out / "search-methods.md"
    page.write_text(_inserted(page, "\n\n".join(parts)))
    return [page, *paths], [note for group in groups for note in group.left_out]


def read_results(plan: Plan, tables: dict[str, CurveTable], method: str) -> MethodResults:
    """All runs of the plan that have a result, of the code as it is, or else of the newest one that
    has any."""
    results = Results(plan.results)
    try:
        current = code_version(method)
    except (ImportError, ValueError):  # a rival that is not installed, or not known, here
        current = ""
    for version in [current, *results.versions(method)]:
        courses = {
            (run.table, run.seed): course
            for run in _runs(plan, tables, method, version)
            if (course := results.find(run, plan.budget * tables[run.table].max_epochs))
        }
        if courses:
            return MethodResults(method, courses, current not in ("", version))
    return MethodResults(method, {}, False)


def _runs(plan: Plan, tables: dict[str, CurveTable], method: str, version: str) -> Iterable[Run]:
    for name in plan.tables:
        fingerprint = tables[name].fingerprint
        for seed in range(plan.seeds):
            yield Run(method, version, name, fingerprint, seed, plan.workers, plan.lookup)


def split(tables: dict[str, CurveTable]) -> list[tuple[str, dict[str, CurveTable]]]:
    """By what stands before the slash in a name: "own" for the repository's tables."""
    groups: dict[str, dict[str, CurveTable]] = defaultdict(dict)
    for name, table in tables.items():
        groups[name.partition("/")[0] if "/" in name else "own"][name] = table
    return sorted(groups.items())


def make_group(
    plan: Plan,
    name: str,
    tables: dict[str, CurveTable],
    methods: Sequence[MethodResults],
    baseline: str,
) -> Group:
    """Only pairs of table and seed that the baseline has. A method without all of them is left
    out: its figures would be of other tables."""
    by_name = {method.name: method for method in methods}
    if baseline not in by_name:
        return Group(name, tables, {}, np.array([]))
    keys = {key for key in by_name[baseline].courses if key[0] in tables}
    measured = {
        method.name: protocol.measure(
            {key: method.courses[key] for key in keys}, tables, plan.budget
        )
        for method in methods
        if keys and keys <= method.courses.keys()
    }
    limits = np.array([plan.budget * tables[table].max_epochs for table, _ in sorted(keys)], float)
    left_out = tuple(
        f"{name}: left out {method.name}, which has "
        f"{len(keys & method.courses.keys())} of the {len(keys)} runs of {baseline}"
        for method in methods
        if method.name not in measured
    )
    return Group(name, tables, measured, limits, left_out)


def _facts(plan: Plan) -> str:
    return (
        f"{plan.workers} simulated workers, a budget of {plan.budget} whole trials, curves by "
        f"`{plan.lookup}`."
    )


def _group_parts(
    group: Group, plan: Plan, baseline: str, ours: str, outdated: set[str], plot: str
) -> list[str]:
    keys = group.keys
    parts = [
        f"### {_TITLES.get(group.name, group.name)}",
        f"{_extent(keys)}.",
        epochs_table(group, baseline, outdated),
        regret_table(group, plan.budget),
    ]
    if outdated & group.measured.keys():
        parts.append("\\* measured with an earlier version of the method's code.")
    rivals = [n for n in group.measured if n != ours and not n.startswith(_OWN)]
    if ours in group.measured and rivals:
        parts.append(f"`{ours}` on each table, median epochs to the best 1 %:")
        parts.append(each_table(group, ours, rivals))
    parts.append(f"![Regret, and runs that found the best 1 %, by epochs]({plot})")
    return parts


_TITLES = {"taskset": "TaskSet", "own": "Tables made with tuner"}
_OWN = ("tuner:", "prior:", "portfolio:")  # tuner's own methods, which are no rivals of it


def _extent(keys: Iterable[Key]) -> str:
    """`12 tables, 5 seeds`; `4 to 5 seeds` where the baseline's runs are not all done."""
    seeds = sorted(Counter(table for table, _ in keys).values())
    fewest, most = seeds[0], seeds[-1]
    count = f"{most}" if fewest == most else f"{fewest} to {most}"
    return f"{_counted(str(len(seeds)), 'table')}, {_counted(count, 'seed')}"


def _counted(count: str, noun: str) -> str:
    return f"{count} {noun}" if count == "1" else f"{count} {noun}s"


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [list(head), ["---"] + ["---:"] * (len(head) - 1), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ordered_methods(group: Group) -> list[str]:
    """The fewest epochs to the best 1 % first; equal medians by the mean of the capped times."""

    def key(name: str) -> tuple[float, float]:
        times = group.measured[name].epochs[:, 1]
        return float(protocol.median(times)), float(np.minimum(times, group.limits).mean())

    return sorted(group.measured, key=key)


def epochs_table(group: Group, baseline: str, outdated: set[str]) -> str:
    """Median epochs to each target, and how many times fewer than the baseline's."""
    head = ["method"]
    head += [f"epochs to the best {share * 100:g} %" for share in SHARES]
    head += [f"fewer than `{baseline}`: {share * 100:g} %" for share in SHARES]
    head += ["paired, 1 %"]
    rows = []
    for name in ordered_methods(group):
        measured, base = group.measured[name], group.measured[baseline]
        cells = [f"`{name}`" + (" \\*" if name in outdated else "")]
        cells += [_epochs(protocol.median_epochs(measured, i)) for i in range(len(SHARES))]
        for i in range(len(SHARES)):
            ratio = protocol.times_fewer(measured, base, i, group.limits)
            cells.append("" if name == baseline else _ratio(ratio, _bound(measured, base, i)))
        paired = protocol.mean_paired_ratio(measured, base, 1, group.limits)
        cells.append("" if name == baseline else _ratio(paired, ""))
        rows.append(cells)
    return _markdown(head, rows)


def regret_table(group: Group, budget: int) -> str:
    """Interquartile means of the normalised regret, and the method's own time."""
    columns = [i for i, whole in enumerate(BUDGETS) if whole <= budget]
    head = ["method", *(f"regret after {BUDGETS[i]} whole trials" for i in columns), "ms an ask"]
    rows = []
    for name in ordered_methods(group):
        measured = group.measured[name]
        cells = [_regret(protocol.mean_regret(measured, i)) for i in columns]
        rows.append([f"`{name}`", *cells, f"{np.median(measured.ask_ms):.1f}"])
    return _markdown(head, rows)


def each_table(group: Group, ours: str, rivals: Sequence[str]) -> str:
    """Ours against the best of the others, table by table."""
    rows = []
    for table in dict.fromkeys(table for table, _ in group.keys):
        medians = {name: _table_median(group, name, table) for name in [ours, *rivals]}
        best = min(rivals, key=medians.__getitem__)
        limit = group.limits[_rows_of(group, table)[0]]
        ratio = min(medians[best], limit) / min(medians[ours], limit)
        short = table.partition("/")[2] or table
        rows.append(
            [short, _number(medians[ours]), f"{_number(medians[best])} (`{best}`)", f"{ratio:.2f}x"]
        )
    return _markdown(["table", "ours", "best other", "fewer"], rows)


def _rows_of(group: Group, table: str) -> list[int]:
    keys = group.keys
    return [row for row, key in enumerate(keys) if key[0] == table]


def _table_median(group: Group, name: str, table: str) -> float:
    return float(protocol.median(group.measured[name].epochs[_rows_of(group, table), 1]))


def _number(epochs: float) -> str:
    return "–" if math.isinf(epochs) else f"{epochs:.0f}"


def _epochs(estimate: Interval) -> str:
    numbers = [_number(each) for each in (estimate.value, estimate.low, estimate.high)]
    return "{} [{}, {}]".format(*numbers)


def _bound(measured: Measured, baseline: Measured, share: int) -> str:
    """Which way a ratio of medians is a bound."""
    ours_late = np.isinf(protocol.median(measured.epochs[:, share]))
    theirs_late = np.isinf(protocol.median(baseline.epochs[:, share]))
    if ours_late and theirs_late:
        return "?"
    return "≥ " if theirs_late else "≤ " if ours_late else ""


def _ratio(estimate: Interval, bound: str) -> str:
    if bound == "?":
        return "–"
    return f"{bound}{estimate.value:.2f}x [{estimate.low:.2f}, {estimate.high:.2f}]"


def _regret(estimate: Interval) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _inserted(page: Path, text: str) -> str:
    """The page's text with the new part between its marks; a page of its own without them."""
    present = page.read_text() if page.exists() else f"# Search methods\n\n{BEGIN}\n{END}\n"
    if BEGIN not in present or END not in present:
        raise ValueError(f"{page} has no lines {BEGIN} and {END}, between which the tables go")
    before, after = present.split(BEGIN)[0], present.split(END)[1]
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def _drawn(group: Group, baseline: str, ours: str) -> list[str]:
    """The baseline, ours, and the best of the others."""
    first = [name for name in dict.fromkeys((ours, baseline)) if name in group.measured]
    others = [name for name in ordered_methods(group) if name not in first]
    return first + others[: PLOTTED - len(first)]


def draw(
    group: Group,
    courses: dict[str, dict[Key, Course]],
    budget: int,
    names: Sequence[str],
    path: Path,
) -> None:
    """Two plots side by side, over epochs in whole trials: the interquartile mean of the regret,
    and the share of runs that found one of the best 1 %."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    spent = np.linspace(0.5, budget, 100)
    for name in names:
        regrets, reached = _lines(group, courses[name], spent)
        left.plot(spent, regrets, label=name)
        right.plot(spent, reached, label=name)
    left.set(xlabel="epochs spent, in whole trials", ylabel="normalised regret", yscale="log")
    right.set(xlabel="epochs spent, in whole trials", ylabel="runs that found the best 1 %")
    right.set_ylim(0, 1)
    right.legend(fontsize="small", frameon=False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _lines(group: Group, courses: dict[Key, Course], spent: Floats) -> tuple[Floats, Floats]:
    regrets, reached = [], []
    for name, seed in group.keys:
        table, course = group.tables[name], courses[name, seed]
        best = [course.best_at(int(whole * table.max_epochs)) for whole in spent]
        regrets.append([table.regret(value) for value in best])
        target = table.target(0.01)
        reached.append([value <= target for value in best])
    return protocol.interquartile_mean(np.array(regrets)), np.mean(np.array(reached), axis=0)
