"""What a saved network says of itself: its preparation, what its outputs mean, where it is from."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from tuner.errors import ArtifactError
from tuner.preparation.kinds import Task
from tuner.preparation.predictions import Head, head_from_json
from tuner.preparation.preparation import Preparation
from tuner.preparation.row_sample import RowSample

# Raised when a reader of the old form would misread the new one.
FORM = 1


@dataclass(frozen=True)
class NetworkDescription:
    """A saved network's description.

    `task`: classes, binary, regression, multilabel, or several. `labels[i]` names class i; of two
    classes the second is the one whose probability the network gives; none for regression.
    `values`: the names of the values of a regression of several. `heads`: of several targets each.
    `metric`: the study's
    objective. `fingerprint`: of the data it was trained on, named `data`. `study`, `study_uuid`,
    `trial`: where it was found; "" and None for a network that no trial of a study gave.
    `trained_on`: the splits whose rows trained it, "train" or "train+validation". `version`:
    of the tuner that saved it. `code`: path and text of the user's own modules whose layers it has.
    `seen`: of the rows of its training and validation splits; None for very many.
    `problem`: why the file must not be used; "" for one that was loaded after it was saved, and
    gave what the network had given.
    """

    preparation: Preparation
    task: Task
    labels: tuple[str, ...]
    metric: str
    fingerprint: str
    data: str
    version: str
    study: str = ""
    study_uuid: str = ""
    trial: int | None = None
    trained_on: str = "train"
    code: Mapping[str, str] = field(default_factory=dict)
    seen: RowSample | None = None
    problem: str = ""
    values: tuple[str, ...] = ()
    heads: tuple[Head, ...] = ()

    @property
    def targets(self) -> tuple[Head, ...]:
        """What it predicts: its heads, or the only one, which has no name."""
        number = self.preparation.target_format
        return self.heads or (Head("", self.task, self.labels, self.values, number),)

    def to_json(self) -> str:
        content = {"form": FORM} | asdict(self) | {"preparation": self.preparation.to_json()}
        return json.dumps(content, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, source: str) -> "NetworkDescription":
        """`source` begins every message. Raises ArtifactError for a text that is none, or one that
        a later version of tuner wrote."""
        try:
            content = json.loads(text)
            form = content.pop("form")
            if form > FORM:
                raise ArtifactError(
                    f"{source}: was saved by tuner {content.get('version', '?')}, which is newer "
                    "than this one; update tuner"
                )
            preparation = Preparation.from_json(content["preparation"])
            code = {str(path): str(text) for path, text in content.get("code", {}).items()}
            seen = content.get("seen")
            changes = {
                "preparation": preparation,
                "labels": tuple(content["labels"]),
                "code": code,
                "values": tuple(content.get("values", ())),
                "heads": tuple(map(head_from_json, content.get("heads", ()))),
                "seen": None if seen is None else RowSample.from_json(seen),
            }
            return cls(**{**content, **changes})
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise ArtifactError(
                f"{source}: its description of the network cannot be read ({error})"
            ) from error
