"""The command ``nanoBragg-batch``: many images in one process."""
