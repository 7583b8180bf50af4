import threading
import time

import pytest

from utils.runtime.pipeline import Ahead, Behind, Newest


def endless(made: list):
    while True:
        made.append(len(made))
        yield made[-1]


class TestAhead:
    def test_all_items_in_order(self):
        with Ahead(range(1000), 3) as items:
            assert list(items) == list(range(1000))

    def test_no_more_are_taken_than_the_queue_holds(self):
        made: list[int] = []
        with Ahead(endless(made), 3) as items:
            for item in items:
                time.sleep(0.01)
                assert len(made) <= item + 6
                if item == 20:
                    break
        count = len(made)
        time.sleep(0.05)
        assert len(made) == count  # the thread has ended

    def test_an_error_comes_after_the_items_before_it(self):
        def items():
            yield 1
            raise ValueError("broken")

        seen = []
        with pytest.raises(ValueError, match="broken"), Ahead(items(), 3) as ahead:
            seen.extend(ahead)
        assert seen == [1]
        with Ahead(items(), 3) as ahead:
            assert next(iter(ahead)) == 1


class TestNewest:
    def test_a_slow_reader_gets_the_newest_and_the_others_are_counted(self):
        def items():
            for number in range(200):
                yield number
                time.sleep(0.001)

        seen = []
        with Newest(items()) as newest:
            for item in newest:
                seen.append(item)
                time.sleep(0.02)
        assert seen == sorted(seen)
        assert seen[-1] == 199  # the last one is never dropped
        assert newest.dropped == 200 - len(seen) > 100

    def test_left_early(self):
        before = threading.active_count()
        with Newest(endless([])) as newest:
            next(iter(newest))
        assert threading.active_count() == before

    def test_an_error(self):
        with pytest.raises(ZeroDivisionError), Newest(1 / number for number in (1, 0)) as newest:
            list(newest)


class TestBehind:
    def test_all_calls_are_made_in_order(self):
        seen = []
        with Behind(lambda a, b: seen.append((a, b)), 2) as behind:
            for number in range(100):
                behind.put(number, -number)
        assert seen == [(number, -number) for number in range(100)]

    def test_put_waits(self):
        made: list[int] = []
        with Behind(lambda _: time.sleep(0.005), 2) as behind:
            for number in range(20):
                behind.put(number)
                made.append(number)
        assert len(made) == 20

    @pytest.mark.parametrize("calls", [1, 50])
    def test_an_error_ends_the_calls(self, calls):
        seen = []

        def fail(number: int):
            seen.append(number)
            raise OSError("full")

        with pytest.raises(OSError, match="full"), Behind(fail, 2) as behind:
            for number in range(calls):
                behind.put(number)
        assert seen == [0]

    def test_another_error_passes_and_the_calls_before_it_are_made(self):
        seen = []
        with pytest.raises(KeyboardInterrupt), Behind(seen.append, 8) as behind:
            behind.put(1)
            raise KeyboardInterrupt
        assert seen == [1]
