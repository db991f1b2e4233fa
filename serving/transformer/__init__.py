"""The server before the predictor: look-ups, business filters, diversity and a response cache."""
