"""Two scores that cannot both be small."""


def objective(trial):
    x = trial.suggest_float("x", 0, 5)
    y = trial.suggest_float("y", 0, 3)
    near_zero = 4 * x**2 + 4 * y**2
    near_five = (x - 5) ** 2 + (y - 5) ** 2
    return near_zero, near_five
