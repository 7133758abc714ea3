"""`make bench`: tuner beside the tools people use today, both sides in one run.

python -m benchmarks [ROW …] [--save FILE]

Every figure comes from processes of its own, one at a time, tuner and peers in turn. The table
reports ratios, because seconds depend on the machine.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.ray_nodes import nodes

Result = dict[str, Any]
SEEDS = (0, 1, 2)
LIST_EPOCHS = 2
LIMIT_S = 300


@dataclass(frozen=True)
class Row:
    """A line of the table. `floor` and `aim` are texts; `measure` returns the measured text."""

    figure: str
    floor: str
    aim: str
    measure: Callable[[], str]


def run(module: str, name: str, **arguments: Any) -> Result:
    """One figure in a fresh process."""
    command = [sys.executable, "-m", f"benchmarks.{module}", name, "--json", json.dumps(arguments)]
    print("  $", " ".join(command[1:]), file=sys.stderr, flush=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    result: Result = json.loads(done.stdout.strip().splitlines()[-1])
    print("   ", json.dumps(result)[:400], file=sys.stderr, flush=True)
    return result


def _epoch(network: str) -> str:
    ours = run("programs", "epoch", network=network)["seconds_an_epoch"]
    keras = run("peers", "keras_fit_epoch", network=network)["seconds_an_epoch"]
    return f"**{keras / ours:.1f}x** faster ({ours:.2f} s against {keras:.2f} s)"


def _dropout() -> str:
    without, with_dropout = (
        statistics.median(
            run("programs", "epoch", network="784-128-128-10", dropout=rate)["seconds_an_epoch"]
            for _ in range(3)
        )
        for rate in (0.0, 0.3)
    )
    cost = (with_dropout / without - 1) * 100
    return f"**{cost:+.0f} %** ({without:.2f} s without, {with_dropout:.2f} s with)"


def _fixed_list() -> str:
    ours = run("ours", "fixed_list", epochs=LIST_EPOCHS)["trial_epochs_per_s"]
    theirs = {
        "KerasTuner": run("peers", "keras_tuner_list", epochs=LIST_EPOCHS),
        "Optuna + fit": run("peers", "optuna_list", epochs=LIST_EPOCHS),
    }
    words = [
        f"**{ours / peer['trial_epochs_per_s']:.1f}x** {name} ({peer['trial_epochs_per_s']:.2f}/s)"
        for name, peer in theirs.items()
    ]
    return f"{', '.join(words)}; tuner {ours:.2f}/s"


def _until() -> str:
    sides = {"tuner": ("ours", "until"), "KerasTuner": ("peers", "keras_tuner_until")}
    sides["Optuna + fit"] = ("peers", "optuna_until")
    medians: dict[str, float] = {}
    for name, (module, function) in sides.items():
        results = [run(module, function, target=0.88, seed=s, limit_s=LIMIT_S) for s in SEEDS]
        # A search cut off by the limit counts as the limit: its ratio is a lower bound.
        medians[name] = statistics.median(result["seconds"] or LIMIT_S for result in results)
    ours = medians.pop("tuner")
    words = [
        f"**{seconds / ours:.1f}x** fewer than {name} ({seconds:.0f} s{_cut(seconds)})"
        for name, seconds in medians.items()
    ]
    return f"{', '.join(words)}; tuner {ours:.1f} s"


def _hypermodel() -> str:
    """Interleaved, since the load of a machine changes."""
    pairs = [
        (
            run("peers", "keras_tuner_hyperband", seed=seed)["trial_epochs_per_s"],
            run("ours", "build_model", seed=seed)["trial_epochs_per_s"],
        )
        for seed in SEEDS
    ]
    ratio = statistics.median(ours / theirs for theirs, ours in pairs)
    theirs, ours = (statistics.median(side) for side in zip(*pairs, strict=True))
    return f"**{ratio:.1f}x** KerasTuner ({theirs:.2f}/s); tuner {ours:.2f}/s"


def _cut(seconds: float) -> str:
    return ", cut off" if seconds >= LIMIT_S else ""


def _two_workers() -> str:
    one, two = (
        run("ours", "fixed_list", epochs=LIST_EPOCHS, workers=n)["trial_epochs_per_s"]
        for n in (1, 2)
    )
    return f"**{two / one:.2f}x** ({one:.2f}/s and {two:.2f}/s)"


# What the shipped spaces have, small and large, plain and with everything.
PROGRAMS: tuple[Result, ...] = (
    {"width": 64, "depth": 2, "optimizer": "sgd"},
    {"width": 128, "depth": 2, "optimizer": "adam", "batch_norm": True, "dropout": 0.3},
    {"width": 400, "depth": 1, "optimizer": "sgd", "activation": "sigmoid"},
    {"width": 512, "depth": 2, "optimizer": "adam", "activation": "gelu"},
)


def _program() -> str:
    words = []
    for wanted in PROGRAMS:
        plain: Result = {"activation": "relu", "dropout": 0.0, "batch_norm": False}
        plain |= {"batch_size": 32, "learning_rate": 0.01}
        seconds = run("programs", "program_epoch", configuration=plain | wanted)
        keras = seconds["keras"]
        words.append(
            f"{wanted['depth']}x{wanted['width']}: XLA **{seconds['xla'] / keras:.2f}x**, "
            f"graph {seconds['graph'] / keras:.2f}x of {keras:.2f} s"
        )
    return "; ".join(words)


def _warm() -> str:
    result = run("programs", "warm")
    return f"**{result['warm_s']:.3f} s** (the first trial {result['first_s']:.1f} s)"


def _lanes() -> str:
    words = []
    for width in (64, 256):
        seconds = run("programs", "lane_program", configuration={"width": width})
        ratio = seconds["together"] / seconds["alone"]
        words.append(f"2x{width}: **{ratio:.2f}x** of {seconds['alone']:.2f} s")
    return "; ".join(words)


def _study() -> str:
    result = run("ours", "study")
    return (
        f"**{result['share_of_peak']:.0%}** ({result['gflop_s']:.0f} of "
        f"{result['peak_gflop_s']:.0f} GFLOP/s, {result['whole_command_s']:.0f} s)"
    )


def _digits() -> str:
    result = run("ours", "digits")
    spent = ", ".join(f"{name} {s:.0f} s" for name, s in result["worker_seconds"].items())
    return f"**{result['whole_command_s']:.0f} s**, MLflow included (over both workers: {spent})"


def _searching() -> str:
    result = run("large", "searching", trials=50_000)
    (idle, idle_cpu, idle_mib), (first, first_cpu) = result["idle"], result["first"]
    further, cpu = result["further"]
    return (
        f"nothing to do **{idle:.1f} s** ({idle_cpu:.1f} s of CPU, {idle_mib} MiB); a trial beside "
        f"its training **{further:.2f} s** ({cpu:.2f} s of CPU), the first {first:.1f} s "
        f"({first_cpu:.1f} s of CPU); the loop {result['mib']} MiB"
    )


def _tracking() -> str:
    without, with_mlflow = (
        statistics.median(
            run("ours", "fixed_list", epochs=LIST_EPOCHS, tracking=on)["seconds"] for _ in range(3)
        )
        for on in (False, True)
    )
    return f"**{(with_mlflow / without - 1) * 100:+.1f} %** ({without:.0f} s, {with_mlflow:.0f} s)"


def _looking() -> str:
    result = run("scale", "looking", trials=50_000)
    return "; ".join(
        f"{name} **{seconds:.2f} s** ({cpu:.2f} s of CPU, {mib:.0f} MiB)"
        for name, (seconds, cpu, mib) in result.items()
    )


def _csv() -> str:
    result = run("csv_files", "reading")
    return "; ".join(
        f"{kind}: **{seconds['tuner'] / seconds['pandas']:.1f}x**, `tuner data describe` less its "
        f"start-up {seconds['describe'] / seconds['pandas']:.1f}x of {seconds['pandas']:.2f} s"
        for kind, seconds in result.items()
    )


def _images() -> str:
    result = run("image_files", "reading")
    ours, keras = result["ours"], result["keras"]
    return "; ".join(
        f"{words} **{ours[name] / keras[name]:.2f}x** ({ours[name]:.2f} s against "
        f"{keras[name]:.2f} s)"
        for name, words in {
            "epoch": "until all are ready, and were in a batch",
            "first": "until the first batch",
            "later": "a later epoch",
        }.items()
    )


def _objectives() -> str:
    pairs = [(run("objectives", "by_tuner"), run("objectives", "by_optuna")) for _ in range(3)]
    ours, theirs = (
        statistics.median(pair[side]["trials_per_s"] for pair in pairs) for side in (0, 1)
    )
    return f"**{ours / theirs:.1f}x** of Optuna's ({ours:.0f}/s against {theirs:.0f}/s)"


def _predicting() -> str:
    seconds = run("predictions", "scoring")
    ratios = "; ".join(
        f"into {output} **{seconds[output] / seconds['keras_8192']:.2f}x** of batches of 8192 "
        f"({seconds['keras_8192']:.1f} s), {seconds[output] / seconds['keras_32']:.2f}x of 32"
        for output in ("csv", "parquet")
    )
    return (
        f"{ratios}; ten rows **{seconds['start'] - seconds['keras_start']:+.1f} s** beside "
        f"{seconds['keras_start']:.1f} s"
    )


def _fit_engine() -> str:
    r = run("fit_engine", "epochs")
    return (
        f"**{r['ratio']:.2f}x** ({r['low']:.2f} to {r['high']:.2f}; {r['tuner_s']:.2f} s against "
        f"{r['keras_s']:.2f} s)"
    )


def _many_loops() -> str:
    result = run("service", "many_loops")
    exact = "exact" if result["done"] == result["trials"] == result["asked"] else "NOT exact"
    return (
        f"**{result['trials_per_s']:.0f}/s**, the total {exact} ({result['statements']:.0f} "
        f"statements and {result['commits']:.1f} transactions a trial; CPU of the loop "
        f"{result['loop_cpu_ms']:.0f} ms, of the server {result['server_cpu_ms']:.0f} ms)"
    )


def _many_workers() -> str:
    plain = run("service", "many_workers", sampler="random", pruner="none")
    tpe = run("service", "many_workers", pruner="none")
    return (
        f"**{plain['busy']:.0%}** ({plain['cpu']:.0%} computes; {plain['statements']:.1f} "
        f"statements and {plain['commits']:.2f} transactions a report); with TPE {tpe['busy']:.0%}"
    )


def _thousand_workers() -> str:
    words = []
    for sampler in ("random", "tpe"):
        for database in ("postgresql", "sqlite"):
            figures: Result = {"workers": 1000, "report_s": 10.0, "seconds": 40.0}
            figures |= {"sampler": sampler, "database": database}
            result = run("service", "many_workers", pruner="none", staggered=True, **figures)
            words.append(
                f"{sampler}, {database}: **{result['busy']:.0%}** ({result['cpu']:.0%} computes; "
                f"{result['reports_per_s']:.0f} reports and {result['trials_per_s']:.1f} trials/s)"
            )
    return "; ".join(words)


def _ray_list() -> str:
    """Interleaved, while the cluster is up for both sides."""
    with nodes(2) as address:
        pairs = [
            [
                run("ours", "fixed_list", epochs=LIST_EPOCHS, on=on)["whole_command_s"]
                for on in (None, address)
            ]
            for _ in range(5)
        ]
    speeds = sorted(local / on_ray for local, on_ray in pairs)
    local, on_ray = (statistics.median(side) for side in zip(*pairs, strict=True))
    return (
        f"**{statistics.median(speeds):.2f}x** ({speeds[0]:.2f} to {speeds[-1]:.2f}; medians "
        f"{on_ray:.1f} s on Ray, {local:.1f} s without)"
    )


def _ray_tune() -> str:
    with nodes(2) as address:
        pairs = [
            [run("ray_nodes", side, address=address) for side in ("by_tuner", "by_ray_tune")]
            for _ in range(3)
        ]
    ratio = statistics.median(theirs["seconds"] / ours["seconds"] for ours, theirs in pairs)
    seconds, theirs_s = (
        statistics.median(result["seconds"] for result in side) for side in zip(*pairs, strict=True)
    )
    trials_s = statistics.median(ours["trials_s"] for ours, _ in pairs)
    return (
        f"**{ratio:.1f}x** faster, connecting and workers' start included ({seconds:.1f} s, the "
        f"trials alone {trials_s:.1f} s, against {theirs_s:.1f} s)"
    )


def _page() -> str:
    result = run("pages", "looking")
    paint = result.get("first_paint", [None, None])[1]
    return (
        f"first paint **{paint} s**, the page {result['page'][1]} s, next page "
        f"**{result['next_page'][1]} s** ({result['sorted_by_score'][1]} s by score, "
        f"{result['filtered'][1]} s filtered)"
    )


def _open_page() -> str:
    """Interleaved, since the load of a machine changes."""
    pairs = [
        [run("pages", "searching", open_page=on)["epochs_per_s"] for on in (False, True)]
        for _ in range(10)
    ]
    costs = [(without / beside - 1) * 100 for without, beside in pairs]
    low, middle, high = statistics.quantiles(costs, n=4)
    return f"**{middle:+.1f} %** (10 pairs, quartiles {low:+.1f} and {high:+.1f} %)"


ROWS = {
    "epoch-small": Row(
        "an epoch of 784-64-64-10, SGD, batch 32, against Keras `fit`",
        "10x",
        "13x",
        lambda: _epoch("784-64-64-10"),
    ),
    "epoch-large": Row(
        "the same for 784-500-300-100-10",
        "4x",
        "5x",
        lambda: _epoch("784-500-300-100-10"),
    ),
    "fit": Row(
        "an epoch of a compiled model in the fit engine, validation included, against Keras `fit`",
        "1.03x",
        "",
        _fit_engine,
    ),
    "dropout": Row("dropout 0.3 on 784-128-128-10: its share of the epoch", "20 %", "", _dropout),
    "list": Row(
        "trial-epochs a second over 20 fixed configurations, compilation included",
        "6x",
        "8x",
        _fixed_list,
    ),
    "objectives": Row(
        "an Optuna `objective(trial)` of 1 ms, 1000 random trials on SQLite, synchronous=NORMAL: "
        "trials a second, two workers against `n_jobs=2`, medians of 3 pairs",
        "2x",
        "",
        _objectives,
    ),
    "loops": Row(
        "8 loops of one worker on one study in PostgreSQL, an objective of 1 ms: trials a second",
        "30, exact total",
        "100",
        _many_loops,
    ),
    "workers-64": Row(
        "64 simulated workers on one loop, PostgreSQL, a report each 0.5 s: the loop's busy time",
        "50 %",
        "20 %",
        _many_workers,
    ),
    "workers-1000": Row(
        "1000 simulated workers on one loop, a report each 10 s, trials of 27 reports that begin "
        "and end all the time: the loop's busy time",
        "60 %",
        "30 %",
        _thousand_workers,
    ),
    "ray": Row(
        "Ray: two one-CPU nodes against two local workers on the fixed list, the whole search, "
        "5 interleaved pairs",
        "0.9x",
        "0.97x",
        _ray_list,
    ),
    "ray-tune": Row(
        "100 trials of 10 ms on two one-CPU nodes, TPE, against Ray Tune with its Optuna search, "
        "medians of 3 pairs",
        "3x",
        "10x",
        _ray_tune,
    ),
    "page": Row(
        "the page of a study with 50 000 trials, SQLite: first paint in Chromium, and the next "
        "page of its table",
        "1 s; 0.3 s",
        "",
        _page,
    ),
    "open-page": Row(
        "a study's page open in a browser on the machine of its search, two workers with an epoch "
        "each 20 ms: cost in trial-epochs a second",
        "2 %",
        "0.5 %",
        _open_page,
    ),
    "until": Row("seconds to validation accuracy 0.88, median of 3 seeds", "10x", "15x", _until),
    "build-model": Row(
        "trial-epochs a second of Hyperband over one `build_model(hp)`, by KerasTuner and by tuner "
        "with two workers, Fashion-MNIST",
        "1.9x",
        "",
        _hypermodel,
    ),
    "workers": Row("two workers against one, on that list", "1.7x", "1.9x", _two_workers),
    "scale-search": Row(
        "50 000 finished trials in SQLite: `tuner optimize` with nothing to do; reserve, ask, 2 "
        "reports and tell of further trials",
        "3 s, 400 MB; 0.3 s",
        "",
        _searching,
    ),
    "digits": Row("100 trials on digits, two workers, start to end", "45 s", "25 s", _digits),
    "warm": Row("a trial's fixed cost where its program is warm", "0.2 s", "0.1 s", _warm),
    "program": Row(
        "an epoch in the shared programs against the Keras engine, Fashion-MNIST, batch 32",
        "1.25x",
        "1.0x",
        _program,
    ),
    "lanes": Row(
        "an epoch of one of 8 lanes of a program against a trial alone, Fashion-MNIST, batch 32",
        "",
        "",
        _lanes,
    ),
    "study": Row(
        "share of the matrix-product peak over a study of 100 trials, start-up included",
        "35 %",
        "50 %",
        _study,
    ),
    "scale": Row(
        "50 000 finished trials in SQLite: commands that only read, start-up included",
        "1 s each; all of them printed in bounded memory",
        "",
        _looking,
    ),
    "csv": Row(
        "a CSV file of 1 000 000 rows and 10 columns made ready, against `pandas.read_csv`",
        "2.5x",
        "",
        _csv,
    ),
    "images": Row(
        "a folder of 20 000 PNG files of 64 x 64 pixels: from the folder to training, nothing in "
        "the cache, against `image_dataset_from_directory(...).cache()`",
        "1.2x",
        "",
        _images,
    ),
    "predict": Row(
        "`tuner predict` on a CSV file of 1 000 000 rows and 20 columns, less its start-up, "
        "against `pandas.read_csv` and Keras' `predict` of encoded rows; the whole command on ten "
        "rows against importing Keras and loading the network",
        "1.3x; 1 s more",
        "",
        _predicting,
    ),
    "tracking": Row("the list with MLflow against `--no-tracking`", "+5 %", "", _tracking),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of: {', '.join(ROWS)}")
    parser.add_argument("--save", type=Path, help="also write the table to this file")
    command = parser.parse_args()
    unknown = set(command.rows) - set(ROWS)
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "",
        "| figure | floor | aim | measured |",
        "|---|---|---|---|",
    ]
    for name in command.rows or ROWS:
        row = ROWS[name]
        print(name, file=sys.stderr, flush=True)
        lines.append(f"| {row.figure} | {row.floor} | {row.aim} | {row.measure()} |")
    table = "\n".join(lines)
    print(table)
    if command.save:
        command.save.write_text(table + "\n")


if __name__ == "__main__":
    main()
