"""One module for each command of `nb-loop`."""
