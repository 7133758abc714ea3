"""A study from Python: searching it, and its results."""

import os
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

from tuner.api.arguments import check_callbacks, check_switches, check_texts
from tuner.api.displays import Callback, CallbackWatcher, SearchDisplay, open_display
from tuner.api.models import LOAD_CALL
from tuner.api.notebook import study_html
from tuner.api.places import Place, code_by_call, logger, path_text, same_study
from tuner.api.spaces import by_name
from tuner.api.trials import TRUST_CALL, Trial
from tuner.errors import UsageError
from tuner.manage.carried_code import needed_by_study
from tuner.manage.deletion import remove_study
from tuner.manage.searching import (
    LogModels,
    SearchWanted,
    check_outcome,
    describe_delivery,
    search_study,
)
from tuner.manage.trust import agree_to_code, require_trusted
from tuner.runner import Outcome, stop_searches
from tuner.storage import Store
from tuner.storage.studies import StudyRow
from tuner.storage.study_control import set_state, stop_trial
from tuner.storage.trials import (
    TABLE_COLUMNS,
    TrialRow,
    all_metrics,
    enqueue,
    find_best,
    find_trial,
    list_trials,
    param_column,
    require_best,
    retry,
    table_row,
)
from tuner.study.engines import Engine
from tuner.study.messages import Direction
from tuner.study.study_state import StudyState
from tuner.values import shown

if TYPE_CHECKING:
    import optuna
    import pandas as pd

    from tuner.models.model import Model
    from tuner.models.registering import Promotion

_PathLike = os.PathLike[str]


