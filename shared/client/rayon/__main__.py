"""`python -m rayon` is the command line."""

from rayon.cli.main import main

if __name__ == "__main__":
    main()
