import json
import threading
from pathlib import Path

import pytest

from storage.errors import BadName, Corrupt, NotFound, StalePublication
from storage.models.store import MODEL_FILE, ModelPin, ModelStore
from tests.builders import describe_model, publish, publish_both, runtime_choice


def test_a_published_version_is_read_back_whole(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    version = publish(store, content=b"weights")
    assert str(version) == "digits@1"
    assert store.version("digits", 1) == version
    assert version.model_path.read_bytes() == b"weights"
    assert version.manifest.accuracy == pytest.approx(14 / 15)
    version.verify()
    assert store.names() == ["digits"]


def test_versions_are_numbered_in_order_of_publication(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    for _ in range(11):
        publish(store)
    publish(store, "other")
    assert store.numbers("digits") == list(range(1, 12))  # ten comes after nine, not after one
    assert [str(version) for version in store.versions("other")] == ["other@1"]


def test_a_draft_is_no_version_before_it_is_published_and_none_afterwards_when_it_is_not(
    tmp_path: Path,
) -> None:
    store = ModelStore(tmp_path)
    with store.draft("digits") as draft:
        (draft / MODEL_FILE).write_bytes(b"half")
        assert store.names() == []
        assert store.numbers("digits") == []
    assert [entry.name for entry in (tmp_path / "models" / "digits").iterdir()] == []


def test_two_publishers_that_want_the_same_number_get_two(tmp_path: Path) -> None:
    class Overtaken(ModelStore):
        """Sees no version: another one was published since it looked."""

        def numbers(self, name: str) -> list[int]:
            return []

    first = publish(ModelStore(tmp_path), content=b"first")
    second = publish(Overtaken(tmp_path), content=b"second")
    third = publish(Overtaken(tmp_path), content=b"third")
    assert [version.number for version in (first, second, third)] == [1, 2, 3]
    for version in (first, second, third):
        version.verify()
    assert first.model_path.read_bytes() == b"first"


def test_many_publishers_at_once_lose_nothing(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    together = threading.Barrier(8)

    def publish_one(content: bytes) -> None:
        together.wait()
        publish(store, content=content)

    threads = [threading.Thread(target=publish_one, args=(bytes([i]),)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    versions = store.versions("digits")
    assert [version.number for version in versions] == list(range(1, 9))
    assert {version.model_path.read_bytes() for version in versions} == {
        bytes([i]) for i in range(8)
    }


def test_a_publication_that_cannot_be_renamed_fails_instead_of_trying_for_ever(
    tmp_path: Path,
) -> None:
    store = ModelStore(tmp_path)
    with store.draft("digits") as draft:
        (draft / MODEL_FILE).write_bytes(b"a model")

        class Vanishing(ModelStore):
            def numbers(self, name: str) -> list[int]:
                draft.rename(tmp_path / "gone")
                return []

        with pytest.raises(FileNotFoundError):
            Vanishing(tmp_path).publish("digits", draft, describe_model())


@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing"])
def test_damage_to_the_model_file_is_detected(tmp_path: Path, damage: str) -> None:
    store = ModelStore(tmp_path)
    version = publish(store, content=b"weights")
    match damage:
        case "flipped":
            version.model_path.write_bytes(b"weighty")
        case "truncated":
            version.model_path.write_bytes(b"weight")
        case "missing":
            version.model_path.unlink()
    for verify in (version.verify, lambda: store.pinned(version.pin)):
        with pytest.raises(Corrupt, match="digits@1 is damaged"):
            verify()


def test_a_pin_holds_only_as_long_as_the_digest_is_the_same(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    version = publish(store)
    assert store.pinned(version.pin) == version
    with pytest.raises(Corrupt, match="not the one the job was submitted with"):
        store.pinned(ModelPin(name="digits", number=1, sha256="1" * 64, runtime="tensorflow"))


def test_a_version_in_two_runtimes_has_a_pin_for_each_and_either_may_be_damaged(
    tmp_path: Path,
) -> None:
    version = publish_both(ModelStore(tmp_path), runtime=runtime_choice(100, "onnx"))
    keras, onnx = version.on("tensorflow"), version.on("onnx")
    assert version == onnx
    assert (keras.model_path.name, onnx.model_path.name) == ("model.keras", "model.onnx")
    assert keras.pin.sha256 != onnx.pin.sha256
    assert (keras.pin.runtime, onnx.pin.runtime) == ("tensorflow", "onnx")
    assert (keras.images_per_second, onnx.images_per_second) == (None, 100)
    store = ModelStore(tmp_path)
    assert [store.pinned(used.pin) for used in (keras, onnx)] == [keras, onnx]
    onnx.model_path.write_bytes(b"other")
    store.pinned(keras.pin)
    with pytest.raises(Corrupt, match=r"model\.onnx does not match its digest"):
        store.pinned(onnx.pin)
    with pytest.raises(Corrupt, match="not the one the job was submitted with"):
        store.pinned(keras.pin.model_copy(update={"runtime": "onnx"}))


def test_a_version_is_not_used_in_a_runtime_that_it_has_no_artefact_for(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    with pytest.raises(NotFound) as plain:
        publish(store).on("onnx")
    assert str(plain.value) == ("digits@1 cannot be used with ONNX Runtime, only with TensorFlow.")
    with pytest.raises(NotFound, match="only with ONNX Runtime: a test"):
        publish(store, format="onnx", runtime=runtime_choice(9, "onnx")).on("tensorflow")
    with pytest.raises(Corrupt, match="not the one the job was submitted with"):
        store.pinned(store.version("digits", 1).pin.model_copy(update={"runtime": "onnx"}))


def test_an_unreadable_manifest_is_corrupt(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    version = publish(store)
    (version.folder / "manifest.json").write_text("{}")
    with pytest.raises(Corrupt, match="manifest"):
        store.version("digits", 1)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_version_takes_grey_colours_or_colours_with_alpha(tmp_path: Path, channels: int) -> None:
    version = publish(ModelStore(tmp_path), input_shape=(8, 8, channels))
    assert ModelStore(tmp_path).version("digits", 1) == version


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("labels", [], "labels must name two classes"),
        ("labels", ["one", "one", "two"], "each by a name of its own"),
        ("labels", ["one", "", "two"], "each by a name of its own"),
        ("labels", ["two", "one", "zero"], "those of the evaluation, in their order"),
        ("input_shape", [0, 16, 3], "input_shape must have rows"),
        ("input_shape", [16, 16, 2], "1, 3 or 4 channels"),
        ("input_shape", [16, 16], r"input_shape\.2: Field required"),
        ("onnx_sha256", None, "runtime is onnx, of which there is no artefact"),
    ],
)
def test_a_manifest_that_was_changed_by_hand_is_refused_with_the_reason(
    tmp_path: Path, field: str, value: object, reason: str
) -> None:
    choice = runtime_choice(100, "onnx")
    version = publish_both(ModelStore(tmp_path), runtime=choice)
    path = version.folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(Corrupt, match=rf"digits@1 is damaged: .*manifest\.json .*{reason}"):
        ModelStore(tmp_path).version("digits", 1)


def test_references_mean_the_champion_or_exactly_one_version(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    first, second = publish(store), publish(store)
    store.promote(first)
    assert store.resolve("digits") == first
    assert store.resolve("digits@champion") == first
    assert store.resolve("digits@2") == second


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("digits", "has no champion: `trainer promote digits@N`"),
        ("digits@champion", "has no champion"),
        ("digits@7", "has no version 7, only 1"),
        ("digits@latest", "names no model version: write digits@3"),
        ("digits@1@1", "names no model version"),
        ("digits@-1", "names no model version"),
        ("digits@\u0661", "names no model version"),
        ("other", r"no model 'other' \(digits\): train one"),
        ("other@1", r"no model 'other' \(digits\): train one"),
    ],
)
def test_a_reference_to_nothing_says_what_there_is(
    tmp_path: Path, reference: str, sentence: str
) -> None:
    store = ModelStore(tmp_path)
    publish(store)
    with pytest.raises(NotFound, match=sentence):
        store.resolve(reference)


def test_names_that_leave_the_root_are_refused(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    for reference in ("../jobs@1", "../jobs", "@1", ""):
        with pytest.raises(BadName):
            store.resolve(reference)


def test_folders_that_are_no_models_are_passed_over(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    publish(store)
    (store.folder / "lost+found").mkdir()
    (store.folder / "empty").mkdir()
    (store.folder / "digits" / "notes").mkdir()
    assert store.names() == ["digits"]
    assert store.numbers("digits") == [1]


def test_a_stale_fencing_token_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    late, early = publish(store), publish(store)
    store.promote(early, fencing_token=5)
    with pytest.raises(StalePublication, match=r"digits@1 .*fencing token 4, the champion has 5"):
        store.promote(late, fencing_token=4)
    champion = store.champion("digits")
    assert champion is not None
    assert (champion.number, champion.fencing_token, champion.former) == (2, 5, ())


def test_the_fencing_token_outlives_promotions_by_hand_and_rollbacks(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    first, second, third = publish(store), publish(store), publish(store)
    store.promote(first, fencing_token=5)
    assert store.promote(second).fencing_token == 5
    assert store.rollback("digits").fencing_token == 5
    with pytest.raises(StalePublication):
        store.promote(third, fencing_token=4)
    assert store.promote(third, fencing_token=6).fencing_token == 6
    assert store.promote(third, fencing_token=6).number == 3


def test_rollback_walks_back_through_the_champions(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    versions = [publish(store) for _ in range(3)]
    for version in versions:
        store.promote(version)
    assert store.rollback("digits").number == 2
    store.promote(versions[2])
    assert [store.rollback("digits").number for _ in range(2)] == [2, 1]
    with pytest.raises(NotFound, match="digits@1 is the first champion"):
        store.rollback("digits")
    assert store.resolve("digits") == versions[0]


def test_promoting_the_champion_again_adds_nothing_to_its_history(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    first, second = publish(store), publish(store)
    for version in (first, second, second):
        champion = store.promote(version)
    assert champion.former == (1,)


def test_rollback_without_a_champion_is_refused(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    with pytest.raises(NotFound, match="no model 'digits'"):
        store.rollback("digits")


def test_an_unreadable_champion_file_is_corrupt_with_the_way_out(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    version = publish(store)
    store.promote(version)
    (store.folder / "digits" / "champion.json").write_text("")
    with pytest.raises(Corrupt, match="trainer promote digits@N"):
        store.resolve("digits")
