"""Figures of a release's parts, as its export wrote them."""

import json
from pathlib import Path

from trainer.pipeline.agreement import Form
from trainer.pipeline.assembly import FORMS, forms_of
from trainer.pipeline.steps import Step


def exported(folder: Path, *forms: Form) -> Step:
    (folder / FORMS).write_text(json.dumps([form.record() for form in forms]), "utf-8")
    return Step("export", "", folder, 1.0, 1.0, is_reused=False)


def test_f1_of_models_that_have_learnt_from_the_compared_rows_is_not_stated(
    tmp_path: Path,
) -> None:
    before = Form("text", "int8", 900, 0.995, fitted_f1=0.81, exported_f1=0.80)
    after = Form("text", "float16", 1_000, 0.999, fitted_f1=0.99, exported_f1=0.98)
    other = Form("image", "int8", 200, 1.0, fitted_f1=0.5, exported_f1=0.5)
    step = exported(tmp_path, after, other)
    assert forms_of(step) == [after, other]
    assert forms_of(step, f1_of=[before]) == [
        Form("text", "float16", 1_000, 0.999, fitted_f1=0.81, exported_f1=0.80),
        other,
    ]
