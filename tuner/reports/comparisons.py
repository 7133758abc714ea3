"""`tuner compare`: configurations, each trained with several seeds, scored on the test split.

Trials train on the training and validation splits. Nothing is selected: the test split is read only
after each trial's last epoch. A comparison is a study, so it is stored, interrupted, continued and
tracked like one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.data import Dataset, Source
from tuner.errors import SpaceError, SpecError, StudyError, UsageError
from tuner.manage.creation import (
    check_code,
    check_names,
    check_network,
    create_defined_study,
    default_name,
    trust_own_code,
)
from tuner.manage.definition import define_study
from tuner.manage.own_functions import check_trained_by_tuner
from tuner.manage.wanted_study import Wanted, file_data
from tuner.reports.comparison_tables import (
    ComparisonTable,
    csv_text,
    make_table,
    markdown_table,
    params_in_words,
)
from tuner.reports.heat_maps import heat_map_panels, save_heat_maps
from tuner.runner import (
    KERAS,
    Delivered,
    Limits,
    Outcome,
    SearchOptions,
    Watcher,
    check_data,
    check_fingerprint,
    optimize,
    slots_wanted,
)
from tuner.runner.final_training import epochs_to_train, finished_trial, watches_validation
from tuner.search_space import Space, load_file
from tuner.settings import Settings
from tuner.storage import Store, slots
from tuner.storage.lineages import read_ancestors
from tuner.storage.split_readings import describe_readings, record_reading
from tuner.storage.studies import StudyRow
from tuner.storage.trials import list_trials
from tuner.study.metrics import on_split
from tuner.study.spec import Choice, DataSpec, StudySpec
from tuner.system.names import command, in_command, make_name
from tuner.workers import EntryPoint

MOST_SEEDS = 1000


@dataclass(frozen=True)
class Subject:
    """What is compared: the configurations of `space`. `references`: a known result for each, or
    empty. `name`: of the comparison's study. `metric`: None for the task's default. `record`:
    further metrics. If a study's trial is compared: `fingerprint` and `sources` of its data, and
    `study`, its definition."""

    space: Space
    data: DataSpec
    name: str
    references: tuple[float | None, ...] = ()
    metric: str | None = None
    record: tuple[str, ...] = ()
    fingerprint: str | None = None
    sources: tuple[Source, ...] = ()
    study: StudySpec | None = None


def of_file(
    name_or_path: str, overrides: Mapping[str, object], seed: int, **options: Any
) -> Subject:
    """The configurations of a space file: its baselines, or else its grid. `options` override the
    file's own data section. Raises a UsageError."""
    file = load_file(name_or_path)
    space = file.space.override(overrides) if overrides else file.space
    try:
        space.configurations()
    except SpaceError as error:
        raise SpaceError(f"{file.source}: {error}") from error
    data = file_data(file, seed, **options)
    name = make_name("compare", default_name(Wanted(space=name_or_path, data=data)))
    # Overrides can make two baselines equal. Then no reference belongs to a single row.
    aligned = len(space.baselines) == len(file.space.baselines)
    return Subject(space, data, name, file.references if aligned else ())


def of_trial(
    store: Store, study: StudyRow, number: int | None, settings: Settings, data: str | None = None
) -> Subject:
    """A study's best trial, or the trial of that number, on the study's data. `data`: where these
    lie now, if elsewhere. Raises a UsageError.

    It trains up to the epoch that `epochs_to_train` says.
    """
    check_trained_by_tuner(study.spec, "compare")
    trial = finished_trial(store, study, number)
    if read_ancestors(store, study, trial.number):
        raise StudyError(
            f"trial {trial.number} of study {study.name!r} goes on from other trials, which had "
            "other numbers, and compare trains one configuration: name a trial of the first "
            "generation, or promote this one: "
            + command("promote", in_command(study.name), "--trial", str(trial.number))
        )
    check_code(study.spec, settings, data)
    sources = check_data(settings, study.spec, data)
    space = study.spec.space.override({"epochs": epochs_to_train(trial)})
    configuration = {name: value for name, value in trial.params.items() if name != "epochs"}
    return Subject(
        space=space.only(configuration),
        data=study.spec.known_data.model_copy(update={"source": sources[0].text}),
        name=make_name("compare", study.name, f"trial{trial.number}"),
        metric=on_split(study.spec.metric, "test"),
        record=tuple(on_split(name, "test") for name in study.spec.record),
        fingerprint=study.spec.fingerprint,
        sources=tuple(sources),
        study=study.spec,
    )


