"""Who may see the web pages: users and passwords as Flower is given them, for all pages alike."""

import os
from pathlib import Path


def read_logins() -> str:
    """`user:password`, several with commas between them; empty when pages need none.

    `FLOWER_BASIC_AUTH` goes before the file that `FLOWER_PASSWORD_FILE` names.
    """
    if told := os.environ.get("FLOWER_BASIC_AUTH"):
        return told
    if file := os.environ.get("FLOWER_PASSWORD_FILE"):
        return f"{os.environ.get('FLOWER_USER', 'admin')}:{Path(file).read_text().strip()}"
    return ""
