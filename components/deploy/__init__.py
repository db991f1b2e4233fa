"""Deploy: a published package becomes a canary that is ready and has passed its smoke test."""
