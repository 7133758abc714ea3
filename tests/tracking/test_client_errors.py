"""What people are told of a server that fails."""

from http.server import BaseHTTPRequestHandler

import pytest
import requests

from tuner.errors import TrackingError
from tuner.tracking.client import tracking_errors

ADDRESS = "http://server:5000/api/2.0/mlflow/runs/get"


def _login() -> None:
    status, reason = 401, BaseHTTPRequestHandler.responses[401][0]
    raise RuntimeError(f"API request to endpoint /x failed with error code {status} ({reason})")


def _slow() -> None:
    try:
        raise TimeoutError("timed out")
    except TimeoutError as error:
        raise requests.ReadTimeout(f"API request to {ADDRESS} failed") from error


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (_login, "asks for a login, or refuses it: set MLFLOW_TRACKING_USERNAME and MLFLOW_"),
        (_slow, r"^MLflow at http://server:5000 does not answer \(no reply within 10 s\)$"),
    ],
)
def test_a_server_that_fails_gets_one_line(call, message):
    with pytest.raises(TrackingError, match=message), tracking_errors():
        call()
