"""How two definitions of a study differ, in a user's words, and what a corrected one keeps."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePath

from tuner.search_space.configurations import format_change, space_differences
from tuner.search_space.parameter_types import format_value
from tuner.study.data_spec import READING, DataSpec, TargetSpec
from tuner.study.metrics import name_of
from tuner.study.spec import CodeFile, StudySpec, beside
from tuner.system.locations import KEPT_NAMES, expanded_path


def study_differences(was: StudySpec, now: StudySpec) -> list[str]:
    """How the definition `now` differs from `was`, an entry each in a user's words: "seed was 0, is
    1". Empty when both define the same study."""
    was = _with_present_folders(was, now)
    facts = [
        format_change(name, _in_words(old), _in_words(new))
        for name, fact in _FACTS.items()
        if (old := fact(was)) != (new := fact(now))
    ]
    space = space_differences(was.space, now.space)
    columns = _changed_columns(_columns(was), _columns(now))
    data = [*_changed_data(was, now), *columns]
    return [*space, *data, *facts, *_changed_split(was, now), *_changed_code(was, now)]


def corrected_study(was: StudySpec, now: StudySpec) -> StudySpec | None:
    """`was` with the code of `now`, and with the data that this code gives. None where
    they differ in anything else. What `was` stored when it was made stays."""
    was = _with_present_folders(was, now)
    data, rows = _data_with_code_of(was, now), was.train_rows
    if now.fingerprint != was.fingerprint:
        if _data_location(now) != _data_location(was) or _data_code(now) == _data_code(was):
            return None
        data, rows = now.data, now.train_rows
    corrected = was.model_copy(
        update={
            "data": data,
            "fingerprint": now.fingerprint,
            "train_rows": rows,
            "code": now.code,
            "local_files": now.local_files,
            "keeps_modules": now.keeps_modules,
        }
    )
    return None if study_differences(corrected, now) else corrected


def _with_present_folders(was: StudySpec, now: StudySpec) -> StudySpec:
    """`was`, with the folders of a notebook's code as `now` names them: such a folder
    has a new name when its code has changed."""
    present = {PurePath(path).name: path for path in _kept_code_paths(now)}
    moved = {
        str(PurePath(path).parent): str(PurePath(present[PurePath(path).name]).parent)
        for path in _kept_code_paths(was)
        if present.get(PurePath(path).name, path) != path
    }
    if not moved:
        return was
    text = was.model_dump_json()
    for folder, present_folder in moved.items():
        text = text.replace(folder, present_folder)
    return StudySpec.from_json(text)


def _kept_code_paths(spec: StudySpec) -> list[str]:
    """The files of functions of a notebook."""
    paths = (spec.network_path, spec.data_path, *spec.metric_paths)
    return [path for path in paths if path is not None and KEPT_NAMES.search(path)]


def _data_code(spec: StudySpec) -> tuple[CodeFile | None, dict[str, CodeFile]]:
    return spec.data_code, spec.modules_of(spec.data_path)


def _changed_data(was: StudySpec, now: StudySpec) -> list[str]:
    """The fingerprint decides: the same data may lie elsewhere, or be named otherwise."""
    if now.fingerprint == was.fingerprint:  # however the data were asked for
        if _request(now) == _request(was) and now.train_rows != was.train_rows:
            return [format_change("rows trained on", str(was.train_rows), str(now.train_rows))]
        return []
    if was.data is None or now.data is None:
        return [format_change("data", was.data_source or "none", now.data_source or "none")]
    if _data_location(now) != _data_location(was):
        return [format_change("data", was.data.source, now.data.source)]
    if _request(now) != _request(was):  # other contents are what was asked for
        return [
            format_change(name, str(fact(was.data)), str(fact(now.data)))
            for name, fact in _DATA_FACTS.items()
            if fact(was.data) != fact(now.data)
        ]
    if now.data.reading != was.data.reading:
        return ["the data are read otherwise by this version of tuner"]
    old, new = was.fingerprint[:12], now.fingerprint[:12]
    return [f"data have changed (fingerprint {new}… was {old}…)"]


def _changed_split(was: StudySpec, now: StudySpec) -> list[str]:
    if was.data is None or now.data is None:
        return []
    split = (was.data.seed, now.data.seed)
    if split[0] == split[1] or split == (was.seed, now.seed):  # --seed sets both
        return []
    return [format_change("seed of the split", *map(str, split))]


def _changed_code(was: StudySpec, now: StudySpec) -> list[str]:
    """A file that only one of them has is another network or source, and named already."""
    lines = [f"{p} has changed" for p in now.code if was.code.get(p) not in (None, now.code[p])]
    lines += [
        f"{path} has changed"
        for path, file_hash in now.local_files.items()
        if was.local_files.get(path) not in (None, file_hash)
    ]
    own_paths = [now.network_path, now.data_path, *now.metric_paths]
    pairs = [(path, path) for path in own_paths]
    if now.fingerprint == was.fingerprint or _data_location(now) == _data_location(was):
        pairs.append((now.data_path, was.data_path))  # the file may have moved
    for path, old_path in pairs:
        if path in now.code and old_path in was.code:
            lines += _edited(was, old_path, now, path)
    return list(dict.fromkeys(lines))


