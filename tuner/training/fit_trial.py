"""One trial of a compiled model: Keras' `fit` is called once, and a callback tells its reports.

`FitPlan` says how the model is made and what `fit` is given; `FitTrial` trains it. A session's
`run_fit` does both, for a user's `build` and for KerasTuner's functions and HyperModels alike.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from tuner.errors import NetworkError
from tuner.search_space.parameter_types import read_whole
from tuner.study.ends import TrialEnd
from tuner.study.engines import FIT
from tuner.study.messages import Ended, Report, Resumed, Tell, TrialRequest
from tuner.training.checkpoints import Checkpoint, CheckpointFiles, Progress
from tuner.training.engines.fit import FitProgram
from tuner.training.fit_metrics import FitMetrics
from tuner.training.trial import Trainer
from tuner.training.trial_progress import end_after_epoch, record_epoch

FitFunction = Callable[..., Any]


@dataclass(frozen=True)
class FitPlan:
    """How one trial is trained by Keras' `fit`.

    `make_model`: a compiled model with fresh weights; called once, after the random seeds were set.
    `identity`: a text that differs where the code differs: checkpoints fit only the same.
    `callbacks`: the user's own, made anew for the trial. `arguments`: further ones of `fit`
    (fit_arguments.py).
    `fit`: replaces `model.fit` where a HyperModel has its own: it is called as
    `fit(model, x=…, y=…, validation_data=(x, y), epochs=…, batch_size=…, callbacks=[…], verbose=0)`
    with NumPy arrays, scaled; `validation_data` is left out where the test split is held out. It
    returns a History, a dict of metrics, a number or None. Such a trial begins anew in each attempt.
    """

    make_model: Callable[[], Any]
    identity: str
    callbacks: Callable[[], list[Any]] = list
    arguments: Mapping[str, Any] = field(default_factory=dict)
    fit: FitFunction | None = None
