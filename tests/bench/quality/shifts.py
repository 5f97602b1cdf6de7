"""Shifts of products: of their categories, texts and images."""

import io
import re
from collections.abc import Callable

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

#: Share of the rows with a popular category after a shift of the category mix.
POPULAR_SHARE = 0.6
CUT_CHARACTERS = 15
DARKER = 0.35
#: Word-by-word translation of the most common words of French catalogs.
GLOSSARY = dict(
    re.findall(
        r"(\w+):(\w+)",
        "de:of la:the le:the les:the des:of du:of et:and à:to en:in pour:for avec:with sur:on un:a "
        "une:a dans:in par:by est:is vous:you votre:your ou:or au:at plus:more ce:this cette:this "
        "pas:not qui:who que:that sans:without tout:all tous:all très:very bien:well être:be "
        "peut:can sont:are aux:to son:its ses:its nous:we notre:our comme:as couleur:color "
        "taille:size noir:black noire:black blanc:white blanche:white bleu:blue bleue:blue "
        "rouge:red vert:green verte:green rose:pink gris:grey grise:grey jaune:yellow bois:wood "
        "métal:metal acier:steel coton:cotton tissu:fabric verre:glass enfant:child "
        "enfants:children bébé:baby jeu:game jeux:games jouet:toy jouets:toys livre:book "
        "livres:books maison:house jardin:garden piscine:pool table:table chaise:chair lit:bed "
        "coussin:cushion housse:cover lampe:lamp lot:set pièces:pieces neuf:new nouveau:new "
        "nouvelle:new grand:large grande:large petit:small petite:small haute:high "
        "qualité:quality facile:easy idéal:ideal idéale:ideal parfait:perfect cadeau:gift "
        "décoration:decoration matériel:material matière:material dimensions:dimensions "
        "hauteur:height largeur:width longueur:length poids:weight eau:water air:air "
        "filtre:filter pompe:pump protection:protection sac:bag carte:card cartes:cards "
        "figurine:figure console:console manette:controller papier:paper stylo:pen "
        "revue:magazine journal:newspaper année:year édition:edition auteur:author chien:dog "
        "chat:cat chiens:dogs chats:cats animaux:animals produit:product article:item "
        "livraison:delivery emballage:package contenu:content comprend:includes "
        "compatible:compatible convient:suits mètre:meter jour:day nuit:night fille:girl "
        "garçon:boy femme:woman homme:man",
    )
)
_WORD = re.compile(r"\w+")


def translated(rows: pd.DataFrame) -> pd.DataFrame:
    """Translate the texts word by word into English; keep words that are not in the glossary."""

    def into_english(text: str) -> str:
        return _WORD.sub(lambda word: GLOSSARY.get(word[0].lower(), word[0]), text)

    return _with_texts(rows, into_english)


def cut(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep only the beginnings of the titles."""
    titles = rows["designation"].str[:CUT_CHARACTERS]
    return rows.assign(designation=titles, description="", has_text=titles.str.strip() != "")


def mixed(rows: pd.DataFrame, size: int, seed: int) -> pd.DataFrame:
    """Draw rows of which three fifths belong to a third of the categories."""
    popular = rows["code"].isin(sorted(rows["code"].unique())[::3])
    popular_size = round(size * POPULAR_SHARE)
    drawn = pd.concat(
        [
            rows[popular].sample(popular_size, random_state=seed),
            rows[~popular].sample(size - popular_size, random_state=seed),
        ]
    )
    return drawn.sample(frac=1.0, random_state=seed)


def darkened(content: bytes) -> bytes:
    """Return an image with its brightness reduced."""
    with Image.open(io.BytesIO(content)) as image:
        pixels = np.asarray(image.convert("RGB"), np.float32) * DARKER
    return _jpeg(Image.fromarray(pixels.astype(np.uint8)))


def replaced(_content: bytes) -> bytes:
    """Return the placeholder image of a shop whose image server is down."""
    image = Image.new("RGB", (320, 320), (230, 230, 230))
    draw = ImageDraw.Draw(image)
    draw.rectangle((60, 60, 260, 260), outline=(150, 150, 150), width=8)
    draw.line((60, 260, 260, 60), fill=(150, 150, 150), width=8)
    return _jpeg(image)


#: Shifts of texts and of images, by name.
TEXT_SHIFTS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "translated": translated,
    "cut": cut,
}
IMAGE_SHIFTS: dict[str, Callable[[bytes], bytes]] = {"darkened": darkened, "replaced": replaced}


def _with_texts(rows: pd.DataFrame, shift: Callable[[str], str]) -> pd.DataFrame:
    return rows.assign(
        designation=rows["designation"].map(shift), description=rows["description"].map(shift)
    )


def _jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()
