"""What a `.keras` file says of its network, read from its configuration: nothing is loaded."""

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.errors import Corrupt

CONFIG_BYTES_LIMIT = 50_000_000
CODE = frozenset({"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"})
"""Layers of Keras that bring code along, or fetch it from elsewhere."""
SCALING = frozenset(
    {
        *("Rescaling", "Normalization", "BatchNormalization", "LayerNormalization"),
        *("GroupNormalization", "UnitNormalization", "RMSNormalization"),
        *("Add", "Subtract", "Multiply", "Divide", "TrueDivide"),
    }
)
PASSING = frozenset(
    {
        *("InputLayer", "Identity", "Cast", "Dropout", "GaussianNoise", "Flatten", "Reshape"),
        *("Permute", "Transpose", "Resizing", "CenterCrop", "Cropping2D", "ZeroPadding2D"),
        *("GetItem", "Stack", "Flip", "Split", "Concatenate", "Pipeline"),
    }
)
"""Layers before which, or behind which, the same scaling of pixels can stand."""

Config = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Input:
    name: str
    shape: tuple[int | None, ...]
    """Batch first."""
    dtype: str = "float32"


class Architecture:
    """The network in a `.keras` file."""

    def __init__(self, config: Config, keras: str | None = None) -> None:
        self.config = config
        self.keras = keras
        """Version of the Keras that wrote it, if the file says so."""

    @classmethod
    def read(cls, archive: Path, name: str | None = None) -> "Architecture":
        """Read a file that is called `name` in errors; raises `Corrupt`."""
        named = name or str(archive)
        version = read_member(archive, "metadata.json", named).get("keras_version")
        config = read_member(archive, "config.json", named)
        return cls(config, version if isinstance(version, str) else None)

    @property
    def inputs(self) -> list[Input]:
        """Its inputs, as far as they are known: none for a network that takes whatever it gets."""
        described = {found.name: found for found in map(as_input, self.layers()) if found}
        names = self._ends("input_layers")
        if names:
            return [described[name] for name in names if name in described]
        if described:
            return [next(iter(described.values()))]
        built = self.config.get("build_config")
        shape = as_shape(built.get("input_shape")) if isinstance(built, dict) else None
        return [Input(name="input", shape=shape)] if shape else []

    @property
    def outputs(self) -> dict[str | int, str]:
        """Names of the layers it ends with, by what finds each one in what it returns."""
        ends = settings(self.config).get("output_layers")
        if isinstance(ends, dict):
            return {key: layer[0] for key, layer in ends.items() if is_end(layer)}
        return dict(enumerate(self._ends("output_layers")))

    def units(self, layer: str) -> int | None:
        """How many numbers a layer of that name gives, if it says so."""
        found = (settings(known) for known in self.layers() if name_of(known) == layer)
        units = next((config.get("units") for config in found), None)
        return units if isinstance(units, int) else None

    @property
    def scales(self) -> bool:
        """Whether it begins with something that scales pixels, or takes whole numbers."""
        if any(known.dtype.startswith(("uint", "int")) for known in self.inputs):
            return True
        for layer in self.layers():
            kind = str(layer.get("class_name"))
            if kind == "Rescaling" and changes_nothing(settings(layer)):
                continue
            if kind not in PASSING and not kind.startswith("Random"):
                return kind in SCALING
        return True

    @property
    def code(self) -> tuple[str, str] | None:
        """Name and class of the first layer that brings code along."""
        for layer in self.layers():
            if layer.get("class_name") in CODE:
                return name_of(layer), str(layer["class_name"])
        return None

    @property
    def foreign(self) -> tuple[str, str] | None:
        """The first part, such as `layer 'scale'`, that Keras does not have, and its class."""
        for part in parts(self.config):
            kind, registered = part.get("class_name"), part.get("registered_name")
            module = part.get("module")
            if kind == "function" and isinstance(part.get("config"), str):
                return "function", str(part["config"])
            if "module" in part and not is_of_keras(module, registered):
                layer = "layer " + repr(name_of(part)) if part is not self.config else "network"
                return layer, str(registered or f"{module}.{kind}")
        return None

    def layers(self) -> Iterator[Config]:
        """All layers in the order of the network, those of networks inside it in their place."""
        waiting = [self.config]
        while waiting:
            layer = waiting.pop()
            inside = settings(layer).get("layers")
            if isinstance(inside, list):
                waiting.extend(part for part in reversed(inside) if isinstance(part, dict))
            else:
                yield layer

    def _ends(self, which: str) -> list[str]:
        """Names in `input_layers` or `output_layers`, which Keras writes in three forms."""
        ends = settings(self.config).get(which)
        if isinstance(ends, dict):
            ends = list(ends.values())
        if is_end(ends):
            ends = [ends]
        return [end[0] for end in ends if is_end(end)] if isinstance(ends, list) else []


def read_member(archive: Path, name: str, path: str) -> dict[str, Any]:
    """One of the JSON objects in a `.keras` file; raises `Corrupt`."""
    try:
        with zipfile.ZipFile(archive) as members:
            if members.getinfo(name).file_size > CONFIG_BYTES_LIMIT:
                raise Corrupt(f"{path} is refused: its {name} is too large.")
            content = json.loads(members.read(name))
    except (KeyError, ValueError, RecursionError, zipfile.BadZipFile, OSError):
        raise Corrupt(f"{path} is refused: its {name} cannot be read.") from None
    if not isinstance(content, dict):
        raise Corrupt(f"{path} is refused: its {name} is no JSON object.")
    return content


def parts(config: Any) -> Iterator[Config]:
    """All objects of a configuration that have a class, however deep they lie."""
    waiting = [config]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if isinstance(part.get("class_name"), str):
                yield part
            waiting.extend(reversed(part.values()))
        elif isinstance(part, list):
            waiting.extend(reversed(part))


def settings(layer: Config) -> Config:
    """What a layer was made with."""
    config = layer.get("config")
    return config if isinstance(config, dict) else {}


def changes_nothing(rescaling: Config) -> bool:
    """Whether this scale and offset leave pixels as they are."""
    return rescaling.get("scale") == 1 and rescaling.get("offset", 0) == 0


def name_of(layer: Config) -> str:
    """The name of a layer, empty if it has none."""
    return str(settings(layer).get("name") or "")


def as_input(layer: Config) -> Input | None:
    config = settings(layer)
    shape = as_shape(config.get("batch_shape", config.get("batch_input_shape")))
    if layer.get("class_name") != "InputLayer" or shape is None:
        return None
    return Input(name=name_of(layer), shape=shape, dtype=str(config.get("dtype")))


def as_shape(value: Any) -> tuple[int | None, ...] | None:
    if isinstance(value, list) and all(n is None or type(n) is int for n in value):
        return tuple(value)
    return None


def is_end(value: Any) -> bool:
    """Whether this names a layer as an input or output: `["dense", 0, 0]`."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], str)


def is_of_keras(module: Any, registered: Any) -> bool:
    """Whether a class comes with Keras or Python itself."""
    if module is None:
        return registered is None
    return str(module).split(".")[0] in ("keras", "tf_keras", "builtins")
