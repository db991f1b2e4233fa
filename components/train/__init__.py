"""Train one of the registered models and export it with its signatures."""
