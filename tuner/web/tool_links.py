"""Where a study and a trial are shown in MLflow and in the Optuna dashboard.

The functions give addresses of this page, known without asking anybody. Whoever follows one is led
on to the tool's page, found by what was delivered; or a line says why there is none.
"""


def study_in_mlflow(uuid: str) -> str:
    """MLflow's comparison view of the study's trials, best first, with its charts open."""
    return f"/studies/{uuid}/mlflow"


def trial_in_mlflow(uuid: str, number: int) -> str:
    """The run of a trial."""
    return f"/studies/{uuid}/trials/{number}/mlflow"


def study_in_dashboard(uuid: str) -> str:
    return f"/studies/{uuid}/dashboard"


def trial_in_dashboard(uuid: str, number: int) -> str:
    return f"/studies/{uuid}/trials/{number}/dashboard"
