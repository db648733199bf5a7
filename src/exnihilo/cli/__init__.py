"""The command line: arguments, progress, exit codes.

Exit codes: 0 it ran, 2 it could not (a clear error on standard error, or a wrong argument), 130 interrupted.
"""

from exnihilo.cli.app import main as main

__all__ = ["main"]
