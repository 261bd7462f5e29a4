import os
from pathlib import Path
from typing import Any

import pytest

from storage.errors import Corrupt, NotFound
from storage.models.store import ModelPin, ModelStore, ModelVersion
from tests.builders import publish
from worker.errors import ModelRefused
from worker.runtimes.model_cache import ModelCache


class FakeLoader:
    """Makes a list of each version's name for a predictor, and remembers in which order."""

    def __init__(self) -> None:
        self.loaded: list[str] = []

    def __call__(self, version: ModelVersion) -> Any:
        self.loaded.append(str(version))
        return [str(version)]


def test_a_version_is_loaded_once(tmp_path: Path) -> None:
    store, load = ModelStore(tmp_path), FakeLoader()
    cache = ModelCache(store, load)
    pin = publish(store).pin
    predictor: Any = cache.get(pin)
    assert predictor == ["digits@1"]
    assert cache.get(pin) is predictor
    assert load.loaded == ["digits@1"]


def test_the_two_versions_used_last_stay_loaded(tmp_path: Path) -> None:
    store, load = ModelStore(tmp_path), FakeLoader()
    cache = ModelCache(store, load)
    first, second, third = (publish(store).pin for _ in range(3))
    for pin in (first, second, first, third, first, third):
        cache.get(pin)
    assert load.loaded == ["digits@1", "digits@2", "digits@3"]
    cache.get(second)
    assert load.loaded[-1] == "digits@2"


def test_swap_after_swap_two_versions_are_kept(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    cache = ModelCache(store, FakeLoader())
    for _ in range(6):
        cache.get(publish(store).pin)
    assert len(cache._loaded) == 2


def test_damage_is_found_before_anything_is_loaded_and_the_others_stay(tmp_path: Path) -> None:
    store, load = ModelStore(tmp_path), FakeLoader()
    cache = ModelCache(store, load)
    good, damaged = publish(store), publish(store)
    cache.get(good.pin)
    damaged.model_path.write_bytes(b"other")
    with pytest.raises(Corrupt):
        cache.get(damaged.pin)
    with pytest.raises(Corrupt):
        cache.get(ModelPin(name="digits", number=1, sha256="1" * 64, runtime="tensorflow"))
    with pytest.raises(NotFound):
        cache.get(ModelPin(name="digits", number=9, sha256="1" * 64, runtime="tensorflow"))
    cache.get(good.pin)
    assert load.loaded == ["digits@1"]


def test_a_version_that_fails_to_load_drops_no_other_and_is_tried_again(tmp_path: Path) -> None:
    store, good = ModelStore(tmp_path), FakeLoader()
    refused = {"digits@3"}

    def load(version: ModelVersion) -> Any:
        if str(version) in refused:
            raise ModelRefused(f"The model {version} fails its warm-up.")
        return good(version)

    cache = ModelCache(store, load)
    first, second, third = (publish(store).pin for _ in range(3))
    cache.get(first)
    cache.get(second)
    with pytest.raises(ModelRefused):
        cache.get(third)
    cache.get(first)
    cache.get(second)
    assert good.loaded == ["digits@1", "digits@2"]
    refused.clear()
    cache.get(third)
    assert good.loaded[-1] == "digits@3"


def test_the_champions_promoted_last_are_loaded_ahead(tmp_path: Path) -> None:
    store, load = ModelStore(tmp_path), FakeLoader()
    for name in ("a", "b", "c"):
        publish(store, name)
        store.promote(publish(store, name))
    publish(store, "candidate")
    assert ModelCache(store, load).warm_champions() == ["c@2", "b@2"]
    assert load.loaded == ["c@2", "b@2"]


def test_without_a_champion_nothing_is_loaded(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    publish(store)
    assert ModelCache(store, FakeLoader()).warm_champions() == []
    assert ModelCache(ModelStore(tmp_path / "empty"), FakeLoader()).warm_champions() == []
    assert not os.path.lexists(tmp_path / "empty"), "looking creates nothing"
