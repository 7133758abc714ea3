"""From a source to a Dataset: read, check, encode the target, split, encode, scale."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.data.arrays import transposed_hint
from tuner.data.columns import ReadTable
from tuner.data.dataset import (
    PARTS,
    ColumnReport,
    Dataset,
    InputPart,
    Split,
    TargetColumn,
    draw_splits,
    fingerprint,
)
from tuner.data.description import leak_notes
from tuner.data.input_encoding import (
    Features,
    PreparedInput,
    ReadInput,
    lost_values,
    prepare_input,
    prepared_windows,
    read_input,
)
from tuner.data.named_rows import NamedRows
from tuner.data.precision import shift_notes
from tuner.data.raw import FIRST_READING, Raw
from tuner.data.readers import find_source, read_source
from tuner.data.readers.reader import Source
from tuner.data.rows import Indices
from tuner.data.sample_weights import Weights, split_weights, take_weights
from tuner.data.scaling import IDENTITY
from tuner.data.several_inputs import SINGLE, group_columns, raw_inputs
from tuner.data.several_targets import encode_targets
from tuner.data.target import Target, TargetValues, encode_target
from tuner.data.trained_targets import lost_targets, target_vectors, targets_as_trained
from tuner.data.windows import naive_forecast_note, read_windows
from tuner.errors import DatasetError
from tuner.settings import Settings
from tuner.values import join_names

if TYPE_CHECKING:  # training reads data without pydantic
    from tuner.study.spec import DataSpec


def load_dataset(
    spec: "DataSpec",
    settings: Settings,
    sources: Sequence[Source] = (),
    wanted: str | None = None,
    raw_integers: bool = False,
) -> Dataset:
    """Read, split and scale what `spec` names. Large features are not held in memory: they are read
    from their file each time.

    Splits of the source itself are kept. `sources`: where the data may be, if that is known
    already; the first whose fingerprint is `wanted` is taken, else the first that can be loaded.
    `raw_integers`: scaling auto leaves matrices of integers unscaled, since they may be ids;
    `scaling.method` is none then. Raises DatasetError, one line, for a source that cannot be
    found, read or learnt from.
    """
    loaded: list[Dataset] = []
    problems: list[DatasetError] = []
    for source in sources or find_source(spec.source, settings):
        try:
            loaded.append(_load(source, spec, settings, raw_integers))
        except DatasetError as error:
            problems.append(error)
            continue
        if wanted in (None, loaded[-1].fingerprint):
            return loaded[-1]
    if not loaded:
        raise problems[0]
    return loaded[0]


def _load(source: Source, spec: "DataSpec", settings: Settings, raw_integers: bool) -> Dataset:
    raw = read_source(source, settings, spec)
    if spec.window is not None:
        return _load_windows(raw, spec)
    raw, weights = take_weights(raw, spec)
    if spec.images is not None:  # which has read the table
        spec = spec.model_copy(update={"columns": {}})
    raw = group_columns(raw, spec)
    inputs = {
        name: read_input(name, each, spec, raw_integers) for name, each in raw_inputs(raw).items()
    }
    check_columns_named(spec, inputs.values(), raw.source)
    target = _target(raw, spec, [each.table for each in inputs.values() if each.table])
    for each in inputs.values():
        _check_lengths(each.x, target, each.raw.source)
    rows, y = _split(set(raw.parts), target, spec, raw.source)
    prepared = {name: prepare_input(each, rows, target, settings) for name, each in inputs.items()}
    of_rows = split_weights(weights, rows, raw.source)
    dataset = _dataset(raw, spec, target, y, prepared, of_rows)
    return dataset if spec.reading == FIRST_READING else _with_warnings(dataset, prepared, y)


def _load_windows(raw: Raw, spec: "DataSpec") -> Dataset:
    windows = read_windows(raw, spec)
    raw = replace(raw, notes=(*raw.notes, naive_forecast_note(windows)))
    inputs = {SINGLE: prepared_windows(windows)}
    dataset = _dataset(raw, spec, windows.target, windows.target.values, inputs, {})
    dataset = replace(dataset, window=windows.rule)
    return _with_warnings(dataset, inputs, windows.target.values)


def check_columns_named(spec: "DataSpec", inputs: Iterable[ReadInput], source: str) -> None:
    """Raises DatasetError for kinds of columns that no table of several inputs has."""
    each = list(inputs)
    if len(each) == 1 and each[0].spec.columns == spec.columns:
        return
    used_columns = {name for input_ in each for name in input_.spec.columns}
    if unknown := [
        name
        for name, kind in spec.columns.items()
        if name not in used_columns and kind not in ("drop", "target")
    ]:
        raise DatasetError(f"{source}: --column names {join_names(unknown)}, which no input has")


def _target_name(raw: Raw) -> str | None:
    name = getattr(raw.parts["train"].y, "name", None)
    return None if name is None else str(name)


def _dataset(
    raw: Raw,
    spec: "DataSpec",
    target: Target,
    y: dict[str, TargetValues],
    inputs: Mapping[str, PreparedInput],
    weights: Mapping[str, Weights],
) -> Dataset:
    rows, parts = targets_as_trained(y, target, spec)
    splits = {part: Split(_rows_of(inputs, part), rows[part], weights.get(part)) for part in PARTS}
    single = inputs.get(SINGLE)
    # Several inputs and heads say it of themselves.
    whole, only = single.part if single else InputPart(IDENTITY), parts[0]
    named = {} if single else {name: each.part for name, each in inputs.items()}
    heads = parts if target.heads else ()
    target_shift, target_scaling = (0.0, IDENTITY) if heads else (only.shift, only.scaling)
    by_channel = single is not None and single.encoded.axes.by_channel
    shifts = whole.shift, target_shift
    return Dataset(
        name=raw.name,
        task=target.task,
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        **{**vars(whole), "reports": _reports_of(inputs)},
        target_scaling=target_scaling,
        labels=target.labels,
        fingerprint=fingerprint(
            splits, target.task, target.labels, whole.scaling, shifts, by_channel, named, heads
        ),
        notes=(*raw.notes, *target.notes, *_notes_of(inputs)),
        target_shift=target_shift,
        target_column=_target_column(raw, target, spec, inputs),
        examples=None if single is None else single.examples,
        inputs=named,
        heads=heads,
        image_files=raw.image_files,
        skipped=raw.skipped,
    )


def _reports_of(inputs: Mapping[str, PreparedInput]) -> tuple[ColumnReport, ...]:
    """The reports of all inputs, those on the targets once, at the end."""
    every = [report for each in inputs.values() for report in each.part.reports]
    targets = {report.name: report for report in every if report.kind == "target"}
    return (*(report for report in every if report.kind != "target"), *targets.values())


def _rows_of(inputs: Mapping[str, PreparedInput], part: str) -> Any:
    if SINGLE in inputs:
        return inputs[SINGLE].rows[part]
    return NamedRows({name: each.rows[part] for name, each in inputs.items()})


def _notes_of(inputs: Mapping[str, PreparedInput]) -> Iterator[str]:
    for name, each in inputs.items():
        for note in each.notes:
            yield _under(name, note)


def _under(name: str, note: str) -> str:
    return note if name == SINGLE else f"{name}: {note}"


def _target_column(
    raw: Raw, target: Target, spec: "DataSpec", inputs: Mapping[str, PreparedInput]
) -> TargetColumn:
    by_input = [column for each in inputs.values() for column in each.ignored]
    ignored = dict.fromkeys([*by_input, *raw.left_out])
    return TargetColumn(
        _target_name(raw), target.format, tuple(ignored), spec.weights, target.value_names
    )


def _with_warnings(
    dataset: Dataset, inputs: Mapping[str, PreparedInput], targets: Mapping[str, TargetValues]
) -> Dataset:
    """With notes on values that training cannot tell apart, and on features that leak the
    target."""
    y = targets["train"]
    shifts, losses, leaks = [], [], []
    for name, each in inputs.items():
        part, train = each.part, each.rows["train"]
        of_target = float(dataset.target_shift) if name == SINGLE and y_is_one(y) else 0.0
        lines = shift_notes(part.shift, of_target, train, part.features, part.float64_inputs)
        shifts += [_under(name, line) for line in lines]
        losses += [_under(name, line) for line in lost_values(each) if line]
        for target_name, values in target_vectors(dataset):
            target_leaks = leak_notes(Split(train, values), part.columns, part.features)
            leaks += [_under(name, _under(target_name, line)) for line in target_leaks]
    losses += [line for line in lost_targets(dataset, y) if line]
    return replace(dataset, notes=(*shifts, *losses, *leaks, *dataset.notes))


def y_is_one(y: TargetValues) -> bool:
    """Whether a row has one target."""
    return not isinstance(y, NamedRows) and y.ndim == 1


def _check_lengths(x: Features, target: Target, source: str) -> None:
    for part, values in target.values.items():
        if len(x[part]) != len(values):
            raise DatasetError(
                f"{source}: x and y of {part} differ in length, {len(x[part])} and {len(values)}"
                + transposed_hint(x[part].shape, len(values))
            )
    if target.classes:
        learnt = np.bincount(target.values["train"], minlength=len(target.labels))
        absent = [target.labels[i] for i in np.flatnonzero(learnt == 0)]
        if absent:
            raise DatasetError(
                f"{source}: no row of train is of class {', '.join(map(repr, absent))}, "
                "which another part holds"
            )


def _split(
    source_parts: Collection[str], target: Target, spec: "DataSpec", source: str
) -> tuple[dict[str, Indices], dict[str, TargetValues]]:
    """The row numbers of each part that is split off from train, and y of all three parts. The test
    split comes first. `source_parts`: those that it has."""
    y = dict(target.values)
    all_y = y["train"]
    shares = {
        part: getattr(spec, part) for part in ("test", "validation") if part not in source_parts
    }
    classes = all_y.astype(np.int32) if target.classes else np.zeros(len(all_y), np.int32)
    rows = draw_splits(classes, shares, spec.seed, target.classes, source)
    if not shares:
        return {}, y
    return rows, y | {part: all_y[chosen] for part, chosen in rows.items()}


def _target(raw: Raw, spec: "DataSpec", tables: Iterable[ReadTable]) -> Target:
    """The target, encoded. Raises one DatasetError with the problems of target and columns."""
    targets: dict[str, Any] = {part: pair.y for part, pair in raw.parts.items()}
    problems = [problem for table in tables for problem in table.problems]
    target = None
    try:
        if spec.reading == FIRST_READING:
            target = encode_target(targets, spec.task, raw.label_names, raw.source)
        else:
            names = raw.label_names
            target = encode_targets(targets, spec.task, spec.targets, names, raw.source)
    except DatasetError as error:
        problems.insert(0, str(error).removeprefix(f"{raw.source}: "))
    if problems or target is None:
        raise DatasetError(f"{raw.source}: {'; '.join(problems)}")
    return target
