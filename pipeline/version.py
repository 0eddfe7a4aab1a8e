"""Which code this is."""

from importlib import metadata


def code_version() -> str:
    """Returns the version of the installed distribution; "source" where the code runs from a folder without installation."""
    try:
        return metadata.version("swissroll")
    except metadata.PackageNotFoundError:
        return "source"
