"""A segmentation becomes numbers with units; pure numpy."""
