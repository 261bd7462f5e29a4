"""What a job says beside what the model's own author gets, picture by picture.

python examples/compare.py JOB
"""

import sys

import keras
import numpy as np

from producer.client import PredictionClient

pictures = keras.utils.image_dataset_from_directory(
    "photographs/test",
    image_size=(64, 64),
    crop_to_aspect_ratio=True,
    shuffle=False,
    verbose=False,
)
scaled = pictures.map(lambda images, labels: images / 127.5 - 1)
model = keras.saving.load_model("things.keras")
own = np.asarray(keras.ops.softmax(model.predict(scaled, verbose=0)))
names = [path.removeprefix("photographs/test/") for path in pictures.file_paths]

records = {record.id: record for record in PredictionClient().job(sys.argv[1])}
same, difference = 0, 0.0
for name, probabilities in zip(names, own, strict=True):
    record = records[name]
    same += record.prediction == pictures.class_names[probabilities.argmax()]
    difference = max(difference, abs(record.score - probabilities.max()))
print(
    f"Of {len(names)} pictures {same} have the same class, "
    f"and scores differ by {difference:.4f} at most."
)
