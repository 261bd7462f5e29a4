"""The root of all errors that are told to people, and the one that every program can have."""


class BatchsightError(Exception):
    """What batchsight tells in one sentence, which names the thing and the way out."""


class BadSettings(BatchsightError):
    """An environment variable that cannot be used."""
