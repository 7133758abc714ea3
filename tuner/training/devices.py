"""The devices that TensorFlow can train on: `python -m tuner.training.devices` prints JSON."""

import json
import sys
from importlib.metadata import version
from typing import Any

from tuner.system.secret_masking import write_line


def main() -> None:
    from tuner.training.ops.libraries import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        # Other processes may use it: TensorFlow must not take all of its memory.
        tf.config.experimental.set_memory_growth(gpu, True)
    names = [tf.config.experimental.get_device_details(gpu).get("device_name") for gpu in gpus]
    facts = {
        "tensorflow": tf.__version__,
        "keras": version("keras"),
        "gpus": [name or "GPU" for name in names],
        "usable": [index for index in range(len(gpus)) if _computes(tf, f"/GPU:{index}")],
        "cuda": tf.test.is_built_with_cuda(),
        "works": _computes(tf, "/CPU:0"),
    }
    write_line(sys.stdout, json.dumps(facts))


def _computes(tf: Any, device: str) -> bool:
    # With a wrong build or a broken driver the import may work and the first operation fail.
    try:
        with tf.device(device):
            return float(tf.reduce_sum(tf.ones((8, 8)) @ tf.ones((8, 8)))) == 512.0
    except tf.errors.OpError:
        return False


if __name__ == "__main__":
    main()
