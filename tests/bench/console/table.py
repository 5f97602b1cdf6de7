"""A large table of made-up products, whose columns have no usual names."""

import csv
import random
from pathlib import Path

COLUMNS = ("Libre 1", "Libre 2", "Référence")
NOUNS = ("Piscine", "Roman", "Console", "Coussin", "Tondeuse", "Figurine", "Lampe", "Poupée")
TRAITS = ("gonflable", "ancien", "rétro", "en coton", "électrique", "de collection", "solaire")
USES = ("pour enfants", "pour le jardin", "de salon", "de voyage", "à offrir", "en lot de trois")


def write_table(path: Path, rows: int, unusable: int) -> None:
    """Write a CSV file; `unusable` rows, spread evenly, have neither title nor description."""
    chance = random.Random(1)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(COLUMNS)
        for number in range(1, rows + 1):
            is_empty = number * unusable // rows > (number - 1) * unusable // rows
            title = f"{chance.choice(NOUNS)} {chance.choice(TRAITS)} {chance.choice(USES)} {number}"
            text = f"<p>{title}, modèle {chance.randrange(10_000)}.</p>" * chance.randrange(1, 8)
            writer.writerow(["", "", number] if is_empty else [title, text, number])
