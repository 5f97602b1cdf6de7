"""A made-up shop: labelled products with French and English texts and flat, drawn studio images.

    python -m tests.support.made_up_shop FOLDER --rows 700 --labels names

Every image is a shape of one colour on pure white, as in a studio, so many features of a network
are the same in all of them. Equal parameters write equal files.
"""

import argparse
import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

Layout = Literal["challenge", "simple"]
Labels = Literal["codes", "names", "paths"]

#: Side of an image, in pixels.
SIDE = 224
SYLLABLES = (
    "ba",
    "co",
    "di",
    "fu",
    "gle",
    "ha",
    "jo",
    "lu",
    "mar",
    "ne",
    "pol",
    "ra",
    "si",
    "vu",
    "zer",
)
SHAPES = ("ellipse", "rectangle", "triangle", "ring", "stripes", "cross")
FRENCH = "pour la maison, grande qualité, livré rapidement, couleur vive, facile à entretenir"
ENGLISH = "for your home, great quality, fast delivery, bright colour, easy to clean"


@dataclass(frozen=True)
class Kind:
    """A category: its name, its place in the tree, and words of its titles."""

    name: str
    path: tuple[str, ...]
    french: tuple[str, ...]
    english: tuple[str, ...]


def _kind(path: str, french: str, english: str) -> Kind:
    parts = tuple(path.split(" > "))
    return Kind(parts[-1], parts, tuple(french.split()), tuple(english.split()))


#: The first categories of every shop; further ones are made up of syllables.
KINDS = (
    _kind("Maison > Literie > Couettes", "couette duvet plumes hiver", "duvet quilt feather warm"),
    _kind("Maison > Literie > Oreillers", "oreiller mousse nuque taie", "pillow foam neck case"),
    _kind("Maison > Cuisine > Casseroles", "casserole inox induction", "saucepan steel induction"),
    _kind("Maison > Cuisine > Couteaux", "couteau lame chef acier", "knife blade chef sharp"),
    _kind("Mode > Chaussures", "chaussure basket semelle lacet", "shoe sneaker sole lace"),
    _kind("Mode > Sacs", "sac cuir bandoulière poche", "bag leather strap pocket"),
    _kind("Jardin > Piscines", "piscine gonflable pompe bâche", "pool inflatable pump cover"),
    _kind("Jardin > Outils", "râteau pelle bêche manche", "rake shovel spade handle"),
    _kind("Loisirs > Livres", "livre roman histoire auteur", "book novel story author"),
    _kind("Loisirs > Jeux de société", "jeu plateau cartes dés", "board game cards dice"),
    _kind("Enfants > Poupées", "poupée robe cheveux peluche", "doll dress hair plush"),
    _kind("Enfants > Puériculture", "biberon bébé poussette tétine", "bottle baby pram dummy"),
)


@dataclass(frozen=True)
class Shop:
    """Parameters of a shop.

    Attributes:
        rows: Number of products, spread evenly over the categories.
        categories: Number of categories.
        seed: Seed of all random numbers.
        layout: `challenge` (products, labels and images of three files), or `simple`: one
            `products.csv` with the label in the column `category`, and `images/`.
        labels: `codes` as in the challenge, `names` ("Couettes") or `paths` in a tree
            ("Maison > Literie > Couettes"); the challenge's layout has codes only.
        images: Share of the products with an image.
        noise: Share of the products whose text has words of another category.
        sizes: Rows of the smallest and the largest category, spread evenly on a logarithmic scale
            between; replaces `rows`.
    """

    rows: int = 700
    categories: int = 12
    seed: int = 0
    layout: Layout = "challenge"
    labels: Labels = "codes"
    images: float = 1.0
    noise: float = 0.03
    sizes: tuple[int, int] | None = None

    def kinds(self) -> list[Kind]:
        """Return the categories."""
        generator = np.random.default_rng(self.seed)
        more = (_made_up(number, generator) for number in range(len(KINDS), self.categories))
        return [*KINDS[: self.categories], *more]

    def labels_of(self) -> list[str]:
        """Return the label of each category as it stands in the table."""
        forms: dict[str, Callable[[int, Kind], str]] = {
            "codes": lambda number, kind: str(code(number)),
            "names": lambda number, kind: kind.name,
            "paths": lambda number, kind: " > ".join(kind.path),
        }
        return [forms[self.labels](number, kind) for number, kind in enumerate(self.kinds())]


@dataclass(frozen=True)
class Product:
    """A product of the shop; `kind` is the number of its category, `image` a file name or empty."""

    kind: int
    designation: str
    description: str
    image: str


def code(number: int) -> int:
    """Return the category code of a category in the challenge's layout."""
    return 100 + 10 * number


def write_shop(folder: Path, shop: Shop | None = None) -> list[Product]:
    """Write the dataset of a shop into a new folder; return its products in the file's order."""
    shop = shop or Shop()
    if shop.layout == "challenge" and shop.labels != "codes":
        raise ValueError(f"Expected codes in the challenge's layout. Received: {shop.labels}")
    images = folder / ("images/image_train" if shop.layout == "challenge" else "images")
    images.mkdir(parents=True)
    generator = np.random.default_rng(shop.seed + 1)
    kinds = shop.kinds()
    products = [
        _product(number, kind, kinds, shop, generator)
        for number, kind in enumerate(_kinds_of_rows(shop, generator))
    ]
    for product in products:
        if product.image:
            draw(product.kind, generator).save(images / product.image, quality=92)
    (_write_challenge if shop.layout == "challenge" else _write_simple)(folder, shop, products)
    return products


