"""What a worker process can do before it knows its study: TensorFlow's first steps are slow."""

from tuner.training.ops.libraries import tensorflow as tf

_ROWS, _INPUTS, _CLASSES = 8, 4, 3


def warm_up() -> None:
    """Trace, compile and run a small training loop of the kinds of operations that programs have,
    on one thread, as a worker without a GPU does. Measured: 0.5 s here, and the first report of a
    study needs 1.05 s of computing afterwards instead of 1.65 s."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.set_visible_devices([], "GPU")
    weights = tf.Variable(tf.zeros((_INPUTS, _CLASSES)))

    @tf.function
    def train(steps: tf.Tensor) -> tf.Tensor:
        def step(number: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            bits = tf.random.stateless_uniform((_ROWS, _INPUTS), [1, 2], 0, 255, dtype=tf.int32)
            with tf.GradientTape() as tape:
                outputs = tf.nn.relu(tf.matmul(tf.cast(bits, tf.float32), weights))
                labels = tf.zeros(_ROWS, tf.int32)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, outputs)
                loss = tf.reduce_mean(losses)
            weights.assign_sub(0.1 * tape.gradient(loss, weights))
            chosen = tf.switch_case(number % 2, [lambda: loss, lambda: 2 * loss])
            return number + 1, total + chosen

        return tf.while_loop(lambda number, _: number < steps, step, [0, 0.0])[1]

    train(tf.constant(2))
