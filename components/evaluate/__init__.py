"""Evaluate: what the candidate is worth, against the live model and simple rivals; the gate."""
