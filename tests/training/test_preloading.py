"""What the fork server imports, in a process of its own."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.tensorflow

_CODE = """
import gc, sys
import tuner.training.preloading
left_out = ("pandas", "matplotlib", "sklearn", "IPython", "tensorflow.python.framework.test_util")
print([name for name in left_out if name in sys.modules], gc.isenabled(), gc.get_freeze_count() > 0)

from tuner.training.ops.libraries import complete_libraries, keras, tensorflow as tf
complete_libraries()
import numpy as np, pandas as pd
model = keras.Sequential([keras.layers.Dense(1)])
model.compile(loss="mse")
model.fit(pd.DataFrame(np.ones((4, 2))), pd.Series(np.ones(4)), verbose=0)
print(tf.compat.v1.placeholder.__name__, tf.test.TestCase.__name__, "pandas" in sys.modules)
"""


def test_a_users_code_finds_all_that_was_left_out() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CODE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "[] True True",
        "placeholder TensorFlowTestCase True",
    ]
