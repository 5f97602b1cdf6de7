"""Stands for `trainer.contest`: the verdict is given by the environment."""

import argparse
import os
import sys
from pathlib import Path


def main() -> int:
    """Write the verdict."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    given, _ = parser.parse_known_args()
    if "ACTED_VERDICT" not in os.environ:
        print("no verdict", file=sys.stderr)
        return 1
    given.out.write_text(os.environ["ACTED_VERDICT"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
