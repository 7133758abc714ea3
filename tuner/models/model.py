"""A saved network that takes data as they are."""

import html
import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.errors import ArtifactError, DatasetError, UsageError, first_line
from tuner.models.own_layers import own_layers
from tuner.preparation.keras_file import read_description, write_description
from tuner.preparation.kinds import Task
from tuner.preparation.network_description import NetworkDescription
from tuner.preparation.predictions import count_rows, network_outputs, predict_columns
from tuner.preparation.preparation import Findings, Prepared
from tuner.preparation.raw_rows import as_frame, is_frame
from tuner.settings import Settings, load_settings, quiet_tensorflow
from tuner.system.names import command
from tuner.system.redirecting import stderr_muted
from tuner.system.temporary_folders import written_whole
from tuner.values import join_names

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from tuner.models.evaluations import Evaluation

_SHOWN_LABELS = 5

logger = logging.getLogger("tuner")


class Model:
    """A network with its preparation: it takes data as they are.

    Made by `tuner.load_model`, `Study.best_model` and `Trial.model`. May be used in threads.

    Attributes:
        description: what the file says of it, such as its data, its study and its trial.
        keras_model: the network itself; it takes prepared rows, not scaled.
        findings: what the rows of the last call have shown: gaps, unseen categories.

    >>> import tuner
    >>> model = tuner.load_study("example").best_model()
    >>> model.task, model.metric, model.labels[:3], model.input_shape
    ('classes', 'val_accuracy', ('0', '1', '2'), (8, 8))
    """

    def __init__(self, description: NetworkDescription, keras_model: "keras.Model") -> None:
        self.description = description
        self.keras_model = keras_model
        self.findings = Findings()
        # Keras builds its function in the first call.
        self._turn = threading.Lock()

    @property
    def task(self) -> Task:
        """classes, binary, regression, multilabel or, of several heads, several."""
        return self.description.task

    @property
    def labels(self) -> tuple[str, ...]:
        """The name of each class, in the order of the network's outputs; none for regression."""
        return self.description.labels

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The names of the columns that it takes, in any order; None where data have no names."""
        return self.description.preparation.names or None

    @property
    def input_shape(self) -> Any:
        """The shape of one row as `keras_model` takes it; of several inputs a dict."""
        return self.description.preparation.input_shape

    @property
    def metric(self) -> str:
        """The objective of its study, such as val_accuracy."""
        return self.description.metric

    def outputs(self, rows: Any, source: str = "data") -> Any:
        """What the network gives for raw rows.

        Args:
            rows: as for `predict`.
            source: what messages call the rows.

        Returns:
            Of classes (n, classes) probabilities; of two classes (n, 1), the probability of the
            second label; of regression (n, 1), values in the target's units; of several labels or
            values (n, k). A network with several heads gives a dict of these.

        Raises:
            DatasetError: rows that are not what the network was trained on.
        """
        return self.outputs_of_prepared(self._prepare(rows, source).inputs)

    def _prepare(self, rows: Any, source: str = "data", strict: bool = False) -> Prepared:
        prepared = self.description.preparation.prepare(rows, source, strict)
        self.findings = prepared.findings
        return prepared

    def outputs_of_prepared(self, inputs: Any) -> Any:
        """What the network gives for rows (n, *input_shape) that are prepared already; dicts of
        several inputs and heads."""
        with self._turn:
            return network_outputs(self.keras_model, inputs)

    def predict(self, rows: Any, *, strict: bool = False) -> "pd.DataFrame":
        """Predictions for raw rows. What the rows have shown, such as gaps and unseen categories,
        is logged as warnings of the logger `tuner`.

        Args:
            rows: of a table a DataFrame, a dict of columns, or a list of dicts, with the columns
                of the training data in any order, with or without the target. Else an array
                (n, *input_shape), or one row of that shape, such as an image. Of several inputs
                that are no table a dict of arrays.
            strict: refuse categories that no training row had.

        Returns:
            A DataFrame with a row each, and the index of `rows`. Of classes the column
            `prediction`, the most probable label, and `probability_LABEL` for each label; of
            regression `prediction`, in the target's units, of several values
            `prediction_NAME`. Of several labels a row `prediction` joins them by "|". Of several
            heads each column begins with the head's name: `price_prediction`.

        Raises:
            DatasetError: rows that are not what the network was trained on.

        >>> import tuner
        >>> from sklearn.datasets import load_digits
        >>> model = tuner.load_study("example").best_model()
        >>> model.predict(load_digits().images[:2])["prediction"].tolist()
        ['0', '1']
        """
        import pandas as pd

        prepared = self._prepare(rows, strict=strict)
        outputs = self.outputs_of_prepared(prepared.inputs)
        _warn(prepared.findings)
        columns = predict_columns(outputs, self.description.targets)
        return pd.DataFrame(columns, index=prepared.index_of(rows))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a .keras file with its preparation, as `tuner study best --save` does.

        Args:
            path: the file, which is replaced if it exists; its name ends in .keras.

        Raises:
            UsageError: another ending, a folder that does not exist, or a network that was loaded
                from an export: those can only be used.
        """
        file = Path(path)
        if file.suffix != ".keras":
            raise UsageError(f"{file}: the file's name must end in .keras")
        if not hasattr(self.keras_model, "save"):
            raise UsageError(f"{file}: an export cannot become a .keras file; save the network")
        try:
            with written_whole(file) as partial:
                self.keras_model.save(partial)
                write_description(partial, self.description)
        except OSError as error:
            raise UsageError(f"{file}: cannot be written: {error.strerror or error}") from error

    def evaluate(self, rows: Any, target: Any = None) -> "Evaluation":
        """How good it is on rows whose targets are known. The targets are not given to it. What
        the rows have shown is logged, as by `predict`.

        Args:
            rows: as for `predict`.
            target: the label or value of each row, (n,); or the name of the column of `rows` that
                holds them, by default that of the training data. Of several values or labels
                (n, k), of several heads a dict by name; by default columns of `rows`.

        Returns:
            All metrics with 95 % intervals, as `metrics["auc"].value`, `low` and `high`; of labels
            also `per_class`, `confusion` and `calibration`, of numbers `residuals`. `notes` say
            if it was trained on such rows. `to_json()` has all of it.

        Raises:
            DatasetError: rows that are not what the network was trained on, no target, or a label
                that the network does not know.

        >>> import tuner
        >>> from sklearn.datasets import load_digits
        >>> model = tuner.load_study("example").best_model()
        >>> images, labels = load_digits(return_X_y=True)
        >>> accuracy = model.evaluate(images.reshape(-1, 8, 8), labels).metrics["accuracy"]
        >>> accuracy.low < accuracy.value < accuracy.high
        True
        """
        from tuner.data.later_target import encode_later_target, encode_later_targets
        from tuner.data.row_blocks import RowRequest
        from tuner.models.evaluating import notes_on_rows
        from tuner.models.evaluations import evaluate_outputs

        network = self.description
        if network.preparation.window is not None:
            raise DatasetError(
                "data: a forecast needs the rows behind it; compare with a file: "
                f"{command('evaluate', 'MODEL', 'FILE')}"
            )
        rows, targets = _rows_and_targets(rows, target, network)
        request = RowRequest(
            network.preparation, self.task, self.labels, load_settings(), network.targets
        )
        encode = encode_later_targets if request.target_columns else encode_later_target
        y = encode(targets, request, "data")
        prepared = self._prepare(rows)
        count = count_rows(prepared.inputs)
        if count_rows(y) != count:
            raise DatasetError(f"data: has {count} rows and {count_rows(y)} targets")
        outputs = self.outputs_of_prepared(prepared.inputs)
        evaluation = evaluate_outputs(outputs, y, self.task, self.labels, heads=network.heads)
        _warn(prepared.findings)
        seen = None if network.seen is None else network.seen.compare(prepared.inputs)
        return replace(evaluation, notes=(*evaluation.notes, *notes_on_rows(network, seen)))

    def __repr__(self) -> str:
        words = [f"{name}={value!r}" for name, value in self._facts().items()]
        return f"Model({', '.join(words)})"

    def _repr_html_(self) -> str:
        rows = [
            f"<tr><td>{name}</td><td>{html.escape(str(value))}</td></tr>"
            for name, value in self._facts().items()
        ]
        return f"<table>{''.join(rows)}</table>"

    def _facts(self) -> dict[str, Any]:
        """What is shown of it."""
        origin = {"study": self.description.study, "trial": self.description.trial}
        facts: dict[str, Any] = origin if self.description.study else {}
        facts |= {"data": self.description.data, "metric": self.metric, "task": self.task}
        if self.labels:
            facts["labels"] = join_names(self.labels[:_SHOWN_LABELS]) + (
                ", …" if len(self.labels) > _SHOWN_LABELS else ""
            )
        takes = self.input_shape if self.columns is None else join_names(self.columns)
        return facts | {"takes": takes}


