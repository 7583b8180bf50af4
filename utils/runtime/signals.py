"""Signals that ask a run to stop, as requests: a script finishes its current work and saves before it ends.

SIGTERM comes from `timeout`, systemd, Slurm and torchrun, often to all processes at once and more than once; SIGINT
from Ctrl-C; SIGHUP from a closed terminal; SIGUSR1 from Slurm's `--signal`, a warning before the time limit.
"""

import os
import signal
import sys
import time

EXIT_STOPPED = 75
"""Exit code of a run that a signal stopped and that saved everything: EX_TEMPFAIL of sysexits.h, "try again later"."""


def _present(*names: str) -> tuple[signal.Signals, ...]:
    """The signals of these names that this platform has."""
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


STOP_SIGNALS = _present("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1")

_SAME_REQUEST_SECONDS = 1.0
"""Ctrl-C under torchrun arrives twice, from the terminal and from torchrun: within this time it is one request."""


class Stopped(Exception):
    """Work ended early because a stop was requested; it has no result."""


class StopRequest:
    """Within `with`, the first of `STOP_SIGNALS` sets `requested`; a second Ctrl-C, a second later, interrupts at once.

    at_once: while it is true, a request raises SystemExit with `EXIT_STOPPED` where it arrives (Ctrl-C:
    KeyboardInterrupt), as there is no work yet to finish. Signals that are ignored, as SIGHUP is under `nohup`, stay
    ignored.
    """

    def __init__(self, *, at_once: bool = False):
        self.requested, self.at_once, self._since = False, at_once, 0.0

    def __enter__(self) -> "StopRequest":
        ours = [number for number in STOP_SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
        streams = [stream for stream in (sys.__stdout__, sys.__stderr__) if stream and not stream.closed]
        self._terminals = [stream.fileno() for stream in streams if stream.isatty()]  # a closed one is none any more
        self._before = {number: signal.signal(number, self._note) for number in ours}
        return self

    def __exit__(self, *_error) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame) -> None:
        now, is_interrupt = time.monotonic(), number == signal.SIGINT
        if number == getattr(signal, "SIGHUP", None):
            _write_nowhere(self._terminals)
        if is_interrupt and (self.at_once or (self.requested and now - self._since > _SAME_REQUEST_SECONDS)):
            raise KeyboardInterrupt
        if not self.requested:
            self.requested, self._since = True, now
            if self.at_once:
                raise SystemExit(EXIT_STOPPED)


def stop_like_ctrl_c() -> None:
    """Let SIGTERM and SIGHUP interrupt this process as Ctrl-C does. One that is ignored, as under `nohup`, stays so."""
    for number in _present("SIGTERM", "SIGHUP"):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


def _write_nowhere(terminals: list[int]) -> None:
    """Redirect descriptors of a terminal that is closed, where each write fails, to nowhere."""
    for terminal in terminals:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, terminal)
        os.close(nowhere)
