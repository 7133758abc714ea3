"""What TensorFlow finds to train on: `python -m tuner.training.devices` writes JSON to stdout."""

import json
import sys
from importlib.metadata import version
from typing import Any

from tuner.system.logs import write_line


def main() -> None:
    from tuner.networks.libraries import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    for gpu in found:
        # Others may be at work there: it must not be taken whole.
        tf.config.experimental.set_memory_growth(gpu, True)
    names = [tf.config.experimental.get_device_details(gpu).get("device_name") for gpu in found]
    facts = {
        "tensorflow": tf.__version__,
        "keras": version("keras"),
        "gpus": [name or "GPU" for name in names],
        "usable": [index for index in range(len(found)) if _computes(tf, f"/GPU:{index}")],
        "cuda": tf.test.is_built_with_cuda(),
        "works": _computes(tf, "/CPU:0"),
    }
    write_line(sys.stdout, json.dumps(facts))


def _computes(tf: Any, device: str) -> bool:
    # A wrong build or a broken driver may import well, and fail at the first operation.
    try:
        with tf.device(device):
            return float(tf.reduce_sum(tf.ones((8, 8)) @ tf.ones((8, 8)))) == 512.0
    except tf.errors.OpError:
        return False


if __name__ == "__main__":
    main()
