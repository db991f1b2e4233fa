"""Rollout: traffic in steps, and a canary promoted or rolled back by what the metrics say."""
