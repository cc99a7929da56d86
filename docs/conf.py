"""The site: `make docs` builds it from the pages of this folder and from the docstrings, without a network.

Docstrings are read by autodoc with the frameworks mocked: importing TensorFlow alone takes longer than the whole build.
Sphinx' own reader is taken and no static one (griffe, autodoc2), because it alone checks each reference (`-n`).
"""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import site_text
from sphinx.ext.autodoc.mock import _MockObject

from tensor_optix import __version__

project = "tensor-optix"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"tensor-optix {version}"
html_copy_source = False
html_static_path = ["pictures"]

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]

autodoc_mock_imports = ["tensor_optix.adapters.tensorflow._keras", "tensorflow", "keras", "torch", "river"]
_MockObject.__or__ = lambda self, other: self  # pyright: ignore[reportAttributeAccessIssue] - `nn.LSTM | nn.GRU`
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
maximum_signature_line_length = 90
python_use_unqualified_type_names = True
napoleon_use_rtype = False
napoleon_custom_sections = [("Source", "Notes")]


def setup(app):  # noqa: D103 - Sphinx calls it
    app.connect("source-read", site_text.on_source_read)
    app.connect("autodoc-process-docstring", site_text.on_docstring, priority=400)  # before napoleon, at 500
    app.connect("autodoc-process-docstring", site_text.on_napoleon_done, priority=600)
    app.connect("missing-reference", site_text.on_missing_reference)
    return {"parallel_read_safe": True}
