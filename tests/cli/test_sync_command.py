"""`tuner sync` from the command line."""


def test_the_command(tuner):
    assert tuner("study", "create", "--data", "digits").code == 0
    checked = tuner("sync", "--check")
    assert (checked.code, checked.out) == (
        0,
        "study mlp-digits: MLflow shows all 0 trials as SQL has them\n",
    )
    assert tuner("sync", "--all").out == "study mlp-digits: 0 trials sent, 0 not delivered\n"
    assert tuner("sync", "mlp-digits", "--all").code == 2
    down = tuner("--tracking-uri", "http://127.0.0.1:9", "sync")
    assert down.code == 1
    assert down.err.startswith("tuner: MLflow at http://127.0.0.1:9 does not answer")
