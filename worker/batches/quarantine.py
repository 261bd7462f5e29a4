"""Finds the image that kills its worker, at the cost of a few deaths.

A batch that has killed its worker (or hit its time limit) twice is walked image by image, and
each is announced in the batch's log before it is touched. Whatever happens then, the log says
at which image. The next attempt goes on from there; an image blamed three times is left out for
good, as an error record. Three times, since a worker may also die of something else at just
that moment. Halving the batch instead would cost two deaths per halving.

Where every image alone is harmless and the batch dies again, a step of many images takes longer
than its limit: from then on a step has one.

A batch that has raised an unexpected error twice is walked as well. An image that raises one alone
is left out at once.
"""

from collections.abc import Callable, Mapping

from storage.jobs.attempts import Attempt, History

SUSPECT_AFTER = 2
CONVICTED_AFTER = 3
HOPELESS_DEATHS = 20
HOPELESS_TIMEOUTS = 4
HOPELESS_ERRORS = 3


def is_suspect(history: History) -> bool:
    """Whether the batch must be walked before it is run as a whole."""
    if history.walk_done:
        return False
    return bool(history.blamed) or (
        max(history.deaths, history.timeouts, history.errors) >= SUSPECT_AFTER
    )


def is_too_slow(history: History) -> bool:
    """Whether no image alone does harm, and many at once do: they must come one by one."""
    return history.walk_done and max(history.deaths, history.timeouts) > SUSPECT_AFTER


def hopeless(history: History) -> str | None:
    """Why the batch is given up, although no single image of it is to blame."""
    if history.timeouts >= HOPELESS_TIMEOUTS:
        return f"its batch ran into the time limit of a step {history.timeouts} times"
    if history.deaths >= HOPELESS_DEATHS:
        return f"its batch died with its worker {history.deaths} times"
    return None


def killers(history: History) -> dict[int, str]:
    """The images that have killed their worker, with the reason for their records."""
    return {
        image: f"kills the worker or exceeds the time limit (tried {times} times)"
        for image, times in history.blamed.items()
        if times >= CONVICTED_AFTER
    }


def left_out(history: History) -> dict[int, str]:
    """All that no attempt tries again, with the reason for their records."""
    return {**history.raised, **killers(history)}


def walk(
    count: int, history: History, attempt: Attempt, try_image: Callable[[int], str | None]
) -> Mapping[int, str]:
    """Try each image alone, from where the last walk died; returns the images to leave out.

    `try_image` returns why an image cannot be classified, if it has raised that.
    """
    skip = left_out(history)
    for image in range(history.walked, count):
        if image not in skip:
            attempt.touch(image)
            if reason := try_image(image):
                attempt.raised(image, reason)
                skip[image] = reason
    attempt.walk_done()
    return skip
