"""Which classes were taken for which."""

import numpy as np

from evaluation.confusion import Evaluation
from producer.report.formatting import have_long_names, name, percent
from producer.report.html import Markup, element
from producer.report.html_tables import scroll, table

MOST_MATRIX_CLASSES = 25
MOST_CONFUSIONS = 30
LONGEST_HEAD, LONGEST_LYING = 20, 5
"""Characters of a name beside the matrix, and of one that need not stand upright above it."""


def confusion_section(evaluation: Evaluation) -> Markup:
    """The matrix, or of many classes the commonest confusions."""
    if not evaluation.count:
        return Markup()
    if len(evaluation.labels) > MOST_MATRIX_CLASSES:
        return confusion_list(evaluation)
    return confusion_matrix(evaluation)


def confusion_matrix(evaluation: Evaluation) -> Markup:
    """Actual classes by row, predicted ones by column; the darker, the more of its row."""
    matrix = evaluation.matrix
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    mistakes = shares - np.diag(shares.diagonal())
    depths = (mistakes / max(float(mistakes.max(initial=0.0)), 0.02)) ** 0.7
    np.fill_diagonal(depths, shares.diagonal())
    levels = np.ceil(depths * 9).astype(int)

    def cell(i: int, j: int) -> Markup:
        if not matrix[i, j]:
            return element("td")
        colour = "r" if i == j else "w"
        return element("td", f"{matrix[i, j]:,}", class_=f"{colour}{levels[i, j]}")

    names = [name(label, LONGEST_HEAD) for label in evaluation.labels]
    upright = max(map(len, evaluation.labels)) > LONGEST_LYING
    every = range(len(names))
    head = element("tr", element("td"), *(element("th", n, scope="col") for n in names))
    rows = [
        element("tr", element("th", names[i], scope="row"), *(cell(i, j) for j in every))
        for i in every
    ]
    said = (
        "Rows are actual classes, columns predicted ones. Blue is right, orange wrong; the darker, "
        "the larger its share of the row."
    )
    kind = "matrix upright" if upright else "matrix"
    return scroll(said, element("thead", head), element("tbody", *rows), class_=kind)


def confusion_list(evaluation: Evaluation) -> Markup:
    """The commonest confusions of many classes."""
    matrix = evaluation.matrix
    support = matrix.sum(axis=1)
    mistakes = matrix - np.diag(matrix.diagonal())
    commonest = np.argsort(-mistakes, axis=None, kind="stable")[:MOST_CONFUSIONS]
    cells = [divmod(cell, len(matrix)) for cell in commonest.tolist()]
    rows = [
        [
            name(evaluation.labels[i]),
            name(evaluation.labels[j]),
            f"{mistakes[i, j]:,}",
            percent(mistakes[i, j] / support[i]),
        ]
        for i, j in cells
        if mistakes[i, j]
    ]
    if not rows:
        return element("p", "No class was taken for another.")
    said = f"The commonest confusions; a matrix of {len(matrix):,} classes would be unreadable."
    head = ["actual", "predicted", "images", "of its class"]
    return table(said, head, rows, class_="named" if have_long_names(evaluation.labels) else None)
