import io
import random
import zipfile

import numpy as np
import pytest

from evaluation.ranking import FAILED, Ranking
from storage.errors import Corrupt
from storage.jobs.results import BatchResult
from storage.models.store import ModelPin
from tests.builders import PIN, ranking_of, result_of


def test_a_result_is_read_back_as_it_was() -> None:
    result = BatchResult(
        model=PIN,
        ranking=ranking_of([2, FAILED, 0], [0.25, 0.0, 1 / 3]),
        errors={1: "damaged image: é 图"},
    )
    again = BatchResult.from_bytes(result.to_bytes(), "result")
    assert again.model == PIN
    np.testing.assert_array_equal(again.predictions, result.predictions, strict=True)
    np.testing.assert_array_equal(again.scores, result.scores, strict=True)
    assert again.errors == result.errors


def test_only_a_result_that_counts_reused_images_names_them() -> None:
    plain, counted = result_of([1, 2]), result_of([1, 2], reused=1)
    assert BatchResult.from_bytes(counted.to_bytes(), "result").reused == 1
    assert BatchResult.from_bytes(plain.to_bytes(), "result").reused is None
    with zipfile.ZipFile(io.BytesIO(plain.to_bytes())) as archive:
        members = ["model", "prediction", "score", "error_at", "error"]
        assert archive.namelist() == [f"{name}.npy" for name in members]


def test_a_result_without_errors_is_read_back_without_errors() -> None:
    assert BatchResult.from_bytes(result_of([1]).to_bytes(), "result").errors == {}


def test_the_same_outcome_gives_the_same_bytes_whoever_writes_them() -> None:
    result = result_of([FAILED, 1, FAILED], {0: "one", 2: "two"})
    other = BatchResult(
        model=PIN.model_copy(),
        ranking=Ranking(
            classes=np.array([[FAILED], [1], [FAILED]], np.int64), scores=np.full((3, 1), 0.75)
        ),
        errors={2: "two", 0: "one"},
    )
    assert other.to_bytes() == result.to_bytes()


def test_no_time_leaves_a_trace_in_the_bytes() -> None:
    with zipfile.ZipFile(io.BytesIO(result_of([1, 2]).to_bytes())) as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize(
    "other",
    [
        result_of([1, 1]),
        result_of([1, 2], {0: "reason"}),
        result_of([1, 2], model=PIN.model_copy(update={"number": 2})),
        BatchResult(
            model=PIN,
            ranking=ranking_of([1, 2], np.nextafter(np.full(2, 0.75, np.float32), np.float32(1))),
        ),
    ],
    ids=["prediction", "error", "model", "last bit of a score"],
)
def test_any_other_outcome_gives_other_bytes(other: BatchResult) -> None:
    assert other.to_bytes() != result_of([1, 2]).to_bytes()


def test_a_torn_file_is_corrupt_wherever_it_is_torn() -> None:
    content = result_of([0, 1, 2], {1: "reason"}).to_bytes()
    for length in range(len(content)):
        with pytest.raises(Corrupt, match=r"The result batch 7 is damaged"):
            BatchResult.from_bytes(content[:length], "batch 7")


def test_a_single_array_is_no_result() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(3))
    with pytest.raises(Corrupt):
        BatchResult.from_bytes(buffer.getvalue(), "result")


def test_a_member_is_missed() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, model=np.array(["digits", "1", "0"]), prediction=np.zeros(1, np.int32))
    with pytest.raises(Corrupt):
        BatchResult.from_bytes(buffer.getvalue(), "result")


def test_pickles_are_never_read() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, model=np.array([{"any": "object"}], dtype=object))
    with pytest.raises(Corrupt, match="allow_pickle=False"):
        BatchResult.from_bytes(buffer.getvalue(), "result")


def test_a_damaged_byte_is_corrupt_or_does_not_matter() -> None:
    """Every member has a checksum; what is read in spite of damage is what was written."""
    result = result_of([0, 1, 2], {1: "reason"})
    content = result.to_bytes()
    chance = random.Random(1)
    found = 0
    for _ in range(2_000):
        damaged = bytearray(content)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        try:
            read = BatchResult.from_bytes(bytes(damaged), "result")
        except Corrupt:
            found += 1
        else:
            assert read.to_bytes() == content
    assert found > 1_000


def outcome(
    *images: tuple[int, float], errors: dict[int, str] | None = None, model: ModelPin = PIN
) -> BatchResult:
    """A result of images with a class and a score each."""
    return BatchResult(
        model=model,
        ranking=ranking_of([image[0] for image in images], [image[1] for image in images]),
        errors=errors or {},
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (outcome((1, 0.9)), outcome((1, 0.9 + 4e-7))),
        (outcome((1, 0.9)), outcome((1, 0.9 - 9e-5))),
        (outcome((0, 0.5)), outcome((1, 0.5 + 3e-8))),
        (outcome((0, 0.34)), outcome((2, 0.34 - 5e-5))),
        (outcome((FAILED, 0), errors={0: "x"}), outcome((FAILED, 0), errors={0: "said otherwise"})),
    ],
    ids=["last digits", "rounding", "tie of two", "tie of three", "another reason"],
)
def test_two_computations_of_a_batch_agree(one: BatchResult, other: BatchResult) -> None:
    assert one.agrees(other)
    assert other.agrees(one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (outcome((1, 0.9)), outcome((1, 0.9 + 2e-4))),
        (outcome((1, 0.9)), outcome((1, 0.8))),
        (outcome((1, 0.9)), outcome((1, np.nan))),
        (outcome((1, 0.51)), outcome((2, 0.51))),
        (outcome((1, 0.9), (1, 0.9)), outcome((1, 0.9), (0, 0.9))),
        (outcome((1, 0.4)), outcome((2, 0.3))),
        (outcome((FAILED, 0), errors={0: "x"}), outcome((2, 5e-5))),
        (outcome((FAILED, 0), errors={0: "x"}), outcome((2, 0.9))),
        (outcome((1, 0.9)), outcome((1, 0.9), (1, 0.9))),
        (outcome((1, 0.9)), outcome((1, 0.9), model=PIN.model_copy(update={"number": 2}))),
    ],
    ids=[
        *("near", "far", "no number", "no tie above one half", "second image", "no tie of scores"),
        *("failed, tiny score", "failed", "length", "model"),
    ],
)
def test_two_outcomes_of_a_batch_differ(one: BatchResult, other: BatchResult) -> None:
    assert not one.agrees(other)
    assert not other.agrees(one)
