"""Deprecated alias for `python -m trainer.monitor`; removed in the next version."""

import sys

from trainer.monitor import main

if __name__ == "__main__":
    sys.exit(main())
