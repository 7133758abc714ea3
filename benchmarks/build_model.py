"""A `build_model(hp)` as KerasTuner's guide has it, for KerasTuner and for tuner alike."""

import keras


def build_model(hp):  # type: ignore[no-untyped-def]
    model = keras.Sequential([keras.Input((28, 28)), keras.layers.Flatten()])
    activation = hp.Choice("activation", ["relu", "tanh"])
    for layer in range(hp.Int("layers", 1, 3)):
        units = hp.Int(f"units_{layer}", min_value=32, max_value=256, step=32)
        model.add(keras.layers.Dense(units, activation=activation))
    if hp.Boolean("dropout"):
        model.add(keras.layers.Dropout(0.25))
    model.add(keras.layers.Dense(10, activation="softmax"))
    rate = hp.Float("lr", min_value=1e-4, max_value=1e-2, sampling="log")
    model.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model
