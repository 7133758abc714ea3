"""Creating and finding studies from Python."""

import functools
import operator
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Literal

from tuner.api.arguments import check_switches, check_texts
from tuner.api.functions import code_reference, kind_of
from tuner.api.memory_data import data_source
from tuner.api.places import Place, logger, path_text
from tuner.api.spaces import Space, by_name, plain, space_file
from tuner.api.studies import Study
from tuner.errors import UsageError
from tuner.manage.control import StudyPlan, plan_study
from tuner.manage.creation import Created
from tuner.manage.creation import create_study as create_wanted
from tuner.manage.wanted_study import wanted_study
from tuner.settings import Settings
from tuner.storage.studies import load_studies
from tuner.storage.studies import load_study as load_row
from tuner.study.messages import Direction
from tuner.study.metrics import Task
from tuner.values import shown

_PathLike = os.PathLike[str]


def create_study(
    name: str | None = None,
    *,
    network: str | Callable[..., Any] | None = None,
    space: str | _PathLike | Space | None = None,
    data: Any = None,
    target: Any = None,
    metric: str | Callable[..., float] | None = None,
    direction: Direction | Sequence[Direction] | None = None,
    record: Iterable[str | Callable[..., float]] = (),
    weights: str | None = None,
    kind: str | None = None,
    text: str | None = None,
    vocabulary: int | None = None,
    steps: int | None = None,
    window: int | None = None,
    horizon: int | None = None,
    time: str | None = None,
    series: str | None = None,
    task: Task | None = None,
    columns: Mapping[str, str] | None = None,
    image_size: int | str | tuple[int, int] | None = None,
    grayscale: bool | None = None,
    broken: Literal["refuse", "skip"] | None = None,
    images: str | None = None,
    inputs: Mapping[str, Sequence[str]] | None = None,
    targets: Mapping[str, Mapping[str, Any]] | None = None,
    scaling: str | None = None,
    validation: float | None = None,
    test: float | None = None,
    sampler: str | None = None,
    sampler_options: Mapping[str, Any] | None = None,
    pruner: str | None = None,
    pruner_options: Mapping[str, Any] | None = None,
    epochs: int | None = None,
    patience: int | None = None,
    params: Mapping[str, Any] | None = None,
    seed: int = 0,
    experiment: str | None = None,
    prior: bool = False,
    portfolio: bool = False,
    learn_from: str | Study | Iterable[str | Study] = (),
    trials: int | None = None,
    priority: int | None = None,
    target_score: float | None = None,
    patience_trials: int | None = None,
    trial_timeout: float | str | None = None,
    until_sure: float | str | None = None,
    storage: str | _PathLike | None = None,
    tracking_uri: str | None = None,
) -> Study:
    """Create a study, or get the one that has this name and this definition.

    The same as `tuner study create`. A study of that name with another definition is refused.
    While no trial of the study has finished, corrected files of your own (a network, data, a
    metric) are taken into it.

    Args:
        name: the study's name; None makes one of the space and the data.
        network: a network such as "cnn", "file.py:function", or a function: one that builds a
            network, or `train(params, trial)`, which trains by itself. None takes the space's.
        space: what to search: a shipped space such as "cnn", the path of a YAML file, or a `Space`.
            None takes mlp, or that of `network`.
        data: a source such as "digits", "photos/" or "my_file.py:load"; or arrays `(x, y)`,
            `((x_train, y_train), (x_test, y_test))`, a dict with the keys of an .npz, a DataFrame,
            or a function that returns such data. None takes the data that the space names, else
            fashion_mnist; a function that trains by itself is given none then. Data from memory
            are kept in `.tuner/data` beside the database.
        target: the name of a table's target column, or a list of several; or the targets of a
            DataFrame `data`.
        metric: the objective, such as "val_auc", "file.py:function", or a function
            `(y_true, y_pred)`. Where a function trains by itself: a name that it reports.
        direction: "maximize" or "minimize"; needed for a metric of your own. Several for an
            Optuna objective that returns several values.
        record: further metrics to keep of each epoch, as `metric` takes them.
        weights: the column, or the array, with a weight for each training row.
        kind: what a row of an array is: "sequence" or "tokens"; None decides by the data.
        text: what texts of a table become: "words", "tf_idf" or "tokens"; None: what the network
            learns from.
        vocabulary: how many of the most common words are known.
        steps: the length of texts in words, or of sequences of different lengths.
        window: forecast from a table: a row of the data is so many rows of it.
        horizon: how many steps behind the window are forecast; None is 1.
        time: the column by which the windows' table is sorted and split.
        series: the column that tells several series of that table apart.
        task: what the targets are; None decides by the data.
        columns: kinds of a table's columns, such as `{"zip": "category"}`.
        image_size: of image files, to what they are resized in pixels: 64, or (height, width); None
            keeps their own size, which must be the same of all.
        grayscale: whether image files become grey, of one channel.
        broken: what becomes of image files that cannot be read: "refuse" the data, or "skip" them.
        images: the column of a table with the paths of image files.
        inputs: columns of a table by the input that they make up, such as
            `{"basket": ["a", "b"], "user": ["age"]}`; None: one input of all columns.
        targets: what is said of each of several targets, such as
            `{"price": {"weight": 0.5}, "kind": {}}`; each is a head then.
        scaling: how numbers are scaled.
        validation: the share of the training rows for the validation split.
        test: the share of all rows for the test split, if the data bring none.
        sampler: how to choose parameters: curves, tpe, random, grid, listed, qmc, cmaes, gp,
            nsgaii, or pbt, which changes numbers while trials train. None takes curves; tpe for a
            function that trains by itself.
        sampler_options: options of the sampler by name.
        pruner: how to save epochs on hopeless trials: promotion pauses them, and goes on with the
            best ones; hyperband, asha, median, percentile, threshold and patient end them; or none.
            None takes promotion; hyperband for a `train` function, median for an objective.
        pruner_options: options of the pruner by name.
        epochs: the number of epochs a trial trains at most.
        patience: a trial stops after this many epochs without a better score.
        params: parameters with one value for all trials, such as `{"batch_size": 64}`.
        seed: the seed of the search, the splits and all trials.
        experiment: the MLflow experiment to share with other studies.
        prior: whether many of the first proposals are drawn near the defaults and the space's
            baselines.
        portfolio: whether configurations that were good on other data are tried behind the
            baselines.
        learn_from: earlier studies, on other data perhaps, or their names: their best
            configurations are tried first, and the first proposals are drawn near them.
        trials: the study's total number of trials, which daemons (`tuner worker`) train; None
            leaves it to `Study.optimize`.
        priority: daemons take studies with a higher number first; None is 0.
        target_score: daemons stop the study when a trial's score is this good. This and the three
            that follow hold for daemons; `Study.optimize` has its own, there named `target`.
        patience_trials: they stop it when this many trials in a row bring no better score.
        trial_timeout: they end a trial after this time: seconds, or a text such as "30m".
        until_sure: they stop it when 20 further trials are expected to improve the best score by
            less than this; "5%" is a part of the way from the median trial to the best; "auto" is
            5 %.
        storage: the database's URL, or the path of a SQLite file; None takes TUNER_STORAGE, else
            tuner.db in the current folder.
        tracking_uri: MLflow's store or server; None takes MLFLOW_TRACKING_URI, else a local store.

    Returns:
        The study.

    Raises:
        SpaceError: a mistake in the space.
        DatasetError: data that cannot be read or used.
        SpecError: options that are invalid or do not fit together.
        NetworkError: a network of your own that cannot be built or trained.
        MetricError: a metric of your own that fails, or returns no number.
        StudyError: the name is taken by a study with another definition.

    >>> import tuner
    >>> tuner.create_study(
    ...     "trees", space="tabular", data="iris", epochs=5, params={"batch_size": 32}
    ... )
    Study('trees', metric='val_accuracy', direction='maximize')
    """
    check_texts(name=name, experiment=experiment)
    check_switches(prior=prior, portfolio=portfolio)
    plan = StudyPlan(
        trials=plain(trials),
        priority=plain(priority),
        target=plain(target_score),
        patience_trials=plain(patience_trials),
        trial_timeout=plain(trial_timeout),
        until_sure=plain(until_sure),
    )
    # `target` is the column of a table here.
    plan.check(spell=lambda name: "target_score" if name == "target" else name)
    place = Place.find(storage, tracking_uri)
    settings = place.settings
    wanted = wanted_study(
        name,
        network=None if network is None else code_reference(network, settings),
        function_kind=kind_of(network) if callable(network) else None,
        space=_space(space, settings),
        data=_source(data, target, settings),
        columns=by_name("columns", columns),
        inputs=by_name("inputs", inputs),
        targets=by_name("targets", targets),
        weights=weights,
        kind=kind,
        text=text,
        vocabulary=vocabulary,
        steps=steps,
        window=window,
        horizon=horizon,
        time=time,
        series=series,
        task=task,
        image_size=plain(image_size),
        grayscale=grayscale,
        broken=broken,
        images=images,
        scaling=scaling,
        validation=plain(validation),
        test=plain(test),
        sampler=sampler,
        sampler_options=by_name("sampler_options", sampler_options),
        pruner=pruner,
        pruner_options=by_name("pruner_options", pruner_options),
        params=by_name("params", params),
        epochs=plain(epochs),
        patience=plain(patience),
        metric=None if metric is None else _metric("metric", metric, settings),
        record=[_metric("record", each, settings) for each in _several(record)],
        direction=direction,
        seed=_seed(seed),
        experiment=experiment,
        prior=prior,
        portfolio=portfolio,
        learn_from=_study_names(learn_from),
    )
    with ExitStack() as stack:
        open_once = functools.cache(lambda: stack.enter_context(place.creating()))
        created = create_wanted(wanted, settings, open_once, logger.info)
        plan_study(open_once(), created.study, plan, may_lower=False)
    _log_creation(created)
    return Study(place, created.study)


