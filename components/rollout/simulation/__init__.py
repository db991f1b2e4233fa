"""Ten thousand rollouts at once: what a policy does to good and to bad canaries."""
