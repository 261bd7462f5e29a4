"""Names in little room."""


def shortened(name: str, longest: int) -> str:
    """A name of bounded length without its middle: names differ where they begin and end."""
    if len(name) <= longest:
        return name
    end = (longest - 1) // 2
    return f"{name[: longest - 1 - end]}…{name[-end:]}"
