"""Templates of the files that an export writes, and how they are rendered."""

from __future__ import annotations

import jinja2


def render(template: str, **context: object) -> str:
    """The text of a template of this folder; a name that the context lacks is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("edgefactor.export", "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    return environment.get_template(template).render(context)
