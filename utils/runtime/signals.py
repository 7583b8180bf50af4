"""SIGTERM and Ctrl-C as requests, so that a script can finish its current work and save before it ends."""

import signal

EXIT_STOPPED = 75
"""Exit code of a run that a signal stopped and that saved everything: EX_TEMPFAIL of sysexits.h, "try again later"."""


class Stopped(Exception):
    """Work ended early because a stop was requested; it has no result."""


class StopRequest:
    """Within `with`, the first SIGTERM or SIGINT sets `requested`; a second one interrupts at once."""

    def __init__(self):
        self.requested = False

    def __enter__(self) -> "StopRequest":
        ours = [number for number in (signal.SIGTERM, signal.SIGINT) if signal.getsignal(number) != signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._note) for number in ours}
        return self

    def __exit__(self, *_error) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, *_signal) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