def _space(space: Any, settings: Settings) -> Any:
    if isinstance(space, Space):
        return space_file(space, settings)
    return None if space is None else path_text("space", space, "a tuner.Space")


def _source(data: Any, target: Any, settings: Settings) -> str | None:
    if data is None:
        if target is not None:
            raise UsageError("target needs data")
        return None
    return data_source(data, target, settings)


def _log_creation(created: Created) -> None:
    """Log what the command prints."""
    if created.left_out:
        names = ", ".join(created.left_out)
        logger.info("left out, because it does not apply to these data: %s", names)
    for line in (created.columns, created.given, *created.prior):
        if line:
            logger.info("%s", line)
    for note in created.notes:
        logger.warning("%s", note)


def load_study(
    name: str | None = None,
    *,
    storage: str | _PathLike | None = None,
    tracking_uri: str | None = None,
) -> Study:
    """The study of that name.

    Args:
        name: the study's name; None takes the newest search of this user.
        storage: see `create_study`.
        tracking_uri: see `create_study`.

    Raises:
        StudyError: there is no such study.

    >>> import tuner
    >>> tuner.load_study("example")
    Study('example', metric='val_accuracy', direction='maximize')
    """
    check_texts(name=name)
    place = Place.find(storage, tracking_uri)
    with place.reading() as store:
        return Study(place, load_row(store, name))


def list_studies(
    *, storage: str | _PathLike | None = None, tracking_uri: str | None = None
) -> list[Study]:
    """All studies of the database, newest first. Damaged ones are left out, with a warning in the
    log; `tuner study list` shows them.

    Args:
        storage: see `create_study`.
        tracking_uri: see `create_study`.

    >>> import tuner
    >>> [study.name for study in tuner.list_studies()]
    ['trees', 'example']
    """
    place = Place.find(storage, tracking_uri)
    with place.reading_if_any() as store:
        rows = [] if store is None else load_studies(store, logger.warning)
    return [Study(place, row) for row in rows]


def _several(record: Any) -> Iterable[Any]:
    """The metrics to record; a text is one."""
    if isinstance(record, str) or callable(record):
        return [record]
    if not isinstance(record, list | tuple | set):
        raise UsageError(f"record must be a list of metrics, got {shown(record)}")
    return record


def _study_names(studies: Any) -> list[str]:
    """The names of the studies; a single one may stand alone."""
    several = [studies] if isinstance(studies, str | Study) else studies
    if not isinstance(several, list | tuple | set):
        raise UsageError(f"learn_from must be a list of studies, got {shown(studies)}")
    names = [study.name if isinstance(study, Study) else study for study in several]
    for name in names:
        if not isinstance(name, str):
            raise UsageError(f"learn_from must hold studies or their names, got {shown(name)}")
    return names


def _metric(what: str, metric: Any, settings: Settings) -> str:
    if not isinstance(metric, str) and not callable(metric):
        raise UsageError(
            f"{what} must be a name such as 'val_auc', or a function, got {shown(metric)}"
        )
    return code_reference(metric, settings)


def _seed(seed: Any) -> int:
    try:
        return operator.index(seed)
    except TypeError as error:
        raise UsageError(f"seed must be a whole number, got {shown(seed)}") from error
