"""Data-set configurations: which column of a shop's files is what."""

from importlib import resources


def config_names() -> list[str]:
    """Return the names of the configurations that come with Shopflow."""
    files = resources.files(__name__).iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def config_text(name: str) -> str:
    """Return a configuration's YAML text, which is how it travels as a pipeline parameter.

    Args:
        name: File name without its ending, as in `config_names()`.

    Raises:
        FileNotFoundError: If there is none of that name; names those there are.
    """
    file = resources.files(__name__) / f"{name}.yaml"
    if not file.is_file():
        raise FileNotFoundError(f"configuration {name!r}: not one of {', '.join(config_names())}")
    return file.read_text(encoding="utf-8")
