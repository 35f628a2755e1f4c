"""How a program ends on Ctrl-C or SIGTERM: with one line, nothing half-written, and a shell's exit code."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_LINES = {signal.SIGINT: "Aborted!", signal.SIGTERM: "Terminated!"}
_SOON = 0.01
"""Seconds, in which the finalizer is over."""


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """Let a signal end the block as an exception would, and then the program; a second one ends it at once.

    Libraries catch more than they should: whatever comes out of the block after a signal, the signal is the reason. An
    exception in a finalizer is only printed by Python and then lost: the signal is then sent once more.
    """
    # Python lets the main thread alone set handlers.
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
        # Since `end` ran, the default action is in its place, which would end the program with everything half-done.
        signal.signal(asked[0], end)
        # Not from here, where it would be lost again; and to the main thread, which may be waiting for something.
        threading.Timer(_SOON, signal.pthread_kill, (threading.get_ident(), asked[0])).start()

    hook, sys.unraisablehook = sys.unraisablehook, ask_again
    before = {number: signal.signal(number, end) for number in _LINES}
    try:
        yield
    except BaseException:
        # MMEngine's formatter, for one, turns the interrupt into a SyntaxError.
        if not asked:
            raise
        print(_LINES[signal.Signals(asked[0])], file=sys.stderr)
        raise SystemExit(128 + asked[0]) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook
