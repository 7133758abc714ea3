"""Tables of learning curves, made with tuner itself: random configurations of a shipped search
space, each trained for 27 epochs, with no pruner and no early stopping.

    python -m benchmarks.search.make_tables mlp-digits --folder work

A study of its own holds each table's trials in `work/`, so that the command goes on where it was
interrupted. `--trials 200` makes a smaller table; a larger number adds to it later. The tables are
written to `benchmarks/search/tables/`.
"""

import argparse
import importlib.metadata
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tuner.errors import StudyError, TunerError

TABLES = Path(__file__).with_name("tables")
EPOCHS = 27
SEED = 0
# The second metric of each table of classes: accuracies of small validation splits have many ties.
FURTHER = "log_loss"


@dataclass(frozen=True)
class TableSource:
    """`space`: a shipped search space. Its baselines are not trained; the one at `default` is what
    a person would try first. `data`: a data set's name.
    `rows`: how many of its training rows are taken, None for all. `validation`: the share of the
    validation split; small data get half, which makes their curves less noisy."""

    name: str
    kind: str
    space: str
    data: str
    trials: int = 500
    rows: int | None = None
    validation: float = 0.5
    default: int = 0


SOURCES = {
    source.name: source
    for source in (
        TableSource("mlp-digits", "mlp", "mlp", "digits", validation=1 / 3, default=1),
        TableSource("tabular-wine", "tabular", "tabular", "wine"),
        TableSource("tabular-breast-cancer", "tabular", "binary", "breast_cancer"),
        TableSource("cnn-digits", "cnn", "cnn", "digits", trials=200, validation=1 / 3),
        TableSource(
            "mlp-fashion-10k", "mlp", "mlp", "fashion_mnist", 500, 10_000, validation=0.2, default=1
        ),
    )
}


def make_table(source: TableSource, folder: Path, trials: int, workers: int = 1) -> pd.DataFrame:
    """Train the table's trials in a study in `folder`, and return the table: see `study_table`."""
    from tuner.manage.creation import create_study
    from tuner.manage.wanted_study import wanted_study
    from tuner.runner import Limits, SearchOptions, optimize, slots_wanted
    from tuner.storage import open_store

    settings = _settings(folder)
    wanted = wanted_study(
        source.name,
        space=str(_space_without_baselines(source.space, folder)),
        data=_data(source, folder, settings),
        validation=source.validation,
        sampler="random",
        pruner="none",
        epochs=EPOCHS,
        patience=EPOCHS,
        record=(f"val_{FURTHER}",),
        seed=SEED,
    )
    store = open_store(settings.storage)
    study = create_study(wanted, settings, lambda: store).study
    limits = Limits(slots_wanted(store, study, trials, None))
    options = SearchOptions(limits, workers, tracking=False, log_models="none", keep_models=1)
    optimize(settings, store, study, options)
    return study_table(store, study, source)


def study_table(store: Any, study: Any, source: TableSource, epochs: int = EPOCHS) -> pd.DataFrame:
    """A row for each trial of a study that has trained all its epochs or diverged: its parameters
    by name (missing where they did not apply), `epoch_01` … with the raw validation values of the
    objective, `log_loss_01` … with those of each recorded metric, all float32 and NaN from the
    epoch on in which the trial diverged, and `seconds` of training. `attrs` is the file's metadata:
    see `write_table`."""
    from tuner.storage.trials import stream_trials, trial_curve
    from tuner.study.ends import TrialEnd

    varying = study.spec.space.varying()
    columns = {"epoch": study.spec.metric}
    columns |= {metric.removeprefix("val_"): metric for metric in study.spec.record}
    rows: list[dict[str, Any]] = []
    for trial in stream_trials(store, study):
        curve = {report.epoch: report.metrics for report in trial_curve(store, study, trial)}
        if trial.end not in (TrialEnd.COMPLETE, TrialEnd.DIVERGED):
            continue
        params = trial.params
        row: dict[str, Any] = {
            name: params[name] if _applies(study.spec.space, name, params) else None
            for name in varying
        }
        for prefix, metric in columns.items():
            values = _finite_part([curve.get(e, {}).get(metric) for e in range(1, epochs + 1)])
            row |= {f"{prefix}_{e:02d}": value for e, value in enumerate(values, 1)}
        rows.append(row | {"seconds": trial.seconds})
    table = pd.DataFrame(rows)
    numbers = [name for name in table.columns if name not in varying]
    table[numbers] = table[numbers].astype(np.float32)
    table.attrs = _metadata(study, source, len(rows))
    return table


def _applies(space: Any, name: str, params: Mapping[str, Any]) -> bool:
    """Whether a parameter was searched in a trial; a trial's params hold defaults otherwise."""
    conditions = space.parameters[name].when
    return all(params[parent] in values for parent, values in conditions.items())


