"""Waiting for other processes."""

import time


def wait_for(condition, seconds=60):
    """The value of `condition()` as soon as it is true; fails after so many seconds."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"it has not happened within {seconds} s"
        time.sleep(0.05)
    return found
