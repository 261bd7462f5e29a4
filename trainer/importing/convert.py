"""`python -m trainer.importing.convert`: a foreign model becomes an artefact, in a clean process.

`trainer.importing.conversions` says what comes in and goes out.
"""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np

from evaluation.agreement import Agreement
from evaluation.ranking import SAME_SCORE
from imaging.images import Pixels, Shape
from imaging.preprocessing import AS_KERAS
from process.keras_errors import reason_of
from storage.errors import StorageError
from storage.models.contract import Contract
from storage.models.store import FILE_OF
from trainer.errors import ImportFailed, TrainerError
from trainer.importing.check_images import PROBES, patterns, probes_of
from trainer.importing.conversions import Conversion, ConversionAnswer, ConversionRequest
from trainer.importing.findings import Findings
from trainer.importing.fit import Check
from trainer.importing.originals.opening import open_original
from trainer.importing.originals.original import (
    Facts,
    Floats,
    coarseness_of,
    probabilities_of,
    require_one_output,
)
from trainer.importing.originals.outputs import kind_of
from trainer.importing.originals.shapes import layout_of, shape_of
from trainer.importing.steadiness import require_steady
from trainer.importing.subject import TRIALS_SHARE, Subject

CHANNELS_IN_WORDS = {1: "grey", 3: "RGB", 4: "RGBA"}


def main() -> None:
    """Answer one request."""
    request = ConversionRequest.model_validate_json(sys.stdin.buffer.read())
    signal.alarm(request.seconds)
    try:
        answer = ConversionAnswer(conversion=convert(request))
    except (TrainerError, StorageError) as error:
        answer = ConversionAnswer(refusal=str(error))
    print(answer.model_dump_json())


def convert(request: ConversionRequest) -> Conversion:
    """Open, find out, try, write and compare; raises `ImportFailed` or `Corrupt`."""
    original = open_original(request.path)
    facts = original.facts
    require_one_output(request.path, facts.outputs)
    labels = labels_of(request, facts)
    layout = layout_of(facts.shape, request.path, request.layout)
    known = request.check.shape if request.check else None
    shape = shape_of(facts.shape, layout, request.path, size=request.size, known=known)
    told = Contract(source=facts.source, scaling=request.scaling or facts.usual, layout=layout)
    if not told.scaling.fits(shape[2]):
        plain = told.scaling.model_copy(update={"bgr": False})
        option = "--channels bgr" if plain.fits(shape[2]) else f"--scale {told.scaling.name}"
        raise ImportFailed(
            f"{request.path} takes {CHANNELS_IN_WORDS[shape[2]]} images, and {option} is for "
            "others."
        )
    if not facts.takes(told.scaling):
        raise ImportFailed(
            f"{request.path} takes whole numbers ({facts.dtype}), and --scale {told.scaling.name} "
            f"gives others: --scale {facts.usual.name} suits them."
        )
    subject = Subject(
        original=original,
        shape=shape,
        contract=told,
        preprocessing=request.preprocessing or AS_KERAS,
    )
    probes = probes_of(request.check, subject.shape, subject.preprocessing)
    with running(request.path, shape):
        outputs = subject.answers(probes)
    output = kind_of(
        outputs,
        request.path,
        classes=len(labels),
        activation=facts.activation,
        told=request.output,
    )
    subject = replace(subject, contract=told.model_copy(update={"output": output}))
    findings = find_out(request, subject, labels, probes)
    contract = subject.contract.model_copy(update={"scaling": findings.chosen.scaling})
    format = original.write(request.folder, contract, shape)
    artefact = open_artefact(request.folder / FILE_OF[format])
    (answers,) = subject.outputs(probes, contract.scaling)
    coarseness = coarseness_of(answers)
    few = np.concatenate([probes[::2], patterns(PROBES, shape)[1::2]])
    own = partial(subject.probabilities, scaling=contract.scaling)
    with running(request.path, shape):
        require_steady(own, artefact, few, request.path, coarseness)
    expected = probabilities_of(answers, contract.output)
    compare(artefact(probes), expected, request.path, coarseness)
    return Conversion(
        format=format,
        shape=shape,
        labels=labels,
        contract=contract,
        preprocessing=findings.chosen.preprocessing,
        framework=facts.framework,
        accuracy=findings.accuracy,
        checked=findings.checked,
        notes=tuple(findings.notes(request, facts, contract, labels)),
    )


