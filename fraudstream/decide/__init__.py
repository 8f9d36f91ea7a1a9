"""From a score to a decision: the threshold, the anomaly's type, and the reasons that are read out."""
