"""Networks of finished trials."""

import contextlib
import shutil
from pathlib import Path

from tuner.errors import ArtifactError, StudyError
from tuner.settings import Settings
from tuner.silence import stderr_muted
from tuner.storage.studies import StudyRow
from tuner.storage.trials import TrialRow


def save_network(settings: Settings, study: StudyRow, trial: TrialRow, target: Path) -> bool:
    """Write a trial's best network to `target`, a .keras file whose model takes unscaled inputs.

    The file its worker saved is copied where this machine has it. Elsewhere the trial is trained
    again: same params, seed and data give the same weights. Whether that was needed.
    """
    if target.suffix != ".keras":
        raise StudyError(f"{target}: the file's name must end in .keras")
    if not target.parent.is_dir():
        raise StudyError(f"{target}: the folder {target.parent} does not exist")
    saved = trial.last.model if trial.last else None
    if saved is not None:
        with contextlib.suppress(ArtifactError):
            shutil.copyfile(saved.verified(settings.checkpoints), target)
            return False
    _train_again(settings, study, trial, target)
    return True


def _train_again(settings: Settings, study: StudyRow, trial: TrialRow, target: Path) -> None:
    from tempfile import TemporaryDirectory

    from tuner.data import save_dataset
    from tuner.optimize import trained_on, user_network
    from tuner.optimize.trials import trial_seed
    from tuner.training.events import Goal, Plan, WorkerSetup

    spec = study.spec
    with TemporaryDirectory() as folder:
        save_dataset(trained_on(settings, spec), Path(folder))
        with stderr_muted():
            from tuner.training.entry import open_session

            session = open_session(
                WorkerSetup(Path(folder), float("inf"), user_network(settings, spec))
            )
        plan = Plan(
            network=spec.space.network,
            params=trial.params,
            seed=trial_seed(spec.seed, trial.number),
            goal=Goal(spec.metric, spec.direction),
            intervals=spec.intervals,
            held_out=spec.held_out,
        )
        for _ in session.run(plan):
            continue
        session.save(target.absolute())
