import pytest
from rich.console import Console

from evaluation.class_table import class_table
from evaluation.confusion import Evaluation


def test_a_figure_without_a_denominator_is_no_nought(capsys: pytest.CaptureFixture[str]) -> None:
    matrix = ((3, 0, 0, 0), (1, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0))
    evaluation = Evaluation(labels=("found", "missed", "absent", "nor this"), confusion=matrix)
    Console(width=100).print(class_table(evaluation))
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()][2:]
    assert rows[0] == ["found", "0.7500", "1.0000", "0.8571", "3"]
    assert rows[1] == ["missed", "—", "0.0000", "0.0000", "1"], "it was never predicted"
    assert rows[2] == ["absent", "—", "—", "—", "0"]
