"""Builds versions of datasets from uploaded files, an earlier version and labelled jobs.

`trainer.datasets.versions` defines the format. An image is stored once for all versions of a
dataset, by content, and no version's files are changed for another version.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from shared.db.datasets import (
    upload_folder,
)
from shared.errors import InvalidInput
from shared.storage import Storage, digest_in
from trainer.datasets.findings import (
    Counted,
    DatasetReport,
    Finding,
    error,
    errors_in,
    warning,
)
from trainer.datasets.folder import tables, with_images
from trainer.datasets.images import images_in
from trainer.datasets.labelled.agreement import doubtful_authors, sentence
from trainer.datasets.labelled.authors import Author
from trainer.datasets.labelled.contributions import (
    UNKNOWN,
    is_above_limit,
    is_client_test,
    is_of_client,
    is_of_untrusted,
    label_shares,
)
from trainer.datasets.layout import packs_images
from trainer.datasets.split import hashed_parts
from trainer.datasets.stored_images import StoredImages
from trainer.datasets.tables import (
    category_names,
    has_text,
    labelled,
    names_in,
    too_few_categories,
    too_many_categories,
)
from trainer.datasets.validation import (
    image_findings,
    named_categories,
    report,
    row_findings,
)
from trainer.datasets.version_request import VersionRequest
from trainer.datasets.versions import (
    COLUMNS,
    JOB_PREFIX,
    Place,
    StoredVersion,
    read_version,
    write_version,
)


@dataclass(frozen=True)
class BuiltVersion:
    """Result of a build; the fingerprint is `None` if no version was stored."""

    report: DatasetReport
    fingerprint: str | None


def build(
    storage: Storage,
    request: VersionRequest,
    scratch: Path,
    on_progress: Callable[[], None] = lambda: None,
) -> BuiltVersion:
    """Check the sources of a version and store it if it can be trained on.

    The build is idempotent, so it may be interrupted at any moment and repeated.

    Args:
        storage: Contains the uploads and receives the version.
        request: Sources of the version.
        scratch: Empty folder for the files that are being read.
        on_progress: Called often, at least once per image; an exception aborts the build.

    Raises:
        Unavailable: The storage is full or does not answer.
        OSError: The disk of `scratch` is full.
    """
    try:
        return _Builder(storage, request, scratch, on_progress).build()
    except InvalidInput as fault:
        findings = (error("unreadable_file", fault.detail),)
        return BuiltVersion(DatasetReport(findings=findings), None)


@dataclass
class _Builder:
    storage: Storage
    request: VersionRequest
    scratch: Path
    on_progress: Callable[[], None]
    findings: list[Finding] = field(default_factory=list)
    #: Rows of the uploaded file, with all findings about them.
    of_file: Counted | None = None
    #: Addresses of the images of labelled jobs, by the id of the row.
    job_images: dict[str, str] = field(default_factory=dict)

    def build(self) -> BuiltVersion:
        base = StoredVersion(pd.DataFrame(columns=COLUMNS), {})
        if self.request.base is not None:
            base = read_version(self.storage, self.request.name, self.request.base)
        uploaded, names = self._uploaded_rows(base.known)
        new = pd.concat([uploaded, self._job_rows()], ignore_index=True)
        new = new.drop_duplicates("id", keep="last")
        rows = pd.concat([self._kept_rows(base.rows, new), new], ignore_index=True)
        rows = rows.sort_values("id", ignore_index=True)
        if not self._has_errors():
            self.findings += too_few_categories(rows["prdtypecode"])
        if not self._has_errors():
            self.findings += too_many_categories(rows["prdtypecode"])
        fingerprint = None
        if not self._has_errors():
            rows["split"] = _splits(rows, self.request.authors)
            rows = self._limited(rows)
            self.findings += too_few_categories(rows["prdtypecode"])
        known = base.known | names
        if not self._has_errors():
            self._copy_job_images(rows)
            users = {id_: author.name for id_, author in self.request.authors.items()}
            place = Place(self.storage, self.request.name, self.request.version)
            fingerprint = write_version(place, rows, known, users, self.scratch)
        return BuiltVersion(self._report(rows, base, known), fingerprint)

    def _has_errors(self) -> bool:
        return bool(errors_in(self.findings))

    def _uploaded_rows(self, known: Mapping[int, str]) -> tuple[pd.DataFrame, dict[int, str]]:
        """Return rows and new category names of the uploaded files, and store their images.

        Args:
            known: Names by code of earlier versions, which labels may be.
        """
        for kind in self.request.files:
            name = f"{kind}.zip" if kind == "images" else f"{kind}.csv"
            uri = f"{upload_folder(self.request.id)}/{name}"
            self.storage.copy_to(uri, self.scratch / name)
            self.on_progress()
        products = self.scratch / "products.csv"
        if "products" in self.request.files and packs_images(products):
            # Images are looked up in archives by this suffix.
            products.with_suffix(".zip").symlink_to(products)
        named, _ = category_names(self.scratch / "categories.csv")
        if "products" not in self.request.files:
            return pd.DataFrame(columns=COLUMNS), named
        rows, faults = labelled(*tables(self.scratch), {**known, **named})
        images = images_in(self.scratch)
        rows = with_images(rows, images)
        names = names_in(rows) | named
        self.findings += errors_in(faults)
        if errors_in(faults):
            self.of_file = Counted(findings=(*faults, *row_findings(rows, named)))
            return pd.DataFrame(columns=COLUMNS), names
        hashes, broken = self._images().add(rows)
        unmatched = () if (rows["image"] != "").any() else [*images]
        found = [*row_findings(rows, named), *image_findings(rows, broken, unmatched)]
        self.of_file = Counted(
            rows=len(rows),
            classes=rows["code"].nunique(),
            images=sum(map(bool, hashes)),
            findings=(*faults, *found),
        )
        return _columns(self._ids(rows), rows, hashes), names

    def _images(self) -> StoredImages:
        return StoredImages(self.storage, self.request.name, self.on_progress)

    def _copy_job_images(self, rows: pd.DataFrame) -> None:
        """Copy the images of the labelled jobs among the rows; clear those that were deleted."""
        images = self._images()
        for number, id_ in rows["id"].items():
            if (uri := self.job_images.get(id_)) is not None:
                rows.loc[number, "image"] = images.copied(uri)

    def _ids(self, rows: pd.DataFrame) -> list[str]:
        """Return the products' own ids, else version and row number; both made unique."""
        seen: dict[str, int] = {}
        ids = []
        for number, id_ in zip(rows.index, rows["id"], strict=True):
            name = id_ or f"{self.request.version}-{number}"
            seen[name] = seen.get(name, 0) + 1
            ids.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
        return ids

    def _job_rows(self) -> pd.DataFrame:
        """Return the labelled jobs of trusted authors as rows; their images are not copied yet."""
        rows, judged = [], []
        for job in self.request.jobs:
            self.on_progress()
            id_, texts = f"{JOB_PREFIX}{job.id}", (job.designation, job.description)
            if job.image_uri is not None:
                self.job_images[id_] = job.image_uri
            image = digest_in(job.image_uri or "") or ""
            drawn = job.represents, job.answered_at
            rows.append((id_, *texts, image, job.code, "", job.author, *drawn))
            judged.append((job.author, job.code, job.answer, job.confidence))
        found = pd.DataFrame(rows, columns=COLUMNS)
        found = found[~is_of_untrusted(found, self.request.authors)]
        answers = pd.DataFrame(judged, columns=["author", "label", "answer", "confidence"])
        self._distrust_outliers(found, answers.loc[found.index])
        return found[~is_of_untrusted(found, self.request.authors)]

    def _distrust_outliers(self, rows: pd.DataFrame, answers: pd.DataFrame) -> None:
        """Take the trust from authors who disagree with the model far more often than others do."""
        doubts = doubtful_authors(answers, self.request.limits.odds_ratio)
        if not doubts:
            return
        authors, out = self.request.authors, [doubt.author for doubt in doubts]
        text = sentence(doubts, {id_: author.name for id_, author in authors.items()})
        ids = list(rows["id"][rows["labelled_by"].isin(out)])
        self.findings.append(warning("outlying_labels", text, ids))
        kept = {id_: author for id_, author in authors.items() if id_ not in out}
        self.request = replace(self.request, authors=kept)

    def _limited(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the rows without client labels to test with, and without those above a limit."""
        rows = rows[~is_client_test(rows, self.request.authors)]
        is_above = is_above_limit(rows, self.request.limits)
        if is_above.any():
            text = (
                "One user's labels exceed what one user may contribute, so some were left out; see "
                "RAYON_TRAINER_LABELS_PER_USER and RAYON_TRAINER_LABELS_PER_USER_SHARE"
            )
            self.findings.append(warning("too_many_labels", text, list(rows["id"][is_above])))
        return rows[~is_above].reset_index(drop=True)

    def _kept_rows(self, base: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
        """Return the base's rows that are neither removed nor replaced."""
        unknown = sorted(set(self.request.remove) - set(base["id"]))
        if unknown:
            text = "Ids to remove are not in the base version"
            self.findings.append(warning("unknown_ids", text, unknown))
        is_removed = base["id"].isin(list(self.request.remove)) | self._is_untrusted(base)
        # A replaced row keeps its part: `hashed_parts` says which may leave theirs.
        parts = dict(zip(base["id"], base["split"], strict=True))
        new["split"] = [parts.get(id_, "") for id_ in new["id"]]
        return base[~is_removed & ~base["id"].isin(new["id"])]

    def _is_untrusted(self, base: pd.DataFrame) -> pd.Series:
        """Return a mask of the rows of the base whose authors have lost the trust."""
        is_unknown = base["labelled_by"] == UNKNOWN
        job_ids = base["id"][is_unknown].str.removeprefix(JOB_PREFIX)
        known = self.request.authors_of_jobs(list(job_ids))
        base.loc[is_unknown, "labelled_by"] = job_ids.map(known).fillna(UNKNOWN)
        is_untrusted = is_of_untrusted(base, self.request.authors)
        if is_untrusted.any():
            text = "Labels of users who are not trusted were left out"
            self.findings.append(warning("untrusted_labels", text, list(base["id"][is_untrusted])))
        return is_untrusted

    def _report(
        self, rows: pd.DataFrame, base: StoredVersion, known: Mapping[int, str]
    ) -> DatasetReport:
        """Describe the version: the rows of a first one are those of its file."""
        checked = _checked(rows, known)
        found = self.findings
        if self.request.base is None:
            of_file = self.of_file.findings if self.of_file else ()
            found = [*of_file, *(one for one in found if one not in of_file)]
        else:
            of_images = image_findings(checked, pd.Index([]))
            found = [*found, *row_findings(checked), *of_images, *_new_categories(checked, base)]
        names = {id_: author.name for id_, author in self.request.authors.items()}
        return report(checked, found).model_copy(
            update={
                "labels": label_shares(rows["labelled_by"], names),
                "added": None if self.request.base is None else self.of_file,
            }
        )


def _checked(rows: pd.DataFrame, known: Mapping[int, str]) -> pd.DataFrame:
    """Return the rows of a version by their ids, as the checks of files expect them."""
    names = [known.get(code, str(code)) for code in rows["prdtypecode"].tolist()]
    return (
        rows.rename(columns={"prdtypecode": "code"})
        .assign(
            category=pd.Series(names, rows.index, dtype=str),
            image_name=rows["image"],
            has_text=has_text(rows["designation"], rows["description"]),
        )
        .set_index("id")
        .assign(id="")
    )


def _new_categories(checked: pd.DataFrame, base: StoredVersion) -> list[Finding]:
    """Return a warning about categories that no earlier version had; it may be a misspelling."""
    new = checked[~checked["code"].isin([*base.known])]
    if new.empty:
        return []
    text = f"Categories are new in this version{named_categories(new)}"
    return [warning("new_categories", text, new.index)]


def _columns(ids: list[str], rows: pd.DataFrame, hashes: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": ids,
            "designation": rows["designation"].to_numpy(object),
            "description": rows["description"].to_numpy(object),
            "image": hashes,
            "prdtypecode": rows["code"].to_numpy(np.int64),
            "split": "",
            "labelled_by": "",
            "represents": 0.0,
            "answered_at": 0.0,
        }
    )


def _splits(rows: pd.DataFrame, authors: Mapping[str, Author]) -> pd.Series:
    # Labels of clients never test, so they need not be the newest that do.
    reviewed_by = rows["labelled_by"].mask(is_of_client(rows, authors), "")
    texts = rows.assign(image_name=rows["image"], code=rows["prdtypecode"], labelled_by=reviewed_by)
    return hashed_parts(texts, kept=rows["split"][rows["split"] != ""])
