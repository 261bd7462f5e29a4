"""Labels that people give to a job's images reach the next training, and no test image does."""

import csv
from pathlib import Path

import numpy as np

from imaging.fingerprints import fingerprints
from storage.datasets.store import DatasetStore
from storage.models.store import ModelStore
from tests.builders import publish
from tests.digits import TEST_IMAGES, digits
from tests.processes import RedisServer, run

KNOWN = 1000
"""The data set has the digits up to here; the others are new."""


def test_a_job_is_labelled_appended_and_trained_on(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    system = {
        "BATCHSIGHT_STORAGE": str(tmp_path / "storage"),
        "BATCHSIGHT_REDIS_URL": redis_server.url,
    }
    images, labels = digits()
    wrong = labels[TEST_IMAGES:KNOWN].copy()
    wrong[:3] = (wrong[:3] + 1) % 10
    np.savez(
        tmp_path / "digits.npz",
        x_train=images[TEST_IMAGES:KNOWN],
        y_train=wrong,
        x_test=images[:TEST_IMAGES],
        y_test=labels[:TEST_IMAGES],
    )
    run(system, "trainer", "data", "add", "digits", f"npz:{tmp_path / 'digits.npz'}")
    models = ModelStore(tmp_path / "storage")
    publish(models, labels=tuple("0123456789"))  # to pin a job to, which no worker will run

    # 200 new images, four that are in training, three of them with a wrong label, two of the test.
    chosen = [*range(KNOWN, KNOWN + 200), *range(TEST_IMAGES, TEST_IMAGES + 4), 0, 1]
    np.save(tmp_path / "new.npy", images[chosen])
    run(
        system,
        "producer",
        "submit",
        str(tmp_path / "new.npy"),
        "--job-id",
        "new",
        *("--model", "digits@1", "--no-wait"),
    )
    with (tmp_path / "true.csv").open("w", newline="") as file:
        rows = [(i, labels[which]) for i, which in enumerate(chosen)]
        csv.writer(file).writerows([("id", "label"), *rows])
    labelled = run(system, "producer", "label", "new", str(tmp_path / "true.csv"))
    assert labelled.stderr.splitlines()[0] == "Job new: 206 labels, 206 new, 0 changed."
    assert "`trainer data append digits job:new`" in labelled.stderr

    appended = run(system, "trainer", "data", "append", "digits", "job:new")
    assert appended.stderr == (
        "Data set digits@2: 200 images added, 3 corrected, 1 dropped as a duplicate, "
        "2 because they are test images.\n"
    )
    newest = DatasetStore(tmp_path / "storage").get("digits")
    np.testing.assert_array_equal(newest.labels("train"), labels[TEST_IMAGES : KNOWN + 200])
    np.testing.assert_array_equal(newest.images("train")[..., 0], images[TEST_IMAGES : KNOWN + 200])
    rows_trained = newest.training_rows()
    assert not np.isin(
        fingerprints(newest.images("train")[rows_trained]), fingerprints(images[:TEST_IMAGES])
    ).any()

    trained = run(system, "trainer", "train", "--dataset", "digits", "--epochs", "1")
    assert trained.stdout.startswith("digits@2: mlp on digits@2, ")
    manifest = models.resolve("digits@2").manifest
    assert manifest.dataset_number == 2
    assert manifest.dataset_sha256 == newest.description.sha256
