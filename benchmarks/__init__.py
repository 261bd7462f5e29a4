"""Measures what the queue costs: batchsight against the bare machine and against its peers.

`make bench` runs every part but `photos`, which takes hours, and writes `results.md`;
`python -m benchmarks PART ...` runs some.
Every figure is a ratio of medians taken in turn in one run; nothing here is asserted.
"""
