import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from shared.db.datasets import images_folder, upload_folder
from shared.errors import InvalidInput, NotFound, Unavailable
from shared.settings import StorageSettings
from shared.storage import Storage
from trainer.datasets import stored_images, tables, versions
from trainer.datasets.builder import BuiltVersion, build
from trainer.datasets.images import read_image
from trainer.datasets.labelled.authors import Author, LabelLimits
from trainer.datasets.loading import load
from trainer.datasets.version_request import LabelledJob, VersionRequest
from trainer.datasets.versions import SCHEMA, load_version

Make = Callable[..., BuiltVersion]

OLGA, SHOP = Author("olga", "Olga", is_reviewer=True), Author("shop", "Shop", is_reviewer=False)
AUTHORS = {"olga": OLGA, "shop": SHOP}
WITH_EVE = {**AUTHORS, "eve": Author("eve", "Eve", is_reviewer=True)}


def image(colour: str) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (4, 3), colour).save(content, "PNG")
    return content.getvalue()


def packed(**images: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, image_bytes in images.items():
            archive.writestr(f"photos/{name}.png", image_bytes)
    return content.getvalue()


def table(rows: range, codes: tuple[int, ...] = (10, 20)) -> bytes:
    lines = ["id,designation,description,image,prdtypecode"]
    lines += [f"p{i},produit {i},,{i}.png,{codes[i % len(codes)]}" for i in rows]
    return "\n".join(lines).encode()


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(StorageSettings(url=str(tmp_path / "files")))


@pytest.fixture
def make(storage: Storage, tmp_path: Path) -> Make:
    def _make(
        version: int, files: dict[str, bytes], base: int | None = None, **changes: Any
    ) -> BuiltVersion:
        scratch = tmp_path / f"scratch-{version}"
        scratch.mkdir()
        names = {kind: f"{kind}.zip" if kind == "images" else f"{kind}.csv" for kind in files}
        for kind, content in files.items():
            storage.put_at(f"{upload_folder(str(version))}/{names[kind]}", content)
        changes = {"authors": AUTHORS, **changes}
        request = VersionRequest(str(version), "shop", version, base, sorted(files), **changes)
        return build(storage, request, scratch)

    return _make


def rows_of(storage: Storage, version: int, cache: Path = Path("unused")) -> Any:
    return load_version(storage, "shop", version, cache).rows.set_index("id")


def test_version_contains_the_uploaded_rows_and_images(
    make: Make, storage: Storage, tmp_path: Path
) -> None:
    red = image("red")
    built = make(
        1,
        {
            "products": table(range(30)),
            "images": packed(**{"3": red, "4": b"no image"}),
            "categories": b"code,name\n10,Livres\n20,Jeux\n",
        },
    )
    assert (built.report.rows, built.report.classes, built.report.images) == (30, 2, 1)
    found = {finding.code: finding.count for finding in built.report.findings}
    assert found == {"missing_pictures": 28, "unreadable_pictures": 1}
    data = load_version(storage, "shop", 1, tmp_path / "cache")
    assert data.fingerprint == built.fingerprint
    assert data.categories.name(20) == "Jeux"
    rows: Any = data.rows.set_index("id")
    assert rows.loc["p7", ["designation", "code"]].tolist() == ["produit 7", 20]
    assert data.read_image(rows.loc["p3", "image"]) == red
    assert Path(rows.loc["p3", "image"]).read_bytes() == red
    assert (rows["image"] != "").sum() == 1
    assert {"train", "test", "validation"} == set(rows["part"])


def test_equal_content_has_an_equal_fingerprint(make: Make) -> None:
    lines = table(range(12)).splitlines()
    first = make(1, {"products": b"\n".join(lines)})
    again = make(2, {"products": b"\n".join([lines[0], *reversed(lines[1:])])})
    other = make(3, {"products": table(range(12), (20, 10))})
    assert first.fingerprint == again.fingerprint
    assert first.fingerprint != other.fingerprint


def test_new_version_adds_replaces_and_removes_rows(make: Make, storage: Storage) -> None:
    make(1, {"products": table(range(40))})
    before = rows_of(storage, 1)
    change = b"id,designation,prdtypecode\np3,autre titre,30\nnew,nouveau,10\n"
    built = make(2, {"products": change}, base=1, remove=["p5", "nobody"])
    after = rows_of(storage, 2)
    assert set(after.index) == (set(before.index) | {"new"}) - {"p5"}
    assert after.loc["p3", ["designation", "code"]].tolist() == ["autre titre", 30]
    found = {finding.code: finding.rows for finding in built.report.findings}
    assert found["unknown_ids"] == ("nobody",)
    pd.testing.assert_frame_equal(rows_of(storage, 1), before)


def test_existing_rows_keep_their_part(make: Make, storage: Storage) -> None:
    make(1, {"products": table(range(50))})
    make(2, {"products": table(range(45, 300), (10, 20, 30))}, base=1)
    before, after = rows_of(storage, 1)["part"], rows_of(storage, 2)["part"]
    assert after[before.index].equals(before)
    assert 15 < (after == "test").sum() < 50


def test_row_with_an_existing_title_joins_its_part(make: Make, storage: Storage) -> None:
    make(1, {"products": table(range(50))})
    twins = table(range(50)).replace(b"\np", b"\ntwin").replace(b"produit", b"PRODUIT")
    make(2, {"products": twins}, base=1)
    parts = rows_of(storage, 2)["part"]
    assert all(parts[f"twin{i}"] == parts[f"p{i}"] for i in range(50))


def test_labelled_jobs_are_added_with_their_products(make: Make, storage: Storage) -> None:
    make(1, {"products": table(range(10))})
    uri = storage.put("images", image("blue"))
    jobs = [
        LabelledJob("a", "Piscine", "ronde", uri, 20, "olga"),
        LabelledJob("b", "", "", f"images/00/{'0' * 64}", 10, "olga"),
    ]
    built = make(2, {}, base=1, jobs=jobs)
    assert built.report.rows == 12
    rows = rows_of(storage, 2)
    assert rows.loc["job-a", ["designation", "code"]].tolist() == ["Piscine", 20]
    assert Path(rows.loc["job-a", "image"]).read_bytes() == image("blue")
    assert rows.loc["job-b", "image"] == ""
    corrected = [LabelledJob("a", "Piscine", "ronde", uri, 10, "olga")]
    make(3, {}, base=2, jobs=corrected)
    assert rows_of(storage, 3).loc["job-a", "code"] == 10
    assert rows_of(storage, 3).loc["job-a", "part"] == rows.loc["job-a", "part"]


def test_versions_keep_how_many_answers_a_label_stands_for(make: Make, storage: Storage) -> None:
    first = make(1, {"products": table(range(10))})
    job = LabelledJob("a", "Piscine", "ronde", None, 20, "olga", 12.5, 1_700_000_000.0)
    drawn = make(2, {}, base=1, jobs=[job])
    rows = rows_of(storage, 2)
    assert rows.loc["job-a", ["represents", "answered_at"]].tolist() == [12.5, 1_700_000_000.0]
    assert set(rows.drop("job-a")["represents"]) == {0.0}
    # It decides what a training makes of the same products.
    volunteered = make(3, {}, base=1, jobs=[replace(job, represents=0.0, answered_at=0.0)])
    assert len({first.fingerprint, drawn.fingerprint, volunteered.fingerprint}) == 3


def test_versions_of_older_trainers_have_no_drawn_answers(
    make: Make, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "SCHEMA", SCHEMA.remove(8).remove(7))
    before = make(1, {"products": table(range(10))}, jobs=harvest("olga", 2))
    monkeypatch.undo()
    assert set(rows_of(storage, 1)["represents"]) == {0.0}
    assert make(2, {}, base=1).fingerprint == before.fingerprint


def test_image_referenced_by_many_rows_is_read_once(
    make: Make, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def record(reference: str) -> bytes:
        read.append(reference.rpartition("/")[2])
        return read_image(reference)

    monkeypatch.setattr(stored_images, "read_image", record)
    lines = [f"{n},produit {n},{'ab'[n % 2]}.png,{10 + n % 2}" for n in range(20)]
    products = "\n".join(["id,designation,image,prdtypecode", *lines, "x,rien,c.png,10"])
    images = packed(a=image("red"), b=image("blue"), c=b"no image")
    report = make(1, {"products": products.encode(), "images": images}).report
    assert sorted(read) == ["a.png", "b.png"]
    assert report.images == 20
    [broken] = report.findings
    assert (broken.code, broken.rows) == ("unreadable_pictures", (20,))
    names = rows_of(storage, 1)["image"].map(lambda path: Path(path).name)
    assert names["0"] == names["2"] != names["1"]
    assert names["x"] == ""


def test_image_of_many_jobs_is_copied_once(
    make: Make, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = storage.put("images", image("red"))
    jobs = [LabelledJob(str(n), "a", "", uri, 10 + n % 2, "olga") for n in range(5)]
    deleted = LabelledJob("gone", "b", "", "images/00/gone", 10, "olga")
    read: list[str] = []
    get = storage.get

    def record(uri: str) -> bytes:
        read.append(uri)
        return get(uri)

    monkeypatch.setattr(storage, "get", record)
    assert make(1, {}, jobs=[*jobs, deleted, deleted]).report.images == 5
    assert read == [uri, "images/00/gone"]


def test_products_without_ids_get_unique_ids(make: Make, storage: Storage) -> None:
    plain = b"designation,prdtypecode\na,1\nb,2\n"
    make(1, {"products": plain})
    make(2, {"products": plain}, base=1)
    assert sorted(rows_of(storage, 2).index) == ["1-0", "1-1", "2-0", "2-1"]
    make(3, {"products": b"id,designation,prdtypecode\nx,a,1\nx,b,2\n"})
    assert sorted(rows_of(storage, 3).index) == ["x", "x#2"]


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"products": table(range(5), (10,))}, "too_few_classes"),
        ({"products": table(range(4)).replace(b",10", b",dix")}, "labels_not_integers"),
        ({"products": b"id,designation\n1,a\n"}, "no_labels"),
        ({"products": b"\xff\xfe"}, "unreadable_file"),
        ({"products": table(range(4)), "images": b"no archive"}, "unreadable_file"),
        (
            {"products": b"id,designation\n1,a\n2,b\n", "labels": b"prdtypecode\n10\n"},
            "lengths_differ",
        ),
    ],
)
def test_untrainable_data_is_not_stored(
    make: Make,
    storage: Storage,
    files: dict[str, bytes],
    code: str,
) -> None:
    built = make(1, files)
    assert built.fingerprint is None
    assert [finding.code for finding in built.report.errors] == [code]
    with pytest.raises(NotFound):
        rows_of(storage, 1)


