"""Taking turns with the program that asks; the other half is `crates/promise/src/peers.rs`.

A JSON object once all is ready, then a line of seconds for every line on standard input. When that
ends, the caller may say a last object.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable


def say(answer: object) -> None:
    """One line of JSON, at once."""
    print(json.dumps(answer), flush=True)


def take_turns(ready: dict[str, object], work: Callable[[], object]) -> None:
    """Does the work when it is asked for, and says how long it took."""
    say(ready)
    for _ in sys.stdin:
        start = time.perf_counter()
        work()
        say(time.perf_counter() - start)
