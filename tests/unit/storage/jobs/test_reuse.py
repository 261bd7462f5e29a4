import os
import random
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest

from imaging.images import Pixels
from storage.errors import Corrupt
from storage.jobs import reuse
from storage.jobs.reuse import Known, ReuseFile, ReuseStore, distinct, keys_of, merged
from storage.jobs.store import JobStore
from tests.builders import PIN, ranking_of

OTHER = PIN.model_copy(update={"sha256": "1" * 64})


@pytest.fixture
def store(tmp_path: Path) -> ReuseStore:
    return ReuseStore(tmp_path)


def noise(count: int, seed: int = 1) -> Pixels:
    """Images that are all different."""
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 1), np.uint8)


def known_of(pixels: Pixels, predictions: Sequence[int] | None = None) -> Known:
    """What is known of some images; their predictions are 0, 1, 2, ... unless given."""
    keys = keys_of(pixels)
    first, _ = distinct(keys)
    classes = np.array(predictions or range(len(pixels)), np.int32)
    return Known(
        keys=keys[:, first],
        ranking=ranking_of(classes[first], (classes[first] / 1000).astype(np.float32)),
    )


def answers(known: Known, images: Pixels) -> list[int]:
    """The predictions of those images that are known, in their order."""
    keys = keys_of(images)
    first, _ = distinct(keys)
    found, at = known.find(keys[:, first])
    order = np.argsort(first[found])
    return list(known.ranking.classes[:, 0][at[order]].tolist())


def only_file(store: ReuseStore) -> ReuseFile:
    (file,) = store.files(PIN)
    return file


# Keys


def test_a_key_is_the_digest_of_the_pixels_and_stays_it() -> None:
    (image,) = noise(1)
    digest = blake2b(image.tobytes(), digest_size=16).digest()
    assert keys_of(image[np.newaxis]).T.astype("<u8").tobytes() == digest


def test_equal_pixels_have_the_same_key_wherever_they_lie_in_memory() -> None:
    images = noise(10)
    np.testing.assert_array_equal(keys_of(images), keys_of(np.asfortranarray(images)))
    np.testing.assert_array_equal(keys_of(images)[:, ::3], keys_of(images[::3]))


