"""The audit trail: DICOM audit messages (PS3.15 A.5) in a file of their own."""
