"""nanoBragg on PyTorch: diffraction images of small crystals, differentiable in every continuous parameter."""
