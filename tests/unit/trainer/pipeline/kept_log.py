"""A log of a training for tests."""


class KeptLog:
    """A log that keeps its lines, and no curves."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log_line(self, line: str) -> None:
        """Keep a line."""
        self.lines.append(line)

    def curve(self, name: str, step: int, value: float) -> None:
        """Record nothing."""
