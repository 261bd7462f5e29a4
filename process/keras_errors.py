"""What Keras means when it raises."""

import re
import textwrap

REASON_LENGTH = 300


def reason_of(error: Exception) -> str:
    """The line of an error of Keras that tells what is wrong, without colours."""
    text = re.sub(r"\x1b\[\d*m", "", str(error)).strip()
    text = re.sub(r"^Exception encountered when calling .*\s+", "", text)
    # What matters may come after an image, or a whole configuration, or a list of layers.
    for where in (r"Expected shape .*", r"(?s:.*)Exception encountered: (.*)", r"object .*:\s+.*"):
        if found := re.search(where, text):
            return textwrap.shorten(found[found.re.groups], REASON_LENGTH)
    return textwrap.shorten(text.partition("\n")[0], REASON_LENGTH)
