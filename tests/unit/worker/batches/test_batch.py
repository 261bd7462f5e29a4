import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation.ranking import FAILED
from imaging.decoding.formats import can_read_heic
from imaging.errors import ImageError
from imaging.images import Pixels, Shape, fit_pixels
from imaging.preprocessing import Preprocessing
from storage.errors import Corrupt, StorageAway
from storage.files import FileStamp
from storage.jobs.job import Job
from storage.jobs.store import JobStore
from storage.settings import StorageSettings
from tests.builders import SHAPE, FakePredictor, array_job, encode, file_job, image_file, images_of
from worker.batches.batch import BatchReader, classify_batch
from worker.batches.phases import Phases
from worker.batches.progress import JobStopped, Progress


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path)


DEFAULTS = StorageSettings()


def reader_of(
    store: JobStore,
    job: Job,
    batch: int = 0,
    shape: Shape = SHAPE,
    settings: StorageSettings = DEFAULTS,
) -> BatchReader:
    return BatchReader(store.of(job), batch, shape, Preprocessing(), settings)


def read_all(reader: BatchReader, skip: dict[int, str]) -> tuple[Pixels, dict[int, str]]:
    return reader.read_span(range(reader.count), skip, Phases(), Progress())


def test_an_array_of_the_right_shape_is_handed_on_without_a_copy(store: JobStore) -> None:
    job = array_job(store, images_of(range(10)))
    pixels, errors = read_all(reader_of(store, job, 1), {})
    assert isinstance(pixels, np.memmap)
    np.testing.assert_array_equal(pixels, images_of([4, 5, 6, 7]))
    assert errors == {}


def test_grey_arrays_without_a_channel_get_one(store: JobStore) -> None:
    job = array_job(store, images_of(range(10))[..., 0])
    pixels, _ = read_all(reader_of(store, job, 2), {})
    np.testing.assert_array_equal(pixels, images_of([8, 9]))


def test_arrays_of_another_size_are_fitted_to_the_model(store: JobStore) -> None:
    job = array_job(store, np.full((3, 9, 7, 3), 50, np.uint8))
    pixels, errors = read_all(reader_of(store, job), {})
    np.testing.assert_array_equal(pixels, np.full((3, *SHAPE), 50))
    assert errors == {}


def test_an_array_of_floats_becomes_an_error_record_per_image(store: JobStore) -> None:
    job = array_job(store, np.zeros((3, 4, 4), np.float32))
    pixels, errors = read_all(reader_of(store, job), {})
    assert not pixels.any()
    assert sorted(errors) == [0, 1, 2]
    assert "not uint8 pixels" in errors[0]


def test_files_and_arrays_give_the_same_pixels(store: JobStore) -> None:
    images = images_of(range(6))
    files = file_job(store, [image_file(encode(image)) for image in images], id="files")
    arrays = array_job(store, images, id="arrays")
    for batch in range(2):
        from_files, _ = read_all(reader_of(store, files, batch), {})
        from_arrays, _ = read_all(reader_of(store, arrays, batch), {})
        np.testing.assert_array_equal(from_files, from_arrays)


def test_pictures_of_the_models_own_size_are_cropped_all_the_same(store: JobStore) -> None:
    """`Resize` and `CenterCrop` of torchvision take the middle of these as well."""
    images = images_of(range(4))
    way = Preprocessing(resize="crop", shorter_side=8)
    expected = [fit_pixels(image, SHAPE, way) for image in images]
    assert not np.array_equal(expected, images)
    files = file_job(store, [image_file(encode(image)) for image in images], id="files")
    for job in (files, array_job(store, images, id="arrays")):
        reader = BatchReader(store.of(job), 0, SHAPE, way, DEFAULTS)
        pixels, _ = read_all(reader, {})
        np.testing.assert_array_equal(pixels, expected)


