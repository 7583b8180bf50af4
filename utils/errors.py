"""Errors that a user can mend: one clear line, exit code 2, no traceback."""

import errno
import os
import sys
from collections.abc import Callable


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
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM):
            raise
        fail(f"{error.filename or 'writing'}: {os.strerror(error.errno)}; free some space or choose another folder")
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)


def fail(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
