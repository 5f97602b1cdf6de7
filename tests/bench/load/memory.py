"""Memory of a process."""

from pathlib import Path


def peak_megabytes(process_id: int | str = "self") -> float:
    """Return the most memory that a process has used since its start, in MB.

    `getrusage` would not do: its figure includes the peak of the parent at the fork.
    """
    return _megabytes("VmHWM", process_id)


def resident_megabytes(process_id: int | str = "self") -> float:
    """Return the memory that a process uses now, in MB."""
    return _megabytes("VmRSS", process_id)


def _megabytes(field: str, process_id: int | str) -> float:
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) / 1024
