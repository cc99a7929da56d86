"""What pages are made with: one look, texts that are escaped, figures that travel as data, scripts by their digests.

Nothing from a run's files becomes markup: text is escaped by the template, and figures travel as JSON. A content
security policy allows the page's own two scripts, by their digests, and nothing else.
"""

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tensor_optix.core.storage.atomic import replace_file, storage_errors
from tensor_optix.report.curves import Figure
from tensor_optix.report.still import still_of
from tensor_optix.report.words import visible
from tensor_optix.support.optional import require

_HERE = Path(__file__).parent
_NEEDED_BY, _EXTRA = "a report", "report"


def rendered(template: str, figures: Iterable[Figure], **values: object) -> str:
    """Return a page.

    Args:
        template: the name of its file, which extends `base.html.jinja`.
        figures: what is drawn in it.
        values: what the template shows; `title` among them.

    Raises:
        MissingDependencyError: jinja2 or plotly is not installed; the message has the install line.
    """
    drawn, script = plotly_js(), (_HERE / "page.js").read_text()
    return (
        _environment()
        .get_template(template)
        .render(
            style=(_HERE / "page.css").read_text(),
            plotly_js=drawn,
            script=script,
            policy=_policy(drawn, script),
            figures_json=island({figure.key: figure.to_dict() for figure in figures}),
            **values,
        )
    )


def write(page: str, target: Path) -> Path:
    """Write a page, and return where it is.

    Args:
        page: its text.
        target: the file; its folder is made where there is none.

    Raises:
        CheckpointStorageError: the file cannot be written.
    """
    with storage_errors("write", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_file(target, page.encode())
    return target


def _environment() -> Any:
    jinja2 = require("jinja2", _NEEDED_BY, _EXTRA)
    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FileSystemLoader(_HERE),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = visible
    environment.filters["still"] = still_of
    return environment


@cache
def plotly_js() -> str:
    """Return the library that draws, as the text of a script."""
    js: str = require("plotly.offline", _NEEDED_BY, _EXTRA).get_plotlyjs()
    return js.replace("</script", "<\\/script")


def _policy(*scripts: str) -> str:
    """Return the content security policy that allows these scripts alone."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; connect-src 'self'"
    )


def island(value: Mapping[str, object]) -> str:
    """Return JSON that cannot end the element it stands in; what is not finite becomes null."""
    text = json.dumps(finite(value), allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def finite(value: object) -> Any:
    """Return plain JSON values, None for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def plain(value: object) -> str:
    """Return a value of a file as text."""
    return value if isinstance(value, str) else json.dumps(finite(value), default=str)