def _edited(was: StudySpec, old_path: str, now: StudySpec, path: str) -> Iterator[str]:
    if now.code[path] != was.code[old_path]:
        yield f"{path} has changed"
    if not was.keeps_modules:
        return
    new, old = now.modules_of(path), was.modules_of(old_path)
    for module in sorted(new.keys() | old.keys()):
        if new.get(module) != old.get(module):
            end = "has changed" if {module} <= new.keys() & old.keys() else "is new"
            yield f"{beside(path, module)} {end if module in new else 'is gone'}"


# Facts that two definitions may differ in. The direction of a metric of ours follows from it.
_FACTS: dict[str, Callable[[StudySpec], object]] = {
    "metric": lambda spec: _objective_in_words(spec),
    "further objectives": lambda spec: (
        ", ".join(f"{each.metric} ({each.direction})" for each in spec.further_objectives) or "none"
    ),
    "recorded metrics": lambda spec: ", ".join(sorted(spec.record)) or "none",
    "own metrics": lambda spec: ", ".join(sorted(map(str, spec.own_metrics.values()))) or "none",
    "sampler": lambda spec: spec.sampler,
    "pruner": lambda spec: spec.pruner,
    # By their sources: an earlier study may have gone on, a later tuner ships another portfolio.
    "prior": lambda spec: spec.prior.in_words,
    "portfolio": lambda spec: "yes" if spec.prior.with_portfolio else "no",
    "task": lambda spec: spec.task,
    "kind of function": lambda spec: spec.function_kind,
    "validation share": lambda spec: _data_fact(spec, "validation"),
    "test share": lambda spec: _data_fact(spec, "test"),
    "scaling": lambda spec: _data_fact(spec, "scaling"),
    "weights": lambda spec: _weights_in_words(spec),
    "images": lambda spec: _data_fact(spec, "images") or "none",
    "seed": lambda spec: spec.seed,
    "split that is held out": lambda spec: spec.held_out,
}


# How data were asked for does not matter while training sees the same: the fingerprint decides.
_DATA_FACTS: dict[str, Callable[[DataSpec], object]] = {
    "kind of rows": lambda data: data.kind or "by the data",
    "text": lambda data: data.text or "by the network",
    "vocabulary": lambda data: data.vocabulary or "by the data",
    "steps": lambda data: data.steps or "by the data",
    "window": lambda data: data.window or "none",
    "horizon": lambda data: data.horizon,
    "time": lambda data: data.time or "none",
    "series": lambda data: data.series or "none",
    "inputs": lambda data: (
        "; ".join(f"{name}: {', '.join(columns)}" for name, columns in data.inputs.items())
        or "one of all columns"
    ),
    "targets": lambda data: (
        ", ".join(_target_in_words(name, target) for name, target in data.targets.items())
        or "by the data"
    ),
    "image size": lambda data: (
        "that of the files" if data.image_size is None else "{}x{}".format(*data.image_size)
    ),
    "grayscale": lambda data: "yes" if data.grayscale else "no",
    "broken images": lambda data: data.broken,
}


def _target_in_words(name: str, target: TargetSpec) -> str:
    facts = [*filter(None, [target.task]), *([f"weight {target.weight:g}"] * (target.weight != 1))]
    return f"{name} ({', '.join(facts)})" if facts else name


def _data_fact(spec: StudySpec, name: str) -> object:
    return "none" if spec.data is None else getattr(spec.data, name)


def _weights_in_words(spec: StudySpec) -> str:
    return "none" if spec.data is None or spec.data.weights is None else repr(spec.data.weights)


def _columns(spec: StudySpec) -> Mapping[str, str]:
    return {} if spec.data is None else spec.data.columns


def _data_with_code_of(was: StudySpec, now: StudySpec) -> DataSpec | None:
    """The data of the first, from the source of the second: it names the code."""
    if was.data is None or now.data is None:
        return was.data
    return was.data.model_copy(update={"source": now.data.source})


def _objective_in_words(spec: StudySpec) -> str:
    is_own = name_of(spec.metric) in spec.own_metrics or spec.function_kind.trains
    return f"{spec.metric} ({spec.direction})" if is_own else spec.metric


def _in_words(fact: object) -> str:
    return f"{fact:.6g}" if isinstance(fact, float) else str(fact)


def _changed_columns(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return [
        format_change(
            f"column {format_value(name)}",
            old.get(name, "by its cells"),
            new.get(name, "by its cells"),
        )
        for name in names
    ]


def _request(spec: StudySpec) -> DataSpec | None:
    """What was asked of the data, whatever their place, whether or not the task was named, and
    whichever version reads them."""
    if spec.data is None:
        return None
    update = {"task": spec.task, "source": "", "reading": READING, "skipped": ()}
    return spec.data.model_copy(update=update)


def _data_location(spec: StudySpec) -> Path | None:
    """The data's path, the same however it is spelled."""
    return None if spec.data is None else expanded_path(spec.data.source).resolve()
