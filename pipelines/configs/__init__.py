"""Data-set configurations: which column of a shop's files is what."""

import json
from importlib import resources

import yaml


def config_names() -> list[str]:
    """Return the names of the configurations that come with Shopflow."""
    files = resources.files(__name__).iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def config_parameter(name: str) -> str:
    """Return a configuration as a pipeline parameter: one line of JSON, which is YAML too.

    One line, because kfp's compiler copies defaults into the YAML's leading comment, where a line
    break ends the comment and breaks the file.

    Args:
        name: File name without its ending, as in `config_names()`.

    Raises:
        FileNotFoundError: If there is none of that name; names those there are.
    """
    file = resources.files(__name__) / f"{name}.yaml"
    if not file.is_file():
        raise FileNotFoundError(f"configuration {name!r}: not one of {', '.join(config_names())}")
    return json.dumps(yaml.safe_load(file.read_text(encoding="utf-8")), default=str)
