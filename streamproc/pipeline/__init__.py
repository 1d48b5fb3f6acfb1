"""One stream: the stages joined by bounded channels."""
