# %% [markdown]
# Classify images that are an array in memory, as in a notebook. It needs a running system with the
# data set `mnist` and a model; each `# %%` is a cell.

# %%
import numpy as np

from producer.client import PredictionClient
from storage.datasets.store import DatasetStore
from storage.settings import storage_settings

mnist = DatasetStore(storage_settings().root).get("mnist")
images = np.asarray(mnist.images("test")[:500])  # uint8 (500, 28, 28, 1)
labels = np.asarray(mnist.labels("test")[:500])  # int32 (500,)

# %% Submit the array. Labels and ids are optional.
job = PredictionClient().submit(
    images, labels=labels, ids=[f"test-{i}" for i in range(len(images))], model="mnist"
)
print(job)

# %% Records come in order, as batches finish.
mistakes = [record for record in job if record.prediction != record.label]
for record in mistakes[:3]:
    print(f"{record.id} is {record.label}, taken for {record.prediction} ({record.score:.2f})")

# %% What it all came to.
summary = job.wait()
print(f"accuracy {summary.accuracy:.4f}, {len(mistakes)} of {summary.images.total} wrong")

# %% As a table; `job.to_pandas()` gives a data frame, if pandas is installed.
table = job.to_arrow()
print(table.group_by("prediction").aggregate([("score", "mean")]).sort_by("prediction"))
