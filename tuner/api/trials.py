"""A trial of a study, for Python."""

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tuner.api.notebook import trial_html
from tuner.api.places import Place, code_by_call, logger, path_text, same_study
from tuner.manage.carried_code import needed_by_study
from tuner.storage.studies import StudyRow
from tuner.storage.trials import TrialRow, all_metrics, find_trial, trial_curve
from tuner.study.ends import outcome

if TYPE_CHECKING:
    import pandas as pd

    from tuner.models.model import Model


TRUST_CALL = "study.trust_code({})"


class Trial:
    """One trial of a study, as it was when it was read. Equal trials are the same trial.

    `Study.trial` reads it again.

    >>> import tuner
    >>> study = tuner.load_study("example")
    >>> trial = study.trial(0)
    >>> trial.number, trial.state, trial.end
    (0, 'complete', 'complete')
    >>> sorted(trial.metrics)
    ['accuracy', 'loss', 'val_accuracy', 'val_loss']
    >>> trial.value == trial.metrics["val_accuracy"]
    True
    """

    def __init__(
        self,
        place: Place,
        study: StudyRow,
        row: TrialRow,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        self._place, self._study, self._row = place, study, row
        self._metrics = metrics

    @property
    def number(self) -> int:
        """Its number in the study, from 0 on."""
        return self._row.number

    @property
    def value(self) -> float | None:
        """Its score: the objective's value in its best epoch. Of a pruned trial the best value so
        far, None without any."""
        return self._row.value

    @property
    def params(self) -> dict[str, Any]:
        """All its parameters by name, constants and defaults among them. A parameter that each
        layer has is a list."""
        return dict(self._row.params)

    @property
    def state(self) -> str:
        """waiting, running, complete, pruned or fail; damaged if its rows cannot be read."""
        return "damaged" if self._row.damage else self._row.state.lower()

    @property
    def end(self) -> str | None:
        """How its last attempt ended, such as early_stopped or diverged; None while it runs."""
        return self._row.end

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of its best epoch by name, such as val_loss; empty before its end."""
        if self._metrics is None:
            with self._place.reading() as store:
                study = same_study(store, self._study)
                metrics_of = all_metrics(store, study, [self._row])
            self._metrics = metrics_of.get(self._row.trial_id, {})
        return dict(self._metrics)

    @property
    def epochs(self) -> int | None:
        """How many epochs it has trained."""
        return self._row.last.epochs if self._row.last else None

    @property
    def best_epoch(self) -> int | None:
        """The epoch with the best value of the objective, from 1 on."""
        return self._row.last.best_epoch if self._row.last else None

    @property
    def seconds(self) -> float | None:
        """How long its last attempt took."""
        return self._row.seconds

    @property
    def engine(self) -> str | None:
        """How it was trained: keras, graph, tiered or lanes."""
        return self._row.last.engine if self._row.last else None

    @property
    def error(self) -> str | None:
        """Why it failed or was given up, with the traceback if the user's own code raised."""
        return self._row.last.detail if self._row.last else None

    def curves(self) -> "pd.DataFrame":
        """The metrics of each whole epoch of its last attempt.

        Returns:
            A DataFrame with a row for each epoch and a column for each metric: `loss` and
            `accuracy` of the training, `val_…` of the validation split.

        >>> import tuner
        >>> curves = tuner.load_study("example").best_trial.curves()
        >>> list(curves.index), curves.index.name
        ([1, 2], 'epoch')
        >>> list(curves.columns)
        ['loss', 'accuracy', 'val_loss', 'val_accuracy']
        """
        import pandas as pd

        with self._place.reading() as store:
            study = same_study(store, self._study)
            reports = trial_curve(store, study, find_trial(store, study, self.number))
        whole = {report.epoch: report.metrics for report in reports if report.whole}
        names = dict.fromkeys(name for metrics in whole.values() for name in metrics)
        rows = [[metrics.get(name) for name in names] for metrics in whole.values()]
        epochs = pd.Index(list(whole), name="epoch", dtype="int64")
        return pd.DataFrame(rows, index=epochs, columns=list(names), dtype="float64")

    def model(self, data: str | os.PathLike[str] | None = None) -> "Model":
        """Its network: the file that the search has saved, else MLflow's copy, else the trial
        trained again. The log of `tuner` says which of the three it is.

        Args:
            data: where the study's data lie now, if they were moved since.

        Returns:
            A `tuner.Model` with the weights of the best epoch: it takes data as they are.

        Raises:
            StudyError: it cannot be trained again.
            CodeError: it needs code of yours that nobody on this machine has agreed to: its own
                layers, or to train it again. See `Study.trust_code`.
        """
        from tuner.models.trial_networks import load_network

        source = None if data is None else path_text("data", data)
        with self._place.reading() as store:
            study = same_study(store, self._study)
            trial = find_trial(store, study, self.number)
            with code_by_call(TRUST_CALL), needed_by_study(study.name):
                model, written = load_network(self._place.settings, store, study, trial, source)
        logger.log(
            logging.INFO,
            "network of trial %d of study %s: %s",
            self.number,
            study.name,
            written.source,
        )
        for remark in written.remarks:
            logger.warning("%s", remark)
        return model

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Trial) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[str, int]:
        return self._study.uuid, self._row.trial_id

    def __repr__(self) -> str:
        words = [str(self.number), f"state={outcome(self.state, self.end)!r}"]
        if self.value is not None:
            words.append(f"value={self.value:.6g}")
        params = {name: self.params[name] for name in self._varying if name in self.params}
        return f"Trial({', '.join(words)}, params={params})"

    def _repr_html_(self) -> str:
        return trial_html(self, self._varying)

    @property
    def _varying(self) -> list[str]:
        spec = self._study.spec
        return list(self.params) if spec.function_kind.defines_space else spec.space.varying()
