"""A volume becomes a :class:`~dicomnode.segment.segmentation.Segmentation`: lungs, sides, lobes, lesions."""
