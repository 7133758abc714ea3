"""Training step by step, which ends early where it is hopeless."""

import numpy as np
import optuna
from sklearn.datasets import load_iris
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

ROWS = load_iris()


def objective(trial):
    x, x_valid, y, y_valid = train_test_split(ROWS.data, ROWS.target, test_size=0.3, random_state=0)
    alpha = trial.suggest_float("alpha", 1e-5, 1e1, log=True)
    model = SGDClassifier(alpha=alpha, random_state=0)
    for step in range(20):
        model.partial_fit(x, y, classes=np.unique(ROWS.target))
        trial.report(model.score(x_valid, y_valid), step)
        if trial.should_prune():
            raise optuna.TrialPruned(f"after step {step}")
    return model.score(x_valid, y_valid)
