import pytest

from trainer.errors import as_clause


@pytest.mark.parametrize(
    ("sentence", "clause"),
    [
        ("There is no data set 'gone'.", "there is no data set 'gone'"),
        ("Model digits@1 is damaged.", "model digits@1 is damaged"),
        ("A worker refuses it.", "a worker refuses it"),
        ("digits@1 was never tested on a data set.", "digits@1 was never tested on a data set"),
        ("Pets@3 is damaged.", "Pets@3 is damaged"),
        ("TensorFlow cannot be imported.", "TensorFlow cannot be imported"),
        ("PNG files cannot be read.", "PNG files cannot be read"),
        ("/models/A is gone.", "/models/A is gone"),
        ("", ""),
    ],
)
def test_a_sentence_becomes_a_part_of_another(sentence: str, clause: str) -> None:
    assert as_clause(sentence) == clause
    assert as_clause(ValueError(sentence)) == clause
