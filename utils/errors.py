"""Errors that the user can correct: one line, exit code 2, no traceback."""

import errno
import io
import os
import re
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_NOT_PERMITTED = {errno.EACCES, errno.EROFS, errno.EPERM}
_WRONG_PATH = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ENOENT, errno.ELOOP}


_UNPRINTABLE = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


class UserError(Exception):
    """An input that cannot be used. The message names the file, the value and the cure."""

    def __str__(self) -> str:
        return printable_lines(super().__str__())


def printable(text: object) -> str:
    """Return the text with control characters as escapes (`\\x1b`): names of files cannot command the terminal.

    So are line breaks, marks that change the direction of writing, and the bytes of names that are not UTF-8.
    """
    return _UNPRINTABLE.sub(_escape, str(text))


def printable_lines(text: object) -> str:
    """Return the text as `printable` does, but with its line breaks."""
    return "\n".join(map(printable, str(text).split("\n")))


def _escape(found: re.Match) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte of a name that is not UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def run_script(main: Callable[[], None]) -> None:
    """Run a script's main function and turn its errors into exit codes.

    `UserError`, a full disk and a path that cannot be used print one line and exit with 2. Ctrl-C exits with 130, and
    a closed output pipe (`... | head`) with 141, as in shell tools. Any other exception is a bug and keeps its
    traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show a letter shows its code
            stream.reconfigure(errors="backslashreplace")
    try:
        main()
        sys.stdout.flush()
    except UserError as error:
        fail(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        if error.errno not in _DISK_FULL | _NOT_PERMITTED | _WRONG_PATH:
            raise
        cure = "free some space" if error.errno in _DISK_FULL else "choose another path"
        fail(f"{error.filename or 'writing'}: {os.strerror(error.errno)}; {cure}")
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)


def fail(message: str) -> NoReturn:
    """Print one line and exit with 2. Of several processes, only the first prints."""
    if os.environ.get("RANK", "0") == "0":
        print(f"error: {UserError(message)}", file=sys.stderr)
    sys.exit(2)