def labels_of(request: ConversionRequest, facts: Facts) -> tuple[str, ...]:
    """As told, as the file says, or the classes of the check; raises `ImportFailed`."""
    labels = request.labels or facts.labels
    if not labels and request.check:
        labels = tuple(sorted(set(request.check.classes)))
    if not labels:
        where = f" clearly in {facts.unclear_labels!r}" if facts.unclear_labels else ""
        raise ImportFailed(
            f"{request.path} does not name its classes{where}: give their names by --labels, a "
            "file with one a line, in the order of its outputs."
        )
    if request.check:
        request.check.require_classes(labels)
    return labels


def find_out(
    request: ConversionRequest, subject: Subject, labels: tuple[str, ...], probes: Pixels
) -> Findings:
    """Try the usual ways on the check's images; raises `ImportFailed` if what is told is wrong."""
    if request.check is None:
        return Findings.untried(subject)
    sample = request.check.sample(subject.affordable(probes, request.seconds))
    rows, broken = request.check.readable(sample, subject.shape, subject.preprocessing)
    until = perf_counter() + TRIALS_SHARE * request.seconds
    check = Check(labels, [request.check.classes[row] for row in rows])
    scalings = subject.try_scalings(request.check, rows, subject.preprocessing, until)
    told = scalings[0]
    scaled = told if request.scaling else check.chosen_scaling(scalings)
    fixed = request.preprocessing or check.better_fit(scalings, scaled)
    ways = [scaled]
    if not fixed:  # no way to a size makes up for a wrong scale
        ways += subject.try_ways(request.check, rows, scaled.scaling, until)
    chosen = check.chosen_way(ways)
    tried = [*scalings, *ways[1:]]
    if chosen is not scaled:  # what the size had blurred may tell the scales apart now
        scalings = subject.try_scalings(request.check, rows, chosen.preprocessing, until)
        chosen = chosen if request.scaling else check.chosen_scaling(scalings)
        tried += scalings
    better = check.better_fit(tried, chosen)
    if better and better.sure:
        raise ImportFailed(f"{request.path} is not published: {better}")
    findings = Findings.of(
        check, told=told, chosen=chosen, scalings=scalings, ways=ways, better=better
    )
    return replace(findings, broken=tuple(broken))


@contextmanager
def running(path: Path, shape: Shape) -> Iterator[None]:
    """Raise `ImportFailed` with what a network runs into when it is given images."""
    try:
        yield
    except TrainerError:
        raise
    except Exception as error:  # Keras, TensorFlow and ONNX Runtime have many kinds
        raise ImportFailed(
            f"{path} cannot be run on images of {' x '.join(map(str, shape))}: {reason_of(error)}"
        ) from None


def compare(given: np.ndarray, expected: np.ndarray, path: Path, coarseness: float) -> None:
    """Raise `ImportFailed` unless the artefact gives what the file and plain NumPy give."""
    agreement = Agreement.of(given, expected)
    if not agreement.difference <= max(SAME_SCORE, coarseness):  # what is no number is no less
        raise ImportFailed(
            f"{path} is not published: its probabilities would differ by "
            f"{agreement.difference:.2g} from those of the file."
        )


def open_artefact(artefact: Path) -> Callable[[Pixels], Floats]:
    """What was written, which gives probabilities (n, classes) for pixels."""
    if artefact.suffix == ".onnx":
        from trainer.importing.originals.onnx_original import OnnxOriginal

        graph = OnnxOriginal.read(artefact)
        return lambda pixels: np.asarray(graph(pixels)[0], np.float32)
    import keras

    model = keras.saving.load_model(artefact, compile=False, safe_mode=True)
    return lambda pixels: np.asarray(model(pixels, training=False), np.float32)


if __name__ == "__main__":
    main()