class Study:
    """A study in a database: what is searched, and the trials so far.

    Made by `create_study`, `load_study` and `list_studies`. Nothing is kept in memory: each call
    reads the database, and sees what other processes have done meanwhile. Equal studies are the
    same study.
    """

    def __init__(self, place: Place, row: StudyRow) -> None:
        self._place, self._row = place, row

    @property
    def name(self) -> str:
        """Its name."""
        return self._row.name

    @property
    def metric(self) -> str:
        """The objective, such as val_accuracy."""
        return self._row.spec.metric

    @property
    def direction(self) -> Direction:
        """maximize or minimize."""
        return self._row.spec.direction

    # Searching

    def optimize(
        self,
        trials: int | None = None,
        *,
        more: int | None = None,
        workers: int | None = None,
        timeout: float | str | None = None,
        target: float | None = None,
        patience_trials: int | None = None,
        until_sure: float | str | None = None,
        tracking: bool = True,
        log_models: LogModels = "best",
        keep_models: int | Literal["all"] | None = None,
        engine: Engine = "auto",
        lanes: int = 1,
        trial_timeout: float | str | None = None,
        trial_memory: float | str | None = None,
        data: str | _PathLike | None = None,
        on: str | None = None,
        trial_cpus: float | None = None,
        trial_gpus: float | None = None,
        notify: str | Sequence[str] = (),
        callbacks: Sequence[Callback] = (),
        progress: bool | SearchDisplay | None = None,
    ) -> "Study":
        """Train trials until the study has as many as you ask for.

        The same as `tuner optimize`. Several calls may run on one study at once, in threads,
        processes and on other machines: together they train exactly that number of trials. Ctrl-C
        puts the running trials back and raises KeyboardInterrupt; the same call continues them.

        Args:
            trials: the study's total number of trials. Repeating the call adds none.
            more: the number of trials to add; give this or `trials`.
            workers: the number of worker processes; None takes one per GPU, else one per core.
            timeout: stop after this time: seconds, or a text such as "30m".
            target: stop when a trial's score is this good.
            patience_trials: stop when this many trials in a row bring no better score.
            until_sure: stop when 20 further trials are expected to improve the best score by less
                than this; "5%" is a part of the way from the median trial to the best; "auto" is
                5 %.
            tracking: whether to write to MLflow.
            log_models: which networks to send to MLflow: "best", those that are kept; "all", which
                keeps them all; or "none".
            keep_models: how many of the study's best trials keep their networks, or "all"; 3 if not
                given. The others can be trained again: see `Trial.model`.
            engine: "auto" shares compiled programs between trials; "keras" compiles one for each.
            lanes: how many trials each worker trains at once in one program; for small networks on
                a GPU.
            trial_timeout: end a trial that trains longer than this.
            trial_memory: end a trial whose worker holds more memory: bytes, or such as "2GiB".
            data: where the study's data lie now, if elsewhere than when it was created.
            on: where to train: "ray://HOST:10001" or "ray" for a Ray cluster, as `tuner optimize
                --on` takes it; None for this machine.
            trial_cpus: with `on`: the CPUs that each worker process takes of its machine; 1 if not
                given.
            trial_gpus: with `on`: the part of a GPU that each worker process takes, such as 0.25;
                0 if not given.
            notify: who is told of new bests, the end and failures, besides TUNER_NOTIFY: one or
                several addresses as `tuner optimize --notify` takes them.
            callbacks: functions that are called with this study and each `Trial` that ends. They
                run in the search's loop, so they should be quick. An error in one ends the search
                and is raised here.
            progress: False shows nothing. By default each trial that ends is a line on stderr; in a
                notebook, the cell shows the progress.

        Returns:
            The study itself.

        Raises:
            SearchFailed: three trials in a row have failed; with the traceback of the last.
            StudyError: the study was deleted, or is a comparison.
            DatasetError: the data are no longer those that the study was created with.
            CodeError: code of the study may not run on this machine: see `trust_code`.
            WorkerError: no worker can be started, or the cluster cannot be used.

        >>> import tuner
        >>> study = tuner.load_study("example").optimize(trials=2, workers=1)
        >>> len(study.trials)
        2
        """
        wanted = SearchWanted(
            trials=trials,
            more=more,
            workers=workers,
            timeout=timeout,
            target=target,
            patience_trials=patience_trials,
            until_sure=until_sure,
            tracking=tracking,
            log_models=log_models,
            keep_models=keep_models,
            engine=engine,
            lanes=lanes,
            trial_timeout=trial_timeout,
            trial_memory=trial_memory,
            data=None if data is None else path_text("data", data),
            on=on,
            trial_cpus=trial_cpus,
            trial_gpus=trial_gpus,
            notify=(notify,)
            if isinstance(notify, str) or not isinstance(notify, Sequence)
            else tuple(notify),
        )
        check_switches(tracking=tracking)
        wanted.options(spell=str)  # a mistake in them is raised before the database is opened
        check_callbacks(callbacks)
        display = open_display(progress, self.name, self.metric)
        with self._place.writing() as store:
            row = same_study(store, self._row)
            with display:
                outcome = self._search(store, row, wanted, display, callbacks)
            check_outcome(store, row, outcome)
        return self

    def _search(
        self,
        store: Store,
        row: StudyRow,
        wanted: SearchWanted,
        display: SearchDisplay,
        callbacks: Sequence[Callback],
    ) -> Outcome:
        def read(number: int) -> Trial:
            return self._trial(row, find_trial(store, row, number))

        with code_by_call(TRUST_CALL), needed_by_study(self.name):
            outcome, delivered = search_study(
                self._place.settings,
                store,
                row,
                wanted,
                CallbackWatcher(display, self, callbacks, read),
                display.stage,
                logger.warning,
                owns_process=False,
            )
        if (problem := describe_delivery(row, delivered)) is not None:
            logger.warning("%s", problem)
        return outcome

    def stop(self) -> None:
        """Stop the searches that run on this study now, here and on all machines, as Ctrl-C does.

        Their running trials are put back, and the next search continues them. The calls of
        `optimize` return. May be called from a callback, another thread or another process; a
        search elsewhere hears of it within half a second. Daemons (`tuner worker`) leave the study
        alone until `resume`; a call of `optimize` that begins later goes on with it.
        """
        with self._place.writing() as store:
            stop_searches(store, same_study(store, self._row))

    def pause(self) -> None:
        """Let no trial of this study run, on any machine, until `resume`.

        Each running trial writes a checkpoint at the end of its epoch and goes on from there
        later. Calls of `optimize` wait.
        """
        with self._place.writing() as store:
            set_state(store, same_study(store, self._row), StudyState.PAUSED)

    def resume(self) -> None:
        """Let the study go on after `pause` or `stop`."""
        with self._place.writing() as store:
            set_state(store, same_study(store, self._row), StudyState.RUNNING)

    def stop_trial(self, trial: Trial | int) -> None:
        """End one running trial, on any machine, at its next report.

        It keeps its best score so far and counts as one of the study's trials; the sampler learns
        from it as from a pruned one. A trial that was put back ends when it goes on.

        Args:
            trial: the trial, or its number.

        Raises:
            StudyError: the trial has ended, or has not begun.
        """
        with self._place.writing() as store:
            row = same_study(store, self._row)
            stop_trial(store, row, _number(row, trial))

    def enqueue_trial(self, params: Mapping[str, Any]) -> Trial:
        """Queue a trial of your own. The sampler chooses the parameters that are left out.

        It takes one of the study's trials before the sampler proposes others.

        Args:
            params: values by name, such as `{"width": 256}`.

        Returns:
            The trial, which waits.

        Raises:
            SpaceError: values that the study's space does not have.
        """
        values = by_name("params", params)
        with self._place.writing() as store:
            row = same_study(store, self._row)
            number, _ = enqueue(store, row, values or {})
            return self._trial(row, find_trial(store, row, number))

    def retry(self, trial: Trial | int) -> Trial:
        """Queue a trial's configuration once more, as a new trial with another seed.

        Args:
            trial: the trial, or its number.

        Returns:
            The new trial, which waits.

        Raises:
            StudyError: there is no such trial, or it has no parameters yet.
        """
        with self._place.writing() as store:
            row = same_study(store, self._row)
            number, _ = retry(store, row, _number(row, trial))
            return self._trial(row, find_trial(store, row, number))

    def trust_code(self, *hashes: str) -> None:
        """Let code of yours that the database holds run on this machine, from now on.

        Needed once where a study with a network, data or a metric of your own was created on
        another machine, and the files are not here. Read the code first: `tuner study code`.

        Args:
            *hashes: the SHA-256 of each file.

        Raises:
            CodeError: a hash of no file of the study.
        """
        with self._place.reading() as store:
            row = same_study(store, self._row)
            check_texts(**{f"hash {number}": each for number, each in enumerate(hashes, 1)})
            agree_to_code(row.spec, self._place.settings, hashes)

    # Results

    @property
    def best_trial(self) -> Trial:
        """The complete trial with the best score.

        Raises:
            StudyError: no trial has finished yet.
        """
        with self._place.reading() as store:
            row = same_study(store, self._row)
            return self._trial(row, require_best(row, find_best(store, row)))

    @property
    def best_value(self) -> float:
        """The best score."""
        value = self.best_trial.value
        assert value is not None  # it is complete
        return value

    @property
    def best_params(self) -> dict[str, Any]:
        """The parameters of the best trial."""
        return self.best_trial.params

    @property
    def trials(self) -> list[Trial]:
        """All trials, by number."""
        with self._place.reading() as store:
            row = same_study(store, self._row)
            rows = list_trials(store, row)
            metrics_of = all_metrics(store, row, rows)
        return [self._trial(row, each, metrics_of.get(each.trial_id, {})) for each in rows]

    def trial(self, number: int) -> Trial:
        """The trial of that number.

        Raises:
            StudyError: there is none.
        """
        with self._place.reading() as store:
            row = same_study(store, self._row)
            return self._trial(row, find_trial(store, row, _number(row, number)))

    def to_dataframe(self) -> "pd.DataFrame":
        """All trials as a table.

        Returns:
            A DataFrame with a row for each trial, indexed by its number: how it ended, its score,
            its epochs and seconds, the metrics of its best epoch, and the parameters that vary. A
            parameter with the name of another column has `_param` behind it.

        >>> import tuner
        >>> frame = tuner.load_study("example").to_dataframe()
        >>> frame[["end", "epochs"]]
                    end  epochs
        trial
        0      complete       2
        1      complete       2
        """
        import pandas as pd

        trials = self.trials
        varying = list(dict.fromkeys(name for trial in trials for name in trial.params))
        if not self._row.spec.function_kind.defines_space:
            varying = self._row.spec.space.varying()
        names = list(dict.fromkeys(name for trial in trials for name in trial.metrics))
        rows = []
        for trial in trials:
            row = table_row(trial._row, only=varying)
            params = {param_column(name, names): row["params"].get(name) for name in varying}
            facts = {name: row[name] for name in TABLE_COLUMNS}
            rows.append(facts | {name: trial.metrics.get(name) for name in names} | params)
        columns = [*TABLE_COLUMNS, *names, *(param_column(name, names) for name in varying)]
        return pd.DataFrame(rows, columns=columns).set_index("trial")

    def curves(self, trial: Trial | int) -> "pd.DataFrame":
        """The metrics of each epoch of a trial: see `Trial.curves`.

        Args:
            trial: the trial, or its number.
        """
        return self.trial(_number(self._row, trial)).curves()

    def best_model(self, data: str | _PathLike | None = None) -> "Model":
        """The best trial's network: see `Trial.model`.

        >>> import tuner
        >>> model = tuner.load_study("example").best_model()
        >>> model.keras_model.output_shape
        (None, 10)
        """
        return self.best_trial.model(data)

    def promote(
        self,
        trial: Trial | int | None = None,
        *,
        name: str | None = None,
        replace: bool = False,
        data: str | _PathLike | None = None,
    ) -> "Promotion":
        """Train a trial's final network and make it the champion of a registered model in MLflow.

        The same as `tuner promote`. The trial's configuration is trained on the training and
        validation splits, for its best number of epochs, and evaluated once on the test split.
        `tuner.load_model(promotion.uri)` loads it, also on another machine.

        Args:
            trial: the trial, or its number; None takes the best one.
            name: of the registered model; None takes the study's.
            replace: whether to replace a champion that the network does not beat on the same test
                rows, or that has other data.
            data: where the study's data lie now, if elsewhere than when it was created.

        Returns:
            The `tuner.Promotion`: the version, its figures on the test rows, its model card.

        Raises:
            NotPromoted: the champion stays.
            StudyError: the trial cannot be promoted: it has not finished, or cannot be trained
                without a validation split.
            CodeError: the study or the champion needs code of yours that nobody on this machine
                has agreed to; the message says how to allow it.
            TrackingError: MLflow failed. The trained network is kept: the same call goes on.
        """
        from tuner.models.promoting import PromotionOptions
        from tuner.models.promoting import promote as promote_trial

        check_switches(replace=replace)
        if name is not None:
            check_texts(name=name)
        source = None if data is None else path_text("data", data)
        with self._place.writing() as store:
            row = same_study(store, self._row)
            number = None if trial is None else _number(row, trial)
            options = PromotionOptions(number, name, replace, source)
            with code_by_call(TRUST_CALL), needed_by_study(self.name):
                require_trusted(row.spec, self._place.settings)
            with code_by_call(LOAD_CALL):  # the champion's
                return promote_trial(self._place.settings, store, row, options, logger.info)

    @property
    def optuna_study(self) -> "optuna.Study":
        """The study as an `optuna.Study` that can only be read.

        Optuna's plots, importances and `get_trials` work on it, and show the study as it is then.
        Its trials have the running bests as intermediate values; `curves` has the raw ones.
        Whatever would write raises StudyError: trials are trained by `optimize`.

        >>> import optuna, tuner
        >>> study = tuner.load_study("example").optuna_study
        >>> [trial.state.name for trial in study.get_trials()]
        ['COMPLETE', 'COMPLETE']
        """
        from tuner.storage.optuna_view import open_optuna_view

        with self._place.reading() as store:
            row = same_study(store, self._row)
        return open_optuna_view(self._place.settings.storage, row)

    def delete(
        self,
        *,
        keep_runs: bool = False,
        keep_networks: bool = False,
        keep_data: bool = False,
        force: bool = False,
    ) -> None:
        """Delete the study: its trials, its saved networks, its MLflow runs.

        Args:
            keep_runs: keep the MLflow runs.
            keep_networks: keep the files of saved networks.
            keep_data: keep data from memory and code of notebooks. Otherwise they go with the last
                study that uses them.
            force: stop searches that run on the study, on any machine, which takes seconds.

        Raises:
            StudyError: a search runs, and `force` is not given.
        """
        check_switches(
            keep_runs=keep_runs, keep_networks=keep_networks, keep_data=keep_data, force=force
        )
        with self._place.writing() as store:
            remove_study(
                self._place.settings,
                store,
                same_study(store, self._row),
                keep_runs=keep_runs,
                keep_networks=keep_networks,
                keep_data=keep_data,
                force=force,
                say=logger.info,
            )

    def _trial(
        self, study: StudyRow, row: TrialRow, metrics: Mapping[str, float] | None = None
    ) -> Trial:
        return Trial(self._place, study, row, metrics)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Study) and self._row.uuid == other._row.uuid

    def __hash__(self) -> int:
        return hash(self._row.uuid)

    def __repr__(self) -> str:
        return f"Study({self.name!r}, metric={self.metric!r}, direction={self.direction!r})"

    def _repr_html_(self) -> str:
        return study_html(self)


def _number(study: StudyRow, trial: Trial | int) -> int:
    """The number of a trial of the study. Raises UsageError."""
    if isinstance(trial, Trial):
        if trial._study.uuid != study.uuid:
            raise UsageError(
                f"trial {trial.number} is one of study {trial._study.name!r}, not of {study.name!r}"
            )
        return trial.number
    if not isinstance(trial, Integral) or isinstance(trial, bool):
        raise UsageError(f"a trial is a Trial or its number, got {shown(trial)}")
    return int(trial)
