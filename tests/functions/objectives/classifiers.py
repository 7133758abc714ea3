"""Which classifier suits, and how it is set: parameters that only one of them has."""

import optuna
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC

ROWS = load_iris()


def make_classifier(trial: optuna.Trial):
    if trial.suggest_categorical("classifier", ["svc", "forest"]) == "svc":
        return SVC(C=trial.suggest_float("svc_c", 1e-4, 1e4, log=True), gamma="auto")
    depth = trial.suggest_int("forest_depth", 2, 16, log=True)
    trees = trial.suggest_int("forest_trees", 2, 10, step=2)
    return RandomForestClassifier(max_depth=depth, n_estimators=trees, random_state=0)


def objective(trial: optuna.Trial):
    scores = cross_val_score(make_classifier(trial), ROWS.data, ROWS.target, cv=3)
    return scores.mean()
