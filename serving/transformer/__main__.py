"""Serve: `python -m serving.transformer --model_name N --predictor_host H:P --http_port P`."""

import os
import sys

from serving.transformer.settings import SettingsError, read_settings


def main() -> int:
    """Read the options, then load KServe and serve.

    Returns:
        Exit code; 78 (EX_CONFIG of sysexits.h) when an option cannot be.
    """
    try:
        settings = read_settings(sys.argv[1:], os.environ)
    except SettingsError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 78
    # KServe reads the command line when it is imported, and ends the process over what it does
    # not like; by now every option it shares with the transformer has been checked.
    from serving.transformer.server import serve

    return serve(settings)


if __name__ == "__main__":
    sys.exit(main())
