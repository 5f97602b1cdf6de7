"""Replacement for `trainer.release.comparison`; its verdict comes from the environment."""

import argparse
import json
import os
import sys
from pathlib import Path

from tests.integration.scripted_training import inject_fault


def main() -> int:
    """Write the verdict and return the exit code."""
    parser = argparse.ArgumentParser()
    for name in ("champion", "challenger", "data"):
        parser.add_argument(name)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kept", type=Path, required=True)
    parser.add_argument("--confidence", type=float, required=True)
    parser.add_argument("--probability", type=float, required=True)
    args, _ = parser.parse_known_args()
    inject_fault("compare", args.data, args.kept.parent)
    if "SCRIPTED_VERDICT" not in os.environ:
        print("no verdict", file=sys.stderr)
        return 1
    verdict = json.loads(os.environ["SCRIPTED_VERDICT"])
    args.out.write_text(
        json.dumps(verdict | {"confidence": args.confidence, "probability": args.probability})
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
