"""The root of all errors that are told to people."""


class BatchsightError(Exception):
    """What batchsight tells in one sentence, which names the thing and the way out."""
