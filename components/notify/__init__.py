"""The exit handler: reports how a run ended and deletes the temporary services it left behind."""
