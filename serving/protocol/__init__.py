"""What the predictor and the transformer share: the protocols' requests, the gate, the server."""
