"""The DICOM conformance statement: prose in a template, tables from the code."""
