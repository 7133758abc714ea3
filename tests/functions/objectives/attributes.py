"""What a trial says of itself: attributes, and a constraint."""

from optuna.exceptions import TrialPruned


def objective(trial):
    width = trial.suggest_categorical("width", (16, 32, 64))
    rate = trial.suggest_float("rate", 0.0, 0.5, step=0.25)
    dropped = [trial.suggest_float(f"drop_{n}", 0.0, rate) for n in range(trial.number % 2)]
    trial.set_user_attr("weights", width * 10)
    trial.set_user_attr("drops", len(dropped))
    assert trial.user_attrs["weights"] == 10 * trial.params["width"]
    trial.set_constraint("size", width - 32)
    if width == 64 and rate == 0.5:
        raise TrialPruned
    return rate + sum(dropped) - width / 100
