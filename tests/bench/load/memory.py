"""Peak memory of a process."""

from pathlib import Path


def peak_megabytes(process_id: int | str = "self") -> float:
    """Return the most memory that a process has used since its start, in MB.

    `getrusage` would not do: its figure includes the peak of the parent at the fork.
    """
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