def prepare(
    subject: Subject,
    seeds: int,
    settings: Settings,
    open_store: Callable[[], Store],
    name: str | None = None,
    seed: int = 0,
    tell: Callable[[str], None] = lambda text: None,
) -> StudyRow:
    """The comparison's study, created or found. `seed`: of all its trials. `tell` gets lines about
    the test run of the user's own network; the network of a stored study was tested before. Raises
    a UsageError, also if the name belongs to a study with another definition."""
    if not 1 <= seeds <= MOST_SEEDS:
        raise UsageError(f"--seeds must be between 1 and {MOST_SEEDS}, got {seeds}")
    _check_schedules(subject.space)
    wanted = Wanted(
        name=name or subject.name,
        data=subject.data,
        sampler=Choice(name="listed"),
        pruner=Choice(name="none"),
        metric=subject.metric,
        record=subject.record,
        seed=seed,
        held_out="test",
    )
    check_names(wanted, settings)

    def check(spec: StudySpec, dataset: Dataset) -> None:
        if subject.study is None:
            for line in check_network(settings, spec, dataset, tell):
                tell(line)

    spec = define_study(
        subject.space, wanted, settings, subject.sources, subject.fingerprint, subject.study, check
    )
    if subject.fingerprint is not None:
        check_fingerprint(subject.fingerprint, spec.fingerprint, subject.data.source)
    study = create_defined_study(spec, wanted, settings, open_store).study
    trust_own_code(spec, settings)
    return study


def _check_schedules(space: Space) -> None:
    for number, flat in enumerate(space.configurations()):
        problem = watches_validation(space.resolve(flat))
        if problem is not None:
            where = f"baselines[{number}]: " if space.baselines else ""
            raise SpecError(
                f"{where}{problem}, which a comparison trains on; choose another schedule"
            )


def train(
    settings: Settings,
    store: Store,
    study: StudyRow,
    seeds: int,
    *,
    workers: int | None = None,
    tracking: bool = True,
    watcher: Watcher | None = None,
    stage: Callable[[str], None] = lambda text: None,
    tell: Callable[[str], None] = lambda text: None,
    entry: EntryPoint = KERAS,
    data: str | None = None,
) -> tuple[Outcome, Delivered | None] | None:
    """Train what is missing of `seeds` trials per configuration; None if nothing is. `tell` gets a
    line if the test split was read before. `data`: where the data lie now, if elsewhere."""
    wanted = seeds * len(study.spec.space.configurations())
    total = slots_wanted(store, study, wanted, None)
    if slots.slot_counts(store, study, total) == {"done": total}:
        return None
    before = describe_readings(record_reading(store, study, "compare"))
    if before is not None:
        tell(before)
    options = SearchOptions(Limits(total), workers=workers, tracking=tracking, data=data)
    return optimize(settings, store, study, options, watcher, stage, entry)


def results(store: Store, study: StudyRow, subject: Subject) -> ComparisonTable:
    """The table so far. References are left out if two baselines became equal for these data."""
    configurations = study.spec.space.configurations()
    aligned = len(subject.references) == len(configurations)
    references = subject.references if aligned else ()
    return comparison_table(store, study, references)


def comparison_table(
    store: Store, study: StudyRow, references: Sequence[float | None] = ()
) -> ComparisonTable:
    """The same of a comparison that was made before. `references`: one per configuration, or
    none."""
    return make_table(study.spec, list_trials(store, study), references)


def caption(study: StudyRow) -> str:
    """What the table's numbers mean."""
    spec = study.spec
    data = Path(spec.data_source).name
    return (
        f"{data}, trained on train + validation ({spec.train_rows:,} rows); "
        "the test split was read only after the last epoch. Mean ± sample standard deviation over "
        "seeds; seconds: training time, the mean of a trial."
    )


def save(study: StudyRow, table: ComparisonTable, prefix: Path) -> list[Path]:
    """Write the table as Markdown and CSV, and as a PNG if it makes a heat map. Returns the files.
    Raises UsageError if they cannot be written."""
    panels = heat_map_panels(table)
    page = _markdown_page(study, table)
    page += f"\n![{study.name}]({prefix.name}.png)\n" if panels else ""
    texts = {".md": page, ".csv": csv_text(table)}
    written = []
    try:
        prefix.parent.mkdir(parents=True, exist_ok=True)
        for ending, text in texts.items():
            written.append(prefix.with_name(prefix.name + ending))
            written[-1].write_text(text, encoding="utf-8")
        if panels:
            written.append(prefix.with_name(prefix.name + ".png"))
            save_heat_maps(table, panels, written[-1])
    except OSError as error:
        raise UsageError(f"{prefix}: cannot be written: {error.strerror or error}") from error
    return written


def _markdown_page(study: StudyRow, table: ComparisonTable) -> str:
    common = params_in_words(table.common)
    shared = f"\nThe same for all: {common}; all else by default.\n" if common else ""
    return f"# {study.name}\n\n{caption(study)}\n\n{markdown_table(table)}{shared}"
