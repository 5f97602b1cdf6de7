"""Command-line arguments that several benchmarks share."""

import argparse
from pathlib import Path

from infra.embedded.settings import EmbeddedSettings

URL = "http://127.0.0.1:8000"


def plain_parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser whose help shows a module's docstring with its line breaks."""
    formatter = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(description=doc, formatter_class=formatter)


def dataset_parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser for a benchmark that reads a dataset."""
    parser = plain_parser(doc)
    parser.add_argument(
        "--data", type=Path, required=True, help="dataset in the layout of the challenge"
    )
    return parser


def system_parser(doc: str | None, url: str = URL) -> argparse.ArgumentParser:
    """Return a parser for a benchmark that sends a dataset to a running system."""
    parser = dataset_parser(doc)
    parser.add_argument("--url", default=url, help="address of the system (default: %(default)s)")
    return parser


def embedded_parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser for a benchmark that also inspects the processes of `make run`."""
    parser = system_parser(doc)
    parser.add_argument(
        "--home",
        type=Path,
        default=EmbeddedSettings().home,
        help="folder of the embedded system (default: %(default)s)",
    )
    return parser
