"""What KerasTuner's guides show, written anew: each name runs under keras_tuner and under tuner."""

import keras
import keras_tuner
import numpy as np
import tensorflow as tf

# Compiling takes longer than all else of a test.
LOSS = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"], "run_eagerly": True}


def build_model(hp):
    """As in "Getting started": the number of layers and the sizes of each."""
    model = keras.Sequential([keras.layers.Flatten()])
    for layer in range(hp.Int("layers", 1, 2, default=2)):
        units = hp.Int(f"units_{layer}", min_value=4, max_value=13, step=3)
        model.add(keras.layers.Dense(units, activation=hp.Choice("activation", ["relu", "tanh"])))
    if hp.Boolean("dropout"):
        model.add(keras.layers.Dropout(0.25))
    model.add(keras.layers.Dense(3, activation="softmax"))
    rate = hp.Float("lr", min_value=1e-4, max_value=1e-2, sampling="log")
    model.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,
    )
    return model


class Preprocessing(keras_tuner.HyperModel):
    """A HyperModel with an argument, whose build prepares its inputs by layers."""

    def __init__(self, classes):
        super().__init__()
        self.classes = classes

    def build(self, hp):
        inputs = x = keras.Input((4, 4))
        with hp.name_scope("images"):
            if hp.Choice("rescaled", [True, False]):
                x = keras.layers.Rescaling(hp.Float("scale", 0.5, 2, step=0.5))(x)
            if hp.Boolean("noisy", default=True):
                x = keras.layers.GaussianNoise(hp.Float("noise", 0.01, 1, 10, "log"))(x)
        x = keras.layers.Dense(hp.Int("units", 4, 16, step=2, sampling="log"))(
            keras.layers.Flatten()(x)
        )
        outputs = keras.layers.Dense(self.classes, activation="softmax")(x)
        model = keras.Model(inputs, outputs)
        model.compile("adam", **LOSS)
        return model


preprocessing = Preprocessing(classes=3)


class TunableFit(Preprocessing):
    """The training has parameters too. `fit` is given what `search` was given."""

    def __init__(self):
        super().__init__(classes=3)

    def fit(self, hp, model, *args, **kwargs):
        return model.fit(
            *args,
            shuffle=hp.Boolean("shuffle"),
            batch_size=hp.Choice("batch_size", [8, 16]),
            **kwargs,
        )


class Conditional(keras_tuner.HyperModel):
    """Kinds of networks, each with parameters that have a meaning for it alone."""

    def build(self, hp):
        model = keras.Sequential([keras.Input((4, 4))])
        kind = hp.Choice("kind", ["dense", "conv"])
        with hp.conditional_scope("kind", ["dense"]):
            if kind == "dense":
                model.add(keras.layers.Flatten())
                model.add(keras.layers.Dense(hp.Choice("size", [4, 8])))
        with hp.conditional_scope("kind", ["conv"]):
            if kind == "conv":
                model.add(keras.layers.Conv1D(hp.Choice("size", [2, 3]), 2))
                model.add(keras.layers.Flatten())
        hp.Fixed("version", 2)
        bias = hp.Boolean("bias", parent_name="kind", parent_values=["dense"])
        model.add(keras.layers.Dense(3, activation="softmax", use_bias=bias is not False))
        model.compile("adam", **LOSS)
        return model


class OwnLoop(keras_tuner.HyperModel):
    """A training loop of its own, which tells the callbacks where an epoch ends."""

    def build(self, hp):
        model = keras.Sequential([keras.layers.Flatten()])
        model.add(keras.layers.Dense(hp.Int("units", 4, 8), activation="relu"))
        model.add(keras.layers.Dense(3))
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    def fit(self, hp, model, x, y, validation_data, callbacks=None, **kwargs):
        size = hp.Int("batch_size", 8, 24, step=8)
        batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(size)
        optimizer = keras.optimizers.SGD(hp.Float("lr", 0.01, 0.1, sampling="log"))
        loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        best = np.inf
        for callback in callbacks:
            callback.set_model(model)
        for epoch in range(2):
            for inputs, labels in batches:
                with tf.GradientTape() as tape:
                    loss = loss_of(labels, model(inputs, training=True))
                gradients = tape.gradient(loss, model.trainable_variables)
                optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
            held_out_x, held_out_y = validation_data
            loss = float(loss_of(held_out_y, model(held_out_x)))
            for callback in callbacks:
                callback.on_epoch_end(epoch, logs={"my_metric": loss})
            best = min(best, loss)
        return best