def draw(kind: int, generator: np.random.Generator) -> Image.Image:
    """Draw a product of a category: its shape in its colour, flat or outlined, on pure white."""
    image = Image.new("RGB", (SIDE, SIDE), "white")
    pen = ImageDraw.Draw(image)
    size = int(generator.integers(90, 150))
    left, top = (int(value) for value in generator.integers(10, SIDE - size - 10, 2))
    box = (left, top, left + size, top + size)
    # Golden angle: the hues of neighbouring categories are far apart.
    hue = (kind * 137 + generator.integers(-9, 10)) % 360
    colour = f"hsl({hue}, {55 + 40 * (kind // 3 % 2)}%, {int(generator.integers(35, 60))}%)"
    _shape(pen, SHAPES[kind % len(SHAPES)], box, colour)
    if generator.random() < 0.5:
        pen.rectangle(box, outline="black", width=2)
    return image


def _shape(
    pen: ImageDraw.ImageDraw, shape: str, box: tuple[int, int, int, int], colour: str
) -> None:
    left, top, right, bottom = box
    width = right - left
    third = width // 3
    if shape == "ellipse":
        pen.ellipse(box, fill=colour)
    elif shape == "rectangle":
        pen.rectangle((left, top + third, right, bottom - third // 2), fill=colour)
    elif shape == "triangle":
        pen.polygon([(left, bottom), (right, bottom), ((left + right) // 2, top)], fill=colour)
    elif shape == "ring":
        pen.ellipse(box, outline=colour, width=width // 5)
    elif shape == "stripes":
        for step in range(0, width, width // 4):
            pen.line((left + step, top, left + step, bottom), fill=colour, width=width // 8)
    else:
        pen.rectangle((left + third, top, right - third, bottom), fill=colour)
        pen.rectangle((left, top + third, right, bottom - third), fill=colour)


def _made_up(number: int, generator: np.random.Generator) -> Kind:
    words = [_word(generator) for _ in range(8)]
    path = (f"Rayon {number // 40}", f"Famille {number // 8}", f"{words[0].capitalize()} {number}")
    return Kind(path[-1], path, tuple(words[:4]), tuple(words[4:]))


def _word(generator: np.random.Generator) -> str:
    return "".join(generator.choice(SYLLABLES, 3))


def _kinds_of_rows(shop: Shop, generator: np.random.Generator) -> list[int]:
    """Return the category of each row, in random order."""
    if shop.sizes is None:
        kinds = np.arange(shop.rows) % shop.categories
    else:
        counts = np.geomspace(*shop.sizes, shop.categories).round().astype(int)
        kinds = np.repeat(np.arange(shop.categories), counts)
    return [int(kind) for kind in generator.permutation(kinds)]


def _product(
    number: int, kind: int, kinds: Sequence[Kind], shop: Shop, generator: np.random.Generator
) -> Product:
    told = kinds[int(generator.integers(len(kinds))) if generator.random() < shop.noise else kind]
    is_french = generator.random() < 0.6
    words = generator.permutation(told.french if is_french else told.english)[:3]
    brand = _word(generator).capitalize()
    description = (FRENCH if is_french else ENGLISH) if generator.random() < 0.7 else ""
    image = f"image_{number}_product_{number}.jpg" if generator.random() < shop.images else ""
    return Product(kind, f"{' '.join(words)} {brand} {number}", description, image)


def _write_challenge(folder: Path, shop: Shop, products: Sequence[Product]) -> None:
    _write_table(
        folder / "X_train_update.csv",
        ["", "designation", "description", "productid", "imageid"],
        [(row, p.designation, p.description, row, row) for row, p in enumerate(products)],
    )
    labels = [(row, code(product.kind)) for row, product in enumerate(products)]
    _write_table(folder / "Y_train_CVw08PX.csv", ["", "prdtypecode"], labels)
    names = [(code(number), kind.name) for number, kind in enumerate(shop.kinds())]
    _write_table(folder / "categories.csv", ["prdtypecode", "category"], names)


def _write_simple(folder: Path, shop: Shop, products: Sequence[Product]) -> None:
    labels = shop.labels_of()
    column = "prdtypecode" if shop.labels == "codes" else "category"
    _write_table(
        folder / "products.csv",
        ["designation", "description", "image", column],
        [(p.designation, p.description, p.image, labels[p.kind]) for p in products],
    )


def _write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def main(arguments: list[str] | None = None) -> int:
    """Write a shop; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=700)
    parser.add_argument("--categories", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--labels", choices=("codes", "names", "paths"), default="codes")
    parser.add_argument("--layout", choices=("challenge", "simple"))
    parser.add_argument("--images", type=float, default=1.0, help="share of products with an image")
    parser.add_argument("--sizes", type=int, nargs=2, help="rows of smallest and largest category")
    args = parser.parse_args(arguments)
    layout: Layout = args.layout or ("challenge" if args.labels == "codes" else "simple")
    shop = Shop(
        args.rows,
        args.categories,
        args.seed,
        layout,
        args.labels,
        args.images,
        sizes=tuple(args.sizes) if args.sizes else None,
    )
    products = write_shop(args.folder, shop)
    print(f"{len(products)} products in {args.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
