"""Errors that a user can mend: one clear line, exit code 2, no traceback."""

import errno
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

_OF_PATHS = {
    errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM, errno.EEXIST, errno.ENOTDIR, errno.EISDIR,
    errno.ENAMETOOLONG, errno.ENOENT, errno.ELOOP,
}  # fmt: skip
"""What an operating system answers to a path that cannot be used."""


class UserError(Exception):
    """Something the user gave cannot be used. The message names the file, the value and the cure."""


def run_script(main: Callable[[], None]) -> None:
    """Run a script's main and end the process as a user expects.

    `UserError` prints one line and exits with 2; so does a full disk or a folder without permission.
    Ctrl-C exits with 130, a reader of its output that has gone (`... | head`) with 141, as for the shell's own
    tools. Any other exception is a bug and keeps its traceback.
    """
    try:
        main()
        sys.stdout.flush()
    except UserError as error:
        fail(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be flushed at the exit
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        if error.errno not in _OF_PATHS:
            raise
        cure = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "choose another path"
        fail(f"{error.filename or 'writing'}: {os.strerror(error.errno)}; {cure}")
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)


def fail(message: str) -> NoReturn:
    """One line and exit code 2. Of several processes that fail alike the first one speaks."""
    if os.environ.get("RANK", "0") == "0":
        print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
