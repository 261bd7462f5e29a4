"""What Keras means when it raises, and what runs its networks."""

import re
import textwrap

REASON_LENGTH = 300


def reason_of(error: Exception) -> str:
    """The line of an error that tells what is wrong, without colours and places in code."""
    text = re.sub(r"\x1b\[\d*m", "", str(error)).strip()
    text = re.sub(r"^Exception encountered when calling .*\s+", "", text)
    text = re.sub(r"\{\{.*?\}\} | \[Op:.*", "", text)
    # What matters may come after an image, or a whole configuration, or a list of layers.
    for where in (
        r"Expected shape .*",
        r"(?s:.*)Exception encountered: (.*)",
        r"object .*:\s+.*",
        r" was false\. (.*)",
    ):
        if found := re.search(where, text):
            return textwrap.shorten(found[found.re.groups], REASON_LENGTH)
    return textwrap.shorten(text.partition("\n")[0], REASON_LENGTH)
