"""Write the boards to files that Grafana provisions: `python -m infra.grafana`."""

from pathlib import Path

from infra.grafana.boards import BOARDS
from infra.grafana.panels import text_of

FOLDER = Path(__file__).parent / "dashboards"


def main() -> None:
    """Write every board."""
    FOLDER.mkdir(exist_ok=True)
    for board in BOARDS:
        path = FOLDER / f"{board.name}.json"
        path.write_text(text_of(board))
        print(f"Wrote {path}")


if __name__ == "__main__":
    main()