def test_category_limit_covers_base_and_new_rows_together(
    make: Make, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MAX_CODES", 3)
    assert make(1, {"products": table(range(4), (10, 20))}).fingerprint
    built = make(2, {"products": table(range(4, 8), (30, 40))}, base=1)
    assert [finding.code for finding in built.report.errors] == ["too_many_classes"]


def test_removing_all_but_one_category_is_refused(make: Make, storage: Storage) -> None:
    make(1, {"products": table(range(4))})
    assert make(2, {}, base=1, remove=["p1", "p3"]).fingerprint is None


def test_building_again_has_the_same_result(make: Make, storage: Storage, tmp_path: Path) -> None:
    files = {"products": table(range(20)), "images": packed(**{"1": image("red")})}
    first = make(1, files)
    (tmp_path / "scratch-1").rename(tmp_path / "old")
    assert make(1, files) == first
    assert len(storage.folders(images_folder("shop"))) == 1


def test_images_in_remote_storage_are_downloaded_on_first_read(tmp_path: Path) -> None:
    remote = Storage(StorageSettings(url=f"memory://{tmp_path}"))
    (tmp_path / "scratch").mkdir()
    remote.put_at("uploads/1/products.csv", table(range(20)))
    remote.put_at("uploads/1/images.zip", packed(**{"1": image("red")}))
    request = VersionRequest("1", "shop", 1, None, ["products", "images"])
    build(remote, request, tmp_path / "scratch")
    data = load_version(remote, "shop", 1, tmp_path / "cache")
    rows: Any = data.rows.set_index("id")
    path = Path(rows.loc["p1", "image"])
    assert not path.exists()
    assert data.read_image(str(path)) == image("red")
    assert path.read_bytes() == image("red")


def test_version_is_loaded_by_its_reference(
    make: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built = make(1, {"products": table(range(20)), "images": packed(**{"1": image("red")})})
    monkeypatch.setenv("RAYON_STORAGE_URL", str(tmp_path / "files"))
    monkeypatch.setenv("RAYON_TRAINER_WORK_FOLDER", str(tmp_path / "work"))
    assert load(Path("shop@1")).fingerprint == built.fingerprint
    with pytest.raises(NotFound, match="No version 2 of the dataset 'shop'"):
        load(Path("shop@2"))
    with pytest.raises(InvalidInput, match="name@version"):
        load(Path("Shop@1"))


def test_full_storage_raises_unavailable(
    make: Make, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> str:
        raise Unavailable("The storage is full")

    monkeypatch.setattr(Storage, "put_stream", full)
    with pytest.raises(Unavailable, match="full"):
        make(1, {"products": table(range(20))})
    with pytest.raises(NotFound):
        rows_of(storage, 1)


def test_version_does_not_depend_on_the_scratch_folder(
    make: Make, storage: Storage, tmp_path: Path
) -> None:
    make(1, {"products": table(range(20))})
    for path in (tmp_path / "scratch-1").iterdir():
        path.unlink()
    assert len(rows_of(storage, 1)) == 20


# Authors of labels


def harvest(author: str, count: int = 60) -> list[LabelledJob]:
    """Return labelled jobs of one author with distinct titles."""
    return [
        LabelledJob(f"{author}{n}", f"objet {author} {n}", "", None, 10, author)
        for n in range(count)
    ]


def codes_of(built: BuiltVersion) -> dict[str, int]:
    return {finding.code: finding.count for finding in built.report.findings}


def test_labels_of_an_untrusted_author_are_left_out(make: Make, storage: Storage) -> None:
    make(1, {"products": table(range(40))})
    make(2, {}, base=1, jobs=[*harvest("shop"), *harvest("olga", 2)], authors={"olga": OLGA})
    assert [id_ for id_ in rows_of(storage, 2).index if "job" in id_] == ["job-olga0", "job-olga1"]


def test_next_version_leaves_out_rows_whose_author_has_lost_the_trust(
    make: Make, storage: Storage
) -> None:
    make(1, {"products": table(range(40))})
    built = make(2, {}, base=1, jobs=[*harvest("shop"), *harvest("olga", 3)])
    shop = built.report.labels[0]
    assert (shop.user, shop.rows) == ("Shop", sum(rows_of(storage, 2)["labelled_by"] == "shop"))
    # An upload alone suffices, the labels need not be imported again.
    change = {"products": b"id,designation,prdtypecode\nnew,nouveau,10\n"}
    built = make(3, change, base=2, authors={"olga": OLGA})
    assert set(rows_of(storage, 3)["labelled_by"]) == {"", "olga"}
    assert codes_of(built)["untrusted_labels"] == shop.rows
    assert [share.user for share in built.report.labels] == ["Olga"]


def test_authors_of_versions_that_did_not_store_them_are_looked_up(
    make: Make, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "SCHEMA", SCHEMA.remove(6))
    make(1, {"products": table(range(40))}, jobs=[*harvest("shop", 2), *harvest("olga", 2)])
    monkeypatch.undo()
    asked: list[str] = []

    def authors_of_jobs(job_ids: Sequence[str]) -> dict[str, str]:
        asked.extend(job_ids)
        return {"olga0": "olga", "shop0": "shop"}

    make(2, {}, base=1, authors={"olga": OLGA}, authors_of_jobs=authors_of_jobs)
    assert sorted(asked) == ["olga0", "olga1", "shop0", "shop1"]
    # Nobody knows who labelled `olga1`, so it does not train.
    assert rows_of(storage, 2).query("labelled_by != ''").index.tolist() == ["job-olga0"]
    assert len(rows_of(storage, 2)) == 41


def test_clients_labels_train_but_never_test(make: Make, storage: Storage) -> None:
    jobs, limits = [*harvest("shop", 200), *harvest("olga", 200)], LabelLimits(share=1.0)
    make(1, {"products": table(range(40))}, jobs=jobs, limits=limits)
    parts = rows_of(storage, 1).groupby(["labelled_by", "part"]).size()
    assert parts.get(("shop", "test"), 0) == 0
    assert parts["shop", "train"] > 100
    assert parts["olga", "test"] > 5


def test_author_above_the_limit_contributes_a_sample(make: Make, storage: Storage) -> None:
    uri = storage.put("images", image("red"))
    jobs = [replace(job, image_uri=uri) for job in harvest("shop", 300)]
    built = make(1, {"products": table(range(40))}, jobs=jobs, limits=LabelLimits(30, 1.0))
    labelled = rows_of(storage, 1).query("labelled_by == 'shop'")
    assert len(labelled) == 30
    assert all(Path(path).read_bytes() == image("red") for path in labelled["image"])
    assert codes_of(built)["too_many_labels"] > 150
    again = make(2, {}, base=1, jobs=jobs, limits=LabelLimits(30, 1.0))
    assert again.fingerprint == built.fingerprint


def test_author_who_disagrees_with_the_model_far_more_than_others_is_left_out(
    make: Make, storage: Storage
) -> None:
    make(1, {"products": table(range(40))}, jobs=harvest("eve", 200), authors=WITH_EVE)
    assert "eve" in set(rows_of(storage, 1)["labelled_by"])
    agreeing = [replace(job, answer=job.code, confidence=0.9) for job in harvest("olga", 100)]
    wrong = [replace(job, answer=30 - job.code, confidence=0.9) for job in harvest("eve", 200)]
    jobs = [*agreeing, *wrong]
    built = make(2, {}, base=1, jobs=jobs, authors=WITH_EVE)
    # Not even the rows that the version before contains stay.
    assert set(rows_of(storage, 2)["labelled_by"]) == {"", "olga"}
    assert codes_of(built)["outlying_labels"] == 200
    finding = next(one for one in built.report.findings if one.code == "outlying_labels")
    assert "Eve (100% of 200 confident answers" in finding.message
    limits = LabelLimits(odds_ratio=0)
    built = make(3, {}, base=1, jobs=jobs, authors=WITH_EVE, limits=limits)
    assert "eve" in set(rows_of(storage, 3)["labelled_by"])
    assert "outlying_labels" not in codes_of(built)


def test_loaded_version_shows_the_share_of_each_user(make: Make, storage: Storage) -> None:
    make(1, {"products": table(range(40))}, jobs=[*harvest("shop", 30), *harvest("olga", 10)])
    data = load_version(storage, "shop", 1, Path("unused"))
    learnt = data.rows[data.rows["part"] != "test"]
    found = {share.user: (share.rows, share.share) for share in data.label_shares}
    assert found.keys() == {"Shop", "Olga"}
    for name, author in (("Shop", "shop"), ("Olga", "olga")):
        rows = int((learnt["labelled_by"] == author).sum())
        assert found[name] == (rows, round(rows / len(learnt), 6))


def texts(*rows: tuple[str, str, str]) -> bytes:
    lines = ["sku;titre;rayon", *(";".join(row) for row in rows)]
    return "\r\n".join(lines).encode("cp1252")


FIRST = texts(
    ("a", "bottes", "Mode > Chaussures"),
    ("b", "bottines", "Mode > Chaussures"),
    ("c", "ballon", "Sport"),
    ("d", "raquette", "Sport"),
    ("e", "vase", "Déco"),
    ("f", "lampe", "Déco"),
)


def codes_by_name(storage: Storage, version: int) -> dict[str, int]:
    categories = load_version(storage, "shop", version, Path("unused")).categories.categories
    return {one.name: one.code for one in categories}


def test_text_labels_keep_their_codes_in_all_versions(make: Make, storage: Storage) -> None:
    make(1, {"products": FIRST})
    first = codes_by_name(storage, 1)
    assert {*first} == {"Mode > Chaussures", "Sport", "Déco"}
    make(2, {"products": texts(("g", "sac", "Mode > Sacs"))}, base=1, remove=["e", "f"])
    second = codes_by_name(storage, 2)
    assert {*second} == {"Mode > Chaussures", "Mode > Sacs", "Sport"}
    assert second["Sport"] == first["Sport"]
    make(3, {"products": texts(("h", "pot", "deco"), ("i", "sandales", "MODE>CHAUSSURES"))}, base=2)
    third = codes_by_name(storage, 3)
    assert third == {**second, "Déco": first["Déco"]}
    data = load_version(storage, "shop", 3, Path("unused"))
    assert data.categories.path(first["Mode > Chaussures"]) == ("Mode", "Chaussures")


def test_known_code_and_name_of_a_version_mean_the_same_label(make: Make, storage: Storage) -> None:
    make(1, {"products": FIRST})
    code = codes_by_name(storage, 1)["Sport"]
    change = texts(("g", "filet", str(code)), ("h", "but", str(code)), ("i", "maillot", "sport"))
    make(2, {"products": change}, base=1)
    assert (rows_of(storage, 2)["code"] == code).sum() == 5
    assert codes_by_name(storage, 2) == codes_by_name(storage, 1)


def test_findings_describe_the_version_and_those_of_the_file_are_apart(
    make: Make, storage: Storage
) -> None:
    photos = packed(**{str(i): image("red") for i in range(6)})
    base = table(range(6)) + b"\np6,produit 0,,,10"
    make(1, {"products": base, "images": photos})
    change = b"id,designation,prdtypecode\np7,seul,20\np8,unique,10\np9,a,20,surplus\n"
    built = make(2, {"products": change}, base=1)
    version = {finding.code: finding for finding in built.report.findings}
    assert {*version} == {"duplicate_products"}
    assert version["duplicate_products"].rows == ("p6",)
    assert version["duplicate_products"].lines == ()
    assert (built.report.rows, built.report.images) == (9, 6)
    added = built.report.added
    assert added is not None
    assert (added.rows, added.classes, added.images) == (2, 2, 0)
    of_file = {finding.code: finding.lines for finding in added.findings}
    assert of_file == {"malformed_rows": (4,), "single_row_classes": (2, 3), "no_pictures": ()}


def test_first_version_has_the_lines_of_its_file(make: Make) -> None:
    built = make(1, {"products": b"titre,code\na,10\n\nb,20\nb,20\nd,10\n"})
    [finding] = built.report.findings[:1]
    assert (finding.code, finding.rows, finding.lines) == ("duplicate_products", (2,), (5,))
    assert built.report.added is None


def test_categories_that_are_new_in_a_version_are_named(make: Make) -> None:
    make(1, {"products": FIRST})
    built = make(2, {"products": texts(("g", "sac", "Sprot"), ("h", "but", "SPORT"))}, base=1)
    by_code = {finding.code: finding for finding in built.report.findings}
    assert by_code["new_categories"].rows == ("g",)
    assert "'Sprot'" in by_code["new_categories"].message


def test_version_of_an_older_trainer_has_no_tree(make: Make, storage: Storage) -> None:
    make(1, {"products": FIRST + b"\r\nx;sac;Mode > Sacs"})
    address = "datasets/shop/1/version.json"
    about = json.loads(storage.get(address))
    assert about.pop("separator") == ">"
    del about["retired"]
    storage.put_at(address, json.dumps(about).encode())
    data = load_version(storage, "shop", 1, Path("unused"))
    assert all(one.path == () for one in data.categories.categories)


def test_table_and_images_may_be_in_one_archive(make: Make, storage: Storage) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("boutique/produits.csv", table(range(10)))
        for number in range(10):
            archive.writestr(f"boutique/photos/{number}.png", image("red"))
    built = make(1, {"products": content.getvalue()})
    assert built.report.findings == ()
    assert (built.report.rows, built.report.images) == (10, 10)
