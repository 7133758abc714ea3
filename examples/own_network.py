"""A network of your own: residual blocks for images of handwritten digits.

python own_network.py
"""

import keras
from sklearn.datasets import load_digits

import tuner


def residual_block(x, filters: int):
    """Two convolutions whose result is added to their input."""
    y = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
    y = keras.layers.Conv2D(filters, 3, padding="same")(y)
    return keras.layers.ReLU()(keras.layers.add([x, y]))


def build(params, input_shape, outputs):
    """The network of a trial. `params`: the trial's parameters, those of the space below."""
    inputs = keras.Input(input_shape)
    x = keras.layers.Reshape((8, 8, 1))(inputs)
    x = keras.layers.Conv2D(params["filters"], 3, padding="same", activation="relu")(x)
    for _ in range(params["blocks"]):
        x = residual_block(x, params["filters"])
    x = keras.layers.Dropout(params["dropout"])(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, keras.layers.Dense(outputs, activation="softmax")(x))


def main() -> None:
    digits = load_digits()
    space = tuner.Space(
        build,
        {
            "filters": tuner.Int(8, 32, log=True),
            "blocks": tuner.Int(1, 3),
            "dropout": tuner.Float(0, 0.5),
            "learning_rate": tuner.Float(1e-3, 1e-2, log=True),
        },
    )
    data = (digits.images.astype("uint8"), digits.target)
    study = tuner.create_study("residual", space=space, data=data, epochs=10)
    study.optimize(trials=10)
    print(study.best_trial)
    study.best_model().save("residual.keras")


# tuner imports this file for `build`, which must not start a search.
if __name__ == "__main__":
    main()
