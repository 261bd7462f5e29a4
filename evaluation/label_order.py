"""Whether labels would fit the predictions if the classes stood in another order.

Names in the wrong order make a good model look like chance: `--labels` of an import, positions
that were counted in another order, a data set whose classes are sorted otherwise.
"""

import numpy as np

from evaluation.confusion import Evaluation

FEWEST_PER_CLASS = 5
"""With fewer labelled images a class, some order fits by chance."""
FITS = 0.6
"""Share of labels that must be right in the other order."""
GAIN = 0.1
"""By how much that must be more than now, at the least."""
DEVIATIONS = 4
"""How many times 1 / sqrt(N) it must be more, too: a coin's share varies by half of that."""


def note_on_order(evaluation: Evaluation) -> str | None:
    """A sentence when the labels would fit in another order of the classes; none otherwise."""
    matrix = evaluation.matrix
    count = int(matrix.sum())
    present = np.flatnonzero(matrix.sum(axis=1))
    if count < FEWEST_PER_CLASS * len(present) or len(present) < 2:
        return None
    # Each class is taken for the one that it is predicted as most; of several the most frequent.
    best, most = matrix.argmax(axis=1), matrix.max(axis=1)
    fitting = np.zeros_like(most)
    np.maximum.at(fitting, best, most)
    share, accuracy = fitting.sum() / count, matrix.trace() / count
    if share < FITS or share - accuracy < max(GAIN, DEVIATIONS / np.sqrt(count)):
        return None
    moved = [i for i in present[np.argsort(-most[present], kind="stable")] if best[i] != i]
    examples = ", ".join(
        f"{evaluation.labels[i]} is {evaluation.labels[best[i]]}" for i in moved[:3]
    )
    return (
        f"The labels would fit in another order of the classes: {share:.0%} instead of "
        f"{accuracy:.0%} if {examples}{' and so on' if len(moved) > 3 else ''}. Compare the order "
        "of the model's classes with the labels'."
    )
