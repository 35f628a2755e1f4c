"""How a program ends on Ctrl-C or SIGTERM: in one line, with nothing half-written and the exit code of a shell."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_LINES = {signal.SIGINT: "Aborted!", signal.SIGTERM: "Terminated!"}
_SOON = 0.01
"""Seconds."""


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """Let a signal end the block as an exception does, and then the program; a second one ends it at once.

    Libraries catch more than they should: whatever comes out of the block after a signal, that is its reason. What
    comes out of a finalizer Python would print and forget: the signal then comes once more.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked: list[int] = []

    def end(number: int, _: FrameType | None) -> None:
        asked.append(number)
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    def ask_again(lost: "sys.UnraisableHookArgs") -> None:
        if not (asked and isinstance(lost.exc_value, KeyboardInterrupt)):
            hook(lost)
            return
        signal.signal(asked[0], end)
        # Not from here, where it would be lost again; to the main thread, which may be waiting.
        threading.Timer(_SOON, signal.pthread_kill, (threading.get_ident(), asked[0])).start()

    hook, sys.unraisablehook = sys.unraisablehook, ask_again
    before = {number: signal.signal(number, end) for number in _LINES}
    try:
        yield
    except BaseException:
        if not asked:
            raise
        print(_LINES[signal.Signals(asked[0])], file=sys.stderr)
        raise SystemExit(128 + asked[0]) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook
