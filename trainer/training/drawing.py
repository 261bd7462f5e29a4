"""Pictures that people look at: a confusion matrix and a grid of images. All in one style.

Matplotlib is imported inside the functions, and only its objects are used: nothing here needs a
screen or leaves a figure behind.
"""

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from console.shortening import shortened
from evaluation.confusion import Evaluation, IntArray
from imaging.images import Pixels
from storage.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = NDArray[np.floating]

RIGHT_COLOUR, WRONG_COLOUR, INK, FAINT_INK = "#0072b2", "#d55e00", "#22272e", "#57606a"
STYLE = Path(__file__).with_name("batchsight.mplstyle")
CJK_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "Microsoft YaHei",
    "PingFang SC",
)
MOST_NUMBERED_CLASSES = 25
LONGEST_LABEL = 18


def confusion_picture(evaluation: Evaluation, path: Path, title: str) -> None:
    """Draw the confusion matrix as a PNG file at `path`.

    Right answers are blue, mistakes orange; the more of a class, the darker. At the right stands
    the share of each class that was recognised. Beyond 25 classes the numbers are left out.
    """
    matrix = evaluation.matrix
    classes = len(matrix)
    support = matrix.sum(axis=1, keepdims=True)
    share = matrix / np.maximum(support, 1)
    numbered = classes <= MOST_NUMBERED_CLASSES
    side = float(np.clip(0.52 * classes, 2.6, 9.0))
    with new_figure((side + 2.2, side + 1.7), path, title) as figure:
        axes = figure.add_subplot()
        axes.imshow(_confusion_colours(share), interpolation="nearest")
        axes.set(xlabel="predicted", ylabel="actual")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        _mark_classes(axes, evaluation.labels)
        if numbered:
            _write_counts(axes, matrix, share)
            _write_recall(axes, share.diagonal(), support.ravel())


def image_grid(
    images: Sequence[Pixels],
    captions: Sequence[str],
    wrong: Sequence[bool],
    path: Path,
    title: str,
    columns: int = 5,
) -> None:
    """Draw uint8 images (H, W, C) with a caption each as a PNG file at `path`.

    The wrong ones have a frame and a caption in orange, with a cross before it.
    """
    columns = max(1, min(columns, len(images)))
    rows = max(1, -(-len(images) // columns))
    lines = max((caption.count("\n") + 1 for caption in captions), default=1)
    longest = max((len(line) for caption in captions for line in caption.split("\n")), default=1)
    width = float(np.clip(0.08 * (longest + 3), 1.35, 2.5))
    size = (max(width * columns + 0.3, 3.2), (width + 0.17 * lines) * rows + 0.6)
    with new_figure(size, path, title) as figure:
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in grid[len(images) :]:
            axes.set_axis_off()
        for axes, image, caption, bad in zip(grid, images, captions, wrong, strict=False):
            _show_image(axes, image)
            axes.set_title(
                f"✗ {caption}" if bad else caption,
                loc="center",
                fontsize=8.5,
                color=WRONG_COLOUR if bad else INK,
                fontweight="bold" if bad else "normal",
            )
            axes.spines[:].set(
                visible=True, color=WRONG_COLOUR if bad else "#d0d7de", linewidth=3 if bad else 0.8
            )


@contextmanager
def new_figure(
    inches: tuple[float, float], path: Path, title: str | None = None
) -> Iterator["Figure"]:
    """A figure in the project's style with nothing but a title, in the end a PNG file at `path`.

    The file says its title, too.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with (
        matplotlib.rc_context({"font.family": _font_families()}, fname=STYLE),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=inches, layout="constrained")
        if title:
            figure.suptitle(title, x=0.02, ha="left")
        yield figure
        buffer = io.BytesIO()
        figure.savefig(
            buffer,
            format="png",
            bbox_inches="tight",
            pad_inches=0.2,
            metadata={"Title": title or ""},
        )
    write_atomically(path, buffer.getvalue())


@cache
def _font_families() -> list[str]:
    """Matplotlib's own font, and after it one with Chinese characters where one is installed."""
    from matplotlib import font_manager

    logging.getLogger("matplotlib.font_manager").setLevel(logging.WARNING)
    installed = set(font_manager.get_font_names())
    return ["DejaVu Sans", *[name for name in CJK_FONTS if name in installed][:1]]


def _confusion_colours(share: FloatArray) -> FloatArray:
    """Colours (C, C, 3), 0 to 1: blue on the diagonal, orange beside it, from nearly white."""
    from matplotlib.colors import to_rgb

    right, wrong, empty = (np.array(to_rgb(c)) for c in (RIGHT_COLOUR, WRONG_COLOUR, "#f6f8fa"))
    colours = empty + _mistake_depth(share)[..., None] * (wrong - empty)
    diagonal = np.arange(len(share))
    colours[diagonal, diagonal] = empty + share.diagonal()[:, None] * (right - empty)
    return np.asarray(colours)


def _mistake_depth(share: FloatArray) -> FloatArray:
    """How dark each mistake is, 0 to 1: pale throughout when even the worst is rare."""
    mistakes = share - np.diag(share.diagonal())
    return (mistakes / max(float(mistakes.max(initial=0.0)), 0.02)) ** 0.7


def _mark_classes(axes: "Axes", labels: Sequence[str]) -> None:
    step = -(-len(labels) // 50)
    shown = range(0, len(labels), step)
    names = [shorten(labels[i]) for i in shown]
    slanted = max(map(len, names)) > 3 and len(names) > 1
    axes.set_xticks(
        list(shown), names, rotation=45 if slanted else 0, ha="right" if slanted else "center"
    )
    axes.set_yticks(list(shown), names)
    axes.set_xticks(np.arange(len(labels) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(labels) + 1) - 0.5, minor=True)
    if len(labels) <= 50:
        axes.grid(visible=True, which="minor", axis="both", color="white", linewidth=1.5)
    axes.tick_params(which="minor", length=0)


def _write_counts(axes: "Axes", matrix: IntArray, share: FloatArray) -> None:
    depth = _mistake_depth(share)
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            dark = (share if row == column else depth)[row, column] > 0.55
            axes.text(
                column,
                row,
                f"{count:,}",
                ha="center",
                va="center",
                fontsize=8 if count < 1000 else 7,
                color="white" if dark else INK,
            )


def _write_recall(axes: "Axes", recall: FloatArray, support: IntArray) -> None:
    right = axes.secondary_yaxis("right")
    texts = [f"{r:.1%}" if n else "none" for r, n in zip(recall, support, strict=True)]
    right.set_yticks(range(len(recall)), texts)
    right.set_ylabel("recognised", color=FAINT_INK)
    right.tick_params(length=0)
    right.spines[:].set_visible(False)


def _show_image(axes: "Axes", image: Pixels) -> None:
    """Show uint8 pixels (H, W, C); a single channel as grey."""
    if image.ndim == 3 and image.shape[-1] == 1:
        image = image[..., 0]
    small = max(image.shape[:2]) < 100
    axes.imshow(
        image,
        cmap="gray",
        vmin=0,
        vmax=255,
        interpolation="nearest" if small else "antialiased",
    )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)


def shorten(label: str) -> str:
    """A label that fits beside a picture."""
    return shortened(label, LONGEST_LABEL)
