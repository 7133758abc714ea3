"""One program for all trials of a depth: widths, activations and the rest are its inputs."""
