"""A person's correction: an edited Segmentation that comes back becomes masks that can be measured."""
