"""Text that comes from a run's files, made harmless for a page and for a figure."""

from tensor_optix._visible import visible as visible


def in_figure(text: object) -> str:
    """Return a text for a figure, whose labels are read as a kind of HTML."""
    return visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
