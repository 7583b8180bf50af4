"""Work in threads with bounded queues: items read ahead, the newest of a live source, results written behind.

    with Ahead(reader.frames(), 8) as frames, Behind(write, 8) as written:
        for frame in frames:
            written.put(frame, detect(frame))

An error in a thread is raised in the caller's. All threads have ended when the `with` block has.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_END = object()


class _Failed:
    def __init__(self, error: BaseException):
        self.error = error


class _Source(Generic[T]):
    """Iterates over items that a thread takes from an iterable. It can be left before its end."""

    def __init__(self, items: Iterable[T]):
        self._items, self._stopped = items, False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        last: object = _END
        try:
            for item in self._items:
                if not self._give(item):
                    break
        except BaseException as error:
            last = _Failed(error)
        self._give(last)

    def _give(self, item: Any) -> bool:
        """Hand an item over; False: nobody wants more."""
        raise NotImplementedError

    def _take(self) -> Any:
        raise NotImplementedError

    def __iter__(self) -> Iterator[T]:
        while (item := self._take()) is not _END:
            if isinstance(item, _Failed):
                raise item.error
            yield item

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self._stopped = True
        self._wake()
        self._thread.join()

    def _wake(self) -> None:
        """Let the thread see that it is stopped, where it may be waiting."""


class Ahead(_Source[T]):
    """The items of an iterable, in order, all of them; at most `count` are taken before they are wanted."""

    def __init__(self, items: Iterable[T], count: int):
        self._queue: queue.Queue = queue.Queue(count)
        super().__init__(items)

    def _give(self, item: Any) -> bool:
        self._queue.put(item)
        return not self._stopped

    def _take(self) -> Any:
        return self._queue.get()

    def _wake(self) -> None:
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.05)
            except queue.Empty:
                continue


class Newest(_Source[T]):
    """The newest item of an iterable at each time; items that came before it and were not taken are dropped.

    dropped: their number so far.
    """

    def __init__(self, items: Iterable[T]):
        self.dropped = 0
        self._waiting: list[Any] = []
        self._changed = threading.Condition()
        super().__init__(items)

    def _give(self, item: Any) -> bool:
        with self._changed:
            if self._waiting and item is not _END and not isinstance(item, _Failed):
                self.dropped += len(self._waiting)
                self._waiting.clear()
            self._waiting.append(item)
            self._changed.notify()
        return not self._stopped

    def _take(self) -> Any:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting)
            return self._waiting.pop(0)


class Behind:
    """Calls a function with what is `put`, in order, in a thread; `put` waits while `count` calls are due.

    The end of the `with` block waits for all calls. An error of a call ends the calls; it is raised by the next `put`,
    or by the end of the block, unless another error passes.
    """

    def __init__(self, function: Callable[..., object], count: int):
        self._function = function
        self._error: BaseException | None = None
        self._queue: queue.Queue = queue.Queue(count)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (arguments := self._queue.get()) is not _END:
            if self._error is None:
                try:
                    self._function(*arguments)
                except BaseException as error:
                    self._error = error

    def put(self, *arguments: object) -> None:
        """Have the function called with these arguments. Raises the error of an earlier call."""
        if self._error is not None:
            raise self._error
        self._queue.put(arguments)

    def __enter__(self) -> "Behind":
        return self

    def __exit__(self, _, error: BaseException | None, __: TracebackType | None) -> None:
        self._queue.put(_END)
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error