def _finite_part(values: Sequence[float | None]) -> list[float]:
    """The values up to the first that is missing or not finite, then NaN."""
    part: list[float] = []
    for value in values:
        if value is None or not math.isfinite(value):
            break
        part.append(value)
    return part + [math.nan] * (len(values) - len(part))


def _metadata(study: Any, source: TableSource, rows: int) -> dict[str, Any]:
    from tuner.search_space.loading import load_file
    from tuner.study.metrics import direction_of

    space = study.spec.space
    given = load_file(source.space).space.baselines[source.default]
    default = {name: value for name, value in given.items() if name in space.varying()}
    further = {metric.removeprefix("val_"): direction_of(metric) for metric in study.spec.record}
    packages = ("tuner", "tensorflow", "keras", "scikit-learn", "numpy")
    return {
        "name": source.name,
        "kind": source.kind,
        "space": describe_space(space),
        "default": default,
        "metric": study.spec.metric,
        "direction": study.spec.direction,
        "further_metrics": further,
        "data": source.data,
        "data_rows": source.rows,
        "validation": source.validation,
        "seed": SEED,
        "rows": rows,
        "versions": {package: importlib.metadata.version(package) for package in packages},
    }


def describe_space(space: Any) -> list[dict[str, Any]]:
    """The varying parameters of a search space in the form of `TableSpace.to_json`. A step is left
    out: a table has no value between two steps, and its lookup takes the nearest one."""
    described = []
    for name in space.varying():
        declared = space.parameters[name].model_dump(mode="json")
        parents = list(declared["when"].items())
        if len(parents) > 1:
            raise ValueError(f"{name}: a table's parameter has at most one condition")
        described.append(
            {
                "name": name,
                "kind": declared["type"],
                "low": declared.get("low", 0.0),
                "high": declared.get("high", 1.0),
                "log": declared.get("log", False),
                "choices": declared.get("choices", []),
                "condition": [parents[0][0], list(parents[0][1])] if parents else None,
            }
        )
    return described


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a Parquet file whose schema has `attrs` as JSON under the key `tuner`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    attributes, table.attrs = table.attrs, {}
    converted = pa.Table.from_pandas(table, preserve_index=False)
    table.attrs = attributes
    converted = converted.replace_schema_metadata({"tuner": json.dumps(attributes)})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    pq.write_table(converted, partial, compression="zstd", compression_level=19)
    partial.replace(path)


def _settings(folder: Path) -> Any:
    from tuner.settings import load_settings

    folder.mkdir(parents=True, exist_ok=True)
    settings = load_settings(
        f"sqlite:///{folder / 'tuner.db'}", f"sqlite:///{folder / 'mlruns' / 'mlflow.db'}"
    )
    return replace(settings, checkpoints=folder / "checkpoints")


def _space_without_baselines(name: str, folder: Path) -> Path:
    """A copy of a shipped space whose trials are all random."""
    from tuner.search_space.loading import SHIPPED, read_text, read_yaml

    shipped = next(place / f"{name}.yaml" for place in SHIPPED if (place / f"{name}.yaml").exists())
    content: Any = read_yaml(read_text(shipped), str(shipped))
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps({key: content[key] for key in ("network", "parameters")}))
    return path


def _data(source: TableSource, folder: Path, settings: Any) -> str:
    """What the study is told of its data: a name, or a file of the first `rows` training rows."""
    if source.rows is None:
        return source.data
    from tuner.data.readers.bundled import read_named

    path = folder / f"{source.name}.npz"
    if not path.exists():
        train = read_named(source.data, settings).parts["train"]
        np.savez(path, x=np.asarray(train.x[: source.rows]), y=np.asarray(train.y[: source.rows]))
    return str(path)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search.make_tables",
        description=(__doc__ or "").partition("\n\n")[0],
    )
    parser.add_argument("names", nargs="*", choices=[*SOURCES], help="the tables; all unless named")
    parser.add_argument("--folder", type=Path, default=Path("tables-work"), help="of the studies")
    parser.add_argument(
        "--trials", type=_positive, help="configurations a table; 500, or 200 for cnn"
    )
    parser.add_argument("--workers", type=_positive, default=1, help="worker processes")
    parser.add_argument("--into", type=Path, default=TABLES, help="the folder of the tables")
    chosen = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in chosen.names or SOURCES:
        source = SOURCES[name]
        trials = chosen.trials or source.trials
        table = make_table(source, chosen.folder.absolute() / name, trials, chosen.workers)
        if table.empty:
            raise StudyError(f"{name}: no trial has ended; run the command again")
        path = chosen.into / f"{name}.parquet"
        write_table(table, path)
        print(f"{path}: {len(table)} curves, {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    try:
        main()
    except (TunerError, OSError) as error:
        sys.exit(f"error: {error}")
