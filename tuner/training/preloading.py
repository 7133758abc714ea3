"""What the fork server imports for all workers, in two thirds of the time of a plain import.

`import tensorflow` brings pandas and IPython where they are installed, through Keras, and parts of
TensorFlow that training does not use: a third of its modules. They are left out here, and Python's
garbage collector waits until all is imported. User CPU of the import, median of 6 interleaved runs
with matplotlib and scikit-learn already left out: 5.5 s; without the collector 4.9 s, without
pandas and IPython 4.3 s, with TensorFlow's parts deferred 3.5 s.

Before a worker runs a user's code, `libraries.complete_libraries` brings all of it.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from tuner.system.deferred_modules import deferred, hidden

_API = "tensorflow._api.v2"
_PARTS = (
    f"{_API}.compat.v1",
    f"{_API}.compat.v2",
    f"{_API}.__internal__.distribute.combinations",
    f"{_API}.__internal__.distribute.multi_process_runner",
    f"{_API}.__internal__.feature_column",
    f"{_API}.feature_column",
    f"{_API}.test",
    # Keras 2's, which TensorFlow still has: `tf.nn` needs its recurrent cells, not its models.
    "tensorflow.python.keras.models",
)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Modules are no garbage. What is there at the end is not looked at again, which also keeps its
    memory shared with the processes that are forked (Python's advice on `gc.freeze`)."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()


with _collector_paused():
    with hidden(("pandas", "IPython")), deferred(_PARTS):
        import tuner.training.ops.libraries
    import tuner.networks
    import tuner.training.session
    import tuner.training.warming  # noqa: F401
