"""The form of a prepared data set on disk: its arrays as .npy, and one JSON file with the rest."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data.dataset import (
    ColumnReport,
    Dataset,
    InputPart,
    Split,
    TargetColumn,
    TargetPart,
    empty_split,
    parts_with_rows,
    to_list,
)
from tuner.data.named_rows import NamedRows
from tuner.data.raw import dataset_errors
from tuner.data.rows import AnyRows, check_free_space, disk_full_message, is_disk_full, row_blocks
from tuner.data.scaling import Scaling
from tuner.data.window_rows import WindowRows
from tuner.errors import DatasetError
from tuner.preparation.number_texts import NumberFormat
from tuner.preparation.preparation import ImageFiles, column_from_json
from tuner.preparation.window_rule import WindowRule

_INDEX = "dataset.json"


def save_dataset(dataset: Dataset, folder: Path) -> None:
    """Write the arrays as .npy, then the rest as one JSON file, which marks the folder as complete.

    Raises DatasetError if the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_free_space(folder, _stored_bytes(dataset))
        for part, split in dataset.splits.items():
            for name, array in split.arrays.items():
                for ending, stored in _stored_arrays(array).items():
                    _save(folder / f"{part}_{name}{ending}.npy", stored)
        unfinished = folder / f"{_INDEX}.part"
        unfinished.write_text(json.dumps(_index(dataset)), encoding="utf-8")
        unfinished.replace(folder / _INDEX)
    except OSError as error:
        if is_disk_full(error):
            raise DatasetError(disk_full_message(folder, _stored_bytes(dataset))) from error
        raise DatasetError(f"{folder}: cannot be written ({error.strerror or error})") from error


def _stored_arrays(array: AnyRows) -> dict[str, AnyRows]:
    """An array by the end of its file's name; of windows what they are made of."""
    return array.stored if isinstance(array, WindowRows) else {"": array}


def _stored_bytes(dataset: Dataset) -> int:
    return sum(
        stored.nbytes
        for split in dataset.splits.values()
        for array in split.arrays.values()
        for stored in _stored_arrays(array).values()
    )


def _save(path: Path, array: AnyRows) -> None:
    """Write what np.save writes, block by block."""
    with path.open("wb") as file:
        descr = np.lib.format.dtype_to_descr(array.dtype)
        header = {"descr": descr, "fortran_order": False, "shape": array.shape}
        np.lib.format.write_array_header_1_0(file, header)
        for block in row_blocks(array):
            file.write(np.ascontiguousarray(block).data)


def _index(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "task": dataset.task,
        "scaling": _scaling_to_json(dataset.scaling),
        "target_scaling": _scaling_to_json(dataset.target_scaling),
        "labels": dataset.labels,
        "fingerprint": dataset.fingerprint,
        "features": dataset.features,
        "columns": None if dataset.columns is None else [asdict(c) for c in dataset.columns],
        "notes": dataset.notes,
        "reports": [asdict(report) for report in dataset.reports],
        "shift": None if dataset.shift is None else dataset.shift.tolist(),
        "target_shift": to_list(dataset.target_shift),
        "float64_inputs": dataset.float64_inputs,
        "evaluation": dataset.evaluation_name,
        "target_column": asdict(dataset.target_column),
        "examples": dataset.examples,
        "weighted": [part for part, split in dataset.splits.items() if split.weights is not None],
        "inputs": {name: _input_to_json(part) for name, part in dataset.inputs.items()},
        "heads": [_head_to_json(head) for head in dataset.heads],
        "input_kind": dataset.input_kind,
        "vocabulary_size": dataset.vocabulary_size,
        "padding": dataset.padding,
        "skipped": dataset.skipped,
        "image_files": None if dataset.image_files is None else asdict(dataset.image_files),
        "window": None if dataset.window is None else asdict(dataset.window),
        "windows": {
            part: split.x.steps
            for part, split in dataset.splits.items()
            if isinstance(split.x, WindowRows)
        },
    }


def _input_to_json(part: InputPart) -> dict[str, Any]:
    return {
        "scaling": _scaling_to_json(part.scaling),
        "features": part.features,
        "columns": None if part.columns is None else [asdict(c) for c in part.columns],
        "reports": [asdict(report) for report in part.reports],
        "shift": None if part.shift is None else part.shift.tolist(),
        "float64_inputs": part.float64_inputs,
        "input_kind": part.input_kind,
        "vocabulary_size": part.vocabulary_size,
        "padding": part.padding,
    }


def _input_from_json(value: dict[str, Any]) -> InputPart:
    columns = value["columns"]
    return InputPart(
        _scaling_from_json(value["scaling"]),
        _tuple(value["features"]),
        None if columns is None else tuple(map(column_from_json, columns)),
        _reports_from_json(value["reports"]),
        _shift_from_json(value["shift"]),
        value["float64_inputs"],
        value.get("input_kind", ""),
        value.get("vocabulary_size", 0),
        _tuple(value.get("padding")),
    )


