"""What is seen of a training on a terminal while it lasts."""

from tests.terminal import lines_on_terminal

PROGRAM = """
import sys, time
from trainer.terminal import EpochBar
from trainer.training.progress import EpochReport, EpochStep

report = dict(epochs=2, accuracy=0.5, val_accuracy=0.6, loss=1.5, val_loss=1.25, seconds=3.0)
pause = float(sys.argv[1])
with EpochBar() as bar:
    for epoch in (1, 2):
        for done in range(0, 60_000, 20_000):
            bar.step(EpochStep(epoch=epoch, epochs=2, done=done, total=60_000))
            time.sleep(pause)
        bar.report(EpochReport(epoch=epoch, **report))
        bar.step(EpochStep(epoch=epoch, epochs=2, done=60_000, total=60_000))
"""
REPORT = "accuracy 0.5000, val 0.6000  loss 1.5000, val 1.2500  3.0 s"


def test_an_epoch_that_lasts_has_a_bar_until_it_is_reported() -> None:
    lines = lines_on_terminal(PROGRAM, "0.6", columns=80, descriptor=2)
    bars = [line for line in lines if "of 60,000 images" in line]
    assert any(line.strip().startswith("epoch 1/2 ━") for line in bars)
    assert max(map(len, bars)) <= 80
    assert any(line.endswith(f"epoch 1/2  {REPORT}") for line in lines)
    assert lines[-1].endswith(f"epoch 2/2  {REPORT}")


def test_a_short_epoch_has_none() -> None:
    lines = lines_on_terminal(PROGRAM, "0", columns=80, descriptor=2)
    assert lines == [f"epoch 1/2  {REPORT}", f"epoch 2/2  {REPORT}"]
