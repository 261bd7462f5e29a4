"""A model as you may have it: your own loop, your own scaling, and a file in the end."""

from typing import Any

import keras
import tensorflow as tf
from keras import layers

keras.utils.set_random_seed(1)

SIZE = (64, 64)
changed = keras.Sequential(
    [layers.RandomFlip("horizontal_and_vertical"), layers.RandomBrightness(0.3)]
)


def pictures(folder: str) -> tf.data.Dataset:
    """Batches of pictures, the middle of each, and their classes."""
    return keras.utils.image_dataset_from_directory(
        folder, image_size=SIZE, crop_to_aspect_ratio=True, batch_size=16, seed=1, verbose=False
    ).cache()


def scaled(images: Any, labels: Any) -> tuple[Any, Any]:
    """Pixels of -1 to 1: the model knows nothing of it."""
    return images / 127.5 - 1, labels


model = keras.Sequential([keras.Input((*SIZE, 3))])
for filters in (16, 32, 64, 64):
    model.add(layers.Conv2D(filters, 3, padding="same", activation="relu"))
    model.add(layers.MaxPooling2D())
model.add(layers.GlobalMaxPooling2D())
model.add(layers.Dense(6))

model.compile(
    optimizer=keras.optimizers.Adam(0.002),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
training = pictures("photographs/train").map(lambda x, y: (changed(x, training=True), y))
model.fit(training.map(scaled), epochs=20, verbose=0)
_, accuracy = model.evaluate(pictures("photographs/test").map(scaled), verbose=0)
model.save("things.keras")
print(f"things.keras: accuracy {accuracy:.4f}")