def _head_to_json(head: TargetPart) -> dict[str, Any]:
    return {
        "name": head.name,
        "task": head.task,
        "units": head.units,
        "labels": head.labels,
        "scaling": _scaling_to_json(head.scaling),
        "weight": head.weight,
        "shift": to_list(head.shift),
        "values": head.values,
        "format": None if head.format is None else asdict(head.format),
    }


def _head_from_json(value: dict[str, Any]) -> TargetPart:
    number = value["format"]
    changes = {
        "labels": tuple(value["labels"]),
        "scaling": _scaling_from_json(value["scaling"]),
        "shift": _target_shift_from_json(value["shift"]),
        "values": tuple(value["values"]),
        "format": None if number is None else NumberFormat(**number),
    }
    return TargetPart(**{**value, **changes})


def _shift_from_json(value: Any) -> npt.NDArray[np.float64] | None:
    return None if value is None else np.asarray(value, np.float64)


def _target_shift_from_json(value: Any) -> Any:
    return np.asarray(value, np.float64) if isinstance(value, list) else value


def _reports_from_json(reports: list[dict[str, Any]]) -> tuple[ColumnReport, ...]:
    return tuple(
        ColumnReport(**report | {"examples": tuple(report["examples"])}) for report in reports
    )


def open_dataset(folder: Path) -> Dataset:
    """Open what `save_dataset` wrote. x is mapped from disk, read-only: processes share it.

    Raises DatasetError if the folder holds no complete data set.
    """
    with dataset_errors(str(folder / _INDEX)):
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    with dataset_errors(str(folder)):
        evaluation_name = index.get("evaluation", "val")
        weighted, windows = index.get("weighted", []), index.get("windows", {})
        inputs = {name: _input_from_json(part) for name, part in index.get("inputs", {}).items()}
        heads = tuple(map(_head_from_json, index.get("heads", [])))
        names = list(inputs), [head.name for head in heads]
        splits = {
            part: _open_split(folder, part, names, part in weighted, windows.get(part))
            for part in parts_with_rows(evaluation_name)
        }
    splits.setdefault("validation", empty_split(splits["train"]))
    return Dataset(
        name=index["name"],
        task=index["task"],
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        **vars(_input_from_json(index)),  # it says of a single input what each of several says
        target_scaling=_scaling_from_json(index["target_scaling"]),
        labels=tuple(index["labels"]),
        fingerprint=index["fingerprint"],
        notes=tuple(index["notes"]),
        target_shift=_target_shift_from_json(index["target_shift"]),
        evaluation_name=evaluation_name,
        target_column=_target_column_from_json(index["target_column"]),
        examples=index.get("examples"),
        inputs=inputs,
        heads=heads,
        skipped=tuple(index.get("skipped", ())),
        image_files=None if (files := index.get("image_files")) is None else ImageFiles(**files),
        window=WindowRule.from_json(index.get("window")),
    )


def _open_split(
    folder: Path,
    part: str,
    names: tuple[list[str], list[str]],
    weighted: bool,
    window: int | None = None,
) -> Split:
    """`names`: of inputs and of heads, where there are several. `window`: the steps of windows."""

    def load(name: str) -> Any:
        return np.load(folder / f"{part}_{name}.npy", mmap_mode="r", allow_pickle=False)

    def load_named(role: str, names: list[str]) -> Any:
        if not names:
            return load(role)
        return NamedRows({name: load(f"{role}_{number}") for number, name in enumerate(names)})

    inputs, heads = names
    weights = load("weights") if weighted else None
    x = load_named("x", inputs)
    if window is not None:
        x = WindowRows(x, load("x_starts"), window)
    return Split(x, load_named("y", heads), weights)


def _scaling_to_json(scaling: Scaling) -> dict[str, Any]:
    # A float32 comes back bit-equal from the float64 that JSON writes.
    return {
        "method": scaling.method,
        "scale": scaling.scale.tolist(),
        "offset": scaling.offset.tolist(),
    }


def _scaling_from_json(value: dict[str, Any]) -> Scaling:
    scale, offset = (np.asarray(value[key], np.float32) for key in ("scale", "offset"))
    return Scaling(value["method"], scale, offset)


def _target_column_from_json(value: dict[str, Any]) -> TargetColumn:
    number = value["format"]
    return TargetColumn(
        value["name"],
        None if number is None else NumberFormat(**number),
        tuple(value["ignored"]),
        value.get("weights"),
        tuple(value.get("values", ())),
    )


def _tuple(values: list[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)
