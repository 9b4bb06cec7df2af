"""dicomnode: a chest CT goes in by C-STORE, SEG and SR come out in the PACS."""

__version__ = "0.1.0"