def test_one_image_is_read_as_it_is_in_the_batch(store: JobStore) -> None:
    job = file_job(store, [image_file(encode(image)) for image in images_of(range(6))])
    reader = reader_of(store, job, 1)
    assert reader.count == 2
    np.testing.assert_array_equal(reader.read(1), images_of([5])[0])


def test_bad_images_become_errors_and_leave_zeros(store: JobStore) -> None:
    good = encode(images_of([9])[0])
    truncated = encode(np.random.default_rng(1).integers(0, 256, (9, 9), np.uint8))[:70]
    job = file_job(
        store,
        [
            image_file(good),
            image_file(truncated),
            image_file(b"no image"),
            image_file(b"", content=None, refused="file too large"),
        ],
    )
    pixels, errors = read_all(reader_of(store, job), {})
    assert pixels[0, 0, 0, 0] == 9
    assert not pixels[1:].any()
    assert sorted(errors) == [1, 2, 3]
    assert errors[1].startswith("damaged image: ")
    assert errors[2].startswith("not an image of a supported format")
    assert errors[3] == "file too large"


def test_a_file_is_what_its_content_says_whatever_its_name(store: JobStore) -> None:
    assert can_read_heic()
    image = images_of([9])[0]
    plain = np.full((16, 16, 3), (200, 90, 40), np.uint8)
    contents = {
        "png.jpg": encode(image),
        "bmp.png": encode(image, "BMP"),
        "heic.jpg": encode(plain, "HEIF", quality=95),
        "avif.jpg": encode(plain, "AVIF", quality=95),
        "jpeg.png": encode(plain, "JPEG", quality=95),
        "page.jpg": b"<!DOCTYPE html><html><title>403 Forbidden</title></html>",
    }
    files = [image_file(content, id=name, path=name) for name, content in contents.items()]
    job = file_job(store, files, batch_size=len(files))
    pixels, errors = read_all(reader_of(store, job), {})
    np.testing.assert_array_equal(pixels[:2], images_of([9, 9]))
    grey = plain[0, 0] @ [0.299, 0.587, 0.114]
    assert np.abs(pixels[2:5] - grey).max() <= 3
    assert errors == {5: "not an image but a web page"}


def test_the_limits_of_the_settings_hold(store: JobStore) -> None:
    content = encode(images_of([9])[0])
    (store.root / "stored.png").write_bytes(content)
    job = file_job(
        store, [image_file(content), image_file(content, content=None, stored="stored.png")]
    )
    few_pixels = StorageSettings(max_image_pixels=15)
    with pytest.raises(ImageError, match="too many pixels: 4 x 4"):
        reader_of(store, job, settings=few_pixels).read(0)
    _, errors = read_all(reader_of(store, job, settings=few_pixels), {})
    assert set(errors) == {0, 1}
    few_bytes = StorageSettings(max_image_bytes=len(content) - 1)
    with pytest.raises(ImageError, match="file too large"):
        reader_of(store, job, settings=few_bytes).read(1)


@pytest.mark.parametrize("kind", ["arrays", "files"])
def test_images_to_skip_are_not_touched(store: JobStore, kind: str) -> None:
    images = images_of(range(1, 5))
    if kind == "arrays":
        job = array_job(store, images)
    else:
        job = file_job(store, [image_file(encode(image)) for image in images])
    pixels, errors = read_all(reader_of(store, job), {2: "kills the worker"})
    assert pixels[:, 0, 0, 0].tolist() == [1, 2, 0, 4]
    assert errors == {2: "kills the worker"}


class Peculiar(BatchReader):
    """A reader to which the images at some positions raise what nobody has foreseen."""

    def __init__(self, store: JobStore, job: Job, raises: dict[int, Exception]) -> None:
        super().__init__(store.of(job), 0, SHAPE, Preprocessing(), DEFAULTS)
        self.raises = raises

    def _content(self, position: int) -> bytes:
        if error := self.raises.get(position):
            raise error
        return super()._content(position)


