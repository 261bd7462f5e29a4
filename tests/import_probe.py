"""`python -m tests.import_probe FILE...`: what the import of each module changes in a process.

First whatever they import from elsewhere is loaded: that is not theirs.
"""

import ast
import atexit
import gc
import importlib
import json
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import celery.signals

HEAVY = {"keras", "tensorflow"}
"""Loaded only before a module that imports them at once."""


def main(paths: list[Path]) -> None:
    """Print a JSON object: by module what has changed, or the error that it raises."""
    own = {path.parts[0] for path in paths}
    load(name for path in paths for name in imports(path) if root(name) not in own | HEAVY)
    print(json.dumps({name_of(path): effects(path) for path in paths}))


def effects(path: Path) -> list[str]:
    at_once = imports(path, nodes=ast.iter_child_nodes)
    load(name for name in at_once if root(name) in HEAVY)
    before = state()
    try:
        importlib.import_module(name_of(path))
    except BaseException as error:
        return [f"{type(error).__name__}: {error}"]
    after = state()
    return [what for what in before if before[what] != after[what]]


def state() -> dict[str, Any]:
    loggers = {"": logging.root, **logging.root.manager.loggerDict}
    return {
        "signal handlers": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "import system": (sys.meta_path[:], sys.path_hooks[:], sys.path[:]),
        "garbage collector": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count() > 0),
        "environment": dict(os.environ),
        "logging": {
            name: (logger.level, logger.handlers[:])
            for name, logger in loggers.items()
            if isinstance(logger, logging.Logger) and (logger.level or logger.handlers)
        },
        "warnings": warnings.filters[:],
        "exit handlers": atexit._ncallbacks(),
        "threads": threading.active_count(),
        "Celery's signals": {
            name: len(signal.receivers or ())
            for name, signal in vars(celery.signals).items()
            if hasattr(signal, "receivers")
        },
    }


def imports(path: Path, nodes: Callable[[ast.AST], Iterable[ast.AST]] = ast.walk) -> Iterator[str]:
    for node in nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def load(names: Iterable[str]) -> None:
    for name in sorted(set(names)):
        with suppress(ImportError):  # not installed, or no module but something in one
            importlib.import_module(name)


def name_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def root(name: str) -> str:
    return name.partition(".")[0]


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
