"""Saved networks, for Python."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuner.api.arguments import check_texts
from tuner.api.places import Place, code_by_call, logger, path_text
from tuner.system.names import remember_options

if TYPE_CHECKING:
    from tuner.models.model import Model


LOAD_CALL = "tuner.load_model({source!r}, trust_code=[{}])"


def load_model(
    model: str | os.PathLike[str],
    *,
    storage: str | os.PathLike[str] | None = None,
    tracking_uri: str | None = None,
    trust_code: str | Sequence[str] = (),
) -> "Model":
    """A saved network with its preparation: it takes data as they are.

    The log of `tuner` says what was not as expected, such as a trial that was trained again. A
    file, an export and a model of MLflow need no database of studies.

    Args:
        model: one of

            - the path of a `.keras` file that tuner saved, or of an export (`tuner export`);
            - `"models:/NAME@ALIAS"` or `"models:/NAME/VERSION"`, of MLflow's registry;
            - `"runs:/ID"`, or the id of an MLflow run or of a logged model;
            - the name of a study, for its best trial, or `"STUDY/N"` for its trial N.
        storage: the database of the studies, as for `load_study`.
        tracking_uri: MLflow's store or server, as for `create_study`.
        trust_code: SHA-256 of your own files that may run on this machine from now on. Needed once
            where the network has layers of your own code, and their file is not on this machine.

    Returns:
        A `tuner.Model`.

    Raises:
        ArtifactError: the file was changed or cut short, or tuner did not save it.
        StudyError: there is no file, and no study, of that name.
        TrackingError: MLflow does not answer, or does not know the model.
        CodeError: code that nobody on this machine has agreed to; the message has its hash.

    >>> import tuner
    >>> tuner.load_model("example/0").labels
    ('0', '1', '2', '3', '4', '5', '6', '7', '8', '9')
    """
    from tuner.models.model_opening import open_model

    text = path_text("model", model)
    trust = [trust_code] if isinstance(trust_code, str) else trust_code
    check_texts(**{f"trust_code {number}": each for number, each in enumerate(trust, 1)})
    place = Place.find(storage, tracking_uri)
    remember_options(place.storage, place.tracking_uri)
    with code_by_call(LOAD_CALL, text):
        opened = open_model(text, place.settings, trust)
    for remark in opened.remarks:
        logger.warning("%s", remark)
    return opened.model
