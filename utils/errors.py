"""Errors that a user can mend: one clear line, exit code 2, no traceback."""

import errno
import os
import sys
from collections.abc import Callable

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
    Ctrl-C exits with 130. Any other exception is a bug and keeps its traceback.
    """
    try:
        main()
    except UserError as error:
        fail(str(error))
    except OSError as error:
        if error.errno not in _OF_PATHS:
            raise
        cure = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "choose another path"
        fail(f"{error.filename or 'writing'}: {os.strerror(error.errno)}; {cure}")
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)


def fail(message: str) -> None:
    """One line and exit code 2. Of several processes that fail alike the first one speaks."""
    if os.environ.get("RANK", "0") == "0":
        print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
