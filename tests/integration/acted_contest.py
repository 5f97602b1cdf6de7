"""Stands for `trainer.release.comparison`: the verdict is given by the environment."""

import argparse
import os
import sys
from pathlib import Path

from tests.integration.acted_training import suffer


def main() -> int:
    """Write the verdict."""
    parser = argparse.ArgumentParser()
    for name in ("champion", "challenger", "data"):
        parser.add_argument(name)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kept", type=Path, required=True)
    given, _ = parser.parse_known_args()
    suffer("compare", given.data, given.kept.parent)
    if "ACTED_VERDICT" not in os.environ:
        print("no verdict", file=sys.stderr)
        return 1
    given.out.write_text(os.environ["ACTED_VERDICT"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
