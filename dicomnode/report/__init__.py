"""Segmentation and measurements become DICOM results (SEG, SR), JSON and pictures."""
