"""Worker processes that read data: they end with their parent and leave signals to it; the loss of one is an error."""

import contextlib
import ctypes
import multiprocessing
import multiprocessing.connection
import multiprocessing.queues
import multiprocessing.util
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from typing import NoReturn, TypeVar

from utils.errors import UserError
from utils.runtime.signals import STOP_SIGNALS

T = TypeVar("T")

_PR_SET_PDEATHSIG = 1
_EXIT_NOT_SENT = 74
"""Exit code of a worker whose result could not be sent: EX_IOERR of sysexits.h."""

_DEATH_SECONDS = 2.0
"""A dying process closes its connections a moment before it is seen to have ended."""


class WorkerLost(UserError):
    """A worker process ended, or could not deliver a batch. The message names the cure."""


def end_with_parent(number: int, parent: int | None = None) -> None:
    """Have the kernel send this process a signal when its parent ends (Linux; elsewhere this does nothing).

    parent: its process id, to notice a parent that has ended already.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").prctl(_PR_SET_PDEATHSIG, number)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), number)


def begin_worker() -> None:
    """Prepare this process, which has just been started as a worker.

    It ignores the signals that ask to stop, which a scheduler sends to the whole process group: the parent finishes
    its step with the worker's batches. It ends when its parent ends, however that happens. A result that cannot be
    sent ends it, since the parent would wait for that result forever.
    """
    end_with_parent(signal.SIGKILL, parent_id())
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "SIGBUS"):  # PyTorch's handler prints a line of its own
        signal.signal(signal.SIGBUS, signal.SIG_DFL)
    multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(_end_worker)  # type: ignore[attr-defined]


def parent_id() -> int | None:
    """The id of the process that started this one by `multiprocessing`; None without one."""
    parent = multiprocessing.parent_process()
    return parent.pid if parent else None


def _end_worker(error: Exception, _result: object) -> NoReturn:
    print(f"a worker process could not send a batch: {error}", file=sys.stderr, flush=True)
    os._exit(_EXIT_NOT_SENT)


class WorkerGuard:
    """Notices the death of worker processes, at once while the parent waits for them, otherwise at its next wait."""

    def __init__(self) -> None:
        self._processes: list[BaseProcess] = []
        self._is_waiting = False

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Guard the processes that the block starts. Until they are ready, signals to stop wait."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handler, children = signal.getsignal(signal.SIGCHLD), set(multiprocessing.active_children())
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self._processes += [child for child in multiprocessing.active_children() if child not in children]
        _GUARDS.watch(self, handler)

    def wait(self, call: Callable[[], T]) -> T:
        """Return call(), which waits for the workers. Raises `WorkerLost`."""
        self._is_waiting = True
        try:
            self.check()
            return call()
        except WorkerLost:
            raise
        except (RuntimeError, OSError, EOFError):  # a half-sent batch, or the loader's own complaint
            multiprocessing.connection.wait([process.sentinel for process in self._processes], _DEATH_SECONDS)
            self.check()
            raise
        finally:
            self._is_waiting = False

    def check(self) -> None:
        """Raise `WorkerLost` if a worker has ended; the others are ended, too."""
        for process in self._processes:
            if process.exitcode is not None:
                self._is_waiting = False
                self.end()
                raise WorkerLost(_describe_end(process, len(self._processes))) from None

    def worker_ended(self) -> None:
        """Check the workers if the parent is waiting for them: some child process has ended."""
        if self._is_waiting:
            self.check()

    def end(self) -> None:
        """End all workers."""
        for process in self._processes:
            with contextlib.suppress(ValueError):  # closed already
                process.kill()


class _Guards:
    """All guards in use. The handler of SIGCHLD is theirs: a waiting one checks its workers."""

    def __init__(self) -> None:
        self._guards: weakref.WeakSet[WorkerGuard] = weakref.WeakSet()
        self._is_installed = False
        self._next: object = None

    def watch(self, guard: WorkerGuard, handler: object) -> None:
        """Add a guard. handler: of SIGCHLD before its workers were started; the first one's is called as well.

        PyTorch's, which was set as the first workers were started, is replaced: it raises in the middle of a step.
        """
        self._guards.add(guard)
        if not self._is_installed:
            self._is_installed, self._next = True, handler
            signal.signal(signal.SIGCHLD, self._note)
            multiprocessing.util.Finalize(None, self._end, exitpriority=100)  # at exit; unlike atexit, in children, too

    def _note(self, *arguments) -> None:
        for guard in list(self._guards):
            guard.worker_ended()
        if callable(self._next):
            self._next(*arguments)

    def _end(self) -> None:
        for guard in list(self._guards):
            guard.end()


_GUARDS = _Guards()


def _describe_end(process: BaseProcess, workers: int) -> str:
    code = process.exitcode or 0
    name = f"a reading worker (process {process.pid})"
    fewer = f"give fewer --num-workers (now {workers})"
    if code == -signal.SIGKILL:
        return (
            f"{name} was killed by SIGKILL, as the kernel does when the memory is used up; "
            f"{fewer}, a smaller --batch-size, or more memory"
        )
    if code == -getattr(signal, "SIGBUS", 7):
        return f"{name} was killed by SIGBUS: the shared memory (/dev/shm) is full; {fewer}, or enlarge it"
    if code < 0:
        return f"{name} was killed by {signal.Signals(-code).name}; {fewer}, or 0 to read without workers"
    return f"{name} ended with exit code {code}; {fewer}, or 0 to read without workers"
