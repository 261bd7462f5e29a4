"""Colour profiles as ICC writes them, made from primaries and a curve."""

import struct
from collections.abc import Sequence

Column = tuple[float, float, float]

SRGB_PRIMARIES = ((0.4360, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
P3_PRIMARIES = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))
ADOBE_PRIMARIES = ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446))
"""X, Y and Z, seen under D50, of red, green and blue."""
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
WHITE = (0.9642, 1.0, 0.8249)


def fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def curve(parameters: Sequence[float]) -> bytes:
    """A power, or sRGB's kind of curve by its five numbers."""
    return (
        b"para\0\0\0\0"
        + struct.pack(">HH", 3 if len(parameters) == 5 else 0, 0)
        + fixed(*parameters)
    )


def profile(space: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ") -> bytes:
    """A profile with these tags."""
    named = {
        b"desc": b"mluc\0\0\0\0" + struct.pack(">IIHHII", 1, 12, 0x656E, 0x5553, 2, 28) + b"\0x",
        b"wtpt": xyz(WHITE),
        **tags,
    }
    table, data = struct.pack(">I", len(named)), b""
    for name, content in named.items():
        padded = content + bytes(-len(content) % 4)
        table += name + struct.pack(">II", 128 + 4 + 12 * len(named) + len(data), len(content))
        data += padded
    head = struct.pack(
        ">I4sI4s4s4s", 132 + len(table) - 4 + len(data), b"", 0x04300000, b"mntr", space, connection
    )
    head += bytes(12) + b"acsp" + bytes(28) + fixed(*WHITE)
    return head.ljust(128, b"\0") + table + data


def xyz(column: Column) -> bytes:
    return b"XYZ \0\0\0\0" + fixed(*column)


def rgb_profile(primaries: Sequence[Column], parameters: Sequence[float] = SRGB_CURVE) -> bytes:
    columns = zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(xyz, primaries), strict=True)
    return profile(
        b"RGB ", {**dict(columns), **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve(parameters))}
    )


def black_ink_profile() -> bytes:
    """A printer's whose black ink alone is seen: lightness is what is left of the paper."""
    corners = b"".join(bytes([0 if i % 2 else 255, 128, 128]) for i in range(16))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    straight = bytes(range(256))
    return profile(b"CMYK", {b"A2B0": table + 4 * straight + corners + 3 * straight}, b"Lab ")


def grey_profile(parameters: Sequence[float]) -> bytes:
    return profile(b"GRAY", {b"kTRC": curve(parameters)})