def test_one_bit_of_one_pixel_makes_another_key() -> None:
    image = noise(1)[0]
    others = np.repeat(image[np.newaxis], 128, axis=0)
    for bit in range(128):
        others.reshape(128, 16)[bit, bit // 8] ^= 1 << bit % 8
    keys = keys_of(np.concatenate([image[np.newaxis], others]))
    assert len(distinct(keys)[0]) == 129


def test_distinct_finds_where_each_image_comes_first() -> None:
    images = noise(4)[[2, 0, 2, 1, 0, 3, 3]]
    first, which = distinct(keys_of(images))
    assert sorted(first.tolist()) == [0, 1, 3, 5]
    np.testing.assert_array_equal(images[first][which], images)
    assert len(distinct(keys_of(images[:0]))[0]) == 0


# What is known


@pytest.mark.parametrize(
    ("kept", "asked"),
    [(range(200), range(300)), (range(300), range(100, 250)), (range(100), range(50, 150))],
    ids=["fewer are known than asked for", "more", "as many"],
)
def test_known_images_are_found_and_others_are_not(kept: range, asked: range) -> None:
    images = noise(300)
    known = known_of(images[kept.start : kept.stop])
    keys = keys_of(images[asked.start : asked.stop])
    first, _ = distinct(keys)
    found, at = known.find(keys[:, first])
    whose = first[found] + asked.start
    assert sorted(whose.tolist()) == sorted(set(kept) & set(asked))
    assert (known.ranking.classes[:, 0][at] + kept.start).tolist() == whose.tolist()


@pytest.mark.parametrize("asked_more", [False, True])
def test_keys_that_share_half_are_not_taken_for_each_other(asked_more: bool) -> None:
    one, other = np.array([[5, 5, 7], [1, 2, 3]]), np.array([[0, 5, 5, 7, 9], [1, 2, 9, 3, 3]])
    kept, asked = (one, other) if asked_more else (other, one)
    known = Known(
        keys=kept.astype(np.uint64),
        ranking=ranking_of(range(kept.shape[1]), np.zeros(kept.shape[1])),
    )
    found, at = known.find(asked.astype(np.uint64))
    np.testing.assert_array_equal(asked[:, found], kept[:, at])
    assert 7 in asked[0, found], "one that shares its half may be missed, others never"


def test_merging_keeps_every_key_once_and_the_first_answer() -> None:
    images = noise(30)
    both = merged([known_of(images[:20]), known_of(images[10:], [99] * 20)])
    assert len(both) == 30
    assert answers(both, images) == [*range(20), *[99] * 10]


# On storage


def test_what_was_added_is_read_back(store: ReuseStore) -> None:
    known = known_of(noise(50))
    store.add(PIN, known)
    again = store.read(PIN, only_file(store))
    for one, other in (
        (again.keys, known.keys),
        (again.ranking.classes, known.ranking.classes),
        (again.ranking.scores, known.ranking.scores),
    ):
        np.testing.assert_array_equal(one, other, strict=True)
    assert only_file(store).images == 50


def test_nothing_is_known_of_another_model(store: ReuseStore) -> None:
    path = store.add(PIN, known_of(noise(5)))
    assert store.files(OTHER) == []
    target = store.add(OTHER, known_of(noise(5, seed=2))).with_name(path.name)
    target.write_bytes(path.read_bytes())  # misplaced by hand
    (misplaced,) = [file for file in store.files(OTHER) if file.path == target]
    with pytest.raises(Corrupt, match="is of another model than digits@1"):
        store.read(OTHER, misplaced)


def test_what_is_kept_is_no_job(store: ReuseStore, tmp_path: Path) -> None:
    store.add(PIN, known_of(noise(5)))
    assert JobStore(tmp_path).ids() == []


def test_any_damage_is_found(store: ReuseStore) -> None:
    store.add(PIN, known_of(noise(20)))
    file = only_file(store)
    content = file.path.read_bytes()
    for length in range(0, len(content), 7):
        file.path.write_bytes(content[:length])
        with pytest.raises(Corrupt):
            store.read(PIN, file)
    chance = random.Random(1)
    for _ in range(500):
        damaged = bytearray(content)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        file.path.write_bytes(damaged)
        with pytest.raises(Corrupt):
            store.read(PIN, file)
    file.path.write_bytes(content)
    assert len(store.read(PIN, file)) == 20


def test_two_writers_of_the_same_leave_one_file(store: ReuseStore) -> None:
    assert store.add(PIN, known_of(noise(5))) == store.add(PIN, known_of(noise(5)))
    assert len(store.files(PIN)) == 1


def test_drafts_and_strange_files_are_left_alone(store: ReuseStore) -> None:
    folder = store.add(PIN, known_of(noise(5))).parent
    for name in (".new-5-0-ab", "notes.txt", "5-xyz.npz"):
        (folder / name).write_text("half")
    assert len(store.files(PIN)) == 1


# Merging files


def fill(store: ReuseStore, files: int) -> Pixels:
    """So many files of two images each; returns all the images."""
    images = noise(2 * files)
    for number in range(files):
        store.add(PIN, known_of(images[2 * number : 2 * number + 2], [number] * 2))
    return images


def everything(store: ReuseStore) -> Known:
    return merged([store.read(PIN, file) for file in store.files(PIN)])


def test_few_files_are_left_as_they_are(store: ReuseStore) -> None:
    fill(store, reuse.MOST_SMALL_FILES)
    assert store.compact(PIN) == 0
    assert len(store.files(PIN)) == reuse.MOST_SMALL_FILES


def test_many_small_files_become_one_that_knows_the_same(store: ReuseStore) -> None:
    images = fill(store, reuse.MOST_SMALL_FILES + 1)
    assert store.compact(PIN) == reuse.MOST_SMALL_FILES + 1
    assert only_file(store).images == len(images)
    assert answers(everything(store), images) == [i // 2 for i in range(len(images))]


def test_files_do_not_grow_beyond_their_limit(
    store: ReuseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reuse, "MOST_IMAGES", 50)
    images = fill(store, reuse.MOST_SMALL_FILES + 1)
    while store.compact(PIN):
        pass
    assert max(file.images for file in store.files(PIN)) == 50
    assert len(everything(store)) == len(images)


def test_two_that_merge_at_once_lose_nothing(
    store: ReuseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second merges everything at the moment before the first removes what it has merged."""
    images = fill(store, reuse.MOST_SMALL_FILES + 1)
    second = ReuseStore(tmp_path)
    add = store.add

    def add_and_be_overtaken(model: object, known: Known) -> Path:
        path = add(PIN, known)
        late = noise(2, seed=9)
        second.add(PIN, known_of(late))
        assert second.compact(PIN) > 0
        return path

    monkeypatch.setattr(store, "add", add_and_be_overtaken)
    store.compact(PIN)
    asked = np.concatenate([images, noise(2, seed=9)])
    assert len(answers(everything(store), asked)) == len(images) + 2


def test_merging_removes_what_is_damaged(store: ReuseStore) -> None:
    fill(store, reuse.MOST_SMALL_FILES + 1)
    damaged = store.files(PIN)[3].path
    damaged.write_bytes(b"torn")
    assert store.compact(PIN) == reuse.MOST_SMALL_FILES
    assert not damaged.exists()
    assert only_file(store).images == 2 * reuse.MOST_SMALL_FILES


# Pruning


def test_what_is_old_or_of_a_model_that_is_gone_is_pruned(store: ReuseStore) -> None:
    old, new = (store.add(PIN, known_of(noise(5, seed))) for seed in (1, 2))
    gone = store.add(OTHER, known_of(noise(5)))
    os.utime(old, (1000, 1000))
    would = store.prune({PIN.sha256}, 2000, dry_run=True)
    assert old.exists()
    assert gone.exists()
    assert would == [
        (f".reuse/{path.parent.name}", path.stat().st_size) for path in sorted([old, gone])
    ]
    assert store.prune({PIN.sha256}, 2000, dry_run=False) == would
    assert (old.exists(), new.exists(), gone.parent.exists()) == (False, True, False)
