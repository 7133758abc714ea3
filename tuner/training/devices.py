"""What TensorFlow finds to train on: `python -m tuner.training.devices` prints it as JSON."""

import json
from importlib.metadata import version


def main() -> None:
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(gpu).get("device_name") for gpu in found]
    # A wrong build or a broken driver may import well, and fail at the first operation.
    total = float(tf.reduce_sum(tf.ones((8, 8)) @ tf.ones((8, 8))))
    facts = {
        "tensorflow": tf.__version__,
        "keras": version("keras"),
        "gpus": [name or "GPU" for name in names],
        "cuda": tf.test.is_built_with_cuda(),
        "works": total == 512.0,
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
