"""Addresses of MLflow's pages for a study. This module does not import MLflow.

An address is the server's, followed by the page's after `#`: MLflow's server answers every page
with the same document, so a page's address holds on any host, port and path.
"""

from tuner.storage.studies import StudyRow

_VIEW_KEY = 8


def view_key(study: StudyRow) -> str:
    """The name of the study's saved view among those of its experiment. Short: it is a part of
    addresses that people read."""
    return study.uuid[:_VIEW_KEY]


def trials_page(experiment_id: str, study: StudyRow) -> str:
    """The page with the study's trials side by side, best first."""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={view_key(study)}"


def charts_page(experiment_id: str, study: StudyRow) -> str:
    """The same page with the charts of the trials' metrics."""
    return f"{trials_page(experiment_id, study)}&compareRunsMode=CHART"


def run_page(experiment_id: str, run_id: str) -> str:
    return f"#/experiments/{experiment_id}/runs/{run_id}"


def server_address(tracking_uri: str) -> str | None:
    """The address of MLflow's pages, without user and password; None for a store without a server,
    which `tuner ui` serves."""
    if not tracking_uri.startswith(("http://", "https://")):
        return None
    scheme, _, rest = tracking_uri.rstrip("/").partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def on_server(address: str, page: str) -> str:
    """The whole address of a page."""
    return f"{address}/{page}"
