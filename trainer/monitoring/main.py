"""Deprecated alias for `python -m trainer.monitor`; removed in the next version."""

from shared.invalid_settings import run_program
from trainer.monitor import main

if __name__ == "__main__":
    run_program(main)
