"""How hard each sample is to unlearn: measured, explained, predicted."""
