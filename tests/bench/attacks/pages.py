"""Pages that a browser loads: what they fetch from elsewhere."""

import re

from tests.bench.attacks.figure import Figure
from tests.bench.attacks.target import Target


def attacks(target: Target) -> list[Figure]:
    """Read `/docs` as a browser would, without internet."""
    with target.http() as http:
        page = http.get("/docs")
    elsewhere = set(re.findall(r"""(?:src|href)=["']((?:https?:)?//[^"']+)""", page.text))
    inline = len(re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", page.text))
    policy = page.headers.get("content-security-policy", "none")
    return [
        Figure(
            "low",
            "assets that /docs loads from other hosts",
            len(elsewhere),
            "assets",
            0,
            "test_reference_loads_nothing_from_elsewhere",
        ),
        Figure(
            "low",
            "inline scripts of /docs, and 'unsafe-inline' in its policy",
            inline + policy.count("unsafe-inline") + (policy == "none"),
            "places",
            0,
            "test_reference_works_under_a_strict_policy",
            f"policy: {policy[:90]}",
        ),
    ]
