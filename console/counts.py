"""How many there are of something, in words."""


def counted(count: int, one: str, several: str | None = None) -> str:
    """`1 batch` or `1,000 batches`; `several` where it is not `one` with an s."""
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"
