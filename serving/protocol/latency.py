"""The buckets of every latency histogram, so that what the servers and the router say compares."""

# Each bound is 1.15 times the one before, so a quantile read from the histogram is within 15 %.
LATENCY_BOUNDS_S = tuple(round(0.0005 * 1.15**power, 7) for power in range(84))
