"""A table in which few customers leave: an unbalanced target, scored by the area under the curve.

    python churn.py

The table is made up here; a CSV file read by pandas works as well.
"""

import numpy as np
import pandas as pd

import tuner


def make_customers(count: int = 3000) -> pd.DataFrame:
    """A row for each customer. About 7 % of them left; the reasons are known only here."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "months": random.integers(1, 72, count),
            "charge": random.normal(60, 25, count).clip(10).round(2),
            "contract": random.choice(["monthly", "yearly", "two years"], count, p=[0.5, 0.3, 0.2]),
            "has_support": random.random(count) < 0.4,
        }
    )
    risk = -4.2 + 0.03 * (table["charge"] - 60) - 0.04 * (table["months"] - 36)
    risk += np.where(table["contract"] == "monthly", 1.5, -0.5) - 0.8 * table["has_support"]
    table["left"] = np.where(random.random(count) < 1 / (1 + np.exp(-risk)), "yes", "no")
    return table


def main() -> None:
    customers = make_customers()
    study = tuner.create_study(
        "churn",
        space="tabular",
        data=customers,
        target="left",
        metric="val_auc",
        record=["val_pr_auc"],
        params={"class_weight": "balanced"},
        epochs=10,
    )
    study.optimize(trials=20)
    best = study.best_trial
    print(best)
    print(f"val_auc {best.metrics['val_auc']:.3f}, val_pr_auc {best.metrics['val_pr_auc']:.3f}")
    print(study.best_model().predict(customers.drop(columns="left")[:5]))


if __name__ == "__main__":
    main()