@pytest.mark.parametrize(
    "error",
    [
        TypeError("bad operand type for abs(): 'tuple'"),
        AttributeError("'NoneType' object has no attribute 'x'"),
        RecursionError("maximum recursion depth exceeded"),
        UnicodeEncodeError("utf-8", "\udc80", 0, 1, "surrogates not allowed"),
        OSError(5, "Input/output error"),
        ZeroDivisionError(),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("step", ["read", "decode"])
def test_whatever_one_image_raises_is_its_own_record(
    store: JobStore, monkeypatch: pytest.MonkeyPatch, error: Exception, step: str
) -> None:
    """What a decoder raises for one file is played: those known today are fixed where they are."""
    contents = [encode(image, "BMP") for image in images_of([7, 8, 9])]
    job = file_job(store, [image_file(content) for content in contents])
    if step == "read":
        reader: BatchReader = Peculiar(store, job, {1: error})
    else:
        reader = reader_of(store, job)

        def decode(content: bytes) -> Any:
            if content == contents[1]:
                raise error
            return BatchReader._decode(reader, content)

        monkeypatch.setattr(reader, "_decode", decode)
    pixels, errors = read_all(reader, {})
    assert pixels[:, 0, 0, 0].tolist() == [7, 0, 9]
    assert errors == {1: f"unexpected error: {type(error).__name__}: {error}"}


@pytest.mark.parametrize("error", [JobStopped(), MemoryError(), StorageAway("gone")])
def test_what_is_not_the_images_fault_is_not_its_record(store: JobStore, error: Exception) -> None:
    job = file_job(store, [image_file(encode(image)) for image in images_of([7, 8])])
    with pytest.raises(type(error)):
        read_all(Peculiar(store, job, {1: error}), {})


def test_images_that_cannot_be_decoded_together_are_decoded_one_by_one(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = images_of([7, 8, 9])
    job = file_job(store, [image_file(encode(i)) for i in images[:2]] + [image_file(b"broken")])

    def give_up(contents: Any, shape: Shape, pixels: Pixels) -> set[int]:
        pixels[:] = 99
        raise LookupError("odd")

    monkeypatch.setattr("storage.jobs.batches.decode_plain_pngs", give_up)
    pixels, errors = read_all(reader_of(store, job), {})
    np.testing.assert_array_equal(pixels[:2], images[:2])
    assert not pixels[2].any()
    assert list(errors) == [2]


def test_files_of_a_folder_that_is_not_mounted_are_no_bad_images(store: JobStore) -> None:
    contents = [encode(image) for image in images_of([7, 8])]
    photos = store.root / "photos"
    photos.mkdir()
    files = []
    for number, content in enumerate(contents):
        (photos / f"{number}.png").write_bytes(content)
        files.append(image_file(content, number, content=None, stored=f"photos/{number}.png"))
    job = file_job(store, files)
    os.utime(photos, (0, 0))
    away = store.root / "away"
    for hidden in (False, True):  # by what the mount had covered, an empty folder
        photos.rename(away)
        if hidden:
            photos.mkdir()
            os.utime(photos, (0, 0))
        with pytest.raises(StorageAway, match="photos is missing or empty here"):
            read_all(reader_of(store, job), {})
        if hidden:
            photos.rmdir()
        away.rename(photos)
    pixels, errors = read_all(reader_of(store, job), {})
    assert (pixels[:, 0, 0, 0].tolist(), errors) == ([7, 8], {})
    (photos / "1.png").unlink()
    _, errors = read_all(reader_of(store, job), {})
    assert errors == {1: "file cannot be read: No such file or directory"}
    (photos / "0.png").unlink()
    _, errors = read_all(reader_of(store, job), {})
    assert set(errors) == {0, 1}, "somebody has emptied the folder: it is there"


def test_a_missing_pack_is_corrupt(store: JobStore) -> None:
    job = file_job(store, [image_file(b"x")])
    store.of(job).inputs.pack_path(0).unlink()
    with pytest.raises(Corrupt):
        reader_of(store, job)


def test_bad_images_leave_the_scores_of_the_others_as_they_are_to_the_last_bit(
    store: JobStore,
) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (4, *SHAPE), np.uint8)
    files = [image_file(encode(image)) for image in noise]
    good = file_job(store, files, id="good")
    bad = file_job(store, [files[0], image_file(b"broken"), *files[2:]], id="bad")
    first, second = FakePredictor(), FakePredictor()
    whole = classify_batch(good, reader_of(store, good), first, {}, Phases(), Progress())
    rest = classify_batch(bad, reader_of(store, bad), second, {2: "skipped"}, Phases(), Progress())
    for position in (0, 3):
        assert rest.predictions[position] == whole.predictions[position]
        assert rest.scores[position].tobytes() == whole.scores[position].tobytes()
    assert rest.predictions[[1, 2]].tolist() == [FAILED, FAILED]
    assert rest.scores[[1, 2]].tolist() == [0.0, 0.0]
    assert sorted(rest.errors) == [1, 2]
    assert rest.errors[2] == "skipped"
    assert [len(call) for call in second.calls] == [4], "the batch keeps its shape"


class Unsure(FakePredictor):
    """Gives what is no probability for some values of the first pixel."""

    def __call__(self, pixels: Pixels) -> NDArray[np.float32]:
        probabilities = super().__call__(pixels)
        wrong = {7: [np.nan, 0, 0], 8: [np.inf, -np.inf, 0], 9: [0.9, 0.9, 0], 10: [1.3, -0.3, 0]}
        for position, first in enumerate(pixels.reshape(len(pixels), -1)[:, 0].tolist()):
            if first in wrong:
                probabilities[position] = wrong[first]
        return probabilities


@pytest.mark.parametrize("depth", [1, 3])
def test_what_is_no_probability_is_an_error_of_its_image_alone(store: JobStore, depth: int) -> None:
    firsts = [1, 7, 2, 8, 9, 10, 4]
    job = array_job(store, images_of(firsts), top=depth, batch_size=10)
    result = classify_batch(job, reader_of(store, job), Unsure(), {}, Phases(), Progress())
    expected = [first % 3 if first < 7 else FAILED for first in firsts]
    assert result.predictions.tolist() == expected
    assert sorted(result.errors) == [1, 3, 4, 5]
    assert all("gives no probabilities for it" in text for text in result.errors.values())


def test_the_result_names_the_pinned_model(store: JobStore) -> None:
    job = array_job(store, images_of([1, 2]))
    result = classify_batch(job, reader_of(store, job), FakePredictor(), {}, Phases(), Progress())
    assert result.model == job.model
    assert result.predictions.tolist() == [1, 2]


def test_phases_add_up_and_are_kept_when_they_fail() -> None:
    phases = Phases()
    with phases("read"):
        pass
    first = phases.seconds["read"]
    with pytest.raises(ValueError, match="odd"), phases("read"):
        raise ValueError("odd")
    assert phases.seconds["read"] >= first
    assert set(phases.seconds) == {"read"}


def test_a_batch_of_large_files_is_never_in_memory_as_a_whole(store: JobStore) -> None:
    images, files = images_of(range(12)), []
    for number, image in enumerate(images):
        path = store.root / f"{number}.png"
        path.write_bytes(encode(image) + bytes(8_000_000))  # what follows the end is no pixels
        stamp = FileStamp.of(path.stat())
        fields: dict[str, Any] = {"sha256": None, "content": None, "stamp": stamp}
        files.append(image_file(b"", number, stored=path.name, **fields))
    reader = reader_of(store, file_job(store, files, batch_size=len(files)))
    tracemalloc.start()
    pixels, errors = read_all(reader, {})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(pixels, images)
    assert errors == {}
    assert peak < 60_000_000