def _warn(findings: Findings) -> None:
    for line in findings.lines():
        logger.warning("%s", line)


def _rows_and_targets(
    rows: Any, target: Any, network: NetworkDescription
) -> tuple[Any, "pd.Series[Any]"]:
    """The rows without their targets, and these: as given, or columns of the rows."""
    import pandas as pd

    several = [name for head in network.targets for name in head.target_columns]
    if len(several) > 1:
        return _rows_and_several(rows, target, several)
    if target is not None and not isinstance(target, str):
        values = target if hasattr(target, "iloc") else np.ravel(target)
        return rows, pd.Series(values).reset_index(drop=True)
    name = network.preparation.target if target is None else target
    if name is None or not is_frame(rows):
        raise DatasetError("data: give the target of each row: evaluate(rows, target)")
    frame = as_frame(rows, "data")
    if name not in frame.columns:
        raise DatasetError(
            f"data: no column {name!r} with the target; name its column, or give the targets: "
            "evaluate(rows, target)"
        )
    targets = frame[name].reset_index(drop=True)
    is_taken = name in network.preparation.names
    return frame if is_taken else frame.drop(columns=name), targets


def _rows_and_several(rows: Any, targets: Any, names: list[str]) -> tuple[Any, Any]:
    """The same of several targets. `names`: of their columns."""
    if targets is not None and not isinstance(targets, str):
        return rows, targets
    frame = as_frame(rows, "data") if is_frame(rows) else None
    if frame is None or not set(names) <= set(frame.columns):
        raise DatasetError(
            f"data: give the targets of each row, {join_names(names)}: evaluate(rows, targets)"
        )
    return frame.drop(columns=names), frame[names].reset_index(drop=True)


def load_file(
    file: Path,
    source: str | None = None,
    *,
    settings: Settings | None = None,
    trust: Sequence[str] = (),
) -> Model:
    """The network of a .keras file that tuner saved. `source`: how messages name it. `settings`:
    where trusted code is remembered; the environment's without it. `trust`: SHA-256 of the user's
    own files that may run here.

    Raises ArtifactError, one line, for a file that is missing, changed, cut short, or from
    elsewhere; UntrustedCode for layers of the user's own whose code may not run here.
    """
    source = str(file) if source is None else source
    description = read_description(file, source)
    if description.problem:
        raise ArtifactError(f"{source}: must not be used: {description.problem}")
    with own_layers(description.code, settings or load_settings(), source, trust):
        return Model(description, _load_network(file, source))


def _load_network(file: Path, source: str) -> "keras.Model":
    quiet_tensorflow()
    with stderr_muted():  # TensorFlow's start-up notes
        import keras

        try:
            return keras.saving.load_model(file, compile=False)
        except Exception as error:
            raise ArtifactError(f"{source}: Keras cannot load it ({first_line(error)})") from error
