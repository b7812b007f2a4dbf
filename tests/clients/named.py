"""Named tests for programs that drive real counterparts.

A test is a function whose docstring is not needed: its name is the sentence. Prints the lines that `cargo test` prints, so
that `tests/run` counts both alike: `test <name> ... ok` or `test <name> ... FAILED`, with the reason on standard error.
"""
import sys
import time
import traceback


class Tests:
    """Runs tests in order; a failed one does not stop the rest unless they need it."""

    def __init__(self, group: str):
        self.group, self.passed, self.failed = group, 0, 0

    def run(self, test, *arguments):
        """Runs one test and returns what it returned, or None when it failed."""
        name = f"{self.group}::{test.__name__}"
        started = time.monotonic()
        try:
            value = test(*arguments)
        except Exception as error:  # noqa: BLE001: whatever it is, the test failed
            self.failed += 1
            print(f"test {name} ... FAILED", flush=True)
            print(f"--- {name}: {type(error).__name__}: {error}", file=sys.stderr)
            if not isinstance(error, AssertionError):
                traceback.print_exception(error, limit=-4)
            return None
        self.passed += 1
        print(f"test {name} ... ok ({time.monotonic() - started:.1f} s)", flush=True)
        return value if value is not None else True

    def conclude(self) -> int:
        """The exit code: 1 when a test failed or none ran."""
        print(f"{self.group}: {self.passed} passed, {self.failed} failed", flush=True)
        return 0 if self.passed and not self.failed else 1


def expect(condition, explanation: str) -> None:
    """A condition of the test, with what was seen in the explanation."""
    if not condition:
        raise AssertionError(explanation)
