"""Shadow: a candidate answers held-out or logged requests beside the stable, unseen by users."""
